package sigma

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestAutomatonFindsAll compares the automaton with a search for each literal
// alone, with all states dense, some, and only the root.
func TestAutomatonFindsAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, 1+r.IntN(n))
		for i := range b {
			b[i] = "aabbcX/\xff\x00"[r.IntN(9)]
		}
		return string(b)
	}
	for round := range 300 {
		var lits []literal
		for i := range 1 + r.IntN(30) {
			w := lower(word(6))
			lits = append(lits, literal{w, literalHit{pattern: uint32(i), length: uint32(len(w))}})
		}
		for _, entries := range []int{1, 64, 1 << 20} {
			a := buildAutomaton(lits, entries)
			text := word(60)
			got := map[string]bool{}
			state := uint32(0)
			for i := range len(text) {
				state = a.step(state&^stateHit, a.class[text[i]])
				if state&stateHit == 0 {
					continue
				}
				for s := a.number(state &^ stateHit); s != 0; s = a.next[s] {
					for _, h := range a.hits[a.out[s]:a.out[s+1]] {
						got[fmt.Sprint(h.pattern, " ", i+1)] = true
					}
				}
			}
			want := map[string]bool{}
			for _, l := range lits {
				for end := len(l.text); end <= len(text); end++ {
					if lower(text[end-len(l.text):end]) == l.text {
						want[fmt.Sprint(l.hit.pattern, " ", end)] = true
					}
				}
			}
			for k := range want {
				if !got[k] {
					t.Fatalf("round %d, %d entries: %s not found in %q", round, entries, k, text)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("round %d, %d entries: %d found, want %d", round, entries, len(got), len(want))
			}
		}
	}
}

// holdsClauses tests what the index tests before it runs a regular
// expression, in the plainest way.
func holdsClauses(m *matcher, text string) bool {
	low := lower(text)
	for _, c := range m.required(srcURL) {
		ok := false
		for _, l := range c.lits {
			for i := 0; i+len(l) <= len(low); i++ {
				end := i + len(l)
				if low[i:end] == l && (c.after == nil || end < len(text) && c.after.has(text[end])) {
					ok = true
				}
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

func randomRegexp(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		return []string{"a", "b", "k", "S", "ab", "sel", "x", "é", "K", "ſ", "[ab]", "[^a]", "[a-c]", `\d`, ".", `\b`, "1", "$", "^", `\x{FFFD}`, "(?i:ks)", `\s`}[r.IntN(22)]
	}
	sub := func() string { return randomRegexp(r, depth-1) }
	switch r.IntN(7) {
	case 0:
		return "(?:" + sub() + "|" + sub() + ")"
	case 1:
		return "(?:" + sub() + ")" + []string{"*", "+", "?", "{2}", "{1,3}", "{0,2}"}[r.IntN(6)]
	case 2:
		return "(" + sub() + "|" + sub() + "|" + sub() + ")"
	case 3:
		return "(?i)" + sub()
	default:
		return sub() + sub()
	}
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString([]string{"a", "b", "c", "k", "K", "s", "S", "ſ", "K", "ab", "sel", "x", "é", "É", "\xff", "\xc3", "1", "12", " ", "SEL"}[r.IntN(20)])
	}
	return b.String()
}

// TestPrefilterNeverRejects: whatever a regular expression matches holds its
// clauses.
func TestPrefilterNeverRejects(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	matched, filtered := 0, 0
	rounds := 6000
	if raceEnabled {
		rounds /= 5
	}
	for range rounds {
		re, err := regexp.Compile(randomRegexp(r, 4))
		if err != nil {
			continue
		}
		m := &matcher{op: opRegex, re: re}
		for range 25 {
			text := randomText(r)
			holds := holdsClauses(m, text)
			if !holds {
				filtered++
			}
			if re.MatchString(text) {
				if matched++; !holds {
					t.Fatalf("%q matches %q, but its clauses %v do not hold", re, text, m.required(srcURL))
				}
			}
		}
	}
	t.Logf("%d matches, %d texts filtered", matched, filtered)
	if matched < rounds*10/6 || filtered < rounds*10/6 {
		t.Errorf("%d matches and %d texts filtered say too little", matched, filtered)
	}
}

func FuzzPrefilter(f *testing.F) {
	f.Add(`(?i)sel(ect|x)+\d`, "SELECT1")
	f.Add(`a|b`, "b")
	f.Add(`(?i)union\s+all`, "UNION ALL")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil || len(expr) > 200 {
			t.Skip()
		}
		m := &matcher{op: opRegex, re: re}
		if re.MatchString(text) && !holdsClauses(m, text) {
			t.Errorf("%q matches %q, but its clauses do not hold", expr, text)
		}
	})
}
