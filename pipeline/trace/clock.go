package trace

// doubtful is how far a stamp may be ahead of the clock before the next record
// is asked, in seconds, as in the pipeline.
const doubtful = 3600

// Clock gives the records of one source their window times as a replay does.
// The zero value, with its lateness, is ready. It belongs to one goroutine.
type Clock struct {
	Lateness int64 // seconds
	now      int64
	set      bool
}

// Doubts reports whether a record's time, in Unix seconds, waits for the word of the next record.
func (c *Clock) Doubts(t int64) bool { return !c.set || t > c.now+doubtful }

// Place returns the window time of a record, and whether it is too late to
// enter windows. next is the time of the next record, which is only looked at
// where the clock doubts; at the end of the source it is t itself.
func (c *Clock) Place(t, next int64) (window int64, late bool) {
	switch {
	case c.Doubts(t) && next < t-c.Lateness:
		if !c.set {
			c.now, c.set = next, true
		}
		return c.now, true
	case c.Doubts(t) || t >= c.now:
		c.now, c.set = t, true
		return t, false
	default:
		return c.now, c.now-t > c.Lateness
	}
}
