package pipeline

import (
	"context"
	"fmt"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/detectors"
	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// Reload is what a running pipeline can change.
type Reload struct {
	Index   *sigma.Index
	Derive  event.DeriveOptions
	Targets []alerting.Target
	Routing *alerting.Routing // nil tells every target of everything
}

type reloadRequest struct {
	setup   *setup
	targets []alerting.Target
	routing *alerting.Routing
	done    chan error
}

// Reload changes rules, identity and receivers at one place of the merged
// order. Windows of rules that stay the same are kept; lines that were read
// but not judged yet are decoded again. After an error nothing has changed.
func (p *Pipeline) Reload(ctx context.Context, r Reload) error {
	s := newSetup(r.Index, r.Derive, p.current.Load().rules)
	if _, err := newStateless(s, p.o.Inputs, p.o.Mask); err != nil {
		return err
	}
	routing, err := p.routing(r.Routing, r.Targets)
	if err != nil {
		return err
	}
	req := &reloadRequest{setup: s, targets: r.Targets, routing: routing, done: make(chan error, 1)}
	select {
	case p.merge.reload <- req:
	case <-p.stageDone:
		return errDone
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-req.done:
		return err
	case <-p.stageDone:
		return errDone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startReload makes the new setup the current one and sends the marker behind
// which it holds.
func (m *merger) startReload(req *reloadRequest) {
	tools, err := newStateless(req.setup, m.p.o.Inputs, m.p.o.Mask)
	if err != nil {
		req.done <- err
		return
	}
	if len(m.round.runs) > 0 {
		m.flush()
	}
	m.tools = tools
	m.p.current.Store(req.setup)
	m.planned(detectors.PlanTable(req.setup.plan))
	m.cuts.forceBase, m.cuts.wanted = true, true
	r := m.round
	r.reload = req
	m.round = m.newRound()
	m.send(r)
	now := m.p.o.Now()
	for _, l := range m.lanes {
		m.rewind(l)
		for at, w := range l.works {
			w = m.again(w)
			l.works[at] = w
			for i := range w.batch.Records {
				l.clock.stamp(w, i, m.wall(now), l.emit)
			}
		}
		if l.ended || l.state == collectors.Gone {
			l.clock.release(m.wall(now), l.emit)
		}
	}
	m.dropEmpty()
}

// rewind takes the lane back to the last record that was passed.
func (m *merger) rewind(l *lane) {
	l.runs.clear()
	l.clock.now, l.clock.set, l.clock.held, l.clock.accepted = l.posClock, l.posSet, nil, false
}

// again decodes what is left of a block under the current setup. Runs of the
// old work that are on their way keep its batch.
func (m *merger) again(w *work) *work {
	n := &work{
		lane: w.lane, item: w.item, done: w.done, setup: m.tools.setup, from: w.passed, passed: w.passed, gap: w.gap,
		batch: m.p.newBatch(),
	}
	m.tools.decode(n)
	return n
}

// dropEmpty lets go of blocks in which nothing was left to decode again.
func (m *merger) dropEmpty() {
	for _, l := range m.lanes {
		kept := l.works[:0]
		for _, w := range l.works {
			if len(w.batch.Records) == 0 {
				m.p.release(l, w)
				continue
			}
			kept = append(kept, w)
		}
		l.works = kept
	}
}

// reload goes over to the new plan. Should the windows not come along, which
// no reload can bring about by what it asks for, the run ends.
func (f *findingsStage) reload(req *reloadRequest) {
	err := f.upper.Reload(req.setup.plan)
	if err == nil {
		f.plan, f.rules = req.setup.plan, req.setup.rules
		f.chain = detectors.Chained(f.plan)
		f.book.SetPlan(f.plan)
		f.shadow.book.SetPlan(f.plan)
	} else {
		f.p.fail(fmt.Errorf("change the rules: %w", err))
	}
	if f.p.outbox != nil && err == nil {
		// The queues of new receivers are there before anything is routed to them.
		if err = f.p.outbox.SetTargets(req.targets); err == nil {
			f.book.SetRouting(req.routing)
		} else {
			err = fmt.Errorf("change receivers: %w", err)
		}
	}
	req.done <- err
}
