package alerting

import (
	"fmt"
	"math"

	"gatewatch/detectors/observation"
)

// walk takes in what a finding says of the ids that were asked for: of the
// windows of a rule, the one with most of them.
func (rs *ruleState) walk(f *observation.Finding) {
	if f.Walked.IDs >= rs.walked.IDs {
		rs.walked = f.Walked
	}
}

// walkedText is what an id_walk saw in words.
func walkedText(w *observation.Walked) string {
	out := fmt.Sprintf("%d different ids in one window", w.IDs)
	if w.Follows && w.IDs > 1 {
		way, n := "above", w.Up
		if w.Down > w.Up {
			way, n = "below", w.Down
		}
		out += fmt.Sprintf(", %s of them closely %s the one before", percent(n, w.IDs-1), way)
	}
	out += fmt.Sprintf("; %s were answered with success, %s were not there, %s were denied", percent(w.Served, w.IDs), percent(w.Missing, w.IDs), percent(w.Denied, w.IDs))
	if w.Usual > 0 {
		out += fmt.Sprintf("; on this route nineteen of twenty busy ones ask for at most %s", amount(w.Usual))
	}
	return out
}

func percent(n, of int64) string {
	return fmt.Sprintf("%.0f %%", math.Floor(100*float64(n)/float64(of)+0.5))
}
