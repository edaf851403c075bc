package detectors

import (
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"net/netip"

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
	// restPrior is how many requests a bucket it takes to say how many times more the others send.
	restPrior = 10
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
	at     uint32             // number of the bucket that was last written
	first  uint32             // number of the first bucket
	usual  float32            // what it sends in a bucket
	client memberAddr
	window uint32
	node   uint32
	sums   uint32 // index into Engine.sums where a field is added up, 0 where events are counted
}

// sums are what a field adds up to in the buckets of sender.events.
type sums [memberSpan]float32

// sumOf is what came in the place of a bucket.
func (e *Engine) sumOf(x *sender, place uint32) float64 {
	if x.sums == 0 {
		return float64(x.events[place])
	}
	return float64(e.sums.at(x.sums)[place])
}

// to brings a member to a bucket: what is older than memberSpan is forgotten.
func (e *Engine) to(x *sender, bucket uint32) {
	for n := 0; x.at < bucket; n++ {
		if n == memberSpan {
			x.at = bucket
			return
		}
		x.at++
		place := x.at % memberSpan
		x.events[place] = 0
		if x.sums != 0 {
			e.sums.at(x.sums)[place] = 0
		}
	}
}

// sent is what came in the last n buckets up to the one that the member is at.
func (e *Engine) sent(x *sender, n uint32) (events uint32, sum float64) {
	for i := range n {
		at := (x.at + memberSpan - i) % memberSpan
		events, sum = events+x.events[at], sum+e.sumOf(x, at)
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
	if over == scanned { // between the two that are learned
		var between [crowdBins]float32
		for bin := range between {
			between[bin] = max(m.crowd.now[bin], m.crowd.long[bin], m.crowd.long[min(bin+1, crowdBins-1)])
		}
		usual = &between
	}
	var sums, owns [crowdBins]float64 // what came from clients of a bin, and what these usually send
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		x := e.senders.at(nd.what)
		e.to(x, m.at)
		events, sum := e.sent(x, over)
		owns[crowdBin(sum, m.unit)] += float64(x.usual) * float64(over)
		if events == 0 {
			continue
		}
		c.members++
		if x.client == (memberAddr{}) {
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
	all, part, own, ownPart := 0.0, 0.0, 0.0, 0.0
	for bin := range sums {
		all, own = all+sums[bin], own+owns[bin]
		if low <= bin && bin <= high {
			part, ownPart = part+sums[bin], ownPart+owns[bin]
			c.usual += float64(usual[bin])
		}
	}
	c.share = part / all
	// When all users do more, who has many of them behind one address does as many times
	// more as the others, and is no more suspicious than before.
	growth := 1.0
	if own > 0 {
		some := restPrior * m.unit * float64(over)
		growth = max(1, (all-part+some)/(m.up[0]*float64(over)*(1-ownPart/own)+some))
	}
	for id := v.w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		x := e.senders.at(nd.what)
		events, sum := e.sent(x, over)
		if bin := crowdBin(sum, m.unit); events == 0 || bin < low || bin > high || x.client == (memberAddr{}) {
			continue
		}
		own := float64(x.usual) * float64(over) * growth
		if sum < ownRatio*own+m.unit {
			continue
		}
		c.nodes = append(c.nodes, id)
		c.excess += (sum - own) / float64(over)
	}
	return c
}

// lesson is what a bucket teaches of how much clients send.
type lesson struct {
	now, long    [crowdBins]float64
	all, allLong float64
}

// learnMembers takes in what the clients sent in the bucket that ends, and forgets those that
// were not seen for long. What is not learned from is not their habit either.
func (e *Engine) learnMembers(v view, m *model, hold bool) {
	var l lesson
	for x := range e.current(v, (int64(m.at)+1-memberReach)*m.length) {
		e.learnMember(m, x, &l, hold)
	}
	if hold || l.all == 0 {
		return
	}
	m.crowd.buckets++
	a := 1 / min(float64(m.crowd.buckets), max(localSpan/float64(m.length), memberSpan))
	for bin := range l.now {
		m.crowd.now[bin] += float32(a * (l.now[bin]/l.all - float64(m.crowd.now[bin])))
		m.crowd.long[bin] += float32(a * (l.long[bin]/l.allLong - float64(m.crowd.long[bin])))
	}
}

// learnMember takes in what one client sent.
func (e *Engine) learnMember(m *model, x *sender, l *lesson, hold bool) {
	sum := 0.0
	if x.at+memberSpan > m.at { // else it sent nothing in any of these buckets
		e.to(x, m.at)
		if _, sums := e.sent(x, memberSpan); sums > 0 {
			l.long[crowdBin(sums, m.unit)] += sums
			l.allLong += sums
		}
		if sum = e.sumOf(x, m.at%memberSpan); sum > 0 {
			l.now[crowdBin(sum, m.unit)] += sum
			l.all += sum
		}
	}
	if !hold {
		n := min(float64(m.at-x.first)+1, max(recentSpan/float64(m.length), memberSpan))
		x.usual += float32((sum - float64(x.usual)) / n)
	}
}

// current yields the clients that were seen since a time, and forgets the others.
func (e *Engine) current(v view, since int64) iter.Seq[*sender] {
	return func(yield func(*sender) bool) {
		for id := v.w.head; id != 0; {
			nd := e.nodes.at(id)
			next := nd.next
			if int64(nd.time) < since {
				v.w.total--
				e.dropNode(v, id)
			} else if !yield(e.senders.at(nd.what)) {
				return
			}
			id = next
		}
	}
}

// forgetMembers drops the clients that were not seen for long.
func (e *Engine) forgetMembers(v view, m *model) {
	for range e.current(v, (int64(m.at)-memberReach)*m.length) {
	}
}

// memberOf returns the sender of the record's client, with the observation in it; nil
// where there is no room for it. Nobody has to go for a newcomer while there is no more
// than expected: what one bucket brings is told apart when it matters.
func (e *Engine) memberOf(v view, m *model, t *touch, h *observation.Hit) *sender {
	client := e.memberIn(t.ent, &t.rec.Card)
	hint := t.member
	if v.w.rule != e.rated[v.ent.kind]-1 {
		hint = 0 // it is of another window
	}
	x := e.memberHint(v.id, client, hint)
	if x == nil {
		if v.w.total >= v.r.keep && m.sum <= m.up[0] {
			return nil
		}
		e.roomForMember(v, m)
		id := e.nodeOf(t, 0) // the sender knows the client
		x = e.enterMember(v, id, client)
		x.at, x.first = m.at, m.at
		e.append(v.w, id)
	} else if e.to(x, m.at); x.events[m.at%memberSpan] == 0 {
		e.of(x.node, t)
	}
	x.events[m.at%memberSpan] += h.N
	if x.sums != 0 {
		e.sums.at(x.sums)[m.at%memberSpan] += float32(h.Number)
	}
	return x
}

// memberHint is member, given where it probably is.
func (e *Engine) memberHint(window uint32, c memberAddr, at uint32) *sender {
	switch {
	case at == noMember:
		if e.entered == e.enteredBefore {
			return nil
		}
	case at != 0:
		if x := e.senders.at(at); x.client == c && x.window == window && x.node != 0 {
			return x
		}
	}
	return e.member(window, c)
}

// roomForMember makes room for one more member. Members stand in the window in the order
// in which they came. The first of them goes, unless it sent several events in this
// bucket: it is then put behind the others, so who sends a lot stays. That is a
// clock, as in Corbato: A paging experiment with the Multics system (1968).
func (e *Engine) roomForMember(v view, m *model) {
	for tries := 0; v.w.total >= v.r.keep; tries++ {
		id := v.w.head
		nd := e.nodes.at(id)
		x := e.senders.at(nd.what)
		if x.at == m.at && x.events[m.at%memberSpan] > 1 && tries < clockTries {
			e.detach(v.w, id)
			e.append(v.w, id)
			continue
		}
		v.w.lost = nd.time
		e.dropHead(v)
	}
}

// clockTries is how many members at most are passed over before one goes.
const clockTries = 8

// of makes an entry that of the record at work.
func (e *Engine) of(id uint32, t *touch) {
	nd := e.nodes.at(id)
	if card := e.cardOf(t); nd.card != card {
		e.cards.retain(card)
		e.cards.release(nd.card)
		nd.card = card
	}
	e.describe(nd, t)
}

// memberAddr is the address of a member, 0 where the log or the group does not
// tell of single clients.
type memberAddr struct{ high, low uint64 }

func (e *Engine) memberIn(ent *entity, c *observation.Card) memberAddr {
	if !c.Client.IsValid() || e.tellsClient(ent, c.Client) {
		return memberAddr{}
	}
	return memberAddrOf(c.Client)
}

// addr is the address, or none.
func (c memberAddr) addr() netip.Addr {
	switch {
	case c == memberAddr{}:
		return netip.Addr{}
	case c.high == 0 && c.low>>32 == 0xffff:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(c.low))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], c.high)
	binary.BigEndian.PutUint64(b[8:], c.low)
	return netip.AddrFrom16(b)
}

func memberAddrOf(a netip.Addr) memberAddr {
	if a.Is4() {
		b := a.As4()
		return memberAddr{0, 0xffff_0000_0000 | uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return memberAddr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// memberHash is by what a member is found. It depends on a seed of the process, so that
// nobody can choose addresses that meet.
func (e *Engine) memberHash(window uint32, c memberAddr) uint64 {
	high, low := bits.Mul64(c.high^e.seeds[0], c.low^e.seeds[1])
	high, low = bits.Mul64(high^low^e.seeds[2], uint64(window)*0x9E3779B97F4A7C15)
	return high ^ low
}

// member finds a member of a window, nil if it has none such.
func (e *Engine) member(window uint32, c memberAddr) *sender {
	t := &e.byMember
	if t.n == 0 {
		return nil
	}
	hash := e.memberHash(window, c)
	for i := t.first(hash); t.at[i].id != 0; i = t.after(i) {
		if t.at[i].tag != tag(hash) {
			continue
		}
		if x := e.senders.at(t.at[i].id); x.client == c && x.window == window {
			return x
		}
	}
	return nil
}

// noMember says that there was none when it was looked up ahead. Windows hold so many and no
// more, so at a busy site that is the answer for most clients.
const noMember = math.MaxUint32

// memberAhead finds, some time before it is needed, where the member of a record
// probably is: noMember for nowhere, 0 where that has to be looked up.
func (e *Engine) memberAhead(id uint32, ent *entity, rule uint32, c *observation.Card) uint32 {
	wid := e.findWindow(id, ent, rule)
	if wid == 0 {
		return 0
	}
	if at := e.byMember.tagged(e.memberHash(wid, e.memberIn(ent, c))); at != 0 {
		return at
	}
	return noMember
}

// enterMember makes a member of a node.
func (e *Engine) enterMember(v view, id uint32, c memberAddr) *sender {
	at := e.senders.alloc()
	e.entered++
	e.byMember.insert(e.memberHash(v.id, c), at)
	e.nodes.at(id).what = at
	v.w.total++
	x := e.senders.at(at)
	*x = sender{client: c, window: v.id, node: id}
	if v.r.ValueField != "" {
		x.sums = e.sums.alloc()
	}
	return x
}

// dropMember forgets a member.
func (e *Engine) dropMember(at uint32) {
	x := e.senders.at(at)
	e.byMember.remove(e.memberHash(x.window, x.client), at)
	if x.sums != 0 {
		e.sums.release(x.sums)
	}
	e.senders.release(at)
}
