package alerting

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// mustMatch reads matchers that are right.
func mustMatch(t *testing.T, text string) []Matcher {
	t.Helper()
	list, err := ParseMatchers(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// world is a book with a routing, and a wall clock that the test moves.
type world struct {
	t       *testing.T
	plan    *observation.Plan
	book    *Book
	routing *Routing
	wall    time.Time
	values  map[string]map[string][]byte // by bucket
	seq     int64
	ids     map[string]string // incident id to the client in it
}

func newWorld(t *testing.T, r *Routing) *world {
	w := &world{t: t, plan: testPlan(), routing: r, wall: time.Unix(5_000_000, 0).UTC(), values: map[string]map[string][]byte{}, ids: map[string]string{}}
	w.book = testBook(w.plan, nil)
	w.book.SetRouting(r)
	return w
}

// hit lets a rule see a client, at the merged second at.
func (w *world) hit(rule uint32, client string, at int64, fired bool) {
	w.seq++
	f := finding(w.plan, rule, client, fired, seen{at: at, client: client})
	f.Items[0].Ref.Offset = w.seq
	w.book.Apply(f)
}

func (w *world) open(rule uint32, client string) { w.hit(rule, client, w.seq, true) }

// told makes the revisions that are due and writes who is told of what.
func (w *world) told() []string {
	w.t.Helper()
	var out []string
	for _, r := range w.book.Revise(w.wall) {
		if r.To == nil {
			w.t.Fatalf("revision %d of %s says nobody", r.Number, r.Incident.ID)
		}
		for _, to := range r.To {
			group := ""
			if to.Group != "" {
				group = " in a group"
			}
			out = append(out, fmt.Sprintf("%s: %s %d %s %s%s", to.Receiver, r.Incident.Group["client.address"], r.Number, to.Cause, r.Incident.State, group))
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) expect(what string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.told()); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (w *world) after(d time.Duration) { w.wall = w.wall.Add(d) }

func (w *world) act(client string, kind ActionKind) {
	w.t.Helper()
	if _, err := w.book.Act(Act{Incident: w.id(client), Action: kind, By: "ann"}, w.wall); err != nil {
		w.t.Fatal(err)
	}
}

// id is that of the newest incident of a client.
func (w *world) id(client string) string {
	w.t.Helper()
	for _, inc := range slices.Backward(w.book.live) {
		if len(inc.subject.group) > 0 && inc.subject.group[0].Value == client {
			return inc.id
		}
	}
	w.t.Fatalf("there is no incident of %s", client)
	return ""
}

func (w *world) silence(matchers string, from, to time.Duration) Silence {
	w.t.Helper()
	s, err := w.book.AddSilence(Silence{Matchers: mustMatch(w.t, matchers), Author: "ann", Start: w.wall.Add(from), End: w.wall.Add(to)}, w.wall)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// restart goes on from what is stored.
func (w *world) restart() {
	w.t.Helper()
	for _, op := range w.book.Changes() {
		if w.values[op.Bucket] == nil {
			w.values[op.Bucket] = map[string][]byte{}
		}
		if op.Value == nil {
			delete(w.values[op.Bucket], string(op.Key))
			continue
		}
		w.values[op.Bucket][string(op.Key)] = op.Value
	}
	b := testBook(w.plan, nil)
	b.SetRouting(w.routing)
	if err := b.Load(scanOf(w.values[BucketIncidents])); err != nil {
		w.t.Fatal(err)
	}
	if err := b.LoadSilences(scanOf(w.values[BucketSilences])); err != nil {
		w.t.Fatal(err)
	}
	if err := b.LoadGroups(scanOf(w.values[BucketGroups])); err != nil {
		w.t.Fatal(err)
	}
	b.now = w.book.now
	w.book = b
}

// routingOf routes to receivers named as given; those that end in "!" keep
// one message an incident.
func routingOf(root Route, receivers ...string) *Routing {
	r := &Routing{Root: root, Receivers: map[string]Recipient{}}
	for _, name := range receivers {
		r.Receivers[name] = Recipient{Keeps: strings.HasSuffix(name, "!")}
	}
	if err := r.check(&r.Root); err != nil {
		panic(err)
	}
	return r
}

const (
	c1 = "192.0.2.1"
	c2 = "192.0.2.2"
	c3 = "192.0.2.3"
)

func plain(receivers ...string) Route {
	return Route{Receivers: receivers, GroupInterval: 5 * time.Minute, RepeatInterval: 12 * time.Hour}
}

func TestRoutingTree(t *testing.T) {
	root := plain("all")
	loud := plain("loud")
	loud.Matchers, loud.Continue = mustMatch(t, `level>=high`), true
	web := plain("web")
	web.Matchers = mustMatch(t, `family="web-attack"`)
	sql := plain("sql", "web")
	sql.Matchers = mustMatch(t, `rule=sql`)
	web.Routes = []Route{sql}
	root.Routes = []Route{loud, web}
	w := newWorld(t, routingOf(root, "all", "loud", "web", "sql"))
	w.open(ruleLow, c1)
	w.open(ruleProbe, c2)
	w.open(ruleSQL, c3)
	w.expect("each to its deepest routes",
		"all: 192.0.2.1 1 opened open",
		"loud: 192.0.2.3 1 opened open",
		"sql: 192.0.2.3 1 opened open",
		"web: 192.0.2.2 1 opened open",
		"web: 192.0.2.3 1 opened open")
	w.open(ruleSQL, c2)
	w.expect("what rises is told where it now belongs, and is first news there",
		"loud: 192.0.2.2 2 opened open", "sql: 192.0.2.2 2 opened open", "web: 192.0.2.2 2 level open")
	w.open(ruleStuff, c1)
	w.expect("who is left out now hears no more", "loud: 192.0.2.1 2 opened open")
	w.book.Finish()
	w.expect("but that it is over",
		"all: 192.0.2.1 3 resolved resolved", "loud: 192.0.2.1 3 resolved resolved", "loud: 192.0.2.2 3 resolved resolved",
		"loud: 192.0.2.3 2 resolved resolved", "sql: 192.0.2.2 3 resolved resolved", "sql: 192.0.2.3 2 resolved resolved",
		"web: 192.0.2.2 3 resolved resolved", "web: 192.0.2.3 2 resolved resolved")
}

func TestReceiversHaveTheirLevel(t *testing.T) {
	r := routingOf(plain("all", "loud"), "all", "loud")
	r.Receivers["loud"] = Recipient{MinLevel: observation.High}
	w := newWorld(t, r)
	w.open(ruleProbe, c1)
	w.expect("below it", "all: 192.0.2.1 1 opened open")
	w.open(ruleSQL, c1)
	w.expect("at it", "all: 192.0.2.1 2 level open", "loud: 192.0.2.1 2 opened open")
}

func TestTimesOfARoute(t *testing.T) {
	root := plain("slow")
	root.GroupWait = 30 * time.Second
	fast := plain("fast")
	fast.GroupInterval, fast.RepeatInterval, fast.Continue = time.Minute, time.Hour, true
	other := plain("slow")
	other.GroupWait = root.GroupWait
	root.Routes = []Route{fast, other}
	w := newWorld(t, routingOf(root, "slow", "fast"))
	w.open(ruleProbe, c1)
	w.expect("one waits", "fast: 192.0.2.1 1 opened open")
	w.after(29 * time.Second)
	w.hit(ruleProbe, c1, 5, false)
	w.expect("still")
	w.restart()
	w.expect("and after a restart")
	w.after(time.Second)
	w.expect("it is told what is true by now", "slow: 192.0.2.1 2 opened open")
	w.after(30 * time.Second)
	w.expect("the other is told of growth after its interval", "fast: 192.0.2.1 2 grew open")
	w.hit(ruleProbe, c1, 6, false)
	w.after(time.Minute)
	w.expect("", "fast: 192.0.2.1 3 grew open")
	w.after(3*time.Minute + 30*time.Second)
	w.expect("", "slow: 192.0.2.1 3 grew open")
	w.after(56 * time.Minute)
	w.expect("not yet")
	w.restart()
	w.after(30 * time.Second)
	w.expect("repeats have their own times", "fast: 192.0.2.1 4 repeat open")
	w.after(time.Hour)
	w.expect("", "fast: 192.0.2.1 5 repeat open")
	w.after(11 * time.Hour)
	w.expect("", "fast: 192.0.2.1 6 repeat open", "slow: 192.0.2.1 6 repeat open")
}

func TestGroups(t *testing.T) {
	root := plain("mail", "slack!")
	root.GroupBy, root.GroupWait = []string{LabelFamily}, 30*time.Second
	w := newWorld(t, routingOf(root, "mail", "slack!"))
	w.open(ruleProbe, c1)
	w.expect("a group waits for more")
	w.after(20 * time.Second)
	w.open(ruleProbe, c2)
	w.open(ruleLow, c3)
	w.expect("still")
	w.after(10 * time.Second)
	w.expect("its members are told at once; who keeps a message an incident gets no group",
		"mail: 192.0.2.1 1 opened open in a group", "mail: 192.0.2.2 1 opened open in a group",
		"slack!: 192.0.2.1 1 opened open", "slack!: 192.0.2.2 1 opened open")
	w.after(20 * time.Second)
	w.expect("another group has its own time", "mail: 192.0.2.3 1 opened open in a group", "slack!: 192.0.2.3 1 opened open")
	const c4 = "192.0.2.4"
	w.open(ruleProbe, c4)
	w.open(ruleSQL, c1)
	w.expect("what follows waits for the interval, but in a message of its own", "slack!: 192.0.2.1 2 level open")
	w.restart()
	w.expect("also after a restart")
	w.after(4*time.Minute + 39*time.Second)
	w.expect("")
	w.after(time.Second)
	w.expect("the interval is over", "mail: 192.0.2.1 2 level open in a group", "mail: 192.0.2.4 1 opened open in a group", "slack!: 192.0.2.4 1 opened open")
	w.after(time.Hour)
	w.open(ruleProbe, "192.0.2.5")
	w.expect("a quiet group waits as a new one does")
	w.after(30 * time.Second)
	w.expect("", "mail: 192.0.2.5 1 opened open in a group", "slack!: 192.0.2.5 1 opened open")
}

func TestMutes(t *testing.T) {
	root := plain("day", "always")
	night := TimeInterval{Times: []ClockSpan{{0, 6 * 60}}}
	muted := plain("day")
	muted.Mute, muted.Continue = []TimeInterval{night}, true
	root.Routes = []Route{muted, plain("always")}
	w := newWorld(t, routingOf(root, "day", "always"))
	w.wall = time.Date(2026, 5, 1, 5, 0, 0, 0, time.UTC)
	w.open(ruleProbe, c1)
	w.open(ruleProbe, c2)
	w.expect("at night", "always: 192.0.2.1 1 opened open", "always: 192.0.2.2 1 opened open")
	w.act(c2, ActionResolve)
	w.expect("", "always: 192.0.2.2 2 resolved resolved")
	w.restart()
	w.after(59*time.Minute + 59*time.Second)
	w.expect("")
	w.after(time.Second)
	w.expect("in the morning, what is still open", "day: 192.0.2.1 1 opened open")
	w.wall = time.Date(2026, 5, 2, 1, 0, 0, 0, time.UTC)
	w.expect("a repeat at night", "always: 192.0.2.1 2 repeat open")
	w.act(c1, ActionResolve)
	w.expect("", "always: 192.0.2.1 3 resolved resolved")
	w.wall = time.Date(2026, 5, 2, 6, 0, 0, 0, time.UTC)
	w.expect("who was told of it hears that it is over, later", "day: 192.0.2.1 3 resolved resolved")
	c := w.book.o.Metrics.Counts()
	if n := c.Suppressed[ReceiverSuppression{"day", SuppressedByMute}]; n != 2 {
		t.Errorf("want 2 counted since the restart, got %d", n)
	}

	active := plain("office")
	active.Active = []TimeInterval{night}
	w = newWorld(t, routingOf(active, "office"))
	w.wall = time.Date(2026, 5, 1, 23, 59, 0, 0, time.UTC)
	w.open(ruleProbe, c1)
	w.expect("outside of the active times")
	w.after(time.Minute)
	w.expect("inside", "office: 192.0.2.1 1 opened open")
}

func TestSilences(t *testing.T) {
	w := newWorld(t, routingOf(plain("ops"), "ops"))
	w.open(ruleProbe, c1)
	w.expect("", "ops: 192.0.2.1 1 opened open")
	w.silence(`client.address=~"192.0.2.[12]"`, 0, time.Hour)
	later := w.silence(`client.address=192.0.2.3`, time.Minute, time.Hour)
	w.expect("who was told hears that it is silenced", "ops: 192.0.2.1 2 silenced silenced")
	w.open(ruleProbe, c2)
	w.open(ruleProbe, c3)
	w.hit(ruleProbe, c1, 9, false)
	w.open(ruleSQL, c1)
	w.expect("others and what has not begun", "ops: 192.0.2.3 1 opened open")
	if got := w.book.Incident(w.id(c1)); got.State != StateSilenced || len(got.SilencedBy) != 1 || !got.SilencedUntil.Equal(w.wall.Add(time.Hour)) {
		t.Errorf("want the silence in the incident, got %s", asJSON(t, got))
	}
	w.after(time.Minute)
	w.expect("it begins", "ops: 192.0.2.3 2 silenced silenced")
	w.restart()
	w.expect("and holds after a restart")
	w.after(time.Minute)
	if s, err := w.book.ExpireSilence(later.ID, "bob", w.wall); err != nil || s.State != SilenceExpired || s.ExpiredBy != "bob" {
		t.Fatalf("expire: %+v, %v", s, err)
	}
	w.expect("it is ended early", "ops: 192.0.2.3 3 unsilenced open")
	w.act(c2, ActionResolve)
	w.after(57 * time.Minute)
	w.expect("what is over before it was told is not told")
	w.after(time.Minute)
	w.expect("it ends by itself", "ops: 192.0.2.1 4 level open")
	c := w.book.o.Metrics.Counts()
	if c.SilencesActive != 0 || c.SilencesPending != 0 || c.Suppressed[ReceiverSuppression{"ops", SuppressedBySilence}] != 2 {
		t.Errorf("counts: %+v", c)
	}

	w.silence(`level>=high`, 0, time.Hour)
	w.expect("", "ops: 192.0.2.1 5 silenced silenced")
	w.act(c1, ActionResolve)
	w.expect("the end is told, silenced or not", "ops: 192.0.2.1 6 resolved resolved")
	w.hit(ruleProbe, c1, 30, true)
	w.expect("opening again is not")
	w.after(time.Hour)
	w.expect("until the silence is over", "ops: 192.0.2.1 8 reopened open")
}

func TestSilencesAreChecked(t *testing.T) {
	w := newWorld(t, routingOf(plain("ops"), "ops"))
	f := func(want string, s Silence) {
		t.Helper()
		_, err := w.book.AddSilence(s, w.wall)
		if err == nil || err.Error() != want {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	ms := mustMatch(t, `level=high`)
	end := w.wall.Add(time.Hour)
	f("not possible: nobody is named as who asks for it", Silence{Matchers: ms, Start: w.wall, End: end})
	f(`not possible: a silence needs one to 64 matchers, such as client.address="192.0.2.1"`, Silence{Author: "a", Start: w.wall, End: end})
	f("not possible: these matchers hold for everything; one of them has to ask for a value", Silence{Author: "a", Start: w.wall, End: end, Matchers: mustMatch(t, `auth.account=~".*",level!=low`)[:1]})
	f("not possible: the silence ends before it begins", Silence{Author: "a", Start: end, End: w.wall, Matchers: ms})
	f("not possible: the silence would be over already", Silence{Author: "a", Start: w.wall.Add(-time.Hour), End: w.wall, Matchers: ms})
	f("not possible: a silence lasts for a year at most", Silence{Author: "a", Start: w.wall, End: w.wall.AddDate(2, 0, 0), Matchers: ms})
	f("not possible: name or comment is not UTF-8", Silence{Author: "a", Comment: "\xff", Start: w.wall, End: end, Matchers: ms})
	for range maxSilences {
		w.silence(`level=high`, 0, time.Hour)
	}
	f("not possible: there are 1000 silences already; expire some first", Silence{Author: "a", Start: w.wall, End: end, Matchers: ms})
	w.after(time.Hour)
	w.silence(`level=low`, 0, time.Hour)
	if n := len(w.book.Silences(w.wall)); n != maxSilences+1 {
		t.Errorf("want the expired ones kept, got %d", n)
	}
	w.restart()
	w.after(silenceKept + time.Second)
	if got := w.book.Silences(w.wall); len(got) != 1 || got[0].State != SilenceExpired {
		t.Errorf("want them forgotten after five days, got %d", len(got))
	}
	w.restart()
	if n := len(w.values[BucketSilences]); n != 1 {
		t.Errorf("want them gone from the state, got %d", n)
	}
	if _, err := w.book.ExpireSilence("none", "a", w.wall); err == nil {
		t.Error("want an error for a silence that there is not")
	}
}

func TestInhibition(t *testing.T) {
	r := routingOf(plain("ops"), "ops")
	r.Inhibit = []InhibitRule{{Source: mustMatch(t, `level>=high`), Target: mustMatch(t, `level<=medium`)}}
	w := newWorld(t, r)
	w.open(ruleProbe, c1)
	w.expect("", "ops: 192.0.2.1 1 opened open")
	w.open(ruleSQL, c2)
	w.open(ruleProbe, c3)
	w.expect("what is smaller is not told beside it", "ops: 192.0.2.2 1 opened open")
	if got := w.book.Incident(w.id(c3)).InhibitedBy; len(got) != 1 || got[0] != w.id(c2) {
		t.Errorf("want to know for whose sake, got %v", got)
	}
	w.hit(ruleProbe, c1, 9, false)
	w.after(10 * time.Minute)
	w.expect("nor that it grows")
	w.restart()
	w.expect("nor after a restart")
	w.act(c1, ActionResolve)
	w.expect("but that it is over", "ops: 192.0.2.1 2 resolved resolved")
	w.act(c2, ActionResolve)
	w.expect("and what is left, when the other is over", "ops: 192.0.2.2 2 resolved resolved", "ops: 192.0.2.3 1 opened open")

	r.Inhibit = []InhibitRule{{Source: mustMatch(t, `family=web-attack`), Target: mustMatch(t, `level>=low`), Equal: []string{LabelLevel}}}
	w = newWorld(t, r)
	w.open(ruleSQL, c1)
	w.open(ruleStuff, c2)
	w.open(ruleProbe, c3)
	w.expect("equal labels; nothing inhibits itself", "ops: 192.0.2.1 1 opened open", "ops: 192.0.2.3 1 opened open")
}

func TestActions(t *testing.T) {
	w := newWorld(t, routingOf(plain("mail", "slack!"), "mail", "slack!"))
	both := func(text string) []string {
		return []string{"mail: 192.0.2.1 " + text, "slack!: 192.0.2.1 " + text}
	}
	w.open(ruleProbe, c1)
	w.expect("", both("1 opened open")...)
	w.act(c1, ActionAcknowledge)
	w.expect("", both("2 acknowledged acknowledged")...)
	i := w.book.Incident(w.id(c1))
	if i.Acknowledged == nil || i.Acknowledged.By != "ann" || len(i.Actions) != 1 {
		t.Errorf("want who did it, got %s", asJSON(t, i))
	}
	if _, err := w.book.Act(Act{Incident: i.ID, Action: ActionAcknowledge, By: "bob"}, w.wall); err == nil || !strings.Contains(err.Error(), "was acknowledged by ann") {
		t.Errorf("want it said who did it already, got %v", err)
	}
	w.restart()
	w.hit(ruleProbe, c1, 5, false)
	w.after(6 * time.Minute)
	w.expect("growth only where it disturbs nobody", "slack!: 192.0.2.1 3 grew acknowledged")
	w.after(24 * time.Hour)
	w.expect("no repeats")
	w.open(ruleSQL, c1)
	w.expect("until it rises", both("4 level open")...)
	w.after(12 * time.Hour)
	w.expect("then they come", both("5 repeat open")...)
	w.act(c1, ActionResolve)
	w.expect("", both("6 resolved resolved")...)
	w.hit(ruleSQL, c1, 100, false)
	w.expect("what is under way does not open it again")
	w.hit(ruleSQL, c1, 400, false)
	w.expect("but if it goes on", both("7 reopened open")...)
	w.act(c1, ActionResolve)
	w.expect("", both("8 resolved resolved")...)
	w.hit(ruleSQL, c1, 401, true)
	w.expect("or fires again", both("9 reopened open")...)
	w.act(c1, ActionFalsePositive)
	w.expect("", both("10 false_positive resolved")...)
	w.restart()
	w.hit(ruleSQL, c1, 900, true)
	w.expect("a false positive stays one")
	w.open(ruleStuff, c1)
	w.expect("until something else comes", both("11 reopened open")...)
	if i := w.book.Incident(w.id(c1)); i.FalsePositive || len(i.Actions) != 4 {
		t.Errorf("want the mark gone and the history kept, got %s", asJSON(t, i))
	}
	w.book.Finish()
	w.expect("", both("12 resolved resolved")...)
	w.act(c1, ActionFalsePositive)
	w.expect("it can be marked later", both("13 false_positive resolved")...)
	f := func(a Act, want string) {
		t.Helper()
		if _, err := w.book.Act(a, w.wall); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	id := w.id(c1)
	f(Act{Incident: id, Action: ActionAcknowledge, By: "a"}, "is resolved")
	f(Act{Incident: id, Action: ActionFalsePositive, By: "a"}, "already")
	f(Act{Incident: id, Action: "dance", By: "a"}, "there is no action")
	f(Act{Incident: "x", Action: ActionResolve, By: "a"}, "none with this id")
	f(Act{Incident: id, Action: ActionResolve, By: strings.Repeat("a", 201)}, "longer")
}

func TestAParentResolvedByHand(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	b.SetRouting(routingOf(plain("ops"), "ops"))
	wall := time.Unix(5_000_000, 0)
	const child = "192.0.2.1"
	b.Apply(finding(p, ruleRoute, "/login", true, seen{at: 1, client: "192.0.2.7", n: 50}, seen{at: 2, client: "192.0.2.9", n: 60}))
	b.Apply(finding(p, ruleStuff, child, true, seen{at: 3, client: child, n: 5}))
	b.Apply(finding(p, ruleRoute, "/login", false, seen{at: 3, client: child, n: 5}))
	b.Revise(wall)
	parent := b.live[0].id
	if _, err := b.Act(Act{Incident: parent, Action: ActionResolve, By: "ann"}, wall); err != nil {
		t.Fatal(err)
	}
	b.Revise(wall)
	p.Rules[ruleStuff].Level = observation.Critical
	b.Apply(finding(p, ruleStuff, child, true, seen{at: 4, client: child}))
	got := b.Revise(wall)
	if len(got) != 1 || got[0].Incident.Group["client.address"] != child || len(got[0].To) != 1 {
		t.Errorf("want a child that rises above what somebody resolved to be told, got %v", inShort(got))
	}
}

func TestRoutingChanges(t *testing.T) {
	w := newWorld(t, routingOf(plain("one"), "one"))
	w.open(ruleProbe, c1)
	w.open(ruleProbe, c2)
	w.expect("", "one: 192.0.2.1 1 opened open", "one: 192.0.2.2 1 opened open")
	w.act(c2, ActionResolve)
	w.expect("", "one: 192.0.2.2 2 resolved resolved")
	w.book.SetRouting(routingOf(plain("one", "two"), "one", "two"))
	w.expect("a new receiver hears of what is open", "two: 192.0.2.1 1 opened open")
	w.book.SetRouting(routingOf(plain("two"), "two"))
	w.expect("")
	w.book.SetRouting(routingOf(plain("one", "two"), "one", "two"))
	w.expect("one that was gone is a new one", "one: 192.0.2.1 1 opened open")
}

func TestTheClockIsSetBack(t *testing.T) {
	root := plain("mail")
	root.GroupBy, root.GroupWait = []string{LabelFamily}, 30*time.Second
	w := newWorld(t, routingOf(root, "mail"))
	w.silence(`client.address=192.0.2.3`, 0, time.Hour)
	w.open(ruleProbe, c1)
	w.expect("")
	w.after(-24 * time.Hour)
	w.open(ruleProbe, c3)
	w.expect("what waits begins to wait")
	w.after(30 * time.Second)
	w.expect("and is told, what a silence does not yet hold for too", "mail: 192.0.2.1 1 opened open in a group", "mail: 192.0.2.3 1 opened open in a group")
	w.hit(ruleProbe, c1, 9, false)
	w.after(-24 * time.Hour)
	w.expect("")
	w.after(5 * time.Minute)
	w.expect("", "mail: 192.0.2.1 2 grew open in a group")
}

// TestRoutingProperties drives two worlds with the same random findings,
// actions and silences, one of them with restarts. Both tell the same, and
// what they tell keeps the promises of routing.
func TestRoutingProperties(t *testing.T) {
	for seed := range seedsOf(12) {
		r := rand.New(rand.NewPCG(seed, 77))
		newRoot := func() *Routing {
			root := plain("plain", "muted")
			grouped := plain("grouped", "keeper!")
			grouped.GroupBy, grouped.GroupWait, grouped.Continue = []string{LabelFamily}, 40*time.Second, true
			muted := plain("muted")
			muted.Mute, muted.Continue = []TimeInterval{{Times: []ClockSpan{{60, 120}, {600, 700}}}}, true
			root.Routes = []Route{grouped, muted, plain("plain")}
			x := routingOf(root, "plain", "grouped", "keeper!", "muted")
			x.Receivers["plain"] = Recipient{MinLevel: observation.Medium}
			x.Inhibit = []InhibitRule{{Source: mustMatch(t, `level=critical`), Target: mustMatch(t, `level=low`)}}
			return x
		}
		a, b := newWorld(t, newRoot()), newWorld(t, newRoot())
		findings := stream(a.plan, r, 250, allRules)
		o := newOverseer(t, seed, a.routing)
		var pairs [][2]string // ids of the same silence
		both := func(f func(w *world)) { f(a); f(b) }
		step := func() {
			d := time.Duration(r.IntN(200)) * time.Second
			if r.IntN(30) == 0 {
				d += time.Duration(r.IntN(14)) * time.Hour
			}
			both(func(w *world) { w.after(d) })
			x, y := a.book.Revise(a.wall), b.book.Revise(b.wall)
			if diff := cmp.Diff(revisionsInShort(x), revisionsInShort(y)); diff != "" {
				t.Fatalf("seed %d: restarts change what is told (-without +with):\n%s", seed, diff)
			}
			o.see(a.wall, x)
		}
		for _, f := range findings {
			switch r.IntN(12) {
			case 0, 1, 2:
				step()
			case 3:
				b.restart()
			case 4:
				both(func(w *world) { w.book.AdvanceIdle(f.Key.Time + 4000) })
			case 5:
				matchers := []string{`family=credential`, `level<=high,family=traffic`, `client.address=~"192.0.2.*"`}[r.IntN(3)]
				from, d := time.Duration(r.IntN(600))*time.Second, time.Duration(1+r.IntN(3600))*time.Second
				pairs = append(pairs, [2]string{a.silence(matchers, from, from+d).ID, b.silence(matchers, from, from+d).ID})
			case 6:
				if len(pairs) > 0 {
					p := pairs[r.IntN(len(pairs))]
					_, err1 := a.book.ExpireSilence(p[0], "ann", a.wall)
					_, err2 := b.book.ExpireSilence(p[1], "ann", b.wall)
					if (err1 == nil) != (err2 == nil) {
						t.Fatalf("seed %d: %v and %v", seed, err1, err2)
					}
				}
			case 7, 8:
				if len(a.book.live) == 0 {
					break
				}
				id := a.book.live[r.IntN(len(a.book.live))].id
				kind := []ActionKind{ActionAcknowledge, ActionResolve, ActionFalsePositive}[r.IntN(3)]
				_, err1 := a.book.Act(Act{Incident: id, Action: kind, By: "ann"}, a.wall)
				_, err2 := b.book.Act(Act{Incident: id, Action: kind, By: "ann"}, b.wall)
				if (err1 == nil) != (err2 == nil) {
					t.Fatalf("seed %d: %v and %v", seed, err1, err2)
				}
			}
			both(func(w *world) { w.book.Apply(f) })
		}
		// All silences and mutes pass; whatever is open has been told by then.
		for range 40 {
			both(func(w *world) { w.after(10 * time.Minute) })
			o.see(a.wall, a.book.Revise(a.wall))
		}
		o.settled(a)
		checkCounts(t, a.book)
	}
}

func revisionsInShort(rs []Revision) []string {
	var out []string
	for _, r := range rs {
		to := slices.Clone(r.To)
		slices.SortFunc(to, func(x, y Addressee) int { return strings.Compare(x.Receiver, y.Receiver) })
		out = append(out, fmt.Sprintf("%s/%d %s %s %v", r.Incident.ID, r.Number, r.Cause, r.Incident.State, to))
	}
	return out
}

// overseer holds what is told against the promises.
type overseer struct {
	t       *testing.T
	seed    uint64
	routing *Routing
	last    map[string]seenRevision // receiver and incident
	flushed map[string]time.Time    // receiver and group
}

type seenRevision struct {
	number   int64
	at       time.Time
	resolved bool
}

func newOverseer(t *testing.T, seed uint64, r *Routing) *overseer {
	return &overseer{t: t, seed: seed, routing: r, last: map[string]seenRevision{}, flushed: map[string]time.Time{}}
}

func (o *overseer) see(now time.Time, rs []Revision) {
	o.t.Helper()
	for _, r := range rs {
		i := r.Incident
		if i.Revision != r.Number {
			o.t.Fatalf("seed %d: %s/%d says that it is revision %d", o.seed, i.ID, r.Number, i.Revision)
		}
		for _, to := range r.To {
			fault := func(text string) {
				o.t.Fatalf("seed %d: %s is told of %s/%d (%s, %s): %s", o.seed, to.Receiver, i.ID, r.Number, to.Cause, i.State, text)
			}
			key := to.Receiver + " " + i.ID
			was, known := o.last[key]
			switch {
			case known && r.Number <= was.number:
				fault("the number does not rise")
			case known == (to.Cause == CauseOpened):
				fault("what is told first is opened, and nothing else is")
			case i.State == StateSilenced && to.Cause != CauseSilenced:
				fault("it is silenced")
			case len(i.InhibitedBy) > 0 && to.Cause != CauseSilenced && to.Cause != CauseAcknowledged:
				fault("it is inhibited")
			case i.Level < o.routing.Receivers[to.Receiver].MinLevel && i.State != StateResolved:
				fault("its level is too low")
			case to.Cause == CauseGrew && now.Sub(was.at) < 5*time.Minute:
				fault("it grew a moment ago")
			case to.Cause == CauseRepeat && now.Sub(was.at) < 12*time.Hour:
				fault("it was told a moment ago")
			case to.Cause == CauseRepeat && i.State != StateOpen:
				fault("somebody knows")
			case to.Cause == CauseGrew && i.State == StateAcknowledged && to.Receiver != "keeper!":
				fault("somebody knows that it grows")
			case to.Receiver == "muted" && (&TimeInterval{Times: []ClockSpan{{60, 120}, {600, 700}}}).Contains(now):
				fault("it is muted")
			case (to.Receiver == "grouped") != (to.Group != "") && (to.Receiver != "grouped" || i.State != StateResolved):
				fault("group " + to.Group)
			}
			if to.Group != "" {
				g := to.Receiver + " " + to.Group
				if at, ok := o.flushed[g]; ok && !at.Equal(now) && now.Sub(at) < 5*time.Minute {
					fault("its group was told a moment ago")
				}
				o.flushed[g] = now
			}
			o.last[key] = seenRevision{r.Number, now, i.State == StateResolved}
		}
	}
}

// settled says that nobody is left with an old state, or without any.
func (o *overseer) settled(w *world) {
	o.t.Helper()
	for _, inc := range w.book.byID {
		for _, d := range w.book.routing.dests(w.book.labels(inc)) {
			s := inc.sent[d.receiver]
			switch {
			case s == nil || s.revision == 0:
				if !inc.resolved() && !w.book.hidden(inc) && len(inc.inhibitedBy) == 0 {
					o.t.Errorf("seed %d: %s was never told of %s", o.seed, d.receiver, inc.id)
				}
			default:
				f := inc.facts()
				if c := f.change(&s.facts, w.book.hidden(inc)); c != "" && len(inc.inhibitedBy) == 0 {
					o.t.Errorf("seed %d: %s was never told that %s of %s", o.seed, d.receiver, c, inc.id)
				}
				if o.last[d.receiver+" "+inc.id].number != s.revision {
					o.t.Errorf("seed %d: %s was told of another revision of %s than is noted", o.seed, d.receiver, inc.id)
				}
			}
		}
	}
}

func FuzzLoadSilence(f *testing.F) {
	s := Silence{ID: "a", Author: "x", Start: time.Unix(1, 0), End: time.Unix(1000, 0)}
	s.Matchers, _ = ParseMatchers(`level<=high,rule=~"a.*"`)
	f.Add([]byte("a"), s.encode())
	f.Add([]byte("a"), []byte("\x01{}"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		w := newWorld(t, routingOf(plain("ops"), "ops"))
		if w.book.LoadSilences(scanOf(map[string][]byte{string(key): value})) != nil {
			return
		}
		// What was taken in must be usable, and be stored again the same.
		w.open(ruleProbe, c1)
		w.book.Revise(w.wall)
		for _, s := range w.book.Silences(time.Unix(500, 0)) {
			again, err := decodeSilence(s.encode())
			if err != nil || asJSON(t, again.Matchers) != asJSON(t, s.Matchers) {
				t.Errorf("want the same again, got %v", err)
			}
		}
		w.book.Changes()
	})
}

func FuzzLoadGroup(f *testing.F) {
	f.Add([]byte("a"), append([]byte{1}, make([]byte, 24)...))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		root := plain("mail")
		root.GroupBy, root.GroupWait = []string{LabelFamily}, 30*time.Second
		w := newWorld(t, routingOf(root, "mail"))
		if w.book.LoadGroups(scanOf(map[string][]byte{string(key): value})) != nil {
			return
		}
		w.open(ruleProbe, c1)
		for range 200 {
			w.book.Revise(w.wall)
			w.after(time.Minute)
		}
		w.book.Changes()
	})
}
