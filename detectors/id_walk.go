package detectors

import "gatewatch/detectors/observation"

// idWalk counts different ids like valueCount, and knows of those that its
// window holds how they follow each other and how they were answered.
// window.side is the number of its steps in Engine.walks.
//
// It is judged when an id comes. Once it is true it stays so for as long as
// there are enough ids, however they are answered then: a share that wavers
// around its bound makes one finding, not one a request.
type idWalk struct{}

// walked is what a window knows of its ids beside their number, kept up to
// date as they come and go.
type walked struct {
	up, down uint32    // ids that are above, below the one before, by the step at most
	answers  [4]uint32 // by observation.Answer
}

func (idWalk) takes(*rule, *observation.Hit) bool { return true }

func (s idWalk) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.value = counted{hash: idKey(h)}
	value := e.values.acquire(&e.value)
	if id := (valueCount{}).find(e, v, value); id != 0 {
		v.w.total--
		e.dropNode(v, id)
	} else {
		e.room(v)
	}
	id := e.newNode(t)
	valueCount{}.set(e, v, id, value)
	s.count(e, v, id, 1)
	s.pair(e, v, v.w.tail, id, 1)
	e.append(v.w, id)
	if s.begin(e, v); v.w.head == 0 {
		return 0
	}
	return id
}

// begins reports whether a window that holds nothing begins with the hit.
func (idWalk) begins(k *observation.Walk, h *observation.Hit, status int32) bool {
	if k.Leads() {
		n, number := observation.IDNumber(h.Value)
		return number && observation.MayLead(n)
	}
	return k.Begins(observation.AnswerOf(status))
}

// enters reports whether the hit enters the window of its entity: one that holds ids, or
// one that begins with it.
func (s idWalk) enters(e *Engine, t *touch, r *rule, h *observation.Hit) bool {
	if s.begins(r.Walk, h, t.rec.Card.Status) {
		return true
	}
	wid := e.findWindow(t.id, t.ent, h.Rule)
	if wid == 0 {
		return false
	}
	v := view{s: t.s, ent: t.ent, id: wid, w: e.window(wid), r: r}
	e.expire(v, t.rec.Window)
	return v.w.head != 0
}

// begin lets go the first entries with which no window begins.
func (s idWalk) begin(e *Engine, v view) {
	for id := v.w.head; id != 0; id = v.w.head {
		if s.bears(e, v.r.Walk, e.nodes.at(id)) {
			return
		}
		e.dropHead(v)
	}
	e.emptied(v)
}

// bears reports whether a window may begin with an entry, given the one behind it.
func (idWalk) bears(e *Engine, k *observation.Walk, nd *node) bool {
	if !k.Leads() {
		return k.Begins(observation.AnswerOf(e.cards.entries[nd.card].value.Status))
	}
	x, number := e.idOf(nd)
	if nd.next == 0 || !number {
		return number && observation.MayLead(x)
	}
	y, both := e.idOf(e.nodes.at(nd.next))
	up, down := k.Follow(x, y)
	return both && k.Order.Of(up, down) > 0
}

func (s idWalk) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	valueCount{}.enter(e, v, id, h)
	s.count(e, v, id, 1)
	s.pair(e, v, v.w.tail, id, 1)
}

// leave comes when the entry's neighbours no longer know it, and it still knows them.
func (s idWalk) leave(e *Engine, v view, id uint32) {
	nd := e.nodes.at(id)
	s.pair(e, v, nd.prev, id, ^uint32(0))
	s.pair(e, v, id, nd.next, ^uint32(0))
	s.pair(e, v, nd.prev, nd.next, 1)
	s.count(e, v, id, ^uint32(0))
	valueCount{}.leave(e, v, id)
}

func (idWalk) clear(e *Engine, v view) {
	e.walks.release(v.w.side)
	v.w.side = 0
}

// walked returns what the window knows of its ids.
func (e *Engine) walked(w *window) *walked {
	if w.side == 0 {
		w.side = e.walks.alloc()
	}
	return e.walks.at(w.side)
}

// count adds n to the ids that were answered like that of an entry.
func (idWalk) count(e *Engine, v view, id, n uint32) {
	status := e.cards.entries[e.nodes.at(id).card].value.Status
	e.walked(v.w).answers[observation.AnswerOf(status)] += n
}

// pair adds n to the ids that follow the one before, if b does so after a.
func (idWalk) pair(e *Engine, v view, a, b, n uint32) {
	if a == 0 || b == 0 || !v.r.Walk.Follows() {
		return
	}
	x, ok := e.idOf(e.nodes.at(a))
	y, both := e.idOf(e.nodes.at(b))
	if !ok || !both {
		return
	}
	w := e.walked(v.w)
	up, down := v.r.Walk.Follow(x, y)
	w.up += up * n
	w.down += down * n
}

// idKey is what a window keeps of an id: the number that it is, or the hash of
// a text, with the lowest bit to tell which. To keep every text that is asked for would
// cost an allocation each.
func idKey(h *observation.Hit) uint64 {
	if n, ok := observation.IDNumber(h.Value); ok {
		return n<<1 | 1
	}
	return h.Hash &^ 1
}

// idOf returns the id of an entry, if it is a number.
func (e *Engine) idOf(nd *node) (uint64, bool) {
	key := e.values.entries[nd.what].value.hash
	return key >> 1, key&1 != 0
}

// number is how many ids there are, 0 where they do not look like the walk.
func (s idWalk) number(e *Engine, v view, _ int64) (float64, bool) {
	n := v.w.total
	if n == 0 || v.w.fired&^windowBehind == 0 && !s.looks(v.r.Walk, e.walked(v.w), n) {
		return 0, true
	}
	return float64(n), true
}

// looks reports whether n ids follow each other and were answered as a walk asks for.
func (idWalk) looks(k *observation.Walk, w *walked, n uint32) bool {
	least := func(got uint32, share float64) bool { return float64(got) >= share*float64(n) }
	a := &w.answers
	if !least(a[observation.Served], k.Served) || !least(a[observation.Denied], k.Denied) || !least(a[observation.Missing], k.Missing) ||
		!least(a[observation.Denied]+a[observation.Missing], k.Refused) {
		return false
	}
	if !k.Follows() {
		return true
	}
	// The first id follows none.
	return float64(k.Order.Of(w.up, w.down)) >= k.Share*float64(n-1)
}

// saw is what a finding tells of the ids beside the entries.
func (e *Engine) saw(v view) observation.Walked {
	w := e.walked(v.w)
	a := &w.answers
	return observation.Walked{
		IDs: int64(v.w.total), Up: int64(w.up), Down: int64(w.down), Follows: v.r.Walk.Follows(),
		Served: int64(a[observation.Served]), Denied: int64(a[observation.Denied]), Missing: int64(a[observation.Missing]),
	}
}

func (idWalk) about(_ *Engine, _ view, n uint32) float64 { return float64(n) }

func (idWalk) size(*node) uint32 { return 1 }

func (idWalk) tell(*Engine, *node, *observation.Item) {}

func (idWalk) shape() shape { return shapeValues }
