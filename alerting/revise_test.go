package alerting

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// inShort writes revisions as a line each.
func inShort(rs []Revision) []string {
	var out []string
	for _, r := range rs {
		who := r.Incident.Group["client.address"]
		if who == "" {
			who = "population"
		}
		out = append(out, fmt.Sprintf("%s %d %s %s", who, r.Number, r.Cause, r.Incident.State))
	}
	return out
}

func TestRevisions(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	wall := time.Unix(5_000_000, 0)
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, inShort(b.Revise(wall))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	const c = "192.0.2.1"
	hit := func(rule uint32, at int64, fired bool) {
		b.Apply(finding(p, rule, c, fired, seen{at: at, client: c}))
	}
	expect("nothing yet")
	hit(ruleProbe, 0, true)
	expect("it opens", c+" 1 opened open")
	hit(ruleProbe, 1, false)
	expect("growth waits")
	wall = wall.Add(4 * time.Minute)
	hit(ruleProbe, 2, false)
	expect("growth still waits")
	wall = wall.Add(time.Minute)
	expect("the interval is over, without any change", c+" 2 grew open")
	wall = wall.Add(time.Hour)
	expect("nothing grew")
	hit(ruleSQL, 3, true)
	expect("a higher level does not wait", c+" 3 level open")
	hit(ruleStuff, 4, true)
	expect("another rule of the same level does")
	wall = wall.Add(6 * time.Minute)
	expect("", c+" 4 grew open")
	wall = wall.Add(12*time.Hour - time.Second)
	expect("no repeat before its time")
	wall = wall.Add(time.Minute)
	expect("a repeat", c+" 5 repeat open")
	b.AdvanceIdle(t0 + 4 + 3600)
	expect("silence resolves it", c+" 6 resolved resolved")
	b.AdvanceIdle(t0 + 9999)
	expect("once")
	hit(ruleProbe, 5, true)
	expect("it reopens", c+" 7 reopened open")
	b.Advance(t0 + 5 + 3600)
	expect("resolved for good", c+" 8 resolved resolved")
	wall = wall.Add(100 * time.Hour)
	expect("no repeat of what is resolved")
	hit(ruleProbe, 5000, true)
	b.Finish()
	expect("opened and resolved between two looks", c+" 1 opened resolved")
}

func TestRevisionsSurviveARestart(t *testing.T) {
	p := testPlan()
	wall := time.Unix(5_000_000, 0)
	values := map[string][]byte{}
	restart := func(b *Book) *Book {
		for _, op := range b.Changes() {
			values[string(op.Key)] = op.Value
		}
		next := testBook(p, nil)
		if err := next.Load(scanOf(values)); err != nil {
			t.Fatal(err)
		}
		return next
	}
	const c = "192.0.2.1"
	b := testBook(p, nil)
	b.Apply(finding(p, ruleProbe, c, true, seen{client: c}))
	b = restart(b)
	if got := inShort(b.Revise(wall)); len(got) != 1 {
		t.Fatalf("want what was not told to be told after a restart, got %v", got)
	}
	b = restart(b)
	if got := inShort(b.Revise(wall)); len(got) != 0 {
		t.Fatalf("want nothing told twice, got %v", got)
	}
	b.Apply(finding(p, ruleProbe, c, false, seen{at: 1, client: c}))
	b = restart(b)
	wall = wall.Add(5 * time.Minute)
	if diff := cmp.Diff([]string{c + " 2 grew open"}, inShort(b.Revise(wall))); diff != "" {
		t.Errorf("growth (-want +got):\n%s", diff)
	}
	b.Finish()
	b = restart(b)
	if diff := cmp.Diff([]string{c + " 3 resolved resolved"}, inShort(b.Revise(wall))); diff != "" {
		t.Errorf("end (-want +got):\n%s", diff)
	}
}

func TestChildrenAreToldByTheirParent(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	wall := time.Unix(5_000_000, 0)
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, inShort(b.Revise(wall))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	const early, late = "192.0.2.1", "192.0.2.2"
	b.Apply(finding(p, ruleStuff, early, true, seen{client: early, n: 5}))
	expect("told alone before there is a parent", early+" 1 opened open")
	b.Apply(finding(p, ruleRoute, "/login", true, seen{at: 1, client: early, n: 5}, seen{at: 2, client: "192.0.2.9", n: 60}, seen{at: 2, client: "192.0.2.8", n: 35}))
	expect("it becomes a child", early+" 2 parent open", "population 1 opened open")
	b.Apply(finding(p, ruleStuff, late, true, seen{at: 3, client: late, n: 5}))
	b.Apply(finding(p, ruleRoute, "/login", false, seen{at: 3, client: late, n: 5}))
	expect("a child from its start is silent")
	wall = wall.Add(10 * time.Minute)
	b.Apply(finding(p, ruleStuff, late, false, seen{at: 4, client: late}))
	expect("only the parent grows", "population 2 grew open")
	p.Rules[ruleStuff].Level = observation.Critical
	b.Apply(finding(p, ruleStuff, late, true, seen{at: 5, client: late}))
	expect("a child that rises is told by its parent", "population 3 level open")
	b.Finish()
	expect("what was told alone is also said to be over", early+" 3 resolved resolved", "population 4 resolved resolved")
}

func TestReload(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	const c = "192.0.2.1"
	b.Apply(finding(p, ruleProbe, c, true, seen{client: c}))
	b.Apply(finding(p, ruleAccount, "bob", true, seen{at: 1, client: c, n: 9}, seen{at: 2, client: "192.0.2.2"}))
	if n := len(b.Incidents()); n != 1 {
		t.Fatalf("want 1 incident, got %d", n)
	}
	// The rules come in another order, one is gone, one has another title.
	next := testPlan()
	next.Rules = []observation.Rule{next.Rules[ruleAccount], next.Rules[ruleSQL], next.Rules[ruleStuff]}
	next.Rules[0].Title = "New title"
	b.SetPlan(next)
	// The window goes on growing into the incident that holds it, though one
	// observation alone would accuse another client.
	b.Apply(finding(next, 0, "bob", false, seen{at: 3, client: "192.0.2.77"}))
	b.Apply(finding(next, 0, "bob", true, seen{at: 4, client: c}))
	got := only(t, b)
	if diff := cmp.Diff([]RuleCount{
		{"account", "New title", observation.High, 12, stamp(t0 + 2)},
		{"probe", "Title of probe", observation.Medium, 1, stamp(t0)},
	}, got.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	b.SetPlan(p) // and back: probe is known again, and still holds its window
	b.Apply(finding(p, ruleProbe, c, false, seen{at: 5, client: c}))
	if got := only(t, b).Rules[1].Count; got != 2 {
		t.Errorf("want probe to go on, got count %d", got)
	}
}

// TestFirstTellingWaitsForLines: a burst opens more incidents than lines are
// read for at once. Nobody is told of one without its lines, unless they take
// too long, and the gravest get theirs first.
func TestFirstTellingWaitsForLines(t *testing.T) {
	p := testPlan()
	b := testBook(p, func(o *BookOptions) { o.TextWait = 5 * time.Second })
	wall := time.Unix(5_000_000, 0)
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, inShort(b.Revise(wall))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	const low, high, never = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	for i, c := range []string{low, never, high} {
		rule := uint32(ruleProbe)
		if c == high {
			rule = ruleSQL
		}
		b.Apply(finding(p, rule, c, true, seen{at: int64(i), client: c}))
	}
	expect("no line was read yet")
	give := func(who string) {
		t.Helper()
		w := b.Wanted(1)
		if len(w) != 1 || b.snapshot(b.byID[w[0].Incident]).Group["client.address"] != who {
			t.Fatalf("want a line of %s, got %+v", who, w)
		}
		b.SetText(w[0], "f", 1, "text")
	}
	give(high)
	expect("its line was read", high+" 1 opened open")
	give(low)
	expect("the next", low+" 1 opened open")
	wall = wall.Add(4 * time.Second)
	expect("the last still waits")
	wall = wall.Add(time.Second)
	expect("but not for ever", never+" 1 opened open")
}
