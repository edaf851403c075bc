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

// node is a kept time or value.
type node struct {
	prev, next uint32
	time       uint32
	n          uint32
	card       uint32 // index into Engine.cards
	client     uint32 // index into Engine.clients; 0 where the entity tells it
	value      uint32 // index into Engine.values
	line       uint32
	length     uint32
	source     uint16
	counted    uint8 // bits of the rules for which a finding told of it
	offset     int64
}

// valueKey finds the node of a value in a window that keeps many.
type valueKey struct{ window, value uint32 }

// hit judges a window before and after the observation is added, by all rules
// that share it.
func (e *Engine) hit(s *slot, id uint32, ent *entity, c *cause, o *observation.Observation, h *observation.Hit, out *Findings) {
	r := &e.rules[h.Rule]
	if r.leader != h.Rule {
		return // the leader's hit comes with it
	}
	wid := e.windowOf(id, ent, h.Rule)
	w := e.window(wid)
	now := c.rec.Window
	e.expire(s, wid, w, r, now)
	var was uint8
	for _, m := range r.members {
		if e.rules[m].holds(w.total) {
			was |= e.rules[m].bit
		}
	}
	w.fired &= was
	if c.rec.Behind {
		w.flags |= windowBehind
	}

	var added uint32
	if r.Type == observation.ValueCount {
		added = e.addValue(s, wid, w, r, ent, c, h)
	} else {
		added = e.addEvent(s, w, ent, c, h, e.stillFired(w, r, w.total+h.N))
	}
	if r.expires && w.timer == 0 {
		e.arm(w, r, id, ent.hash)
	}
	for _, m := range r.members {
		member := &e.rules[m]
		switch {
		case !member.holds(w.total):
			w.fired &^= member.bit
		case w.fired&member.bit != 0:
			e.nodes.at(added).counted |= member.bit
			e.grow(out, ent, m, h, w, c, o.Values)
		case was&member.bit == 0 || !member.empty:
			// Also where a reload lowered the bound below what the window already holds.
			w.fired |= member.bit
			e.fire(out, ent, m, member, w, c.key, o.Values, c.rec)
		}
	}
	e.trim(s, wid, w, r)
}

// stillFired returns the bits of the fired rules that hold of n.
func (e *Engine) stillFired(w *window, r *rule, n uint32) (bits uint8) {
	if w.fired == 0 {
		return 0
	}
	for _, m := range r.members {
		if member := &e.rules[m]; w.fired&member.bit != 0 && member.holds(n) {
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
func (e *Engine) expire(s *slot, wid uint32, w *window, r *rule, now int64) {
	for w.head != 0 && int64(w.headTime) <= now-r.Timespan {
		w.total -= e.nodes.at(w.head).n
		e.dropNode(s, wid, w, w.head)
	}
	if w.head == 0 {
		w.flags &^= windowBehind
	}
}

// trim keeps the newest times or values that the rule needs.
func (e *Engine) trim(s *slot, wid uint32, w *window, r *rule) {
	for w.total > r.keep {
		nd := e.nodes.at(w.head)
		if over := w.total - r.keep; nd.n > over {
			nd.n -= over
			w.total = r.keep
			return
		}
		w.total -= nd.n
		e.dropNode(s, wid, w, w.head)
	}
}

// addEvent adds an event, to the newest entry where that is of the same
// second and card and counted alike.
func (e *Engine) addEvent(s *slot, w *window, ent *entity, c *cause, h *observation.Hit, counted uint8) uint32 {
	w.total += h.N
	card, client := e.cardOf(ent, &c.rec.Card)
	if t := w.tail; t != 0 && int64(w.tailTime) == c.rec.Window {
		nd := e.nodes.at(t)
		if nd.card == card && nd.client == client && nd.counted == counted {
			nd.n += h.N
			e.cards.release(card)
			e.clients.release(client)
			return t
		}
	}
	id := e.newNode(s, c, card, client)
	e.nodes.at(id).n = h.N
	e.append(w, id)
	return id
}

// addValue adds a value, or renews it as the newest.
func (e *Engine) addValue(s *slot, wid uint32, w *window, r *rule, ent *entity, c *cause, h *observation.Hit) uint32 {
	e.value = counted{h.Hash, h.Value}
	value := e.values.acquire(&e.value)
	if id := e.nodeOf(wid, w, r, value); id != 0 {
		e.detach(w, id)
		e.freeNode(s, wid, id)
		w.total--
	}
	card, client := e.cardOf(ent, &c.rec.Card)
	id := e.newNode(s, c, card, client)
	nd := e.nodes.at(id)
	nd.n, nd.value = 1, value
	e.append(w, id)
	w.total++
	if r.byValue {
		e.byValue[valueKey{wid, value}] = id
	}
	return id
}

func (e *Engine) nodeOf(wid uint32, w *window, r *rule, value uint32) uint32 {
	if r.byValue {
		return e.byValue[valueKey{wid, value}]
	}
	for id := w.tail; id != 0; id = e.nodes.at(id).prev {
		if e.nodes.at(id).value == value {
			return id
		}
	}
	return 0
}

// cardOf stores a card. The client is left out where the entity holds it.
func (e *Engine) cardOf(ent *entity, c *observation.Card) (card, client uint32) {
	card = e.cards.acquire(c)
	if c.Client.IsValid() && !e.tellsClient(ent, c.Client) {
		client = e.clients.acquire(&c.Client)
	}
	return card, client
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

func (e *Engine) newNode(s *slot, c *cause, card, client uint32) uint32 {
	id := e.nodes.alloc()
	*e.nodes.at(id) = node{
		time: uint32(c.rec.Window), card: card, client: client,
		line: uint32(min(c.ref.Line, 1<<32-1)), length: c.ref.Length, source: uint16(c.ref.Source), offset: c.ref.Offset,
	}
	s.entries++
	return id
}

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

// dropNode takes the node out of its window; the caller keeps total right.
func (e *Engine) dropNode(s *slot, wid uint32, w *window, id uint32) {
	e.detach(w, id)
	e.freeNode(s, wid, id)
}

func (e *Engine) freeNode(s *slot, wid, id uint32) {
	nd := e.nodes.at(id)
	e.cards.release(nd.card)
	e.clients.release(nd.client)
	if nd.value != 0 {
		if len(e.byValue) > 0 {
			delete(e.byValue, valueKey{wid, nd.value})
		}
		e.values.release(nd.value)
	}
	e.nodes.release(id)
	s.entries--
}

func (e *Engine) dropWindow(s *slot, wid uint32) {
	w := e.window(wid)
	for w.head != 0 {
		e.dropNode(s, wid, w, w.head)
	}
	if wid&ownWindow != 0 {
		*w = window{}
		return
	}
	e.windows.release(wid)
}

// fire reports that a condition became true, with all that the window keeps.
func (e *Engine) fire(out *Findings, ent *entity, index uint32, r *rule, w *window, key observation.Key, values string, rec *observation.Record) {
	n := 0
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		n++
	}
	items := out.items(n)
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		items = append(items, e.item(ent, nd, r.bit))
		nd.counted |= r.bit
	}
	f := observation.Finding{
		Key: key, Rule: index, Kind: ent.kind, Hash: ent.hash, Values: values,
		Fired: true, Behind: w.flags&windowBehind != 0, Number: int64(w.total), Items: items,
	}
	if rec != nil {
		f.Late = rec.Late
	}
	out.List = append(out.List, f)
}

// grow reports an observation that came while the condition was true.
func (e *Engine) grow(out *Findings, ent *entity, index uint32, h *observation.Hit, w *window, c *cause, values string) {
	it := observation.Item{Time: c.rec.Window, N: h.N, Ref: c.ref, Card: c.rec.Card, Value: h.Value}
	out.List = append(out.List, observation.Finding{
		Key: c.key, Rule: index, Kind: ent.kind, Hash: ent.hash, Values: values,
		Late: c.rec.Late, Behind: w.flags&windowBehind != 0, Number: int64(w.total), Items: append(out.items(1), it),
	})
}

func (e *Engine) item(ent *entity, nd *node, bit uint8) observation.Item {
	it := observation.Item{
		Time: int64(nd.time), N: nd.n, Counted: nd.counted&bit != 0,
		Ref: observation.Ref{Source: uint32(nd.source), Offset: nd.offset, Line: int64(nd.line), Length: nd.length},
	}
	if nd.card != 0 {
		it.Card = e.cards.entries[nd.card].value
	}
	it.Card.Client = e.clientOf(ent, nd)
	if nd.value != 0 {
		it.Value = e.values.entries[nd.value].value.text
	}
	return it
}

// addrBytes is the encoding of a client address in a state record.
func addrBytes(dst []byte, a netip.Addr) []byte {
	b := a.AsSlice()
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
