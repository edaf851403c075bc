package detectors

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

var sequences = flag.Int("oracle.sequences", 100_000, "random sequences that the oracle test judges")

// seen is one observation as the oracle keeps it.
type seen struct {
	at      int64
	n       int64
	value   string
	counted bool
}

// oracle judges one rule over one entity by keeping everything and counting
// again each time.
type oracle struct {
	rule  *observation.Rule
	all   []seen
	fired bool
	last  int64
}

// verdict is what is compared: one finding of either side.
type verdict struct {
	At        int64
	Rule      uint32
	Fired     bool
	Number    int64
	Uncounted int64
}

// window returns the indexes of what counts in (at-timespan, at], oldest
// first: every observation, or the latest of each value; the newest only as
// far as the rule keeps them.
func (o *oracle) window(at int64) (in []int, number int64) {
	last := map[string]int{}
	for i, s := range o.all {
		if s.at <= at-o.rule.Timespan {
			continue
		}
		if o.rule.Type == observation.ValueCount {
			last[s.value] = i
		} else {
			in = append(in, i)
			number += s.n
		}
	}
	if o.rule.Type == observation.ValueCount {
		for _, i := range last {
			in = append(in, i)
		}
		slices.Sort(in)
		number = int64(len(in))
	}
	return in, number
}

func (o *oracle) expire(to int64, rule uint32) (out []verdict) {
	if !o.rule.TrueWhenFewer() {
		return nil
	}
	for s := o.last + 1; s <= to; s++ {
		if !slices.ContainsFunc(o.all, func(x seen) bool { return x.at+o.rule.Timespan == s }) {
			continue
		}
		_, before := o.window(s - 1)
		in, after := o.window(s)
		if was, is := o.rule.Holds(float64(before)), o.rule.Holds(float64(after)); is && !was {
			o.fired = true
			out = append(out, verdict{s, rule, true, after, o.count(in)})
		} else if !is {
			o.fired = false
		}
	}
	return out
}

// count tells how much of a window was not counted by an earlier finding.
func (o *oracle) count(in []int) (n int64) {
	for _, i := range in {
		switch {
		case o.all[i].counted:
		case o.rule.Type == observation.ValueCount:
			n++
		default:
			n += o.all[i].n
		}
		o.all[i].counted = true
	}
	return n
}

func (o *oracle) observe(at, n int64, value string, rule uint32) (out []verdict) {
	_, before := o.window(at)
	was := o.rule.Holds(float64(before))
	if !was {
		o.fired = false
	}
	o.all = append(o.all, seen{at: at, n: n, value: value})
	in, after := o.window(at)
	switch is := o.rule.Holds(float64(after)); {
	case !is:
		o.fired = false
	case o.fired:
		o.all[len(o.all)-1].counted = true
		out = append(out, verdict{at, rule, false, 0, n})
	case !was:
		o.fired = true
		out = append(out, verdict{at, rule, true, after, o.count(in)})
	}
	return out
}

func randomRule(r *rand.Rand, i int) observation.Rule {
	ru := observation.Rule{ID: fmt.Sprint("r", i), Alerting: true, Depth: 1, Type: observation.EventCount, Timespan: 1 + r.Int64N(20)}
	if r.IntN(2) == 0 {
		ru.Type = observation.ValueCount
	}
	n := float64(r.Int64N(6))
	switch r.IntN(8) {
	case 0:
		ru.Bounds = []observation.Bound{{Op: observation.Lt, Value: n}}
	case 1:
		ru.Bounds = []observation.Bound{{Op: observation.Lte, Value: n}}
	case 2:
		ru.Bounds = []observation.Bound{{Op: observation.Eq, Value: n}}
	case 3:
		ru.Bounds = []observation.Bound{{Op: observation.Gte, Value: n + 1}, {Op: observation.Lte, Value: n + 1 + float64(r.Int64N(3))}}
	case 4:
		ru.Bounds = []observation.Bound{{Op: observation.Gt, Value: n}}
	case 5:
		ru.Bounds, ru.Plain, ru.Type = []observation.Bound{{Op: observation.Gte, Value: 1}}, true, observation.EventCount
	default:
		ru.Bounds = []observation.Bound{{Op: observation.Gte, Value: n + 1}}
	}
	return ru
}

// TestOracle holds the windows against the oracle on random rules and
// sequences: equal times, gaps, late records, values that repeat, summed hits,
// and the state taken out and in again in the middle.
func TestOracle(t *testing.T) {
	n := *sequences
	if testing.Short() || raceEnabled {
		n /= 10
	}
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() {
			for seed := w; seed < n && !t.Failed(); seed += workers {
				oracleSequence(t, uint64(seed))
			}
		})
	}
	group.Wait()
}

func oracleSequence(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	plan := &observation.Plan{Kinds: []observation.Kind{observation.NewKind([]string{"client.address"}, []bool{true})}}
	for i := range 1 + r.IntN(3) {
		plan.Rules = append(plan.Rules, randomRule(r, i))
	}
	if r.IntN(3) == 0 {
		shareWindow(r, plan)
	}
	entities := 1 + r.IntN(2)
	naive := make([][]oracle, entities)
	for e := range naive {
		naive[e] = make([]oracle, len(plan.Rules))
		for i := range naive[e] {
			naive[e][i].rule = &plan.Rules[i]
		}
	}
	owned := [observation.Slots]bool{}
	for i := range entities {
		owned[observation.Slot(plan.Kinds[0].Hash(observation.AppendAddr(nil, oracleClient(i), false)))] = true
	}
	e := New(plan, Options{Track: true, Owns: func(slot int) bool { return owned[slot] }})
	var want, got []verdict
	var batch observation.Batch
	var out Findings
	now := int64(1_700_000_000)
	for i := range naive {
		for j := range naive[i] {
			naive[i][j].last = now
		}
	}
	for range 5 + r.IntN(40) {
		switch r.IntN(4) {
		case 0:
			now += r.Int64N(3)
		case 1:
			now += r.Int64N(25)
		}
		who := r.IntN(entities)
		late := r.IntN(12) == 0
		batch.Reset()
		hits := rulesHit(r, plan)
		observeOne(&batch, &plan.Kinds[0], oracleClient(who), now, late, hits)
		for x := range naive {
			for i := range naive[x] {
				want = append(want, naive[x][i].expire(now, uint32(i))...)
				naive[x][i].last = now
			}
		}
		for _, h := range hits {
			if late && !plan.Rules[h.Rule].Plain {
				continue
			}
			want = append(want, naive[who][h.Rule].observe(now, int64(h.N), h.Value, h.Rule)...)
		}
		out.Reset()
		e.Advance(now, &out)
		e.Apply(Run{Batch: &batch, To: len(batch.Records)}, &out)
		out.Sort()
		got = append(got, verdicts(&out)...)
		if r.IntN(15) == 0 {
			e = reborn(t, e, plan)
		}
	}
	// Within one second expiries come first and rules in their order; the oracle works entity by entity.
	order := func(a, b verdict) int {
		return slices.Compare([]int64{a.At, int64(a.Rule), a.Number, a.Uncounted}, []int64{b.At, int64(b.Rule), b.Number, b.Uncounted})
	}
	slices.SortStableFunc(want, order)
	slices.SortStableFunc(got, order)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("seed %d, rules %+v (-oracle +engine):\n%s", seed, plan.Rules, d)
	}
}

func oracleClient(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

// shareWindow adds rules that count the same as the first with other bounds,
// and often over another time.
func shareWindow(r *rand.Rand, plan *observation.Plan) {
	plan.Rules[0].Feed = "same"
	n := 1 + r.IntN(8)
	if r.IntN(10) == 0 {
		n = 40
	}
	spans := []int64{plan.Rules[0].Timespan}
	for range r.IntN(5) {
		spans = append(spans, 1+r.Int64N(30))
	}
	for i := range n {
		ru := plan.Rules[0]
		ru.ID = fmt.Sprint("s", i)
		ru.Timespan = spans[r.IntN(len(spans))]
		ru.Bounds = []observation.Bound{{Op: observation.Gte, Value: float64(1 + r.Int64N(8))}}
		if r.IntN(4) == 0 {
			ru.Bounds[0].Op = observation.Gt
		}
		plan.Rules = append(plan.Rules, ru)
	}
}

func rulesHit(r *rand.Rand, plan *observation.Plan) (hits []observation.Hit) {
	same := observation.Hit{} // of the rules that count the same
	for i := range plan.Rules {
		if plan.Rules[i].Feed != "" && i > 0 {
			if same.N > 0 {
				h := same
				h.Rule = uint32(i)
				hits = append(hits, h)
			}
			continue
		}
		if r.IntN(4) == 0 {
			continue
		}
		h := observation.Hit{Rule: uint32(i), N: 1}
		if plan.Rules[i].Type == observation.ValueCount {
			h.Value = string(rune('a' + r.IntN(8)))
			h.Hash = observation.HashValue(h.Value)
		} else if b := plan.Rules[i].Bounds; len(b) == 1 && (b[0].Op == observation.Gte || b[0].Op == observation.Gt) && r.IntN(5) == 0 {
			h.N = 1 + uint32(r.IntN(3))
		}
		hits = append(hits, h)
		if plan.Rules[i].Feed != "" {
			same = h
		}
	}
	return hits
}

// observeOne adds one record with one observation to the batch.
func observeOne(b *observation.Batch, kind *observation.Kind, client netip.Addr, at int64, late bool, hits []observation.Hit) {
	values := observation.AppendAddr(nil, client, false)
	rec := observation.Record{Time: at, Window: at, Late: late, First: uint32(len(b.Obs)), Offset: int64(len(b.Records)) * 100, Line: int64(len(b.Records)) + 1}
	rec.Card = observation.Card{Client: client, Route: "/login", Method: "POST", Status: 401}
	rec.Card.Sum()
	if len(hits) > 0 {
		b.Obs = append(b.Obs, observation.Observation{Hash: kind.Hash(values), Values: b.KeepBytes(values), First: uint32(len(b.Hits)), Count: uint32(len(hits))})
		b.Hits = append(b.Hits, hits...)
		rec.Count = 1
	}
	b.Records = append(b.Records, rec)
}

func verdicts(f *Findings) (out []verdict) {
	for _, x := range f.List {
		v := verdict{At: x.Key.Time, Rule: x.Rule, Fired: x.Fired}
		if x.Fired {
			v.Number = x.Number
		}
		for _, it := range x.Items {
			if !it.Counted {
				v.Uncounted += int64(it.N)
			}
		}
		out = append(out, v)
	}
	return out
}

// reborn takes the state out of an engine and into a new one, whole.
func reborn(t *testing.T, e *Engine, plan *observation.Plan) *Engine {
	t.Helper()
	e.BeginCut(1, func(int) bool { return true })
	states := e.EndCut()
	next := New(plan, e.opts)
	m, err := next.MapTable(PlanTable(plan))
	if err != nil {
		t.Error(err)
		return e
	}
	for _, s := range states {
		for _, c := range s.Chunks {
			if err := next.Load(s.Slot, c, m); err != nil {
				t.Error(err)
				return e
			}
		}
	}
	next.FinishLoad()
	return next
}
