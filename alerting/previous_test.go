package alerting

import (
	"fmt"
	"testing"

	"gatewatch/detectors/observation"
)

// TestPrevious: who was there before is named with how often, the most frequent first, and at most eight.
func TestPrevious(t *testing.T) {
	var p previous
	p.add(&observation.Card{Principal: "mallory"})
	if p.Times != 0 {
		t.Errorf("%d times of a firing with nobody before", p.Times)
	}
	p.add(&observation.Card{Before: "ann"})
	if got, want := p.text(), "once where others alone had been before: ann"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p.add(&observation.Card{Before: "bob\x00warehouse"})
	p.add(&observation.Card{Before: "carl\x00warehouse"})
	if got, want := p.text(), "3 times where others alone had been before: warehouse (2), ann, bob, carl"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i := range 10 {
		p.add(&observation.Card{Before: fmt.Sprintf("user-%d", i)})
	}
	want := "13 times where others alone had been before: warehouse (2), ann, bob, carl, user-0, user-1, user-2, user-3, 6 times somebody else"
	if got := p.text(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
