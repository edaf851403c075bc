package detectors

import (
	"cmp"
	"math"
	"math/bits"

	"gatewatch/detectors/observation"
)

// rateAnomaly compares aligned buckets with what was learned of those before.
// window.side is its baseline in Engine.baselines, which outlives the entries;
// these are the clients that it was made of, the latest seen last: node.what is
// an index into Engine.senders.
//
// A bucket is judged as it runs, for what is too much already, and when it ends.
// It ends by the timer of its window, or with an observation of a later one.
type rateAnomaly struct{}

func (rateAnomaly) takes(r *rule, h *observation.Hit) bool {
	return r.ValueField == "" || h.Number >= 0 && !math.IsInf(h.Number, 0)
}

// amount is what a hit adds to a bucket.
func amount(r *rule, h *observation.Hit) float64 {
	if r.ValueField == "" {
		return float64(h.N)
	}
	return h.Number
}

func (rateAnomaly) add(*Engine, view, *touch, *observation.Hit, uint32) uint32 { return 0 } // see Engine.rate

func (rateAnomaly) enter(*Engine, view, uint32, *observation.Hit) {} // see Engine.restoreBaseline

func (rateAnomaly) leave(e *Engine, _ view, id uint32) {
	e.dropMember(e.nodes.at(id).what)
}

func (rateAnomaly) clear(e *Engine, v view) {
	m := e.model(v)
	m.drop()
	e.baselines.release(v.w.side)
	v.w.side = 0
	v.s.entries -= baselineWorth
}

func (rateAnomaly) number(e *Engine, v view, _ int64) (float64, bool) {
	return e.baselines.at(v.w.side).sum, true
}

func (rateAnomaly) about(e *Engine, v view, _ uint32) float64 { return e.baselines.at(v.w.side).sum }

func (rateAnomaly) size(*node) uint32 { return 1 }

func (rateAnomaly) tell(*Engine, *node, *observation.Item) {}

func (rateAnomaly) shape() shape { return shapeMembers }

// baselineWorth is how many entries a baseline with its season counts for.
const baselineWorth = 16

// coldFactor is how much further from 1 a factor has to be in a cold start.
const coldFactor = 2

// stillTrue is the part of its distance from what is expected at which a
// condition ceases to be true.
const stillTrue = 0.6

func (e *Engine) model(v view) model {
	return model{
		baseline: e.baselines.at(v.w.side), days: &e.days, length: v.r.Timespan,
		seasonal: v.r.Baseline.Seasonal, sized: v.r.ValueField != "",
	}
}

// baselineOf returns the window's baseline and begins one where there is none.
func (e *Engine) baselineOf(v view, now int64) model {
	fresh := v.w.side == 0
	if fresh {
		v.w.side = e.baselines.alloc()
		v.s.entries += baselineWorth
	}
	m := e.model(v)
	if fresh {
		m.start(e.lookedSince(v, now))
		m.skip(uint32(now / m.length))
	}
	return m
}

// lookedSince is since when there would have been something to count: since the
// group was first seen, as far as its other baselines know. So a site without
// any error has learned that it has none.
func (e *Engine) lookedSince(v view, now int64) int64 {
	since := now
	for id := v.ent.windows; id != 0; id = e.window(id).next {
		w := e.window(id)
		if r := &e.rules[w.rule]; r.Type == observation.RateAnomaly && w.side != 0 && id != v.id {
			since = min(since, int64(e.baselines.at(w.side).first)*r.Timespan)
		}
	}
	return max(since, now-forgotten+3600)
}

// tally does what observe does of an observation that only adds to a bucket: of a population
// that is there, while its bucket runs, far from too much. That is nearly every
// one, and each request has several. It reports false, and has done nothing, for all others.
func (e *Engine) tally(s *slot, t *touch, o *observation.Observation, id uint32, h *observation.Hit) bool {
	r, rec := &e.rules[h.Rule], t.rec
	if id == 0 || r.leader != h.Rule || r.Type != observation.RateAnomaly || r.ValueField != "" || r.guarded ||
		rec.Late || rec.Behind || o.Mark || rec.Window > s.now || s.entries > e.entriesCap {
		return false
	}
	ent := e.entities.at(id)
	w := &ent.own
	if ent.place != placeMain || w.rule != h.Rule || w.side == 0 || w.fired != 0 || !e.is(ent, o) {
		return false
	}
	b := e.baselines.at(w.side)
	begin, sum := int64(b.at)*r.Timespan, b.sum+float64(h.N)
	if end := begin + r.Timespan; rec.Window < begin || rec.Window >= end || w.timer != uint32(end) || sum >= b.next {
		return false
	}
	var x *sender
	switch t.member {
	case 0:
		return false
	case noMember:
		if e.entered != e.enteredBefore || w.total < r.keep || sum > b.up[0] || h.Rule != e.rated[o.Kind]-1 {
			return false
		}
	default:
		x = e.senders.at(t.member)
		if x.window != id|ownWindow || x.node == 0 || x.client != e.memberIn(ent, &rec.Card) {
			return false
		}
	}
	t.s, t.o, t.id, t.ent = s, o, id, ent
	e.change(s, id, ent) // before anything of it is another: a cut may still have to write it
	ent.touched = stamp(rec.Window)
	b.sum = sum
	if x != nil {
		e.to(x, b.at)
		place := b.at % memberSpan
		if x.events[place] == 0 {
			e.of(x.node, t)
		}
		x.events[place] += h.N
	}
	return true
}

// rate takes an observation into the running bucket.
func (e *Engine) rate(t *touch, v view, h *observation.Hit, out *Findings) {
	if t.rec.Behind {
		v.w.fired |= windowBehind
	}
	m := e.baselineOf(v, t.rec.Window)
	if at := uint32(t.rec.Window / m.length); at > m.at {
		e.roll(v, &m, at, t.key, t.o.Values, out)
	}
	n := amount(v.r, h)
	m.sum += n
	if m.sized {
		m.sizes += n * n
	}
	x := e.memberOf(v, &m, t, h)
	e.armBaseline(v, &m, t.id, t.ent.hash)
	told := v.w.fired &^ windowBehind
	switch {
	case told != 0 && x != nil:
		told &= m.all | e.nodes.at(x.node).counted
	case told != 0:
		told &= m.all
	}
	for b := told; b != 0; b &= b - 1 {
		it := observation.Item{Time: t.rec.Window, N: h.N, Ref: t.ref, Card: t.rec.Card, Number: h.Number}
		f := e.anomaly(v, &m, v.r.members[bits.TrailingZeros32(b)], t.key, t.o.Values)
		f.Items = append(out.items(1), it)
		out.List = append(out.List, f)
	}
	if m.sum >= m.next {
		e.trip(v, &m, t, out)
	}
}

// trip judges a bucket that runs and may already be too much.
func (e *Engine) trip(v view, m *model, t *touch, out *Findings) {
	if m.next == 0 {
		if m.next = e.least(v, m); m.sum < m.next {
			return
		}
	}
	fresh := e.exceeds(v, m, false) &^ v.w.fired
	for b := fresh; b != 0; b &= b - 1 {
		e.fireAnomaly(v, m, b&-b, t.key, t.o.Values, out)
	}
	m.next = m.sum*1.05 + m.unit
}

// least is the sum below which no rule can hold that looks for more.
func (e *Engine) least(v view, m *model) float64 {
	if m.early(0) {
		return math.Inf(1)
	}
	least := math.Inf(1)
	for _, i := range v.r.members {
		bl := &e.rules[i].Baseline
		if !bl.Up {
			continue
		}
		f := m.factor(bl)
		need := max(f*m.up[0], bl.Least)
		before := m.last[0] + m.last[1]
		need = min(need, max(f*(m.up[0]+m.up[1]+m.up[2]), scanned*bl.Least)-before)
		least = min(least, need)
	}
	return max(least, m.unit/2) // 0 is not known
}

// factor is how many times as much as expected a rule asks for.
func (m *model) factor(bl *observation.Baseline) float64 {
	f := max(bl.Factor, 1)
	if !m.cold {
		return f
	}
	if bl.Factor == 0 {
		return coldFactor
	}
	return 1 + coldFactor*(f-1)
}

// exceeds returns the bits of the rules whose condition the running bucket, or
// it with those before it, satisfies; end says that the bucket is over.
func (e *Engine) exceeds(v view, m *model, end bool) (bits uint32) {
	if m.early(0) {
		return 0
	}
	e.cohort.of = 0
	for i, index := range v.r.members {
		r := &e.rules[index]
		if over := e.holdsRate(v, m, &r.Baseline, end, v.w.fired&r.bit != 0); over > 0 {
			bits |= r.bit
			e.grounds[i] = over
		}
	}
	return bits
}

// holdsRate returns over how many buckets a condition is true, 0 where it is not.
func (e *Engine) holdsRate(v view, m *model, bl *observation.Baseline, end, on bool) uint32 {
	if bl.Spread == observation.SpreadEven && !end {
		return 0 // who it comes from is not known until the bucket is over
	}
	x, up, down := 0.0, 0.0, 0.0
	before := [scanned]float64{m.sum, m.last[0], m.last[1]}
	f, score := m.factor(bl), bl.Score
	if on {
		// What is true stays so until it is clearly over.
		f, score = 1+(f-1)*stillTrue, score*stillTrue
	}
	for k := range scanned {
		x, up, down = x+before[k], up+m.up[k], down+m.down[k]
		if k > 0 && (k < scanned-1 || m.early(scanned)) {
			continue
		}
		if bl.Up && x >= f*up && x >= bl.Least*float64(k+1) && (score == 0 || m.score(x, up, k > 0) >= score) {
			if bl.Spread == observation.SpreadAny {
				return uint32(k + 1)
			}
			if e.fewSend(v, m, uint32(k+1)) == (bl.Spread == observation.SpreadFew) {
				return uint32(k + 1)
			}
		}
		if end && bl.Down && (on || e.always(v, m)) && down >= bl.Least*float64(k+1) && x*f <= down && (score == 0 || m.score(x, down, k > 0) <= -score) {
			return uint32(k + 1)
		}
	}
	return 0
}

// silenceAfter is how long, in seconds, a baseline has to have been learned, and silenceOf of how many clients
// lately, before it is news that less comes. In a day that is not over anything may
// be usual, and what one client does it may end.
const (
	silenceAfter = 20 * 3600
	silenceOf    = 5
)

// always reports whether enough is known to say that there always is something.
func (e *Engine) always(v view, m *model) bool {
	return int64(m.seen)*m.length >= cmp.Or(e.opts.history, silenceAfter) && (!e.crowds[v.ent.kind] || v.w.total >= silenceOf)
}

// fewSend reports whether clients that stand out bring most of what is too much in the
// last buckets, as many as the condition is true over: of a flood that is over, the next bucket
// knows nothing, and the sum still does.
func (e *Engine) fewSend(v view, m *model, over uint32) bool {
	if !e.crowds[v.ent.kind] {
		return false
	}
	c := e.cohortOf(v, m, over)
	excess := m.sum - m.up[0] // a bucket, as cohort.excess
	if mean := (m.sum + m.last[0] + m.last[1] - m.up[0] - m.up[1] - m.up[2]) / scanned; over > 1 {
		if excess = max(excess, mean); c.buckets == scanned {
			excess = mean
		}
	}
	n := int64(len(c.nodes))
	if n == 0 || c.excess < few*excess {
		return false
	}
	if m.crowd.buckets < crowdHistory {
		return n <= always
	}
	return c.share >= fewRatio*c.usual
}

// cohortOf finds who stands out in the last buckets, once a judgement: at first in as many as
// are asked for, later over more, which tells them apart better.
func (e *Engine) cohortOf(v view, m *model, over uint32) *cohort {
	if m.since >= scanned {
		over = memberSpan
	}
	if c := &e.cohort; c.of == v.id && c.buckets == over {
		return c
	}
	return e.standOut(v, m, over)
}

// roll ends buckets up to the one with a number.
func (e *Engine) roll(v view, m *model, to uint32, key observation.Key, values string, out *Findings) {
	for m.at < to {
		if m.sum == 0 && v.w.fired&^windowBehind == 0 && (!e.looksDown(v.r) || int64(to-m.at)*m.length > forgotten) {
			m.skip(to)
			e.forgetMembers(v, m)
			break
		}
		e.endBucket(v, m, key, values, out)
	}
	if v.w.head == 0 {
		v.w.fired &^= windowBehind
	}
}

func (e *Engine) looksDown(leader *rule) bool {
	for _, i := range leader.members {
		if e.rules[i].Baseline.Down {
			return true
		}
	}
	return false
}

// endBucket judges the running bucket as a whole, learns from it and begins
// the next one.
func (e *Engine) endBucket(v view, m *model, key observation.Key, values string, out *Findings) {
	w := v.w
	is := e.exceeds(v, m, true)
	was := w.fired &^ windowBehind
	for b := was & is; b != 0; b &= b - 1 {
		e.goesOn(v, m, b&-b, key, values, out)
	}
	for b := is &^ was; b != 0; b &= b - 1 {
		e.fireAnomaly(v, m, b&-b, key, values, out)
	}
	if over := was &^ is; over != 0 {
		w.fired &^= over
		m.all &^= over
		for id := w.head; id != 0; id = e.nodes.at(id).next {
			e.nodes.at(id).counted &^= over
		}
	}
	if m.since++; w.fired&^windowBehind == 0 {
		m.since = 0
	}
	far := !m.early(0) && m.far(m.sum)
	e.learnMembers(v, m, far && (m.cold || int64(m.off+1)*m.length <= withheld))
	m.close()
}

// fireAnomaly reports that the condition of a rule, by its bit, became true:
// with the clients that stand out, or with all.
func (e *Engine) fireAnomaly(v view, m *model, bit uint32, key observation.Key, values string, out *Findings) {
	index := v.r.members[bits.TrailingZeros32(bit)]
	v.w.fired |= bit
	m.all &^= bit
	f := e.anomaly(v, m, index, key, values)
	bl := &e.rules[index].Baseline
	crowd := e.crowds[v.ent.kind]
	e.measured(m, bl, &f)
	f.Everybody = crowd && (f.Value < f.Expected || !e.fewSend(v, m, e.grounds[bits.TrailingZeros32(bit)]))
	switch {
	case f.Value < f.Expected: // nobody did anything
	case f.Everybody || !crowd:
		m.all |= bit
		f.Items = e.everybody(v, m, out)
	default:
		f.Items = e.named(v, m, bit, e.cohort.buckets, out)
	}
	f.Fired, f.Number, f.Members = true, int64(m.sum), int64(v.w.total)
	out.List = append(out.List, f)
}

// goesOn reports at the end of a bucket that a condition is still true, and who
// has come to stand out.
func (e *Engine) goesOn(v view, m *model, bit uint32, key observation.Key, values string, out *Findings) {
	index := v.r.members[bits.TrailingZeros32(bit)]
	f := e.anomaly(v, m, index, key, values)
	if m.all&bit == 0 && m.sum > m.up[0] {
		e.cohortOf(v, m, 1)
		f.Items = e.named(v, m, bit, min(m.since+1, memberSpan), out)
	}
	e.measured(m, &e.rules[index].Baseline, &f)
	f.Members = int64(v.w.total)
	out.List = append(out.List, f)
}

// anomaly is what the findings of a baseline have in common.
func (e *Engine) anomaly(v view, m *model, index uint32, key observation.Key, values string) observation.Finding {
	return observation.Finding{
		Key: key, Rule: index, Kind: v.ent.kind, Hash: v.ent.hash, Values: values, Behind: v.w.fired&windowBehind != 0,
		Everybody: e.crowds[v.ent.kind] && m.all&e.rules[index].bit != 0,
		Number:    int64(m.sum), Cold: m.cold,
		Capped: v.w.lost != 0 && int64(v.w.lost) > key.Time-memberSpan*m.length,
	}
}

// measured says what was seen and expected, over one bucket or over several,
// whichever is further off.
func (e *Engine) measured(m *model, bl *observation.Baseline, f *observation.Finding) {
	one, expect := m.sum, m.up[0]
	several, expected := m.sum+m.last[0]+m.last[1], m.up[0]+m.up[1]+m.up[2]
	if bl.Down && (!bl.Up || m.sum < m.down[0]) {
		expect, expected = m.down[0], m.down[0]+m.down[1]+m.down[2]
	}
	f.Value, f.Expected, f.Span = one, expect, m.length
	if math.Abs(m.score(several, expected, true)) > math.Abs(m.score(one, expect, false)) && !m.early(scanned) {
		f.Value, f.Expected, f.Span = several, expected, scanned*m.length
	}
}

// everybody is an item for each client of the running bucket.
func (e *Engine) everybody(v view, m *model, out *Findings) []observation.Item {
	n := 0
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		x := e.senders.at(e.nodes.at(id).what)
		if e.to(x, m.at); x.events[m.at%memberSpan] > 0 {
			n++
		}
	}
	items := out.items(n)
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		if events := e.senders.at(nd.what).events[m.at%memberSpan]; events > 0 {
			items = append(items, e.memberItem(v, nd, events))
		}
	}
	return items
}

// named is an item for each client that stands out and was not told of before,
// with what it sent in the last n buckets.
func (e *Engine) named(v view, m *model, bit, n uint32, out *Findings) []observation.Item {
	c := &e.cohort
	count := 0
	for _, id := range c.nodes {
		if e.nodes.at(id).counted&bit == 0 {
			count++
		}
	}
	items := out.items(count)
	for _, id := range c.nodes {
		nd := e.nodes.at(id)
		if nd.counted&bit != 0 {
			continue
		}
		nd.counted |= bit
		events, _ := e.sent(e.senders.at(nd.what), n)
		items = append(items, e.memberItem(v, nd, events))
	}
	return items
}

func (e *Engine) memberItem(v view, nd *node, events uint32) observation.Item {
	it := e.item(v, nd, 0)
	if c := e.senders.at(nd.what).client; c != (memberAddr{}) {
		it.Card.Client = c.addr()
	}
	it.N, it.Counted = events, false
	return it
}

// armBaseline sets the timer of a window to the end of its running bucket.
func (e *Engine) armBaseline(v view, m *model, id uint32, hash uint64) {
	at := (int64(m.at) + 1) * m.length
	if v.w.timer == uint32(at) {
		return
	}
	v.w.timer = uint32(at)
	e.timers.push(timer{at: at, entity: id, hash: hash, rule: v.w.rule})
}

// idleSpan is for how long, in seconds, a baseline that looks for less is
// judged after its entity was last seen.
const idleSpan = 8 * 24 * 3600

// wakes reports whether the end of the running bucket has to be judged even
// though nothing may come.
func (e *Engine) wakes(v view, m *model) bool {
	if m.sum > 0 || v.w.fired&^windowBehind != 0 {
		return true
	}
	return e.looksDown(v.r) && int64(m.at)*m.length < int64(v.ent.touched)+idleSpan
}

// bucketEnds is called by the timer of a window.
func (e *Engine) bucketEnds(v view, x timer, out *Findings) {
	if v.w.side == 0 {
		return
	}
	m := e.model(v)
	e.roll(v, &m, uint32(x.at/m.length), observation.Key{Time: x.at, Rank: -1}, e.entityValues(v.ent), out)
	if e.wakes(v, &m) {
		e.armBaseline(v, &m, x.entity, x.hash)
	}
}

// worth is the score of a window with a baseline: what was learned for long is
// worth more, until it was not used for long.
func (e *Engine) worth(v view) uint32 {
	if v.w.side == 0 {
		return 0
	}
	if v.w.fired&^windowBehind != 0 {
		return ScoreFiring
	}
	idle := v.s.now - int64(v.ent.touched)
	if idle > forgotten {
		return 0
	}
	m := e.model(v)
	age := float64(m.seen) * float64(m.length)
	const day = 24 * 3600
	return uint32(1 + (ScoreFiring-2)*age/(age+day)*math.Exp2(-float64(idle)/(7*day)))
}
