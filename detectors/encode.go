package detectors

import (
	"encoding/binary"

	"gatewatch/detectors/observation"
)

// State goes out as chunks: runs of operations on one slot. Read in order,
// the chunks of a slot give its state; a chunk that begins with opClear makes
// those before it unneeded.
//
//	chunk  := version plan op*
//	plan   := uvarint, the number under which the pipeline keeps PlanTable
//	op     := opClear | opMeta order swept survivors now warming | opSketch adds young old
//	        | opPut entity | opRemove hash values | opDrop hash values
//	entity := kind hash values place order touched [marked] window*
//
// Cards are written once a chunk and referred to by number after that.
const (
	stateVersion  = 3
	withoutBefore = 2 // cards had no Before; it is read all the same
)

const (
	opClear = iota + 1
	opMeta
	opSketch
	opPut
	opRemove
	opDrop // removed from probation: the sketch remembers
)

// ChunkBytes is about how long a chunk gets before the next one begins.
const ChunkBytes = 64 << 10

// SlotState is what BeginCut and EncodeSome made of one slot.
type SlotState struct {
	Slot   int
	Base   bool // replaces all earlier chunks of the slot
	Chunks [][]byte
}

// slotOut collects the chunks of the cut that is being encoded, and the
// removals that belong to the next one.
type slotOut struct {
	base bool
	// A slot that is written whole is gone through by place in its table:
	// places before cursor are done. Entities that are done have the mark
	// whole; it is another one at the next time, so nothing has to be unmarked.
	whole   uint8 // 0 while the slot is not being written whole
	turn    uint8
	cursor  int
	chunks  [][]byte
	buf     []byte
	stamp   uint32 // of the chunk being written
	cards   uint32 // numbers given in it
	removed []byte
}

type encoder struct {
	plan   uint64
	stamps uint32
	slot   int // next slot to encode
	dirty  int // places in its pending list done
}

// change is called before an entity is modified. An entity that still has to
// be encoded for the cut under way is encoded now, as it was at the cut.
func (e *Engine) change(s *slot, id uint32, ent *entity) {
	if !e.opts.Track || ent.mark == e.epoch {
		return
	}
	if e.unwritten(s, ent) {
		e.put(s, ent)
	}
	ent.mark = e.epoch
	s.dirty = append(s.dirty, id)
}

// unwritten reports whether an entity still has to be encoded for the cut
// under way.
func (e *Engine) unwritten(s *slot, ent *entity) bool {
	switch {
	case !e.cutting || ent.mark == e.epoch:
		return false
	case s.out.whole != 0:
		return ent.mark != s.out.whole
	default:
		return ent.mark == 3-e.epoch
	}
}

func (e *Engine) noteRemoval(s *slot, ent *entity, dropped bool) {
	if !e.opts.Track {
		return
	}
	e.finishWhole(s) // the table is about to move
	if e.unwritten(s, ent) {
		e.put(s, ent)
	}
	ent.mark = 0
	op := byte(opRemove)
	if dropped {
		op = opDrop
	}
	b := append(s.out.removed, op)
	b = binary.LittleEndian.AppendUint64(b, ent.hash)
	s.out.removed = e.appendValues(b, ent)
	s.metaDirty = true
}

func (e *Engine) appendValues(b []byte, ent *entity) []byte {
	if ent.size == longValues {
		return observation.AppendText(b, e.values.entries[ent.long()].value.text)
	}
	b = append(b, ent.size)
	return append(b, ent.inline[:ent.size]...)
}

// BeginCut starts a cut: the state as of now is what EncodeSome and EndCut
// give, however much is applied in between. It does work for the slots only,
// not for their entities. plan is the number that the pipeline keeps
// PlanTable under; base says which slots are to be written whole.
func (e *Engine) BeginCut(plan uint64, base func(slot int) bool) {
	e.epoch = 3 - e.epoch
	e.cutting = true
	e.enc = encoder{plan: plan, stamps: e.enc.stamps}
	for _, s := range e.slots {
		if s == nil {
			continue
		}
		s.pending, s.dirty = s.dirty, s.pending[:0]
		s.out.chunks, s.out.buf = nil, nil
		s.out.base = base != nil && base(s.number)
		switch {
		case s.out.base:
			s.pending = s.pending[:0]
			s.out.turn = 1 - s.out.turn
			s.out.whole, s.out.cursor = markWhole+s.out.turn, 0
			e.open(s)
			s.out.buf = append(s.out.buf, opClear)
			e.putMeta(s)
			s.out.buf = s.sketch.append(append(s.out.buf, opSketch))
		case s.metaDirty || len(s.out.removed) > 0 || len(s.pending) > 0:
			e.open(s)
			s.out.buf = append(s.out.buf, s.out.removed...)
			e.putMeta(s)
		}
		s.out.removed = s.out.removed[:0]
		s.metaDirty = false
	}
}

func (e *Engine) open(s *slot) {
	e.enc.stamps++
	s.out.stamp, s.out.cards = e.enc.stamps, 0
	s.out.buf = binary.AppendUvarint(append(make([]byte, 0, 512), stateVersion), e.enc.plan)
}

func (e *Engine) putMeta(s *slot) {
	b := append(s.out.buf, opMeta)
	b = binary.AppendUvarint(b, uint64(s.order))
	b = binary.AppendVarint(b, s.swept)
	b = binary.AppendUvarint(b, uint64(s.survivors))
	b = binary.AppendVarint(b, s.now)
	s.cool(e.rules)
	b = binary.AppendUvarint(b, uint64(len(s.warm)))
	for _, x := range s.warm {
		b = binary.AppendUvarint(b, uint64(x.rule))
		b = binary.AppendVarint(b, x.since)
	}
	s.out.buf = b
}

// EncodeSome encodes up to n entities of the cut under way and reports
// whether that was the last of them. Without a cut it returns true.
func (e *Engine) EncodeSome(n int) bool {
	if !e.cutting {
		return true
	}
	for ; e.enc.slot < len(e.slots); e.enc.slot, e.enc.dirty = e.enc.slot+1, 0 {
		s := e.slots[e.enc.slot]
		if s == nil {
			continue
		}
		if s.out.whole != 0 {
			if n = e.encodeWhole(s, n); n == 0 {
				return false
			}
			continue
		}
		for ; e.enc.dirty < len(s.pending); e.enc.dirty++ {
			if n == 0 {
				return false
			}
			n--
			ent := e.entities.at(s.pending[e.enc.dirty])
			// The place may have been given to an entity of another slot since.
			if ent.place == placeNone || observation.Slot(ent.hash) != s.number || !e.unwritten(s, ent) {
				continue
			}
			e.put(s, ent)
			ent.mark = 0
		}
	}
	return true
}

// markWhole is the first of the two marks of entities of a slot that is
// written whole; 0 is clean, 1 and 2 are the epochs.
const markWhole = 3

// encodeWhole encodes up to n entities of a slot that is written whole and
// returns how many more could have been.
func (e *Engine) encodeWhole(s *slot, n int) int {
	for ; s.out.cursor < len(s.table.at); s.out.cursor++ {
		if n == 0 {
			return 0
		}
		id := s.table.at[s.out.cursor].id
		if id == 0 {
			continue
		}
		n--
		if ent := e.entities.at(id); e.unwritten(s, ent) {
			e.put(s, ent)
			ent.mark = s.out.whole
		}
	}
	return n
}

// finishWhole goes through what is left of a slot that is written whole,
// before its table changes its order.
func (e *Engine) finishWhole(s *slot) {
	if e.cutting && s.out.whole != 0 {
		for e.encodeWhole(s, 1<<20) == 0 {
		}
	}
}

// EndCut encodes what is left and returns the slots that changed since the
// cut before.
func (e *Engine) EndCut() []SlotState {
	for !e.EncodeSome(1 << 20) {
	}
	e.cutting = false
	var out []SlotState
	for _, s := range e.slots {
		if s != nil {
			s.out.whole = 0
		}
		if s == nil || (s.out.buf == nil && len(s.out.chunks) == 0) {
			continue
		}
		if s.out.buf != nil {
			s.out.chunks = append(s.out.chunks, s.out.buf)
		}
		out = append(out, SlotState{Slot: s.number, Base: s.out.base, Chunks: s.out.chunks})
		s.out.chunks, s.out.buf = nil, nil
		s.pending = s.pending[:0]
	}
	return out
}

// put appends an entity to its slot's chunk.
func (e *Engine) put(s *slot, ent *entity) {
	if len(s.out.buf) >= ChunkBytes {
		s.out.chunks = append(s.out.chunks, s.out.buf)
		e.open(s)
	}
	b := append(s.out.buf, opPut)
	b = binary.AppendUvarint(b, uint64(ent.kind))
	b = binary.LittleEndian.AppendUint64(b, ent.hash)
	b = e.appendValues(b, ent)
	place := ent.place
	if ent.marked != 0 {
		place |= diskMarked
	}
	b = append(b, place)
	b = binary.AppendUvarint(b, uint64(ent.order))
	b = binary.AppendUvarint(b, uint64(ent.touched))
	if ent.marked != 0 {
		b = binary.AppendUvarint(b, uint64(ent.touched-ent.marked))
	}
	n := 0
	for id := ent.windows; id != 0; id = e.window(id).next {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	for id := ent.windows; id != 0; id = e.window(id).next {
		b = e.putWindow(b, s, e.window(id), int64(ent.touched))
	}
	s.out.buf = b
}

// diskMarked, beside the place of an entity, says that the time of its mark follows.
const diskMarked = 0x80

// Flags of a window on disk.
const (
	diskBehind = 1 << iota // window.fired has windowBehind
	diskLost               // window.lost follows
	diskShape  = iota      // bits from here on are the shape of the entries
)

func (e *Engine) putWindow(b []byte, s *slot, w *window, base int64) []byte {
	r := &e.rules[w.rule]
	flags := byte(0)
	if w.fired&windowBehind != 0 {
		flags |= diskBehind
	}
	if w.lost != 0 {
		flags |= diskLost
	}
	sh := r.typ.shape()
	flags |= byte(sh) << diskShape
	b = binary.AppendUvarint(b, uint64(w.rule))
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(w.fired&^windowBehind))
	if w.lost != 0 {
		b = binary.AppendVarint(b, base-int64(w.lost))
	}
	n := 0
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	line, offset := int64(0), int64(0)
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		b = binary.AppendVarint(b, base-int64(nd.time))
		base = int64(nd.time)
		if nd.counted == 0 {
			b = binary.AppendUvarint(b, uint64(r.typ.size(nd))<<1)
		} else {
			b = binary.AppendUvarint(b, uint64(r.typ.size(nd))<<1|1)
			b = binary.AppendUvarint(b, uint64(nd.counted))
		}
		b = binary.AppendUvarint(b, uint64(nd.source))
		b = binary.AppendVarint(b, nd.offset-offset)
		b = binary.AppendVarint(b, int64(nd.line)-line)
		line, offset = int64(nd.line), nd.offset
		b = binary.AppendUvarint(b, uint64(nd.length))
		b = e.putCard(b, s, nd.card)
		switch {
		case sh == shapeMembers:
			b = addrBytes(b, e.senders.at(nd.what).client.addr())
		case nd.client == 0:
			b = append(b, 0)
		default:
			b = addrBytes(b, e.clients.entries[nd.client].value)
		}
		b = putShape(b, sh, e, r, nd)
	}
	switch sh {
	case shapeSteps:
		b = e.putStages(b, w, int64(w.tailTime))
	case shapeMembers:
		b = e.putBaseline(b, w)
	case shapeHabit:
		b = e.putHabit(b, w)
	}
	return b
}

// putStages appends when the steps of a window were seen, as what lies between
// that and a time, and 1; 0 for never.
func (e *Engine) putStages(b []byte, w *window, base int64) []byte {
	n := 0
	for id := w.side; id != 0; id = e.stages.at(id).next {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	for id := w.side; id != 0; id = e.stages.at(id).next {
		st := e.stages.at(id)
		for i := range st.last {
			for _, t := range [...]uint32{st.last[i], st.from[i]} {
				d := uint64(0)
				if t != 0 {
					d = uint64(base-int64(t)) + 1
				}
				b = binary.AppendUvarint(b, d)
			}
		}
	}
	return b
}

func (e *Engine) putCard(b []byte, s *slot, id uint32) []byte {
	c := &e.cards.entries[id]
	if c.stamp == s.out.stamp {
		return binary.AppendUvarint(b, uint64(c.local))
	}
	s.out.cards++
	c.stamp, c.local = s.out.stamp, s.out.cards
	b = binary.AppendUvarint(b, uint64(c.local))
	b = observation.AppendText(b, c.value.Principal)
	b = observation.AppendText(b, c.value.Account)
	b = observation.AppendText(b, c.value.Method)
	b = observation.AppendText(b, c.value.Route)
	b = observation.AppendText(b, c.value.Before)
	b = binary.AppendVarint(b, int64(c.value.Status))
	return append(b, c.value.Outcome)
}

// append writes the sketch; an unused one takes one byte.
func (s *sketch) append(b []byte) []byte {
	if s.young == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(s.adds))
	for _, f := range [...][]uint64{s.young, s.old} {
		for _, w := range f {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
	}
	return b
}
