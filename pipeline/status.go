package pipeline

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/detectors"
)

// Status is what a running pipeline says of itself. Counters begin at zero
// with the process.
type Status struct {
	Started    time.Time
	MergedTime time.Time // event time up to which everything is judged; zero before the first record
	Sources    []SourceStatus
	Windows    detectors.Stats // summed over all slot owners
	Checkpoint time.Time       // the last one committed; zero before it, or without state
	Pending    []alerting.Pending
	StateBytes int64 // size of the state file
	Rules      []RuleStatus
	// DeadLetters counts what was put aside as it could not be read, and
	// DeadLettersLost what should have been and could not.
	DeadLetters, DeadLettersLost int64
	Collectors                   []CollectorStatus // those that count something
	CatchUp                      []CatchUp         // empty where little is to be read
	// NotReady says why the pipeline cannot be relied on now; empty when it can.
	NotReady []string
}

// CollectorStatus is what happened to a collector since the start.
type CollectorStatus struct {
	Name   string
	Events map[string]int64
}

// SourceStatus is one source.
type SourceStatus struct {
	Name       string
	State      collectors.State
	Error      string // of a failing source
	Offset     int64  // logical, of the next record to be judged
	Line       int64  // lines before it
	Clock      time.Time
	Lines      int64 // read since the start
	Events     int64
	Unreadable map[string]int64 // lines, by reason
	Skipped    map[string]int64 // by the source's own reasons, such as too_long
	Formats    map[string]int64 // events, by format
	Late       int64            // records too far behind their source's clock
	Behind     int64            // records that came behind the merge
	// Queue says that the source is a partition: Offset is then that of a message.
	Queue bool
	// Lag is how many messages of a queue are not judged yet, -1 where that is
	// not known, and LagTime how far event time is behind because of them.
	Lag int64
	// Unread is how many bytes of a file are not judged yet, -1 where that is not
	// known, and Generation the number of the file since the start.
	Unread, Generation int64
	LagTime            time.Duration
}

// Status may be called at any time by any goroutine.
func (p *Pipeline) Status() Status {
	s := Status{Started: p.started, Rules: p.current.Load().rules.status()}
	if t := p.mergedTime.Load(); t != 0 {
		s.MergedTime = time.Unix(t, 0).UTC()
	}
	p.sourceMu.Lock()
	lanes := append([]*lane(nil), p.laneList...)
	p.sourceMu.Unlock()
	for _, l := range lanes {
		st := l.status.read(l.name)
		p.lag(l, &st)
		s.Sources = append(s.Sources, st)
		if st.State == collectors.Failing {
			s.NotReady = append(s.NotReady, fmt.Sprintf("source %s cannot be read: %s; the others wait for it for up to %v", st.Name, st.Error, p.o.MergeHold))
		}
	}
	for i := range p.o.Inputs {
		if c, ok := p.o.Inputs[i].Collector.(collectors.Counter); ok {
			s.Collectors = append(s.Collectors, CollectorStatus{Name: c.Name(), Events: c.Counts()})
		}
		if r, ok := p.o.Inputs[i].Collector.(collectors.Reporter); ok {
			s.NotReady = append(s.NotReady, r.Trouble()...)
		}
	}
	if c := p.catchingUp.Load(); c != nil {
		s.CatchUp = *c
	}
	s.DeadLetters, s.DeadLettersLost = p.letters.Load(), p.lostLetters.Load()
	if p.settled.Load() > 0 {
		s.NotReady = append(s.NotReady, "sources are still being looked for")
	}
	for i := range p.stats {
		if x := p.stats[i].Load(); x != nil {
			s.Windows = sum(s.Windows, *x)
		}
	}
	if p.o.DB != nil {
		s.StateBytes = p.o.DB.Size()
		if t := p.lastCut.Load(); t != 0 {
			s.Checkpoint = time.Unix(0, t).UTC()
		}
		if err := p.commitErr.Load(); err != nil {
			s.NotReady = append(s.NotReady, "the last checkpoint was not committed: "+*err)
		}
	}
	if p.outbox != nil {
		s.Pending = p.outbox.Pending()
	}
	return s
}

// lag fills in how far a queue is behind.
func (p *Pipeline) lag(l *lane, s *SourceStatus) {
	s.Lag, s.Unread = -1, -1
	if m, ok := l.source.(collectors.Measurer); ok {
		if n, generation, known := m.Unread(s.Offset); known {
			s.Unread, s.Generation = n, generation
			if n > 0 && !s.Clock.IsZero() {
				s.LagTime = max(p.o.Now().Sub(s.Clock), 0)
			}
		}
	}
	if l.queue == nil {
		return
	}
	s.Queue = true
	if s.State == collectors.Gone {
		return // it is the matter of another instance
	}
	if n, ok := l.queue.Lag(collectors.LogicalOffset(s.Offset)); ok {
		s.Lag = max(n, 0)
	}
	if s.Lag > 0 && !s.Clock.IsZero() {
		s.LagTime = max(p.o.Now().Sub(s.Clock), 0)
	}
}

func sum(a, b detectors.Stats) detectors.Stats {
	a.Entities += b.Entities
	a.Entries += b.Entries
	a.Probation += b.Probation
	a.Evicted += b.Evicted
	a.EvictedAlive += b.EvictedAlive
	a.EvictedScore = max(a.EvictedScore, b.EvictedScore)
	a.Dropped += b.Dropped
	a.Readmitted += b.Readmitted
	a.Swept += b.Swept
	a.Late += b.Late
	return a
}

func (s *laneStatus) read(name string) SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := SourceStatus{
		Name: name, State: collectors.State(s.state.Load()), Offset: s.offset.Load(), Line: s.line.Load(),
		Lines: s.lines.Load(), Events: s.events.Load(), Late: s.late.Load(), Behind: s.behind.Load(),
		Unreadable: maps.Clone(s.unread), Skipped: maps.Clone(s.skipped), Formats: maps.Clone(s.formats),
	}
	if t := s.clock.Load(); t != 0 {
		out.Clock = time.Unix(t, 0).UTC()
	}
	if e := s.lastErr.Load(); e != nil {
		out.Error = *e
	}
	return out
}

// countItem adds what a block or a change of state tells to the lane's counters.
func (p *Pipeline) countItem(l *lane, w *work) {
	s := &l.status
	s.lines.Add(w.tally.lines)
	s.events.Add(w.tally.events)
	if len(w.tally.unreadable) == 0 && len(w.tally.formats) == 0 && len(w.item.Skipped) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, n := range w.tally.unreadable {
		s.unread[k] += n
	}
	for _, f := range w.tally.formats {
		s.formats[f.name] += f.events
	}
	for k, n := range w.item.Skipped {
		s.skipped[k] += n
	}
	if w.tally.sample == "" {
		return
	}
	if dropped, ok := p.throttle.allow(time.Now()); ok {
		p.o.Logger.Warn("lines cannot be read", "source", l.name, "reason", w.tally.sampleReason,
			"sample", w.tally.sample, "messages_dropped", dropped)
	}
}

// throttle lets one message pass in a while and counts the others.
type throttle struct {
	mu      sync.Mutex
	last    time.Time
	dropped int64
}

// throttleEvery is how often a repeated message may be logged.
const throttleEvery = 10 * time.Second

func (t *throttle) allow(now time.Time) (dropped int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.last) < throttleEvery {
		t.dropped++
		return 0, false
	}
	dropped, t.dropped, t.last = t.dropped, 0, now
	return dropped, true
}

func (p *Pipeline) observeStall(d time.Duration) { p.observe("cut_stall", d) }
