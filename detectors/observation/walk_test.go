package observation

import "testing"

// TestMayLead: wherever a walk begins and however it steps, it soon comes to a
// number with which a window can begin, and few numbers are such.
func TestMayLead(t *testing.T) {
	for step := uint64(1); step <= 10; step++ {
		for _, from := range []uint64{0, 1, 7, 99, 1_000_003, 1 << 40} {
			gap, leads := 0, 0
			const ids = 100_000
			for i := range uint64(ids) {
				if gap++; MayLead(from + i*step) {
					gap, leads = 0, leads+1
				}
				if gap > 60 {
					t.Fatalf("from %d in steps of %d: %d ids without one", from, step, gap)
				}
			}
			if share := float64(leads) / ids; share < 0.06 || share > 0.065 {
				t.Errorf("from %d in steps of %d: a share of %g", from, step, share)
			}
		}
	}
}
