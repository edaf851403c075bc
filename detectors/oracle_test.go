package detectors

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

var sequences = flag.Int("oracle.sequences", 20_000, "random sequences that the oracle test judges, for each type")

// seen is one observation as the oracle keeps it.
type seen struct {
	at      int64
	n       int64
	value   string
	number  float64
	steps   uint64
	status  int32
	counted bool
}

// oracle judges one rule over one entity by keeping everything and counting
// again each time.
type oracle struct {
	rule  *observation.Rule
	kept  int // newest entries that types which do not count keep
	all   []seen
	fired bool
	last  int64
	marks []int64
	gone  map[int]bool // of what was let go before its time
	lost  int64        // time of the newest of these that there was no room for
	while *oracle      // of the same entity; the condition that has to be true
}

// admits reports whether an observation counts, by what came before it.
func (o *oracle) admits(at int64) bool {
	g := &o.rule.Guard
	marked := slices.ContainsFunc(o.marks, func(m int64) bool { return m > at-o.rule.Timespan })
	if g.Unless && marked || g.After && !marked {
		return false
	}
	if o.while == nil {
		return true
	}
	in, _ := o.while.window(at)
	return len(in) > 0 && o.while.holds(at, in)
}

// verdict is what is compared: one finding of either side.
type verdict struct {
	At        int64
	Rule      uint32
	Fired     bool
	Number    int64
	Value     float64
	Capped    bool
	Uncounted int64
	Told      float64 // made of all that the items of a measure or of steps tell
}

// window returns the indexes of what counts in (at-timespan, at], oldest
// first: every observation, or the latest of each value; and of what is let go
// for want of room whether there is any.
func (o *oracle) window(at int64) (in []int, capped bool) {
	last := map[string]int{}
	for i, s := range o.all {
		if s.at <= at-o.rule.Timespan {
			continue
		}
		in = append(in, i)
		last[s.value] = i
	}
	if o.rule.Type == observation.ValueCount || o.rule.Type == observation.IDWalk {
		in = in[:0]
		for _, i := range last {
			in = append(in, i)
		}
		slices.Sort(in)
	}
	if o.rule.Type == observation.IDWalk {
		in = o.begin(in)
		return in, o.lost > at-o.rule.Timespan
	}
	kept := o.kept
	if o.rule.Newest > 0 && o.rule.Type.Measures() {
		kept = o.rule.Newest
	}
	if n := len(in) - kept; n > 0 && !o.rule.Type.Counts() {
		return in[n:], o.rule.Newest == 0
	}
	return in, false
}

// begin lets go, for good, the first ids with which the walk cannot begin.
func (o *oracle) begin(in []int) []int {
	k := o.rule.Walk
	if o.gone == nil {
		o.gone = map[int]bool{}
	}
	in = slices.DeleteFunc(in, func(i int) bool { return o.gone[i] })
	for len(in) > o.kept {
		o.gone[in[0]], o.lost = true, o.all[in[0]].at
		in = in[1:]
	}
	for len(in) > 0 {
		first := &o.all[in[0]]
		id, err := strconv.Atoi(first.value)
		ok := k.Begins(observation.AnswerOf(first.status))
		if k.Leads() && len(in) == 1 {
			ok = err == nil && observation.MayLead(uint64(id))
		} else if k.Leads() {
			next, err2 := strconv.Atoi(o.all[in[1]].value)
			distance := next - id
			ok = err == nil && err2 == nil && distance != 0 && (k.Step == 0 || max(distance, -distance) <= int(k.Step)) &&
				(k.Order != observation.Ascending || distance > 0) && (k.Order != observation.Descending || distance < 0)
		}
		if ok {
			break
		}
		o.gone[in[0]] = true
		in = in[1:]
	}
	return in
}

// number is what the window counts.
func (o *oracle) number(in []int) (n int64) {
	for _, i := range in {
		if o.rule.Type == observation.EventCount {
			n += o.all[i].n
		} else {
			n++
		}
	}
	return n
}

// compared is what the bounds are compared with; false where there is nothing.
func (o *oracle) compared(at int64, in []int) (float64, bool) {
	var numbers []float64
	occurs := map[string]int{}
	for _, i := range in {
		numbers = append(numbers, o.all[i].number)
		occurs[o.all[i].value]++
	}
	switch o.rule.Type {
	case observation.Temporal, observation.TemporalOrdered:
		return float64(o.steps(at)), true
	case observation.IDWalk:
		if len(in) > 0 && !o.fired && !o.walks(in) {
			return 0, true
		}
		return float64(len(in)), true
	case observation.ValueSum:
		return exactSum(numbers), true
	case observation.ValueAvg:
		return exactSum(numbers) / float64(len(in)), len(in) > 0
	case observation.ValuePercentile:
		if len(in) == 0 {
			return 0, false
		}
		if o.rule.Percentile > 0 {
			slices.Sort(numbers)
			rank := 1
			for float64(rank)*100 < o.rule.Percentile*float64(len(in)) {
				rank++
			}
			return numbers[rank-1], true
		}
		rare := 0
		for _, i := range in {
			if occurs[o.all[i].value] <= occurs[o.all[in[len(in)-1]].value] {
				rare++
			}
		}
		return 100 * float64(rare) / float64(len(in)), true
	default:
		return float64(o.number(in)), true
	}
}

// walks reports whether the ids of the window look like the walk of the rule.
func (o *oracle) walks(in []int) bool {
	k := o.rule.Walk
	answers := map[observation.Answer]float64{}
	up, down := uint32(0), uint32(0)
	for i, at := range in {
		answers[observation.AnswerOf(o.all[at].status)]++
		if i == 0 {
			continue
		}
		a, err := strconv.Atoi(o.all[in[i-1]].value)
		b, err2 := strconv.Atoi(o.all[at].value)
		switch {
		case err != nil || err2 != nil:
		case b > a && (k.Step == 0 || b-a <= int(k.Step)):
			up++
		case b < a && (k.Step == 0 || a-b <= int(k.Step)):
			down++
		}
	}
	n := float64(len(in))
	return answers[observation.Served] >= k.Served*n && answers[observation.Denied] >= k.Denied*n && answers[observation.Missing] >= k.Missing*n &&
		answers[observation.Denied]+answers[observation.Missing] >= k.Refused*n &&
		(!k.Follows() || float64(k.Order.Of(up, down)) >= k.Share*(n-1))
}

// steps is how many of the steps, of temporal_ordered from the first on, are
// among all observations of the window, whether there is room for them or not.
func (o *oracle) steps(at int64) (n int) {
	ordered := o.rule.Type == observation.TemporalOrdered
	after := int64(0)
	for step := range o.rule.Steps {
		best := int64(math.MaxInt64) // the earliest that can follow the step before
		for _, s := range o.all {
			if s.at > at-o.rule.Timespan && s.steps>>step&1 != 0 && (!ordered || s.at >= after) {
				best = min(best, s.at)
			}
		}
		switch {
		case best < math.MaxInt64:
			n++
			after = best
		case ordered:
			return n
		}
	}
	return n
}

func (o *oracle) holds(at int64, in []int) bool {
	n, ok := o.compared(at, in)
	if o.rule.Type.Steps() {
		return int(n) == len(o.rule.Steps)
	}
	return ok && len(in) >= o.rule.Least && o.rule.Holds(n)
}

func (o *oracle) expire(to int64, rule uint32) (out []verdict) {
	if !o.rule.TrueWhenFewer() {
		return nil
	}
	for s := o.last + 1; s <= to; s++ {
		if !slices.ContainsFunc(o.all, func(x seen) bool { return x.at+o.rule.Timespan == s }) {
			continue
		}
		before, _ := o.window(s - 1)
		was := o.holds(s-1, before)
		in, capped := o.window(s)
		if is := o.holds(s, in); is && !was {
			o.fired = true
			out = append(out, o.verdict(s, rule, in, capped, true))
		} else if !is {
			o.fired = false
		}
	}
	return out
}

// verdict is a finding of what is in the window; tell says of which of it.
func (o *oracle) verdict(at int64, rule uint32, in []int, capped, firing bool) verdict {
	v := verdict{At: at, Rule: rule, Fired: firing, Capped: capped}
	if o.rule.Type.Measures() {
		v.Value, _ = o.compared(at, in)
	}
	tell := in[len(in)-min(1, len(in)):]
	if firing {
		tell = in
		v.Number = o.number(in)
	}
	for _, i := range tell {
		s := &o.all[i]
		if !s.counted {
			if o.rule.Type == observation.EventCount {
				v.Uncounted += s.n
			} else {
				v.Uncounted++
			}
		}
		s.counted = true
		switch {
		case o.rule.Type.Steps():
			v.Told += float64(s.steps)
		case o.rule.Type.Measures():
			v.Told += math.Round(s.number * 8)
		}
	}
	return v
}

func (o *oracle) observe(at int64, h *observation.Hit, status int32, rule uint32) (out []verdict) {
	if o.rule.Type.Steps() && h.Steps == 0 {
		return nil
	}
	if !o.admits(at) {
		return nil
	}
	before, _ := o.window(at)
	was := o.holds(at, before)
	if !was {
		o.fired = false
	}
	_, emptyHas := o.compared(at, nil)
	empty := emptyHas && !o.rule.Type.Steps() && o.rule.Holds(0)
	o.all = append(o.all, seen{at: at, n: int64(h.N), value: h.Value, number: h.Number, steps: h.Steps, status: status})
	in, capped := o.window(at)
	switch is := o.holds(at, in); {
	case !is:
		o.fired = false
	case o.fired:
		out = append(out, o.verdict(at, rule, in, capped, false))
	case !was || !empty:
		o.fired = true
		out = append(out, o.verdict(at, rule, in, capped, true))
	}
	return out
}

// oracleTypes are the types, with value_percentile of numbers and of texts apart.
var oracleTypes = []string{"event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_avg", "value_percentile", "rarity", "id_walk"}

func randomRule(r *rand.Rand, i, kind int) observation.Rule {
	ru := observation.Rule{ID: fmt.Sprint("r", i), Alerting: true, Depth: 1, Timespan: 1 + r.Int64N(20)}
	ru.Type = observation.Type(min(kind, 6) + 1)
	n := float64(r.Int64N(6))
	if kind == 8 {
		ru.Type, ru.Walk = observation.IDWalk, randomWalk(r)
		ru.Bounds = []observation.Bound{{Op: observation.Gte, Value: 2 + n}}
		if r.IntN(3) == 0 {
			ru.Bounds[0].Op = observation.Gt
		}
		return ru
	}
	switch {
	case ru.Type.Steps():
		for s := range 1 + r.IntN(4) {
			ru.Steps = append(ru.Steps, fmt.Sprint("step", s))
		}
		if r.IntN(10) == 0 {
			for s := range 8 {
				ru.Steps = append(ru.Steps, fmt.Sprint("more", s))
			}
		}
		return ru
	case ru.Type == observation.ValuePercentile && kind == 6:
		ru.Percentile = []float64{50, 100, 10, 99.9, 33.3, 75}[r.IntN(6)]
	case ru.Type == observation.ValuePercentile:
		n = float64(r.Int64N(100))
	case ru.Type == observation.ValueSum:
		n = float64(r.Int64N(20))
	}
	if ru.Type.Measures() && r.IntN(3) == 0 {
		n += 0.5
	}
	if ru.Type.Measures() && r.IntN(3) == 0 {
		ru.Least = r.IntN(6)
	}
	if ru.Type.Measures() && r.IntN(3) == 0 {
		ru.Newest = 1 + r.IntN(12)
	}
	switch r.IntN(9) {
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
		ru.Bounds = []observation.Bound{{Op: observation.Neq, Value: n}}
	case 6:
		if ru.Type == observation.EventCount {
			ru.Bounds, ru.Plain = []observation.Bound{{Op: observation.Gte, Value: 1}}, true
			break
		}
		fallthrough
	default:
		ru.Bounds = []observation.Bound{{Op: observation.Gte, Value: n + 1}}
	}
	return ru
}

func randomWalk(r *rand.Rand) *observation.Walk {
	w := &observation.Walk{Share: []float64{0.1, 0.5, 0.8, 1}[r.IntN(4)]}
	share := func() float64 { return []float64{0, 0, 0, 0.2, 0.5, 1}[r.IntN(6)] }
	switch r.IntN(3) {
	case 0:
		w.Order = observation.Order(r.IntN(4))
		w.Step = r.Int64N(3)
	case 1:
		w.Served, w.Denied, w.Missing, w.Refused = share(), share(), share(), share()
	}
	return w
}

// TestOracle holds the windows against the oracle on random rules and
// sequences: equal times, gaps, late records, values that repeat, summed hits,
// windows that have to let entries go, and the state taken out and in again in
// the middle, sometimes under another plan.
func TestOracle(t *testing.T) {
	n := *sequences
	if testing.Short() || raceEnabled {
		n /= 10
	}
	judged := make([][]int, runtime.GOMAXPROCS(0)) // by goroutine and type
	var group sync.WaitGroup
	for w := range judged {
		judged[w] = make([]int, len(oracleTypes))
		group.Go(func() {
			for seed := w; slices.Min(judged[w]) < n/len(judged) && !t.Failed(); seed += len(judged) {
				oracleSequence(t, uint64(seed), judged[w])
			}
		})
	}
	group.Wait()
	for i, name := range oracleTypes {
		sum := 0
		for w := range judged {
			sum += judged[w][i]
		}
		t.Logf("%d sequences of %s", sum, name)
	}
}

func oracleSequence(t *testing.T, seed uint64, judged []int) {
	r := rand.New(rand.NewPCG(seed, 7))
	plan := &observation.Plan{Kinds: []observation.Kind{observation.NewKind([]string{"client.address"}, []bool{true})}}
	var kinds []int
	for i := range 1 + r.IntN(6) {
		kinds = append(kinds, int(seed+uint64(i))%len(oracleTypes))
		plan.Rules = append(plan.Rules, randomRule(r, i, kinds[i]))
	}
	if r.IntN(3) == 0 {
		shareWindow(r, plan)
	}
	guardSome(r, plan)
	kept := 1 + r.IntN(12)
	entities := 1 + r.IntN(2)
	naive := make([][]oracle, entities)
	for e := range naive {
		naive[e] = make([]oracle, len(plan.Rules))
		for i := range naive[e] {
			naive[e][i].rule, naive[e][i].kept = &plan.Rules[i], kept
			if w := plan.Rules[i].Guard.While; len(w) > 0 {
				naive[e][i].while = &naive[e][w[0]]
			}
		}
		for _, k := range kinds {
			judged[k]++
		}
	}
	owned := [observation.Slots]bool{}
	for i := range entities {
		owned[observation.Slot(plan.Kinds[0].Hash(observation.AppendAddr(nil, oracleClient(i), false)))] = true
	}
	e := New(plan, Options{Track: true, Owns: func(slot int) bool { return owned[slot] }, kept: uint32(kept)})
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
		status := []int32{200, 304, 401, 403, 404, 410, 500}[r.IntN(7)]
		batch.Records[0].Card.Status = status
		batch.Records[0].Card.Sum()
		mark := len(hits) > 0 && r.IntN(4) == 0
		if mark {
			batch.Obs[0].Mark = true
		}
		for x := range naive {
			for i := range naive[x] {
				want = append(want, naive[x][i].expire(now, uint32(i))...)
				naive[x][i].last = now
			}
		}
		for i := range hits {
			h := &hits[i]
			if late && !plan.Rules[h.Rule].Plain {
				continue
			}
			want = append(want, naive[who][h.Rule].observe(now, h, status, h.Rule)...)
		}
		if mark && !late {
			for i := range naive[who] {
				naive[who][i].marks = append(naive[who][i].marks, now)
			}
		}
		out.Reset()
		e.Advance(now, &out)
		e.Apply(Run{Batch: &batch, To: len(batch.Records)}, &out)
		out.Sort()
		got = append(got, verdicts(plan, &out)...)
		switch r.IntN(30) {
		case 0:
			e = reborn(t, e, plan)
		case 1:
			if err := e.Reload(plan); err != nil {
				t.Error(err)
			}
		}
	}
	// Within one second expiries come first and rules in their order; the oracle works entity by entity.
	order := func(a, b verdict) int {
		return slices.Compare([]float64{float64(a.At), float64(a.Rule), float64(a.Number), float64(a.Uncounted), a.Value, a.Told}, []float64{float64(b.At), float64(b.Rule), float64(b.Number), float64(b.Uncounted), b.Value, b.Told})
	}
	slices.SortStableFunc(want, order)
	slices.SortStableFunc(got, order)
	if !slices.Equal(want, got) {
		t.Errorf("seed %d, keeping %d, rules %+v (-oracle +engine):\n%s", seed, kept, plan.Rules, cmp.Diff(want, got))
	}
}

// guardSome lets some rules count only a part of what hits them.
func guardSome(r *rand.Rand, plan *observation.Plan) {
	for i := range plan.Rules {
		ru := &plan.Rules[i]
		if ru.Feed != "" || ru.Plain {
			continue // rules that share a window have the same guard, see sigma
		}
		switch r.IntN(6) {
		case 0:
			ru.Guard.Unless = true
		case 1:
			ru.Guard.After = true
		case 2:
			if i > 0 {
				ru.Guard.While = []uint32{uint32(r.IntN(i))}
			}
		}
	}
}

func oracleClient(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

// shareWindow adds rules that count the same as the first with other bounds,
// and often over another time.
func shareWindow(r *rand.Rand, plan *observation.Plan) {
	plan.Rules[0].Feed = "same"
	if !plan.Rules[0].Type.Counts() {
		return
	}
	n := 1 + r.IntN(8)
	if r.IntN(20) == 0 {
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
		ru := &plan.Rules[i]
		if ru.Feed != "" && i > 0 {
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
		switch {
		case ru.Type.Steps():
			h.Steps = 1 << r.IntN(len(ru.Steps))
			if r.IntN(4) == 0 {
				h.Steps |= 1 << r.IntN(len(ru.Steps))
			}
		case ru.Type == observation.IDWalk:
			h.Value = strconv.Itoa(8 + r.IntN(8)) // 8, 9 and 10 are in another order as texts
			if r.IntN(8) == 0 {
				h.Value = "x" + h.Value
			}
			h.Hash = observation.HashValue(h.Value)
		case ru.Type == observation.ValueCount || ru.Type == observation.ValuePercentile && ru.Percentile == 0:
			h.Value = string(rune('a' + r.IntN(8)))
			h.Hash = observation.HashValue(h.Value)
		case ru.Type.Measures():
			h.Number = randomNumber(r)
		default:
			if b := ru.Bounds; len(b) == 1 && (b[0].Op == observation.Gte || b[0].Op == observation.Gt) && r.IntN(5) == 0 {
				h.N = 1 + uint32(r.IntN(3))
			}
		}
		hits = append(hits, h)
		if ru.Feed != "" {
			same = h
		}
	}
	return hits
}

// randomNumber is a number as logs have it: whole, with a few decimals, seldom
// negative or of another size.
func randomNumber(r *rand.Rand) float64 {
	n := float64(r.IntN(8))
	switch r.IntN(12) {
	case 0:
		return -n
	case 1:
		return math.Ldexp(n, r.IntN(100)-50)
	case 2, 3:
		return n + float64(r.IntN(1000))/1000
	default:
		return n
	}
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

func verdicts(plan *observation.Plan, f *Findings) (out []verdict) {
	for _, x := range f.List {
		v := verdict{At: x.Key.Time, Rule: x.Rule, Fired: x.Fired, Value: x.Value, Capped: x.Capped}
		if x.Fired {
			v.Number = x.Number
		}
		rule := &plan.Rules[x.Rule]
		for _, it := range x.Items {
			if !it.Counted {
				v.Uncounted += int64(it.N)
			}
			switch {
			case rule.Type.Steps():
				v.Told += float64(it.Steps)
			case rule.Type.Measures():
				v.Told += math.Round(it.Number * 8)
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
	m, err := next.MapTable(PlanTable(e.plan))
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
