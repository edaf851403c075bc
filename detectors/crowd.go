package detectors

import (
	"math/bits"

	"gatewatch/detectors/observation"
)

// A baseline over a population also learns how much its clients send: which
// part of all comes from clients with 1, 2 to 3, 4 to 7 and so on in a bucket.
// When more comes than expected, it tells a crowd from a flood: more users who
// each do what users do add to all of these alike; sixty machines with a script
// stand in one or two of them, where hardly anybody was before. Those there are
// named, unless they always sent as much.

// crowd is what is usual of the clients of a baseline.
type crowd struct {
	now, long [crowdBins]float32 // share of all that comes from clients of a bin, in one bucket and in memberSpan
	buckets   uint32             // that were learned from
}

const (
	crowdBins = 20 // the last has all from half a million on
	// memberSpan is over how many buckets what clients send is added up.
	memberSpan = 5
	// memberReach is after how many buckets without a request a client is forgotten.
	memberReach = 10

	// What bins have to hold, of what is expected in them, for their clients to
	// stand out: three of four of them do then not belong there.
	crowdRatio = 4
	// ownRatio is how far above its own habit a client has to be.
	ownRatio = 3
	// few is the part of what is too much that clients who stand out have to bring.
	few = 0.5
	// While all users send more, what comes from those who stand out is the
	// usual part of it; of a flood it is so many times that part.
	fewRatio = 2
	// Before so many buckets with requests nothing is known of what is usual.
	crowdHistory = 10
	// Where nothing is known of what is usual, so many clients are few.
	always = 3
)

// sender is a client of a baseline; its node says when it was last seen.
type sender struct {
	events [memberSpan]uint32 // of the running bucket and those before it, by number
	sums   [memberSpan]float32
	at     uint32  // number of the bucket that was last written
	first  uint32  // number of the first bucket
	usual  float32 // what it sends in a bucket
	node   uint32
	again  bool // came again in the bucket since its node became the newest
}

// to brings a member to a bucket: what is older than memberSpan is forgotten.
func (x *sender) to(bucket uint32) {
	for n := 0; x.at < bucket; n++ {
		if n == memberSpan {
			x.at = bucket
			return
		}
		x.at++
		x.events[x.at%memberSpan], x.sums[x.at%memberSpan] = 0, 0
	}
}

// sent is what came in the last n buckets up to the one that the member is at.
func (x *sender) sent(n uint32) (events uint32, sum float64) {
	for i := range n {
		at := (x.at + memberSpan - i) % memberSpan
		events, sum = events+x.events[at], sum+float64(x.sums[at])
	}
	return events, sum
}

func crowdBin(sum, unit float64) int {
	return min(max(bits.Len64(uint64(max(sum/unit, 1)))-1, 0), crowdBins-1)
}

// cohort is who stands out in a window, as of its running bucket.
type cohort struct {
	of      uint32 // window
	buckets uint32 // over which it was added up
	nodes   []uint32
	excess  float64 // what they sent beyond their habit, a bucket
	members int64   // seen in these buckets
	share   float64 // of all that came in these buckets
	usual   float64 // share that clients who send as much usually have
}

// standOut finds the clients that stand out. over is 1 or memberSpan buckets.
func (e *Engine) standOut(v view, m *model, over uint32) *cohort {
	c := &e.cohort
	*c = cohort{of: v.id, buckets: over, nodes: c.nodes[:0]}
	usual := &m.crowd.now
	if over > 1 {
		usual = &m.crowd.long
	}
	var sums [crowdBins]float64
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		x := e.senders.at(nd.what)
		x.to(m.at)
		events, sum := x.sent(over)
		if events == 0 {
			continue
		}
		c.members++
		if !e.clientOf(v.ent, nd).IsValid() {
			continue // of whom the log does not tell
		}
		sums[crowdBin(sum, m.unit)] += sum
	}
	expected := func(bin int) float64 { return float64(usual[bin]) * m.up[0] * float64(over) }
	most := 0
	for bin := range sums {
		if sums[bin]-expected(bin) > sums[most]-expected(most) {
			most = bin
		}
	}
	low, high := most, most
	stands := func(bin int) bool {
		return bin >= 0 && bin < crowdBins && sums[bin] > 0 && sums[bin] >= crowdRatio*expected(bin)
	}
	if !stands(most) {
		return c
	}
	if stands(most - 1) {
		low--
	}
	if stands(most + 1) {
		high++
	}
	all, part := 0.0, 0.0
	for bin := range sums {
		all += sums[bin]
		if low <= bin && bin <= high {
			part += sums[bin]
			c.usual += float64(usual[bin])
		}
	}
	c.share = part / all
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		x := e.senders.at(nd.what)
		events, sum := x.sent(over)
		if bin := crowdBin(sum, m.unit); events == 0 || bin < low || bin > high || !e.clientOf(v.ent, nd).IsValid() {
			continue
		}
		own := float64(x.usual) * float64(over)
		if sum < ownRatio*own+m.unit {
			continue
		}
		c.nodes = append(c.nodes, id)
		c.excess += (sum - own) / float64(over)
	}
	return c
}

// learnMembers takes in what the clients sent in the bucket that ends. What is
// not learned from is not their habit either.
func (e *Engine) learnMembers(v view, m *model, hold bool) {
	var now, long [crowdBins]float64
	var all, allLong float64
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		x := e.senders.at(e.nodes.at(id).what)
		x.to(m.at)
		_, sum := x.sent(1)
		_, sums := x.sent(memberSpan)
		if sums > 0 {
			long[crowdBin(sums, m.unit)] += sums
			allLong += sums
		}
		if sum > 0 {
			now[crowdBin(sum, m.unit)] += sum
			all += sum
		}
		if !hold {
			n := min(float64(m.at-x.first)+1, max(recentSpan/float64(m.length), memberSpan))
			x.usual += float32((sum - float64(x.usual)) / n)
		}
	}
	if hold || all == 0 {
		return
	}
	m.crowd.buckets++
	a := 1 / min(float64(m.crowd.buckets), max(localSpan/float64(m.length), memberSpan))
	for bin := range now {
		m.crowd.now[bin] += float32(a * (now[bin]/all - float64(m.crowd.now[bin])))
		m.crowd.long[bin] += float32(a * (long[bin]/allLong - float64(m.crowd.long[bin])))
	}
}

// forgetMembers drops the clients that were not seen for long.
func (e *Engine) forgetMembers(v view, m *model) {
	before := (int64(m.at) - memberReach) * m.length
	for v.w.head != 0 && int64(v.w.headTime) < before {
		e.dropHead(v)
	}
}

// memberOf returns the sender of the record's client, with the observation in it. Members
// stand in the window in the order in which they came into the bucket in which they
// were last seen. Where there are more than are told apart, the one that goes is
// the first of them that did not come again since, as a clock does it: who
// sends a lot stays. See Corbato: A paging experiment with the Multics system (1968).
func (e *Engine) memberOf(v view, m *model, t *touch, h *observation.Hit) *sender {
	key := memberKey(v.id, e.clientIn(t))
	at := e.byMember.get(key)
	var x *sender
	if at == 0 {
		for v.w.total >= v.r.keep {
			id := v.w.head
			if old := e.senders.at(e.nodes.at(id).what); old.again && old.at == m.at {
				old.again = false
				e.renew(v.w, id, stamp(t.rec.Window))
				continue
			}
			v.w.lost = v.w.headTime
			e.dropHead(v)
		}
		id := e.newNode(t)
		at = e.senders.alloc()
		e.nodes.at(id).what = at
		x = e.senders.at(at)
		*x = sender{node: id, at: m.at, first: m.at}
		e.byMember.put(key, at)
		v.w.total++
		e.append(v.w, id)
	} else {
		x = e.senders.at(at)
		if x.at < m.at {
			x.again = false
			e.renew(v.w, x.node, stamp(t.rec.Window))
			e.of(x.node, t)
		} else {
			x.again = true
		}
	}
	x.to(m.at)
	x.events[m.at%memberSpan] += h.N
	x.sums[m.at%memberSpan] += float32(amount(v.r, h))
	return x
}

// renew makes an entry the newest, as of a time.
func (e *Engine) renew(w *window, id, at uint32) {
	if w.tail != id {
		e.detach(w, id)
		e.append(w, id)
	}
	e.nodes.at(id).time = at
	w.tailTime = at
	if w.head == id {
		w.headTime = at
	}
}

// of makes an entry that of the record at work.
func (e *Engine) of(id uint32, t *touch) {
	nd := e.nodes.at(id)
	if card := e.cardOf(t); nd.card != card {
		e.cards.retain(card)
		e.cards.release(nd.card)
		nd.card = card
	}
	nd.line, nd.length, nd.source, nd.offset = uint32(min(t.ref.Line, 1<<32-1)), t.ref.Length, uint16(t.ref.Source), t.ref.Offset
}

func memberKey(window, client uint32) uint64 { return uint64(window)<<32 | uint64(client) }
