package trace

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"gatewatch/event"
	"gatewatch/rules/sigma"
)

const rules = `
title: Failed
name: failed
logsource: {category: webserver}
detection: {sel: {sc-status: 401}, condition: sel}
level: low
---
title: Page
name: page
logsource: {category: webserver}
detection: {sel: {sc-status: 200}, condition: sel}
level: low
---
title: Some
name: some
correlation: {type: event_count, rules: [failed], group-by: [client.address], timespan: 20s, condition: {gte: 3}}
---
title: Few
correlation: {type: event_count, rules: [page], timespan: 10s, condition: {lt: 4}}
---
title: Between
correlation: {type: event_count, rules: [page, failed], group-by: [client.address], timespan: 30s, condition: {gt: 4, lte: 6}}
---
title: Agents
correlation: {type: value_count, rules: [page], group-by: [client.address], timespan: 20s, condition: {field: user_agent.original, gte: 3}}
---
title: Sum
correlation: {type: value_sum, rules: [page], group-by: [client.address], timespan: 20s, condition: {field: sc-bytes, gt: 60}}
---
title: Mean
correlation: {type: value_avg, rules: [page], group-by: [client.address], timespan: 20s, condition: {field: sc-bytes, gte: 15}}
---
title: Median
correlation: {type: value_percentile, rules: [page], group-by: [client.address], timespan: 20s, condition: {field: sc-bytes, gte: 15}}
---
title: Rare
correlation: {type: value_percentile, rules: [page], timespan: 40s, condition: {field: user_agent.original, lte: 20}}
---
title: Both
correlation: {type: temporal, rules: [failed, page], group-by: [client.address], timespan: 5s}
---
title: In order
correlation: {type: temporal_ordered, rules: [some, page], group-by: [client.address], timespan: 30s}
---
title: Unless
gatewatch: {unless: failed}
correlation: {type: event_count, rules: [page], group-by: [client.address], timespan: 5s, condition: {gte: 2}}
---
title: After
gatewatch: {after: failed}
correlation: {type: event_count, rules: [page], group-by: [client.address], timespan: 9s, condition: {gte: 2}}
---
title: While
gatewatch: {while: some}
correlation: {type: event_count, rules: [page], group-by: [client.address], timespan: 30s, condition: {gte: 2}}
---
title: Newest
gatewatch: {at_least: 3, newest: 4}
correlation: {type: value_avg, rules: [page], group-by: [client.address], timespan: 60s, condition: {field: sc-bytes, gte: 15}}
---
title: Clients
correlation: {type: value_count, rules: [some], timespan: 60s, condition: {field: client.address, gte: 2}}
`

func index(t *testing.T) *sigma.Index {
	t.Helper()
	set, problems := sigma.Parse([]sigma.Document{{File: "a.yml", Data: []byte(rules)}})
	x, more := set.Compile(sigma.CompileOptions{})
	for _, p := range append(problems, more...) {
		t.Error(p)
	}
	return x
}

// TestAgrees: the numbers that are told are those by which the detectors
// judge, in windows of all types and in chains.
func TestAgrees(t *testing.T) {
	x := index(t)
	type outcome struct{ yes, no int }
	seen := map[string]*outcome{}
	guarded := map[string]int{}
	for round := range 40 {
		r := rand.New(rand.NewPCG(uint64(round), 1))
		tr, m := New(x), x.NewMatcher()
		now := int64(1_800_000_000)
		for range 300 {
			now += int64(r.IntN(4))
			ev := &event.Event{
				Time: now * 1e9, Status: []int32{200, 401, 404}[r.IntN(3)], Client: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", r.IntN(3))),
				UserAgent: []string{"", "a", "b", "c", "d"}[r.IntN(5)], BodySize: int64(r.IntN(40)) - 1, Method: "GET",
			}
			for _, c := range tr.Event(ev, m, now, false) {
				if c.Guard != "" {
					guarded[c.Rule.Title]++
				}
				if c.Absent != nil || c.Left || c.Guard != "" {
					continue
				}
				holds := c.Rule.Holds(c.Number) && c.Kept >= c.Rule.Least
				if c.Rule.Type.Steps() {
					holds = c.Number == float64(len(c.Rule.Steps)) && len(c.Missing) == 0
				}
				o := seen[c.Rule.Title]
				if o == nil {
					o = &outcome{}
					seen[c.Rule.Title] = o
				}
				if holds {
					o.yes++
				} else {
					o.no++
				}
				start := c.Rule.Title == "Few" && holds // true of nothing: not told before it was false once
				if holds != c.True && !start {
					t.Fatalf("round %d, %s: %s; the detectors say %v, the number %v", round, c.Rule.Title, c.Told(), c.True, holds)
				}
				if !holds && c.Lacks() == "" || holds && c.True && c.Lacks() != "" {
					t.Fatalf("round %d, %s: %s lacks %q", round, c.Rule.Title, c.Told(), c.Lacks())
				}
			}
		}
	}
	if len(seen) != 15 || len(guarded) != 3 {
		t.Errorf("%d correlations counted anything, not 15; guards passed over events of %v", len(seen), guarded)
	}
	for title, o := range seen {
		if o.yes == 0 || o.no == 0 {
			t.Errorf("%s: %+v", title, *o)
		}
	}
}

// TestMissing: an event without what a correlation groups by or counts says so.
func TestMissing(t *testing.T) {
	x := index(t)
	tr, m := New(x), x.NewMatcher()
	got := map[string]string{}
	for _, c := range tr.Event(&event.Event{Time: 1e18, Status: 200, BodySize: -1, Method: "GET"}, m, 1e9, false) {
		got[c.Rule.Title] = fmt.Sprint(c.Absent)
	}
	want := map[string]string{
		"Few": "[]", "Between": "[client.address]", "Agents": "[client.address user_agent.original]", "Sum": "[client.address http.response.body.size]",
		"Mean": "[client.address http.response.body.size]", "Median": "[client.address http.response.body.size]", "Rare": "[user_agent.original]",
		"Both": "[client.address]", "Unless": "[client.address]", "After": "[client.address]", "While": "[client.address]", "Newest": "[client.address http.response.body.size]",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if late := tr.Event(&event.Event{Time: 1e18, Status: 200, Method: "GET", Client: netip.MustParseAddr("192.0.2.1")}, m, 1e9, true); len(late) > 0 {
		t.Errorf("a late event counts: %+v", late)
	}
}

func TestClock(t *testing.T) {
	for _, c := range []struct {
		name  string
		times []int64
		want  string
	}{
		{"in order", []int64{100, 101, 103}, "100 101 103"},
		{"behind by less than the lateness", []int64{100, 120, 115}, "100 120 120"},
		{"late", []int64{100, 120, 109}, "100 120 120!"},
		{"first of all contradicted", []int64{90000, 100, 101}, "100! 100 101"},
		{"far ahead and contradicted", []int64{100, 90000, 101}, "100 100! 101"},
		{"far ahead and confirmed", []int64{100, 90000, 90001}, "100 90000 90001"},
		{"far ahead at the end", []int64{100, 90000}, "100 90000"},
	} {
		clock := Clock{Lateness: 10}
		got := ""
		for i, now := range c.times {
			next := now
			if i+1 < len(c.times) {
				next = c.times[i+1]
			}
			window, late := clock.Place(now, next)
			if i > 0 {
				got += " "
			}
			got += fmt.Sprint(window)
			if late {
				got += "!"
			}
		}
		if got != c.want {
			t.Errorf("%s: want %s, got %s", c.name, c.want, got)
		}
	}
}

func TestBaseline(t *testing.T) {
	set, problems := sigma.Parse([]sigma.Document{{File: "a.yml", Data: []byte(`
title: Any
name: any
logsource: {category: webserver}
detection: {sel: {sc-status: 200}, condition: sel}
---
title: More
correlation: {type: rate_anomaly, rules: [any], timespan: 1m, condition: {factor: 3, min_count: 20}}
`)}})
	x, more := set.Compile(sigma.CompileOptions{})
	if len(problems)+len(more) > 0 {
		t.Fatal(problems, more)
	}
	tr, m := New(x), x.NewMatcher()
	var fired, last Count
	for s := range int64(20*60 + 60) {
		n := 1
		if s >= 20*60 {
			n = 10
		}
		for range n {
			ev := event.Event{Time: (1_790_000_000/3600*3600 + s) * 1e9, Status: 200, Client: netip.MustParseAddr("192.0.2.7")}
			for _, c := range tr.Event(&ev, m, ev.Time/1e9, false) {
				if last = c; c.Fired {
					fired = c
				}
			}
		}
	}
	if !fired.True || fired.Expected < 50 || fired.Expected > 70 {
		t.Errorf("600 a minute instead of 60: got %+v", fired)
	}
	if !last.True || last.Number < 600 {
		t.Errorf("at the end of the minute: got %+v", last)
	}
	if words := last.Told(); !strings.Contains(words, "were expected") {
		t.Errorf("told as %q", words)
	}
}
