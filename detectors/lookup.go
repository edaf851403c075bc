package detectors

// Most entities have one or two windows, and a hit finds its own by going
// through them. Whoever makes requests of many kinds has one for each rule
// that they match; beyond fewWindows these are found through a hash table, so
// that a request never costs more for what came before it.
const fewWindows = 6

// pairTable finds something by two numbers that are not both 0, such as windows by
// entity and rule: open addressing with linear probing, at most three quarters full.
// It is storage only, no result depends on it.
type pairTable struct {
	at []pairPlace
	n  int
}

type pairPlace struct {
	key uint64 // 0 is empty
	id  uint32
}

func pairKey(a, b uint32) uint64 { return uint64(a)<<32 | uint64(b) }

// first is where a search begins. Neither number is chosen by requests, so it need not be secret.
func (t *pairTable) first(key uint64) int {
	return int(key*0x9E3779B97F4A7C15>>32) & (len(t.at) - 1)
}

func (t *pairTable) get(key uint64) uint32 {
	mask := len(t.at) - 1
	if mask < 0 {
		return 0
	}
	for i := t.first(key); t.at[i].key != 0; i = (i + 1) & mask {
		if t.at[i].key == key {
			return t.at[i].id
		}
	}
	return 0
}

func (t *pairTable) put(key uint64, id uint32) {
	if (t.n+1)*4 > len(t.at)*3 {
		old := t.at
		t.at, t.n = make([]pairPlace, max(64, 2*len(old))), 0
		for _, p := range old {
			if p.key != 0 {
				t.put(p.key, p.id)
			}
		}
	}
	mask := len(t.at) - 1
	i := t.first(key)
	for t.at[i].key != 0 {
		i = (i + 1) & mask
	}
	t.at[i] = pairPlace{key, id}
	t.n++
}

func (t *pairTable) remove(key uint64) {
	mask := len(t.at) - 1
	i := t.first(key)
	for t.at[i].key != key {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.at[j].key != 0; j = (j + 1) & mask {
		if home := t.first(t.at[j].key); (j-home)&mask >= (j-i)&mask {
			t.at[i] = t.at[j]
			i = j
		}
	}
	t.at[i].key = 0
	t.n--
}

// ownWindow marks the number of a window that is inside its entity.
const ownWindow = 1 << 31

// window returns a window by its number.
func (e *Engine) window(id uint32) *window {
	if id&ownWindow != 0 {
		return &e.entities.at(id &^ ownWindow).own
	}
	return e.windows.at(id)
}

// windowOf returns an entity's window for a rule and makes it if need be.
func (e *Engine) windowOf(id uint32, ent *entity, rule uint32) uint32 {
	if wid := e.findWindow(id, ent, rule); wid != 0 {
		return wid
	}
	var wid uint32
	if ent.windows == 0 {
		wid = id | ownWindow
		ent.own = window{rule: rule}
		ent.windows = wid
	} else {
		wid = e.windows.alloc()
		w := e.windows.at(wid)
		w.rule, w.next = rule, ent.own.next
		ent.own.next = wid
	}
	switch {
	case ent.many < fewWindows:
		ent.many++
	case ent.many == fewWindows:
		ent.many++
		for other := ent.windows; other != 0; other = e.window(other).next {
			e.lookup.put(pairKey(id, e.window(other).rule), other)
		}
	default:
		e.lookup.put(pairKey(id, rule), wid)
	}
	return wid
}

// findWindow returns an entity's window for a rule, 0 for none.
func (e *Engine) findWindow(id uint32, ent *entity, rule uint32) uint32 {
	if ent.many > fewWindows {
		return e.lookup.get(pairKey(id, rule))
	}
	for wid := ent.windows; wid != 0; wid = e.window(wid).next {
		if e.window(wid).rule == rule {
			return wid
		}
	}
	return 0
}

// clearWindows forgets all windows of an entity.
func (e *Engine) clearWindows(s *slot, id uint32, ent *entity) {
	for wid := ent.windows; wid != 0; {
		w := e.window(wid)
		next := w.next
		if ent.many > fewWindows {
			e.lookup.remove(pairKey(id, w.rule))
		}
		e.dropWindow(s, ent, wid)
		wid = next
	}
	ent.windows, ent.many = 0, 0
}
