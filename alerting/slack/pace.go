package slack

import (
	"context"
	"sync"
	"time"
)

// pace lets calls through at a steady rate, after a few at once. Slack counts by
// method and channel and answers who is faster with 429.
type pace struct {
	every time.Duration
	burst int

	mu    sync.Mutex
	next  time.Time // when the bucket would be full again, less one call each
	until time.Time // Slack asked to be left alone until then
}

func newPace(every time.Duration, burst int) *pace { return &pace{every: every, burst: burst} }

// wait waits for the turn of one call. If that does not come before ctx is done, it
// returns how long it would still be.
func (p *pace) wait(ctx context.Context) (late time.Duration, err error) {
	p.mu.Lock()
	now := time.Now()
	free := now.Add(-time.Duration(p.burst-1) * p.every)
	if p.next.Before(free) {
		p.next = free
	}
	at := p.next
	if p.until.After(at) {
		at = p.until
	}
	d := at.Sub(now)
	if deadline, ok := ctx.Deadline(); ok && at.After(deadline) {
		p.mu.Unlock()
		return d, errNotYet
	}
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	if d <= 0 {
		return 0, ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// hold lets nothing through for d.
func (p *pace) hold(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.until = until
	}
}
