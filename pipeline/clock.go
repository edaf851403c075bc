package pipeline

import (
	"time"

	"gatewatch/detectors/observation"
)

// aheadLimit is how far a stamp may be ahead of its source's clock, or of the
// wall clock in a live run, before it is doubted. Seconds.
const aheadLimit = 3600

// clock gives the records of one source their window times. What it decides
// depends on the records alone, except where a method says otherwise.
//
// Its state between two records is the time itself: a record that is held
// lies after every cut and is read again.
type clock struct {
	now      int64 // greatest event time so far, Unix seconds
	set      bool
	lateness int64
	held     *heldRecord
	accepted bool // the held stamp was taken without waiting for the next record
}

// heldRecord is a record whose stamp waits for the next record's word.
type heldRecord struct {
	work  *work
	index int
}

func (h *heldRecord) record() *observation.Record { return &h.work.batch.Records[h.index] }

// stamp judges the next record. emit is called for each record that has its
// window time, in order: none while the record is held, two when a held one
// goes before it.
func (c *clock) stamp(w *work, index int, wall int64, emit func(w *work, index int)) {
	r := &w.batch.Records[index]
	if wall != 0 && r.Time > wall+aheadLimit && c.set {
		// Only in a live run, and outside what a replay can know.
		c.late(r)
		emit(w, index)
		return
	}
	if h := c.held; h != nil {
		c.held = nil
		hr := h.record()
		if r.Time < hr.Time-c.lateness {
			if !c.set {
				c.now, c.set = r.Time, true
			}
			c.late(hr)
		} else {
			c.move(hr)
		}
		emit(h.work, h.index)
	}
	switch {
	case !c.set || r.Time > c.now+aheadLimit:
		c.held = &heldRecord{w, index}
		return
	case r.Time >= c.now:
		c.move(r)
	case c.now-r.Time <= c.lateness:
		r.Window = c.now
	default:
		c.late(r)
		if c.accepted {
			r.Behind = true
		}
	}
	c.accepted = false
	emit(w, index)
}

// release gives a held record its word without a next one: at the end of
// input, or in a live run when none came for long enough.
func (c *clock) release(emit func(w *work, index int)) {
	h := c.held
	if h == nil {
		return
	}
	c.held = nil
	c.move(h.record())
	emit(h.work, h.index)
}

func (c *clock) move(r *observation.Record) {
	c.now, c.set = r.Time, true
	r.Window = r.Time
}

func (c *clock) late(r *observation.Record) {
	r.Late = true
	r.Window = c.now
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
