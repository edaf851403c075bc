package detectors

import (
	"encoding/binary"
	"net/netip"

	"gatewatch/detectors/observation"
)

// window is what one rule keeps of one entity.
type window struct {
	rule       uint32
	next       uint32 // next window of the entity
	head, tail uint32 // nodes, oldest first
	total      uint32 // events or distinct values in the nodes
	// The times of head and tail, here so that an observation that neither
	// expires nor joins a node costs no look at one.
	headTime, tailTime uint32
	// fired has the bits of the rules whose condition is true and a finding
	// told so; emptiness makes one true without.
	fired uint8
	flags uint8
	// timer is when the timer of a rule that is judged at expiries goes off; 0
	// while the window is empty. A timer of another time is of a former window.
	timer uint32
}

const (
	windowBehind = 1 << iota // something in it came behind the merge
	windowValues             // on disk only: the entries carry values
)

// node is a kept entry: a time, what it is the time of, and where the text is.
type node struct {
	prev, next uint32
	time       uint32
	what       uint32 // for the window's type to say: a number of events, the index of a value
	card       uint32 // index into Engine.cards
	client     uint32 // index into Engine.clients; 0 where the entity tells it
	line       uint32
	length     uint32
	source     uint16
	counted    uint8 // bits of the rules for which a finding told of it
	offset     int64
}

// hit judges a window before and after the observation is added, by all rules
// that share it.
func (e *Engine) hit(t *touch, h *observation.Hit, out *Findings) {
	r := &e.rules[h.Rule]
	if r.leader != h.Rule {
		return // the leader's hit comes with it
	}
	v := view{s: t.s, ent: t.ent, id: e.windowOf(t.id, t.ent, h.Rule), r: r}
	w := e.window(v.id)
	v.w = w
	e.expire(v, t.rec.Window)
	var was uint8
	for _, m := range r.members {
		if e.rules[m].holds(r.typ.number(e, v)) {
			was |= e.rules[m].bit
		}
	}
	w.fired &= was
	if t.rec.Behind {
		w.flags |= windowBehind
	}
	e.look(t)
	added := r.typ.add(e, v, t, h, e.stillFired(v, float64(w.total+h.N)))
	if r.expires && w.timer == 0 {
		e.arm(w, r, t.id, t.ent.hash)
	}
	number := r.typ.number(e, v)
	for _, m := range r.members {
		member := &e.rules[m]
		switch {
		case !member.holds(number):
			w.fired &^= member.bit
		case w.fired&member.bit != 0:
			e.nodes.at(added).counted |= member.bit
			e.grow(out, v, m, t, h)
		case was&member.bit == 0 || !member.empty:
			// Also where a reload lowered the bound below what the window already holds.
			w.fired |= member.bit
			e.fire(out, v, m, t.key, t.o.Values, t.rec)
		}
	}
	e.trim(v)
}

// stillFired returns the bits of the fired rules that hold of n.
func (e *Engine) stillFired(v view, n float64) (bits uint8) {
	if v.w.fired == 0 {
		return 0
	}
	for _, m := range v.r.members {
		if member := &e.rules[m]; v.w.fired&member.bit != 0 && member.holds(n) {
			bits |= member.bit
		}
	}
	return bits
}

// ownWindow marks the number of a window that is inside its entity.
const ownWindow = 1 << 31

// window returns a window by its number.
func (e *Engine) window(id uint32) *window {
	if id&ownWindow != 0 {
		return &e.entities.at(id &^ ownWindow).own
	}
	return e.windows.at(id)
}

// windowOf returns the entity's window for a rule and makes it if need be.
func (e *Engine) windowOf(id uint32, ent *entity, rule uint32) uint32 {
	for wid := ent.windows; wid != 0; wid = e.window(wid).next {
		if e.window(wid).rule == rule {
			return wid
		}
	}
	if ent.windows == 0 {
		ent.windows = id | ownWindow
		ent.own = window{rule: rule}
		return ent.windows
	}
	wid := e.windows.alloc()
	w := e.windows.at(wid)
	w.rule, w.next = rule, ent.own.next
	ent.own.next = wid
	return wid
}

// expire removes what is no longer in (now - timespan, now].
func (e *Engine) expire(v view, now int64) {
	w := v.w
	for w.head != 0 && int64(w.headTime) <= now-v.r.Timespan {
		e.dropHead(v)
	}
	if w.head == 0 {
		w.flags &^= windowBehind
	}
}

// trim keeps the newest times or values that the rule needs.
func (e *Engine) trim(v view) {
	w := v.w
	for w.total > v.r.keep {
		nd := e.nodes.at(w.head)
		if over := w.total - v.r.keep; v.r.typ.size(nd) > over {
			nd.what -= over
			w.total = v.r.keep
			return
		}
		e.dropHead(v)
	}
}

// dropHead takes out the oldest entry.
func (e *Engine) dropHead(v view) {
	v.w.total -= v.r.typ.size(e.nodes.at(v.w.head))
	e.dropNode(v, v.w.head)
}

// look finds the card of the observation, once for all its hits. The client is left
// out where the entity holds it.
func (e *Engine) look(t *touch) {
	if t.held {
		return
	}
	t.held = true
	c := &t.rec.Card
	t.card, t.client = e.cards.acquire(c), 0
	if c.Client.IsValid() && !e.tellsClient(t.ent, c.Client) {
		t.client = e.clients.acquire(&c.Client)
	}
}

// unlook gives back what look holds.
func (e *Engine) unlook(t *touch) {
	if t.held {
		e.cards.release(t.card)
		e.clients.release(t.client)
	}
}

// tellsClient reports whether the entity is this one client: grouped by an
// IPv4 client.address alone.
func (e *Engine) tellsClient(ent *entity, a netip.Addr) bool {
	if !a.Is4() || ent.size != 5 || ent.inline[0] != 4 || !e.clientKind(ent.kind) {
		return false
	}
	v := a.As4()
	return [4]byte(ent.inline[1:5]) == v
}

func (e *Engine) clientKind(kind uint16) bool {
	f := e.plan.Kinds[kind].Fields
	return len(f) == 1 && f[0] == "client.address"
}

func (e *Engine) clientOf(ent *entity, nd *node) netip.Addr {
	if nd.client != 0 {
		return e.clients.entries[nd.client].value
	}
	if ent.size == 5 && ent.inline[0] == 4 && e.clientKind(ent.kind) {
		return netip.AddrFrom4([4]byte(ent.inline[1:5]))
	}
	return netip.Addr{}
}

// newNode makes an entry for the observation, in no window yet.
func (e *Engine) newNode(t *touch) uint32 {
	e.cards.retain(t.card)
	e.clients.retain(t.client)
	id := e.nodes.alloc()
	*e.nodes.at(id) = node{
		time: uint32(t.rec.Window), card: t.card, client: t.client,
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
	for w.head != 0 {
		e.dropNode(v, w.head)
	}
	if wid&ownWindow != 0 {
		*w = window{}
		return
	}
	e.windows.release(wid)
}

// fire reports that a condition became true, with all that the window keeps.
func (e *Engine) fire(out *Findings, v view, index uint32, key observation.Key, values string, rec *observation.Record) {
	w, bit := v.w, e.rules[index].bit
	n := 0
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		n++
	}
	items := out.items(n)
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		items = append(items, e.item(v, nd, bit))
		nd.counted |= bit
	}
	f := observation.Finding{
		Key: key, Rule: index, Kind: v.ent.kind, Hash: v.ent.hash, Values: values,
		Fired: true, Behind: w.flags&windowBehind != 0, Number: int64(w.total), Items: items,
	}
	if rec != nil {
		f.Late = rec.Late
	}
	out.List = append(out.List, f)
}

// grow reports an observation that came while the condition was true.
func (e *Engine) grow(out *Findings, v view, index uint32, t *touch, h *observation.Hit) {
	it := observation.Item{Time: t.rec.Window, N: h.N, Ref: t.ref, Card: t.rec.Card, Value: h.Value}
	out.List = append(out.List, observation.Finding{
		Key: t.key, Rule: index, Kind: v.ent.kind, Hash: v.ent.hash, Values: t.o.Values,
		Late: t.rec.Late, Behind: v.w.flags&windowBehind != 0, Number: int64(v.w.total), Items: append(out.items(1), it),
	})
}

func (e *Engine) item(v view, nd *node, bit uint8) observation.Item {
	it := observation.Item{
		Time: int64(nd.time), N: v.r.typ.size(nd), Counted: nd.counted&bit != 0,
		Ref: observation.Ref{Source: uint32(nd.source), Offset: nd.offset, Line: int64(nd.line), Length: nd.length},
	}
	if nd.card != 0 {
		it.Card = e.cards.entries[nd.card].value
	}
	it.Card.Client = e.clientOf(v.ent, nd)
	if v.r.values {
		it.Value = e.values.entries[nd.what].value.text
	}
	return it
}

// addrBytes is the encoding of a client address in a state record.
func addrBytes(dst []byte, a netip.Addr) []byte {
	b := a.AsSlice()
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
