package detectors

import (
	"cmp"
	"slices"

	"gatewatch/detectors/observation"
)

// table finds entities by hash: open addressing with linear probing. It grows
// by doubling and so stays between three eighths and three quarters full.
type table struct {
	at []place
	n  int
}

type place struct {
	id  uint32 // of an entity, 0 is empty
	tag uint32 // low bits of the hash, so that most misses cost no look at an entity
}

func tag(hash uint64) uint32 { return uint32(hash) }

// first is where a search begins. The slot number is the top byte, so it uses other bits.
func (t *table) first(hash uint64) int { return int(uint32(hash)) & (len(t.at) - 1) }

// guess is the entity at the place where a search begins, 0 for none: mostly the right one.
func (t *table) guess(hash uint64) uint32 {
	if t.n == 0 {
		return 0
	}
	return t.at[t.first(hash)].id
}

// tagged returns the first with the hash's tag, 0 for none: nearly always what is looked for.
func (t *table) tagged(hash uint64) uint32 {
	if t.n == 0 {
		return 0
	}
	for i := t.first(hash); t.at[i].id != 0; i = t.after(i) {
		if t.at[i].tag == tag(hash) {
			return t.at[i].id
		}
	}
	return 0
}

func (t *table) after(i int) int { return (i + 1) & (len(t.at) - 1) }

// full reports whether the next insert makes the table anew.
func (t *table) full() bool { return (t.n+1)*4 > len(t.at)*3 }

func (t *table) insert(hash uint64, id uint32) {
	if t.full() {
		old := t.at
		t.at = make([]place, max(8, 2*len(old)))
		for _, p := range old {
			if p.id != 0 {
				t.place(uint64(p.tag), p.id)
			}
		}
	}
	t.place(hash, id)
	t.n++
}

func (t *table) place(hash uint64, id uint32) {
	i := t.first(hash)
	for t.at[i].id != 0 {
		i = t.after(i)
	}
	t.at[i] = place{id, tag(hash)}
}

func (t *table) remove(hash uint64, id uint32) {
	i := t.first(hash)
	for t.at[i].id != id {
		i = t.after(i)
	}
	mask := len(t.at) - 1
	for j := t.after(i); t.at[j].id != 0; j = t.after(j) {
		home := int(t.at[j].tag) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.at[i] = t.at[j]
			i = j
		}
	}
	t.at[i] = place{}
	t.n--
}

// list links the entities of one part of a slot, oldest first.
type list struct {
	head, tail uint32
	n          int
}

func (e *Engine) link(l *list, id uint32, place uint8) {
	ent := e.entities.at(id)
	ent.place, ent.prev, ent.next = place, l.tail, 0
	if l.tail != 0 {
		e.entities.at(l.tail).next = id
	} else {
		l.head = id
	}
	l.tail = id
	l.n++
}

func (e *Engine) unlink(l *list, id uint32) {
	ent := e.entities.at(id)
	if ent.prev != 0 {
		e.entities.at(ent.prev).next = ent.next
	} else {
		l.head = ent.next
	}
	if ent.next != 0 {
		e.entities.at(ent.next).prev = ent.prev
	} else {
		l.tail = ent.prev
	}
	ent.prev, ent.next, ent.place = 0, 0, placeNone
	l.n--
}

func (s *slot) part(place uint8) *list {
	if place == placeProbation {
		return &s.probation
	}
	return &s.main
}

// admit makes a new entity: on probation, or in the main part when probation
// dropped it before.
func (e *Engine) admit(s *slot, o *observation.Observation) uint32 {
	s.metaDirty = true
	if s.sketch.has(o.Hash) {
		e.stats.Readmitted++
		e.roomInMain(s)
		id := e.enter(s, o.Kind, o.Hash, &o.Values)
		e.link(&s.main, id, placeMain)
		return id
	}
	if s.probation.n >= e.probationCap {
		old := s.probation.head
		hash := e.entities.at(old).hash
		e.remove(s, old, true)
		s.sketch.add(hash)
		e.stats.Dropped++
	}
	id := e.enter(s, o.Kind, o.Hash, &o.Values)
	s.order++
	e.entities.at(id).order = s.order
	e.link(&s.probation, id, placeProbation)
	return id
}

// promote moves an entity that was seen a second time to the main part.
func (e *Engine) promote(s *slot, id uint32) {
	e.roomInMain(s)
	e.unlink(&s.probation, id)
	e.link(&s.main, id, placeMain)
}

// victim is a candidate for eviction.
type victim struct {
	score   uint8
	touched uint32
	hash    uint64
	id      uint32
}

func byWorth(a, b victim) int {
	return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.touched, b.touched), cmp.Compare(a.hash, b.hash))
}

// roomInMain evicts when the main part is full: the sixteenth of it with the
// lowest scores at once, among equals the longest untouched. Taking several
// spreads the cost of looking at all of them; which ones go depends on the
// state alone, not on its layout.
func (e *Engine) roomInMain(s *slot) {
	if s.main.n >= e.mainCap {
		e.evict(s, 0, max(1, e.mainCap/16))
	}
}

// shed evicts until the slot is within its cap of entries. The entity that is
// being worked on stays.
func (e *Engine) shed(s *slot, busy uint32) {
	for s.entries > e.entriesCap {
		if n := e.evict(s, busy, max(1, s.main.n/16)); n > 0 {
			continue
		}
		old := s.probation.head
		if old == busy && old != 0 {
			old = e.entities.at(old).next
		}
		if old == 0 {
			return // one entity holds everything; its windows are bounded by MaxKept
		}
		score := e.score(s, e.entities.at(old))
		e.remove(s, old, false)
		e.countEviction(score)
	}
}

func (e *Engine) countEviction(score uint8) {
	e.stats.Evicted++
	if score > 0 {
		e.stats.EvictedAlive++
		e.stats.EvictedScore = max(e.stats.EvictedScore, uint64(score))
	}
}

func (e *Engine) evict(s *slot, busy uint32, n int) int {
	v := e.victims[:0]
	for id := s.main.head; id != 0; id = e.entities.at(id).next {
		if id == busy {
			continue
		}
		ent := e.entities.at(id)
		v = append(v, victim{e.score(s, ent), ent.touched, ent.hash, id})
	}
	e.victims = v
	slices.SortFunc(v, byWorth)
	n = min(n, len(v))
	for _, x := range v[:n] {
		e.countEviction(x.score)
		e.remove(s, x.id, false)
	}
	return n
}

// ScoreFiring is the score of a condition that is true; scores run down from
// there to 0, nothing unexpired. See Stats.EvictedScore.
const ScoreFiring = 255

// score says how near the entity's nearest rule is to firing.
func (e *Engine) score(s *slot, ent *entity) uint8 {
	var best uint32
	for id := ent.windows; id != 0 && best < ScoreFiring; id = e.window(id).next {
		w := e.window(id)
		v := view{s: s, ent: ent, id: id, w: w, r: &e.rules[w.rule]}
		if v.r.least != 0 {
			best = max(best, e.nearSeries(v))
			continue
		}
		if v.r.Type == observation.RateAnomaly {
			best = max(best, e.worth(v))
			continue
		}
		if v.r.Type == observation.IDWalk && v.r.Depth > 1 {
			best = max(best, habitWorth(s, ent))
			continue
		}
		if n := e.unexpired(w, v.r, s.now); n > 0 {
			best = max(best, e.nearNumber(v, n))
		}
	}
	return uint8(best)
}

// nearNumber is the score of a window that is judged by its number, with n
// unexpired events or values.
func (e *Engine) nearNumber(v view, n uint32) uint32 {
	r := v.r
	number := r.typ.about(e, v, n)
	if v.w.fired&^windowBehind != 0 && r.holds(number) {
		return ScoreFiring
	}
	var near float64
	switch {
	case r.Type.Counts():
		near = number / float64(r.own)
	case r.Type == observation.IDWalk:
		near = number / r.Bounds[0].Value
	case r.Type.Steps():
		near = number / r.gte
	default:
		near = 1
		for _, b := range r.Bounds {
			near = min(near, nearBound(b, number))
		}
		if r.Type != observation.ValueSum {
			// One event can make these true, so one alone is not worth much.
			near *= min(1, float64(n)/meanWorth)
		}
	}
	return uint32(max(1, min(ScoreFiring-1, near*(ScoreFiring-1))))
}

// meanWorth is how many events a mean or a percentile has to be made of before
// losing them counts like losing a count as near to its bound.
const meanWorth = 32

// nearBound is how near a number is to satisfying a bound, from 0 to 1.
func nearBound(b observation.Bound, n float64) float64 {
	up := b.Op == observation.Gte || b.Op == observation.Gt
	switch {
	case b.Op == observation.Neq || n == b.Value || up && n > b.Value:
		return 1
	case n > 0 && b.Value > 0 || n < 0 && b.Value < 0:
		return min(n/b.Value, b.Value/n)
	default:
		return 0
	}
}

// unexpired counts what the window holds at a time without changing it.
func (e *Engine) unexpired(w *window, r *rule, now int64) uint32 {
	n := w.total
	if int64(w.headTime) > now-r.Timespan {
		return n
	}
	for id := w.head; id != 0; {
		nd := e.nodes.at(id)
		if int64(nd.time) > now-r.Timespan {
			break
		}
		n -= r.typ.size(nd)
		id = nd.next
	}
	return n
}

// Sweeps remove entities of which every entry expired. They come when the
// slot holds twice what the last one left, at most once a minute of window
// time, so their cost is a constant for each entity that entered.
const (
	sweepEvery = 60
	sweepMin   = 64
)

func (e *Engine) maybeSweep(s *slot) {
	if s.now < s.swept+sweepEvery || s.table.n < 2*s.survivors+sweepMin {
		return
	}
	for _, l := range []*list{&s.probation, &s.main} {
		for id := l.head; id != 0; {
			ent := e.entities.at(id)
			next := ent.next
			if e.score(s, ent) == 0 && !e.keepsMark(s, ent) {
				e.remove(s, id, false)
				e.stats.Swept++
			}
			id = next
		}
	}
	s.swept, s.survivors = s.now, s.table.n
	s.metaDirty = true
}

// remove forgets an entity with its windows.
func (e *Engine) remove(s *slot, id uint32, dropped bool) {
	ent := e.entities.at(id)
	e.noteRemoval(s, ent, dropped)
	e.clearWindows(s, id, ent)
	e.unlink(s.part(ent.place), id)
	s.table.remove(ent.hash, id)
	if ent.size == longValues {
		e.values.release(ent.long())
	}
	e.entities.release(id)
}
