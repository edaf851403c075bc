package detectors

import (
	"testing"

	"gatewatch/detectors/observation"
)

// TestReload: a window goes on under a plan in which its rule has another
// number and another bound; windows of other rules end.
func TestReload(t *testing.T) {
	bound := func(n float64) []observation.Bound { return []observation.Bound{{Op: observation.Gte, Value: n}} }
	kind := observation.NewKind([]string{"client.address"}, []bool{true})
	count := func(id string, span int64, n float64) observation.Rule {
		return observation.Rule{ID: id, Type: observation.EventCount, Timespan: span, Bounds: bound(n), Depth: 1, Alerting: true}
	}
	route := observation.NewKind([]string{"http.route"}, []bool{false})
	old := &observation.Plan{Kinds: []observation.Kind{kind}, Rules: []observation.Rule{count("a", 60, 6), count("b", 60, 6), count("c", 60, 6)}}
	b := count("b", 60, 5)
	b.Kind = 1
	c := count("c", 120, 6)
	c.Kind = 1
	next := &observation.Plan{Kinds: []observation.Kind{route, kind}, Rules: []observation.Rule{c, b}}

	e := New(old, Options{})
	send := func(plan *observation.Plan, kindIndex uint16, hits ...uint32) (fired []string) {
		var batch observation.Batch
		var out Findings
		var hh []observation.Hit
		for _, h := range hits {
			hh = append(hh, observation.Hit{Rule: h, N: 1})
		}
		observeOne(&batch, &plan.Kinds[kindIndex], oracleClient(1), 1000, false, hh)
		batch.Obs[0].Kind = kindIndex
		e.Apply(Run{Batch: &batch, To: 1}, &out)
		for _, f := range out.List {
			fired = append(fired, plan.Rules[f.Rule].ID)
		}
		return fired
	}
	for range 4 {
		if f := send(old, 0, 0, 1, 2); f != nil {
			t.Fatalf("fired early: %v", f)
		}
	}
	if err := e.Reload(next); err != nil {
		t.Fatal(err)
	}
	if f := send(next, 1, 0, 1); len(f) != 1 || f[0] != "b" {
		t.Fatalf("fired %v after the reload, want b, whose window was kept", f)
	}
}
