package detectors

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// walkPlan is what an id_walk with a factor becomes.
func walkPlan(factor float64) *observation.Plan {
	gte := []observation.Bound{{Op: observation.Gte, Value: 20}}
	walk := &observation.Walk{Factor: factor}
	return &observation.Plan{
		Kinds: []observation.Kind{
			observation.NewKind([]string{"client.address", "http.route"}, []bool{true, false}),
			observation.NewKind([]string{"http.route"}, []bool{false}),
		},
		Rules: []observation.Rule{
			{ID: "ids of walk", Type: observation.IDWalk, Walk: walk, Timespan: 300, Bounds: gte, Depth: 1},
			{ID: "walk", Type: observation.IDWalk, Walk: walk, Kind: 1, Timespan: 300, Bounds: gte, Depth: 2, Inputs: []uint32{0}, Alerting: true},
		},
	}
}

// walks drives engines like the pipeline does: slot owners, and one behind them.
type walks struct {
	t      *testing.T
	plan   *observation.Plan
	owners []*Engine
	upper  *Engine
	offset int64
}

func newWalks(t *testing.T, factor float64, workers int) *walks {
	w := &walks{t: t, plan: walkPlan(factor)}
	for i := range workers {
		w.owners = append(w.owners, New(w.plan, Options{Track: true, Owns: func(slot int) bool { return slot%workers == i }}))
	}
	w.upper = New(w.plan, Options{Track: true})
	return w
}

// ask lets a client ask for an object, and returns what is told of it.
func (w *walks) ask(client int, route string, id, at int64) (told []observation.Finding) {
	var b observation.Batch
	values := observation.AppendText(observation.AppendAddr(nil, oracleClient(client), false), route)
	rec := observation.Record{Time: at, Window: at, Offset: w.offset, Count: 1, Card: observation.Card{Client: oracleClient(client), Route: route, Status: 200}}
	rec.Card.Sum()
	w.offset++
	text := fmt.Sprint(id)
	b.Hits = append(b.Hits, observation.Hit{N: 1, Hash: observation.HashValue(text), Value: text})
	b.Obs = append(b.Obs, observation.Observation{Hash: w.plan.Kinds[0].Hash(values), Values: string(values), Count: 1})
	b.Records = append(b.Records, rec)
	var all Findings
	for _, e := range w.owners {
		var out Findings
		e.Apply(Run{Batch: &b, To: 1}, &out)
		all.Append(&out)
	}
	all.Sort()
	w.upper.Chain(&all)
	for _, f := range all.List {
		if w.plan.Rules[f.Rule].Alerting {
			told = append(told, f)
		}
	}
	return told
}

// visit lets a client ask for n objects within a minute and returns how many of
// the findings fired, and how many requests they told of.
func (w *walks) visit(client int, route string, n, at int64) (fired int, requests int64) {
	for i := range n {
		for _, f := range w.ask(client, route, 1000+i, at+i*60/n) {
			if f.Fired {
				fired++
			}
			for _, it := range f.Items {
				if !it.Counted {
					requests += int64(it.N)
				}
			}
		}
	}
	return fired, requests
}

// TestHabit: what many groups do on a route is usual there, and not elsewhere.
func TestHabit(t *testing.T) {
	const at = 1_700_000_000 / 3600 * 3600
	w := newWalks(t, 3, 1)
	if fired, n := w.visit(200, "/products/{id}", 50, at); fired != 1 || n != 50 {
		t.Errorf("before anything is known: %d fired with %d requests, want 1 with 50", fired, n)
	}
	for i := range 60 {
		w.visit(i, "/products/{id}", 40, at+600+int64(i)*60)
	}
	for _, c := range []struct {
		route string
		ids   int64
		fired int
	}{
		{"/products/{id}", 60, 0},
		{"/products/{id}", 180, 0}, // 63 are usual
		{"/products/{id}", 400, 1},
		{"/orders/{id}", 60, 1},
	} {
		for client := range 3 {
			fired, n := w.visit(100+client, c.route, c.ids, at+3*3600+c.ids*10)
			if fired != c.fired || fired > 0 && n != c.ids {
				t.Errorf("%d ids of %s: %d fired with %d requests, want %d", c.ids, c.route, fired, n, c.fired)
			}
		}
	}
}

// TestHabitIsNotPoisoned: a walk that goes on for days does not become usual.
func TestHabitIsNotPoisoned(t *testing.T) {
	const at = 1_700_000_000 / 3600 * 3600
	w := newWalks(t, 2, 1)
	for hour := range int64(48) {
		for i := range 20 {
			w.visit(i, "/orders/{id}", 10, at+hour*3600+int64(i)*60)
		}
		fired, _ := w.visit(200, "/orders/{id}", 300, at+hour*3600+1800)
		if fired != 1 {
			t.Fatalf("hour %d: the walk fired %d times, want once", hour, fired)
		}
	}
}

// TestHabitIsOne: findings are the same on any number of workers, and when both
// halves are written and read back at any time.
func TestHabitIsOne(t *testing.T) {
	seeds := uint64(3)
	if raceEnabled {
		seeds = 1 // engines of several workers, but one goroutine
	}
	for seed := range seeds {
		var want []string
		for _, workers := range []int{1, 2, 8} {
			r := rand.New(rand.NewPCG(seed, 21))
			w := newWalks(t, 2, workers)
			restarts := rand.New(rand.NewPCG(seed, uint64(workers)))
			var got []string
			at := int64(1_700_000_000)
			for range 1500 {
				client, busy := r.IntN(40), r.IntN(10)
				route := fmt.Sprintf("/r%d/{id}", r.IntN(3))
				n := int64(1)
				if busy == 0 {
					n = r.Int64N(120)
				}
				from := r.Int64N(50)
				for i := range n {
					for _, f := range w.ask(client, route, from+i, at) {
						items := ""
						for _, it := range f.Items {
							items += fmt.Sprint(it.Time, it.Counted, " ")
						}
						got = append(got, fmt.Sprint(f.Key, f.Rule, f.Fired, f.Number, f.Walked, f.Values, items))
					}
				}
				at += r.Int64N(60)
				if restarts.IntN(80) == 0 {
					for i, e := range w.owners {
						w.owners[i] = reborn(t, e, w.plan)
					}
					w.upper = reborn(t, w.upper, w.plan)
				}
				if restarts.IntN(120) == 0 {
					if err := w.upper.Reload(w.plan); err != nil {
						t.Fatal(err)
					}
				}
			}
			if want == nil {
				want = got
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("seed %d, %d workers (-one +these):\n%s", seed, workers, d)
			}
			if len(got) == 0 {
				t.Fatal("nothing was found")
			}
		}
	}
}
