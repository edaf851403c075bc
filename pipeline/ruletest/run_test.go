package ruletest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors"
	"gatewatch/rules/sigma"
)

const loginRules = `title: Failed login
id: 11111111-0000-4000-8000-000000000001
name: failed
logsource: {category: webserver}
detection:
  path: {url.path: /login}
  status: {http.response.status_code: 401}
  condition: path and status
level: informational
---
title: Many failed logins
id: 11111111-0000-4000-8000-000000000002
correlation:
  type: event_count
  rules: [failed]
  group-by: [client.address]
  timespan: 1m
  condition: {gte: 5}
level: medium
---
title: Many accounts
id: 11111111-0000-4000-8000-000000000003
correlation:
  type: value_count
  rules: [failed]
  group-by: [client.address]
  timespan: 1m
  condition: {field: user_agent.original, gte: 4}
level: high
`

const line = `203.0.113.7 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"` + "\n"

func run(t *testing.T, tests string) []Result {
	t.Helper()
	fsys := fstest.MapFS{"x.yml": {Data: []byte(loginRules)}, "x.test.yml": {Data: []byte(tests)}}
	s, index, err := Load(fsys, Pair{"x.yml", "x.test.yml"}, "rules/", sigma.CompileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return Run(t.Context(), s, index, Options{})
}

// TestReports: each way in which a case can fail is told in words.
func TestReports(t *testing.T) {
	log := "    log: |\n      " + line
	for _, c := range []struct{ name, test, want string }{
		{"holds", log + "    repeat: {times: 5, every: 1s}\n    expect:\n      - {rule: Many failed logins, count: 5}\n", ""},
		{"id and all keys", log + `    repeat: {times: 6, every: 1s}
    expect:
      - rule: 11111111-0000-4000-8000-000000000002
        level: medium
        group: {client.address: 203.0.113.7}
        rules: [Many failed logins]
        count: 6
        detected_at: 2026-11-23T10:00:04Z
`, ""},
		{"nothing fired", log + "    repeat: {times: 4, every: 1s}\n    expect:\n      - {rule: Many failed logins, level: medium, group: {client.address: 203.0.113.7}}\n", `
    wanted 1 incident, got no incident
    - line 7: Many failed logins, medium, client.address 203.0.113.7
  what the rules saw:
    Many failed logins: at most 4 events in 1m at 2026-11-23T10:00:03Z (client.address 203.0.113.7), needs gte 5
    Many accounts: at most 1 value of user_agent.original in 1m at 2026-11-23T10:00:00Z (client.address 203.0.113.7), needs gte 4
    Failed login matched 4 lines, the first is line 1
`},
		{"nobody wanted it", log + "    repeat: {times: 5, every: 1s}\n    expect: none\n", `
    wanted no incident, got 1 incident
    + Many failed logins, medium, client.address 203.0.113.7, count 5, detected 2026-11-23T10:00:04Z
  what the rules saw:
    Many failed logins: at most 5 events in 1m at 2026-11-23T10:00:04Z (client.address 203.0.113.7), needs gte 5
    Many accounts: at most 1 value of user_agent.original in 1m at 2026-11-23T10:00:00Z (client.address 203.0.113.7), needs gte 4
    Failed login matched 5 lines, the first is line 1
`},
		{"other values", log + `    repeat: {times: 5, every: 1s}
    expect:
      - rule: Many failed logins
        level: high
        group: {client.address: 203.0.113.8, auth.account: a}
        rules: [Many failed logins, Many accounts]
        count: 6
        detected_at: 2026-11-23T10:00:05Z
`, `
    ~ line 7: Many failed logins
        - level: high
        + level: medium
        - group auth.account: a
        + group auth.account: (no such field)
        - group client.address: 203.0.113.8
        + group client.address: 203.0.113.7
        - rules: Many accounts (did not fire)
        - count: 6
        + count: 5
        - detected_at: 2026-11-23T10:00:05Z
        + detected_at: 2026-11-23T10:00:04Z (1s earlier)
  what the rules saw:
    Many failed logins: at most 5 events in 1m at 2026-11-23T10:00:04Z (client.address 203.0.113.7), needs gte 5
    Many accounts: at most 1 value of user_agent.original in 1m at 2026-11-23T10:00:00Z (client.address 203.0.113.7), needs gte 4
    Failed login matched 5 lines, the first is line 1
`},
		{"nearly matched", "    log: |\n      " + strings.Replace(line, " 401 ", " 200 ", 1) + "    expect: [{rule: Many faild logins}]\n", `
    wanted 1 incident, got no incident
    - line 5: Many faild logins
    line 5: no rule has the title or id "Many faild logins"; did you mean Many failed logins?
  what the rules saw:
    Failed login nearly matched 1 line, the first is line 1:
        status: http.response.status_code is "200", not "401"
`},
		{"unreadable", "    log: \"{iso} \\e[31mno request\"\n    expect: none\n", `
    1 of 1 lines cannot be read as a request
  what the rules saw:
    line 1 cannot be read: column 28: bad_time: 2026-11-23T10:00:00+00:00 ` + "\ufffd" + `[31mno request
    no rule matched or nearly matched a line
`},
		{"no request", "    log: \"# a comment\"\n    expect: none\n", `
    the log has no request
  what the rules saw:
    no rule matched or nearly matched a line
`},
		{"back in time", "    parts:\n      - log: |\n          " + line + "      - log: |\n          " + line + "        start: 2026-11-23T09:00:00Z\n    expect: none\n", `
    1 line too far behind those before it to count in windows; let times go up
  what the rules saw:
    Many failed logins: at most 1 event in 1m at 2026-11-23T10:00:00Z (client.address 203.0.113.7), needs gte 5
    Many accounts: at most 1 value of user_agent.original in 1m at 2026-11-23T10:00:00Z (client.address 203.0.113.7), needs gte 4
    Failed login matched 2 lines, the first is line 1
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, "tests:\n  - name: case\n"+c.test)[0]
			want := c.want
			if want != "" {
				want = "rules/x.test.yml:2: case" + want
			}
			if d := cmp.Diff(want, r.Report()); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
			if r.OK() != (c.want == "") {
				t.Errorf("OK is %v", r.OK())
			}
		})
	}
}

// TestAssign: an expected incident with few keys does not take the one that
// another needs.
func TestAssign(t *testing.T) {
	r := run(t, `tests:
  - name: two clients
    log: |
      203.0.113.7 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"
      203.0.113.8 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"
    repeat: {times: 6, every: 1s}
    expect:
      - {rule: Many failed logins}
      - {rule: Many failed logins, group: {client.address: 203.0.113.7}}
  - name: the same twice
    log: |
      203.0.113.7 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"
      203.0.113.8 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"
    repeat: {times: 6, every: 1s}
    expect:
      - {rule: Many failed logins, group: {client.address: 203.0.113.7}}
      - {rule: Many failed logins, group: {client.address: 203.0.113.7}}
`)
	if !r[0].OK() {
		t.Error(r[0].Report())
	}
	if r[1].OK() {
		t.Error("one incident was taken twice")
	}
}

func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, problems := Parse("x.test.yml", []byte("tests: [{name: a, log: x, expect: none}]"))
	if problems != nil {
		t.Fatal(problems)
	}
	set, _ := sigma.Parse([]sigma.Document{{File: "x.yml", Data: []byte(loginRules)}})
	index, _ := set.Compile(sigma.CompileOptions{})
	r := Run(ctx, s, index, Options{})
	if len(r) != 1 || r[0].OK() || !errors.Is(r[0].Err, context.Canceled) {
		t.Errorf("got %+v", r)
	}
}

// TestMemory: a log of several blocks comes out whole, and lines are found.
func TestMemory(t *testing.T) {
	p := Part{Log: strings.Repeat("x", 200) + "{n}", Times: 5000}
	m := &memory{name: "x", text: p.append(nil)}
	var got []byte
	blocks, lines := 0, int64(0)
	err := m.Run(t.Context(), collectors.Position{}, func(it collectors.Item) error {
		if it.Block.Offset != int64(len(got)) || it.Block.Line != lines+1 {
			t.Errorf("block at %d, line %d; want %d, %d", it.Block.Offset, it.Block.Line, len(got), lines+1)
		}
		got = append(got, it.Block.Data...)
		lines += int64(strings.Count(string(it.Block.Data), "\n"))
		blocks++
		return nil
	})
	if err != nil || blocks < 3 || string(got) != string(m.text) {
		t.Fatalf("%d blocks, %d of %d bytes, %v", blocks, len(got), len(m.text), err)
	}
	want := strings.Repeat("x", 200) + "2"
	text := m.Fetch(t.Context(), []collectors.Lookup{{Offset: 404, Length: 201, Line: 3}, {Offset: int64(len(got)), Length: 1}})
	if text[0].Text != want || text[1].Text != "" {
		t.Errorf("fetched %+v", text)
	}
}

func TestFind(t *testing.T) {
	fsys := fstest.MapFS{}
	for _, name := range []string{"a/x.yml", "a/x.test.yml", "a/x-y.yml", "b/z.yaml", "b/z.test.yaml", "b/lost.test.yml", "b/README.md", "b/z.yml"} {
		fsys[name] = &fstest.MapFile{Data: []byte("title: x")}
	}
	for _, c := range []struct {
		root string
		want []Pair
	}{
		{".", []Pair{{"a/x-y.yml", ""}, {"a/x.yml", "a/x.test.yml"}, {"", "b/lost.test.yml"}, {"b/z.yaml", "b/z.test.yaml"}, {"b/z.yml", ""}}},
		{"a", []Pair{{"a/x-y.yml", ""}, {"a/x.yml", "a/x.test.yml"}}},
		{"a/x.yml", []Pair{{"a/x.yml", "a/x.test.yml"}}},
		{"a/x.test.yml", []Pair{{"a/x.yml", "a/x.test.yml"}}},
		{"b/lost.test.yml", []Pair{{"", "b/lost.test.yml"}}},
		{"b/README.md", []Pair{}},
	} {
		got, err := Find(fsys, c.root)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.root, d)
		}
	}
	if _, err := Find(fsys, "c"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a root that is not there: %v", err)
	}
}

func TestLoadFaults(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"bad.yml": "title: x\ndetection: {}\n", "bad.test.yml": "test: []\n",
		"empty.yml": "---\n", "empty.test.yml": "tests: [{name: a, log: x, expect: none}]\n", "alone.yml": loginRules,
		"broken.yml": "title: [x\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		pair Pair
		want []string
	}{
		{Pair{"bad.yml", "bad.test.yml"}, []string{"p/bad.yml:", "p/bad.test.yml:1:1: the file has no key \"test\"; did you mean tests?"}},
		{Pair{"empty.yml", "empty.test.yml"}, []string{"p/empty.yml: the file has no rule"}},
		{Pair{"alone.yml", ""}, []string{"p/alone.yml: no tests: there is no alone.test.yml beside it, and no list under gatewatch: tests: in it"}},
		{Pair{"broken.yml", ""}, []string{"p/broken.yml:2:1: not valid YAML"}},
		{Pair{"", "lost.test.yml"}, []string{"p/lost.test.yml: there is no lost.yml beside it"}},
	} {
		_, _, err := Load(os.DirFS(dir), c.pair, "p/", sigma.CompileOptions{})
		if err == nil {
			t.Errorf("%v loads", c.pair)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v: want %q in\n%v", c.pair, w, err)
			}
		}
	}
}
