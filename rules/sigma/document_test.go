package sigma

import (
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

func TestReadFS(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	fsys := fstest.MapFS{
		"r/b.yml": file("b"), "r/a/z.yaml": file("z"), "r/b.test.yml": file("t"), "r/c.test.yaml": file("t"),
		"r/readme.md": file("m"), "r/a.yml": file("a"), "other.txt": file("o"),
	}
	docs, err := ReadFS(fsys, "r")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, d.File+"="+string(d.Data))
	}
	if diff := cmp.Diff([]string{"r/a.yml=a", "r/a/z.yaml=z", "r/b.yml=b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if docs, err = ReadFS(fsys, "other.txt"); err != nil || len(docs) != 1 {
		t.Errorf("a file by name: %v, %v", docs, err)
	}
	if _, err = ReadFS(fsys, "none"); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

// TestScalars: values are compared as they are written, whatever YAML takes
// them for.
func TestScalars(t *testing.T) {
	for _, c := range []struct {
		value string
		user  string
		want  bool
	}{
		{"no", "no", true},
		{"no", "false", false},
		{"true", "TRUE", true},
		{"1.10", "1.10", true},
		{"1.10", "1.1", false},
		{"0123", "0123", true},
		{"0x1f", "0x1f", true},
		{"2026-11-23", "2026-11-23", true},
		{"1e3", "1e3", true},
		{"'null'", "null", true},
		{"'~'", "~", true},
		{"null", "null", false},
		{"null", "", true},
		{"~", "", true},
		{"''", "", true},
		{"", "", true},
		{"[a, null]", "", true},
		{"!!str 5", "5", true},
	} {
		x := mustCompile(t, "title: t\ndetection: {s: {user.name: "+c.value+"}, condition: s}\n")
		e := request("GET", "/", 200, "x")
		e.User = c.user
		if got := len(x.NewMatcher().Match(e)) == 1; got != c.want {
			t.Errorf("%s on %q: got %v", c.value, c.user, got)
		}
	}
}

func TestHeader(t *testing.T) {
	set, problems := Parse([]Document{{File: "dir/a.yml", Data: []byte(`# a comment
title: A title
id: 6f3e2987-db24-4c78-a860-b4f4095a7095
name: a_name
status: test
description: what it says
author: somebody
references: [https://example.org]
falsepositives: none known
level: critical
tags: [attack.t1190, owasp.api8-2023]
gatewatch: {family: web-attack, resolve_after: 90m}
logsource: {category: webserver, definition: any}
detection: {s: {url.path: /x}, condition: s}
---
---
title: By name
name: second
detection: {s: {url.path: /y}, condition: s}
`)}})
	if len(problems) > 0 || len(set.Rules()) != 2 {
		t.Fatal(problems, len(set.Rules()))
	}
	want := Rule{
		Kind: Detection, ID: "6f3e2987-db24-4c78-a860-b4f4095a7095", Name: "a_name", Title: "A title",
		Description: "what it says", Author: "somebody", Status: "test", Level: observation.Critical,
		Tags: []string{"attack.t1190", "owasp.api8-2023"}, References: []string{"https://example.org"},
		FalsePositives: []string{"none known"}, Family: "web-attack", ResolveAfter: 90 * time.Minute,
		File: "dir/a.yml", Line: 2,
	}
	got := *set.Rules()[0]
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Rule{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := set.Rules()[1]; r.ID != "second" || r.Family != "second" || r.Level != observation.Medium || r.Line != 17 {
		t.Errorf("second: %+v", r)
	}
	x, _ := set.Compile(CompileOptions{})
	if p := x.Plan().Rules[0]; p.Timespan != 5400 || p.ResolveAfter != 5400 || p.Family != "web-attack" || p.Level != observation.Critical {
		t.Errorf("plan: %+v", p)
	}
}

// TestEpochWraps: the stamps of a matcher start anew without a false match.
func TestEpochWraps(t *testing.T) {
	x := mustCompile(t, twoRules)
	m := x.NewMatcher()
	evs := []*event.Event{request("GET", "/a?f=../../etc", 200, "a"), request("GET", "/", 200, "a")}
	m.epoch, m.texts = 1<<32-3, 1<<32-3
	for range 4 {
		for i, want := range [][]string{{"trav", "any"}, {"any"}} {
			if diff := cmp.Diff(want, ids(m.Match(evs[i]))); diff != "" {
				t.Fatalf("epoch %d: %s", m.epoch, diff)
			}
		}
	}
}

// TestNodes: documents that stand in a file of another kind have the places of
// that file, and can be held to one kind.
func TestNodes(t *testing.T) {
	const text = `# the configuration
rules:
  filters:
    - title: our scanner
      filter:
        rules: [base]
        s: {c-ip: 192.0.2.1}
        condition: not s
    - title: misspelt
      filter: {rules: [base], s: {c-ipp: 192.0.2.1}, condition: not s}
    - title: not a filter
      detection: {s: {c-ip: 192.0.2.1}, condition: s}
  one:
    title: just one
    filter: {rules: [bas], s: {c-ip: 192.0.2.2}, condition: not s}
`
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	rules := get(root.Content[0], "rules")
	set, problems := Parse([]Document{
		{File: "a.yml", Data: []byte("title: base\nname: base\ndetection: {s: {url.path: /}, condition: s}\n")},
		{File: "gatewatch.yaml", Node: get(rules, "filters"), Only: Filter},
		{File: "gatewatch.yaml", Node: get(rules, "one"), Only: Filter},
		{File: "gatewatch.yaml", Node: &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, Only: Filter},
	})
	x, more := set.Compile(CompileOptions{})
	var got []string
	for _, p := range append(problems, more...) {
		got = append(got, p.Error())
	}
	want := []string{
		`gatewatch.yaml:10:35: unknown field "c-ipp"; did you mean c-ip?`,
		`gatewatch.yaml:11:7: only a filter can stand here, "not a filter" is a detection; write a filter, or put it into a file of rules`,
		`gatewatch.yaml:15:22: warning: there is no rule "bas"; did you mean base?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m := x.NewMatcher()
	for client, want := range map[string]int{"192.0.2.1": 0, "192.0.2.2": 1} {
		ev := request("GET", "/", 200, "x")
		ev.Client = netip.MustParseAddr(client)
		if got := len(m.Match(ev)); got != want {
			t.Errorf("%s: %d matches", client, got)
		}
	}
}
