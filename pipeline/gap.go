package pipeline

import (
	"gatewatch/detectors/observation"
)

// gapState follows what a source did not emit, where it could not go on where
// it was. Windows that reach over a gap lack some of their entries and may
// have others twice: their incidents are approximate. All of it belongs to the
// merge goroutine and, but for turn, is saved with the position.
type gapState struct {
	// fresh says that the position is at a gap and no record behind it passed.
	fresh bool
	// until is the window time up to which a window may reach over a gap.
	until int64
	// carry says that a block without records came with a gap while records
	// before it still waited: the next record is the first behind it.
	carry bool
	// turn counts gaps, since offsets may be smaller behind one.
	turn uint32
}

// arrives is told of each block before its records wait for the merge.
func (g *gapState) arrives(w *work) {
	w.gap = w.item.Block.Gap || g.carry
	g.carry = false
}

// skips is told of a block without records that the position does not stop at.
func (g *gapState) skips(w *work) {
	g.carry = w.gap
}

// reached is told before the position moves into or behind the block.
func (g *gapState) reached(w *work) {
	if w.gap {
		w.gap, g.fresh = false, true
		g.turn++
	}
}

// mark marks records that a window may hold together with others from before
// a gap.
func (g *gapState) mark(recs []observation.Record, window int64, plan *observation.Plan) {
	if g.fresh {
		g.fresh = false
		g.until = window + longest(plan)
	}
	if window >= g.until {
		return
	}
	for i := range recs {
		recs[i].Behind = true
	}
}

// longest is the longest timespan of a rule, in seconds.
func longest(plan *observation.Plan) int64 {
	var most int64
	for i := range plan.Rules {
		most = max(most, plan.Rules[i].Timespan)
	}
	return most
}
