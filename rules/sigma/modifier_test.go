package sigma

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatewatch/event"
)

// matching says whether a detection made of one selection matches an event.
func matching(t *testing.T, selection string, o CompileOptions, ev *event.Event) bool {
	t.Helper()
	x := mustCompileWith(t, o, "title: t\nid: t\ndetection:\n  s: {"+selection+"}\n  condition: s\n")
	got := len(x.NewMatcher().Match(ev)) > 0
	if want := naive(x.dets[0].cond, ev); got != want {
		t.Errorf("{%s}: the index says %v, the naive evaluator %v", selection, got, want)
	}
	return got
}

func TestTimeModifiers(t *testing.T) {
	const friday = "2027-01-01T22:05:59.9Z" // in the last week of 2026
	for _, c := range []struct {
		selection, when string
		want            bool
	}{
		{"timestamp|hour: 22", friday, true},
		{"'@timestamp|hour': 21", friday, false},
		{"event.time|minute: 5", friday, true},
		{"timestamp|day: 1", friday, true},
		{"timestamp|month: 1", friday, true},
		{"timestamp|month: 01", friday, true},
		{"timestamp|year: 2027", friday, true},
		{"timestamp|week: 53", friday, true},
		{"timestamp|week: 1", friday, false},
		{"timestamp|week: 1", "2024-12-30T00:00:00Z", true},
		{"timestamp|hour: [1, 22]", friday, true},
		{"timestamp|hour|neq: [1, 22]", friday, false},
		{"timestamp|hour|neq: [1, 2]", friday, true},
		{"timestamp|hour|gte: 22", friday, true},
		{"timestamp|gt|hour: 22", friday, false},
		{"timestamp|hour|gte: 9, timestamp|hour|lt: 17", friday, false},
		{"timestamp|hour|gte: 9, timestamp|hour|lt: 17", "2027-01-01T16:59:59Z", true},
		{"time|hour: 22", friday, true},
		{"date|month|lte: 1", friday, true},
		{"date: 2027-01-01", friday, true},
		{"date: '2027-01-*'", friday, true},
		{"time: 22:05:59", friday, true},
		{"time|startswith: '22:'", friday, true},
		{"timestamp: '2027-01-01T22:05:59Z'", friday, true},
		{"timestamp|hour: 22", "", false}, // an event whose time is not known
		{"timestamp|hour|neq: 22", "", true},
		{"timestamp: null", "", true},
		{"date|exists: true", "", false},
		{"timestamp|hour|expand: '%night%'", friday, false},
		{"timestamp|hour|expand: '%night%'", "2027-01-01T01:00:00Z", true},
		{"timestamp|hour|lte|expand: '%night%'", friday, false},
	} {
		ev := request("GET", "/", 200, "x")
		if c.when != "" {
			at, err := time.Parse(time.RFC3339Nano, c.when)
			if err != nil {
				t.Fatal(err)
			}
			ev.Time = at.UnixNano()
		}
		if got := matching(t, c.selection, CompileOptions{Lists: map[string][]string{"night": {"0", "1"}}}, ev); got != c.want {
			t.Errorf("{%s} at %s: %v", c.selection, c.when, got)
		}
	}
}

func TestFieldRef(t *testing.T) {
	for _, c := range []struct {
		selection string
		change    func(*event.Event)
		want      bool
	}{
		{"user.name|fieldref: auth.account", func(e *event.Event) { e.User, e.Account = "Bob", "bob" }, true},
		{"user.name|fieldref|cased: auth.account", func(e *event.Event) { e.User, e.Account = "Bob", "bob" }, false},
		{"user.name|cased|fieldref: auth.account", func(e *event.Event) { e.User, e.Account = "bob", "bob" }, true},
		{"user.name|fieldref: auth.account", func(e *event.Event) { e.User, e.Account = "bob", "eve" }, false},
		{"user.name|fieldref|neq: auth.account", func(e *event.Event) { e.User, e.Account = "bob", "eve" }, true},
		{"user.name|fieldref|neq: auth.account", func(e *event.Event) { e.User, e.Account = "bob", "bob" }, false},
		{"user.name|fieldref: auth.account", func(*event.Event) {}, false}, // both absent: neither is equal to anything
		{"user.name|fieldref|neq: auth.account", func(*event.Event) {}, true},
		{"user.name|fieldref: [cs-host, auth.account]", func(e *event.Event) { e.User, e.Account = "bob", "bob" }, true},
		{"user.name|fieldref|all: [cs-host, auth.account]", func(e *event.Event) { e.User, e.Account = "bob", "bob" }, false},
		{"user.name|fieldref|all: [cs-host, auth.account]", func(e *event.Event) { e.User, e.Account, e.Host = "bob", "bob", "bob" }, true},
		{"cs-referer|contains|fieldref: cs-host", func(e *event.Event) { e.Referer, e.Host = "https://SHOP.example/a", "shop.example" }, true},
		{"cs-referer|contains|fieldref|neq: cs-host", func(e *event.Event) { e.Referer, e.Host = "https://evil.example/a", "shop.example" }, true},
		{"url.path|startswith|fieldref: http.route", func(e *event.Event) { e.Path, e.Route = "/a/b", "/A" }, true},
		{"url.path|fieldref|endswith: user.name", func(e *event.Event) { e.Path, e.User = "/users/bob", "bob" }, true},
		{"url.path|endswith|fieldref: user.name", func(e *event.Event) { e.Path, e.User = "/users/bobby", "bob" }, false},
		{"url.path|endswith|fieldref: user.name", func(e *event.Event) { e.Path, e.User = "b", "bob" }, false},
		{"sc-bytes|fieldref: cs-bytes", func(e *event.Event) { e.BodySize, e.RequestSize = 70, 70 }, true},
		{"sc-bytes|fieldref: cs-bytes", func(e *event.Event) { e.BodySize, e.RequestSize = 70, 71 }, false},
		{"sc-bytes|startswith|fieldref: cs-bytes", func(e *event.Event) { e.BodySize, e.RequestSize = 701, 70 }, true},
		{"sc-bytes|fieldref: cs-bytes", func(e *event.Event) { e.BodySize = 70 }, false},
		{"c-ip|fieldref: network.peer.address", func(*event.Event) {}, true},
		{"c-ip|fieldref: network.peer.address", func(e *event.Event) { e.Peer = netip.MustParseAddr("::ffff:203.0.113.7") }, true},
		{"c-ip|fieldref: network.peer.address", func(e *event.Event) { e.Peer = netip.MustParseAddr("203.0.113.8") }, false},
		{"url.query|contains|fieldref: c-ip", func(e *event.Event) { e.Query = "x=203.0.113.7" }, true},
		// As logged with as logged, decoded with decoded.
		{"url.path|fieldref: cs-referer", func(e *event.Event) { e.Path, e.Referer = "/a%20b", "/a b" }, true},
		{"url.path|fieldref: cs-referer", func(e *event.Event) { e.Path, e.Referer = "/a%2520b", "/a%20b" }, false},
		{"url.path|fieldref: cs-referer", func(e *event.Event) { e.Path, e.Referer = "/%61", "/%61" }, true},
		{"c-uri|contains|fieldref: user.name", func(e *event.Event) { e.Target, e.User = "/?q=%62ob", "bob" }, true},
	} {
		ev := request("GET", "/", 200, "x")
		c.change(ev)
		if got := matching(t, c.selection, CompileOptions{}, ev); got != c.want {
			t.Errorf("{%s} on %+v: %v", c.selection, *ev, got)
		}
	}
}

// TestFieldRefProxy: both forms of a proxy's URL are compared.
func TestFieldRefProxy(t *testing.T) {
	x := mustCompile(t, `
title: its own page
id: t
logsource: {category: proxy}
detection: {s: {cs-referer|fieldref: c-uri}, condition: s}
`)
	ev := request("GET", "/a?b=%41", 200, "x")
	ev.Host, ev.Scheme = "shop.example", "https"
	for referer, want := range map[string]bool{
		"https://shop.example/a?b=%41": true, "https://shop.example/a?b=A": true, "/a?b=%41": true, "/a?b=A": true,
		"http://shop.example/a?b=A": false, "/a?b=%2541": false,
	} {
		ev.Referer = referer
		got := len(x.NewMatcher().Match(ev)) > 0
		if got != want || got != naive(x.dets[0].cond, ev) {
			t.Errorf("%s: %v", referer, got)
		}
	}
}

// TestFieldRefIsLinear: two long texts that nearly contain each other take no
// longer than reading them.
func TestFieldRefIsLinear(t *testing.T) {
	x := mustCompile(t, "title: t\nid: t\ndetection: {s: {cs-referer|contains|fieldref: user_agent.original}, condition: s}\n")
	m := x.NewMatcher()
	ev := request("GET", "/", 200, strings.Repeat("a", 500_000)+"b")
	ev.Referer = strings.Repeat("A", 1_000_000)
	begin := time.Now()
	if len(m.Match(ev)) > 0 {
		t.Error("matches")
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestExpand(t *testing.T) {
	lists := map[string][]string{
		"admins": {"root", "adm*", `50\*`}, "none": {}, "nets": {"192.0.2.0/24", "203.0.113.7"}, "hosts": {"shop.example", "*.shop.example"},
		"words": {"a", "b"}, "one.two-3": {"x"}, "codes": {"401", "403"}, "numbers": {"500"},
	}
	for _, c := range []struct {
		selection string
		change    func(*event.Event)
		want      bool
	}{
		{"user.name|expand: '%admins%'", func(e *event.Event) { e.User = "ROOT" }, true},
		{"user.name|expand: '%admins%'", func(e *event.Event) { e.User = "administrator" }, true}, // wildcards of entries work
		{"user.name|expand: '%admins%'", func(e *event.Event) { e.User = "50*" }, true},
		{"user.name|expand: '%admins%'", func(e *event.Event) { e.User = "50x" }, false},
		{"user.name|expand: '%admins%'", func(e *event.Event) { e.User = "bob" }, false},
		{"user.name|expand|cased: '%admins%'", func(e *event.Event) { e.User = "ROOT" }, false},
		{"user.name|expand: ['bob', '%admins%']", func(e *event.Event) { e.User = "bob" }, true},
		{"user.name|expand|neq: '%admins%'", func(e *event.Event) { e.User = "bob" }, true},
		{"user.name|expand|neq: '%admins%'", func(e *event.Event) { e.User = "root" }, false},
		{"user.name|expand: ['DOM\\%admins%', '%words%']", func(e *event.Event) { e.User = "DOM%admins%" }, true}, // no placeholder
		{`user.name|expand: 'DOM\\%admins%'`, func(e *event.Event) { e.User = `DOM\root` }, true},
		{"user.name|expand: '%one.two-3%'", func(e *event.Event) { e.User = "x" }, true},
		{"user.name|expand: '100% of %words%'", func(e *event.Event) { e.User = "100% of b" }, true},
		{"user.name|contains|expand: '<%words%>'", func(e *event.Event) { e.User = "x<B>y" }, true},
		{"user.name|startswith|expand: '%words%%words%'", func(e *event.Event) { e.User = "bax" }, true},
		{"user.name|startswith|expand: '%words%%words%'", func(e *event.Event) { e.User = "bxa" }, false},
		{"user.name|contains|all|expand: '%words%'", func(e *event.Event) { e.User = "xaxb" }, true},
		{"user.name|contains|all|expand: '%words%'", func(e *event.Event) { e.User = "xax" }, false},
		{"user.name|contains|all|expand: ['%none%', '%words%']", func(e *event.Event) { e.User = "ab" }, true},
		{"user.name|expand: ['%none%', 'bob']", func(e *event.Event) { e.User = "bob" }, true},
		{"user.name|expand|neq: '%none%'", func(e *event.Event) { e.User = "bob" }, true}, // nobody is excepted
		{"user.name|expand|neq: '%none%'", func(*event.Event) {}, true},
		{"c-ip|cidr|expand: '%nets%'", func(*event.Event) {}, true}, // an address is the network of itself
		{"c-ip|cidr|expand: '%nets%'", func(e *event.Event) { e.Client = netip.MustParseAddr("192.0.2.99") }, true},
		{"c-ip|cidr|expand: '%nets%'", func(e *event.Event) { e.Client = netip.MustParseAddr("203.0.113.8") }, false},
		{"cs-host|re|expand: '^%hosts%$'", func(e *event.Event) { e.Host = "shop.example" }, true},
		{"cs-host|re|expand: '^%hosts%$'", func(e *event.Event) { e.Host = "shopXexample" }, false}, // entries are texts
		{"cs-host|re|expand: '^%hosts%$'", func(e *event.Event) { e.Host = "a.shop.example" }, true},
		{"cs-host|re|expand: '^%words%+$'", func(e *event.Event) { e.Host = "aaa" }, true},
		{"cs-host|re|i|expand: '^%words%{2}$'", func(e *event.Event) { e.Host = "BB" }, true},
		{"cs-host|re|expand: ['^100\\%words%$', '^%words%!$']", func(e *event.Event) { e.Host = "100%words%" }, true},
		{"sc-status|expand: '%codes%'", func(e *event.Event) { e.Status = 403 }, true},
		{"sc-status|gte|expand: '%numbers%'", func(e *event.Event) { e.Status = 502 }, true},
		{"url.query|contains|base64|expand: 'user=%words%'", func(e *event.Event) { e.Query = "x=dXNlcj1i" }, true},
		{"url.query|contains|windash|expand: '-%words%'", func(e *event.Event) { e.Query = "x=/b" }, true},
		{"'|expand': 'say %words%!'", func(e *event.Event) { e.Raw = "they say b!" }, true},
	} {
		ev := request("GET", "/", 200, "x")
		c.change(ev)
		if got := matching(t, c.selection, CompileOptions{Lists: lists}, ev); got != c.want {
			t.Errorf("{%s}: %v", c.selection, got)
		}
	}
}

// TestExpandFilters: lists work in filters, an empty one excepts nobody, and
// the set can be compiled again with other lists.
func TestExpandFilters(t *testing.T) {
	set, problems := Parse([]Document{{File: "t.yml", Data: []byte(`
title: t
id: t
detection: {s: {url.path: /}, condition: s}
---
title: ours
filter: {rules: any, s: {c-ip|cidr|expand: '%scanners%'}, condition: not s}
`)}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for list, want := range map[string]int{"": 1, "203.0.113.0/24": 0, "192.0.2.0/24": 1} {
		lists := map[string][]string{"scanners": strings.Fields(list)}
		x, problems := set.Compile(CompileOptions{Lists: lists})
		if got := len(x.NewMatcher().Match(request("GET", "/", 200, "x"))); got != want || len(problems) > 0 {
			t.Errorf("scanners %q: %d matches, %v", list, got, problems)
		}
	}
	x, problems := set.Compile(CompileOptions{})
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), `there is no list "scanners"`) || len(x.Rules()) != 1 {
		t.Errorf("without lists: %v, %d rules", problems, len(x.Rules()))
	}
}

// TestNewModifiersAllocateNothing: events are compared without memory of
// their own.
func TestNewModifiersAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var b strings.Builder
	for i, s := range []string{
		"timestamp|hour: 3", "timestamp|week|gt: 52", "date|startswith: '1999'", "time|endswith: ':59'", "cs-referer|contains|fieldref: cs-host",
		"user.name|fieldref: auth.account", "sc-bytes|fieldref: cs-bytes", "c-ip|fieldref|contains: user.name", "user_agent.original|expand: '%agents%'",
		"attack.class: xss", "attack.class|startswith: cm",
	} {
		fmt.Fprintf(&b, "---\ntitle: r%d\nid: r%d\ndetection: {s: {%s}, condition: s}\n", i, i, s)
	}
	x := mustCompileWith(t, CompileOptions{Lists: map[string][]string{"agents": {"curl*"}}}, b.String())
	m := x.NewMatcher()
	ev := request("GET", "/a?b=%41", 200, "Mozilla")
	ev.Time = time.Date(2026, 5, 5, 12, 30, 0, 0, time.UTC).UnixNano()
	ev.Referer, ev.Host, ev.User, ev.BodySize, ev.RequestSize = "https://evil.example/%41", "shop.example", "bob", 7, 8
	ev.AttackClass = []string{"sqli", "ssrf"}
	m.find(ev)
	if len(m.matched) > 0 {
		t.Fatal("something matches")
	}
	if n := testing.AllocsPerRun(200, func() { m.find(ev) }); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}
