package alerting

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/detectors/observation"
)

// stream makes random findings in merge order: few clients, accounts, routes
// and keys, so that subjects meet, with quiet gaps in which incidents end.
func stream(p *observation.Plan, r *rand.Rand, n int, rules []uint32) []*observation.Finding {
	var out []*observation.Finding
	now := int64(0)
	for i := range n {
		switch r.IntN(20) {
		case 0:
			now += int64(r.IntN(5000))
		default:
			now += int64(r.IntN(40))
		}
		client := fmt.Sprintf("192.0.2.%d", r.IntN(12))
		if r.IntN(4) == 0 {
			client = fmt.Sprintf("2001:db8:%d::%d", r.IntN(3), r.IntN(5))
		}
		s := func(at int64) seen {
			x := seen{at: at, client: client, account: fmt.Sprintf("user%d", r.IntN(30)), n: uint32(1 + r.IntN(20)), counted: r.IntN(5) == 0}
			if r.IntN(3) == 0 {
				x.client = fmt.Sprintf("198.51.100.%d", r.IntN(200))
			}
			if r.IntN(2) == 0 {
				x.key = fmt.Sprintf("key%d", r.IntN(3))
			}
			return x
		}
		rule := rules[r.IntN(len(rules))]
		fired := r.IntN(3) == 0
		items := []seen{s(now)}
		if fired {
			for k := range r.IntN(6) {
				items = append([]seen{s(now - int64(k*3))}, items...)
			}
		}
		entity := client
		switch p.Rules[rule].Kind {
		case 1:
			entity = fmt.Sprintf("user%d\xff", r.IntN(5))
		case 2:
			entity = fmt.Sprintf("/route/%d", r.IntN(2))
		case 3:
			entity = fmt.Sprintf("key%d", r.IntN(3))
		}
		f := finding(p, rule, entity, fired, items...)
		f.Late, f.Behind = r.IntN(10) == 0, r.IntN(50) == 0
		for j := range f.Items {
			f.Items[j].Ref.Offset = int64(i*100 + j)
		}
		out = append(out, f)
	}
	return out
}

var allRules = []uint32{ruleProbe, ruleSQL, ruleStuff, ruleAccount, ruleRoute, ruleLow, rulePart, ruleKey}

// small makes every limit of the book bite.
func small(o *BookOptions) {
	o.MaxOpen, o.MaxListed, o.MaxKept, o.MaxTracked = 5, 4, 30, 60
}

// seedsOf is how many streams a test of one goroutine looks at: n, and under the race detector, which has nothing to find
// there, a quarter of them.
func seedsOf(n uint64) uint64 {
	if raceEnabled {
		return n / 4
	}
	return n
}

// TestCutsDoNotChangeIncidents holds a book that is stored and loaded at
// random places, advanced in other steps and asked for revisions, against one
// that just runs through.
func TestCutsDoNotChangeIncidents(t *testing.T) {
	p := testPlan()
	for seed := range seedsOf(24) {
		r := rand.New(rand.NewPCG(seed, 1))
		change := func(*BookOptions) {}
		if seed%2 == 1 {
			change = small
		}
		findings := stream(p, r, 300, allRules)
		whole := testBook(p, change)
		for _, f := range findings {
			whole.Apply(f)
		}
		beforeEnd := whole.Incidents()
		whole.Finish()

		values := map[string][]byte{}
		cut := testBook(p, change)
		reload := func() {
			cut.Revise(time.Unix(int64(r.IntN(1_000_000)), 0))
			for _, op := range cut.Changes() {
				if op.Value == nil {
					delete(values, string(op.Key))
				} else {
					values[string(op.Key)] = op.Value
				}
			}
			if r.IntN(2) == 0 {
				return // a cut without a restart
			}
			before := cut
			cut = testBook(p, change)
			if err := cut.Load(scanOf(values)); err != nil {
				t.Fatal(err)
			}
			if r.IntN(4) == 0 && asJSON(t, before.Incidents()) != asJSON(t, cut.Incidents()) {
				t.Fatalf("seed %d: loading changes incidents (-before +after):\n%s", seed, cmp.Diff(before.Incidents(), cut.Incidents()))
			}
			checkCounts(t, before)
			checkCounts(t, cut)
		}
		for _, f := range findings {
			switch r.IntN(8) {
			case 0:
				reload()
			case 1:
				cut.Advance(f.Key.Time - int64(r.IntN(3)))
			case 2:
				cut.AdvanceIdle(f.Key.Time + int64(r.IntN(9000)))
			}
			cut.Apply(f)
		}
		reload()
		opts := cmp.Options{
			cmpopts.IgnoreFields(Incident{}, "Revision"),
			// Provisional resolving is told to people and taken back.
			cmpopts.IgnoreFields(Incident{}, "State", "ResolvedAt"),
		}
		if diff := cmp.Diff(beforeEnd, cut.Incidents(), opts); diff != "" {
			t.Fatalf("seed %d, before the end (-whole +cut):\n%s", seed, diff)
		}
		cut.Finish()
		reload()
		if diff := cmp.Diff(whole.Incidents(), cut.Incidents(), cmpopts.IgnoreFields(Incident{}, "Revision")); diff != "" {
			t.Fatalf("seed %d (-whole +cut):\n%s", seed, diff)
		}
		if len(values) != len(cut.byID) {
			t.Fatalf("seed %d: want as many stored values as incidents, got %d and %d", seed, len(values), len(cut.byID))
		}
	}
}

// checkCounts holds what a book counts against what it has.
func checkCounts(t *testing.T, b *Book) {
	t.Helper()
	held, tracked, open := 0, 0, map[string]int{}
	for _, inc := range b.live {
		if inc.closed {
			continue
		}
		n := 0
		for _, rs := range inc.rules {
			n += len(rs.held)
		}
		if n != inc.heldCount {
			t.Fatalf("incident %s holds %d windows and counts %d", inc.id, n, inc.heldCount)
		}
		held += n
		for _, l := range inc.tallies() {
			tracked += len(l.entries)
		}
		if inc.subject.kind != SubjectOverflow {
			open[inc.family]++
		}
	}
	if held != len(b.held) || tracked != b.tracked.used {
		t.Fatalf("want %d windows and %d values, got %d and %d", held, tracked, len(b.held), b.tracked.used)
	}
	for _, inc := range b.byID {
		if inc.shown != nil && asJSON(t, inc.shown) != asJSON(t, b.show(inc)) {
			t.Fatalf("the snapshot of incident %s is stale", inc.id)
		}
	}
	for family, n := range b.openIn {
		if open[family] != n {
			t.Fatalf("family %s has %d open incidents and counts %d", family, open[family], n)
		}
	}
}

func scanOf(values map[string][]byte) func(f func(k, v []byte) error) error {
	return func(f func(k, v []byte) error) error {
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if err := f([]byte(k), values[k]); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestOrderWithinASecond: which of several clients' records came first within
// a second changes nothing while no limit bites.
func TestOrderWithinASecond(t *testing.T) {
	p := testPlan()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		findings := stream(p, r, 300, []uint32{ruleProbe, ruleSQL, ruleStuff, ruleLow})
		for _, f := range findings {
			f.Key.Time -= f.Key.Time % 60
			for i := range f.Items {
				f.Items[i].Time -= f.Items[i].Time % 60
			}
		}
		run := func() []*Incident {
			b := testBook(p, nil)
			for _, f := range findings {
				b.Apply(f)
			}
			b.Finish()
			return b.Incidents()
		}
		want := run()
		for from := 0; from < len(findings); {
			to := from
			for to < len(findings) && findings[to].Key.Time == findings[from].Key.Time {
				to++
			}
			r.Shuffle(to-from, func(i, j int) {
				findings[from+i], findings[from+j] = findings[from+j], findings[from+i]
			})
			from = to
		}
		if diff := cmp.Diff(want, run()); diff != "" {
			t.Fatalf("seed %d (-want +shuffled):\n%s", seed, diff)
		}
	}
}

// TestBookKeepsNoViews overwrites all strings of a finding once it was applied.
func TestBookKeepsNoViews(t *testing.T) {
	p := testPlan()
	r := rand.New(rand.NewPCG(7, 7))
	findings := stream(p, r, 200, allRules)
	plain, views := testBook(p, nil), testBook(p, nil)
	var batch observation.Batch
	for _, f := range findings {
		plain.Apply(f)
		batch.Reset()
		v := *f
		v.Values = batch.Keep(f.Values)
		v.Items = slices.Clone(f.Items)
		for i := range v.Items {
			c := &v.Items[i].Card
			c.Account, c.Principal, c.Route, c.Method = batch.Keep(c.Account), batch.Keep(c.Principal), batch.Keep(c.Route), batch.Keep(c.Method)
		}
		views.Apply(&v)
		batch.Reset()
		batch.Keep(string(make([]byte, 4096))) // over what was there
	}
	if diff := cmp.Diff(plain.Incidents(), views.Incidents()); diff != "" {
		t.Errorf("(-copies +views):\n%s", diff)
	}
}

// TestMemoryIsBounded floods the book with new subjects and new values.
func TestMemoryIsBounded(t *testing.T) {
	p := testPlan()
	b := testBook(p, func(o *BookOptions) { o.MaxOpen, o.MaxKept, o.MaxTracked = 50, 100, 1000 })
	for i := range 50_000 {
		client := fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		f := finding(p, allRules[i%len(allRules)], client, true, seen{at: int64(i / 10), client: client, account: client})
		if p.Rules[f.Rule].Kind != 0 {
			continue
		}
		b.Apply(f)
	}
	for _, inc := range b.Incidents() {
		if len(inc.Sources) == 0 || len(inc.Accounts) == 0 {
			t.Fatalf("want every incident to name someone, got %s", asJSON(t, inc))
		}
	}
	kept := len(b.byID)
	if kept > 100+4*51 || len(b.held) > 1000 || b.tracked.used > 1000+204*7*granted || len(b.live) > 1000 ||
		len(b.dirty) > 3000 || len(b.pending) > 3000 || len(b.wanting) > 3000 || len(b.deleted) > 0 || len(b.closed) > 300 {
		t.Errorf("kept %d, held %d, tracked %d, live %d, dirty %d, pending %d, wanting %d, deleted %d, closed %d",
			kept, len(b.held), b.tracked.used, len(b.live), len(b.dirty), len(b.pending), len(b.wanting), len(b.deleted), len(b.closed))
	}
}

func FuzzLoad(f *testing.F) {
	p := testPlan()
	b := testBook(p, nil)
	for _, x := range stream(p, rand.New(rand.NewPCG(3, 3)), 80, allRules) {
		b.Apply(x)
	}
	for _, op := range b.Changes() {
		f.Add(op.Key, op.Value)
	}
	f.Add([]byte("a"), []byte{1, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		b := testBook(p, nil)
		if b.Load(scanOf(map[string][]byte{string(key): value})) != nil {
			return
		}
		// What was taken in must be usable.
		asJSON(t, b.Incidents())
		for _, x := range stream(p, rand.New(rand.NewPCG(4, 4)), 20, allRules) {
			b.Apply(x)
		}
		b.Revise(time.Unix(1, 0))
		b.Changes()
		b.Finish()
		asJSON(t, b.Incidents())
	})
}
