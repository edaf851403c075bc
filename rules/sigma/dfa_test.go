package sigma

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
)

// sameAsRegexp compares an automaton with regexp.
func sameAsRegexp(t *testing.T, re *regexp.Regexp, d *dfa, text string) (matched bool) {
	t.Helper()
	want := re.MatchString(text)
	if got := d.match(text); got != want {
		t.Fatalf("%q in %q: got %v, regexp says %v", re, text, got, want)
	}
	return want
}

// mustNFA returns nil for what is too large.
func mustNFA(t testing.TB, expr string) *nfa {
	t.Helper()
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	return newNFA(re)
}

func newDFA(n *nfa, memory int) *dfa {
	var d dfa
	d.init(n, memory)
	return &d
}

// tight is memory for few states.
func tight(n *nfa) int { return 8*len(n.atoms) + 6*4*int(n.stride+8) }

// dfaExpr makes expressions out of all that the syntax has.
func dfaExpr(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(4) == 0 {
		leaves := []string{
			"a", "b", "k", "S", "ab", "é", "\u212a", "ſ", "[ab]", "[^a]", "[a-c]", `\d`, ".", `\b`, `\B`, "1", "$", "^", `\A`, `\z`,
			`\x{FFFD}`, "(?i:ks)", `\s`, `\w`, `\W`, `\pL`, `[^\x00-\x{10FFFF}]`, "(?s:.)", "(?m:^)", "(?m:$)", "", `\n`, "€", `[€-\x{10FFFF}]`, `\x{1F600}`, "[^é]",
		}
		return leaves[r.IntN(len(leaves))]
	}
	sub := func() string { return dfaExpr(r, depth-1) }
	switch r.IntN(8) {
	case 0:
		return "(?:" + sub() + "|" + sub() + ")"
	case 1:
		return "(?:" + sub() + ")" + []string{"*", "+", "?", "*?", "+?", "{2}", "{1,3}", "{0,2}", "{0,9}", "{3,12}", "{2,}"}[r.IntN(11)]
	case 2:
		return "(" + sub() + "|" + sub() + "|" + sub() + ")"
	case 3:
		return "(?" + []string{"i", "s", "m", "U", "im"}[r.IntN(5)] + ":" + sub() + ")"
	case 4:
		return "[ab1]{" + []string{"0,5", "1,7", "2,9", "0,20"}[r.IntN(4)] + "}" + sub()
	default:
		return sub() + sub()
	}
}

func dfaText(r *rand.Rand, n int) string {
	pieces := []string{
		"a", "a", "b", "b", "c", "k", "K", "s", "S", "ſ", "\u212a", "ab", "é", "É", "\xff", "\xc3", "\xe2\x82", "€", "\xa9", "\U0001F600",
		"\xf0\x9f", "\ufffd", "1", "12", " ", "\n", "_", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "\x00",
	}
	var b strings.Builder
	for range r.IntN(n) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// TestDFAIsRegexp: on random expressions and texts, with memory for all states
// and for a few.
func TestDFAIsRegexp(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 9))
	matched, tested, chains, flushes := 0, 0, 0, 0
	rounds := 8000
	if raceEnabled {
		rounds /= 8
	}
	for range rounds {
		expr := dfaExpr(r, 5)
		re, err := regexp.Compile(expr)
		if err != nil {
			continue
		}
		n := mustNFA(t, expr)
		if n == nil {
			t.Fatalf("%q: too large", expr)
		}
		chains += min(n.chains, 1)
		d, few := newDFA(n, maxRegexMemory), newDFA(n, tight(n))
		for range 20 {
			text := dfaText(r, 30)
			tested++
			if sameAsRegexp(t, re, d, text) {
				matched++
			}
			sameAsRegexp(t, re, few, text)
		}
		flushes += few.flushes
	}
	t.Logf("%d of %d match, %d expressions with chains, %d flushes", matched, tested, chains, flushes)
	if matched < tested/10 || matched > tested*9/10 || chains < 100 || flushes < 1000 {
		t.Error("that says too little")
	}
}

// TestDFAOfRules runs the expressions of the rules that gatewatch ships over
// texts made of their pieces.
func TestDFAOfRules(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(10, 11))
	exprs, pieces := builtinRegexps(t)
	matched := 0
	for _, re := range exprs {
		n := mustNFA(t, re.String())
		if n == nil {
			t.Errorf("%q: too large", re)
			continue
		}
		d := newDFA(n, minRegexMemory/2)
		for range 300 {
			var b strings.Builder
			for range r.IntN(120) {
				b.WriteString(pieces[r.IntN(len(pieces))])
			}
			if sameAsRegexp(t, re, d, b.String()) {
				matched++
			}
		}
	}
	t.Logf("%d expressions, %d pieces, %d matches", len(exprs), len(pieces), matched)
	if len(exprs) < 10 || matched < 100 {
		t.Error("that says too little")
	}
}

// builtinRegexps returns the regular expressions of the shipped rules and the
// literals in them, with what can follow each.
func builtinRegexps(t testing.TB) (exprs []*regexp.Regexp, pieces []string) {
	t.Helper()
	pieces = []string{" ", "'", "\"", "(", "=", "/", "<", "a", "é", "\xff", "%20", "1", "on", ";", "from", "0", "+", "*"}
	set, _ := Parse(append(builtinDocs(t), Document{File: "web.yml", Data: []byte(webRegexps)}))
	x, _ := set.Compile(CompileOptions{})
	for i := range x.patterns {
		p := &x.patterns[i]
		if p.m.op != opRegex {
			continue
		}
		exprs = append(exprs, p.m.re)
		for _, c := range p.m.required(x.inputs[p.input].src) {
			for _, l := range c.lits {
				if c.after == nil {
					pieces = append(pieces, l)
					continue
				}
				for b, left := 0, 3; b < 256 && left > 0; b++ {
					if c.after.has(byte(b)) {
						pieces = append(pieces, l+string([]byte{byte(b)}))
						left--
					}
				}
			}
		}
	}
	return exprs, pieces
}

// webRegexps are expressions as rules about requests have them, for the
// built-in rules have few.
const webRegexps = `
title: Expressions
logsource: {category: webserver}
level: low
detection:
  condition: selection
  selection:
    cs-uri-query|re:
      - '(?i)union[\s+/*]{1,20}(all[\s+/*]{1,20})?select\b'
      - '(?i)<script[^>]{0,80}>'
      - '(?i)on(error|load|click)\s*=\s*["'']?'
      - '\.\./(\.\./){1,8}etc/(passwd|shadow|hosts)'
      - '(?i)(sleep|benchmark|pg_sleep)\(\s*\d{1,6}'
      - '\$\{jndi:(ldap|rmi|dns)s?://'
      - '(?i)/wp-(admin|login|content)/.*\.php(\?|$)'
      - '(;|\||&&)\s*(cat|wget|curl|id)\b'
      - '^/api/v\d/users/\d{1,9}/admin$'
      - '%(25)?[0-9a-f]{2}'
      - '(?i)\bor\b\s+["'']?\d{1,3}["'']?\s*=\s*["'']?\d{1,3}'
`

func FuzzDFA(f *testing.F) {
	f.Add(`(?i)sel(ect|x)+\d`, "SELECT1")
	f.Add(`\ba{2,5}\b|^$`, "aaa é\xe2\x82")
	f.Add(`(?m)^.{0,9}x$`, "yyx\nx")
	f.Add(`[^>]{0,40}on\B`, "<a<aonz")
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 200 || len(text) > 2000 {
			t.Skip()
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			t.Skip()
		}
		n := mustNFA(t, expr)
		if n == nil {
			t.Skip()
		}
		for _, memory := range []int{maxRegexMemory, tight(n)} {
			d := newDFA(n, memory)
			sameAsRegexp(t, re, d, text)
			sameAsRegexp(t, re, d, text+text)
		}
		if x := newRegex(re); x != nil {
			var run regexRun
			run.init(x, minRegexMemory)
			if got, want := run.match(text), re.MatchString(text); got != want {
				t.Fatalf("%q in %q: got %v, regexp says %v", re, text, got, want)
			}
		}
	})
}

// TestRegexIsRegexp: the two automata of an expression together, alone and
// side by side with others, in one matcher's order of use.
func TestRegexIsRegexp(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 15))
	matched, tested, loose, wrong := 0, 0, 0, 0
	rounds := 1500
	if raceEnabled {
		rounds /= 5
	}
	for range rounds {
		var runs [lanes]regexRun
		var d [lanes]*dfa
		for k := range runs {
			for d[k] == nil {
				re, err := regexp.Compile(dfaExpr(r, 4))
				if err != nil {
					continue
				}
				x := newRegex(re)
				if x == nil {
					t.Fatalf("%q: too large", re)
				}
				if x.loose {
					loose++
				}
				runs[k].init(x, []int{minRegexMemory, 2 * tight(x.quick)}[r.IntN(2)])
				d[k] = &runs[k].quick
			}
		}
		for range 20 {
			text := dfaText(r, 40)
			quick := matchLanes(&d, text)
			for k := range runs {
				want := runs[k].x.re.MatchString(text)
				if got := runs[k].match(text); got != want {
					t.Fatalf("%q in %q: got %v, regexp says %v", runs[k].x.re, text, got, want)
				}
				if got := quick[k] && runs[k].confirm(text); got != want {
					t.Fatalf("%q in %q: got %v side by side, regexp says %v", runs[k].x.re, text, got, want)
				}
				tested++
				if want {
					matched++
				} else if quick[k] {
					wrong++
				}
			}
		}
	}
	t.Logf("%d of %d match, %d loose expressions, which said yes wrongly %d times", matched, tested, loose, wrong)
	if matched < tested/10 || matched > tested*9/10 || loose < rounds/15 || wrong < rounds/50 {
		t.Error("that says too little")
	}
}

// TestRegexMemory: so many expressions as there may be share what there is.
func TestRegexMemory(t *testing.T) {
	for n, want := range map[int]int{0: 256 << 10, 1: 256 << 10, 64: 128 << 10, 100_000: 64 << 10} {
		if got := regexMemory(n); got != want {
			t.Errorf("%d: got %d, want %d", n, got, want)
		}
	}
}

// TestDFAMemory: hostile texts grow an automaton no further than its share,
// and cost no allocation once it has grown.
func TestDFAMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	for _, expr := range []string{`(?:[ab].{0,50}){2}c[a-z]{20}x`, `(?:ab?c?){0,60}z(?:a|b.){40}`, `\b(?:a.{12}b|b.{12}a)\b`, `é[^€]{0,400}\pL{3}x`} {
		re, n := regexp.MustCompile(expr), mustNFA(t, expr)
		d := newDFA(n, minRegexMemory/2)
		texts := make([]string, 40)
		for i := range texts {
			texts[i] = dfaText(r, 3000)
		}
		for _, text := range texts {
			sameAsRegexp(t, re, d, text)
		}
		if d.memory() > minRegexMemory/2 {
			t.Errorf("%q takes %d bytes, more than %d", expr, d.memory(), minRegexMemory/2)
		}
		t.Logf("%q: %d places, %d states, %d bytes, %d flushes", expr, len(n.atoms), len(d.states), d.memory(), d.flushes)
		i := 0
		if allocs := testing.AllocsPerRun(80, func() { d.match(texts[i%len(texts)]); i++ }); allocs != 0 {
			t.Errorf("%q: %v allocations a text", expr, allocs)
		}
	}
}

// TestNFAFits: what is too large is left to regexp.
func TestNFAFits(t *testing.T) {
	for expr, want := range map[string]bool{
		`(?i)union\s+select`:          true,
		`[^>]{0,1000}x`:               true,
		`(?:a{1000}){0}`:              true,
		strings.Repeat("x.{1000}", 5): false,
		`\pL{1,900}\PN{0,100}`:        true,
	} {
		if got := mustNFA(t, expr) != nil; got != want {
			t.Errorf("%q: got %v, want %v", expr, got, want)
		}
	}
}
