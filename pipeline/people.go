package pipeline

import (
	"context"
	"fmt"
	"time"

	"gatewatch/alerting"
)

var _ alerting.Actor = (*Pipeline)(nil)

// routing is r, or one that tells all targets of everything.
func (p *Pipeline) routing(r *alerting.Routing, targets []alerting.Target) (*alerting.Routing, error) {
	if r != nil {
		return r, nil
	}
	root := alerting.DefaultRoute(targets, p.o.Book.GroupInterval, p.o.Book.RepeatInterval)
	return alerting.NewRouting(root, nil, targets)
}

// Act does to an incident what somebody asks for. What it answers with is
// durable.
func (p *Pipeline) Act(ctx context.Context, a alerting.Act) (*alerting.Incident, error) {
	err := p.change(ctx, func(b *alerting.Book, now time.Time) error {
		_, err := b.Act(a, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	i, err := p.Incident(ctx, a.Incident)
	if err == nil && i == nil {
		err = fmt.Errorf("incident %s: %w", a.Incident, alerting.ErrNotFound)
	}
	return i, err
}

// Silence adds a silence, under the terms of Act.
func (p *Pipeline) Silence(ctx context.Context, s alerting.Silence) (out alerting.Silence, err error) {
	err = p.change(ctx, func(b *alerting.Book, now time.Time) (err error) {
		out, err = b.AddSilence(s, now)
		return err
	})
	return out, err
}

// Expire ends a silence, under the terms of Act.
func (p *Pipeline) Expire(ctx context.Context, id, by string) (out alerting.Silence, err error) {
	err = p.change(ctx, func(b *alerting.Book, now time.Time) (err error) {
		out, err = b.ExpireSilence(id, by, now)
		return err
	})
	return out, err
}

// Silences returns all silences that are kept.
func (p *Pipeline) Silences(ctx context.Context) ([]alerting.Silence, error) {
	var out []alerting.Silence
	err := p.ask(ctx, func(s *findingsStage) { out = s.book.Silences(p.o.Now()) })
	return out, err
}

// change changes the book and waits until that is durable. The cut that holds
// it comes at once.
func (p *Pipeline) change(ctx context.Context, f func(*alerting.Book, time.Time) error) error {
	if p.o.DB == nil {
		return fmt.Errorf("%w: this run keeps no state", alerting.ErrInvalid)
	}
	done := make(chan struct{})
	var refused error
	err := p.ask(ctx, func(s *findingsStage) {
		if refused = f(s.book, p.o.Now()); refused == nil {
			s.waiting = append(s.waiting, done)
			p.wantCut.Store(true)
		}
	})
	if err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	p.wakeMerge()
	select {
	case <-done:
		return nil
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("it is not known whether this was saved: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	default:
		return errDone
	}
}
