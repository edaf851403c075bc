package alerting

import (
	"testing"

	"gatewatch/detectors/observation"
)

// TestWalkedText: what a walk saw is said in whole percents, the order only where
// the rule asks for it, and what is usual only where that is known.
func TestWalkedText(t *testing.T) {
	for _, c := range []struct {
		w    observation.Walked
		want string
	}{
		{
			observation.Walked{IDs: 101, Up: 93, Down: 7, Follows: true, Served: 90, Missing: 11, Usual: 63},
			"101 different ids in one window, 93 % of them closely above the one before; 89 % were answered with success, 11 % were not there, 0 % were denied; on this route nineteen of twenty busy ones ask for at most 63",
		},
		{
			observation.Walked{IDs: 50, Denied: 48, Missing: 2},
			"50 different ids in one window; 0 % were answered with success, 4 % were not there, 96 % were denied",
		},
	} {
		if got := walkedText(&c.w); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
