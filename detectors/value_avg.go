package detectors

// valueAvg compares the mean, the exact sum by the number of events. Nothing has none.
type valueAvg struct{ summed }

func (valueAvg) number(e *Engine, v view, _ int64) (float64, bool) {
	return e.sum(v.w.side) / float64(v.w.total), v.w.total > 0
}

func (a valueAvg) about(e *Engine, v view, _ uint32) float64 {
	n, _ := a.number(e, v, v.s.now)
	return n
}
