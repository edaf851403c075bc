package sigma

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// request makes an event as a decoder would.
func request(method, target string, status int32, agent string) *event.Event {
	var e event.Event
	e.Reset()
	e.Method, e.Target, e.Status, e.UserAgent = method, target, status, agent
	e.Path, e.Query, _ = strings.Cut(target, "?")
	e.Client = netip.MustParseAddr("203.0.113.7")
	e.Peer = e.Client
	e.Raw = `203.0.113.7 - - [10/Oct/2025:13:55:36 +0000] "` + method + " " + target + ` HTTP/1.1" 200 2326 "-" "` + agent + `"`
	return &e
}

// mustCompile compiles documents that are free of problems.
func mustCompile(t testing.TB, yaml string) *Index {
	t.Helper()
	return mustCompileWith(t, CompileOptions{}, yaml)
}

func mustCompileWith(t testing.TB, o CompileOptions, yaml string) *Index {
	t.Helper()
	set, problems := Parse([]Document{{File: "test.yml", Data: []byte(yaml)}})
	x, more := set.Compile(o)
	for _, p := range append(problems, more...) {
		t.Errorf("unexpected problem: %v", p)
	}
	if t.Failed() {
		t.FailNow()
	}
	return x
}

func ids(ms []Match) []string {
	out := []string{}
	for _, m := range ms {
		out = append(out, m.Rule.ID)
	}
	return out
}

const twoRules = `
title: traversal
id: trav
logsource: {category: webserver}
detection:
  selection:
    cs-uri-query|contains: ['../../', '/etc/passwd']
  filter: {sc-status: 404}
  condition: selection and not filter
level: high
---
title: any request
id: any
logsource: {category: webserver}
detection:
  sel: {http.request.method|exists: true}
  condition: sel
---
title: flood
id: flood
correlation:
  type: event_count
  rules: [any]
  group-by: [c-ip]
  timespan: 10s
  condition: {gte: 100}
`

func TestMatchAndObserve(t *testing.T) {
	x := mustCompile(t, twoRules)
	m := x.NewMatcher()
	for _, c := range []struct {
		ev   *event.Event
		want []string
	}{
		{request("GET", "/index.html", 200, "curl"), []string{"any"}},
		{request("GET", "/a?f=../../etc", 200, "curl"), []string{"trav", "any"}},
		{request("GET", "/a?f=..%2F..%2fetc", 200, "curl"), []string{"trav", "any"}},
		{request("GET", "/a?f=../../etc", 404, "curl"), []string{"any"}},
	} {
		if diff := cmp.Diff(c.want, ids(m.Match(c.ev))); diff != "" {
			t.Errorf("%s: %s", c.ev.Target, diff)
		}
	}
	var b observation.Batch
	m.Observe(request("GET", "/a?f=../../etc", 200, "curl"), &b)
	if len(b.Obs) != 1 || len(b.Hits) != 2 {
		t.Fatalf("got %d observations, %d hits", len(b.Obs), len(b.Hits))
	}
	k := x.Plan().Kinds[b.Obs[0].Kind]
	if diff := cmp.Diff([]string{"203.0.113.7"}, k.Values(b.Obs[0].Values)); diff != "" {
		t.Error(diff)
	}
	got := []string{}
	for _, h := range b.HitsOf(&b.Obs[0]) {
		got = append(got, x.Plan().Rules[h.Rule].ID)
	}
	if diff := cmp.Diff([]string{"flood", "trav"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	x := mustCompile(t, twoRules)
	m := x.NewMatcher()
	var b observation.Batch
	evs := []*event.Event{
		request("GET", "/index.html", 200, "curl"),
		request("GET", "/a?f=..%2F..%2fetc", 200, "Mozilla/5.0 (X11; Linux x86_64)"),
	}
	run := func() {
		for _, e := range evs {
			m.Observe(e, &b)
		}
		b.Reset()
	}
	run()
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func TestNear(t *testing.T) {
	x := mustCompile(t, twoRules)
	near := x.NewMatcher().Near(request("GET", "/a?f=../../etc", 404, "curl"))
	if len(near) != 1 || near[0].Rule.ID != "trav" || len(near[0].Failed) != 1 {
		t.Fatalf("got %+v", near)
	}
	want := `filter: sc-status is "404", which "404" excludes`
	if diff := cmp.Diff(want, near[0].Failed[0].String()); diff != "" {
		t.Error(diff)
	}
}
