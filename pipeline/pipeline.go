// Package pipeline joins the stages: sources are decoded in parallel, merged
// into one order of event time, judged by the owners of slots, and what
// becomes true goes to the incident book. The same pipeline serves the daemon,
// replays and rule tests. It alone imports storage.
//
//	source ─▶ inbox ─▶ decoding pool ─▶ merge ─▶ slot owners ─▶ findings, book ─▶ writer ─▶ outbox
//
// Each arrow is a bounded queue, and a source that is ahead blocks in emit.
// The merge goroutine alone knows how far the sources are; everything behind
// it sees one stream, so results do not depend on the number of workers.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/detectors"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules/sigma"
	"gatewatch/storage"
)

// Input is a collector with what turns its lines into events.
type Input struct {
	Collector collectors.Collector
	Format    format.Options
	// Lateness is how far a record may be behind its source's clock and still
	// count. Whole seconds; default 10 s.
	Lateness time.Duration
	// Messages says how the messages of a collectors.Queue are read.
	Messages Messages
	// SilentAfter is after how long without a line a source is an incident of
	// gatewatch's own, in live runs. 0 judges by the pauses of the input's sources
	// together, SilentNever not at all.
	SilentAfter time.Duration
}

// Messages says how messages become lines and events.
type Messages struct {
	// MaxLine is the longest line in a message, in bytes; default 1 MiB.
	MaxLine int
	// OwnTime leaves a message unread whose line has no time. Otherwise the time of
	// the message is taken.
	OwnTime bool
	// Headers say which header of a message gives a field where the line does not.
	Headers map[string]event.Field
}

// Notice is something to say about gatewatch itself when it starts: it becomes
// an incident of its own.
type Notice = alerting.Trouble

// Options configure a pipeline. Inputs and Index are required.
type Options struct {
	Inputs []Input
	Derive event.DeriveOptions
	// Mask hides secrets in what is stored and told; nil hides what event.Mask
	// does. A reload does not change it.
	Mask  *event.Masker
	Index *sigma.Index
	Book  alerting.BookOptions
	// Workers is the number of decoding goroutines, of which half only help when the others
	// fall behind; there are half as many slot owners. So where both kinds of work are
	// equally much, each processor does one kind, with its code and tables in the caches.
	// Default GOMAXPROCS.
	Workers int
	// Live follows sources until Run's context is done, by the wall clock where
	// it must. Otherwise Run replays: it ends with its input and waits for it
	// without limit.
	Live bool
	// MergeWait is how long an idle source may hold the others; default 500 ms.
	// MergeHold is how long one that answers with an error may; default 5 min.
	MergeWait, MergeHold time.Duration
	// Budget bounds the memory of windows in bytes; default 256 MiB.
	Budget int64
	// Keys and Entries, if set, are the caps of one slot instead of the budget's.
	Keys, Entries int
	// DB holds the state. nil keeps none, as replays do.
	DB *storage.DB
	// Checkpoint is the time between two cuts; default 1 s.
	Checkpoint time.Duration
	// Outbox configures delivery; its Store is DB. Without a DB nothing is sent.
	Outbox alerting.OutboxOptions
	// Routing says who is told of what; nil tells every target of everything
	// at its level.
	Routing *alerting.Routing
	Notices []Notice

	// Probe, if not nil, is told how far the windows of events get, by several
	// goroutines at once, but those of one slot by one; see detectors.Probe.
	Probe detectors.Probe

	Now    func() time.Time   // wall clock; default time.Now
	Logger *slog.Logger       // default discards
	Hook   func(point string) // called at named points, for crash tests; may be nil
	// Observe, if not nil, is told how long things took: "cut_stall" for each
	// slot owner at a cut, "commit" for each checkpoint. It may be called by
	// several goroutines.
	Observe func(what string, d time.Duration)
}

func (o *Options) withDefaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.MergeWait, 500*time.Millisecond)
	set(&o.MergeHold, 5*time.Minute)
	set(&o.Checkpoint, time.Second)
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Workers = min(o.Workers, observation.Slots)
	if o.Budget <= 0 {
		o.Budget = 256 << 20
	}
	keys, entries := detectors.CapsFor(o.Budget)
	if o.Keys <= 0 {
		o.Keys = keys
	}
	if o.Entries <= 0 {
		o.Entries = entries
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for i := range o.Inputs {
		set(&o.Inputs[i].Lateness, 10*time.Second)
	}
}

// Pipeline is one run of gatewatch's work. Make it with New, call Run once.
// The other methods may be called by any goroutine, also after Run.
type Pipeline struct {
	o       Options
	current atomic.Pointer[setup]
	owners  []*owner
	merge   *merger
	stage   *findingsStage
	outbox  *alerting.Outbox

	jobs      chan *work
	help      chan struct{} // jobs is full: a spare decoder takes one
	batches   chan *observation.Batch
	spare     chan *round
	commits   chan *cut
	queries   chan func(*findingsStage)
	stageDone chan struct{}
	ended     chan struct{} // closed when nothing can be committed any more
	afterMu   sync.Mutex    // guards the stage once its goroutine has ended
	wantCut   atomic.Bool
	cancel    context.CancelCauseFunc

	sources     *registry
	saved       map[string]savedPosition
	sourceMu    sync.Mutex
	byID        map[uint32]collectors.Source
	laneList    []*lane
	catchingUp  atomic.Pointer[[]CatchUp]
	settled     atomic.Int32 // inputs whose first sources are not all known yet
	group       *errgroup.Group
	groupCtx    context.Context
	stats       []atomic.Pointer[detectors.Stats]
	lastCut     atomic.Int64
	commitErr   atomic.Pointer[string]
	letters     atomic.Int64 // put aside as they could not be read
	lostLetters atomic.Int64 // should have been
	started     time.Time
	mergedTime  atomic.Int64
	throttle    throttle // of log lines about unreadable input
	behind      throttle // of log lines about records behind the merge
}

// New makes a pipeline and loads its state. A *storage.DamagedError leaves the
// database as it is: the caller may set it aside and begin anew.
func New(o Options) (*Pipeline, error) {
	o.withDefaults()
	s := newSetup(o.Index, o.Derive, nil)
	p := &Pipeline{
		o: o, saved: map[string]savedPosition{}, byID: map[uint32]collectors.Source{}, sources: newRegistry(),
		jobs:      make(chan *work, 2*half(o.Workers)),
		help:      make(chan struct{}),
		batches:   make(chan *observation.Batch, 64),
		spare:     make(chan *round, 8),
		commits:   make(chan *cut, 1),
		queries:   make(chan func(*findingsStage)),
		stageDone: make(chan struct{}),
		ended:     make(chan struct{}),
		stats:     make([]atomic.Pointer[detectors.Stats], half(o.Workers)),
		started:   o.Now(),
	}
	p.current.Store(s)
	tools, err := newStateless(s, o.Inputs, o.Mask)
	if err != nil {
		return nil, err
	}
	track := o.DB != nil
	for i := range half(o.Workers) {
		e := detectors.New(s.plan, detectors.Options{Owns: ownsSlot(i, half(o.Workers)), Keys: o.Keys, Entries: o.Entries, Track: track, Probe: o.Probe})
		p.owners = append(p.owners, &owner{number: i, engine: e, in: make(chan *round, 4)})
	}
	book := o.Book
	book.WholeIPv6 = s.plan.IPv6Whole
	book.SourceName, book.TextWait = p.sources.name, textWait
	p.stage = &findingsStage{
		p: p, plan: s.plan, rules: s.rules, chain: detectors.Chained(s.plan), book: alerting.NewBook(s.plan, book),
		shadow: newShadow(s.plan, book),
		upper:  detectors.New(s.plan, detectors.Options{Keys: o.Keys, Entries: o.Entries, Track: track}),
	}
	p.merge = &merger{
		p: p, tools: tools, wake: make(chan struct{}, 1), join: make(chan *lane), rounds: make(chan *round, 4),
		reload: make(chan *reloadRequest),
	}
	if o.DB == nil {
		return p, nil
	}
	routing, err := p.routing(o.Routing, o.Outbox.Targets)
	if err != nil {
		return nil, err
	}
	if err := p.load(p.merge, p.stage); err != nil {
		return nil, damaged(o.DB, err)
	}
	p.stage.book.SetRouting(routing)
	return p, p.openOutbox()
}

// damaged makes every error of reading the state one of a damaged file: what
// the database gave back as it was written, but nobody can read, is damage too.
func damaged(db *storage.DB, err error) error {
	if _, ok := errors.AsType[*storage.DamagedError](err); ok {
		return err
	}
	return &storage.DamagedError{Path: db.Path(), Err: err}
}

func (p *Pipeline) openOutbox() error {
	o := p.o.Outbox
	o.Store = store{p.o.DB}
	if o.Hook == nil {
		o.Hook = p.o.Hook
	}
	if o.Logger == nil {
		o.Logger = p.o.Logger
	}
	var err error
	if p.outbox, err = alerting.NewOutbox(o); err != nil {
		return err
	}
	err = p.outbox.Load(func(f func(k, v []byte) error) error { return p.o.DB.Scan(storage.Outbox, nil, f) })
	if err != nil {
		return damaged(p.o.DB, fmt.Errorf("load the outbox: %w", err))
	}
	return nil
}

// store is what the outbox knows of the database.
type store struct{ db *storage.DB }

func (s store) Commit(ops []alerting.StoreOp) error {
	out := make([]storage.Op, len(ops))
	for i, op := range ops {
		out[i] = storage.Op(op)
	}
	return s.db.Commit(out)
}

// Run does the work. A replay returns when its input has ended; a live run
// when ctx is done, after a last checkpoint. A source that can never be read
// ends a replay with an error.
func (p *Pipeline) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.cancel = cancel
	for _, n := range p.o.Notices {
		p.stage.book.Own(n, p.o.Now().Unix())
		p.wantCut.Store(true)
	}

	// Behind the merge, goroutines end when their input does, not with ctx:
	// what was passed is finished and committed.
	var owners, behind sync.WaitGroup
	for _, o := range p.owners {
		owners.Go(func() { o.run(p) })
	}
	behind.Go(func() { p.stage.run(context.WithoutCancel(ctx), p.merge.rounds) })
	if p.o.DB != nil {
		behind.Go(func() { p.write(ctx, p.merge) })
	}
	outboxCtx, stopOutbox := context.WithCancel(context.WithoutCancel(ctx))
	var sending sync.WaitGroup
	if p.outbox != nil {
		sending.Go(func() { p.outbox.Run(outboxCtx) })
	}

	p.group, p.groupCtx = errgroup.WithContext(ctx)
	for i := range p.o.Workers {
		p.group.Go(func() error { return p.decodeLoop(p.groupCtx, i >= half(p.o.Workers)) })
	}
	p.settled.Store(int32(len(p.o.Inputs)))
	if p.o.Live {
		p.group.Go(func() error { p.listen(p.groupCtx); return nil })
		p.group.Go(func() error { p.watchCatchUp(p.groupCtx); return nil })
	}
	for i := range p.o.Inputs {
		p.group.Go(func() error { return p.watch(p.groupCtx, i) })
	}
	mergeErr := p.merge.run(p.groupCtx)
	cancel(errDone)
	p.finish(ctx)
	groupErr := p.group.Wait()
	for _, o := range p.owners {
		close(o.in)
	}
	owners.Wait()
	close(p.merge.rounds)
	<-p.stageDone
	// Nobody is left who could add to a cut.
	if p.o.DB != nil {
		close(p.commits)
	}
	behind.Wait()
	p.lateNotes()
	close(p.ended)
	stopOutbox()
	sending.Wait()
	if errors.Is(groupErr, errDone) || errors.Is(groupErr, context.Canceled) {
		groupErr = nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errDone) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errors.Join(mergeErr, groupErr)
}

// finishWithin bounds what collectors do after the last checkpoint.
const finishWithin = 2 * time.Second

// finish lets collectors tell others how far the last checkpoint is.
func (p *Pipeline) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	var all sync.WaitGroup
	for i := range p.o.Inputs {
		f, ok := p.o.Inputs[i].Collector.(collectors.Finisher)
		if !ok {
			continue
		}
		all.Go(func() {
			if err := f.Finish(ctx); err != nil {
				p.o.Logger.Warn("a collector did not end as it should", "err", err)
			}
		})
	}
	all.Wait()
}

var errDone = errors.New("the run has ended")

// fail ends the run with an error that no retry can mend.
func (p *Pipeline) fail(err error) { p.cancel(err) }

func (p *Pipeline) hook(point string) {
	if p.o.Hook != nil {
		p.o.Hook(point)
	}
}

func (p *Pipeline) observe(what string, d time.Duration) {
	if p.o.Observe != nil {
		p.o.Observe(what, d)
	}
}

func (p *Pipeline) wakeMerge() {
	select {
	case p.merge.wake <- struct{}{}:
	default:
	}
}

// watch runs one collector and announces its sources to the merge.
func (p *Pipeline) watch(ctx context.Context, input int) error {
	send := func(l *lane) {
		select {
		case p.merge.join <- l:
		case <-ctx.Done():
		}
	}
	var once sync.Once
	settled := func() {
		once.Do(func() {
			if p.settled.Add(-1) == 0 {
				send(nil)
			}
		})
	}
	if r, ok := p.o.Inputs[input].Collector.(collectors.Resumer); ok {
		r.Resume(slices.Sorted(maps.Keys(p.saved)))
	}
	if r, ok := p.o.Inputs[input].Collector.(collectors.Recaller); ok {
		all := make(map[string]collectors.Position, len(p.saved))
		for name, s := range p.saved {
			all[name] = s.position
		}
		r.Recall(all)
	}
	err := p.o.Inputs[input].Collector.Watch(ctx, func(s collectors.Source) {
		send(newLane(s, input, p.o.Inputs[input].Lateness))
	}, settled)
	settled()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("find sources: %w", err)
	}
	return nil
}

// start runs a lane's source. It is called by the merge goroutine.
func (p *Pipeline) start(l *lane) {
	l.id = p.sources.id(l.name)
	l.rejects = p.wantsRejects(l.input)
	from := p.saved[l.name]
	l.position, l.posClock, l.posSet = from.position, from.clock, from.set
	l.note, l.gap = from.position.Note, from.gap
	l.clock.now, l.clock.set = from.clock, from.set
	l.status.offset.Store(l.shown())
	l.status.line.Store(from.position.Line)
	l.status.clock.Store(from.clock)
	p.sourceMu.Lock()
	p.byID[l.id] = l.source
	p.laneList = append(p.laneList, l)
	p.sourceMu.Unlock()
	ctx := p.groupCtx
	p.group.Go(func() error {
		err := l.source.Run(ctx, from.position, func(it collectors.Item) error { return p.emit(ctx, l, it) })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopping is no fault of the source
		}
		w := &work{lane: l, item: collectors.Item{State: collectors.Gone, At: p.o.Now(), Err: err}, done: closedChan, ended: true}
		l.inbox.push(w)
		p.wakeMerge()
		if err != nil && !p.o.Live {
			return fmt.Errorf("read %s: %w", l.name, err)
		}
		if err != nil {
			p.o.Logger.Error("source can not be read", "source", l.name, "err", err)
		}
		return nil
	})
}

var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// emit takes one item of a source. It blocks while too many of the source's
// blocks are on their way.
func (p *Pipeline) emit(ctx context.Context, l *lane, it collectors.Item) error {
	if it.Block == nil {
		l.inbox.pushState(&work{lane: l, item: it, done: closedChan})
		p.wakeMerge()
		return nil
	}
	select {
	case l.inbox.credits <- struct{}{}:
	case <-it.Cancel:
		return collectors.ErrCanceled
	case <-ctx.Done():
		return ctx.Err()
	}
	w := &work{lane: l, item: it, done: make(chan struct{}), batch: p.newBatch()}
	l.inbox.push(w)
	select {
	case p.jobs <- w:
		return nil
	default:
	}
	select {
	case p.jobs <- w:
		return nil
	case p.help <- struct{}{}: // decoding is behind
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case p.jobs <- w:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// half is how many of n workers are of one kind, at least one.
func half(n int) int { return (n + 1) / 2 }

func (p *Pipeline) newBatch() *observation.Batch {
	select {
	case b := <-p.batches:
		return b
	default:
		return new(observation.Batch)
	}
}

func (p *Pipeline) freeBatch(b *observation.Batch) {
	b.Reset()
	select {
	case p.batches <- b:
	default:
	}
}

// release gives a block and its batch back.
func (p *Pipeline) release(l *lane, w *work) {
	p.freeBatch(w.batch)
	w.batch = nil
	if w.item.Block.Release != nil {
		w.item.Block.Release()
	}
	<-l.inbox.credits
}

// decodeLoop decodes blocks; a spare one does when it is asked for help.
func (p *Pipeline) decodeLoop(ctx context.Context, spare bool) error {
	var tools *stateless
	for {
		if spare {
			select {
			case <-ctx.Done():
				return nil
			case <-p.help:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case w := <-p.jobs:
			if s := p.current.Load(); tools == nil || tools.setup != s {
				var err error
				if tools, err = newStateless(s, p.o.Inputs, p.o.Mask); err != nil {
					return err
				}
			}
			w.setup = tools.setup
			tools.decode(w)
			close(w.done)
			p.wakeMerge()
		}
	}
}

func (p *Pipeline) sourceByID(id uint32) collectors.Source {
	p.sourceMu.Lock()
	defer p.sourceMu.Unlock()
	return p.byID[id]
}

// ask runs f where the book may be looked at: between two rounds of the
// findings goroutine, or here once that has ended.
func (p *Pipeline) ask(ctx context.Context, f func(*findingsStage)) error {
	done := make(chan struct{})
	q := func(s *findingsStage) { f(s); close(done) }
	select {
	case p.queries <- q:
		<-done
		return nil
	case <-p.stageDone:
		p.afterMu.Lock()
		defer p.afterMu.Unlock()
		f(p.stage)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Incidents returns all incidents kept, ordered by first_seen and id. They
// share nothing with the pipeline. Before Run it waits for it.
func (p *Pipeline) Incidents(ctx context.Context) ([]*alerting.Incident, error) {
	var out []*alerting.Incident
	err := p.ask(ctx, func(s *findingsStage) { out = s.book.Incidents() })
	return out, err
}

// Incident returns the incident with the id, or nil.
func (p *Pipeline) Incident(ctx context.Context, id string) (*alerting.Incident, error) {
	var out *alerting.Incident
	err := p.ask(ctx, func(s *findingsStage) { out = s.book.Incident(id) })
	return out, err
}
