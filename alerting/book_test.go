package alerting

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// The rules that the tests of the book share.
const (
	ruleProbe   = iota // by client, medium, web-attack
	ruleSQL            // by client, high, web-attack, plain
	ruleStuff          // by client, high, credential
	ruleAccount        // by account, high, credential
	ruleRoute          // by route, high, credential
	ruleLow            // by client, low, traffic
	rulePart           // not alerting
	ruleKey            // by principal, critical, object-access, resolves after 2 min
)

func testPlan() *observation.Plan {
	r := func(id, family string, kind uint16, level observation.Level, timespan int64) observation.Rule {
		return observation.Rule{
			ID: id, Title: "Title of " + id, Family: family, Kind: kind, Level: level, Timespan: timespan,
			Type: observation.EventCount, Bounds: []observation.Bound{{Op: observation.Gte, Value: 2}}, Alerting: true, Depth: 1,
		}
	}
	p := &observation.Plan{
		Kinds: []observation.Kind{
			observation.NewKind([]string{"client.address"}, []bool{true}),
			observation.NewKind([]string{"auth.account"}, []bool{false}),
			observation.NewKind([]string{"http.route"}, []bool{false}),
			observation.NewKind([]string{"principal"}, []bool{false}),
		},
		Rules: []observation.Rule{
			ruleProbe:   r("probe", "web-attack", 0, observation.Medium, 60),
			ruleSQL:     r("sql", "web-attack", 0, observation.High, 3600),
			ruleStuff:   r("stuff", "credential", 0, observation.High, 300),
			ruleAccount: r("account", "credential", 1, observation.High, 300),
			ruleRoute:   r("route", "credential", 2, observation.High, 300),
			ruleLow:     r("low", "", 0, observation.Low, 60),
			rulePart:    r("part", "web-attack", 0, observation.High, 60),
			ruleKey:     r("key", "object-access", 3, observation.Critical, 60),
		},
	}
	p.Rules[rulePart].Alerting = false
	p.Rules[ruleKey].ResolveAfter = 120
	p.Rules[ruleSQL].Tags = []string{"attack.t1190"}
	return p
}

// seen is one observation in a test.
type seen struct {
	at      int64
	client  string
	account string
	key     string
	n       uint32
	counted bool
}

const t0 = 1_700_000_000

// finding makes a finding of a rule for an entity, with the given items; its
// key is at the last item.
func finding(p *observation.Plan, rule uint32, entity string, fired bool, items ...seen) *observation.Finding {
	r := &p.Rules[rule]
	f := &observation.Finding{Rule: rule, Kind: r.Kind, Fired: fired}
	kind := &p.Kinds[r.Kind]
	var values []byte
	if kind.Address[0] {
		values = observation.AppendAddr(nil, netip.MustParseAddr(entity), false)
	} else {
		values = observation.AppendText(nil, entity)
	}
	f.Values, f.Hash = string(values), kind.Hash(values)
	for _, s := range items {
		card := observation.Card{
			Account: s.account, Principal: s.key, Method: "POST", Route: "/login", Status: 401, Bytes: -1,
		}
		if s.client != "" {
			card.Client = netip.MustParseAddr(s.client)
		}
		f.Items = append(f.Items, observation.Item{
			Time: t0 + s.at, N: max(s.n, 1), Counted: s.counted, Card: card,
			Ref: observation.Ref{Source: 1, Offset: s.at * 100, Line: s.at, Length: 10},
		})
	}
	if len(items) > 0 {
		f.Key = observation.Key{Time: t0 + items[len(items)-1].at, Offset: items[len(items)-1].at * 100}
	}
	f.Number = int64(len(items))
	return f
}

func testBook(p *observation.Plan, change func(*BookOptions)) *Book {
	o := BookOptions{SourceName: func(id uint32) string { return fmt.Sprintf("source-%d.log", id) }, Metrics: NewMetrics()}
	if change != nil {
		change(&o)
	}
	return NewBook(p, o)
}

func only(t *testing.T, b *Book) *Incident {
	t.Helper()
	all := b.Incidents()
	if len(all) != 1 {
		t.Fatalf("want 1 incident, got %d: %s", len(all), asJSON(t, all))
	}
	return all[0]
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestIncidentOfOneClient(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	b.Apply(finding(p, ruleProbe, "203.0.113.7", true,
		seen{at: 0, client: "203.0.113.7"}, seen{at: 5, client: "203.0.113.7", account: "bob", n: 2}))
	b.Apply(finding(p, ruleProbe, "203.0.113.7", false, seen{at: 6, client: "203.0.113.7"}))
	b.Apply(finding(p, ruleSQL, "203.0.113.7", true, seen{at: 7, client: "203.0.113.7"}))
	b.Apply(finding(p, rulePart, "203.0.113.7", true, seen{at: 8, client: "203.0.113.7"}))
	b.Finish()

	got := only(t, b)
	id := incidentID(clientSubject("\xcb\x00\x71\x07", "").key, t0+5)
	resolved := stamp(t0 + 7 + 3600)
	want := &Incident{
		ID: id, Family: "web-attack", State: "resolved", Subject: "client", Level: observation.High,
		Rule: RuleRef{ID: "sql", Title: "Title of sql", Level: observation.High, Tags: []string{"attack.t1190"}},
		Rules: []RuleCount{
			{ID: "sql", Title: "Title of sql", Level: observation.High, Count: 1, DetectedAt: stamp(t0 + 7)},
			{ID: "probe", Title: "Title of probe", Level: observation.Medium, Count: 4, DetectedAt: stamp(t0 + 5)},
		},
		Group:   map[string]string{"client.address": "203.0.113.7"},
		Sources: []string{"203.0.113.7"}, Accounts: []string{"bob"}, Routes: []string{"/login"},
		Principals: []string{}, Methods: []string{"POST"}, Statuses: []StatusCount{{401, 4}},
		FirstSeen: stamp(t0), DetectedAt: stamp(t0 + 5), LastSeen: stamp(t0 + 7), ResolvedAt: &resolved,
		Count: 4,
		Evidence: []Evidence{
			{0, "source-1.log", ""}, {5, "source-1.log", ""}, {6, "source-1.log", ""}, {7, "source-1.log", ""},
		},
		SourcesTotal: 1, AccountsTotal: 1, RoutesTotal: 1,
		Limits: []string{
			"the log names no key, token or user for these requests: whoever shares an address cannot be told apart",
			"request and response bodies are not in the log",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("incident (-want +got):\n%s", diff)
	}
}

func TestIncidentJSONContract(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	b.Apply(finding(p, ruleStuff, "2001:db8::1", true, seen{at: 1, client: "2001:db8::1", account: "<b>"}))
	b.SetText(b.Wanted(10)[0], "access.log", 12, "GET /<script>")
	const want = `{
  "id": "f9b0c49a6af6a044",
  "family": "credential",
  "rule": {
    "id": "stuff",
    "title": "Title of stuff",
    "level": "high",
    "tags": []
  },
  "rules": [
    {
      "id": "stuff",
      "title": "Title of stuff",
      "level": "high",
      "count": 1,
      "detected_at": "2023-11-14T22:13:21Z"
    }
  ],
  "state": "open",
  "group": {
    "client.address": "2001:db8::/64"
  },
  "sources": [
    "2001:db8::1"
  ],
  "accounts": [
    "\u003cb\u003e"
  ],
  "routes": [
    "/login"
  ],
  "first_seen": "2023-11-14T22:13:21Z",
  "detected_at": "2023-11-14T22:13:21Z",
  "last_seen": "2023-11-14T22:13:21Z",
  "count": 1,
  "evidence": [
    {
      "line": 12,
      "file": "access.log",
      "text": "GET /\u003cscript\u003e"
    }
  ],
  "level": "high",
  "subject": "client",
  "principals": [],
  "methods": [
    "POST"
  ],
  "statuses": [
    {
      "status": 401,
      "count": 1
    }
  ],
  "sources_total": 1,
  "accounts_total": 1,
  "routes_total": 1,
  "principals_total": 0,
  "limits": [
    "the log names no key, token or user for these requests: whoever shares an address cannot be told apart",
    "request and response bodies are not in the log"
  ],
  "revision": 0
}`
	if diff := cmp.Diff(want, asJSON(t, only(t, b))); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if n := len(b.Wanted(10)); n != 0 {
		t.Errorf("want no line wanted after its text is set, got %d", n)
	}
}

func TestSubjects(t *testing.T) {
	p := testPlan()
	f := func(name, wantKind string, wantGroup map[string]string, fs ...*observation.Finding) {
		t.Helper()
		b := testBook(p, nil)
		for _, x := range fs {
			b.Apply(x)
		}
		got := only(t, b)
		if got.Subject != wantKind {
			t.Errorf("%s: want subject %s, got %s", name, wantKind, got.Subject)
		}
		if diff := cmp.Diff(wantGroup, got.Group); diff != "" {
			t.Errorf("%s: group (-want +got):\n%s", name, diff)
		}
	}
	client := map[string]string{"client.address": "192.0.2.1"}
	f("by client", "client", client, finding(p, ruleStuff, "192.0.2.1", true, seen{client: "192.0.2.1"}))
	f("by client though principal is one", "client", client,
		finding(p, ruleStuff, "192.0.2.1", true, seen{client: "192.0.2.1", key: "k"}))
	f("nine of ten from one client", "client", client,
		finding(p, ruleAccount, "bob", true, seen{client: "192.0.2.1", n: 9}, seen{at: 1, client: "192.0.2.2"}))
	f("one /64", "client", map[string]string{"client.address": "2001:db8::/64"},
		finding(p, ruleAccount, "bob", true, seen{client: "2001:db8::1"}, seen{at: 1, client: "2001:db8::2"}))
	f("eight of ten is not enough", "account", map[string]string{"auth.account": "bob"},
		finding(p, ruleAccount, "bob", true, seen{client: "192.0.2.1", n: 8}, seen{at: 1, client: "192.0.2.2", n: 2}))
	f("one principal from many clients", "principal", map[string]string{"principal": "key-1"},
		finding(p, ruleRoute, "/login", true, seen{client: "192.0.2.1", key: "key-1"}, seen{at: 1, client: "192.0.2.2", key: "key-1"}))
	f("by principal", "principal", map[string]string{"principal": "key-1"},
		finding(p, ruleKey, "key-1", true, seen{client: "192.0.2.1", key: "key-1"}, seen{at: 1, client: "192.0.2.2", key: "key-1"}))
	f("population", "population", map[string]string{"http.route": "/login"},
		finding(p, ruleRoute, "/login", true, seen{client: "192.0.2.1"}, seen{at: 1, client: "192.0.2.2"}))
	f("population without any client", "population", map[string]string{"http.route": "/login"},
		finding(p, ruleRoute, "/login", true, seen{}, seen{at: 1}))
	f("growth without a holder is no share", "population", map[string]string{"http.route": "/login"},
		finding(p, ruleRoute, "/login", false, seen{client: "192.0.2.1"}))
	f("two rules, one client", "client", client,
		finding(p, ruleStuff, "192.0.2.1", true, seen{client: "192.0.2.1"}),
		finding(p, ruleAccount, "bob", true, seen{at: 2, client: "192.0.2.1"}),
		finding(p, ruleAccount, "bob", false, seen{at: 3, client: "192.0.2.99"}))
	f("text that is not UTF-8", "account", map[string]string{"auth.account": "b\uFFFDb"},
		finding(p, ruleAccount, "b\xffb", true, seen{client: "192.0.2.1"}, seen{at: 1, client: "192.0.2.2"}))
}

func TestResolving(t *testing.T) {
	p := testPlan()
	f := func(name string, gap int64, want int) {
		t.Helper()
		b := testBook(p, nil)
		b.Apply(finding(p, ruleProbe, "192.0.2.1", true, seen{client: "192.0.2.1"}))
		b.Apply(finding(p, ruleProbe, "192.0.2.1", true, seen{at: gap, client: "192.0.2.1"}))
		if got := len(b.Incidents()); got != want {
			t.Errorf("%s: want %d incidents, got %d", name, want, got)
		}
	}
	f("a firing before the end belongs to it", 3599, 1)
	f("one at the end opens a new one", 3600, 2)

	b := testBook(p, nil)
	b.Apply(finding(p, ruleKey, "k", true, seen{client: "192.0.2.1", key: "k"}, seen{at: 1, client: "192.0.2.2", key: "k"}))
	b.Advance(t0 + 120)
	if got := only(t, b).State; got != StateOpen {
		t.Errorf("want open before the rule's own time, got %s", got)
	}
	b.Advance(t0 + 121)
	if got := only(t, b).State; got != StateResolved {
		t.Errorf("want resolved at the rule's own time, got %s", got)
	}
}

func TestIdleResolvesProvisionally(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	b.Apply(finding(p, ruleProbe, "192.0.2.1", true, seen{client: "192.0.2.1"}))
	b.AdvanceIdle(t0 + 3599)
	if got := only(t, b).State; got != StateOpen {
		t.Fatalf("want open, got %s", got)
	}
	b.AdvanceIdle(t0 + 3600)
	id := only(t, b)
	if id.State != StateResolved {
		t.Fatalf("want resolved, got %s", id.State)
	}
	b.Apply(finding(p, ruleProbe, "192.0.2.1", true, seen{at: 3000, client: "192.0.2.1"}))
	if got := only(t, b); got.State != StateOpen || got.ID != id.ID {
		t.Fatalf("want %s open again, got %s %s", id.ID, got.ID, got.State)
	}
	b.AdvanceIdle(t0 + 9000)
	b.Apply(finding(p, ruleProbe, "192.0.2.1", true, seen{at: 9000, client: "192.0.2.1"}))
	if got := len(b.Incidents()); got != 2 {
		t.Fatalf("want a second incident after the end, got %d", got)
	}
}

func TestDetectedAtAndFamily(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	b.Apply(finding(p, ruleLow, "192.0.2.1", true, seen{at: 1, client: "192.0.2.1"}))
	got := only(t, b)
	if got.Family != "low" || !got.DetectedAt.Equal(stamp(t0+1)) {
		t.Errorf("want family low at 1, got %s at %s", got.Family, got.DetectedAt)
	}
	b.Apply(finding(p, ruleProbe, "192.0.2.1", true, seen{at: 9, client: "192.0.2.1"}))
	b.Apply(finding(p, ruleStuff, "192.0.2.1", true, seen{at: 10, client: "192.0.2.1"}))
	got = only(t, b)
	if got.Family != "credential" || got.Rule.ID != "stuff" || !got.DetectedAt.Equal(stamp(t0+9)) {
		t.Errorf("want family credential by stuff, detected at 9, got %s by %s at %s", got.Family, got.Rule.ID, got.DetectedAt)
	}
	if b.openIn["low"] != 0 || b.openIn["credential"] != 1 {
		t.Errorf("want the incident counted in its new family, got %v", b.openIn)
	}
}

func TestCountedItemsCountOnce(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	one := seen{client: "192.0.2.1", n: 3}
	b.Apply(finding(p, ruleProbe, "192.0.2.1", true, one))
	one.counted = true
	b.Apply(finding(p, ruleProbe, "192.0.2.1", true, one, seen{at: 4, client: "192.0.2.1", n: 2}))
	got := only(t, b)
	if got.Count != 5 || len(got.Evidence) != 2 {
		t.Errorf("want count 5 and 2 lines, got %d and %d", got.Count, len(got.Evidence))
	}
}

func TestOverflow(t *testing.T) {
	p := testPlan()
	b := testBook(p, func(o *BookOptions) { o.MaxOpen = 3 })
	for i := range 10 {
		a := fmt.Sprintf("192.0.2.%d", i)
		b.Apply(finding(p, ruleProbe, a, true, seen{at: int64(i), client: a}))
		b.Apply(finding(p, ruleProbe, a, false, seen{at: int64(i), client: a}))
	}
	var over *Incident
	for _, inc := range b.Incidents() {
		if inc.Subject == "overflow" {
			over = inc
		}
	}
	if over == nil || len(b.Incidents()) != 4 {
		t.Fatalf("want 3 incidents and an overflow, got %s", asJSON(t, b.Incidents()))
	}
	if over.SubjectsTotal != 7 || over.Count != 14 || over.Group["client.address"] != "*" || len(over.Sources) != 7 {
		t.Errorf("want 7 subjects, count 14, group *, got %s", asJSON(t, over))
	}
	if n := b.o.Metrics.Counts().Overflow["web-attack"]; n != 14 {
		t.Errorf("want 14 findings counted as overflow, got %d", n)
	}
}

func TestChildren(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	quiet, loud, later := "192.0.2.1", "192.0.2.2", "192.0.2.3"
	b.Apply(finding(p, ruleStuff, quiet, true, seen{client: quiet, n: 10}))
	b.Apply(finding(p, ruleStuff, loud, true, seen{client: loud, n: 25}))
	b.Apply(finding(p, ruleRoute, "/login", true, seen{client: quiet, n: 10}, seen{at: 1, client: loud, n: 25}, seen{at: 2, client: "192.0.2.9", n: 65}))
	b.Apply(finding(p, ruleStuff, later, true, seen{at: 3, client: later, n: 24}))
	b.Apply(finding(p, ruleRoute, "/login", false, seen{at: 3, client: later, n: 24}))
	by := map[string]*Incident{}
	for _, inc := range b.Incidents() {
		by[inc.Group["client.address"]] = inc
	}
	parent := by[""]
	if by[quiet].Parent != parent.ID || by[later].Parent != parent.ID || by[loud].Parent != "" {
		t.Errorf("want the quiet ones to be children, got %s", asJSON(t, b.Incidents()))
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values([]string{by[quiet].ID, by[later].ID})), parent.Children); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	// A child that rises takes its parent along.
	p.Rules[ruleStuff].Level = observation.Critical
	b.Apply(finding(p, ruleStuff, quiet, true, seen{at: 5, client: quiet, n: 5}))
	if got := b.Incident(parent.ID); got.Level != observation.Critical || got.Rule.Level != observation.High {
		t.Errorf("want level critical with a rule of high, got %s and %s", got.Level, got.Rule.Level)
	}
	if got := b.Incident(by[quiet].ID); got.Parent != parent.ID {
		t.Errorf("want the decision to stand, got parent %q", got.Parent)
	}
}

func TestAStrangerIsNoChild(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	const before, after = "192.0.2.1", "192.0.2.2"
	b.Apply(finding(p, ruleStuff, before, true, seen{client: before, n: 5}))
	b.Apply(finding(p, ruleRoute, "/login", true, seen{at: 1, client: "192.0.2.8", n: 50}, seen{at: 2, client: "192.0.2.9", n: 50}))
	b.Apply(finding(p, ruleStuff, after, true, seen{at: 3, client: after, n: 5}))
	for _, inc := range b.Incidents() {
		if inc.Parent != "" {
			t.Errorf("want who made nothing of it to stand, got %s", asJSON(t, inc))
		}
	}
}

// reloaded returns a new book with what b keeps.
func reloaded(t *testing.T, b *Book, p *observation.Plan) *Book {
	t.Helper()
	values := map[string][]byte{}
	for _, op := range b.Changes() {
		values[string(op.Key)] = op.Value
	}
	next := testBook(p, nil)
	if err := next.Load(scanOf(values)); err != nil {
		t.Fatal(err)
	}
	return next
}

// TestAChildOutgrowsItsParent: what begins like the others of a campaign, and
// then becomes the greater part of it, is told for itself.
func TestAChildOutgrowsItsParent(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	const c = "192.0.2.1"
	b.Apply(finding(p, ruleRoute, "/login", true, seen{client: "192.0.2.8", n: 50}, seen{at: 1, client: "192.0.2.9", n: 50}))
	b.Apply(finding(p, ruleStuff, c, true, seen{at: 2, client: c, n: 20}))
	b.Apply(finding(p, ruleRoute, "/login", false, seen{at: 2, client: c, n: 20}))
	parent := b.live[0].id
	child := b.live[1].id
	if got := b.Incident(child).Parent; got != parent {
		t.Fatalf("want parent %q, got %q", parent, got)
	}
	b = reloaded(t, b, p)
	grow := func(at int64, n uint32) *Incident {
		b.Apply(finding(p, ruleStuff, c, false, seen{at: at, client: c, n: n}))
		b.Apply(finding(p, ruleRoute, "/login", false, seen{at: at, client: c, n: n}))
		return b.Incident(child)
	}
	if got := grow(3, 40); got.Parent != parent {
		t.Errorf("want 60 of 160 to stay, got parent %q", got.Parent)
	}
	if got := grow(4, 200); got.Parent != "" {
		t.Errorf("want 260 of 360 to stand, got parent %q", got.Parent)
	}
	if got := b.Incident(parent); len(got.Children) != 0 || got.ChildrenTotal != 0 {
		t.Errorf("want no child any more, got %v", got.Children)
	}
	// The campaign goes on without it: it stands nevertheless.
	b.Apply(finding(p, ruleRoute, "/login", false, seen{at: 5, client: "192.0.2.9", n: 5000}))
	b.Apply(finding(p, ruleAccount, "bob", true, seen{at: 6, client: c, n: 2}))
	if got := b.Incident(child); got.Parent != "" {
		t.Errorf("want it to stand as long as it is open, got parent %q", got.Parent)
	}
}

// TestChildrenOfOneKey: one key used from many addresses is one incident, and
// when that turns out to be part of something wider, its children go along.
func TestChildrenOfOneKey(t *testing.T) {
	p := testPlan()
	p.Rules[ruleKey].Family = "credential"
	b := testBook(p, nil)
	items := make([]seen, 5)
	for i := range items {
		c := fmt.Sprintf("192.0.2.%d", i+1)
		items[i] = seen{at: int64(i), client: c, key: "k", n: 10}
		b.Apply(finding(p, ruleStuff, c, true, items[i]))
	}
	b.Apply(finding(p, ruleKey, "k", true, items...))
	key := b.live[len(b.live)-1].id
	if got := b.Incident(key); got.ChildrenTotal != 5 {
		t.Fatalf("want five children, got %s", asJSON(t, got))
	}
	b.Apply(finding(p, ruleRoute, "/login", true, append(items, seen{at: 8, client: "192.0.2.8", n: 200}, seen{at: 9, client: "192.0.2.9", n: 200})...))
	crowd := b.Incident(b.live[len(b.live)-1].id)
	if crowd.Subject != "population" || crowd.ChildrenTotal != 6 {
		t.Errorf("want a population with six children, got %s", asJSON(t, crowd))
	}
	for _, inc := range b.Incidents() {
		if inc.ID != crowd.ID && inc.Parent != crowd.ID {
			t.Errorf("want all to be its children, got %s", asJSON(t, inc))
		}
	}
}

// TestMembersOfOneSize: a population over the firings of its members counts
// each once. Which of them are quiet follows from what they made themselves.
func TestMembersOfOneSize(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	var firings []seen
	for i := range 6 {
		c := fmt.Sprintf("192.0.2.%d", i+1)
		n := uint32(30)
		if i == 5 {
			n = 1000
		}
		b.Apply(finding(p, ruleStuff, c, true, seen{at: int64(i), client: c, n: n}))
		firings = append(firings, seen{at: int64(i), client: c})
	}
	b.Apply(finding(p, ruleRoute, "/login", true, firings...))
	for _, inc := range b.Incidents() {
		if wants := inc.Subject == "client" && inc.Count == 30; wants != (inc.Parent != "") {
			t.Errorf("want the quiet ones to be children, and only them, got %s", asJSON(t, inc))
		}
	}
}

func TestOwnIncidentThatLasts(t *testing.T) {
	b := testBook(testPlan(), nil)
	wall := time.Unix(t0, 0)
	trouble := Trouble{Kind: "source_silent", Title: "A log stopped growing", Text: "x", Level: observation.Medium, Lasting: true}
	b.OwnOver(trouble.Kind, "never was", wall)
	b.Own(trouble, t0)
	b.Advance(t0 + 24*3600)
	if got := only(t, b); got.State != StateOpen {
		t.Errorf("want it open after a day, got %s", got.State)
	}
	b.OwnOver(trouble.Kind, "Lines come again.", wall.Add(25*time.Hour))
	if got := only(t, b); got.State != StateResolved || got.Message != "Lines come again." || got.ResolvedAt == nil || !got.ResolvedAt.Equal(wall.Add(25*time.Hour)) {
		t.Errorf("want it resolved at its end, got %s", asJSON(t, got))
	}
	b.Own(trouble, t0+26*3600)
	if got := only(t, b); got.State != StateOpen || got.Message != "x" {
		t.Errorf("want it open again, got %s", asJSON(t, got))
	}
}

func TestOwnIncident(t *testing.T) {
	b := testBook(testPlan(), nil)
	b.Own(Trouble{Kind: "state_damaged", Title: "State file was damaged", Text: "moved to x", Level: observation.High}, t0)
	b.Own(Trouble{Kind: "state_damaged", Title: "State file was damaged", Text: "moved to y", Level: observation.High}, t0+60)
	got := only(t, b)
	if got.Family != "gatewatch" || got.Rule.ID != "gatewatch.state_damaged" || got.Count != 2 || got.Message != "moved to y" {
		t.Errorf("got %s", asJSON(t, got))
	}
	b.AdvanceIdle(t0 + 60 + 3600)
	if got := only(t, b).State; got != StateResolved {
		t.Errorf("want resolved, got %s", got)
	}
}

func TestResolvedAreBounded(t *testing.T) {
	p := testPlan()
	b := testBook(p, func(o *BookOptions) { o.MaxKept = 5 })
	for i := range 40 {
		a := fmt.Sprintf("192.0.2.%d", i)
		b.Apply(finding(p, ruleProbe, a, true, seen{at: int64(i) * 4000, client: a}))
		if i == 19 {
			b.Changes() // stores 5 resolved and 1 open; those before were dropped unstored
		}
	}
	if got := len(b.Incidents()); got != 6 {
		t.Errorf("want 5 resolved and 1 open, got %d", got)
	}
	if n := b.o.Metrics.Counts().DroppedResolved; n != 34 {
		t.Errorf("want 34 dropped, got %d", n)
	}
	deletes := 0
	for _, op := range b.Changes() {
		if op.Value == nil {
			deletes++
		}
	}
	if deletes != 6 {
		t.Errorf("want the 6 stored ones deleted, got %d", deletes)
	}
}

func TestListsAreBounded(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	route := func(i int, fired bool) *observation.Finding {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		return finding(p, ruleRoute, "/login", fired, seen{at: int64(i) / 100, client: a})
	}
	b.Apply(finding(p, ruleRoute, "/login", true, seen{client: "192.0.2.1"}, seen{client: "192.0.2.2"}))
	for i := range 20_000 {
		b.Apply(route(i, false))
	}
	got := only(t, b)
	if len(got.Sources) != 100 || got.Count != 20_002 {
		t.Errorf("want 100 sources and count 20002, got %d and %d", len(got.Sources), got.Count)
	}
	if got.SourcesTotal < 19_000 || got.SourcesTotal > 21_000 || !cmp.Equal(got.Estimated, []string{"sources_total"}) {
		t.Errorf("want about 20,002 sources, marked; got %d, %v", got.SourcesTotal, got.Estimated)
	}
	b.Finish()
	if resolved := only(t, b); !cmp.Equal(resolved.Sources, got.Sources) || resolved.SourcesTotal != got.SourcesTotal {
		t.Errorf("want the same lists after resolving")
	}
	if b.tracked.used != 0 {
		t.Errorf("want nothing tracked after resolving, got %d", b.tracked.used)
	}
}

func BenchmarkGrow(bench *testing.B) {
	p := testPlan()
	b := testBook(p, nil)
	b.Apply(finding(p, ruleStuff, "192.0.2.1", true, seen{client: "192.0.2.1", account: "bob"}))
	f := finding(p, ruleStuff, "192.0.2.1", false, seen{at: 1, client: "192.0.2.1", account: "bob"})
	bench.ReportAllocs()
	for i := 0; bench.Loop(); i++ {
		f.Items[0].Ref.Offset++
		if i%1024 == 0 {
			f.Key.Time++
			f.Items[0].Time++
		}
		b.Apply(f)
	}
}

func TestEvidenceKeepsFirstAndLatest(t *testing.T) {
	var e, shuffled evidence
	item := func(i int64) *observation.Item {
		return &observation.Item{Time: i, Ref: observation.Ref{Offset: i * 10, Line: i}}
	}
	for i := range int64(20) {
		e.add(item(i))
		e.add(item(i))
	}
	for i := range int64(20) {
		shuffled.add(item(i * 7 % 20))
	}
	var lines []int64
	e.each(func(l *line) { lines = append(lines, l.Line) })
	if diff := cmp.Diff([]int64{0, 1, 2, 15, 16, 17, 18, 19}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(e, shuffled, cmp.AllowUnexported(evidence{})); diff != "" {
		t.Errorf("another order (-want +got):\n%s", diff)
	}
}

func TestWantedIsFair(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	got := map[string]bool{}
	for at := range int64(10) {
		for i := range 10 {
			c := fmt.Sprintf("192.0.2.%d", i)
			b.Apply(finding(p, ruleProbe, c, at == 0, seen{at: at, client: c}))
		}
		for _, w := range b.Wanted(3) {
			got[w.Incident] = true
			b.SetText(w, "f", 1, "text")
		}
	}
	if len(got) != 10 {
		t.Errorf("want each of 10 growing incidents to get its lines, got %d", len(got))
	}
}
