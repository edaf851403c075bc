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
			return false
		}
	}
	return true
}

// keepsMark reports whether the entity's mark still makes a difference to a guard.
func (e *Engine) keepsMark(s *slot, ent *entity) bool {
	return ent.marked != 0 && int64(ent.marked) > s.now-e.markReach[ent.kind]
}
