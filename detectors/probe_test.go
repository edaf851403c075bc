package detectors

import (
	"math/rand/v2"
	"testing"

	"gatewatch/detectors/observation"
)

// TestProbe holds what probes are told against a count of everything, on random
// rules that share windows or do not, and findings with a probe against those
// without one.
func TestProbe(t *testing.T) {
	told, exact := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 11))
		plan := &observation.Plan{Kinds: []observation.Kind{observation.NewKind([]string{"client.address"}, []bool{true})}}
		for i := range 1 + r.IntN(4) {
			ru := randomRule(r, i, r.IntN(2))
			ru.Plain, ru.Bounds = false, []observation.Bound{{Op: observation.Gte, Value: float64(1 + r.IntN(8))}}
			plan.Rules = append(plan.Rules, ru)
		}
		if r.IntN(2) == 0 {
			shareWindow(r, plan)
		}
		naive := make([][2]oracle, len(plan.Rules))
		for i := range naive {
			naive[i] = [2]oracle{{rule: &plan.Rules[i]}, {rule: &plan.Rules[i]}}
		}
		numbers := map[uint32]uint32{}
		probed := New(plan, Options{Probe: func(rule uint32, o *observation.Observation, _ int64, n uint32) {
			if o.Values == "" {
				t.Errorf("seed %d: a probe without an entity", seed)
			}
			numbers[rule] = n
			told++
		}})
		plain := New(plan, Options{})
		var batch observation.Batch
		var out, without Findings
		now := int64(1_700_000_000)
		for range 40 {
			now += r.Int64N(6)
			who := r.IntN(2)
			batch.Reset()
			hits := rulesHit(r, plan)
			observeOne(&batch, &plan.Kinds[0], oracleClient(who), now, false, hits)
			clear(numbers)
			out.Reset()
			probed.Apply(Run{Batch: &batch, To: len(batch.Records)}, &out)
			without.Reset()
			plain.Apply(Run{Batch: &batch, To: len(batch.Records)}, &without)
			if len(out.List) != len(without.List) {
				t.Fatalf("seed %d: %d findings with a probe, %d without", seed, len(out.List), len(without.List))
			}
			for i := range hits {
				h := &hits[i]
				o := &naive[h.Rule][who]
				o.observe(now, h, 401, h.Rule)
				in, _ := o.window(now)
				want, need := o.number(in), int64(plan.Rules[h.Rule].Keep())
				got, ok := numbers[h.Rule]
				switch {
				case !ok:
					t.Fatalf("seed %d: nobody was told of rule %d", seed, h.Rule)
				case want <= need && int64(got) != want, want > need && int64(got) < need:
					t.Fatalf("seed %d: rule %+v reached %d, the probe was told %d", seed, plan.Rules[h.Rule], want, got)
				case want <= need:
					exact++
				}
			}
		}
	}
	if told < 1000 || exact < 1000 {
		t.Fatalf("only %d calls, %d of them compared", told, exact)
	}
}
