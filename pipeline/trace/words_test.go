package trace

import (
	"testing"

	"gatewatch/detectors/observation"
)

// TestBaselineNeeds: a rule that waits for silence asks for less than is expected.
func TestBaselineNeeds(t *testing.T) {
	for _, c := range []struct {
		baseline observation.Baseline
		want     string
	}{
		{observation.Baseline{Up: true, Factor: 3, Score: 5, Least: 600, Spread: observation.SpreadFew}, "3 times what is expected and a score of 5 and spread few and 600 seen"},
		{observation.Baseline{Down: true, Factor: 20, Score: 6, Least: 100}, "at most 1/20 of what is expected and a score of -6 and 100 expected"},
		{observation.Baseline{Up: true, Down: true, Score: 6, Least: 30}, "a score of 6 or -6 and 30 seen or expected"},
		{observation.Baseline{Up: true, Down: true, Factor: 2, Least: 30}, "2 times what is expected or at most 1/2 of what is expected and 30 seen or expected"},
	} {
		if got := Needs(&observation.Rule{Type: observation.RateAnomaly, Baseline: c.baseline}); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.baseline, got, c.want)
		}
	}
}

// TestToldOfNothing: no numbers have a mean of 0.
func TestToldOfNothing(t *testing.T) {
	for _, c := range []struct {
		count Count
		want  string
	}{
		{Count{Rule: &observation.Rule{Type: observation.ValueAvg, Timespan: 1200}}, "nothing in 20m"},
		{Count{Rule: &observation.Rule{Type: observation.ValueAvg, Timespan: 1200}, Kept: 1}, "a mean of 0 in 20m"},
		{Count{Rule: &observation.Rule{Type: observation.EventCount, Timespan: 1200}}, "0 events in 20m"},
	} {
		if got := c.count.Told(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.count, got, c.want)
		}
	}
}
