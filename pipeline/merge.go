package pipeline

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"gatewatch/collectors"
	"gatewatch/detectors"
)

// merger is the goroutine that puts the records of all sources into one order
// and hands them on in rounds. Everything that depends on how far the sources
// are happens here.
type merger struct {
	p     *Pipeline
	lanes []*lane // by name, so rank is the index
	wake  chan struct{}
	join  chan *lane
	ready bool // the sources that existed at the start are all known

	merged     int64  // window time of the last run passed
	mergedName string // its source, by its order: what comes later is not behind
	anyRun     bool
	round      *round
	rounds     chan *round
	rejects    rejected
	queue      laneQueue // see passAll
	cuts       cutState
	reload     chan *reloadRequest
	tools      *stateless // for decoding again after a reload
}

// round is what the merge lets pass at once: runs in merged order, and then
// perhaps a marker.
type round struct {
	runs    []roundRun
	records int
	upto    int64 // merged time after the runs

	cut    *cut           // a cut falls behind the runs
	reload *reloadRequest // the plan changes behind the runs
	final  bool           // end of a replay: resolve timers run out

	results []detectors.Findings // by worker
	workers sync.WaitGroup
}

type roundRun struct {
	run
	// Where the source goes on after the run.
	offset, line int64
	source       uint32
	rank         int32
	turn         uint32 // see gapState
}

// roundRecords is how many records make a round that does not wait for more.
const roundRecords = 4096

func (m *merger) newRound() *round {
	select {
	case r := <-m.p.spare:
		return r
	default:
		return &round{results: make([]detectors.Findings, len(m.p.owners))}
	}
}

// step takes what has arrived, passes what may pass, and returns whether it
// did anything.
func (m *merger) step(now time.Time) bool {
	moved := false
	for _, l := range m.lanes {
		for m.take(l, now) {
			moved = true
		}
	}
	if !m.ready {
		return moved
	}
	for m.acceptHeld(now) || m.passAll(now) {
		moved = true
	}
	if len(m.round.runs) > 0 {
		m.flush()
	}
	return moved
}

// take moves the oldest item of the lane's inbox on, if it is decoded.
func (m *merger) take(l *lane, now time.Time) bool {
	w := l.inbox.head()
	if w == nil {
		return false
	}
	select {
	case <-w.done:
	default:
		return false
	}
	l.inbox.drop()
	m.p.countItem(l, w)
	m.reject(l, w)
	if w.item.Block == nil {
		m.takeState(l, w, now)
		return true
	}
	if w.setup != m.p.current.Load() {
		w = m.again(w) // decoded under a setup that a reload has replaced since
	}
	l.works = append(l.works, w)
	m.sequence(l, w, now)
	return true
}

func (m *merger) sequence(l *lane, w *work, now time.Time) {
	if l.state != collectors.Reading {
		l.setState(collectors.Reading, now, nil)
	}
	l.gap.arrives(w)
	if len(w.batch.Records) == 0 {
		m.finishEmpty(l, w)
		return
	}
	for i := range w.batch.Records {
		l.clock.stamp(w, i, m.wall(now), l.emit)
	}
	l.status.behind.Add(l.clock.contradicted)
	l.clock.contradicted = 0
}

// wall is the time by which stamps are doubted: none in a replay.
func (m *merger) wall(now time.Time) int64 {
	if !m.p.o.Live {
		return 0
	}
	return now.Unix()
}

// finishEmpty lets a block without any event go: nothing in it is judged. Its
// place in the position is taken by the next run, or at once when none is due.
func (m *merger) finishEmpty(l *lane, w *work) {
	l.works = l.works[:len(l.works)-1]
	if l.runs.len() == 0 && l.clock.held == nil {
		l.gap.reached(w)
		l.advance(w, w.end, w.lastLine(), l.clock.now, l.clock.set)
		l.status.judged(l.gap.turn, l.shown(), l.position.Line, l.clock.now)
	} else {
		l.gap.skips(w)
	}
	m.p.release(l, w)
}

func (m *merger) takeState(l *lane, w *work, now time.Time) {
	it := w.item
	switch {
	case w.ended:
		l.ended = true
		l.clock.release(m.wall(now), l.emit)
		l.setState(collectors.Gone, now, it.Err)
	case it.Park != nil:
		m.takeBack(l, it.Park)
		l.setState(it.State, now, it.Err)
	default:
		at := it.At
		if at.IsZero() {
			at = now
		}
		if it.State != l.state {
			l.setState(it.State, at, it.Err)
		}
		if it.State == collectors.Idle {
			l.look = at
		}
		if it.State == collectors.Gone {
			l.clock.release(m.wall(now), l.emit)
		}
	}
}

func (l *lane) setState(s collectors.State, at time.Time, err error) {
	l.state, l.since, l.err = s, at, err
	l.status.state.Store(uint32(s))
	if err != nil {
		text := err.Error()
		l.status.lastErr.Store(&text)
	} else {
		l.status.lastErr.Store(nil)
	}
}

// passAll passes every run that may pass, in merged order, and reports
// whether there was any. It costs the logarithm of the number of lanes a run.
func (m *merger) passAll(now time.Time) bool {
	m.queue = m.queue[:0]
	limit, loose := placeLast, placeLast
	hold := func(l *lane) {
		a, b := m.barrier(l, now)
		limit, loose = limit.least(a), loose.least(b)
	}
	for _, l := range m.lanes {
		if l.runs.len() > 0 {
			m.queue = append(m.queue, l)
		} else {
			hold(l)
		}
	}
	heap.Init(&m.queue)
	moved := false
	for len(m.queue) > 0 {
		l := m.queue[0]
		at := place{l.runs.front().window, l.rank}
		if !at.before(limit) && (at.window <= now.Unix() || !at.before(loose)) {
			break
		}
		moved = true
		m.pass(l, l.runs.pop())
		if l.runs.len() > 0 {
			heap.Fix(&m.queue, 0)
		} else {
			heap.Pop(&m.queue)
			hold(l)
		}
		if m.round.records >= roundRecords {
			m.flush()
		}
	}
	return moved
}

// place is a merge key without the offset.
type place struct {
	window int64
	rank   int32
}

var (
	placeFirst = place{math.MinInt64, 0}
	placeLast  = place{math.MaxInt64, math.MaxInt32}
)

func (a place) before(b place) bool {
	return a.window < b.window || a.window == b.window && a.rank < b.rank
}

func (a place) least(b place) place {
	if b.before(a) {
		return b
	}
	return a
}

// laneQueue is a heap of lanes that have runs, by the place of the first.
type laneQueue []*lane

func (q laneQueue) Len() int      { return len(q) }
func (q laneQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q laneQueue) Less(i, j int) bool {
	return place{q[i].runs.front().window, q[i].rank}.before(place{q[j].runs.front().window, q[j].rank})
}

// Push implements heap.Interface; lanes enter through Init alone.
func (q *laneQueue) Push(x any) { *q = append(*q, x.(*lane)) }

// Pop implements heap.Interface.
func (q *laneQueue) Pop() any {
	old := *q
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return l
}

// barrier is the place from which on a lane without runs holds the others: its
// next record can come at its clock at the earliest. A live lane that has had
// nothing to read for merge_wait holds them only from merge_wait before the last
// look at it on, since what it brings next was written after that. That is of
// no use for records ahead of the wall clock: for these loose holds.
func (m *merger) barrier(l *lane, now time.Time) (limit, loose place) {
	if l.inbox.head() == nil {
		switch {
		case l.gone() && l.clock.held == nil,
			m.p.o.Live && l.state == collectors.Failing && now.Sub(l.since) >= m.p.o.MergeHold:
			return placeLast, placeLast
		case m.p.o.Live && l.state == collectors.Idle && now.Sub(l.since) >= m.p.o.MergeWait:
			p := place{l.look.Add(-m.p.o.MergeWait).Unix(), l.rank}
			if l.clock.set && p.before(place{l.clock.now, l.rank}) {
				p = place{l.clock.now, l.rank}
			}
			return p, placeLast
		}
	}
	if !l.clock.set {
		return placeFirst, placeFirst
	}
	return place{l.clock.now, l.rank}, place{l.clock.now, l.rank}
}

// acceptHeld takes the stamp of a held record without the next one's word
// where a live lane has been idle for long enough.
func (m *merger) acceptHeld(now time.Time) bool {
	if !m.p.o.Live {
		return false
	}
	for _, l := range m.lanes {
		h := l.clock.held
		if h == nil || l.state != collectors.Idle || l.inbox.head() != nil || now.Sub(l.since) < m.p.o.MergeWait {
			continue
		}
		if h.record().Time > now.Unix() {
			continue
		}
		l.clock.release(m.wall(now), l.emit)
		return true
	}
	return false
}

// pass adds a run to the round. A run that comes behind the merge is lifted to
// merged time.
func (m *merger) pass(l *lane, r run) {
	recs := r.work.batch.Records[r.from:r.to]
	if m.anyRun && (r.window < m.merged || r.window == m.merged && l.order < m.mergedName) {
		m.warnBehind(l, m.merged-r.window)
		tooLate := m.merged-r.window > l.clock.lateness
		for i := range recs {
			recs[i].Behind = true
			recs[i].Late = recs[i].Late || tooLate
			recs[i].Window = m.merged
		}
		r.window = m.merged
	} else {
		m.merged, m.mergedName, m.anyRun = r.window, l.order, true
	}
	for i := range recs {
		if recs[i].Late {
			l.status.late.Add(1)
		}
		if recs[i].Behind {
			l.status.behind.Add(1)
		}
	}
	l.gap.reached(r.work)
	l.gap.mark(recs, r.window, m.p.current.Load().plan)
	last := &recs[len(recs)-1]
	l.advance(r.work, last.End, last.Line, r.clock, true)
	r.work.passed = last.End
	if r.to == len(r.work.batch.Records) {
		// Unreadable lines behind the last event are read; the block is done.
		l.advance(r.work, r.work.end, r.work.lastLine(), r.clock, true)
		l.works = slices.DeleteFunc(l.works, func(w *work) bool { return w == r.work })
	}
	m.round.runs = append(m.round.runs, l.roundRun(r))
	m.round.records += r.to - r.from
}

// roundRun is a run of l that ends where l is now.
func (l *lane) roundRun(r run) roundRun {
	return roundRun{run: r, source: l.id, rank: l.rank, offset: l.shown(), line: l.position.Line, turn: l.gap.turn}
}

// shown is the position as people know it: of a queue the number of the message.
func (l *lane) shown() int64 {
	if l.queue == nil {
		return l.position.Offset
	}
	message, _ := collectors.MessageOffset(l.position.Offset)
	return message
}

// warnBehind says that merge_wait is too short for a source, now and then.
func (m *merger) warnBehind(l *lane, by int64) {
	if dropped, ok := m.p.behind.allow(time.Now()); ok {
		m.p.o.Logger.Warn("records came behind the merge; set merge.wait above the time for which the source's writer buffers",
			"source", l.name, "seconds_behind", by, "merge_wait", m.p.o.MergeWait, "messages_dropped", dropped)
	}
}

func (l *lane) advance(w *work, offset, line, clock int64, set bool) {
	l.position = collectors.Position{Offset: offset, Line: line, Origin: w.item.Block.Origin}
	l.posClock, l.posSet, l.dirty = clock, set, true
}

// judged is told once everything up to a place of the source was judged.
// Status shows nothing before: who waits for an offset finds the incidents.
func (s *laneStatus) judged(turn uint32, offset, line, clock int64) {
	was := s.turn.Load()
	if turn < was {
		return // of before offsets began anew
	}
	s.turn.Store(turn)
	if offset > s.offset.Load() || turn > was {
		s.offset.Store(offset)
		s.line.Store(line)
		s.clock.Store(clock)
	}
}

func (m *merger) flush() {
	r := m.round
	m.round = m.newRound()
	m.send(r)
}

// send hands a round to all slot owners and to the findings goroutine.
func (m *merger) send(r *round) {
	r.upto = m.merged
	r.workers.Add(len(m.p.owners))
	for _, o := range m.p.owners {
		o.in <- r
	}
	m.rounds <- r
}

// add takes in a new lane and gives all their ranks again.
func (m *merger) add(l *lane) {
	m.lanes = append(m.lanes, l)
	slices.SortFunc(m.lanes, func(a, b *lane) int { return strings.Compare(a.order, b.order) })
	for i, x := range m.lanes {
		x.rank = int32(i)
	}
}

// quiet reports whether every source has read all there is and nothing waits,
// and since when.
func (m *merger) quiet() (since time.Time, ok bool) {
	for _, l := range m.lanes {
		if l.runs.len() > 0 || l.clock.held != nil || l.inbox.head() != nil {
			return since, false
		}
		if l.state != collectors.Idle && !l.gone() {
			return since, false
		}
		if l.since.After(since) {
			since = l.since
		}
	}
	return since, len(m.lanes) > 0
}

// finished reports whether a replay has nothing more to read or pass.
func (m *merger) finished() bool {
	if !m.ready {
		return false
	}
	for _, l := range m.lanes {
		if !l.ended || l.runs.len() > 0 || l.inbox.head() != nil {
			return false
		}
	}
	return true
}

// run is the merge goroutine.
func (m *merger) run(ctx context.Context) error {
	m.round = m.newRound()
	var tick <-chan time.Time
	if m.p.o.Live {
		t := time.NewTicker(tickEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		now := m.p.o.Now()
		for m.step(now) {
			if err := m.housekeep(ctx, now); err != nil {
				return err
			}
		}
		if err := m.housekeep(ctx, now); err != nil {
			return err
		}
		if !m.p.o.Live && m.finished() {
			m.round.final = true
			m.flush()
			return nil
		}
		select {
		case <-ctx.Done():
			return m.lastCut()
		case <-m.wake:
		case l := <-m.join:
			m.joined(l)
		case r := <-m.reload:
			m.startReload(r)
		case <-tick:
		}
	}
}

// tickEvery is how often a live merge looks at its waits without being woken.
const tickEvery = 25 * time.Millisecond

// joined takes in a new lane; nil says that the first ones are all known.
func (m *merger) joined(l *lane) {
	if l == nil {
		m.ready = true
		return
	}
	m.add(l)
	m.p.start(l)
}
