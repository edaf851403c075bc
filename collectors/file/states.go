package file

import (
	"time"

	"gatewatch/collectors"
)

// send emits an item with what was skipped since the last one.
func (r *runner) send(it collectors.Item) error {
	if r.cut != nil && r.cut.TooLong > 0 {
		r.skip(SkippedTooLong, r.cut.TooLong)
		r.cut.TooLong = 0
	}
	it.Skipped, r.skipped = r.skipped, nil
	if it.At.IsZero() {
		it.At = r.opts.Now()
	}
	if r.state == collectors.Failing && it.State != collectors.Failing {
		r.log.Info("file can be read again")
	}
	r.state = it.State
	if it.State != collectors.Failing {
		r.failure, r.fails = "", 0
	}
	return r.emit(it)
}

func (r *runner) skip(reason string, n int64) {
	if r.skipped == nil {
		r.skipped = map[string]int64{}
	}
	r.skipped[reason] += n
}

// reading says that there may be unread input, once.
func (r *runner) reading(now time.Time) error {
	if r.state == collectors.Reading {
		return nil
	}
	return r.send(collectors.Item{State: collectors.Reading, At: now})
}

// idle says that all there was at now was emitted, once and then as a heartbeat.
func (r *runner) idle(now time.Time) error {
	if r.state == collectors.Idle && now.Sub(r.at) < heartbeat {
		return nil
	}
	r.at = now
	return r.send(collectors.Item{State: collectors.Idle, At: now})
}

// gone says that everything was read and there is no file. It waits for
// linger before: between the rename and the create of a rotation there is no
// file either, and a source that is gone holds nobody up.
func (r *runner) gone(now time.Time) error {
	if r.state == collectors.Gone {
		return nil
	}
	if r.missing.IsZero() {
		r.missing = now
	}
	if now.Sub(r.missing) < r.opts.Linger {
		return r.idle(now)
	}
	r.log.Info("file does not exist, waiting for it")
	return r.send(collectors.Item{State: collectors.Gone, At: now})
}

// failing says what stands in the way and how long to wait before another try.
func (r *runner) failing(err error, now time.Time) (time.Duration, error) {
	wait := r.opts.Poll << min(r.fails, 10)
	wait = min(max(wait, r.opts.Poll), max(maxBackoff, r.opts.Poll))
	r.fails++
	if r.state == collectors.Failing && r.failure == err.Error() {
		return wait, nil
	}
	r.failure = err.Error()
	r.log.Warn("file cannot be read, trying again", keyError, err)
	return wait, r.send(collectors.Item{State: collectors.Failing, At: now, Err: err})
}
