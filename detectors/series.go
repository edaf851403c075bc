package detectors

import (
	"cmp"
	"math"
	"slices"

	"gatewatch/detectors/observation"
)

// Rules that count the same share one window, whatever their bounds and
// timespans: the entries of the longest timespan, oldest first, of which those
// of a shorter one are the newest part. Where such a part begins is kept by a
// cursor, and only while it makes a difference: as long as the window holds
// less than the lowest of the bounds, or nothing that is older than the
// shortest timespan, an observation costs the same as with one rule.

// span is a timespan of the rules that share a window.
type span struct {
	timespan int64
	keep     uint32   // newest entries that its bounds need
	members  []member // by bound
}

// member is one of the rules that share a window.
type member struct {
	rule uint32
	gte  uint32
	bit  uint32
}

// series is where the parts of a window begin; window.side is its number.
type series struct {
	gone  uint64 // events or values taken from the head so far
	due   uint32 // time before which no cursor moves
	first uint32 // cursor of the second longest timespan
}

// cursor is where the part of one timespan begins: behind edge.
type cursor struct {
	before uint64 // events or values up to edge and with it, counted like series.gone
	next   uint32 // cursor of the next shorter timespan
	edge   uint32 // entry; none, the part being the whole window, unless before is above gone
}

// join lays out the rules that share a window, from the longest timespan to
// the shortest.
func (e *Engine) join(leader *rule) {
	for _, m := range leader.members {
		r := &e.rules[m]
		at := slices.IndexFunc(leader.spans, func(s span) bool { return s.timespan == r.Timespan })
		if at < 0 {
			at = len(leader.spans)
			leader.spans = append(leader.spans, span{timespan: r.Timespan})
		}
		s := &leader.spans[at]
		s.keep = max(s.keep, r.own)
		s.members = append(s.members, member{rule: m, gte: r.own, bit: r.bit})
	}
	slices.SortFunc(leader.spans, func(a, b span) int { return cmp.Compare(b.timespan, a.timespan) })
	leader.keep, leader.least = leader.spans[0].keep, math.MaxUint32
	for i := range leader.spans {
		s := &leader.spans[i]
		slices.SortFunc(s.members, func(a, b member) int { return cmp.Or(cmp.Compare(a.gte, b.gte), cmp.Compare(a.bit, b.bit)) })
		leader.least = min(leader.least, s.members[0].gte)
		leader.most = max(leader.most, s.keep)
		for _, m := range s.members {
			e.rules[m.rule].span = uint8(i)
		}
	}
	leader.reach = leader.spans[0].timespan
	leader.shortest = leader.spans[len(leader.spans)-1].timespan
}

// kept is how many of the newest entries within the rule's timespan its
// window keeps.
func (e *Engine) kept(index int) uint32 {
	r := &e.rules[index]
	leader := &e.rules[r.leader]
	if leader.least == 0 {
		return leader.keep
	}
	var n uint32
	for _, s := range leader.spans[:r.span+1] {
		n = max(n, s.keep)
	}
	return n
}

// spread brings the cursors of a window up to now, at which what is older than
// the longest timespan has been taken out.
func (e *Engine) spread(v view, now int64) {
	w, r := v.w, v.r
	if w.side == 0 {
		if w.head == 0 || int64(w.headTime) > now-r.shortest {
			return
		}
		w.side = e.newSeries(len(r.spans) - 1)
	}
	se := e.series.at(w.side)
	if now < int64(se.due) {
		return
	}
	due := int64(math.MaxUint32)
	edge, before := uint32(0), se.gone // of the next longer timespan: no shorter one begins before it
	for i, id := 1, se.first; id != 0; i++ {
		c := e.cursors.at(id)
		if c.before > before {
			edge, before = c.edge, c.before
		}
		next := w.head
		if before > se.gone {
			next = e.nodes.at(edge).next
		}
		at := now // of an entry that comes after this
		for ; next != 0; next = e.nodes.at(next).next {
			nd := e.nodes.at(next)
			if int64(nd.time) > now-r.spans[i].timespan {
				at = int64(nd.time)
				break
			}
			edge, before = next, before+uint64(r.typ.size(nd))
		}
		c.edge, c.before = edge, before
		due = min(due, at+r.spans[i].timespan)
		id = c.next
	}
	se.due = uint32(due)
}

func (e *Engine) newSeries(cursors int) uint32 {
	id := e.series.alloc()
	se := e.series.at(id)
	for range cursors {
		c := e.cursors.alloc()
		e.cursors.at(c).next, se.first = se.first, c
	}
	return id
}

func (e *Engine) dropSeries(w *window) {
	if w.side == 0 {
		return
	}
	for id := e.series.at(w.side).first; id != 0; {
		next := e.cursors.at(id).next
		e.cursors.release(id)
		id = next
	}
	e.series.release(w.side)
	w.side = 0
}

// part returns the first entry of the window within a timespan, and how many
// events or values there are from it on. Cursors are where spread left them.
func (e *Engine) part(v view, span uint8) (first, n uint32) {
	w := v.w
	if span == 0 || w.side == 0 {
		return w.head, w.total
	}
	se := e.series.at(w.side)
	id := se.first
	for range span - 1 {
		id = e.cursors.at(id).next
	}
	return e.behind(w, se, e.cursors.at(id))
}

func (e *Engine) behind(w *window, se *series, c *cursor) (first, n uint32) {
	if c.before <= se.gone {
		return w.head, w.total
	}
	return e.nodes.at(c.edge).next, w.total - uint32(c.before-se.gone)
}

// reached returns the bits of the rules whose bounds the window reaches at now.
func (e *Engine) reached(v view, now int64) (bits uint32) {
	r := v.r
	if v.w.total < r.least {
		return 0
	}
	if len(r.spans) == 1 {
		return r.spans[0].reached(v.w.total)
	}
	e.spread(v, now)
	bits = r.spans[0].reached(v.w.total)
	if v.w.side == 0 {
		for i := range r.spans[1:] {
			bits |= r.spans[i+1].reached(v.w.total)
		}
		return bits
	}
	se := e.series.at(v.w.side)
	for i, id := 1, se.first; id != 0; i++ {
		c := e.cursors.at(id)
		_, n := e.behind(v.w, se, c)
		if n < r.least {
			return bits // and so is every shorter part
		}
		bits |= r.spans[i].reached(n)
		id = c.next
	}
	return bits
}

func (s *span) reached(n uint32) (bits uint32) {
	for i := range s.members {
		if s.members[i].gte > n {
			break
		}
		bits |= s.members[i].bit
	}
	return bits
}

// headGone tells the cursors that events or values went from the head.
func (e *Engine) headGone(w *window, n uint32) {
	if w.side != 0 {
		e.series.at(w.side).gone += uint64(n)
	}
}

// renewed tells the cursors that a value leaves its place in the window, to
// come back as the newest.
func (e *Engine) renewed(w *window, id uint32) {
	if w.side == 0 {
		return
	}
	se := e.series.at(w.side)
	nd := e.nodes.at(id)
	for at := se.first; at != 0; {
		c := e.cursors.at(at)
		// Entries of one second go past a cursor together.
		if c.before > se.gone && nd.time <= e.nodes.at(c.edge).time {
			c.before--
			if c.edge == id {
				c.edge = nd.prev
			}
		}
		at = c.next
	}
}

// nearSeries is the score of a window that is judged by what it reaches.
func (e *Engine) nearSeries(v view) (best uint32) {
	r, w := v.r, v.w
	n, id := w.total, w.head
	for i := range r.spans {
		s := &r.spans[i]
		for ; id != 0; id = e.nodes.at(id).next {
			nd := e.nodes.at(id)
			if int64(nd.time) > v.s.now-s.timespan {
				break
			}
			n -= r.typ.size(nd)
		}
		if n == 0 {
			return best
		}
		if r.Plain {
			// Nothing is lost with it: the next match fires into the same incident.
			return 1
		}
		if w.fired&s.reached(n) != 0 {
			return ScoreFiring
		}
		best = max(best, 1, min(ScoreFiring-1, n*(ScoreFiring-1)/s.members[0].gte))
	}
	return best
}

// shares lays out which rules share a window.
func (e *Engine) share(plan *observation.Plan) {
	for i, s := range plan.Shares() {
		e.rules[i].leader, e.rules[i].bit = s.Leader, s.Bit
		l := &e.rules[s.Leader]
		l.members = append(l.members, uint32(i))
	}
	for i := range e.rules {
		if r := &e.rules[i]; r.leader == uint32(i) && r.least != 0 {
			e.join(r)
		}
	}
	for i := range e.rules {
		r := &e.rules[i]
		r.byValue = (r.Type == observation.ValueCount || r.Type == observation.IDWalk) && max(r.keep, r.most) > manyValues
	}
}
