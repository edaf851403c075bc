package detectors

import (
	"math"

	"gatewatch/detectors/observation"
)

// measure is what the types have in common that compare a number made of the
// numbers of events: an entry each, and node.what says where its number is.
type measure struct{}

func (measure) takes(_ *rule, h *observation.Hit) bool {
	return !math.IsNaN(h.Number) && !math.IsInf(h.Number, 0)
}

// positiveZero makes one number of the two that are equal and look different.
func positiveZero(x float64) float64 {
	if x == 0 {
		return 0
	}
	return x
}

func (measure) size(*node) uint32 { return 1 }

func (measure) shape() shape { return shapeNumbers }

// summed is a measure whose window has the exact sum of its numbers:
// window.side is its first digit, node.what an index into Engine.numbers.
type summed struct{ measure }

func (s summed) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.room(v)
	id := e.newNode(t)
	s.enter(e, v, id, h)
	e.append(v.w, id)
	return id
}

func (summed) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	at := e.numbers.alloc()
	*e.numbers.at(at) = positiveZero(h.Number)
	e.nodes.at(id).what = at
	v.w.total++
	e.addTo(&v.w.side, h.Number, false)
}

func (summed) leave(e *Engine, v view, id uint32) {
	at := e.nodes.at(id).what
	e.addTo(&v.w.side, *e.numbers.at(at), true)
	e.numbers.release(at)
}

func (summed) clear(e *Engine, v view) { e.dropSum(&v.w.side) }

func (summed) tell(e *Engine, nd *node, it *observation.Item) { it.Number = *e.numbers.at(nd.what) }

// valueSum compares the sum; that of nothing is 0.
type valueSum struct{ summed }

func (valueSum) number(e *Engine, v view, _ int64) (float64, bool) { return e.sum(v.w.side), true }

func (valueSum) about(e *Engine, v view, n uint32) float64 {
	if n == v.w.total {
		return e.sum(v.w.side)
	}
	return e.sum(v.w.side) * float64(n) / float64(v.w.total)
}
