package sigma

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

const bases = `
title: login failed
id: fail
logsource: {category: webserver}
detection: {s: {auth.outcome: failure}, condition: s}
---
title: login denied
id: denied
name: denied_name
logsource: {category: webserver}
detection: {s: {sc-status: 401}, condition: s}
---
`

// shown renders what one event contributes: kind, entity, rules and values.
func shown(x *Index, m *Matcher, ev *event.Event) []string {
	var b observation.Batch
	m.Observe(ev, &b)
	var out []string
	for i := range b.Obs {
		o := &b.Obs[i]
		k := &x.Plan().Kinds[o.Kind]
		s := fmt.Sprintf("%s=%s", strings.Join(k.Fields, "+"), strings.Join(k.Values(o.Values), "+"))
		if o.Hash != k.Hash([]byte(o.Values)) {
			s += " WRONG HASH"
		}
		for _, h := range b.HitsOf(o) {
			s += " " + x.Plan().Rules[h.Rule].ID
			if h.Value != "" {
				s += ":" + h.Value
			}
			if h.Steps != 0 {
				s += fmt.Sprintf(":%b", h.Steps)
			}
			if h.Number != 0 {
				s += fmt.Sprintf(":%v", h.Number)
			}
			if h.N != 1 {
				s += " WRONG N"
			}
		}
		out = append(out, s)
	}
	return out
}

func failure(account, client string) *event.Event {
	e := request("POST", "/login", 401, "curl")
	e.Outcome, e.Account, e.Principal = event.OutcomeFailure, account, client
	e.Route = "/login"
	if client == "" {
		e.Client = netip.Addr{}
	} else {
		e.Client = netip.MustParseAddr(client)
	}
	return e
}

func TestObservations(t *testing.T) {
	rules := bases + `
title: many accounts
id: spray
correlation: {type: value_count, rules: [fail, denied_name], group-by: [c-ip], timespan: 10m, condition: {field: auth.account, gte: 20}}
---
title: hammered
id: hammer
correlation: {type: event_count, rules: [fail], group-by: [auth.account], timespan: 1h, condition: {gte: 50}}
---
title: both
id: both
correlation: {type: event_count, rules: [denied], group-by: [http.route, client.address], timespan: 90s, condition: {gt: 3, lte: 10}}
---
title: turned
id: turned
correlation: {type: value_count, rules: [denied], group-by: [client.address, http.route], timespan: 1d, condition: {field: [auth.account, sc-status], gte: 3}}
---
title: overall
id: overall
correlation: {type: event_count, rules: [fail], timespan: 1m, condition: {gte: 1000}}
`
	x := mustCompile(t, rules)
	m := x.NewMatcher()
	for _, c := range []struct {
		name string
		ev   *event.Event
		want []string
	}{
		{"all", failure("bob", "203.0.113.7"), []string{
			"client.address=203.0.113.7 spray:bob", // counted once, though both detections match
			"auth.account=bob hammer",
			"client.address+http.route=203.0.113.7+/login both turned:bob, 401",
			"= overall",
		}},
		{"no account", failure("", "2001:db8:1:2:3::4"), []string{
			"client.address+http.route=2001:db8:1:2::/64+/login both",
			"= overall",
		}},
		{"no client", failure("bob", ""), []string{"auth.account=bob hammer", "= overall"}},
		{"neither", request("GET", "/", 200, "x"), nil},
	} {
		if diff := cmp.Diff(c.want, shown(x, m, c.ev)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	missing := map[string]uint64{}
	for i, n := range m.Missing() {
		if n > 0 {
			missing[x.Plan().Rules[i].ID] = n
		}
	}
	if diff := cmp.Diff(map[string]uint64{"spray": 2, "hammer": 1, "both": 1, "turned": 2}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	for i := range x.Plan().Rules {
		if r := &x.Plan().Rules[i]; r.ID == "both" {
			want := []observation.Bound{{Op: observation.Gt, Value: 3}, {Op: observation.Lte, Value: 10}}
			if diff := cmp.Diff(want, r.Bounds); diff != "" || r.Timespan != 90 || r.Depth != 1 || !r.Alerting {
				t.Errorf("both: %+v %s", r, diff)
			}
		}
	}
	for _, f := range []event.Field{event.FieldAccount, event.FieldRoute, event.FieldOutcome, event.FieldStatus, event.FieldClient} {
		if !x.Needs().Has(f) {
			t.Errorf("%s is not among the needs", f)
		}
	}
	if x.Needs().Has(event.FieldObjectID) {
		t.Error("nobody asks for api.object_id")
	}
}

func TestGenerateAndPlain(t *testing.T) {
	for _, generate := range []bool{false, true} {
		x := mustCompile(t, bases+fmt.Sprintf(`
title: c
id: c
generate: %v
correlation: {type: event_count, rules: [fail], group-by: [c-ip], timespan: 1m, condition: {gte: 5}}
`, generate))
		got := shown(x, x.NewMatcher(), failure("bob", "203.0.113.7"))
		want := []string{"client.address=203.0.113.7 c denied"}
		if generate {
			want = []string{"client.address=203.0.113.7 c fail denied"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("generate %v (-want +got):\n%s", generate, diff)
		}
		for _, ma := range x.NewMatcher().Match(failure("bob", "203.0.113.7")) {
			if want := ma.Rule.ID == "denied" || generate; ma.Alerting != want {
				t.Errorf("generate %v: %s alerts: %v", generate, ma.Rule.ID, ma.Alerting)
			}
		}
		for _, r := range x.Plan().Rules {
			if r.Plain && (r.Timespan != 3600 || r.Type != observation.EventCount || !r.Alerting || r.Depth != 1) {
				t.Errorf("plain rule %+v", r)
			}
		}
	}
}

func TestChain(t *testing.T) {
	x := mustCompile(t, bases+`
title: low
id: low
correlation: {type: event_count, rules: [fail], group-by: [client.address, url.path], timespan: 1m, condition: {gte: 5}}
---
title: high
id: high
correlation: {type: value_count, rules: [low], group-by: [url.path], timespan: 1h, condition: {field: client.address, gte: 3}}
---
title: higher
id: higher
correlation: {type: event_count, rules: [high, low], group-by: [http.route], timespan: 1d, condition: {gte: 2}}
`)
	rules := map[string]observation.Rule{}
	index := map[string]uint32{}
	for i, r := range x.Plan().Rules {
		rules[r.ID], index[r.ID] = r, uint32(i)
	}
	if r := rules["high"]; r.Depth != 2 || r.ValueField != "client.address" || r.Alerting || len(r.Inputs) != 1 || r.Inputs[0] != index["low"] {
		t.Errorf("high: %+v", r)
	}
	if r := rules["higher"]; r.Depth != 3 || !r.Alerting || len(r.Inputs) != 2 {
		t.Errorf("higher: %+v", r)
	}
	if rules["low"].Alerting {
		t.Error("low is alerting although high takes its firings")
	}
	for id, r := range rules {
		for _, in := range r.Inputs {
			if in >= index[id] {
				t.Errorf("%s stands before its input", id)
			}
		}
	}
}

func TestAliases(t *testing.T) {
	x := mustCompile(t, bases+`
title: c
id: c
correlation:
  type: event_count
  rules: [fail, denied]
  aliases:
    who: {fail: auth.account, denied: user.name}
    same: {fail: c-ip, denied_name: client.address}
  group-by: [who, same]
  timespan: 1m
  condition: {gte: 5}
`)
	m := x.NewMatcher()
	ev := failure("bob", "203.0.113.7")
	ev.User = "alice"
	// Each detection has its own entity.
	if diff := cmp.Diff([]string{"client.address+who=203.0.113.7+bob c", "client.address+who=203.0.113.7+alice c"}, shown(x, m, ev)); diff != "" {
		t.Error(diff)
	}
	ev.User = "bob" // the same entity: counted once
	if diff := cmp.Diff([]string{"client.address+who=203.0.113.7+bob c"}, shown(x, m, ev)); diff != "" {
		t.Error(diff)
	}
	ev.User, ev.Account = "alice", "" // the first detection lacks it, the second has its own
	if diff := cmp.Diff([]string{"client.address+who=203.0.113.7+alice c"}, shown(x, m, ev)); diff != "" {
		t.Error(diff)
	}
	if n := m.Missing()[0]; n != 0 {
		t.Errorf("%d missing", n)
	}
}

func TestIPv6Whole(t *testing.T) {
	x := mustCompileWith(t, CompileOptions{IPv6Whole: true, ResolveAfter: 10 * time.Minute}, bases)
	got := shown(x, x.NewMatcher(), failure("bob", "2001:db8:1:2:3::4"))
	if diff := cmp.Diff([]string{"client.address=2001:db8:1:2:3::4 fail denied"}, got); diff != "" {
		t.Error(diff)
	}
	if s := x.Plan().Rules[0].Timespan; s != 600 {
		t.Errorf("timespan %d", s)
	}
}

func TestDisable(t *testing.T) {
	yaml := bases + `
title: c
id: c
correlation: {type: event_count, rules: [fail, denied], group-by: [c-ip], timespan: 1m, condition: {gte: 5}}
---
title: d
id: d
correlation: {type: event_count, rules: [denied], group-by: [c-ip], timespan: 1m, condition: {gte: 5}}
---
title: e
id: e
correlation: {type: event_count, rules: [d], group-by: [c-ip], timespan: 1m, condition: {gte: 5}}
`
	x := mustCompileWith(t, CompileOptions{Disable: func(r *Rule) bool { return r.ID == "denied" }}, yaml)
	var got []string
	for _, r := range x.Rules() {
		got = append(got, r.ID)
	}
	if diff := cmp.Diff([]string{"fail", "c"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"client.address=203.0.113.7 c"}, shown(x, x.NewMatcher(), failure("bob", "203.0.113.7"))); diff != "" {
		t.Error(diff)
	}
}

func TestFilters(t *testing.T) {
	x := mustCompile(t, bases+`
title: our scanner
id: f1
logsource: {category: webserver}
filter:
  rules: [fail, denied_name]
  sel: {c-ip|cidr: 10.0.0.0/8}
  condition: not sel
---
title: health checks
id: f2
filter:
  rules: any
  sel: {url.path: /health}
  condition: not sel
---
title: of other logs
id: f3
logsource: {category: proxy}
filter:
  rules: any
  sel: {url.path: /login}
  condition: not sel
`)
	m := x.NewMatcher()
	for _, c := range []struct {
		client, path string
		want         []string
	}{
		{"203.0.113.7", "/login", []string{"fail", "denied"}},
		{"10.1.1.1", "/login", []string{}},
		{"203.0.113.7", "/health", []string{}},
	} {
		ev := failure("bob", c.client)
		ev.Path, ev.Target = c.path, c.path
		if diff := cmp.Diff(c.want, ids(m.Match(ev))); diff != "" {
			t.Errorf("%s %s: %s", c.client, c.path, diff)
		}
	}
}

// TestObserveMany: the order of hits does not depend on the order in which
// rules are found, and nothing is allocated when many match.
func TestObserveMany(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "---\ntitle: r%d\nlogsource: {category: webserver}\ndetection: {s: {url.path|contains: '%d'}, condition: s}\n", i, i%10)
	}
	x := mustCompile(t, b.String())
	m := x.NewMatcher()
	var batch observation.Batch
	run := func() {
		batch.Reset()
		m.Observe(request("GET", "/9876543210", 200, "x"), &batch)
	}
	m.Observe(request("GET", "/9876543210", 200, "x"), &batch)
	if len(batch.Obs) != 1 || len(batch.Hits) != 100 {
		t.Fatalf("%d observations, %d hits", len(batch.Obs), len(batch.Hits))
	}
	for i, h := range batch.Hits {
		if h.Rule != uint32(i) {
			t.Fatalf("hit %d is of rule %d", i, h.Rule)
		}
	}
	run()
}
