package sigma

import (
	"math/rand/v2"
	"testing"
)

// TestNeedsDecoding: whatever decoding changes is announced, and what logs
// are full of is not.
func TestNeedsDecoding(t *testing.T) {
	g := gen{rand.New(rand.NewPCG(40, 41))}
	for range 20000 {
		s := g.text(12)
		for mode := plusLiteral; mode <= plusLine; mode++ {
			if out, _ := appendDecoded(nil, s, mode); string(out) != s && !needsDecoding(s, mode) {
				t.Fatalf("%q becomes %q in mode %d, unannounced", s, out, mode)
			}
		}
	}
	line := `192.0.2.1 - - [10/Mar/2026:09:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 1 "-" "x (+https://example.com/?bot)"`
	if needsDecoding(line, plusLine) {
		t.Errorf("nothing in %s is encoded", line)
	}
}
