package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/wire"
)

// partition is one partition as a source. It goes through many assignments;
// between them it is parked: what was emitted and not judged was taken back.
type partition struct {
	*shared
	topic      string
	number     int32
	name, rank string
	state      progress
	voice      *voice
	orders     chan order // from the group to Run, which sees the latest only
	changed    func()     // tells the group that there is something to commit

	mu      sync.Mutex
	note    note        // with the offset that Kafka last acknowledged to us, or where reading began
	has     int64       // the offset that Kafka has now, as far as we know; none for nothing
	serving *assignment // in which reading began
	durable int64       // logical, none before the first checkpoint of this turn
	at      collectors.Position
	ran     bool
}

var (
	_ collectors.Queue     = (*partition)(nil)
	_ collectors.Committer = (*partition)(nil)
)

// order is what the group tells a partition.
type order struct {
	assigned *assignment
	lost     bool  // somebody else has it now
	err      error // the group is in trouble: nobody knows who will have it
}

// assignment is a partition's part in one generation of the group.
type assignment struct {
	committed int64 // what Kafka has for the group, none for nothing
	member    string
	ready     func()          // to be called when the merge knows of it
	open      <-chan struct{} // closed when all partitions are ready
	revoked   context.Context //nolint:containedctx // it ends with the assignment
	parked    chan struct{}   // closed when nothing beyond the durable position is left
}

// tell gives Run an order in place of one that it has not seen. It is called
// by one goroutine.
func (p *partition) tell(o order) {
	select {
	case <-p.orders:
	default:
	}
	p.orders <- o
}

func newPartition(s *shared, topic string, number int32, changed func()) *partition {
	p := &partition{
		shared: s, topic: topic, number: number, orders: make(chan order, 1), changed: changed,
		note: note{acked: none, before: none}, durable: none,
	}
	p.name, p.rank = sourceName(s.o.Name, topic, number)
	p.voice = newVoice(s.o.Logger.With("source", p.name), s.o.Now)
	return p
}

// Name implements collectors.Source.
func (p *partition) Name() string { return p.name }

// Rank implements collectors.Queue.
func (p *partition) Rank() string { return p.rank }

// Place implements collectors.Queue.
func (p *partition) Place() (topic string, number int32) { return p.topic, p.number }

// Lag implements collectors.Queue.
func (p *partition) Lag(logical int64) (messages int64, ok bool) {
	offset, _ := collectors.MessageOffset(logical)
	return p.state.lag(offset)
}

// Durable implements collectors.Committer.
func (p *partition) Durable(at collectors.Position) {
	p.mu.Lock()
	if o, err := decodeOrigin(at.Origin); err == nil && o.turn == p.note.turn {
		p.durable = at.Offset
	}
	p.mu.Unlock()
	p.changed()
}

// Note implements collectors.Committer.
func (p *partition) Note() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.note.acked == none && p.note.member == "" {
		return p.at.Note
	}
	return p.note.append(nil)
}

// toCommit returns the offset that Kafka is to be told in an assignment, if it
// is not the one that it has. Before reading began in it there is none: others may
// have read on since the last one.
func (p *partition) toCommit(a *assignment) (offset int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.durable == none || p.serving != a {
		return 0, false
	}
	offset, _ = collectors.MessageOffset(p.durable)
	return offset, offset != p.has
}

// committed notes what Kafka acknowledged.
func (p *partition) committed(offset int64) {
	p.mu.Lock()
	p.note.acked, p.has = offset, offset
	p.mu.Unlock()
}

// Run implements collectors.Source.
func (p *partition) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	p.mu.Lock()
	p.at, p.ran = from, true
	p.mu.Unlock()
	k, err := recall(from)
	if err != nil {
		p.voice.warn("position cannot be used; going on with Kafka's", "error", err)
		k = known{acked: none, epoch: none}
	}
	p.mu.Lock()
	p.note.turn, p.note.acked, p.note.before, p.has = k.turn, k.acked, k.acked, k.acked
	p.mu.Unlock()
	for {
		var o order
		select {
		case <-ctx.Done():
			return ctx.Err()
		case o = <-p.orders:
		}
		switch {
		case o.assigned != nil:
			if k, err = p.serve(ctx, k, o.assigned, emit); err != nil {
				return err
			}
		case o.lost:
			err = emit(collectors.Item{State: collectors.Gone, At: p.o.Now()})
		case o.err != nil:
			err = emit(collectors.Item{State: collectors.Failing, At: p.o.Now(), Err: o.err})
		}
		if err != nil {
			return err
		}
	}
}

// serve reads while the partition is assigned, and parks it. It returns what is
// known of the partition then.
func (p *partition) serve(ctx context.Context, k known, a *assignment, emit func(collectors.Item) error) (known, error) {
	// The merge has to know of all partitions before it sees a record of one.
	if err := emit(collectors.Item{State: collectors.Reading, At: p.o.Now()}); err != nil {
		return k, err
	}
	a.ready()
	mine, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(a.revoked, stop)()
	select {
	case <-a.open:
	case <-mine.Done():
	}
	p.mu.Lock()
	p.note.member = a.member
	p.mu.Unlock()
	err := p.read(mine, k, a, emit)
	switch {
	case ctx.Err() != nil:
		return k, ctx.Err()
	case errors.Is(err, collectors.ErrCanceled), mine.Err() != nil:
	case err != nil:
		return k, err
	}
	return p.park(ctx, k, a, emit)
}

// read finds out where to begin and reads until mine is done.
func (p *partition) read(mine context.Context, k known, a *assignment, emit func(collectors.Item) error) error {
	r := &reader{
		shared: p.shared, topic: p.topic, number: p.number, emit: emit, cancel: a.revoked.Done(), until: none,
		state: &p.state, voice: p.voice, epoch: none,
	}
	for fails := 1; ; fails++ {
		err := p.begin(mine, r, k, a)
		if err == nil {
			break
		}
		if mine.Err() != nil {
			return mine.Err()
		}
		if e, ok := errors.AsType[emitError](err); ok {
			return e.error
		}
		if err := r.failing(err); err != nil {
			return err
		}
		if err := sleep(mine, backoff(fails)); err != nil {
			return err
		}
	}
	return r.run(mine)
}

// begin puts the reader where reading goes on.
func (p *partition) begin(ctx context.Context, r *reader, k known, a *assignment) error {
	w, at, err := p.catalog.open(ctx, p.topic, p.number, p.o.Now().Add(-time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	l, err := r.bounds(ctx, w, at.id)
	if err != nil {
		return err
	}
	b := begin(k, a.committed, l, p.o.Stale)
	if b.open {
		if b.at, err = p.first(ctx, w, l); err != nil {
			return err
		}
	}
	r.id, r.next, r.at = at.id, k.offset(), k.at
	if err := r.settle(ctx, b); err != nil {
		return err
	}
	if b.why == asBefore {
		r.epoch, r.turn = k.epoch, k.turn
	} else {
		r.turn = k.turn + 1
	}
	// From here on Kafka's offset is right where it is now, or between here and
	// where we will be.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.has, p.serving = a.committed, a
	acked := k.acked
	if a.committed != none {
		acked = a.committed
	} else if b.why != asBefore {
		acked, _ = collectors.MessageOffset(b.at)
	}
	p.note.turn, p.note.acked, p.note.before = r.turn, acked, k.acked
	if b.why != asBefore {
		p.durable = none
	}
	return nil
}

// first returns where Options.Begin wants to begin, as a logical offset.
func (p *partition) first(ctx context.Context, w *wire.Conn, l log) (int64, error) {
	switch p.o.Begin {
	case First:
		return collectors.LogicalOffset(l.first), nil
	case At:
		offset, err := w.ListOffset(ctx, p.topic, p.number, p.o.BeginAt.UnixMilli(), false)
		if err != nil || offset >= 0 {
			return collectors.LogicalOffset(offset), err
		}
	}
	return collectors.LogicalOffset(l.last), nil
}

// park gives back what was not judged and waits until the rest is durable.
func (p *partition) park(ctx context.Context, k known, a *assignment, emit func(collectors.Item) error) (known, error) {
	left := make(chan collectors.Position, 1)
	err := emit(collectors.Item{State: collectors.Reading, At: p.o.Now(), Park: func(at collectors.Position) { left <- at }})
	if err != nil {
		return k, err
	}
	select {
	case <-ctx.Done():
		return k, ctx.Err()
	case at := <-left:
		p.mu.Lock()
		p.at = at
		at.Note = p.note.append(nil)
		p.mu.Unlock()
		close(a.parked)
		next, err := recall(at)
		if err != nil {
			return k, nil //nolint:nilerr // nothing was ever read of it
		}
		return next, nil
	}
}
