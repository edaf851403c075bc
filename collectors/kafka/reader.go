package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/wire"
)

// reader reads a partition from an offset on, one fetch ahead of what it
// emits. It belongs to one goroutine.
type reader struct {
	*shared
	topic  string
	number int32
	emit   func(collectors.Item) error
	cancel <-chan struct{} // closed when the partition is taken away; nil for never
	until  int64           // the offset to end at, none for never
	state  *progress
	voice  *voice

	next   int64 // offset of the next record
	at     int64 // logical offset of the next line; in the middle of next only at the start
	id     wire.TopicID
	epoch  int32  // of the last batch, none before
	turn   uint64 // as in known
	gap    bool   // the next block comes behind one
	begun  bool   // a block was emitted
	origin []byte

	skipped map[string]int64
	rejects []collectors.Reject
	damage  damage
	moved   bool      // something was read since the last error
	stuck   time.Time // when there was something to read first that did not come
}

// damage is a batch that could not be read, and how often that was tried.
type damage struct {
	base  int64
	tries int
}

// damageTries is how often a damaged batch is fetched before it is passed over.
const damageTries = 3

// The reasons in Item.Skipped.
const (
	SkippedTombstone = "tombstone" // messages without a value
	SkippedTooLarge  = "too_large" // messages and batches over the limit
	SkippedDamaged   = "damaged"   // messages in batches that cannot be read
	SkippedExpired   = "expired"   // messages that were deleted before they were read
)

// emitError is an error of the receiver, as opposed to one of the cluster.
type emitError struct{ error }

func (e emitError) Unwrap() error { return e.error }

var (
	errEnd     = errors.New("the end was reached")
	errStopped = errors.New("the partition is stopped")
)

// run reads until the end is reached (nil), ctx is done, or emit fails. Trouble
// with the cluster is said and outlived.
func (r *reader) run(ctx context.Context) error {
	var since time.Time
	for fails := 0; ; fails++ {
		err := r.session(ctx, since)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errEnd) {
			return nil
		}
		if e, ok := errors.AsType[emitError](err); ok {
			return e.error
		}
		since = r.o.Now() // the cluster may have changed
		if r.moved {
			r.moved, fails = false, 0
		}
		if fails == 0 {
			continue // connections end now and then
		}
		if err := r.failing(err); err != nil {
			return err
		}
		if err := sleep(ctx, backoff(fails)); err != nil {
			return err
		}
	}
}

// failing says that the partition cannot be read now.
func (r *reader) failing(err error) error {
	r.count(conn.Reason(err))
	r.voice.warn("partition cannot be read, trying again", "reason", conn.Reason(err), "error", err)
	return r.send(collectors.Item{State: collectors.Failing, Err: err})
}

// send emits an item with what was passed over since the last one.
func (r *reader) send(it collectors.Item) error {
	it.Skipped, it.Rejects, it.Cancel = r.skipped, r.rejects, r.cancel
	if it.At.IsZero() {
		it.At = r.o.Now()
	}
	r.state.waits(it.At)
	err := r.emit(it)
	r.state.waits(time.Time{})
	if err != nil {
		return emitError{err}
	}
	r.skipped, r.rejects = nil, nil
	return nil
}

func (r *reader) skip(reason string, n int64) {
	if n <= 0 {
		return
	}
	if r.skipped == nil {
		r.skipped = map[string]int64{}
	}
	r.skipped[reason] += n
}

// session reads over one connection until something is wrong with it.
func (r *reader) session(ctx context.Context, since time.Time) error {
	w, at, err := r.catalog.open(ctx, r.topic, r.number, since)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if r.id != (wire.TopicID{}) && at.id != (wire.TopicID{}) && r.id != at.id {
		if err := r.relocate(ctx, w, at, recreated); err != nil {
			return err
		}
	}
	r.id = at.id
	r.origin = nil
	if !r.begun || r.gap {
		// A position is kept before the first record comes.
		if err := r.announce(); err != nil {
			return err
		}
	}
	if err := r.ask(w, at, r.next, r.epoch); err != nil {
		return err
	}
	for {
		res, err := w.ReadFetch(ctx, &r.pool, r.o.MaxBatch)
		if err != nil {
			return err
		}
		err = r.answer(ctx, w, at, res)
		res.Free()
		if err != nil {
			return err
		}
	}
}

// announce emits a block that says where reading begins.
func (r *reader) announce() error {
	b := &collectors.Block{Offset: r.at, End: r.at, Origin: r.place(), Gap: r.gap}
	if err := r.send(collectors.Item{Block: b}); err != nil {
		return err
	}
	r.begun, r.gap = true, false
	return nil
}

// place encodes what is kept with an offset.
func (r *reader) place() []byte {
	if r.origin == nil {
		r.origin = (&origin{r.id, r.epoch, r.turn}).append(nil)
	}
	return r.origin
}

func (r *reader) ask(w *wire.Conn, at place, offset int64, epoch int32) error {
	if r.until != none && offset >= r.until {
		return nil // there is nothing more to ask for
	}
	return w.SendFetch(wire.FetchRequest{
		Topic: r.topic, ID: at.id, Partition: r.number, Offset: offset, LeaderEpoch: at.epoch, LastEpoch: epoch,
		MaxWait: r.o.MaxWait, MaxBytes: int32(r.o.FetchBytes), Committed: !r.o.Uncommitted,
	})
}

// answer handles the answer to a fetch from r.next on, and asks for the next.
func (r *reader) answer(ctx context.Context, w *wire.Conn, at place, res *wire.FetchResponse) error {
	now := r.o.Now()
	switch {
	case errors.Is(res.Err, kafka.OffsetOutOfRange):
		if err := r.relocate(ctx, w, at, asBefore); err != nil {
			return err
		}
		if err := r.announce(); err != nil {
			return err
		}
		return r.ask(w, at, r.next, r.epoch)
	case res.Err != nil:
		return fmt.Errorf("read %s/%d: %w", r.topic, r.number, res.Err)
	case res.Diverged >= 0:
		return r.diverged(w, at, res.Diverged)
	}
	r.state.heard(res.HighWatermark, res.LastStable)
	if len(res.Records) > 0 || r.next >= res.HighWatermark {
		r.stuck = time.Time{}
		r.state.trouble.Store(nil)
		r.voice.well("partition can be read")
	}
	if r.until != none && r.next >= r.until {
		return errEnd
	}
	switch {
	case res.TooLarge > 0:
		n := res.Next - r.next
		r.skip(SkippedTooLarge, n)
		r.reject(r.next, SkippedTooLarge, nil)
		r.voice.warn("a batch is over the limit and passed over", "offset", r.next, "bytes", res.TooLarge, "limit", r.o.MaxBatch, "records", n)
		if err := r.passOver(res.Next); err != nil {
			return err
		}
	case len(res.Records) == 0:
		r.still(res, now)
	default:
		return r.records(w, at, res, now)
	}
	if err := r.caughtUp(res, now); err != nil {
		return err
	}
	return r.ask(w, at, r.next, r.epoch)
}

// passOver goes on with the record at offset; what is before it is counted
// otherwise.
func (r *reader) passOver(offset int64) error {
	from := r.at
	r.jump(offset)
	return r.send(collectors.Item{Block: &collectors.Block{Offset: from, End: r.at, Origin: r.place()}})
}

// jump goes on with the record at offset.
func (r *reader) jump(offset int64) {
	r.next, r.at = offset, collectors.LogicalOffset(offset)
}

// caughtUp says that all there is was emitted, where that is so.
func (r *reader) caughtUp(res *wire.FetchResponse, now time.Time) error {
	if r.until != none && r.next >= r.until {
		return errEnd
	}
	if r.next < res.LastStable {
		return nil
	}
	return r.send(collectors.Item{State: collectors.Idle, At: now})
}

// still notices records that are there and do not come.
func (r *reader) still(res *wire.FetchResponse, now time.Time) {
	switch {
	case r.next >= res.HighWatermark:
	case r.stuck.IsZero():
		r.stuck = now
	case now.Sub(r.stuck) >= r.o.Stall:
		text := fmt.Sprintf("stands still at offset %d since %s, though there are records up to %d", r.next, r.stuck.UTC().Format(time.RFC3339), res.HighWatermark)
		if r.next >= res.LastStable {
			text += "; a transaction is open since offset " + fmt.Sprint(res.LastStable)
		}
		r.state.trouble.Store(&text)
		r.count(eventStalled)
		r.voice.warn("partition stands still", "offset", r.next, "last_stable", res.LastStable, "high_watermark", res.HighWatermark, "since", r.stuck)
	}
}

// diverged goes back to where the log differs from what was read: a broker
// became leader that had not all of it.
func (r *reader) diverged(w *wire.Conn, at place, offset int64) error {
	r.count(vanished.String())
	r.voice.warn("records that were read are no longer there, as the broker that had them is gone; going on where the log differs",
		"read", r.next, "differs", offset)
	r.jump(min(offset, r.next))
	r.epoch, r.origin, r.gap = none, nil, true
	if err := r.announce(); err != nil {
		return err
	}
	return r.ask(w, at, r.next, r.epoch)
}

// relocate finds out where to go on when the log does not have what was
// wanted.
func (r *reader) relocate(ctx context.Context, w *wire.Conn, at place, why reason) error {
	l, err := r.bounds(ctx, w, at.id)
	if err != nil {
		return err
	}
	b := inLog(beginning{at: r.at, why: why}, l, r.o.Stale)
	if why == recreated {
		b = asStale(beginning{why: recreated, gap: true}, l, r.o.Stale)
	}
	if b.why == asBefore {
		return nil // it was only for a moment so
	}
	return r.settle(ctx, b)
}

// bounds asks what a partition holds.
func (s *shared) boundsOf(ctx context.Context, w *wire.Conn, topic string, number int32, id wire.TopicID) (log, error) {
	l := log{id: id}
	var err error
	if l.first, err = w.ListOffset(ctx, topic, number, wire.First, false); err != nil {
		return l, err
	}
	l.last, err = w.ListOffset(ctx, topic, number, wire.Last, false)
	return l, err
}

func (r *reader) bounds(ctx context.Context, w *wire.Conn, id wire.TopicID) (log, error) {
	return r.boundsOf(ctx, w, r.topic, r.number, id)
}

// settle goes where b says, and says why. Where the setting wants nothing
// read it waits until ctx is done.
func (r *reader) settle(ctx context.Context, b beginning) error {
	if b.why != asBefore && b.why != fresh {
		r.count(b.why.String())
	}
	if b.stop {
		r.voice.warn("partition is not read until somebody has looked, as stale says stop", "why", b.why.String(), "position", r.next)
		err := fmt.Errorf("%s/%d is stopped: its position %d %s; set stale to earliest or latest, or reset the group's offset, and restart",
			r.topic, r.number, r.next, stopText(b.why))
		if err := r.send(collectors.Item{State: collectors.Failing, Err: err}); err != nil {
			return err
		}
		<-ctx.Done()
		return errStopped
	}
	offset, _ := collectors.MessageOffset(b.at)
	if b.why != asBefore && b.why != fresh {
		r.voice.tell("partition goes on elsewhere; what its windows count up to now is approximate", "why", b.why.String(), "from", r.next, "to", offset, "lost", b.lost)
	}
	if b.lost > 0 {
		r.skip(SkippedExpired, b.lost)
	}
	r.next, r.at, r.gap = offset, b.at, r.gap || b.gap || b.why == expired || b.why == vanished
	r.epoch, r.origin = none, nil
	return nil
}

func stopText(why reason) string {
	switch why {
	case recreated:
		return "is that of another topic of this name"
	case expired:
		return "was deleted by retention"
	default:
		return "is behind the end of the log"
	}
}

func (r *reader) reject(offset int64, reason string, rec *wire.Record) {
	const most = 100 // at a time: each has its offset, not its value
	if r.o.DeadLetters == nil || len(r.rejects) >= most {
		return
	}
	x := collectors.Reject{Offset: collectors.LogicalOffset(offset), Reason: reason}
	if rec != nil {
		x.Time, x.Key = rec.Time*int64(time.Millisecond), append([]byte(nil), rec.Key[:min(len(rec.Key), leastMessage)]...)
	}
	r.rejects = append(r.rejects, x)
}
