package kafka

import (
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"gatewatch/collectors/kafka/wire"
)

// shared is what all partitions of a collector or a replay have in common. It
// is safe for concurrent use.
type shared struct {
	o       *Options
	catalog *catalog
	pool    wire.Pool
	blocks  blockPool
	wanted  map[string]bool // names of headers
	counts  tally
}

func newShared(o *Options) *shared {
	s := &shared{o: o, catalog: newCatalog(o.Cluster, o.Now)}
	if len(o.Headers) > 0 {
		s.wanted = map[string]bool{}
		for _, h := range o.Headers {
			s.wanted[h] = true
		}
	}
	return s
}

func (s *shared) count(event string) { s.counts.add(event) }

// The events that are counted, beside the reasons of package conn, those of
// beginning elsewhere and SkippedDamaged and SkippedTooLarge for batches.
const (
	eventRebalance    = "rebalance"
	eventCommit       = "commit"
	eventCommitFailed = "commit_failed"
	eventStalled      = "stalled"
	eventUntaken      = "untaken"
	eventLetterLost   = "dead_letter_failed"
)

// tally counts events.
type tally struct {
	mu sync.Mutex
	n  map[string]int64
}

func (t *tally) add(event string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int64{}
	}
	t.n[event]++
}

func (t *tally) all() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}

// progress is what a reader lets others see.
type progress struct {
	known   atomic.Bool // high and stable were heard
	high    atomic.Int64
	stable  atomic.Int64
	waiting atomic.Int64           // since when emit waits, Unix nanoseconds; 0 when it does not
	trouble atomic.Pointer[string] // what is wrong; nil when nothing is
}

func (p *progress) heard(high, stable int64) {
	p.high.Store(high)
	p.stable.Store(stable)
	p.known.Store(true)
}

func (p *progress) waits(since time.Time) {
	if since.IsZero() {
		p.waiting.Store(0)
		return
	}
	p.waiting.Store(since.UnixNano())
}

// lag is how many records there are from an offset on.
func (p *progress) lag(offset int64) (int64, bool) {
	return max(p.high.Load()-offset, 0), p.known.Load()
}

// voice says what repeats itself once in a while, and that it is over.
type voice struct {
	log *slog.Logger
	now func() time.Time

	unwell  atomic.Bool
	mu      sync.Mutex
	last    map[string]time.Time
	dropped int64
}

// repeatEvery is how often the same may be said.
const repeatEvery = 30 * time.Second

func newVoice(log *slog.Logger, now func() time.Time) *voice {
	return &voice{log: log, now: now, last: map[string]time.Time{}}
}

// warn says that something is wrong, unless it said so just now.
func (v *voice) warn(msg string, args ...any) {
	v.unwell.Store(true)
	v.mu.Lock()
	now := v.now()
	if last, ok := v.last[msg]; ok && now.Sub(last) < repeatEvery {
		v.dropped++
		v.mu.Unlock()
		return
	}
	v.last[msg] = now
	dropped := v.dropped
	v.dropped = 0
	v.mu.Unlock()
	v.log.Warn(msg, append(args, "messages_dropped", dropped)...) //nolint:sloglint // the constant messages are the caller's
}

// tell says what happens rarely.
func (v *voice) tell(msg string, args ...any) {
	v.log.Warn(msg, args...) //nolint:sloglint // the constant messages are the caller's
}

// well says that what was wrong is over, once.
func (v *voice) well(msg string) {
	if v.unwell.Load() && v.unwell.Swap(false) {
		v.mu.Lock()
		clear(v.last)
		v.mu.Unlock()
		v.log.Info(msg) //nolint:sloglint // the constant messages are the caller's
	}
}
