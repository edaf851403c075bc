package sigma

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestNeedsDecoding: whatever decoding changes is announced, and what logs
// are full of is not.
func TestNeedsDecoding(t *testing.T) {
	g := gen{rand.New(rand.NewPCG(40, 41))}
	for range 20000 {
		s := g.text(12)
		for mode := plusLiteral; mode <= plusLine; mode++ {
			out, d := appendDecoded(nil, s, mode)
			if string(out) != s && !needsDecoding(s, mode) {
				t.Fatalf("%q becomes %q in mode %d, unannounced", s, out, mode)
			}
			if tail := len(out) - d.hi; string(out[:d.lo]) != s[:d.lo] || string(out[d.hi:]) != s[len(s)-tail:] {
				t.Fatalf("%q becomes %q in mode %d, which is said to differ from %d to %d", s, out, mode, d.lo, d.hi)
			}
			if want := naiveDecode(s, []string{"path", "query", "target", "line"}[mode]); string(out) != want {
				t.Fatalf("%q becomes %q in mode %d, want %q", s, out, mode, want)
			}
			if i := strings.IndexByte(s, '?'); i < 0 && d.cut != -1 || i >= 0 && d.cut != len(naiveDecode(s[:i], "path")) && mode != plusQuery {
				t.Fatalf("%q in mode %d: cut at %d", s, mode, d.cut)
			}
		}
	}
	line := `192.0.2.1 - - [10/Mar/2026:09:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 1 "-" "x (+https://example.com/?bot)"`
	if needsDecoding(line, plusLine) {
		t.Errorf("nothing in %s is encoded", line)
	}
}
