package lint

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors/format"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules"
	"gatewatch/rules/sigma"
)

var update = flag.Bool("update", false, "write what the golden files should hold")

func document1(name, text string) []sigma.Document {
	return []sigma.Document{{File: name, Data: []byte(text)}}
}

// TestGolden: each rule file of testdata has the faults that stand in its
// golden file, and each check finds something in one of them.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) < 9 {
		t.Fatalf("want 9 files or more, got %d (%v)", len(files), err)
	}
	found := map[string]bool{"bad-tuning": true} // see TestTuning
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := Run(document1(filepath.Base(file), string(data)), Options{})
		var b strings.Builder
		for _, f := range r.Findings {
			found[f.Check] = true
			if !slices.Contains(checkNames(), f.Check) {
				t.Errorf("%s: the check is in no list", f)
			}
			if f.Line < 1 || f.Column < 1 || f.Severity == 0 || f.Message == "" || strings.ContainsAny(f.String(), "\n\x1b") {
				t.Errorf("bad finding %+v", f)
			}
			b.WriteString(f.String() + "\n")
		}
		golden := strings.TrimSuffix(file, ".yml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), b.String()); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
	for _, c := range Checks() {
		if !found[c.Name] {
			t.Errorf("no file has a fault for %s", c.Name)
		}
	}
}

// TestBuiltin: the rules that gatewatch ships have no faults.
func TestBuiltin(t *testing.T) {
	docs, err := sigma.ReadFS(rules.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	r := Run(docs, Options{})
	for _, f := range r.Findings {
		t.Error(f)
	}
	if r.Rules < 50 {
		t.Errorf("checked %d rules", r.Rules)
	}
}

// TestContext: rules may refer to those of the context and are compared with
// them; nothing is said of the context itself.
func TestContext(t *testing.T) {
	context := document1("context.yml", `title: Login page
id: 22222222-0000-4000-8000-000000000001
name: login_page
level: high
logsource: {category: webserver}
detection:
  s: {url.path|startswith: /login}
  condition: s
`)
	other := document1("other.yml", `title: Taken
id: 22222222-0000-4000-8000-000000000002
level: high
logsource: {category: webserver}
detection:
  s: {url.path|startswith: /taken}
  condition: s
`)
	const head = "level: medium\ntags: [attack.t1190]\ndescription: x\nfalsepositives: [x]\n"
	text := "title: Page of admins\nid: 22222222-0000-4000-8000-000000000003\n" + head + `logsource: {category: webserver}
detection:
  s: {url.path: /login/admin}
  condition: s
---
title: Many of the page
id: 22222222-0000-4000-8000-000000000004
` + head + `correlation:
  type: event_count
  rules: [login_page]
  group-by: [client.address]
  timespan: 1m
  condition: {gte: 5}
generate: true
---
title: Taken too
id: 22222222-0000-4000-8000-000000000002
` + head + `logsource: {category: webserver}
detection:
  s: {url.path|startswith: /other}
  condition: s
`
	want := []string{
		`rules.yml:1:8: info: the rule "Login page" (context.yml:1), of level high, finds all that this one does; remove the rule, or raise its level if it says more [shadowed]`,
		`rules.yml:27:5: warning: the document at other.yml:2 has "22222222-0000-4000-8000-000000000002" too; where both are loaded, one is refused; give it another one, or do not load the other file [same-id]`,
	}
	docs := document1("rules.yml", text)
	check(t, want, Run(docs, Options{Context: slices.Concat(context, other)}))
	// A copy of what is in the context is the same file.
	check(t, []string{}, Run(document1("copy.yml", string(other[0].Data)+"description: x\ntags: [attack.t1190]\nfalsepositives: [x]\n"), Options{
		Context: document1("other.yml", string(other[0].Data)+"description: x\ntags: [attack.t1190]\nfalsepositives: [x]\n"),
	}))
}

func check(t *testing.T, want []string, r *Report) {
	t.Helper()
	got := []string{}
	for _, f := range r.Findings {
		got = append(got, f.String())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("findings (-want +got):\n%s", d)
	}
}

// TestTuning: rules are checked as the configuration tunes them, and mistakes
// of tunings are told where they stand.
func TestTuning(t *testing.T) {
	const head = "level: medium\ntags: [attack.t1190]\ndescription: x\nfalsepositives: [x]\n"
	docs := document1("rules.yml", "title: Failed login\nid: 22222222-0000-4000-8000-000000000001\nname: failed\n"+head+`logsource: {category: webserver}
detection:
  s: {url.path: /login, sc-status: [401, 403]}
  condition: s
---
title: Two kinds of failure
id: 22222222-0000-4000-8000-000000000002
`+head+`correlation:
  type: value_count
  rules: [failed]
  group-by: [client.address]
  timespan: 1m
  condition: {field: sc-status, gte: 2}
---
title: Three failures
id: 22222222-0000-4000-8000-000000000003
`+head+`correlation:
  type: event_count
  rules: [failed]
  group-by: [client.address]
  timespan: 1m
  condition: {gte: 3}
---
title: Five failures
id: 22222222-0000-4000-8000-000000000004
level: high
tags: [attack.t1190]
description: x
falsepositives: [x]
correlation:
  type: event_count
  rules: [failed]
  group-by: [client.address]
  timespan: 1m
  condition: {gte: 5}
`)
	check(t, []string{}, Run(docs, Options{}))
	high, three := observation.High, 3.0
	check(t, []string{
		`gatewatch.yaml:9:1: warning: the tuning names "22222222-0000-4000-8000-000000000009" under rules, but no loaded rule is called so; did you mean 22222222-0000-4000-8000-000000000001 or 22222222-0000-4000-8000-000000000002 or 22222222-0000-4000-8000-000000000003? [bad-tuning]`,
		`rules.yml:24:14: error: sc-status has at most 2 different values here: "401", "403"; lower the number, or count another field [never-fires]`,
		`rules.yml:39:8: warning: the rule "Three failures" (rules.yml:26), of level high, finds all that this one does; remove the rule, or raise its level if it says more [shadowed]`,
	}, Run(docs, Options{Compile: sigma.CompileOptions{Tune: []sigma.Tuning{
		{Rules: []string{"22222222-0000-4000-8000-000000000002"}, Threshold: &three, File: "gatewatch.yaml", Line: 5, Column: 1},
		{Rules: []string{"22222222-0000-4000-8000-000000000003"}, Level: &high, File: "gatewatch.yaml", Line: 6, Column: 1},
		{Rules: []string{"22222222-0000-4000-8000-000000000009"}, Level: &high, File: "gatewatch.yaml", Line: 9, Column: 1},
	}}}))
	// A rule that is disabled neither shadows nor is shadowed.
	check(t, []string{}, Run(docs, Options{Compile: sigma.CompileOptions{Disable: func(r *sigma.Rule) bool { return strings.HasSuffix(r.ID, "4") }}}))
}

// TestMethods: the methods of the list are those that decoders know.
func TestMethods(t *testing.T) {
	d, err := format.New(format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(methods(), "BREW", "get") {
		want := m
		if !slices.Contains(methods(), m) {
			want = "_OTHER"
		}
		var ev event.Event
		if err := d.Decode([]byte(`203.0.113.7 - - [23/Nov/2026:10:00:00 +0000] "`+m+` / HTTP/1.1" 200 1 "-" "x"`), &ev); err != nil {
			t.Fatal(err)
		}
		if ev.Method != want {
			t.Errorf("%s is read as %s, want %s", m, ev.Method, want)
		}
	}
}

// FuzzRun: no rule file makes the linter panic, and what it says of it can be
// printed.
func FuzzRun(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("title: \x1b[31m\nlogsource: &a {category: webserver}\ndetection: {s: [*a, {url.path|re: '\x01'}], condition: s} # lint-ignore: \x1b x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, x := range Run(document1("f.yml", string(data)), Options{}).Findings {
			if x.Line < 1 || x.Column < 1 || x.Message == "" || strings.ContainsFunc(x.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("bad finding %+v", x)
			}
			if !slices.Contains(checkNames(), x.Check) {
				t.Fatalf("no such check: %+v", x)
			}
		}
	})
}

// TestManyRules: thousands of rules are compared in seconds.
func TestManyRules(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	n := 3000
	if raceEnabled {
		n /= 10 // the time that it may take is that of a program without the detector
	}
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 4+r.IntN(8))
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz/-_."[r.IntN(30)]
		}
		return string(b)
	}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\ntitle: Rule %d\nid: 33333333-0000-4000-8000-%012d\nlevel: high\nlogsource: {category: webserver}\ndetection:\n", i, i)
		fmt.Fprintf(&b, "  a:\n    cs-method: %s\n    cs-uri-query|contains|all: ['/%s', '%s']\n", []string{"GET", "POST"}[r.IntN(2)], word(), word())
		fmt.Fprintf(&b, "  b:\n    cs-uri-query|contains: ['%s', '%s', '%s']\n    sc-status: [200, 302]\n  c: {cs-user-agent|contains: %s}\n", word(), word(), word(), word())
		fmt.Fprintf(&b, "  condition: %s\n", []string{"a", "a or b", "b and not c", "1 of them", "a and c"}[r.IntN(5)])
	}
	begin := time.Now()
	report := Run(document1("many.yml", b.String()), Options{})
	took := time.Since(begin)
	t.Logf("%d rules in %v, %d findings", report.Rules, took, len(report.Findings))
	if report.Rules != n || took > time.Minute {
		t.Errorf("%d rules took %v", report.Rules, took)
	}
}

// TestSignature: the quick comparison never rules out what is so.
func TestSignature(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	word := func() string {
		b := make([]byte, 1+r.IntN(6))
		for i := range b {
			b[i] = "aAb/"[r.IntN(4)]
		}
		return "'" + []string{"", "*", "?"}[r.IntN(3)] + string(b) + []string{"", "*", "*b"}[r.IntN(3)] + "'"
	}
	item := func() string {
		switch r.IntN(7) {
		case 0:
			return "sc-status: " + []string{"404", "[404, 403]", "'404*'", "'4*'"}[r.IntN(4)]
		case 1:
			return "sc-status|gte: 400"
		case 2:
			return "url.path|re: " + []string{"abb", "aab|abb", "^/abb"}[r.IntN(3)]
		case 3:
			return "url.path|exists: true"
		case 4:
			return "url.path|contains|all: [" + word() + ", " + word() + "]"
		default:
			return "url.path|" + []string{"contains", "startswith", "endswith", "neq", "cased"}[r.IntN(5)] + ": [" + word() + ", " + word() + "]"
		}
	}
	var b strings.Builder
	const n = 400
	for i := range n {
		fmt.Fprintf(&b, "---\ntitle: r%d\nlogsource: {category: webserver}\ndetection:\n  a: {%s}\n  b: {%s}\n  c: {%s}\n  condition: %s\n", i, item(), item(), item(),
			[]string{"a", "a", "a and b", "a or b", "1 of them", "2 of them", "a and not b", "a and (b or c)", "not a", "(a and b) or (b and c)"}[r.IntN(10)])
	}
	set, problems := sigma.Parse(document1("x.yml", b.String()))
	var conds []sigma.Condition
	for _, rule := range set.Rules() {
		c, _ := rule.Condition()
		conds = append(conds, c)
	}
	if len(conds) != n {
		t.Fatalf("%d of %d rules load: %v", len(conds), n, problems)
	}
	implied, ruledOut := 0, 0
	for _, a := range conds {
		sa := newSignature(a)
		for _, b := range conds {
			may := sa.mayImply(newSignature(b))
			switch {
			case a.Implies(b):
				if implied++; !may {
					line, _ := a.Place()
					other, _ := b.Place()
					t.Fatalf("the condition at line %d implies that at line %d, but is ruled out", line, other)
				}
			case !may:
				ruledOut++
			}
		}
	}
	t.Logf("%d implied, %d ruled out", implied, ruledOut)
	if implied < 2*n || ruledOut < n*n/4 {
		t.Errorf("%d implied, %d ruled out: the test says little", implied, ruledOut)
	}
}

// TestDocumentation: docs/rule-lint.md has a row for each check, in order.
func TestDocumentation(t *testing.T) {
	name := filepath.Join("..", "..", "..", "docs", "rule-lint.md")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, c := range Checks() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.Name, c.Severity, c.About)
	}
	const head = "| check | severity | what it finds |\n|---|---|---|\n"
	before, rest, ok := strings.Cut(string(data), head)
	if !ok {
		t.Fatal("there is no table of checks")
	}
	end := 0
	for strings.HasPrefix(rest[end:], "|") {
		end += strings.IndexByte(rest[end:], '\n') + 1
	}
	if *update {
		if err := os.WriteFile(name, []byte(before+head+want.String()+rest[end:]), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want.String(), rest[:end]); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}
