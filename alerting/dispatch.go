package alerting

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// The points of an attempt at which tests kill the process, see Hook.
const (
	PointCommittedNotSent = "committed-not-sent"
	PointAttemptedNotSent = "attempted-not-sent"
	PointSentNotMarked    = "sent-not-marked"
)

// Run sends what is durable until ctx is done. Attempts under way then get
// StopGrace to end, and their outcome is still committed, so the store has to
// stay open until Run has returned. It is to be called once.
func (b *Outbox) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		b.mu.Lock()
		for _, q := range b.queues {
			if !q.running {
				q.running = true
				wg.Go(func() { b.dispatch(ctx, q) })
			}
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-b.changed:
		}
	}
}

// dispatch sends what is ready in one queue, until ctx is done or the receiver
// is removed.
func (b *Outbox) dispatch(ctx context.Context, q *queue) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		b.mu.Lock()
		gone := q.gone
		receiver := q.target.Receiver
		m, wait := q.pick(time.Now(), b.o.MaxBurst)
		b.mu.Unlock()
		if gone {
			return
		}
		if m != nil {
			wg.Go(func() { b.attempt(ctx, q, receiver, m) })
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-due:
		}
	}
}

// attempt makes one attempt, from its first commit to its last.
func (b *Outbox) attempt(ctx context.Context, q *queue, receiver Receiver, m *message) {
	b.o.Hook(PointCommittedNotSent)
	var replaced []StoreOp
	if len(m.parts) > 0 {
		var err error
		if replaced, err = b.compose(q, m); err != nil {
			b.finish(q, m, Result{Err: err, Reason: ReasonInvalid})
			return
		}
	}
	b.mu.Lock()
	n := m.notification()
	n.Kept = b.notes.get(q.name, m.Incident)
	if m.Attempts > 0 {
		b.o.Metrics.retry(q.name)
	}
	m.Attempts++
	m.Attempted = true
	op := StoreOp{BucketOutbox, m.key(), m.encode()}
	b.mu.Unlock()
	if err := b.commit(append(replaced, op)); err != nil {
		// Not sent, since the attempt could not be written down.
		b.mu.Lock()
		m.Attempted = n.Repeat
		b.mu.Unlock()
		b.finish(q, m, Result{Err: err, Retry: true, Reason: ReasonOther})
		return
	}
	if m.digest() {
		b.mu.Lock()
		if m.parts != nil {
			b.o.Metrics.digest(q.name, len(m.parts))
		}
		m.parts = nil // they are durable no more
		b.mu.Unlock()
	}
	b.o.Hook(PointAttemptedNotSent)
	res := b.notify(ctx, receiver, n)
	b.o.Hook(PointSentNotMarked)
	if res.Err == nil {
		res.Reason = ReasonOK
	} else if res.Reason == "" {
		res.Reason = ReasonOther
	}
	b.o.Metrics.attempt(q.name, res.Reason, time.Now())
	b.mark(ctx, q, m, res)
	b.finish(q, m, res)
}

// compose gives a new digest its text, and returns the deletions of what it
// stands for.
func (b *Outbox) compose(q *queue, m *message) ([]StoreOp, error) {
	payload, err := compose(m.Incident, m.parts)
	b.mu.Lock()
	defer b.mu.Unlock()
	q.bytes += len(payload) - len(m.payload)
	m.payload = payload
	var ops []StoreOp
	for _, p := range m.parts {
		ops = append(ops, StoreOp{Bucket: BucketOutbox, Key: p.key()})
	}
	return ops, err
}

// notify calls the receiver with a deadline that outlives ctx a little.
func (b *Outbox) notify(ctx context.Context, receiver Receiver, n Notification) Result {
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.o.AttemptTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(b.o.StopGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-attempt.Done():
		}
	})
	defer stop()
	return receiver.Notify(attempt, n)
}

// mark commits the outcome. What was sent is never sent again because it could
// not be marked: marking is tried until it works or the process is to stop.
func (b *Outbox) mark(ctx context.Context, q *queue, m *message, res Result) {
	kept := b.keep(q, m, res.Keep)
	for try := 1; ; try++ {
		b.mu.Lock()
		op := StoreOp{Bucket: BucketOutbox, Key: m.key()}
		if res.Err != nil && !q.superseded(m) && !q.gone {
			m.Attempted = !res.Reason.certain()
			m.Parked = !res.Retry
			op.Value = m.encode()
		}
		b.mu.Unlock()
		if b.commit(append([]StoreOp{op}, kept...)) == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(b.backoff(try)):
		}
	}
}

// finish puts the message where its outcome says.
func (b *Outbox) finish(q *queue, m *message, res Result) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	defer q.poke()
	m.flying = false
	q.flying--
	switch {
	case res.Err == nil:
		q.failures, q.paused = 0, time.Time{}
	case res.Retry:
		q.failures++
		wait := max(b.backoff(q.failures), min(res.After, b.o.MaxRetryAfter))
		q.paused = now.Add(wait)
		m.notBefore = now.Add(max(wait, b.backoff(m.Attempts)))
	}
	if res.Err != nil {
		b.o.Logger.Warn("notification failed", slog.String("receiver", q.name), slog.String("incident", m.Incident),
			slog.Int64("revision", m.Revision), slog.Int("attempt", m.Attempts), slog.Bool("retry", res.Retry),
			slog.String("reason", string(res.Reason)), slog.Any("error", res.Err))
	}
	m.Parked = false
	switch {
	case res.Err == nil:
		q.disown(m)
	case q.superseded(m) || q.gone:
		// What is newer says it all; the outcome's commit may have kept this one.
		q.disown(m)
		b.discard(m)
	case res.Retry:
		heap.Push(&q.ready, m)
	default:
		b.park(q, m)
	}
	b.o.Metrics.pending(q.name, q.waiting())
}

// park keeps what the receiver refused, so that it can be seen, and tried again
// much later: what the receiver took offence at may be mended by then, on its
// side or by a reload on ours.
func (b *Outbox) park(q *queue, m *message) {
	b.o.Metrics.parked(q.name)
	m.Parked = true
	m.refused++
	wait := b.o.MinParked
	for n := 1; n < m.refused && wait < maxParkedWait; n++ {
		wait *= 2
	}
	m.notBefore = time.Now().Add(min(wait, max(maxParkedWait, b.o.MinParked)))
	q.parked = append(q.parked, m)
	if len(q.parked) > b.o.MaxParked {
		oldest := q.parked[0]
		q.remove(oldest)
		b.drop(oldest)
	}
}

// maxParkedWait bounds how long what was refused waits.
const maxParkedWait = 24 * time.Hour

// commit makes changes durable, with the deletions that have piled up.
func (b *Outbox) commit(ops []StoreOp) error {
	b.committing.Lock()
	defer b.committing.Unlock()
	b.mu.Lock()
	garbage := b.deletions()
	b.mu.Unlock()
	// Deletions first: they are of keys that these changes do not put.
	err := b.o.Store.Commit(append(garbage, ops...))
	if err != nil {
		b.o.Metrics.storeError()
		b.o.Logger.Error("outbox could not commit", slog.Any("error", err))
		return err
	}
	b.mu.Lock()
	b.deleted(garbage)
	b.mu.Unlock()
	return nil
}

// backoff is the wait after the nth failure in a row, with jitter.
func (b *Outbox) backoff(n int) time.Duration {
	d := b.o.MinBackoff
	for ; n > 1 && d < b.o.MaxBackoff; n-- {
		d *= 2
	}
	d = min(d, b.o.MaxBackoff)
	return d - d/5 + rand.N(2*d/5+1)
}
