package ruletest

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gatewatch/rules/sigma"
)

const selfTested = `title: Failed login
name: failed
logsource: {category: webserver}
detection:
  s:
    url.path: /login
    http.response.status_code: 401
  condition: s
---
title: Many failed logins
correlation:
  type: event_count
  rules: [failed]
  group-by: [client.address]
  timespan: 1m
  condition: {gte: 3}
gatewatch:
  tests:
    - name: three
      log: |
        203.0.113.7 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"
      repeat: {times: 3, every: 1s}
      expect: [{rule: Many failed logins, count: 3}]
    - name: near miss, two
      log: |
        203.0.113.7 - - [{time}] "POST /login HTTP/1.1" 401 31 "-" "curl"
      repeat: {times: 2, every: 1s}
      expect: none
---
title: Login page asked for
logsource: {category: webserver}
detection:
  s: {url.path: &page /login}
  t: {http.request.method: GET, url.original: *page}
  condition: s and t
level: low
gatewatch:
  tests:
    - name: the page
      log: '203.0.113.7 - - [{time}] "GET /login HTTP/1.1" 401 31 "-" "curl"'
      expect: [{rule: Login page asked for}]
`

// TestSection: cases in the documents of a rule file run like those beside it,
// and after them.
func TestSection(t *testing.T) {
	fsys := fstest.MapFS{
		"x.yml": {Data: []byte(selfTested)},
		"x.test.yml": {Data: []byte(`tests:
  - name: beside
    log: '203.0.113.7 - - [{time}] "POST /login HTTP/1.1" 200 31 "-" "curl"'
    expect: none
`)},
		"y.yml": {Data: []byte(selfTested)},
	}
	for _, c := range []struct {
		pair Pair
		want []string
	}{
		{Pair{"x.yml", "x.test.yml"}, []string{"r/x.test.yml:2 beside", "r/x.yml:19 three", "r/x.yml:24 near miss, two", "r/x.yml:39 the page"}},
		{Pair{"y.yml", ""}, []string{"r/y.yml:19 three", "r/y.yml:24 near miss, two", "r/y.yml:39 the page"}},
	} {
		s, index, err := Load(fsys, c.pair, "r/", sigma.CompileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		results := Run(t.Context(), s, index, Options{})
		for i := range results {
			r := &results[i]
			where, _, _ := strings.Cut(r.Report(), ": ")
			got = append(got, where+at(r.Case))
			if !r.OK() {
				t.Error(r.Report())
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("cases (-want +got):\n%s", d)
		}
		if silent := Silent(index, results); len(silent) > 0 {
			t.Errorf("silent: %v", silent)
		}
		if silent := Silent(index, results[:1]); len(silent) == 0 {
			t.Error("a rule that no case makes fire is not silent")
		}
	}
}

func at(c *Case) string { return strings.TrimSpace(c.File + ":" + itoa(c.Line) + " " + c.Name) }

// TestSectionFaults: mistakes in the cases of a rule file have their place in
// it.
func TestSectionFaults(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"name: the page", "name: three", `x.yml:39:7: the case at line 19 has the name "three" too; give it a name of its own`},
		{"expect: none", "expcet: none", `x.yml:28:7: a case has no key "expcet"; did you mean expect?`},
		{"      repeat: {times: 2, every: 1s}\n", "      repeat: {times: 0, every: 1s}\n", `x.yml:27:23: times is "0"`},
		{"tests:\n    - name: three", "tests: {\n    - name: three", "not valid YAML"},
		{"tests:\n    - name: the page", "tests: []\n  family: f\n  test:\n    - name: the page", `x.yml:40:3: unknown key "test" under gatewatch; did you mean tests?`},
	} {
		text := strings.Replace(selfTested, c.old, c.new, 1)
		_, _, err := Load(fstest.MapFS{"x.yml": {Data: []byte(text)}}, Pair{Rules: "x.yml"}, "", sigma.CompileOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\nwant %s\ngot  %v", c.new, c.want, err)
		}
	}
}

// FuzzSection: no rule file makes the reader of its cases panic.
func FuzzSection(f *testing.F) {
	f.Add([]byte(selfTested))
	f.Add([]byte("gatewatch: {tests: [{name: a, log: x, expect: none}]}\n---\ngatewatch: &a\n  tests: [*a]\n"))
	f.Add([]byte("gatewatch: {tests: {a: 1}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems, _ := section("f.yml", data)
		if (s == nil) != (len(problems) > 0) {
			t.Fatalf("suite %v with problems %v", s, problems)
		}
	})
}
