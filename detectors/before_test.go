package detectors

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// TestCardVersions: cards keep who was there before, and those of a state file from before
// there was such a thing are read.
func TestCardVersions(t *testing.T) {
	want := observation.Card{Principal: "bob", Account: "b", Method: "GET", Route: "/x", Status: 200, Outcome: 1, Bytes: -1}
	old := []byte{withoutBefore, 1, 3, 'b', 'o', 'b', 1, 'b', 3, 'G', 'E', 'T', 2, '/', 'x', 0x90, 3, 1}
	for _, c := range []struct {
		record []byte
		before string
	}{
		{old, ""},
		{append(append([]byte{stateVersion}, old[1:15]...), 3, 'a', 'n', 'n', 0x90, 3, 1), "ann"},
	} {
		r := reader{b: c.record}
		r.begin()
		_, got := r.card(nil)
		want.Before = c.before
		want.Sum()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b observation.Card) bool { return a == b })); diff != "" || r.err != nil || len(r.b) > 0 {
			t.Errorf("version %d: %v, %d bytes left, (-want +got)\n%s", c.record[0], r.err, len(r.b), diff)
		}
	}
	r := reader{b: []byte{99}}
	if r.begin(); r.err == nil {
		t.Error("an unknown version is read")
	}
}
