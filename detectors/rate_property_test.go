package detectors

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// ratePlan has baselines of several kinds, some of which share a window.
func ratePlan(r *rand.Rand) *observation.Plan {
	plan := &observation.Plan{Kinds: []observation.Kind{
		observation.NewKind(nil, nil),
		observation.NewKind([]string{"http.route"}, []bool{false}),
		observation.NewKind([]string{"client.address"}, []bool{true}),
	}}
	for i := range 2 + r.IntN(5) {
		b := observation.Baseline{
			Up: true, Down: r.IntN(2) == 0, Factor: 1.2 + r.Float64(), Score: float64(r.IntN(4)), Least: float64(1 + r.IntN(10)),
			Seasonal: r.IntN(3) > 0,
		}
		kind := uint16(r.IntN(3))
		if kind < 2 {
			b.Spread = observation.Spread(r.IntN(3))
		}
		ru := observation.Rule{ID: fmt.Sprint("r", i), Type: observation.RateAnomaly, Kind: kind, Timespan: []int64{10, 60}[r.IntN(2)], Alerting: true, Depth: 1, Baseline: b, Feed: "all"}
		if r.IntN(4) == 0 {
			ru.ValueField, ru.Feed = "http.response.body.size", "bytes"
		}
		plan.Rules = append(plan.Rules, ru)
	}
	return plan
}

// rateRecord is a record with its hits, before it is in a batch.
type rateRecord struct {
	at     int64
	client int
	route  string
	bytes  float64
	n      uint32
}

// rateStream is traffic with floods by few and by many, gaps and silence.
func rateStream(r *rand.Rand) (out []rateRecord) {
	now := int64(1_700_000_000)
	clients, flood := 4+r.IntN(12), 0
	for range 800 + r.IntN(1500) {
		switch r.IntN(40) {
		case 0:
			now += r.Int64N(40)
		case 1:
			if r.IntN(12) == 0 {
				now += r.Int64N(2 * 3600)
			}
			flood = r.IntN(4)
		case 2:
			clients = 4 + r.IntN(40)
		}
		switch flood {
		case 1: // by one
			out = append(out, rateRecord{at: now, client: 200, route: "/a", bytes: 1000, n: 2})
		case 2: // by several alike
			for i := range 6 {
				out = append(out, rateRecord{at: now, client: 210 + i, route: "/b", bytes: 50, n: 1})
			}
		}
		if flood == 3 && r.IntN(8) > 0 {
			now += r.Int64N(3)
			continue
		}
		out = append(out, rateRecord{now, r.IntN(clients), []string{"/a", "/b", "/c"}[r.IntN(3)], float64(r.IntN(5000)), 1})
		now += r.Int64N(3)
	}
	return out
}

// apply gives one record to an engine and returns what it says of it.
func (rec *rateRecord) apply(e *Engine, plan *observation.Plan) string {
	var b observation.Batch
	var out Findings
	rec.add(&b, plan, false)
	e.Advance(rec.at, &out)
	e.Apply(Run{Batch: &b, To: 1}, &out)
	out.Sort()
	return findingsText(&out)
}

func findingsText(out *Findings) string {
	var t strings.Builder
	for i := range out.List {
		f := &out.List[i]
		fmt.Fprintf(&t, "%d rule %d %x fired %t: %v of %v in %d s, cold %t, all %t, capped %t, number %d:", f.Key.Time, f.Rule, f.Hash, f.Fired, f.Value, f.Expected, f.Span, f.Cold, f.Everybody, f.Capped, f.Number)
		for _, it := range f.Items {
			fmt.Fprintf(&t, " %s*%d@%d/%d", it.Card.Client, it.N, it.Time, it.Ref.Line)
		}
		t.WriteByte('\n')
	}
	return t.String()
}

// TestBaselineUndisturbed: what baselines find does not depend on cuts, on being
// killed and read back, on a reload of the same rules, or on how slots are
// spread over engines.
func TestBaselineUndisturbed(t *testing.T) {
	n := 12
	if testing.Short() || raceEnabled {
		n = 3
	}
	fired, named, down := 0, 0, 0
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 21))
		plan := ratePlan(r)
		opts := Options{Track: true, kept: uint32(3 + r.IntN(40)), history: 60}
		calm, disturbed := New(plan, opts), New(plan, opts)
		var parts [3]*Engine // a worker each
		for w := range parts {
			o := opts
			o.Owns = func(slot int) bool { return slot%len(parts) == w }
			parts[w] = New(plan, o)
		}
		disk := map[int][][]byte{}
		for i, rec := range rateStream(r) {
			want, got := rec.apply(calm, plan), rec.apply(disturbed, plan)
			if want != got {
				t.Fatalf("seed %d, record %d, rules %+v (-undisturbed +disturbed):\n%s", seed, i, plan.Rules, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			}
			spread := 0
			for _, p := range parts {
				spread += len(rec.apply(p, plan))
			}
			if spread != len(want) {
				t.Fatalf("seed %d, record %d: three engines find something else than one", seed, i)
			}
			fired += strings.Count(want, "fired true")
			if strings.Contains(want, "fired true") && strings.Contains(want, "all false") {
				named++
			}
			if strings.Contains(want, "fired true: 0 of") {
				down++
			}
			switch r.IntN(300) {
			case 0:
				disturbed = reborn(t, disturbed, plan)
				disk = map[int][][]byte{}
			case 1:
				if err := disturbed.Reload(plan); err != nil {
					t.Fatal(err)
				}
				disk = map[int][][]byte{}
			case 2, 3: // a cut of what changed, and then perhaps a kill
				whole := len(disk) == 0
				disturbed.BeginCut(1, func(int) bool { return whole })
				for _, s := range disturbed.EndCut() {
					if s.Base {
						disk[s.Slot] = nil
					}
					disk[s.Slot] = append(disk[s.Slot], s.Chunks...)
				}
				if r.IntN(2) == 0 {
					disturbed = fromDisk(t, disk, plan, opts)
				}
			}
		}
		if calm.members() != disturbed.members() {
			t.Fatalf("seed %d: %s are kept undisturbed, %s disturbed", seed, calm.members(), disturbed.members())
		}
	}
	t.Logf("%d firings, %d of them of few clients, %d of silence", fired, named, down)
	if fired < n || named == 0 || down == 0 {
		t.Error("too little happened to show anything")
	}
}

// members says how much of each sort the engine keeps.
func (e *Engine) members() string {
	return fmt.Sprintf("%d entities, %d nodes, %d clients, %d indexed, %d baselines, %d days", e.entities.live, e.nodes.live, e.senders.live, e.byMember.n, e.baselines.live, e.days.live)
}

func fromDisk(t *testing.T, disk map[int][][]byte, plan *observation.Plan, o Options) *Engine {
	t.Helper()
	e := New(plan, o)
	m, err := e.MapTable(PlanTable(plan))
	if err != nil {
		t.Fatal(err)
	}
	for slot, chunks := range disk {
		for _, c := range chunks {
			if err := e.Load(slot, c, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	e.FinishLoad()
	return e
}

// TestBaselineReload: a baseline goes on under a plan in which its rule has
// another condition and another number, also when it shares it with a new rule.
func TestBaselineReload(t *testing.T) {
	kinds := []observation.Kind{observation.NewKind(nil, nil)}
	rule := func(id string, factor float64) observation.Rule {
		return observation.Rule{ID: id, Type: observation.RateAnomaly, Timespan: 60, Alerting: true, Depth: 1, Feed: "all", Baseline: observation.Baseline{Up: true, Factor: factor, Least: 5, Seasonal: true}}
	}
	old := &observation.Plan{Kinds: kinds, Rules: []observation.Rule{rule("a", 50)}}
	next := &observation.Plan{Kinds: kinds, Rules: []observation.Rule{rule("new", 40), rule("a", 3)}}
	e := New(old, Options{})
	now := int64(1_700_000_000)
	send := func(plan *observation.Plan, n uint32) (fired []string) {
		var b observation.Batch
		var out Findings
		observeCrowd(&b, plan, oracleClient(1), now, n)
		e.Advance(now, &out)
		e.Apply(Run{Batch: &b, To: 1}, &out)
		for _, f := range out.List {
			if f.Fired {
				fired = append(fired, plan.Rules[f.Rule].ID)
			}
		}
		now += 60
		return fired
	}
	for range 50 * 60 {
		if f := send(old, 10); f != nil {
			t.Fatalf("%v fired on even traffic", f)
		}
	}
	if err := e.Reload(next); err != nil {
		t.Fatal(err)
	}
	if f := send(next, 80); len(f) != 1 || f[0] != "a" {
		t.Fatalf("fired %v on eight times as much, want a, whose baseline was kept", f)
	}
	now += 600
	if f := send(next, 2000); len(f) != 2 {
		t.Fatalf("fired %v on two hundred times as much, want both rules, which share a baseline", f)
	}
}
