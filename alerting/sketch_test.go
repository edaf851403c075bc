package alerting

import "testing"

// TestSketchOfChosenHashes: registers as full as they can be give no more
// than the limit, and no negative number.
func TestSketchOfChosenHashes(t *testing.T) {
	var s sketch
	for i := range s.registers {
		s.registers[i] = 64 - sketchBits + 1
	}
	if got := s.estimate(); got != maxEstimate {
		t.Errorf("estimate: want %d, got %d", int64(maxEstimate), got)
	}
}
