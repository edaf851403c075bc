package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors"
	"gatewatch/detectors/observation"
	"gatewatch/storage"
)

// cut is one checkpoint on its way: a marker behind the last record that the
// merge let pass. Each part of the state adds what changed before the marker;
// the writer commits it all at once.
type cut struct {
	plan  uint64
	base  func(slot int) bool // slots that are written whole
	ops   []storage.Op        // positions and the like, taken when the cut began
	idle  int64               // time that resolve timers reached while all sources are silent, 0 when they are not
	slots [][]detectors.SlotState
	upper []detectors.SlotState
	book  []storage.Op
	sent  []alerting.Revision
	// waiting are closed once the cut is durable.
	waiting []chan struct{}
	told    told
	aside   rejected

	began  time.Time
	parts  atomic.Int32
	ready  chan<- *cut
	onDone func()
}

// part says that one part of the state is complete.
func (c *cut) part() {
	if c.parts.Add(-1) == 0 {
		c.ready <- c
	}
}

// cutState is the merge's side of checkpoints: one is in flight at a time.
type cutState struct {
	inFlight  atomic.Bool
	last      time.Time
	took      atomic.Int64 // nanoseconds from the marker to the end of the last commit
	wanted    bool         // ask for one as soon as may be, for a reload
	plan      uint64       // number of the plan in force
	table     []byte       // what it stands for
	planTable []byte       // table, while it still has to be saved
	forceBase bool
	ledger    ledger
}

const (
	// leastBetweenCuts is how soon a cut may follow another one when a rule has fired.
	leastBetweenCuts = 100 * time.Millisecond
	// cutShare is the part of the time that such early cuts may take: one in
	// ten. In a catch-up, where rules fire all the time and each cut has much
	// to write, they so become as rare as the others.
	cutShare = 10
	// basesPerCut is about how many bytes of slots one cut writes whole, or as
	// many as the cut before added to the logs: then logs stay as long as bases.
	basesPerCut = 16 << 20
	// leastLog is how long a slot's log may get whatever its base is.
	leastLog = 32 << 10
)

// ledger knows which chunks of each slot the database holds.
type ledger struct {
	slots [2 * observation.Slots]slotLog
	added int64 // bytes that the last cut added to logs
}

type slotLog struct {
	first, next uint64 // sequence numbers of the chunks
	base, log   int64  // bytes
}

// chunkKey is the database key of a chunk: the set of slots, the slot, the number.
func chunkKey(set, slot int, seq uint64) []byte {
	k := []byte{byte(set), byte(slot)}
	return binary.BigEndian.AppendUint64(k, seq)
}

func (l *ledger) add(set, slot int, seq uint64, size int) {
	s := &l.slots[set*observation.Slots+slot]
	if s.next == 0 {
		s.first = seq
	}
	s.next = seq + 1
	s.log += int64(size)
}

// ops turns the state of a slot into changes of the database, and notes them.
func (l *ledger) ops(dst []storage.Op, set int, st detectors.SlotState) []storage.Op {
	s := &l.slots[set*observation.Slots+st.Slot]
	if st.Base {
		for seq := s.first; seq < s.next; seq++ {
			dst = append(dst, storage.Op{Bucket: storage.Slots, Key: chunkKey(set, st.Slot, seq)})
		}
		s.first, s.base, s.log = s.next, 0, 0
	}
	for _, c := range st.Chunks {
		dst = append(dst, storage.Op{Bucket: storage.Slots, Key: chunkKey(set, st.Slot, s.next), Value: c})
		s.next++
		if st.Base {
			s.base += int64(len(c))
		} else {
			s.log += int64(len(c))
			l.added += int64(len(c))
		}
	}
	return dst
}

// longest chooses slots whose logs have outgrown their bases, the worst first,
// until about so many bytes are to be written. So the file holds the state about
// twice, and what is written at a cut is about twice what changed.
func (l *ledger) longest(bytes int64) map[int]bool {
	type candidate struct {
		slot int
		over int64
	}
	var c []candidate
	for i := range observation.Slots {
		s := &l.slots[i]
		if over := s.log - max(s.base, leastLog); over > 0 {
			c = append(c, candidate{i, over})
		}
	}
	slices.SortFunc(c, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.over, a.over), cmp.Compare(a.slot, b.slot)) })
	out := map[int]bool{}
	for _, x := range c {
		if bytes <= 0 {
			break
		}
		s := &l.slots[x.slot]
		bytes -= max(s.base, s.log/2) // about what it will take
		out[x.slot] = true
	}
	return out
}

// housekeep begins a cut when one is due.
func (m *merger) housekeep(context.Context, time.Time) error {
	if m.p.o.DB == nil || !m.ready || m.cuts.inFlight.Load() {
		return nil
	}
	now := time.Now()
	since := now.Sub(m.cuts.last)
	early := min(max(leastBetweenCuts, cutShare*time.Duration(m.cuts.took.Load())), m.p.o.Checkpoint)
	if since < m.p.o.Checkpoint && !m.cuts.wanted && (!m.p.wantCut.Load() || since < early) {
		return nil
	}
	m.beginCut(nil)
	return nil
}

// beginCut sends the marker. done, if not nil, is called once it is committed.
func (m *merger) beginCut(done func()) {
	p := m.p
	m.cuts.last, m.cuts.wanted = time.Now(), false
	m.cuts.inFlight.Store(true)
	p.wantCut.Store(false)
	if len(m.round.runs) > 0 {
		m.flush()
	}
	c := &cut{began: m.cuts.last, plan: m.cuts.plan, slots: make([][]detectors.SlotState, len(p.owners)), ready: p.commits, onDone: done}
	c.parts.Store(int32(len(p.owners)) + 1)
	bases := m.cuts.ledger.longest(max(basesPerCut, m.cuts.ledger.added))
	if m.cuts.forceBase {
		c.base = func(int) bool { return true }
		m.cuts.forceBase = false
	} else {
		c.base = func(slot int) bool { return bases[slot] }
	}
	c.ops = m.positionOps(&c.told)
	c.aside, m.rejects = m.rejects, nil
	if since, ok := m.quiet(); ok && m.anyRun {
		if d := p.o.Now().Sub(since); d > 0 {
			c.idle = m.merged + seconds(d)
		}
	}
	p.hook("read-not-cut")
	r := m.round
	r.cut = c
	m.round = m.newRound()
	m.send(r)
}

// positionOps says where every source goes on: at its first record behind the cut.
func (m *merger) positionOps(t *told) []storage.Op {
	ops := m.p.sources.take()
	for _, l := range m.lanes {
		noted := false
		if l.tells != nil {
			note := l.tells.Note()
			noted = !bytes.Equal(note, l.note)
			l.note = note
			if l.dirty {
				t.durable = append(t.durable, durablePosition{l.tells, l.position})
			}
		}
		for _, tell := range l.parked {
			t.parked = append(t.parked, parkedSource{tell, l.position})
		}
		l.parked = nil
		if !l.dirty && !noted {
			continue
		}
		l.dirty = false
		ops = append(ops, storage.Op{Bucket: storage.Positions, Key: []byte(l.name), Value: encodePosition(l)})
	}
	if m.anyRun {
		b := binary.AppendVarint([]byte{positionVersion}, m.merged)
		ops = append(ops, storage.Op{Bucket: storage.Meta, Key: []byte("merged"), Value: append(b, m.mergedName...)})
	}
	if m.cuts.planTable != nil {
		ops = append(ops, storage.Op{Bucket: storage.Meta, Key: planKey(m.cuts.plan), Value: m.cuts.planTable})
		m.cuts.planTable = nil
	}
	return ops
}

func planKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("plan/"), n) }

// lastCut ends a live run: what was passed so far is committed.
func (m *merger) lastCut() error {
	if m.p.o.DB == nil {
		return nil
	}
	deadline := time.After(lastCutWithin)
	for m.cuts.inFlight.Load() {
		select {
		case <-m.wake:
		case <-deadline:
			return fmt.Errorf("the last checkpoint was not committed within %v; records since the one before are read again at the next start", lastCutWithin)
		}
	}
	done := make(chan struct{})
	m.beginCut(func() { close(done) })
	select {
	case <-done:
		return nil
	case <-deadline:
		return fmt.Errorf("the last checkpoint was not committed within %v; records since the one before are read again at the next start", lastCutWithin)
	}
}

const lastCutWithin = 4 * time.Second

// cut adds the findings goroutine's part of a cut.
func (f *findingsStage) cut(ctx context.Context, c *cut) {
	if c.idle > 0 {
		f.book.AdvanceIdle(c.idle)
	}
	f.pressure()
	f.upper.BeginCut(c.plan, c.base)
	c.upper = f.upper.EndCut()
	f.textsOf(ctx)
	c.sent = f.book.Revise(f.p.o.Now())
	for _, op := range f.book.Changes() {
		c.book = append(c.book, storage.Op(op))
	}
	f.shadow.cut(f, c)
	c.waiting, f.waiting = f.waiting, nil
	c.part()
}

// pressure opens an incident of gatewatch's own when entities were pushed out
// that may have been on their way to a firing.
func (f *findingsStage) pressure() {
	var all detectors.Stats
	for i := range f.p.stats {
		if s := f.p.stats[i].Load(); s != nil {
			all = sum(all, *s)
		}
	}
	if all.EvictedAlive <= f.evictedAlive {
		return
	}
	f.evictedAlive = all.EvictedAlive
	f.book.Own(alerting.Trouble{Kind: "state_pressure", Title: "The memory of windows is full", Level: observation.Medium, Text: fmt.Sprintf(
		"%d entities with unexpired entries were pushed out since the start, the nearest to firing at %d %% of its threshold. "+
			"Either there is a flood of addresses or state.budget is too small for this traffic.",
		all.EvictedAlive, all.EvictedScore*100/detectors.ScoreFiring)}, f.p.o.Now().Unix())
}

// write commits cuts, one after the other.
func (p *Pipeline) write(ctx context.Context, m *merger) {
	for c := range p.commits {
		ops := c.ops
		m.cuts.ledger.added = 0
		for _, states := range c.slots {
			for _, s := range states {
				ops = m.cuts.ledger.ops(ops, 0, s)
			}
		}
		for _, s := range c.upper {
			ops = m.cuts.ledger.ops(ops, 1, s)
		}
		ops = append(ops, c.book...)
		seq, staged, err := p.outbox.Stage(c.sent)
		if err != nil {
			p.fail(fmt.Errorf("queue notifications: %w", err))
			return
		}
		for _, op := range staged {
			ops = append(ops, storage.Op(op))
		}
		p.putAside(ctx, c.aside)
		p.hook("cut-not-committed")
		if !p.commit(ctx, ops) {
			return
		}
		p.outbox.Committed(seq)
		for _, w := range c.waiting {
			close(w)
		}
		p.logIncidents(c.sent)
		m.cuts.took.Store(int64(time.Since(c.began)))
		p.lastCut.Store(p.o.Now().UnixNano())
		c.told.tell()
		m.cuts.inFlight.Store(false)
		if c.onDone != nil {
			c.onDone()
		}
		p.wakeMerge()
	}
}

// logIncidents leaves a trace of what opened or rose in the log, also where
// there is no receiver. Values are attributes: some of them come from requests.
func (p *Pipeline) logIncidents(revisions []alerting.Revision) {
	for _, r := range revisions {
		switch i := r.Incident; r.Cause {
		case alerting.CauseOpened, alerting.CauseReopened, alerting.CauseLevel, alerting.CauseResolved:
			p.o.Logger.Info("incident", "cause", string(r.Cause), "id", i.ID, "level", i.Level.String(), "title", i.Rule.Title,
				"family", i.Family, "group", i.Group, "count", i.Count)
		}
	}
}

// commit keeps trying while the disk refuses: nothing may be sent and no
// position may move before what belongs to it is durable.
func (p *Pipeline) commit(ctx context.Context, ops []storage.Op) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := time.Now()
		err := p.o.DB.Commit(ops)
		if err == nil {
			p.observe("commit", time.Since(began))
			p.commitErr.Store(nil)
			return true
		}
		text := err.Error()
		p.commitErr.Store(&text)
		p.o.Logger.Error("checkpoint was not committed, trying again", "err", err, "wait", wait)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}
