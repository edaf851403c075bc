package main

import (
	"testing"

	"gatewatch/collectors/format"
)

// TestReasonText: each reason that a line may have is told in words.
func TestReasonText(t *testing.T) {
	for _, r := range format.Reasons() {
		if reasonText(r) == reasonText("") {
			t.Errorf("%s has no words", r)
		}
	}
}
