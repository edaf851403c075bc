package injection

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// What plainQuery lets pass has no parameter that is suspect.
func TestPlainQuery(t *testing.T) {
	pieces := []string{
		"a", "page", "=", "=", "=", "&", "&", "1", "42", "id", "/", "/etc/", ".", "..", "|", "'", "%27", "+", "or", "+or+", "union", "select", "if", "IF(", "-", "sort", "rating",
		"PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "eyJhIjoxfQ", "blue", "red+shoes", "http:", "//", "constructor", "java.", "x@y.z", ",", ":",
	}
	r := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range 200_000 {
		var b strings.Builder
		for range 1 + r.IntN(9) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		q := b.String()
		if !plainQuery(q) {
			continue
		}
		passed++
		if !strings.Contains(q, "&") {
			continue // is judged as it always was
		}
		for p := range strings.SplitSeq(q, "&") {
			name, value, pair := strings.Cut(p, "=")
			if m := look(name); m&(strange|percent) != 0 || !pair && suspectRaw(name, m) || vocabulary.find(bytesOf(name)) != 0 {
				t.Fatalf("%q passed with the name %q", q, name)
			}
			if suspectRaw(value, look(value)) {
				t.Fatalf("%q passed with the value %q", q, value)
			}
		}
	}
	if passed < 1000 {
		t.Errorf("only %d passed", passed)
	}
}
