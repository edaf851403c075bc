package trace

import (
	"testing"

	"gatewatch/detectors/observation"
)

// TestWindow: the number that a report tells is that of the rule's type.
func TestWindow(t *testing.T) {
	type in struct {
		at     int64
		hash   uint64
		number float64
		steps  uint64
	}
	gte := []observation.Bound{{Op: observation.Gte, Value: 5}}
	steps := []string{"a", "b", "c"}
	for _, c := range []struct {
		name        string
		rule        observation.Rule
		in          []in
		want        float64 // after the last
		bound, told string
	}{
		{"events", observation.Rule{Type: observation.EventCount, Bounds: gte}, []in{{at: 1}, {at: 2}, {at: 12}}, 1, "at most", "at most 1 event in 10s"},
		{"values", observation.Rule{Type: observation.ValueCount, ValueField: "user.name", Bounds: gte}, []in{{at: 1, hash: 1}, {at: 2, hash: 2}, {at: 11, hash: 2}}, 1, "at most", "at most 1 value of user.name in 10s"},
		{"sum", observation.Rule{Type: observation.ValueSum, Bounds: gte}, []in{{at: 1, number: 2.5}, {at: 2, number: 2}}, 4.5, "at most", "a sum of at most 4.5 in 10s"},
		{"mean", observation.Rule{Type: observation.ValueAvg, Bounds: []observation.Bound{{Op: observation.Lt, Value: 1}}}, []in{{at: 1, number: 2}, {at: 2, number: 4}}, 3, "at least", "a mean of at least 3 in 10s"},
		{"median", observation.Rule{Type: observation.ValuePercentile, Percentile: 50, Bounds: gte}, []in{{at: 1, number: 9}, {at: 2, number: 1}, {at: 3, number: 4}}, 4, "at most", "a percentile of at most 4 in 10s"},
		{"rank", observation.Rule{Type: observation.ValuePercentile, Bounds: gte}, []in{{at: 1, hash: 1}, {at: 2, hash: 1}, {at: 3, hash: 1}, {at: 4, hash: 2}}, 25, "at most", "a percentile of at most 25 in 10s"},
		{"steps", observation.Rule{Type: observation.Temporal, Steps: steps}, []in{{at: 3, steps: 4}, {at: 4, steps: 1}, {at: 4, steps: 1}}, 2, "at most", "at most 2 of 3 rules in 10s"},
		{"steps in order", observation.Rule{Type: observation.TemporalOrdered, Steps: steps}, []in{{at: 1, steps: 2}, {at: 2, steps: 2}, {at: 2, steps: 1}, {at: 3, steps: 1}}, 2, "at most", "at most 2 of 3 rules in 10s"},
	} {
		c.rule.Timespan = 10
		w := &window{counts: map[uint64]int{}}
		var got []float64
		for _, e := range c.in {
			got = w.add(&c.rule, e.at, &observation.Hit{N: 1, Hash: e.hash, Number: e.number, Steps: e.steps}, 200)
		}
		last := got[len(got)-1]
		if last != c.want || told(&c.rule, last, c.bound) != c.told {
			t.Errorf("%s: want %v (%s), got %v (%s)", c.name, c.want, c.told, last, told(&c.rule, last, c.bound))
		}
	}
	less := &observation.Rule{Type: observation.EventCount, Timespan: 10, Bounds: []observation.Bound{{Op: observation.Lt, Value: 2}}}
	w := &window{counts: map[uint64]int{}}
	w.add(less, 1, &observation.Hit{N: 3}, 200)
	if got := w.add(less, 20, &observation.Hit{N: 1}, 200); len(got) != 2 || got[0] != 0 || !nearer(less, got[0], got[1]) {
		t.Errorf("a window that ran out before the event: %v", got)
	}
}
