package learn

import (
	"cmp"
	"slices"

	"gatewatch/detectors/observation"
)

// Peaks remembers how far the windows of each rule got, for the entities that
// got farthest. Its Probe is given to a pipeline; different slots do not touch the
// same memory, so it may be called as the pipeline calls it. The other methods are
// for afterwards.
type Peaks struct {
	plan  *observation.Plan
	slots [observation.Slots]slotPeaks
}

// slotPeaks has the farthest of each rule, in no order.
type slotPeaks [][]Peak

// maxPeaks is how many entities are remembered of each rule and slot.
const maxPeaks = 8

// Peak is the greatest number that a window of one entity reached.
type Peak struct {
	Rule   uint32
	Values string // encoded, see observation.Kind
	Kind   uint16
	Number uint32
	At     int64 // window time
}

// NewPeaks returns a memory for the rules of a plan.
func NewPeaks(plan *observation.Plan) *Peaks {
	p := &Peaks{plan: plan}
	for i := range p.slots {
		p.slots[i] = make([][]Peak, len(plan.Rules))
	}
	return p
}

// Probe takes in what a window reached.
func (p *Peaks) Probe(rule uint32, o *observation.Observation, at int64, number uint32) {
	list := p.slots[observation.Slot(o.Hash)][rule]
	least := -1
	for i := range list {
		k := &list[i]
		if k.Values == o.Values && k.Kind == o.Kind {
			if number > k.Number {
				k.Number, k.At = number, at
			}
			return
		}
		if least < 0 || k.Number < list[least].Number {
			least = i
		}
	}
	if len(list) < maxPeaks {
		p.slots[observation.Slot(o.Hash)][rule] = append(list, newPeak(rule, o, at, number))
		return
	}
	// The number only grows, so whoever ends among the farthest is here when it does.
	if number > list[least].Number {
		list[least] = newPeak(rule, o, at, number)
	}
}

func newPeak(rule uint32, o *observation.Observation, at int64, number uint32) Peak {
	return Peak{Rule: rule, Values: string([]byte(o.Values)), Kind: o.Kind, Number: number, At: at}
}

// Of returns the peaks of a rule, the farthest first. They are all that reached
// the least of them.
func (p *Peaks) Of(rule int) []Peak {
	var out []Peak
	for i := range p.slots {
		out = append(out, p.slots[i][rule]...)
	}
	slices.SortFunc(out, func(a, b Peak) int {
		return cmp.Or(cmp.Compare(b.Number, a.Number), cmp.Compare(a.At, b.At), cmp.Compare(a.Values, b.Values))
	})
	return out
}
