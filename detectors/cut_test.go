package detectors

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"gatewatch/detectors/observation"
)

// TestCutIsAMoment: what a cut writes is the state at the moment when it began,
// whatever is applied while it is encoded; put together with the cuts before it
// gives an engine that goes on exactly like one that was never stopped.
func TestCutIsAMoment(t *testing.T) {
	plan := floodPlan()
	plan.Rules[0].Bounds[0].Value = 12
	plan.Rules[1].Bounds[0].Value = 4
	plan.Rules[2].Bounds[0].Value = 4
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 8))
		o := Options{Keys: 8 + r.IntN(40), Entries: 60, Track: true, Owns: func(slot int) bool { return slot < 8 }}
		e := New(plan, o)
		now := int64(1_700_000_000)
		var script []func(e *Engine) []verdict
		step := func() {
			client := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(8)), byte(r.IntN(200))})
			now += int64(r.IntN(10) / 9)
			at := now
			hits := rulesHit(r, plan)
			script = append(script, func(e *Engine) []verdict {
				var b observation.Batch
				var out Findings
				observeOne(&b, &plan.Kinds[0], client, at, false, hits)
				e.Apply(Run{Batch: &b, To: 1}, &out)
				return verdicts(plan, &out)
			})
		}
		disk := map[int][][]byte{}
		for range 12 {
			for range 100 + r.IntN(400) {
				step()
				script[len(script)-1](e)
			}
			whole := r.IntN(3)
			e.BeginCut(1, func(slot int) bool { return whole == 0 || whole == 1 && slot%3 == 0 })
			from := len(script)
			for range r.IntN(400) { // goes on while the cut is encoded
				step()
				script[len(script)-1](e)
				if r.IntN(3) == 0 {
					e.EncodeSome(r.IntN(5))
				}
			}
			for _, s := range e.EndCut() {
				if s.Base {
					disk[s.Slot] = nil
				}
				disk[s.Slot] = append(disk[s.Slot], s.Chunks...)
			}
			if r.IntN(3) > 0 {
				continue
			}
			again := New(plan, o)
			m, err := again.MapTable(PlanTable(plan))
			if err != nil {
				t.Fatal(err)
			}
			for slot, chunks := range disk {
				for _, c := range chunks {
					if err := again.Load(slot, c, m); err != nil {
						t.Fatal(err)
					}
				}
			}
			again.FinishLoad()
			for _, apply := range script[from:] {
				apply(again)
			}
			// From here on both must say the same.
			for i := range 600 {
				step()
				apply := script[len(script)-1]
				want, got := apply(e), apply(again)
				if len(want) != len(got) {
					t.Fatalf("seed %d: %d observations after the cut: want %v, got %v", seed, i, want, got)
				}
				for j := range want {
					if want[j] != got[j] {
						t.Fatalf("seed %d: %d observations after the cut: want %v, got %v", seed, i, want, got)
					}
				}
			}
			a, b := e.Stats(), again.Stats()
			if a.Entities != b.Entities || a.Entries != b.Entries || a.Probation != b.Probation {
				t.Fatalf("seed %d: sizes differ after the cut: %+v and %+v", seed, a, b)
			}
		}
	}
}
