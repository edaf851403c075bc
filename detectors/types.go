package detectors

import (
	"encoding/binary"
	"math"

	"gatewatch/detectors/observation"
)

// windowType is what a correlation type adds to the windows of its rules: what
// an entry keeps of an observation, and what number is compared with the
// bounds. Expiry, limits, findings, eviction and the way to disk are the same
// for all types and know nothing of them.
//
// A new type is one file with its windowType and one line in typeOf. What an
// entry keeps has one of the shapes that the state on disk knows.
type windowType interface {
	// takes reports whether there is anything in the hit for the rule.
	takes(r *rule, h *observation.Hit) bool
	// add takes an observation into the window and returns the entry that
	// stands for it. counted has the bits of the rules for which a finding tells
	// of the observation at once.
	add(e *Engine, v view, t *touch, h *observation.Hit, counted uint32) uint32
	// enter is told of an entry that is read back from disk, before it is put
	// behind those that were there.
	enter(e *Engine, v view, id uint32, h *observation.Hit)
	// leave is told of an entry that is about to be taken away.
	leave(e *Engine, v view, id uint32)
	// clear forgets what window.side stands for; the window has no entries.
	clear(e *Engine, v view)
	// number is what the bounds are compared with, of what the window keeps at
	// now; false where nothing has none.
	number(e *Engine, v view, now int64) (float64, bool)
	// about is the number at the slot's time, at which n events or values of
	// v.w.total have not expired, as well as can be said without taking them out.
	about(e *Engine, v view, n uint32) float64
	// size is how many events or values an entry stands for.
	size(nd *node) uint32
	// tell fills in what a finding tells of an entry.
	tell(e *Engine, nd *node, it *observation.Item)
	shape() shape
}

func typeOf(r *observation.Rule) windowType {
	switch r.Type {
	case observation.ValueCount:
		return valueCount{}
	case observation.Temporal:
		return temporal{}
	case observation.TemporalOrdered:
		return temporalOrdered{}
	case observation.ValueSum:
		return valueSum{}
	case observation.ValueAvg:
		return valueAvg{}
	case observation.ValuePercentile:
		if r.Percentile == 0 {
			return valueRarity{}
		}
		return valuePercentile{}
	case observation.IDWalk:
		if r.Depth > 1 {
			return walkHabit{}
		}
		return idWalk{}
	case observation.RateAnomaly:
		return rateAnomaly{}
	default:
		return eventCount{}
	}
}

// shape is what entries carry on disk besides what all have.
type shape byte

const (
	shapeEvents  shape = iota // a number of events
	shapeValues               // a text and its hash
	shapeNumbers              // a number
	shapeSteps                // bits; and the window has times of its steps
	shapeMembers              // what a client sent; and the window has a baseline
	shapeHabit                // the window has no entries but a habit
	shapes
)

// putShape appends what a finding would tell of the entry.
func putShape(b []byte, s shape, e *Engine, r *rule, nd *node) []byte {
	switch s {
	case shapeValues:
		v := &e.values.entries[nd.what].value
		b = binary.LittleEndian.AppendUint64(b, v.hash)
		return observation.AppendText(b, v.text)
	case shapeMembers:
		return e.putSender(b, e.senders.at(nd.what))
	case shapeNumbers, shapeSteps:
		var it observation.Item
		r.typ.tell(e, nd, &it)
		if s == shapeSteps {
			return binary.AppendUvarint(b, it.Steps)
		}
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(it.Number))
	default:
		return b
	}
}

// readShape reads what putShape wrote.
func readShape(r *reader, s shape, h *observation.Hit) {
	switch s {
	case shapeValues:
		h.Hash, h.Value = r.uint64(), r.text()
	case shapeNumbers:
		h.Number = math.Float64frombits(r.uint64())
	case shapeSteps:
		h.Steps = r.uvarint()
	}
}

// view is one window at work.
type view struct {
	s   *slot
	ent *entity
	id  uint32 // of the window
	w   *window
	r   *rule
}

// touch is a record at work, and the one of its observations that is judged.
type touch struct {
	rec  *observation.Record
	key  observation.Key
	ref  observation.Ref
	card uint32 // of the record, with a reference; 0 until it is needed
	addr uint32 // its client, likewise

	o   *observation.Observation
	s   *slot
	id  uint32 // of the entity
	ent *entity
	// member is what memberAhead found; what was judged since may have displaced it.
	member uint32
}
