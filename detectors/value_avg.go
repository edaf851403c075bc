package detectors

import "gatewatch/detectors/observation"

// valueAvg compares the mean, the exact sum by the number of events. Nothing has none.
type valueAvg struct{ summed }

func (valueAvg) number(e *Engine, v view, _ int64) (float64, bool) {
	return e.sum(v.w.side) / float64(v.w.total), v.w.total > 0
}

// aside reports whether a number keeps a mean from being as great as the rule
// has it: it is no part of what made the condition true.
func (r *rule) aside(number float64) bool {
	if r.Type != observation.ValueAvg {
		return false
	}
	for _, b := range r.Bounds {
		if b.Op == observation.Gte && number < b.Value || b.Op == observation.Gt && number <= b.Value {
			return true
		}
	}
	return false
}

func (a valueAvg) about(e *Engine, v view, _ uint32) float64 {
	n, _ := a.number(e, v, v.s.now)
	return n
}
