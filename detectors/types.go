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
	add(e *Engine, v view, t *touch, h *observation.Hit, counted uint8) uint32
	// enter is told of an entry that is read back from disk, before it is put
	// behind those that were there.
	enter(e *Engine, v view, id uint32, h *observation.Hit)
	// leave is told of an entry that is about to be taken away.
	leave(e *Engine, v view, id uint32)
	// number is what the bounds are compared with, of what the window keeps.
	number(e *Engine, v view) float64
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

// touch is an observation at work, with what all its hits share.
type touch struct {
	cause
	o            *observation.Observation
	s            *slot
	id           uint32 // of the entity
	ent          *entity
	held         bool // card and client are looked up, and a reference to each is held
	card, client uint32
}
