package detectors

import "gatewatch/detectors/observation"

// windowType is what a correlation type adds to the windows of its rules: what
// an entry keeps of an observation, and what number is compared with the
// bounds. Expiry, limits, findings, eviction and the way to disk are the same
// for all types and know nothing of them.
//
// A new type is one file with its windowType and one line in typeOf.
type windowType interface {
	// add takes an observation into the window and returns the entry that
	// stands for it. counted has the bits of the rules for which a finding tells
	// of the observation at once.
	add(e *Engine, v view, t *touch, h *observation.Hit, counted uint32) uint32
	// enter is told of an entry that is read back from disk, before it is put
	// behind those that were there.
	enter(e *Engine, v view, id uint32, h *observation.Hit)
	// leave is told of an entry that is about to be taken away.
	leave(e *Engine, v view, id uint32)
	// number is what the bounds are compared with, of what the window keeps.
	number(e *Engine, v view) float64
	// clear forgets what window.side stands for; the window has no entries.
	clear(e *Engine, v view)
	// size is how many events or values an entry stands for.
	size(nd *node) uint32
}

func typeOf(t observation.Type) windowType {
	switch t {
	case observation.ValueCount:
		return valueCount{}
	default:
		return eventCount{}
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

	o      *observation.Observation
	s      *slot
	id     uint32 // of the entity
	ent    *entity
	client uint32 // addr, or 0 where the entity tells it
}
