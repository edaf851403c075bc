package detectors

import (
	"math/bits"

	"gatewatch/detectors/observation"
)

// temporal is true while every step has an observation in the window. When
// each was last seen is kept apart from the entries, so it is exact however
// many observations of one step come. The entries tell what there was:
// node.what is the index in Engine.values of the steps that an event is one of.
type temporal struct{}

// stages are the times of four steps of a window; window.side is the first of
// its list, in the order of the steps.
type stages struct {
	next uint32
	last [stageSteps]uint32 // when the step was last seen, 0 for never
	// from is the latest start of a chain of observations of all steps up to
	// this one, in order; see temporalOrdered.
	from [stageSteps]uint32
}

const stageSteps = 4

// stepsOf returns the bits of the rule's steps that a hit has.
func stepsOf(r *rule, h *observation.Hit) uint64 {
	if n := len(r.Steps); n < observation.MaxSteps {
		return h.Steps & (1<<n - 1)
	}
	return h.Steps
}

func (temporal) takes(r *rule, h *observation.Hit) bool { return stepsOf(r, h) != 0 }

func (s temporal) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.room(v)
	id := e.newNode(t)
	s.enter(e, v, id, h)
	e.append(v.w, id)
	return id
}

func (temporal) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	steps := stepsOf(v.r, h)
	nd := e.nodes.at(id)
	e.value = counted{hash: steps}
	nd.what = e.values.acquire(&e.value)
	v.w.total++
	for ; steps != 0; steps &= steps - 1 {
		n := bits.TrailingZeros64(steps)
		e.stages.at(e.stageOf(v, n)).last[n%stageSteps] = nd.time
	}
}

// stageOf returns where the times of a step are kept.
func (e *Engine) stageOf(v view, step int) uint32 {
	at := &v.w.side
	for i := 0; ; i += stageSteps {
		if *at == 0 {
			*at = e.stages.alloc()
		}
		if step < i+stageSteps {
			return *at
		}
		at = &e.stages.at(*at).next
	}
}

func (temporal) leave(e *Engine, _ view, id uint32) { e.values.release(e.nodes.at(id).what) }

func (temporal) clear(e *Engine, v view) {
	for v.w.side != 0 {
		next := e.stages.at(v.w.side).next
		e.stages.release(v.w.side)
		v.w.side = next
	}
}

// number is how many of the steps were seen within the timespan.
func (temporal) number(e *Engine, v view, now int64) (float64, bool) {
	n := 0
	for id := v.w.side; id != 0; id = e.stages.at(id).next {
		for _, t := range e.stages.at(id).last {
			if t != 0 && int64(t) > now-v.r.Timespan {
				n++
			}
		}
	}
	return float64(n), true
}

func (s temporal) about(e *Engine, v view, _ uint32) float64 {
	n, _ := s.number(e, v, v.s.now)
	return n
}

func (temporal) size(*node) uint32 { return 1 }

func (temporal) tell(e *Engine, nd *node, it *observation.Item) {
	it.Steps = e.values.entries[nd.what].value.hash
}

func (temporal) shape() shape { return shapeSteps }
