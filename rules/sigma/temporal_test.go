package sigma

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/detectors/observation"
)

// planned returns the plan's rule with this id.
func planned(t *testing.T, x *Index, id string) *observation.Rule {
	t.Helper()
	for i := range x.plan.Rules {
		if x.plan.Rules[i].ID == id {
			return &x.plan.Rules[i]
		}
	}
	t.Fatalf("the plan has no rule %q", id)
	return nil
}

const stages = `
title: probes
id: probe
detection: {s: {url.path|contains: .env}, condition: s}
---
title: logs in
id: login
name: login_name
detection: {s: {http.request.method: POST}, condition: s}
---
title: takes
id: take
detection: {s: {http.response.status_code: 200}, condition: s}
---
`

func TestTemporal(t *testing.T) {
	x := mustCompile(t, stages+`
title: all
id: all
correlation: {type: temporal, rules: [take, probe, login_name], group-by: [client.address], timespan: 10m}
---
title: ordered
id: ordered
correlation: {type: temporal_ordered, rules: [login, take], group-by: [client.address], timespan: 10m, condition: {gte: 2}}
---
title: backwards
id: backwards
correlation: {type: temporal_ordered, rules: [take, login], group-by: [client.address], timespan: 10m}
---
title: same steps
id: same
correlation: {type: temporal_ordered, rules: [take, login], group-by: [client.address], timespan: 10m}
---
title: by who
id: who
correlation:
  type: temporal
  rules: [login, take]
  aliases: {who: {login: auth.account, take: user.name}}
  group-by: [who]
  timespan: 1h
---
title: overall
id: overall
correlation: {type: temporal, rules: [probe, take], timespan: 1h}
`)
	for id, want := range map[string][]string{"all": {"take", "probe", "login"}, "ordered": {"login", "take"}, "who": {"login", "take"}} {
		r := planned(t, x, id)
		if diff := cmp.Diff(want, r.Steps); diff != "" || len(r.Bounds) > 0 || !r.Type.Steps() || !r.Alerting {
			t.Errorf("%s: %+v\n%s", id, r, diff)
		}
	}
	if a, b, c := planned(t, x, "ordered"), planned(t, x, "backwards"), planned(t, x, "same"); a.Feed == b.Feed || b.Feed != c.Feed {
		t.Errorf("feeds %q, %q, %q", a.Feed, b.Feed, c.Feed)
	}
	m := x.NewMatcher()
	for _, c := range []struct {
		name, method, path, account, user string
		status                            int32
		want                              []string
	}{
		{"one step", "GET", "/.env", "", "", 404, []string{
			"client.address=203.0.113.7 all:10", "= overall:1",
		}},
		{"all steps at once", "POST", "/.env", "", "", 200, []string{
			"client.address=203.0.113.7 all:111 ordered:11 backwards:11 same:11", "= overall:11",
		}},
		{"two entities of one kind", "POST", "/", "bob", "eve", 200, []string{
			"client.address=203.0.113.7 all:101 ordered:11 backwards:11 same:11", "who=bob who:1", "who=eve who:10", "= overall:10",
		}},
		{"one entity by two names", "POST", "/", "bob", "bob", 200, []string{
			"client.address=203.0.113.7 all:101 ordered:11 backwards:11 same:11", "who=bob who:11", "= overall:10",
		}},
		{"the second alone", "GET", "/", "bob", "eve", 200, []string{
			"client.address=203.0.113.7 all:1 ordered:10 backwards:1 same:1", "who=eve who:10", "= overall:10",
		}},
	} {
		ev := request(c.method, c.path, c.status, "x")
		ev.Client = failure("", "203.0.113.7").Client
		ev.Account, ev.User = c.account, c.user
		if diff := cmp.Diff(c.want, shown(x, m, ev)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	// An event that has no entity at all for a rule is counted, once.
	if n := m.Missing()[indexOf(x, "who")]; n != 1 {
		t.Errorf("who misses %d", n)
	}
}

func indexOf(x *Index, id string) int {
	for i := range x.plan.Rules {
		if x.plan.Rules[i].ID == id {
			return i
		}
	}
	return -1
}

func TestTemporalOverCorrelations(t *testing.T) {
	x := mustCompile(t, stages+`
title: many probes
id: probes
correlation: {type: event_count, rules: [probe], group-by: [client.address], timespan: 10m, condition: {gte: 5}}
---
title: many logins
id: logins
correlation: {type: event_count, rules: [login], group-by: [client.address], timespan: 10m, condition: {gte: 5}}
---
title: both
id: both
correlation: {type: temporal_ordered, rules: [probes, logins], group-by: [client.address], timespan: 1h}
---
title: reversed
id: reversed
correlation: {type: temporal, rules: [logins, probes], timespan: 1h}
`)
	r := planned(t, x, "both")
	if r.Depth != 2 || strings.Join(r.Steps, " ") != "probes logins" || len(r.Inputs) != 2 {
		t.Errorf("%+v", r)
	}
	if r := planned(t, x, "reversed"); strings.Join(r.Steps, " ") != "logins probes" {
		t.Errorf("%+v", r)
	}
}

// TestTemporalOverBoth: many failures, a correlation, and then one match of a
// detection, as in the specification's own example.
func TestTemporalOverBoth(t *testing.T) {
	x := mustCompile(t, stages+`
title: many logins
id: logins
correlation: {type: event_count, rules: [login], group-by: [client.address], timespan: 10m, condition: {gte: 5}}
---
title: in at last
id: in
correlation: {type: temporal_ordered, rules: [logins, take], group-by: [client.address], timespan: 1h}
---
title: the same by route
id: route
correlation: {type: temporal_ordered, rules: [logins, take], group-by: [http.route], timespan: 1h}
`)
	r := planned(t, x, "in")
	if diff := cmp.Diff([]string{"logins", "take in in"}, r.Steps); diff != "" || r.Depth != 2 || len(r.Inputs) != 2 || r.Reads != nil {
		t.Errorf("%+v\n%s", r, diff)
	}
	one := planned(t, x, "take in in")
	want := observation.Rule{
		ID: "take in in", Title: "takes", Level: observation.Medium, Family: "take", Type: observation.EventCount, Kind: r.Kind, Timespan: 1,
		Bounds: []observation.Bound{{Op: observation.Gte, Value: 1}}, Depth: 1, Feed: one.Feed,
	}
	if diff := cmp.Diff(want, *one, cmpopts.EquateEmpty()); diff != "" || one.Feed == "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ev := request("POST", "/", 200, "x")
	ev.Route = "/"
	if diff := cmp.Diff([]string{"client.address=203.0.113.7 logins take in in", "http.route=/ take in route"}, shown(x, x.NewMatcher(), ev)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLostStep: a temporal rule that waits for a disabled one is left out,
// says so, and makes nothing louder.
func TestLostStep(t *testing.T) {
	set, problems := Parse([]Document{{File: "t.yml", Data: []byte(stages + `
title: c
id: c
correlation: {type: temporal, rules: [probe, login], timespan: 1h}
---
title: d
id: d
correlation: {type: event_count, rules: [probe, login], timespan: 1h, condition: {gte: 9}}
---
title: e
id: e
correlation: {type: event_count, rules: [take], timespan: 1h, condition: {gte: 9}}
`)}})
	x, more := set.Compile(CompileOptions{Disable: func(r *Rule) bool { return r.ID == "probe" || r.ID == "e" }})
	var got []string
	for _, p := range append(problems, more...) {
		got = append(got, p.Error())
	}
	want := []string{`t.yml:18:14: warning: the rule waits for "probe", which is left out, so it can never fire and is left out too; disable it too, or take "probe" out of its rules`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"= d"}, shown(x, x.NewMatcher(), request("POST", "/.env", 200, "x"))); diff != "" {
		t.Error(diff)
	}
}

func TestMeasures(t *testing.T) {
	x := mustCompile(t, stages+`
title: sum
id: sum
correlation: {type: value_sum, rules: [take, login], group-by: [client.address], timespan: 10m, condition: {field: sc-bytes, gte: 1e9}}
---
title: mean
id: mean
correlation: {type: value_avg, rules: [take], group-by: [client.address], timespan: 10m, condition: {field: time-taken, gt: 1500.5}}
---
title: median
id: median
correlation: {type: value_percentile, rules: [take], group-by: [client.address], timespan: 10m, condition: {field: duration_ms, gt: 800}}
---
title: tail
id: tail
correlation: {type: value_percentile, rules: [take], group-by: [client.address], timespan: 10m, condition: {field: duration_ms, percentile: 99.5, gt: 800}}
---
title: rare
id: rare
correlation: {type: value_percentile, rules: [take], group-by: [client.address], timespan: 10m, condition: {field: user_agent.original, lte: 1}}
---
title: rare pair
id: pair
correlation: {type: value_percentile, rules: [take], group-by: [client.address], timespan: 10m, condition: {field: [http.request.method, sc-status], lt: 0.5}}
---
title: in or out
id: alias
correlation:
  type: value_sum
  rules: [login, take]
  aliases: {size: {login: http.request.size, take: http.response.body.size}}
  timespan: 10m
  condition: {field: size, gte: 1000000}
`)
	for id, want := range map[string]float64{"sum": 0, "mean": 0, "median": 50, "tail": 99.5, "rare": 0, "pair": 0} {
		if r := planned(t, x, id); r.Percentile != want || r.ValueField == "" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if r := planned(t, x, "pair"); r.ValueField != "http.request.method,http.response.status_code" {
		t.Errorf("%+v", r)
	}
	m := x.NewMatcher()
	ev := failure("", "203.0.113.7")
	ev.Method, ev.Status, ev.BodySize, ev.RequestSize, ev.Duration = "GET", 200, 1500, 70, 250e6
	want := []string{"client.address=203.0.113.7 sum:1500 mean:250 median:250 tail:250 rare:curl pair:GET, 200", "= alias:1500"}
	if diff := cmp.Diff(want, shown(x, m, ev)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ev.Duration, ev.UserAgent, ev.BodySize, ev.Method = -1, "", -1, "POST"
	want = []string{"client.address=203.0.113.7 pair:POST, 200", "= alias:70"} // the first detection has its field
	if diff := cmp.Diff(want, shown(x, m, ev)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for id, want := range map[string]uint64{"sum": 1, "mean": 1, "median": 1, "tail": 1, "rare": 1, "pair": 0, "alias": 0} {
		if n := m.Missing()[indexOf(x, id)]; n != want {
			t.Errorf("%s misses %d, not %d", id, n, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { m.find(ev) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestChainedNames: what correlations over correlations can group by and count.
func TestChainedNames(t *testing.T) {
	const lower = `
title: low
id: low
correlation:
  type: event_count
  rules: [login, take]
  aliases: {who: {login: auth.account, take: user.name}}
  group-by: [who, url.path, client.address]
  timespan: 1m
  condition: {gte: 5}
---
title: low2
id: low2
correlation: {type: event_count, rules: [take], group-by: [url.path, network.peer.address], timespan: 1m, condition: {gte: 5}}
---
title: upper
id: upper
correlation: {%s, timespan: 1h%s}
`
	for _, c := range []struct{ spec, cond, want string }{
		{"type: event_count, rules: [low], group-by: [who]", "gte: 2", "who"},
		{"type: event_count, rules: [low, low2], group-by: [url.path, c-ip]", "gte: 2", "client.address+url.path"},
		{"type: value_count, rules: [low]", "field: [who, url.path, http.route], gte: 2", " who,url.path,http.route"},
		{"type: value_percentile, rules: [low]", "field: who, lte: 1", " who"},
		{"type: event_count, rules: [low, low2], aliases: {p: {low: url.path, low2: cs-uri-stem}}, group-by: [p]", "gte: 2", "url.path"},
		{"type: temporal, rules: [low, low2], group-by: [url.path]", "", "url.path"},

		{
			"type: event_count, rules: [low, low2], group-by: [who]", "gte: 2",
			`r.yml:%d: a firing of "low2" does not carry who: it is not in its group-by; add it to the group-by of that rule`,
		},
		{"type: event_count, rules: [low, low2], group-by: [hwo]", "gte: 2", `r.yml:%d: unknown field "hwo"; see the field table in docs/rules.md`},
		{
			"type: event_count, rules: [low, low2], aliases: {a: {low: client.address, low2: network.peer.address}}, group-by: [a]", "gte: 2",
			"a client.address|network.peer.address",
		},
		{
			"type: value_count, rules: [low, low2], aliases: {a: {low: client.address, low2: network.peer.address}}, group-by: [a]", "field: a, gte: 2",
			"r.yml:%d: an alias over correlations can be grouped by, but not counted; name what the firings of all inputs carry",
		},
		{
			"type: event_count, rules: [low, low2], aliases: {who: {low: client.address, low2: network.peer.address}}, group-by: [who]", "gte: 2",
			`r.yml:%d: the alias "who" means something else in the correlation at r.yml:16; give one of them another name`,
		},
		{
			"type: event_count, rules: [low, low2], aliases: {a: {low: who, low2: network.peer.address}}, group-by: [a]", "gte: 2",
			`r.yml:%d: the alias "a" mixes addresses and texts; map it to addresses only, or to none`,
		},
		{"type: temporal_ordered, rules: [low, take], aliases: {a: {low: who, take: user.name}}, group-by: [a, url.path]", "", "a+url.path user.name,url.path|who,url.path"},
		{"type: temporal_ordered, rules: [take, low], group-by: [c-ip]", "", "client.address"},
		{
			"type: temporal_ordered, rules: [take, low], group-by: [who]", "",
			`r.yml:%d: the detection "take" has no "who"; add an alias, of another name, that says what stands for it in each of the rules`,
		},
		{
			"type: event_count, rules: [low, low2], aliases: {a: {low: client.address}}, group-by: [a]", "gte: 2",
			`r.yml:%d: the alias "a" has no field for the rule "low2"; add the rule to the alias`,
		},
		{
			"type: value_sum, rules: [low]", "field: sc-bytes, gte: 2",
			`r.yml:%d: a firing carries no number that value_sum could measure, at "sc-bytes"; measure over the detections, or count or rank what a firing carries with value_count or value_percentile of a text`,
		},
		{
			"type: value_percentile, rules: [low]", "field: sc-status, gte: 2",
			`r.yml:%d: a firing carries no number that value_percentile could measure, at "sc-status"; measure over the detections, or count or rank what a firing carries with value_count or value_percentile of a text`,
		},
	} {
		cond := ""
		if c.cond != "" {
			cond = ", condition: {" + c.cond + "}"
		}
		set, problems := Parse([]Document{{File: "r.yml", Data: []byte(stages + fmt.Sprintf(lower, c.spec, cond))}})
		x, more := set.Compile(CompileOptions{})
		var got []string
		for _, p := range append(problems, more...) {
			p.Line, p.Column = 0, 0
			got = append(got, strings.Replace(p.Error(), ":0:0:", ":%d:", 1))
		}
		if len(got) == 0 {
			r := planned(t, x, "upper")
			k := x.plan.Kinds[r.Kind]
			s := strings.Join(k.Fields, "+")
			if r.ValueField != "" {
				s += " " + r.ValueField
			}
			for i, names := range r.Reads {
				s += string(" |"[min(i, 1)]) + strings.Join(names, ",")
			}
			got = []string{s}
		}
		if diff := cmp.Diff([]string{c.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.spec, diff)
		}
	}
}
