package detectors

import "gatewatch/detectors/observation"

// admits reports whether an observation of t's entity counts for a guarded
// rule, by what is known of the entity before it. Rules that the guard looks at
// come before the rule, so of the same record they have had their part.
func (e *Engine) admits(t *touch, r *rule, now int64) bool {
	g := &r.Guard
	if g.Unless || g.After {
		if marked := t.ent.marked != 0 && int64(t.ent.marked) > now-r.Timespan; marked && g.Unless || !marked && g.After {
			return false
		}
	}
	for _, index := range g.While {
		w := &e.rules[index]
		if w.hint != 0 && t.ent.truths&w.hint == 0 {
			return false
		}
		wid := e.findWindow(t.id, t.ent, w.leader)
		if wid == 0 {
			return false
		}
		v := view{s: t.s, ent: t.ent, id: wid, w: e.window(wid), r: &e.rules[w.leader]}
		if w.Type == observation.RateAnomaly {
			if v.w.fired&w.bit == 0 {
				return false
			}
			continue
		}
		e.expire(v, now)
		if v.w.total == 0 || e.truth(v, now)&w.bit == 0 {
			t.ent.truths &^= w.hint
			if w.hint != 0 {
				v.w.fired &^= w.bit // it is not true again without a hit, so that one would do the same
			}
			return false
		}
	}
	return true
}

// hint gives the rules that others wait for their bits. Those that become true by other things than
// a hit have none, nor have more than there are bits for in a kind.
func (e *Engine) hint() {
	used := make([]int, len(e.plan.Kinds))
	for i := range e.rules {
		for _, index := range e.rules[i].Guard.While {
			w := &e.rules[index]
			if w.hint != 0 || e.rules[w.leader].least == 0 && !w.Type.Steps() || used[w.Kind] == 8 {
				continue
			}
			w.hint = 1 << used[w.Kind]
			used[w.Kind]++
			e.rules[w.leader].hints |= w.hint
		}
	}
}

// hinted brings the entity's truths to what a window has fired: that is kept on disk.
func (e *Engine) hinted(ent *entity, r *rule, fired uint32) {
	if r.hints == 0 {
		return
	}
	ent.truths &^= r.hints
	for _, i := range r.members {
		if m := &e.rules[i]; fired&m.bit != 0 {
			ent.truths |= m.hint
		}
	}
}

// keepsMark reports whether the entity's mark still makes a difference to a guard.
func (e *Engine) keepsMark(s *slot, ent *entity) bool {
	return ent.marked != 0 && int64(ent.marked) > s.now-e.markReach[ent.kind]
}
