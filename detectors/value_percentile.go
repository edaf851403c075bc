package detectors

import (
	"math"

	"gatewatch/detectors/observation"
)

// valuePercentile compares a percentile of the numbers by nearest rank: the
// least of them that at least so many percent do not exceed. Nothing has none.
// window.side is the root of the numbers' tree, node.what a number's sample there.
type valuePercentile struct{ measure }

func (p valuePercentile) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.room(v)
	id := e.newNode(t)
	p.enter(e, v, id, h)
	e.append(v.w, id)
	return id
}

func (valuePercentile) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	v.w.side = e.forest.add(v.w.side, positiveZero(h.Number), 1)
	e.nodes.at(id).what = e.forest.last
	v.w.total++
}

func (valuePercentile) leave(e *Engine, v view, id uint32) {
	v.w.side = e.forest.remove(v.w.side, e.forest.nodes.at(e.nodes.at(id).what).number, 1)
}

func (valuePercentile) clear(e *Engine, v view) {
	e.forest.drop(v.w.side)
	v.w.side = 0
}

func (valuePercentile) number(e *Engine, v view, _ int64) (float64, bool) {
	if v.w.total == 0 {
		return 0, false
	}
	return e.forest.at(v.w.side, nearestRank(v.r.Percentile, v.w.total)), true
}

// nearestRank returns the place from 1 of a percentile among n numbers. A
// percentile that is a decimal fraction is not quite one in binary: what is a
// whole place but for that is taken for it.
func nearestRank(percentile float64, n uint32) uint32 {
	rank := math.Ceil(percentile*float64(n)/100 - 1e-9)
	return uint32(min(max(rank, 1), float64(n)))
}

func (p valuePercentile) about(e *Engine, v view, _ uint32) float64 {
	n, _ := p.number(e, v, v.s.now)
	return n
}

func (valuePercentile) tell(e *Engine, nd *node, it *observation.Item) {
	it.Number = e.forest.nodes.at(nd.what).number
}
