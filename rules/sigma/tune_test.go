package sigma

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

const tunable = `
title: Login failed
id: fail
tags: [owasp.api2-2023]
detection: {s: {auth.outcome: failure}, condition: s}
---
title: Many failures
id: many
name: many_failures
level: medium
tags: [owasp.api2-2023, attack.t1110]
correlation: {type: event_count, rules: [fail], group-by: [client.address], timespan: 10m, condition: {gte: 20}}
---
title: Few failures
id: few
correlation: {type: event_count, rules: [fail], group-by: [client.address], timespan: 1h, condition: {lte: 5}}
---
title: Some failures
id: some
correlation: {type: event_count, rules: [fail], group-by: [client.address], timespan: 1h, condition: {gt: 5, lt: 9}}
---
title: Many many failures
id: chain
correlation: {type: event_count, rules: [many], group-by: [client.address], timespan: 1d, condition: {gte: 3}}
---
title: Scanner
id: scanner
status: experimental
detection: {s: {user_agent.original|contains: sqlmap}, condition: s}
---
title: Ours
id: ours
filter: {rules: [scanner], s: {client.address: 192.0.2.1}, condition: not s}
`

func TestTuning(t *testing.T) {
	rule := func(x *Index, id string) *observation.Rule {
		for i := range x.plan.Rules {
			if x.plan.Rules[i].ID == id {
				return &x.plan.Rules[i]
			}
		}
		return nil
	}
	show := func(x *Index, id string) string {
		r := rule(x, id)
		if r == nil {
			return "out"
		}
		s := fmt.Sprintf("%s %s by %s", r.Level, time.Duration(r.Timespan)*time.Second, strings.Join(x.plan.Kinds[r.Kind].Fields, "+"))
		for _, b := range r.Bounds {
			s += fmt.Sprintf(" %s %v", b.Op, b.Value)
		}
		if r.Shadow {
			s += " shadow"
		}
		return s
	}
	for _, c := range []struct {
		name     string
		tune     []Tuning
		rule     string
		want     string
		changes  string
		problems []string
	}{
		{"nothing", nil, "many", "medium 10m0s by client.address gte 20", "", nil},
		{
			"level by id",
			[]Tuning{{Rules: []string{"many"}, Level: new(observation.High)}},
			"many",
			"high 10m0s by client.address gte 20", "level: high, was medium", nil,
		},
		{
			"level by title",
			[]Tuning{{Rules: []string{"Few failures"}, Level: new(observation.Low)}},
			"few",
			"low 1h0m0s by client.address lte 5", "level: low, was medium", nil,
		},
		{"by name, later wins", []Tuning{
			{Rules: []string{"many_failures"}, Threshold: new(30.0), Timespan: time.Hour},
			{Tags: []string{"ATTACK.*"}, Threshold: new(40.0)},
		}, "many", "medium 1h0m0s by client.address gte 40", "threshold: 40, was 20; timespan: 1h, was 10m", nil},
		{"back again", []Tuning{
			{Rules: []string{"many"}, Threshold: new(30.0)}, {Rules: []string{"many"}, Threshold: new(20.0)},
		}, "many", "medium 10m0s by client.address gte 20", "", nil},
		{
			"title with wildcard",
			[]Tuning{{Titles: []string{"many*"}, Timespan: 90 * time.Second}},
			"chain",
			"medium 1m30s by client.address gte 3", "timespan: 90s, was 1d", nil,
		},
		{
			"group-by",
			[]Tuning{{Rules: []string{"few"}, GroupBy: []string{"http.route", "c-ip"}}},
			"few",
			"medium 1h0m0s by client.address+http.route lte 5", "group-by: http.route, c-ip, was client.address", nil,
		},
		{
			"group by nothing",
			[]Tuning{{Rules: []string{"few"}, GroupBy: []string{}}},
			"few",
			"medium 1h0m0s by  lte 5", "group-by: nothing, was client.address", nil,
		},
		{"upper threshold", []Tuning{{Rules: []string{"few"}, Threshold: new(2.0)}}, "few", "medium 1h0m0s by client.address lte 2", "threshold: 2, was 5", nil},
		{"disable", []Tuning{{Rules: []string{"few"}, Enabled: new(false)}}, "few", "out", "enabled: false, was true", nil},
		{
			"enable again",
			[]Tuning{{Titles: []string{"*failures"}, Enabled: new(false)}, {Rules: []string{"few"}, Enabled: new(true)}},
			"few",
			"medium 1h0m0s by client.address lte 5", "", nil,
		},
		{"experimental is shadow", nil, "scanner", "medium 1h0m0s by client.address gte 1 shadow", "", nil},
		{
			"but not if told",
			[]Tuning{{Rules: []string{"scanner"}, Shadow: new(false)}},
			"scanner",
			"medium 1h0m0s by client.address gte 1", "shadow: false, was true", nil,
		},
		{
			"shadow",
			[]Tuning{{Tags: []string{"owasp.api2-2023"}, Shadow: new(true)}},
			"many",
			"medium 10m0s by client.address gte 20 shadow", "shadow: true, was false", nil,
		},
		{
			"a range",
			[]Tuning{{Rules: []string{"some"}, Threshold: new(7.0), Level: new(observation.Low)}},
			"some",
			"medium 1h0m0s by client.address gt 5 lt 9", "",
			[]string{`c.yaml:7:3: the threshold of "some" cannot be tuned: it has 2 bounds and one number says too little; write the rule anew with other numbers`},
		},
		{
			"a plain rule",
			[]Tuning{{Rules: []string{"scanner"}, Threshold: new(7.0), Timespan: time.Hour, GroupBy: []string{"x"}}},
			"scanner",
			"medium 1h0m0s by client.address gte 1 shadow", "",
			[]string{
				`c.yaml:7:3: "scanner" is a detection and has no group-by: one match is enough, and its incidents are by client; write an event_count correlation over it`,
				`c.yaml:7:3: "scanner" is a detection and has no threshold: one match is enough, and its incidents are by client; write an event_count correlation over it`,
				`c.yaml:7:3: "scanner" is a detection and has no timespan: one match is enough, and its incidents are by client; set gatewatch.resolve_after in the rule, or write an event_count correlation over it`,
			},
		},
		{
			"a filter",
			[]Tuning{{Rules: []string{"ours"}, Level: new(observation.Low), Threshold: new(1.0)}},
			"scanner",
			"medium 1h0m0s by client.address gte 1 shadow", "",
			[]string{
				`c.yaml:7:3: "ours" is a filter and has no threshold: it only excepts; tune the rules that it filters`,
				`c.yaml:7:3: "ours" is a filter: it has no level and opens nothing; tune the rules that it filters`,
			},
		},
		{"bad numbers", []Tuning{
			{Rules: []string{"many"}, Threshold: new(0.0)},
			{Rules: []string{"many"}, Threshold: new(2.5)},
			{Rules: []string{"many"}, Threshold: new(10000.0)},
			{Rules: []string{"many"}, Timespan: time.Second / 2},
			{Rules: []string{"many"}, Timespan: -time.Hour},
		}, "many", "medium 10m0s by client.address gte 20", "", []string{
			`c.yaml:7:3: the threshold of "many" cannot be tuned: a window keeps at most 10000 entries, it cannot be judged against 10000; shorten the timespan and lower the number`,
			`c.yaml:7:3: the threshold of "many" cannot be tuned: event_count counts, and 2.5 is no whole number of 0 or more; write a whole number of 0 or more`,
			`c.yaml:7:3: the threshold of "many" cannot be tuned: every count satisfies the condition, so it never becomes true and never fires; raise the number`,
			`c.yaml:7:3: the timespan -1h0m0s is no length of a window; write whole seconds, minutes, hours or days up to 366d`,
			`c.yaml:7:3: the timespan 500ms is no length of a window; write whole seconds, minutes, hours or days up to 366d`,
		}},
		{
			"bad group-by",
			[]Tuning{{Rules: []string{"many"}, GroupBy: []string{"client.adress"}}},
			"many",
			"medium 10m0s by client.address gte 20", "",
			[]string{`c.yaml:7:3: unknown field "client.adress"; did you mean client.address?`},
		},
		{
			"a group that firings lack",
			[]Tuning{{Rules: []string{"chain"}, GroupBy: []string{"url.path"}, Level: new(observation.Low)}},
			"chain",
			"medium 24h0m0s by client.address gte 3", "",
			[]string{`c.yaml:7:3: a firing of "many" does not carry url.path: it is not in its group-by; add it to the group-by of that rule`},
		},
		{
			"names nothing",
			[]Tuning{{Rules: []string{"mann"}, Tags: []string{"owasp.api2"}, Titles: []string{"Scaner", "Scan*"}, Shadow: new(true)}},
			"scanner",
			"medium 1h0m0s by client.address gte 1 shadow", "",
			[]string{
				`c.yaml:7:3: warning: the tuning names "Scaner" under titles, but no loaded rule is called so; did you mean Scanner?`,
				`c.yaml:7:3: warning: the tuning names "mann" under rules, but no loaded rule is called so; did you mean many?`,
				`c.yaml:7:3: warning: the tuning names "owasp.api2" under tags, but no loaded rule is called so; gatewatch rules list prints ids, titles and tags`,
			},
		},
		{"empty", []Tuning{{}}, "many", "medium 10m0s by client.address gte 20", "", []string{
			`c.yaml:7:3: warning: the tuning changes nothing; set level, threshold, timespan, group_by, enabled or shadow`,
			`c.yaml:7:3: the tuning names no rule; add rules: with ids, names or titles, tags: or titles:`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, problems := Parse([]Document{{File: "t.yml", Data: []byte(tunable)}})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			for i := range c.tune {
				c.tune[i].File, c.tune[i].Line, c.tune[i].Column = "c.yaml", 7, 3
			}
			x, problems := set.Compile(CompileOptions{Tune: c.tune})
			var got []string
			for _, p := range problems {
				got = append(got, p.Error())
				if !p.Tuning {
					t.Errorf("not marked as of a tuning: %v", p)
				}
			}
			if diff := cmp.Diff(c.problems, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, show(x, c.rule)); diff != "" {
				t.Errorf("rule (-want +got):\n%s", diff)
			}
			var changes []string
			for _, ch := range x.Tuned(c.rule) {
				if ch.File != "c.yaml" || ch.Line != 7 || ch.Column != 3 {
					t.Errorf("place of %+v", ch)
				}
				changes = append(changes, ch.String())
			}
			if diff := cmp.Diff(c.changes, strings.Join(changes, "; ")); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			// The set is as it was.
			if x, problems := set.Compile(CompileOptions{}); len(problems) > 0 || show(x, "many") != "medium 10m0s by client.address gte 20" {
				t.Errorf("the set was changed: %s %v", show(x, "many"), problems)
			}
		})
	}
}

// TestShadowFeeds: a detection that is only watched still feeds what alerts.
func TestShadowFeeds(t *testing.T) {
	set, _ := Parse([]Document{{File: "t.yml", Data: []byte(tunable)}})
	x, _ := set.Compile(CompileOptions{Tune: []Tuning{{Rules: []string{"fail"}, Shadow: new(true)}}})
	got := shown(x, x.NewMatcher(), failure("bob", "203.0.113.7"))
	if diff := cmp.Diff([]string{"client.address=203.0.113.7 many few some"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, r := range x.plan.Rules {
		if r.Shadow != (r.ID == "scanner") {
			t.Errorf("%s: shadow %v", r.ID, r.Shadow)
		}
	}
}

func TestStatus(t *testing.T) {
	const text = `
title: old
id: old
status: deprecated
detection: {s: {url.path: /a}, condition: s}
---
title: broken
id: broken
status: unsupported
detection: {s: {url.path: /a}, condition: s}
`
	for _, c := range []struct {
		o        CompileOptions
		loaded   string
		problems []string
	}{
		{CompileOptions{}, "old", []string{
			"t.yml:2:1: warning: the rule says of itself that it is deprecated; load the rule that replaces it, see its related:, or disable it",
			"t.yml:7:1: warning: the rule says of itself that it is unsupported, and is left out; mend the rule and give it another status, or enable it with a tuning",
		}},
		{CompileOptions{Tune: []Tuning{{Rules: []string{"broken"}, Enabled: new(true)}, {Rules: []string{"old"}, Enabled: new(false)}}}, "broken", nil},
		{CompileOptions{Disable: func(*Rule) bool { return true }}, "", nil},
	} {
		set, _ := Parse([]Document{{File: "t.yml", Data: []byte(text)}})
		x, problems := set.Compile(c.o)
		var got, loaded []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		for _, r := range x.Rules() {
			loaded = append(loaded, r.ID)
		}
		if diff := cmp.Diff(c.problems, got); diff != "" || strings.Join(loaded, " ") != c.loaded {
			t.Errorf("loaded %q (-want +got):\n%s", loaded, diff)
		}
	}
}
