package ruletest

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
	"gatewatch/rules"
)

func TestParse(t *testing.T) {
	s, problems := Parse("x.test.yml", []byte(`tests:
  - name: near miss, all keys
    start: 2026-11-23T11:00:00+01:00
    parts:
      - log: a
      - log: b {n}
        repeat: {times: 3, every: 400ms}
        start: 2026-11-24T00:00:00Z
    expect: none
  - name: fires
    log: |
      a
    expect:
      - rule: R
        level: high
        group: {client.address: 2001:db8::/64, http.response.status_code: 401}
        rules: [R, S]
        count: 7
        family: f
        first_seen: "2026-11-23T10:00:00Z"
        detected_at: "2026-11-23T10:00:01Z"
        last_seen: "2026-11-23T10:00:02Z"
        sources: [203.0.113.7]
        accounts: [anna, ben]
        shadow: false
`))
	if problems != nil {
		t.Fatal(problems)
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	high := observation.High
	want := &Suite{File: "x.test.yml", Cases: []*Case{
		{File: "x.test.yml", Line: 2, Name: "near miss, all keys", Parts: []Part{
			{Log: "a", Start: at, Times: 1},
			{Log: "b {n}", Start: at.Add(14 * time.Hour), Times: 3, Every: 400 * time.Millisecond},
		}},
		{File: "x.test.yml", Line: 10, Name: "fires", Parts: []Part{{Log: "a\n", Start: at, Times: 1}}, Expect: []Expected{{
			Line: 14, Rule: "R", Level: &high, Group: map[string]string{"client.address": "2001:db8::/64", "http.response.status_code": "401"},
			Rules: []string{"R", "S"}, Count: 7, DetectedAt: at.Add(time.Second), Family: "f", FirstSeen: at, LastSeen: at.Add(2 * time.Second),
			Sources: []string{"203.0.113.7"}, Accounts: []string{"anna", "ben"}, Shadow: new(false),
		}}},
	}}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("suite (-want +got):\n%s", d)
	}
	var kinds []Kind
	for _, c := range s.Cases {
		kinds = append(kinds, c.Kind())
	}
	if d := cmp.Diff([]Kind{NearMiss, Fires}, kinds); d != "" {
		t.Error(d)
	}
}

func TestText(t *testing.T) {
	s, problems := Parse("x.test.yml", []byte(`tests:
  - name: a
    parts:
      - log: "{time} {iso} {n} {word} {word {nn} {{n}}"
        repeat: {times: 2, every: 90m}
      - log: |
          end
          {n}
        start: 2027-01-01T00:00:00Z
    expect: none
`))
	if problems != nil {
		t.Fatal(problems)
	}
	want := "23/Nov/2026:10:00:00 +0000 2026-11-23T10:00:00+00:00 0 bababa {word {nn} {0}\n" +
		"23/Nov/2026:11:30:00 +0000 2026-11-23T11:30:00+00:00 1 babace {word {nn} {1}\nend\n0\n"
	if d := cmp.Diff(want, string(s.Cases[0].Text())); d != "" {
		t.Errorf("text (-want +got):\n%s", d)
	}
	for n, want := range map[int]string{17: "baceki", 999: "mumumu", 1000: "cebababa"} {
		if got := string(appendWord(nil, n)); got != want {
			t.Errorf("word %d: want %s, got %s", n, want, got)
		}
	}
}

// TestProblems: mistakes are reported with their place and what to write.
func TestProblems(t *testing.T) {
	const good = "tests:\n  - name: a\n    log: x\n    expect: none\n"
	for _, c := range []struct{ in, want string }{
		{"", "1:1: the file is empty; begin with tests:"},
		{"# nothing\n", "1:1: the file is empty; begin with tests:"},
		{"a: [", "not valid YAML"},
		{"tests: []", "1:8: tests must be a list of cases; write a list with a - before each case"},
		{"{}", "1:1: the file has no tests; begin with tests:"},
		{"test: x", `1:1: the file has no key "test"; did you mean tests?`},
		{"x: 1", `1:1: the file has no key "x"; there is only tests`},
		{good + "---\n" + good, "a test file is one document"},
		{"tests: [x]", "1:9: a case must be a map of keys and values"},
		{strings.Replace(good, "expect: none", "expcet: none", 1), `4:5: a case has no key "expcet"; did you mean expect?`},
		{strings.Replace(good, "    expect: none\n", "", 1), "2:5: a case needs expect; add expect: none, or the incidents"},
		{strings.Replace(good, "    log: x\n", "", 1), "2:5: a case needs log or parts; add log:, the lines to read"},
		{strings.Replace(good, "name: a\n    ", "", 1), "2:5: a case needs a name; add name:, what the case shows"},
		{strings.Replace(good, "name: a", "name:", 1), "2:10: name must be a text; write one value after it"},
		{strings.Replace(good, "name: a", "name: a\n    name: b", 1), `3:5: the key "name" appears twice, first at line 2; write it once`},
		{strings.Replace(good, "log: x", "log: ' '", 1), "3:10: the log has no line; write the lines under log: |"},
		{strings.Replace(good, "log: x", "log: &a x", 1) + "  - name: b\n    log: *a\n    expect: none\n", "6:10: aliases have no meaning here; write the value out"},
		{good + good[7:], `5:5: the case at line 2 has the name "a" too; give it a name of its own`},
		{strings.Replace(good, "none", "[]", 1), "4:13: expect must say which incidents are opened; write none, or a list of incidents"},
		{strings.Replace(good, "none", "nothing", 1), "4:13: expect must say which incidents are opened"},
		{strings.Replace(good, "none", "[{}]", 1), "4:14: an expected incident without keys would be any incident; name at least its rule"},
		{strings.Replace(good, "none", "[{rule: ''}]", 1), "4:21: rule is empty; write one value after it"},
		{strings.Replace(good, "none", "[{title: a}]", 1), `4:15: an expected incident has no key "title"; there are accounts, count, detected_at, family, first_seen, group, last_seen, level, rule, rules, shadow, sources`},
		{strings.Replace(good, "none", "[{level: hgih}]", 1), `4:22: "hgih" is no level; write informational, low, medium, high or critical`},
		{strings.Replace(good, "none", "[{count: 0}]", 1), `4:22: count is "0"; write a number from 1 to 1000000000`},
		{strings.Replace(good, "none", "[{rules: R}]", 1), "4:22: rules must be a list of titles or ids; write them as [One rule, Another rule]"},
		{strings.Replace(good, "none", "[{sources: 203.0.113.7}]", 1), "4:24: sources must be a list of addresses; write them as [203.0.113.7, 2001:db8::1]"},
		{strings.Replace(good, "none", "[{accounts: [a, '']}]", 1), "4:29: accounts is empty; write one value after it"},
		{strings.Replace(good, "none", "[{shadow: yes}]", 1), `4:23: shadow is "yes"; write true or false`},
		{strings.Replace(good, "none", "[{group: {client.adress: a}}]", 1), `4:23: there is no field "client.adress"; did you mean client.address?`},
		{strings.Replace(good, "none", "[{group: x}]", 1), "4:22: group must be a map of fields and values; write it like {client.address: 203.0.113.7}"},
		{strings.Replace(good, "none", "[{detected_at: 2026-11-23 10:00}]", 1), `4:28: detected_at is "2026-11-23 10:00"; write it like 2026-11-23T10:00:00Z, with a year from 1971 to 2199`},
		{good + "    start: 1066-01-01T00:00:00Z\n", `5:12: start is "1066-01-01T00:00:00Z"; write it like`},
		{good + "    repeat: {times: 2}\n", "5:13: repeat needs times and every; write {times: 40, every: 5s}"},
		{good + "    repeat: {time: 2, every: 1s}\n", `5:14: repeat has no key "time"; did you mean times?`},
		{good + "    repeat: {times: 1000001, every: 1s}\n", `5:21: times is "1000001"; write a number from 1 to 1000000`},
		{good + "    repeat: {times: 2, every: 5}\n", `5:31: "5" is no duration; write a number and a unit, such as 500ms, 5s, 2m or 1h`},
		{good + "    repeat: {times: 2, every: -5s}\n", "5:31: every must not be negative; let time go forward"},
		{good + "    repeat: {times: 1000000, every: 1h}\n", "5:13: the repeated lines span more than five years; repeat less often"},
		{strings.Replace(good, "log: x", "log: "+strings.Repeat("x", 100), 1) + "    repeat: {times: 1000000, every: 1s}\n", "2:5: the log of this case expands to more than 64 MiB; repeat less often"},
		{good + "    parts: [{log: a}]\n", "3:10: a case has log or parts, not both; put all of it under parts"},
		{strings.Replace(good, "log: x", "parts: []", 1), "3:12: parts must be a list; write a list with a - before each part"},
		{strings.Replace(good, "log: x", "parts: [{}]", 1), "3:13: a part needs log; add log:, the lines to read"},
		{strings.Replace(good, "log: x", "parts: [{log: a, expect: none}]", 1), `3:22: a part has no key "expect"; there are log, repeat, start`},
		{strings.Replace(good, "log: x", "parts: [{log: a}]", 1) + "    repeat: {times: 2, every: 1s}\n", "5:13: a case with parts is not repeated as a whole; repeat each part by itself"},
		{good + "    ? [a]\n    : b\n", "5:7: a key must be a word; write a plain word"},
		{"tests: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested deeper than 16 levels"},
		{"# " + strings.Repeat("x", maxFile), "1:1: the file has more than 1048576 bytes"},
	} {
		s, problems := Parse("f", []byte(c.in))
		if s != nil || len(problems) != 1 {
			t.Errorf("%.60q: want one problem, got %v", c.in, problems)
			continue
		}
		if got := problems[0].Error(); !strings.Contains(got, c.want) {
			t.Errorf("%.60q:\nwant %s\ngot  %s", c.in, c.want, got)
		}
	}
	// All mistakes at once, in order.
	_, problems := Parse("f", []byte("tests:\n  - nmae: a\n    log: x\n    expect: [{levl: high}]\n  - name: b\n    expect: none\n"))
	var got []int
	for _, p := range problems {
		got = append(got, p.Line)
	}
	if d := cmp.Diff([]int{2, 4, 5}, got); d != "" {
		t.Errorf("lines of problems (-want +got):\n%s\n%v", d, problems)
	}
}

// FuzzParse: no bytes make the parser panic, and what it accepts stays within
// the limits.
func FuzzParse(f *testing.F) {
	f.Add([]byte("tests:\n  - name: a\n    log: '{time} {word}'\n    repeat: {times: 9, every: 1ms}\n    expect: none\n"))
	f.Add([]byte("tests: [{name: a, parts: [{log: x, start: 2026-11-23T10:00:00Z}], expect: [{rule: R, group: {principal: p}, count: 1}]}]"))
	f.Add([]byte("a: &a [*a]\n---\nb: *a"))
	f.Add([]byte("tests:\n- ? {a: b}\n  : c\n- !!binary x\n- <<: {}"))
	f.Add([]byte("tests: [{name: a, log: x, repeat: {times: 1000000, every: 157s}, expect: none}]"))
	for _, name := range []string{"credential/account-hammered.test.yml", "injection/sql-injection.test.yml"} {
		data, err := fs.ReadFile(rules.FS(), name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := Parse("f", data)
		if (s == nil) != (len(problems) > 0) {
			t.Fatalf("suite %v with problems %v", s, problems)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" || strings.ContainsAny(p.Error(), "\n\r\x1b") {
				t.Fatalf("bad problem %+v", p)
			}
		}
		if s == nil {
			return
		}
		if len(s.Cases) == 0 {
			t.Fatal("a suite without cases")
		}
		for _, c := range s.Cases {
			var bound int64
			for i := range c.Parts {
				p := &c.Parts[i]
				bound += p.size()
				if last := p.Start.Add(time.Duration(p.Times-1) * p.Every); last.Before(p.Start) || last.Year() > 2210 {
					t.Fatalf("%+v ends at %v", p, last)
				}
			}
			if c.Name == "" || len(c.Parts) == 0 || bound > maxExpanded {
				t.Fatalf("bad case %+v, up to %d bytes", c, bound)
			}
			if bound > 1<<20 {
				continue // a fuzzer has no time for it
			}
			if n := int64(len(c.Text())); n > bound {
				t.Fatalf("the text has %d bytes, at most %d were expected", n, bound)
			}
		}
	})
}
