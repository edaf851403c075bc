package pipeline

import (
	"time"

	"gatewatch/detectors/observation"
)

// aheadLimit is how far a stamp may be ahead of its source's clock, or of the
// wall clock in a live run, before it is doubted. Seconds.
const aheadLimit = 3600

// clock gives the records of one source their window times. What it decides
// depends on the records alone, but in a live run for stamps far ahead of the
// wall clock: those never move it.
//
// Its state between two records is the time itself: a record that is held
// lies after every cut and is read again.
type clock struct {
	now      int64 // greatest event time so far, Unix seconds
	set      bool
	lateness int64
	held     *heldRecord
	accepted bool // the last held stamp was taken without the word of the next record
	// contradicted counts records whose stamp was taken so and that the next
	// record proved wrong: they should have been behind the merge.
	contradicted int64
}

// heldRecord is a record whose stamp waits for the next record's word.
type heldRecord struct {
	work  *work
	index int
}

func (h *heldRecord) record() *observation.Record { return &h.work.batch.Records[h.index] }

// beyond reports whether a stamp is bad at once. wall is 0 in a replay.
func beyond(r *observation.Record, wall int64) bool { return wall != 0 && r.Time > wall+aheadLimit }

// stamp judges the next record. emit is called for each record that has its
// window time, in order: none while the record is held, two when a held one
// goes before it.
func (c *clock) stamp(w *work, index int, wall int64, emit func(w *work, index int)) {
	r := &w.batch.Records[index]
	bad := beyond(r, wall)
	accepted := c.accepted
	c.accepted = false
	if h := c.held; h != nil {
		c.held = nil
		hr := h.record()
		switch {
		case beyond(hr, wall) || !bad && r.Time < hr.Time-c.lateness:
			if !c.set && !bad {
				c.now, c.set = r.Time, true
			}
			c.late(hr)
		default:
			c.move(hr)
		}
		emit(h.work, h.index)
	}
	switch {
	case bad && c.set:
		c.late(r)
	case !c.set || r.Time > c.now+aheadLimit:
		c.held = &heldRecord{w, index}
		return
	case r.Time >= c.now:
		c.move(r)
	case c.now-r.Time <= c.lateness:
		r.Window = c.now
	default:
		c.late(r)
		if accepted {
			r.Behind = true
			c.contradicted++
		}
	}
	emit(w, index)
}

// release gives a held record its word without a next one: at the end of
// input, or in a live run when none came for long enough.
func (c *clock) release(wall int64, emit func(w *work, index int)) {
	h := c.held
	if h == nil {
		return
	}
	c.held = nil
	if beyond(h.record(), wall) {
		c.late(h.record())
	} else {
		c.move(h.record())
		c.accepted = wall != 0
	}
	emit(h.work, h.index)
}

func (c *clock) move(r *observation.Record) {
	c.now, c.set = r.Time, true
	r.Window = r.Time
}

// late marks a record whose time is not believed. Before the first stamp that
// is, there is no time to give it: it is counted and no rule sees it.
func (c *clock) late(r *observation.Record) {
	r.Late = true
	r.Window = c.now
	if !c.set {
		r.Count = 0
	}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
