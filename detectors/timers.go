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
type timers struct {
	heap  []timer
	stale int // of windows that are gone
}

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
	t.down(0)
	return top
}

// down puts the timer at place i where it belongs below.
func (t *timers) down(i int) {
	h := t.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].at < h[c].at {
			c++
		}
		if h[i].at <= h[c].at {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// disarm is called before a window is forgotten. Its timer is left in the
// heap; when half of the heap is such timers, all of them are taken out. So
// the heap is at most twice as long as there are windows, whoever makes new
// ones push out old ones.
func (e *Engine) disarm(w *window) {
	if w.timer == 0 {
		return
	}
	w.timer = 0
	t := &e.timers
	t.stale++
	if t.stale < 1024 || t.stale < len(t.heap)/2 {
		return
	}
	kept := t.heap[:0]
	for _, x := range t.heap {
		// Of two alike, one of them of a former window, one is kept.
		if w := e.armed(x); w != nil {
			w.timer = 0
			kept = append(kept, x)
		}
	}
	t.heap, t.stale = kept, 0
	for _, x := range kept {
		e.window(e.findWindow(x.entity, e.entities.at(x.entity), x.rule)).timer = uint32(x.at)
	}
	for i := len(kept)/2 - 1; i >= 0; i-- {
		t.down(i)
	}
}

// armed returns the window that a timer is of, nil when that is gone or has another one.
func (e *Engine) armed(x timer) *window {
	ent := e.entities.at(x.entity)
	if ent.place == placeNone || ent.hash != x.hash {
		return nil
	}
	wid := e.findWindow(x.entity, ent, x.rule)
	if wid == 0 || e.window(wid).timer != uint32(x.at) {
		return nil
	}
	return e.window(wid)
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
	w := e.armed(x)
	if w == nil {
		e.timers.stale = max(0, e.timers.stale-1)
		return
	}
	w.timer = 0
	ent := e.entities.at(x.entity)
	s := e.slots[observation.Slot(ent.hash)]
	r := &e.rules[w.rule]
	if r.Type == observation.RateAnomaly {
		e.change(s, x.entity, ent)
		e.bucketEnds(view{s: s, ent: ent, id: e.findWindow(x.entity, ent, x.rule), w: w, r: r}, x, out)
		return
	}
	if w.head != 0 && int64(w.headTime) <= x.at-r.Timespan {
		e.change(s, x.entity, ent)
		e.judgeExpiry(view{s: s, ent: ent, id: e.findWindow(x.entity, ent, x.rule), w: w, r: r}, x.at, out)
	}
	if w.head != 0 {
		e.arm(w, r, x.entity, x.hash)
	}
}

// judgeExpiry judges a window at the second at which its oldest entries expire.
func (e *Engine) judgeExpiry(v view, at int64, out *Findings) {
	was := e.truth(v, at-1)
	e.expire(v, at)
	is := e.truth(v, at)
	if is&^was != 0 {
		e.fire(out, v, v.w.rule, observation.Key{Time: at, Rank: -1}, e.entityValues(v.ent), nil)
	}
	v.w.fired = v.w.fired&(is|windowBehind) | is&^was
}
