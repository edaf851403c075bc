package sigma

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// parseCondition returns the condition of a detection.
func parseCondition(t *testing.T, detection string) Condition {
	t.Helper()
	set, problems := Parse([]Document{{File: "x.yml", Data: []byte("title: x\nlogsource: {category: webserver}\ndetection:\n" + detection)}})
	for _, p := range problems {
		if p.Severity == Refused {
			t.Fatalf("%v\n%s", p, detection)
		}
	}
	c, _ := set.Rules()[0].Condition()
	return c
}

func TestImplies(t *testing.T) {
	one := func(item string) string { return "  s: {" + item + "}\n  condition: s\n" }
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`url.path|contains: abc`, `url.path|contains: B`, true},
		{`url.path|contains: b`, `url.path|contains: abc`, false},
		{`url.path|contains: abc`, `url.query|contains: b`, false},
		{`url.path|contains: abc`, `url.path|contains|cased: abc`, false},
		{`url.path|contains|cased: abc`, `url.path|contains: ABC`, true},
		{`url.path: /abc`, `url.path|startswith: /A`, true},
		{`url.path: /abc`, `url.path|endswith|cased: c`, false},
		{`url.path|startswith: /abc`, `url.path|startswith: /ab`, true},
		{`url.path|startswith: /abc`, `url.path|endswith: bc`, false},
		{`url.path|endswith: abc`, `url.path|endswith: bc`, true},
		{`url.path: "/a*bcd*e"`, `url.path|contains: bc`, true},
		{`url.path: "/a*bcd*e"`, `url.path|startswith: /a`, true},
		{`url.path: "/a*bcd*e"`, `url.path|endswith: e`, true},
		{`url.path: "/a*bcd*e*"`, `url.path|endswith: e`, false},
		{`url.path: /axb`, `url.path: "/a?b"`, true},
		{`url.path|re: "union +select"`, `url.path|contains: Union`, true},
		{`url.path|re: "union|select"`, `url.path|contains: union`, false},
		{`url.path|re: "(?i)union"`, `url.path|contains|cased: union`, false},
		{`url.path|cased: /abc`, `url.path|re: "^/a"`, true},
		{`url.path: /abc`, `url.path|re: "^/a"`, false},
		{`url.path: ["/a1", "/a2"]`, `url.path|startswith: ["/b", "/a"]`, true},
		{`url.path: ["/a1", "/c2"]`, `url.path|startswith: ["/b", "/a"]`, false},
		{`url.path: /abc`, `url.path|exists: true`, true},
		{`url.path: null`, `url.path|exists: true`, false},
		{`sc-status: 404`, `sc-status: ["4*"]`, true},
		{`sc-status: 404`, `http.response.status_code|gte: 400`, true},
		{`sc-status|gte: 500`, `sc-status|gt: 399`, true},
		{`sc-status|lte: 500`, `sc-status|gt: 399`, false},
		{`c-ip|cidr: 10.1.0.0/16`, `client.address|cidr: 10.0.0.0/8`, true},
		{`c-ip: 10.1.2.3`, `client.address|cidr: 10.0.0.0/8`, true},
		{`c-ip|cidr: 10.0.0.0/8`, `client.address|cidr: 10.1.0.0/16`, false},
		{`sc-status: 404, url.path: /a`, `sc-status: [403, 404]`, true},
		{`sc-status: 404`, `sc-status: 404, url.path: /a`, false},
		{`url.path|contains|all: [abc, def]`, `url.path|contains: de`, true},
		{`sc-status: 200`, `sc-status|neq: 404`, true},
		{`sc-status|neq: 404`, `sc-status|neq: [404, 403]`, false},
		{`sc-status|neq: [404, 403]`, `sc-status|neq: 404`, true},
		{`url.path: /a`, `url.path|neq: /b`, true},
		{`url.path: /a`, `url.path|neq: /%61`, false}, // one path can be both
		{`url.path|contains: a`, `url.path|neq: null`, true},
	} {
		if got := parseCondition(t, one(c.a)).Implies(parseCondition(t, one(c.b))); got != c.want {
			t.Errorf("%s => %s: want %v, got %v", c.a, c.b, c.want, got)
		}
	}
	sel := "  a: {url.path: /a}\n  b: {sc-status: 200}\n  c: {url.query|contains: q}\n  condition: "
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a and b", "b", true},
		{"a", "a or b", true},
		{"a or b", "b or a", true},
		{"a or b", "a", false},
		{"a and b", "1 of them", true},
		{"a and b", "2 of them", true},
		{"2 of them", "a and b", false},
		{"2 of them", "1 of them", true},
		{"2 of them", "a or b", true},
		{"all of them", "2 of them", true},
		{"not a", "not (a and b)", true},
		{"not (a or b)", "not a", true},
		{"not (a and b)", "not a", false},
		{"not 2 of them", "not (a and b)", true},
		{"a and not b", "a", true},
		{"not not a", "a", true},
	} {
		if got := parseCondition(t, sel+c.a+"\n").Implies(parseCondition(t, sel+c.b+"\n")); got != c.want {
			t.Errorf("%s => %s: want %v, got %v", c.a, c.b, c.want, got)
		}
	}
}

// TestImpliesAgreesWithNaive: where one condition implies another, no random
// event says otherwise; and the two exclude each other only where none has both.
func TestImpliesAgreesWithNaive(t *testing.T) {
	t.Parallel()
	implied, checked := 0, 0
	sets := *rounds
	if raceEnabled {
		sets = max(sets/8, 1) // one goroutine, as in TestIndexAgreesWithNaive
	}
	for round := range sets {
		g := gen{rand.New(rand.NewPCG(uint64(round), 99))}
		text := ""
		const n = 20
		for i := range n {
			text += g.rule(i)
			// Small conditions meet more often.
			text += fmt.Sprintf("---\ntitle: i%d\nid: i%d\nlogsource: {category: webserver}\ndetection:\n  s: {%s}\n  condition: %s\n",
				i, i, quoteKey(g.item()), g.pick("s", "not s"))
		}
		set, problems := Parse([]Document{{File: "random.yml", Data: []byte(text)}})
		for _, p := range problems {
			if p.Severity == Refused {
				t.Fatalf("%v\n%s", p, text)
			}
		}
		index, _ := set.Compile(CompileOptions{Lists: lists()})
		events := make([]func(n *node) bool, 40)
		for i := range events {
			ev := g.event()
			events[i] = func(n *node) bool { return naive(n, ev) }
		}
		for _, a := range index.Rules() {
			for _, b := range index.Rules() {
				ca, ok := a.Condition()
				cb, ok2 := b.Condition()
				if a == b || !ok || !ok2 {
					continue
				}
				imp, exc := ca.Implies(cb), ca.Implies(cb.Not())
				if !imp && !exc {
					continue
				}
				implied++
				for _, holds := range events {
					if !holds(a.cond) {
						continue
					}
					checked++
					if imp && !holds(b.cond) || exc && holds(b.cond) {
						t.Fatalf("round %d: implies %v, excludes %v\n%s\n%s", round, imp, exc, ruleText(text, a.ID), ruleText(text, b.ID))
					}
				}
			}
		}
	}
	t.Logf("%d implications, %d times looked at", implied, checked)
	if implied < 10*sets || checked < 100*sets {
		t.Errorf("only %d implications, %d times looked at", implied, checked)
	}
}
