package alerting

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gatewatch/detectors/observation"
)

// Target is a receiver and what it is to get.
type Target struct {
	Receiver Receiver
	// MinLevel is the least level of incidents that it gets.
	MinLevel observation.Level
	// Concurrency bounds the attempts under way at once. Default 4.
	Concurrency int
}

// OutboxOptions configure an outbox. Store is required.
type OutboxOptions struct {
	Store   Store
	Targets []Target
	// AttemptTimeout is the deadline of one attempt. Default 30 s.
	AttemptTimeout time.Duration
	// MinBackoff and MaxBackoff bound the wait after a failed attempt, which
	// doubles each time. Defaults 1 s and 1 min.
	MinBackoff, MaxBackoff time.Duration
	// MaxRetryAfter bounds the wait that a receiver may ask for. Default 1 h.
	MaxRetryAfter time.Duration
	// MaxPending and MaxPendingBytes bound what waits for one receiver; beyond
	// that the oldest is dropped and counted. Defaults 10,000 and 64 MiB.
	MaxPending, MaxPendingBytes int
	// MaxBurst is how many messages may be ready for a receiver that Folds
	// before they are told as digests. Default 10.
	MaxBurst int
	// MaxParked bounds what a receiver refused and is kept for it. Default 1,000.
	MaxParked int
	// MinParked is how long what was refused waits before it is tried again,
	// which doubles each time up to a day. Default 1 h.
	MinParked time.Duration
	// StopGrace is how long attempts under way may take once Run is to stop.
	// Default 2 s.
	StopGrace time.Duration
	// Hook, if not nil, is called at the points of an attempt at which tests
	// kill the process: committed-not-sent, attempted-not-sent and
	// sent-not-marked.
	Hook    func(point string)
	Logger  *slog.Logger
	Metrics *Metrics
}

func (o OutboxOptions) withDefaults() OutboxOptions {
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 30*time.Second)
	o.MinBackoff = cmp.Or(o.MinBackoff, time.Second)
	o.MaxBackoff = max(cmp.Or(o.MaxBackoff, time.Minute), o.MinBackoff)
	o.MaxRetryAfter = cmp.Or(o.MaxRetryAfter, time.Hour)
	o.MaxPending = cmp.Or(o.MaxPending, 10_000)
	o.MaxPendingBytes = cmp.Or(o.MaxPendingBytes, 64<<20)
	o.MaxParked = cmp.Or(o.MaxParked, 1000)
	o.MinParked = cmp.Or(o.MinParked, time.Hour)
	o.MaxBurst = cmp.Or(o.MaxBurst, 10)
	o.StopGrace = cmp.Or(o.StopGrace, 2*time.Second)
	if o.Hook == nil {
		o.Hook = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Outbox holds the newest unsent revision of each incident for each receiver
// and sends it once the commit that holds it is durable. An attempt is
// committed before it is made and its outcome right after, so a kill at any
// moment leads to at most one more attempt with the same key. A newer revision
// replaces an unsent older one; revisions of one incident arrive in order.
//
// The pipeline, at each cut: Stage, then one durable commit of the operations
// together with all other state, then Committed. All methods may be called by
// many goroutines.
type Outbox struct {
	o OutboxOptions

	// committing makes what is deleted with one commit be gone before the next:
	// else a kill could leave an older revision of what was already sent.
	committing sync.Mutex

	mu      sync.Mutex
	queues  map[string]*queue
	seq     int64 // of messages
	batch   uint64
	staged  []staged
	notes   notes
	garbage map[string]bool // keys to delete: with the next commit, whoever makes it
	changed chan struct{}
}

type staged struct {
	seq      uint64
	messages []*message
	garbage  []StoreOp // deleted with them
}

// NewOutbox returns an empty outbox for the targets.
func NewOutbox(o OutboxOptions) (*Outbox, error) {
	b := &Outbox{o: o.withDefaults(), queues: map[string]*queue{}, notes: newNotes(), garbage: map[string]bool{}, changed: make(chan struct{}, 1)}
	return b, b.SetTargets(o.Targets)
}

// SetTargets replaces the receivers, after a reload. What waits for a receiver
// that is gone is dropped and counted; what a receiver had refused is tried
// again, since its configuration may be right now.
func (b *Outbox) SetTargets(targets []Target) error {
	names := map[string]bool{}
	for _, t := range targets {
		name := t.Receiver.Name()
		if name == "" || strings.Contains(name, "\x00") || names[name] {
			return fmt.Errorf("receiver name %q is empty, odd or used twice; give each receiver its own name", name)
		}
		names[name] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, q := range b.queues {
		if names[name] {
			continue
		}
		left := q.all()
		for _, m := range left {
			b.drop(m)
		}
		for _, key := range b.notes.forget(name) {
			b.garbage[string(key)] = true
		}
		b.sayGone(name, len(left))
		q.gone = true
		q.poke()
		delete(b.queues, name)
		b.o.Metrics.pending(name, 0)
	}
	for _, t := range targets {
		name := t.Receiver.Name()
		q := b.queues[name]
		if q == nil {
			q = newQueue(name)
			b.queues[name] = q
		}
		t.Concurrency = cmp.Or(t.Concurrency, 4)
		traits, ok := t.Receiver.(Traits)
		q.target, q.folds, q.keeps = t, ok && traits.Folds(), ok && traits.Keeps()
		q.unpark()
		q.poke()
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return nil
}

// Stage takes new revisions and returns the operations that make them durable,
// and the number to give to Committed. Nothing is sent before.
func (b *Outbox) Stage(revisions []Revision) (seq uint64, ops []StoreOp, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var messages []*message
	for _, r := range revisions {
		payload, err := json.Marshal(r.Incident)
		if err != nil {
			return 0, nil, fmt.Errorf("encode revision %d of incident %s: %w", r.Number, r.Incident.ID, err)
		}
		for _, to := range b.addressees(&r) {
			q := b.queues[to.Receiver]
			if q == nil {
				continue // it is gone since the routing was asked
			}
			b.seq++
			m := &message{
				Receiver: to.Receiver, Incident: r.Incident.ID, Revision: r.Number, Cause: to.Cause,
				Made: r.At.UnixNano(), Seq: b.seq, Group: to.Group, payload: payload, index: -1,
			}
			messages = append(messages, m)
			// What it replaces is deleted later: until this is durable that may be on
			// its way, and its attempt has to stay written down.
			ops = append(ops, StoreOp{BucketOutbox, m.key(), m.encode()})
		}
	}
	garbage := b.deletions()
	b.batch++
	b.staged = append(b.staged, staged{b.batch, messages, garbage})
	ops = append(ops, garbage...)
	return b.batch, ops, nil
}

// addressees are who is told of a revision.
func (b *Outbox) addressees(r *Revision) []Addressee {
	if r.To != nil {
		return r.To
	}
	var out []Addressee
	for _, name := range slices.Sorted(maps.Keys(b.queues)) {
		if r.Incident.Level >= b.queues[name].target.MinLevel {
			out = append(out, Addressee{Receiver: name, Cause: r.Cause})
		}
	}
	return out
}

// Committed says that all that was staged up to seq is durable: it may be sent.
func (b *Outbox) Committed(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.staged) > 0 && b.staged[0].seq <= seq {
		b.deleted(b.staged[0].garbage)
		for _, m := range b.staged[0].messages {
			if q := b.queues[m.Receiver]; q != nil {
				b.add(q, m)
			} else {
				b.discard(m)
			}
		}
		b.staged = b.staged[1:]
	}
}

// Load fills a new outbox from what was made durable before. scan calls its
// argument with each key and value of the bucket BucketOutbox.
func (b *Outbox) Load(scan func(f func(key, value []byte) error) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []*message
	var kept []*note
	err := scan(func(key, value []byte) error {
		if isNote(key) {
			n, err := decodeNote(key, value)
			if err != nil {
				return fmt.Errorf("read what a receiver kept, %q: %w", key, err)
			}
			kept = append(kept, n)
			return nil
		}
		m, err := decodeMessage(value)
		if err == nil && string(m.key()) != string(key) {
			err = errDamaged
		}
		if err != nil {
			return fmt.Errorf("read stored notification %q: %w", key, err)
		}
		found = append(found, m)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(x, y *message) int {
		return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Revision, y.Revision))
	})
	gone := map[string]int{}
	for _, m := range found {
		b.seq = max(b.seq, m.Seq)
		m.Parked = false // a restart is a good moment to ask again
		if q := b.queues[m.Receiver]; q != nil {
			if m.digest() {
				b.addDigest(q, m)
			} else {
				b.add(q, m)
			}
			continue
		}
		gone[m.Receiver]++
		b.drop(m)
	}
	for name, n := range gone {
		b.sayGone(name, n)
	}
	b.loadNotes(kept)
	return nil
}

func (b *Outbox) sayGone(receiver string, n int) {
	if n > 0 {
		b.o.Logger.Warn("notifications dropped, their receiver is no longer configured",
			slog.String("receiver", receiver), slog.Int("count", n))
	}
}

// add enters a durable message into its queue, in the place of an older one.
func (b *Outbox) add(q *queue, m *message) {
	old, behind := q.byIncident[m.Incident], q.behind[m.Incident]
	switch {
	case old == nil:
	case old.revision(m.Incident) >= m.Revision, behind != nil && behind.Revision >= m.Revision:
		b.discard(m)
		return
	case old.flying, old.digest():
		if was := q.put(m); was != nil {
			b.discard(was)
		}
		return
	default:
		q.remove(old)
		b.discard(old)
	}
	q.push(m)
	b.bound(q)
}

// addDigest enters a stored digest.
func (b *Outbox) addDigest(q *queue, m *message) {
	for _, x := range m.Members {
		old := q.byIncident[x.Incident]
		if old == nil {
			continue
		}
		if old.digest() || old.flying {
			b.discard(m) // never so written by us; the one that is there says it
			return
		}
	}
	for _, x := range m.Members {
		old := q.byIncident[x.Incident]
		if old == nil {
			continue
		}
		q.remove(old)
		if old.Revision > x.Revision {
			q.put(old)
		} else {
			b.discard(old)
		}
	}
	q.push(m)
	b.bound(q)
}

// bound drops the oldest of too much.
func (b *Outbox) bound(q *queue) {
	for len(q.ready) > 0 && (len(q.byIncident) > b.o.MaxPending || q.bytes > b.o.MaxPendingBytes) {
		oldest := slices.MinFunc(q.ready, func(x, y *message) int { return cmp.Compare(x.Seq, y.Seq) })
		q.remove(oldest)
		b.drop(oldest)
		if !q.full {
			q.full = true // said once, until there is room again
			b.o.Logger.Error("too many notifications wait, the oldest are dropped", slog.String("receiver", q.name),
				slog.Int("max_pending", b.o.MaxPending), slog.Int("max_pending_bytes", b.o.MaxPendingBytes))
		}
	}
	if len(q.byIncident) < b.o.MaxPending/2 && q.bytes < b.o.MaxPendingBytes/2 {
		q.full = false
	}
	b.o.Metrics.pending(q.name, q.waiting())
	q.poke()
}

// discard deletes a message with the next commit.
func (b *Outbox) discard(m *message) {
	b.garbage[string(m.key())] = true
	for _, p := range m.parts {
		b.discard(p)
	}
}

// deletions are the operations that delete all garbage. They may be made
// more than once: no key is put again that was thrown away.
func (b *Outbox) deletions() []StoreOp {
	ops := make([]StoreOp, 0, len(b.garbage))
	for key := range b.garbage {
		ops = append(ops, StoreOp{Bucket: BucketOutbox, Key: []byte(key)})
	}
	return ops
}

// deleted says that such operations are durable.
func (b *Outbox) deleted(ops []StoreOp) {
	for _, op := range ops {
		delete(b.garbage, string(op.Key))
	}
}

// drop is discard for what is lost by it.
func (b *Outbox) drop(m *message) {
	b.discard(m)
	for range m.incidents() {
		b.o.Metrics.dropped(m.Receiver)
	}
}

// Pending is one notification that waits.
type Pending struct {
	Receiver string
	Incident string
	Revision int64
	Made     time.Time
	Attempts int
	Parked   bool // refused; tried again after an hour or more, a restart or a reload
}

// Pending returns what waits, oldest first.
func (b *Outbox) Pending() []Pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*message
	for _, q := range b.queues {
		all = append(all, q.all()...)
	}
	slices.SortFunc(all, func(x, y *message) int { return cmp.Compare(x.Seq, y.Seq) })
	out := make([]Pending, 0, len(all))
	for _, m := range all {
		out = append(out, Pending{m.Receiver, m.Incident, m.Revision, time.Unix(0, m.Made), m.Attempts, m.Parked})
	}
	return out
}
