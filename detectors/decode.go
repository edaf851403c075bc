package detectors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
)

// PlanTable names the kinds and rules of a plan in a way that outlives it:
// chunks hold their numbers.
func PlanTable(p *observation.Plan) []byte {
	b := []byte{stateVersion}
	b = binary.AppendUvarint(b, uint64(len(p.Kinds)))
	for i := range p.Kinds {
		b = observation.AppendText(b, strings.Join(p.Kinds[i].Fields, "\x00"))
	}
	b = binary.AppendUvarint(b, uint64(len(p.Rules)))
	shares := Engine{}
	shares.setPlan(p)
	for i := range p.Rules {
		b = binary.LittleEndian.AppendUint64(b, p.Identity(i))
		b = binary.AppendUvarint(b, uint64(shares.rules[i].leader))
		b = binary.AppendUvarint(b, uint64(shares.rules[i].bit))
		b = binary.AppendUvarint(b, uint64(shares.kept(i)))
	}
	return b
}

// Mapping turns the numbers of an earlier plan into those of the current one.
type Mapping struct {
	kinds []int // -1 stands for what is no longer there
	// windows lists, for each leader of the earlier plan, the rules that are
	// still there of those that shared its window.
	windows map[uint64][]mappedRule
	rules   uint64 // of the earlier plan
}

// mappedRule is a rule of the current plan and the bit that it had before.
type mappedRule struct {
	rule, bit uint32
}

var errState = errors.New("state record is damaged")

// MapTable reads a PlanTable.
func (e *Engine) MapTable(table []byte) (*Mapping, error) {
	r := reader{b: table}
	if v := r.byte(); v != stateVersion && r.err == nil {
		return nil, fmt.Errorf("state version %d is not %d", v, stateVersion)
	}
	m := &Mapping{}
	for range r.count(1) {
		name := r.text()
		m.kinds = append(m.kinds, slices.IndexFunc(e.plan.Kinds, func(k observation.Kind) bool { return strings.Join(k.Fields, "\x00") == name }))
	}
	identities := map[uint64]int{}
	for i := range e.plan.Rules {
		identities[e.plan.Identity(i)] = i
	}
	m.windows = map[uint64][]mappedRule{}
	m.rules = uint64(r.count(11))
	for range m.rules {
		i, ok := identities[r.uint64()]
		leader, bit := r.uvarint(), r.uint32()
		r.uint32()
		if ok {
			m.windows[leader] = append(m.windows[leader], mappedRule{uint32(i), bit})
		}
	}
	return m, r.err
}

// PlanOf returns the number of the plan that a chunk was written under.
func PlanOf(chunk []byte) (uint64, error) {
	r := reader{b: chunk}
	if v := r.byte(); v != stateVersion && r.err == nil {
		return 0, fmt.Errorf("state version %d is not %d", v, stateVersion)
	}
	n := r.uvarint()
	return n, r.err
}

// Load takes in one chunk of a slot; the chunks of a slot come in the order
// in which they were written, before anything is applied. FinishLoad follows
// the last one. A damaged chunk is an error, and the engine is of no more use.
func (e *Engine) Load(slotNumber int, chunk []byte, m *Mapping) error {
	if slotNumber < 0 || slotNumber >= len(e.slots) || e.slots[slotNumber] == nil {
		return fmt.Errorf("slot %d is not owned here", slotNumber)
	}
	s := e.slots[slotNumber]
	r := reader{b: chunk}
	r.byte()
	r.uvarint()
	var cards []observation.Card
	for r.err == nil && len(r.b) > 0 {
		switch op := r.byte(); op {
		case opClear:
			for _, l := range [...]*list{&s.probation, &s.main} {
				for l.head != 0 {
					e.remove(s, l.head, false)
				}
			}
			s.sketch = sketch{}
		case opMeta:
			s.order = uint32(r.uvarint())
			s.swept = r.varint()
			s.survivors = int(r.uvarint())
			s.now = r.varint()
		case opSketch:
			r.sketch(&s.sketch)
		case opPut:
			cards = e.loadEntity(s, &r, m, cards)
		case opRemove, opDrop:
			hash := r.uint64()
			values := r.text()
			if id := e.findLoaded(s, hash, values); id != 0 {
				e.remove(s, id, false)
			}
			if op == opDrop {
				s.sketch.add(hash)
			}
		default:
			return fmt.Errorf("slot %d: operation %d: %w", slotNumber, op, errState)
		}
	}
	if r.err != nil {
		return fmt.Errorf("slot %d: %w", slotNumber, r.err)
	}
	return nil
}

// FinishLoad puts the queues of probation into the order of admission.
func (e *Engine) FinishLoad() {
	for _, s := range e.slots {
		if s == nil {
			continue
		}
		var ids []uint32
		for id := s.probation.head; id != 0; id = e.entities.at(id).next {
			ids = append(ids, id)
		}
		slices.SortFunc(ids, func(a, b uint32) int { return int(e.entities.at(a).order) - int(e.entities.at(b).order) })
		s.probation = list{}
		for _, id := range ids {
			e.link(&s.probation, id, placeProbation)
		}
		s.dirty, s.out.removed, s.metaDirty = s.dirty[:0], s.out.removed[:0], false
		for _, l := range [...]*list{&s.probation, &s.main} {
			for id := l.head; id != 0; id = e.entities.at(id).next {
				e.entities.at(id).mark = 0
			}
		}
	}
	e.stats = Stats{}
}

func (e *Engine) findLoaded(s *slot, hash uint64, values string) uint32 {
	if s.table.n == 0 {
		return 0
	}
	for i := s.table.first(hash); ; i = s.table.after(i) {
		id := s.table.ids[i]
		if id == 0 {
			return 0
		}
		if ent := e.entities.at(id); ent.hash == hash && e.sameValues(ent, values) {
			return id
		}
	}
}

func (e *Engine) loadEntity(s *slot, r *reader, m *Mapping, cards []observation.Card) []observation.Card {
	oldKind := r.uvarint()
	hash := r.uint64()
	values := r.text()
	place := r.byte()
	order := uint32(r.uvarint())
	touched := uint32(r.uvarint())
	windows := r.count(2)
	if r.err != nil || oldKind >= uint64(len(m.kinds)) || observation.Slot(hash) != s.number || (place != placeProbation && place != placeMain) {
		r.fail()
		return cards
	}
	if id := e.findLoaded(s, hash, values); id != 0 {
		e.remove(s, id, false)
	}
	kind := m.kinds[oldKind]
	var id uint32
	var ent *entity
	if kind >= 0 {
		id = e.enter(s, uint16(kind), hash, &values)
		ent = e.entities.at(id)
		ent.order, ent.touched = order, touched
		e.link(s.part(place), id, place)
	}
	for range windows {
		cards = e.loadWindow(s, id, ent, r, m, cards, int64(touched))
	}
	return cards
}

// loadedNode is an entry as it was read, before it is known who keeps it.
type loadedNode struct {
	node
	card   observation.Card
	client netip.Addr
	hit    observation.Hit
}

func (e *Engine) loadWindow(s *slot, id uint32, ent *entity, r *reader, m *Mapping, cards []observation.Card, touched int64) []observation.Card {
	old := r.uvarint()
	flags, fired := r.byte(), r.uint32()
	lost := int64(0)
	if flags&diskLost != 0 {
		lost = touched - r.varint()
	}
	n := r.count(8)
	if r.err != nil || old >= m.rules || flags >= diskValues<<1 {
		r.fail()
		return cards
	}
	if flags&diskBehind != 0 {
		fired |= windowBehind
	}
	nodes := make([]loadedNode, 0, n)
	t := touched
	line, offset := int64(0), int64(0)
	for range n {
		t -= r.varint()
		l := loadedNode{node: node{time: uint32(t)}}
		size := r.uvarint()
		l.hit.N = uint32(size >> 1)
		if size&1 != 0 {
			l.counted = r.uint32()
		}
		l.source = uint16(r.uvarint())
		offset += r.varint()
		line += r.varint()
		l.offset, l.line, l.length = offset, uint32(line), uint32(r.uvarint())
		cards, l.card = r.card(cards)
		l.client = r.addr()
		if flags&diskValues != 0 {
			l.hit.Hash, l.hit.Value = r.uint64(), r.text()
		}
		nodes = append(nodes, l)
	}
	if r.err != nil || ent == nil {
		return cards
	}
	// The rules that shared the window may be spread over several now.
	leaders := map[uint32][]mappedRule{}
	for _, mr := range m.windows[old] {
		l := e.rules[mr.rule].leader
		leaders[l] = append(leaders[l], mr)
	}
	for _, l := range slices.Sorted(maps.Keys(leaders)) {
		e.restore(s, id, ent, l, loadedWindow{fired, uint32(lost), nodes, leaders[l]})
	}
	return cards
}

// loadedWindow is a window as it was read, with those of its rules that now
// share one.
type loadedWindow struct {
	fired, lost uint32
	nodes       []loadedNode
	members     []mappedRule
}

// restore makes a leader's window of what was read.
func (e *Engine) restore(s *slot, id uint32, ent *entity, leader uint32, l loadedWindow) {
	bits := func(old uint32) (b uint32) {
		for _, mr := range l.members {
			if old&mr.bit != 0 {
				b |= e.rules[mr.rule].bit
			}
		}
		return b
	}
	r := &e.rules[leader]
	wid := e.windowOf(id, ent, leader)
	w := e.window(wid)
	if w.head != 0 {
		return // rules that did not count the same before now do; the first one's window goes on
	}
	v := view{s: s, ent: ent, id: wid, w: w, r: r}
	w.fired, w.lost = bits(l.fired)|l.fired&windowBehind, l.lost
	for i := range l.nodes {
		l := &l.nodes[i]
		nd := l.node
		nd.counted = bits(nd.counted)
		nd.card = e.cards.acquire(&l.card)
		if l.client.IsValid() {
			nd.client = e.clients.acquire(&l.client)
		}
		nid := e.nodes.alloc()
		*e.nodes.at(nid) = nd
		s.entries++
		r.typ.enter(e, v, nid, &l.hit)
		e.append(w, nid)
	}
	if r.expires && w.head != 0 {
		e.arm(w, r, id, ent.hash)
	}
	e.settle(v)
}

// settle fits a window to a rule whose bounds may have changed since it was
// written: the state that people were told of is kept while it is still true.
func (e *Engine) settle(v view) {
	at := int64(v.w.tailTime)
	e.trim(v, at)
	v.w.fired &= e.truth(v, at) | windowBehind
}

// Reload goes over to a new plan. Windows of rules whose identity stays the
// same are kept; other windows, and entities of kinds that are gone, end
// without a finding. It is called between a cut and the next observation.
func (e *Engine) Reload(plan *observation.Plan) error {
	for !e.EncodeSome(1 << 20) {
	}
	old := PlanTable(e.plan)
	track := e.opts.Track
	e.opts.Track = true
	e.BeginCut(0, func(int) bool { return true })
	states := e.EndCut()
	next := New(plan, e.opts)
	m, err := next.MapTable(old)
	if err != nil {
		return err
	}
	for _, s := range states {
		for _, c := range s.Chunks {
			if err := next.Load(s.Slot, c, m); err != nil {
				return err
			}
		}
	}
	stats := e.stats
	next.FinishLoad()
	next.stats, next.opts.Track = stats, track
	*e = *next
	return nil
}

// reader decodes with one error for all damage, checked at the end.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errState
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// count reads a number of things of at least size bytes each, so that damage
// cannot ask for more than the chunk could hold.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size+1) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) addr() netip.Addr {
	v := r.bytes()
	if len(v) == 0 {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		r.fail()
	}
	return a
}

func (r *reader) card(cards []observation.Card) ([]observation.Card, observation.Card) {
	n := r.uvarint()
	switch {
	case n == 0 || n > uint64(len(cards)+1):
		r.fail()
		return cards, observation.Card{}
	case n <= uint64(len(cards)):
		return cards, cards[n-1]
	}
	c := observation.Card{Principal: r.text(), Account: r.text(), Method: r.text(), Route: r.text(), Status: int32(r.varint()), Outcome: r.byte(), Bytes: -1}
	c.Sum()
	return append(cards, c), c
}

func (r *reader) sketch(s *sketch) {
	if r.byte() == 0 {
		*s = sketch{}
		return
	}
	s.adds = uint32(r.uvarint())
	s.young, s.old = make([]uint64, sketchBits/64), make([]uint64, sketchBits/64)
	for _, f := range [...][]uint64{s.young, s.old} {
		for i := range f {
			f[i] = r.uint64()
		}
	}
}
