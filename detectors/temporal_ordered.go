package detectors

import "gatewatch/detectors/observation"

// temporalOrdered is true while the window holds observations of all steps one
// after another; those of one second are in order. It is temporal with one
// more time for each step: the latest start of a chain of the steps up to it,
// which is all that any later observation can build on.
type temporalOrdered struct{ temporal }

func (s temporalOrdered) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.room(v)
	id := e.newNode(t)
	s.enter(e, v, id, h)
	e.append(v.w, id)
	return id
}

func (s temporalOrdered) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	s.temporal.enter(e, v, id, h)
	now := e.nodes.at(id).time
	// The steps of this second, in whatever order they came, each go on from the
	// chain that ends with the step before, which never starts earlier than
	// the one that they ended so far.
	from := now
	for at := v.w.side; at != 0; {
		st := e.stages.at(at)
		for i := range st.last {
			if st.last[i] == now {
				st.from[i] = from
			}
			from = st.from[i]
		}
		at = st.next
	}
}

// number is how many of the steps, from the first on, were seen one after
// another within the timespan.
func (temporalOrdered) number(e *Engine, v view, now int64) (float64, bool) {
	n := 0
	for id := v.w.side; id != 0; id = e.stages.at(id).next {
		for _, t := range e.stages.at(id).from {
			if t == 0 || int64(t) <= now-v.r.Timespan {
				return float64(n), true
			}
			n++
		}
	}
	return float64(n), true
}

func (s temporalOrdered) about(e *Engine, v view, _ uint32) float64 {
	n, _ := s.number(e, v, v.s.now)
	return n
}
