package detectors

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"gatewatch/detectors/observation"
)

// window is what one rule, or several that count the same, keep of one entity.
type window struct {
	rule       uint32 // the leader of the rules
	next       uint32 // next window of the entity
	head, tail uint32 // nodes, oldest first
	total      uint32 // events or values in the nodes
	// The times of head and tail, here so that an observation that neither
	// expires nor joins a node costs no look at one.
	headTime, tailTime uint32
	// fired has the bits of the rules whose condition is true and a finding
	// told so, emptiness makes one true without; and windowBehind.
	fired uint32
	// timer is when the timer of a rule that is judged at expiries goes off; 0
	// while the window is empty. A timer of another time is of a former window.
	timer uint32
	side  uint32 // what there is besides the entries: a number for the window's type
	lost  uint32 // time of the newest entry that was let go for want of room
}

// windowBehind says that something in the window came behind the merge.
const windowBehind = 1 << observation.MaxShared

// empty forgets what holds as long as a window has entries.
func (e *Engine) emptied(v view) {
	v.w.fired &^= windowBehind
	if v.w.side != 0 {
		v.r.typ.clear(e, v)
	}
}

// node is a kept entry: a time, what it is the time of, and where the text is.
type node struct {
	prev, next uint32
	time       uint32
	what       uint32 // for the window's type to say: a number of events, the index of a value
	card       uint32 // index into Engine.cards
	client     uint32 // index into Engine.clients; 0 where the entity tells it
	line       uint32
	length     uint32
	counted    uint32 // bits of the rules for which a finding told of it
	source     uint16
	offset     int64
}

// hit judges a window before and after the observation is added, by all rules
// that share it.
func (e *Engine) hit(t *touch, h *observation.Hit, out *Findings) {
	r := &e.rules[h.Rule]
	if r.leader != h.Rule {
		return // the leader's hit comes with it
	}
	if r.least == 0 && !r.typ.takes(r, h) {
		return
	}
	now := t.rec.Window
	if r.guarded && !e.admits(t, r, now) {
		return
	}
	if r.choosy && !(idWalk{}).enters(e, t, r, h) {
		return
	}
	v := view{s: t.s, ent: t.ent, id: e.windowOf(t.id, t.ent, h.Rule), r: r}
	w := e.window(v.id)
	v.w = w
	if r.Type == observation.RateAnomaly {
		e.rate(t, v, h, out)
		return
	}
	if h.N < r.least && r.Type == observation.EventCount && w.lone() && int64(w.headTime) <= now-r.reach {
		e.renew(v, t, h)
		if e.opts.Probe != nil {
			e.probe(v, t)
		}
		return
	}
	e.expire(v, now)
	if t.rec.Behind {
		w.fired |= windowBehind
	}
	if w.fired&^windowBehind == 0 && w.total+h.N < r.least {
		r.typ.add(e, v, t, h, 0)
		if e.opts.Probe != nil {
			e.probe(v, t)
		}
		return // far from any bound, and so from any limit
	}
	was, before := e.truth(v, now), w.total
	w.fired &= was | windowBehind
	added := r.typ.add(e, v, t, h, e.stillTrue(v, h))
	if r.expires && w.timer == 0 {
		e.arm(w, r, t.id, t.ent.hash)
	}
	is := e.truth(v, now)
	grown := w.fired & is
	// Rules fire that were false, also where a reload lowered the bound below
	// what the window already holds; not those that are true of nothing, and still are.
	fresh := is &^ w.fired
	if r.empty {
		fresh &^= was
	}
	w.fired = w.fired&windowBehind | grown | fresh
	e.hinted(t.ent, r, w.fired)
	if e.opts.Probe != nil {
		e.probe(v, t)
	}
	for b := grown; b != 0; b &= b - 1 {
		e.grow(out, v, r.members[bits.TrailingZeros32(b)], t, h, added)
	}
	if grown != 0 {
		e.nodes.at(added).counted |= grown
	}
	for b := fresh; b != 0; b &= b - 1 {
		e.fire(out, v, r.members[bits.TrailingZeros32(b)], t.key, t.o.Values, t.rec)
	}
	if r.Walk != nil && r.Walk.Factor > 0 {
		e.report(out, v, t, before)
	}
	e.trim(v, now)
}

// lone reports whether all that there is in the window is one entry.
func (w *window) lone() bool { return w.head != 0 && w.head == w.tail && w.fired|w.side == 0 }

// renew makes of the one entry of a window, which has expired, that of an
// observation. Most clients come so seldom that theirs is always this case.
func (e *Engine) renew(v view, t *touch, h *observation.Hit) {
	nd := e.nodes.at(v.w.head)
	card, client := e.cardOf(t), e.clientIn(t)
	if nd.card != card {
		e.cards.retain(card)
		e.cards.release(nd.card)
	}
	if nd.client != client {
		e.clients.retain(client)
		e.clients.release(nd.client)
	}
	e.describe(nd, t)
	nd.what, nd.card, nd.client, nd.counted = h.N, card, client, 0
	v.w.total, v.w.headTime, v.w.tailTime = h.N, nd.time, nd.time
	if t.rec.Behind {
		v.w.fired = windowBehind
	}
}

// describe writes to an entry when the record at work was and where its text is.
func (e *Engine) describe(nd *node, t *touch) {
	nd.time = stamp(t.rec.Window)
	nd.line, nd.length, nd.source, nd.offset = uint32(min(t.ref.Line, 1<<32-1)), t.ref.Length, uint16(t.ref.Source), t.ref.Offset
}

// truth returns the bits of the rules whose condition holds at now of what the
// window keeps.
func (e *Engine) truth(v view, now int64) uint32 {
	if v.r.least != 0 {
		return e.reached(v, now)
	}
	if n, ok := v.r.typ.number(e, v, now); ok && v.w.total >= uint32(v.r.Least) && v.r.holds(n) {
		return 1
	}
	return 0
}

// stillTrue returns the bits of the rules that are true and stay so with a
// further observation, so that findings tell of it at once.
func (e *Engine) stillTrue(v view, h *observation.Hit) uint32 {
	fired := v.w.fired &^ windowBehind
	if fired != 0 && v.r.expires && !v.r.holds(float64(v.w.total+h.N)) {
		return 0
	}
	return fired
}

// expire removes what is no longer in (now - timespan, now].
func (e *Engine) expire(v view, now int64) {
	w := v.w
	if w.head == 0 || int64(w.headTime) > now-v.r.reach {
		return
	}
	for w.head != 0 && int64(w.headTime) <= now-v.r.reach {
		e.dropHead(v)
	}
	switch {
	case w.head == 0:
		e.emptied(v)
	case v.r.choosy:
		idWalk{}.begin(e, v)
	}
}

// trim keeps the newest times or values that the rules need.
func (e *Engine) trim(v view, now int64) {
	w, r := v.w, v.r
	for w.total > r.keep {
		keep := r.keep
		if r.most > keep {
			for i := range r.spans {
				if s := &r.spans[i]; int64(w.headTime) > now-s.timespan {
					keep = max(keep, s.keep)
				}
			}
			if w.total <= keep {
				return
			}
		}
		w.lost = w.headTime
		nd := e.nodes.at(w.head)
		if over := w.total - keep; r.typ.size(nd) > over {
			nd.what -= over
			w.total -= over
			e.headGone(w, over)
			return
		}
		e.dropHead(v)
	}
}

// room makes room for an entry in a window of which only the newest are kept.
func (e *Engine) room(v view) {
	for v.w.total >= v.r.keep {
		v.w.lost = v.w.headTime
		e.dropHead(v)
	}
}

// dropHead takes out the oldest entry.
func (e *Engine) dropHead(v view) {
	n := v.r.typ.size(e.nodes.at(v.w.head))
	v.w.total -= n
	if v.r.least != 0 {
		e.headGone(v.w, n)
	}
	e.dropNode(v, v.w.head)
}

// cardOf finds the card of the record, once for all its observations.
func (e *Engine) cardOf(t *touch) uint32 {
	if t.card == 0 {
		t.card = e.cards.acquire(&t.rec.Card)
	}
	return t.card
}

// clientIn finds the client of the record, once for all its observations. It is
// none where the entity tells it.
func (e *Engine) clientIn(t *touch) uint32 {
	c := &t.rec.Card.Client
	if !c.IsValid() || e.tellsClient(t.ent, *c) {
		return 0
	}
	if t.addr == 0 {
		t.addr = e.clients.acquire(c)
	}
	return t.addr
}

// unlook gives back what cardOf and clientIn hold.
func (e *Engine) unlook(t *touch) {
	e.cards.release(t.card)
	e.clients.release(t.addr)
	t.card, t.addr = 0, 0
}

// tellsClient reports whether the entity is this one client: grouped by an
// IPv4 client.address alone.
func (e *Engine) tellsClient(ent *entity, a netip.Addr) bool {
	if !a.Is4() || ent.size != 5 || ent.inline[0] != 4 || !e.byClient[ent.kind] {
		return false
	}
	v := a.As4()
	return [4]byte(ent.inline[1:5]) == v
}

func (e *Engine) clientOf(ent *entity, nd *node) netip.Addr {
	if nd.client != 0 {
		return e.clients.entries[nd.client].value
	}
	if ent.size == 5 && ent.inline[0] == 4 && e.byClient[ent.kind] {
		return netip.AddrFrom4([4]byte(ent.inline[1:5]))
	}
	return netip.Addr{}
}

// stamp is a window time as entries keep it: from 1, so that 0 means none.
func stamp(t int64) uint32 { return uint32(min(max(t, 1), math.MaxUint32)) }

// newNode makes an entry for the observation, in no window yet.
func (e *Engine) newNode(t *touch) uint32 {
	client := e.clientIn(t)
	e.clients.retain(client)
	return e.nodeOf(t, client)
}

// nodeOf is newNode with a client of which a reference is held, 0 for none.
func (e *Engine) nodeOf(t *touch, client uint32) uint32 {
	card := e.cardOf(t)
	e.cards.retain(card)
	id := e.nodes.alloc()
	*e.nodes.at(id) = node{
		time: stamp(t.rec.Window), card: card, client: client,
		line: uint32(min(t.ref.Line, 1<<32-1)), length: t.ref.Length, source: uint16(t.ref.Source), offset: t.ref.Offset,
	}
	t.s.entries++
	return id
}

// append puts an entry behind the others of a window.
func (e *Engine) append(w *window, id uint32) {
	nd := e.nodes.at(id)
	nd.prev, nd.next = w.tail, 0
	if w.tail != 0 {
		e.nodes.at(w.tail).next = id
	} else {
		w.head, w.headTime = id, nd.time
	}
	w.tail, w.tailTime = id, nd.time
}

func (e *Engine) detach(w *window, id uint32) {
	nd := e.nodes.at(id)
	if nd.prev != 0 {
		e.nodes.at(nd.prev).next = nd.next
	} else if w.head = nd.next; w.head != 0 {
		w.headTime = e.nodes.at(w.head).time
	}
	if nd.next != 0 {
		e.nodes.at(nd.next).prev = nd.prev
	} else if w.tail = nd.prev; w.tail != 0 {
		w.tailTime = e.nodes.at(w.tail).time
	}
}

// dropNode takes an entry out of its window; the caller keeps total right.
func (e *Engine) dropNode(v view, id uint32) {
	e.detach(v.w, id)
	v.r.typ.leave(e, v, id)
	nd := e.nodes.at(id)
	e.cards.release(nd.card)
	e.clients.release(nd.client)
	e.nodes.release(id)
	v.s.entries--
}

func (e *Engine) dropWindow(s *slot, ent *entity, wid uint32) {
	w := e.window(wid)
	v := view{s: s, ent: ent, id: wid, w: w, r: &e.rules[w.rule]}
	e.disarm(w)
	for w.head != 0 {
		e.dropNode(v, w.head)
	}
	e.emptied(v)
	if wid&ownWindow != 0 {
		*w = window{}
		return
	}
	e.windows.release(wid)
}

// fire reports that a condition became true, with all that the window keeps
// within the rule's timespan.
func (e *Engine) fire(out *Findings, v view, index uint32, key observation.Key, values string, rec *observation.Record) {
	r := &e.rules[index]
	first, number := e.part(v, r.span)
	n := 0
	for id := first; id != 0; id = e.nodes.at(id).next {
		n++
	}
	items := out.items(n)
	for id := first; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		items = append(items, e.item(v, nd, r.bit))
		nd.counted |= r.bit
	}
	f := e.finding(v, index, key, values)
	f.Fired, f.Number, f.Items = true, int64(number), items
	if rec != nil {
		f.Late = rec.Late
	}
	out.List = append(out.List, f)
}

// grow reports an observation that came while the condition was true.
func (e *Engine) grow(out *Findings, v view, index uint32, t *touch, h *observation.Hit, added uint32) {
	_, number := e.part(v, e.rules[index].span)
	it := observation.Item{Time: t.rec.Window, N: h.N, Ref: t.ref, Card: t.rec.Card}
	v.r.typ.tell(e, e.nodes.at(added), &it)
	it.Aside = v.r.aside(it.Number)
	f := e.finding(v, index, t.key, t.o.Values)
	f.Late, f.Number, f.Items = t.rec.Late, int64(number), append(out.items(1), it)
	out.List = append(out.List, f)
}

// finding is what firing and growing have in common.
func (e *Engine) finding(v view, index uint32, key observation.Key, values string) observation.Finding {
	r := &e.rules[index]
	f := observation.Finding{
		Key: key, Rule: index, Kind: v.ent.kind, Hash: v.ent.hash, Values: values, Behind: v.w.fired&windowBehind != 0,
	}
	if r.Type == observation.IDWalk {
		f.Walked = e.saw(v)
	}
	if r.Type.Measures() {
		f.Value, _ = r.typ.number(e, v, key.Time)
	}
	if len(v.s.warm) > 0 {
		f.Warming = v.s.warms(v.w, r, index, key.Time)
	}
	if !r.Type.Counts() && r.Newest == 0 {
		f.Capped = v.w.lost != 0 && int64(v.w.lost) > key.Time-r.Timespan
	}
	return f
}

func (e *Engine) item(v view, nd *node, bit uint32) observation.Item {
	it := observation.Item{
		Time: int64(nd.time), N: v.r.typ.size(nd), Counted: nd.counted&bit != 0,
		Ref: observation.Ref{Source: uint32(nd.source), Offset: nd.offset, Line: int64(nd.line), Length: nd.length},
	}
	if nd.card != 0 {
		it.Card = e.cards.entries[nd.card].value
	}
	it.Card.Client = e.clientOf(v.ent, nd)
	v.r.typ.tell(e, nd, &it)
	it.Aside = v.r.aside(it.Number)
	return it
}

// addrBytes is the encoding of a client address in a state record.
func addrBytes(dst []byte, a netip.Addr) []byte {
	b := a.AsSlice()
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
