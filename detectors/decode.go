package detectors

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	rules   []int    // by rule of the earlier plan: that of the current one, or -1
	raised  []uint32 // rules that now need more entries than their windows kept
}

// mappedRule is a rule of the current plan and the bit that it had before.
type mappedRule struct {
	rule, bit uint32
}

var errState = errors.New("state record is damaged")

// MapTable reads a PlanTable.
func (e *Engine) MapTable(table []byte) (*Mapping, error) {
	r := reader{b: table}
	r.begin()
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
	for range r.count(11) {
		i, ok := identities[r.uint64()]
		leader, bit, kept := r.uvarint(), r.uint32(), r.uint32()
		if !ok {
			m.rules = append(m.rules, -1)
			continue
		}
		m.rules = append(m.rules, i)
		m.windows[leader] = append(m.windows[leader], mappedRule{uint32(i), bit})
		if now := &e.rules[i]; now.Type.Counts() && now.own > kept {
			m.raised = append(m.raised, uint32(i))
		}
	}
	return m, r.err
}

// PlanOf returns the number of the plan that a chunk was written under.
func PlanOf(chunk []byte) (uint64, error) {
	r := reader{b: chunk}
	r.begin()
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
	r.begin()
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
			r.warming(s, m)
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
	for _, rule := range m.raised {
		s.raise(rule)
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
		id := s.table.at[i].id
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
	marked := uint32(0)
	if place&diskMarked != 0 {
		place &^= diskMarked
		ago := uint32(r.uvarint())
		if ago >= touched {
			r.fail()
		}
		marked = touched - ago
	}
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
		ent.order, ent.touched, ent.marked = order, touched, marked
		e.link(s.part(place), id, place)
	}
	var found []loadedWindow
	for range windows {
		cards, found = e.loadWindow(r, m, cards, found, int64(touched))
	}
	if r.err == nil && ent != nil && !e.restoreAll(s, id, ent, found) {
		r.fail()
	}
	return cards
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
	b       []byte
	err     error
	version byte
}

// begin reads the version with which every record begins.
func (r *reader) begin() {
	if r.version = r.byte(); r.version != stateVersion && r.version != withoutBefore && r.err == nil {
		r.err = fmt.Errorf("state version %d is not %d", r.version, stateVersion)
		r.b = nil
	}
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
	c := observation.Card{Principal: r.text(), Account: r.text(), Method: r.text(), Route: r.text(), Bytes: -1}
	if r.version > withoutBefore {
		c.Before = r.text()
	}
	c.Status, c.Outcome = int32(r.varint()), r.byte()
	c.Sum()
	return append(cards, c), c
}

// before reads a time as what lies between it and a later one.
func (r *reader) before(base int64) uint32 {
	t := base - r.varint()
	if t < 1 || t > base {
		r.fail()
		return 0
	}
	return uint32(t)
}

// stages reads what putStages wrote.
func (r *reader) stages(base int64) (out [][stageSteps][2]uint32) {
	for range r.count(2 * stageSteps) {
		var st [stageSteps][2]uint32
		for i := range st {
			for j := range st[i] {
				if d := int64(r.uint32()); d > 0 {
					if d > base {
						r.fail()
					}
					st[i][j] = uint32(base - d + 1)
				}
			}
		}
		out = append(out, st)
	}
	return out
}

// warming reads which rules have windows that may lack entries.
func (r *reader) warming(s *slot, m *Mapping) {
	s.warm = s.warm[:0]
	for range r.count(2) {
		rule, since := r.uvarint(), r.varint()
		if rule >= uint64(len(m.rules)) {
			r.fail()
			return
		}
		if now := m.rules[rule]; now >= 0 {
			s.warm = append(s.warm, raise{uint32(now), since})
		}
	}
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
