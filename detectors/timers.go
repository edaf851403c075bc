package detectors

import "gatewatch/detectors/observation"

// timer says when an entry of a window expires whose rule can become true by
// that: lt, lte, eq and neq.
type timer struct {
	at     int64
	entity uint32
	rule   uint32
	hash   uint64 // tells whether the entity's place was given to another one
}

// timers is a binary heap by time. Its order among equal times does not
// matter: findings are put into merged order afterwards.
type timers struct{ heap []timer }

func (t *timers) due(now int64) bool { return len(t.heap) > 0 && t.heap[0].at <= now }

func (t *timers) push(x timer) {
	t.heap = append(t.heap, x)
	h := t.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			return
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (t *timers) pop() timer {
	h := t.heap
	top := h[0]
	n := len(h) - 1
	h[0] = h[n]
	t.heap = h[:n]
	h = t.heap
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return top
		}
		if c+1 < n && h[c+1].at < h[c].at {
			c++
		}
		if h[i].at <= h[c].at {
			return top
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// Advance judges the windows of which entries expire at or before t. Such a
// finding comes before all observations of its second.
func (e *Engine) Advance(t int64, out *Findings) {
	for e.timers.due(t) {
		e.expired(e.timers.pop(), out)
	}
}

// arm sets the timer of a window to the expiry of its oldest entry. A window
// has one timer, however many entries.
func (e *Engine) arm(w *window, r *rule, id uint32, hash uint64) {
	at := int64(w.headTime) + r.Timespan
	w.timer = uint32(at)
	e.timers.push(timer{at: at, entity: id, hash: hash, rule: w.rule})
}

func (e *Engine) expired(x timer, out *Findings) {
	ent := e.entities.at(x.entity)
	if ent.place == placeNone || ent.hash != x.hash {
		return
	}
	s := e.slots[observation.Slot(ent.hash)]
	wid := e.findWindow(x.entity, ent, x.rule)
	if wid == 0 {
		return
	}
	w := e.window(wid)
	if w.timer != uint32(x.at) {
		return
	}
	w.timer = 0
	r := &e.rules[w.rule]
	if w.head != 0 && int64(w.headTime) <= x.at-r.Timespan {
		e.change(s, x.entity, ent)
		e.judgeExpiry(view{s: s, ent: ent, id: wid, w: w, r: r}, x.at, out)
	}
	if w.head != 0 {
		e.arm(w, r, x.entity, x.hash)
	}
}

// judgeExpiry judges a window at the second at which its oldest entries expire.
func (e *Engine) judgeExpiry(v view, at int64, out *Findings) {
	r := v.r
	was := r.holds(r.typ.number(e, v))
	e.expire(v, at)
	switch holds := r.holds(r.typ.number(e, v)); {
	case holds && !was:
		v.w.fired |= r.bit
		e.fire(out, v, v.w.rule, observation.Key{Time: at, Rank: -1}, e.entityValues(v.ent), nil)
	case !holds:
		v.w.fired &^= r.bit
	}
}
