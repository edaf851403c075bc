package sigma

import (
	"fmt"
	"math/rand/v2"
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

// TestAllocatesNothing: in steady state no event costs an allocation,
// whether it matches or not, is decoded, has a value to count or lacks one.
func TestAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("regexp allocates under the race detector")
	}
	x := mustCompile(t, twoRules+`---
title: spray
correlation: {type: value_count, rules: [any], group-by: [c-ip, http.route], timespan: 1m, condition: {field: [auth.account, sc-status], gte: 5}}
---
title: networks
correlation: {type: value_count, rules: [any], group-by: [client.prefix], timespan: 1m, condition: {field: client.address, gte: 5}}
---
title: words
id: words
logsource: {category: proxy}
detection:
  words: ['union select', '*drop?table*', 'sleep(']
  re: {c-uri|re: '(?i)union\\s+(all\\s+)?select'}
  lazy: {cs-uri-query|re: '^/[a-z]{3}$'}
  net: {c-ip|cidr: [10.0.0.0/8, 203.0.113.0/24]}
  start: {c-ip|startswith: '203.'}
  agent: {c-useragent: [curl, null], cs-version: HTTP/1.1}
  size: {sc-bytes|gt: 5000, sc-bytes|endswith: '7'}
  condition: (words or re or lazy or agent or size) and net and start
level: high
`)
	m := x.NewMatcher()
	var b observation.Batch
	evs := benign()
	for i, target := range []string{"/a?f=..%2F..%2fetc", "/q?s=1+union+select+2", "/abc", "/%zz?+%41", ""} {
		e := request("GET", target, 200, "Mozilla/5.0 (X11; Linux x86_64)")
		e.Account, e.Route, e.Host, e.Scheme, e.Protocol, e.BodySize = "bob", "/x", "shop.example.com", "https", "1.1", int64(i*100_007)
		evs = append(evs, e)
	}
	run := func() {
		for _, e := range evs {
			m.Observe(e, &b)
		}
		b.Reset()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations per run of %d events", n, len(evs))
	}
}

// TestCacheKeepsResults: a matcher that has seen many values finds what a new
// one finds, long values and values with many atoms included.
func TestCacheKeepsResults(t *testing.T) {
	var b strings.Builder
	for i := range 90 {
		fmt.Fprintf(&b, "---\ntitle: r%d\nlogsource: {category: webserver}\ndetection: {s: {cs-user-agent|contains: 'w%d '}, condition: s}\n", i, i)
	}
	x := mustCompile(t, b.String())
	old := x.NewMatcher()
	r := rand.New(rand.NewPCG(5, 5))
	for range 5000 {
		agent := ""
		for range r.IntN(3) {
			agent += fmt.Sprintf("w%d ", r.IntN(90))
		}
		if r.IntN(50) == 0 {
			for i := range 90 {
				agent += fmt.Sprintf("w%d ", i)
			}
			agent += strings.Repeat("x", r.IntN(300))
		}
		e := request("GET", "/", 200, agent)
		if diff := cmp.Diff(ids(x.NewMatcher().Match(e)), ids(old.Match(e))); diff != "" {
			t.Fatalf("%q (-new +old):\n%s", agent, diff)
		}
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
