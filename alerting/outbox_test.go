package alerting

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// memStore is a store in memory that notes in a journal what was committed.
type memStore struct {
	mu      sync.Mutex
	values  map[string][]byte
	journal *journal // outlives the store in tests of a kill
	fail    error
	tried   map[string]int // attempts that were committed, by receiver and key
}

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

func (s *memStore) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

func newMemStore() *memStore {
	return &memStore{values: map[string][]byte{}, journal: new(journal)}
}

func (s *memStore) Commit(ops []StoreOp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, op := range ops {
		if op.Value == nil {
			delete(s.values, string(op.Key))
			continue
		}
		s.values[string(op.Key)] = slices.Clone(op.Value)
		if m, err := decodeMessage(op.Value); err == nil && m.Attempted {
			s.journal.note("attempt %s/%d", m.Incident, m.Revision)
			if s.tried == nil {
				s.tried = map[string]int{}
			}
			s.tried[fmt.Sprintf("%s %s/%d", m.Receiver, m.Incident, m.Revision)]++
		}
	}
	return nil
}

func (s *memStore) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *memStore) scan(f func(k, v []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if err := f([]byte(k), s.values[k]); err != nil {
			return err
		}
	}
	return nil
}

// fakeReceiver answers with what answer says.
type fakeReceiver struct {
	name   string
	store  *memStore
	answer func(ctx context.Context, n Notification) Result
}

func (r *fakeReceiver) Name() string { return r.name }

func (r *fakeReceiver) Notify(ctx context.Context, n Notification) Result {
	r.store.journal.note("send %s", n.Key)
	return r.answer(ctx, n)
}

func accept(context.Context, Notification) Result { return Result{} }

func revision(id string, n int64) Revision {
	return Revision{Incident: &Incident{ID: id, Revision: n, Level: observation.High}, Number: n, At: time.Unix(1000, 0), Cause: CauseOpened}
}

// give stages and commits revisions as a cut does.
func give(t *testing.T, b *Outbox, s *memStore, rs ...Revision) {
	t.Helper()
	seq, ops, err := b.Stage(rs)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ops); err != nil {
		t.Fatal(err)
	}
	b.Committed(seq)
}

func testOutbox(t *testing.T, s *memStore, change func(*OutboxOptions), receivers ...*fakeReceiver) *Outbox {
	t.Helper()
	o := OutboxOptions{Store: s, Metrics: NewMetrics()}
	for _, r := range receivers {
		r.store = s
		o.Targets = append(o.Targets, Target{Receiver: r})
	}
	if change != nil {
		change(&o)
	}
	b, err := NewOutbox(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start runs b until the returned function is called.
func start(t *testing.T, b *Outbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	return func() { cancel(); <-done }
}

func sends(s *memStore) []string {
	var out []string
	for _, line := range s.journal.all() {
		if key, ok := strings.CutPrefix(line, "send "); ok {
			out = append(out, key)
		}
	}
	return out
}

func TestNothingLeavesBeforeItsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		b := testOutbox(t, s, nil, &fakeReceiver{name: "w", answer: accept})
		stop := start(t, b)
		seq, ops, err := b.Stage([]Revision{revision("a", 1)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(s.journal.all()) != 0 {
			t.Fatalf("want nothing before the commit, got %v", s.journal.all())
		}
		if err := s.Commit(ops); err != nil {
			t.Fatal(err)
		}
		b.Committed(seq)
		synctest.Wait()
		stop()
		if diff := cmp.Diff([]string{"attempt a/1", "send a/1"}, s.journal.all()); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
		if s.size() != 0 {
			t.Errorf("want nothing left in the store, got %v", slices.Collect(maps.Keys(s.values)))
		}
	})
}

func TestReceiverDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		up := time.Now().Add(time.Hour)
		r := &fakeReceiver{name: "w", answer: func(context.Context, Notification) Result {
			if time.Now().Before(up) {
				return Result{Err: errors.New("refused"), Retry: true, Reason: ReasonConnection}
			}
			return Result{}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		for n := range int64(30) {
			for i := range 20 {
				give(t, b, s, revision(fmt.Sprintf("i%02d", i), n+1))
			}
			time.Sleep(2 * time.Minute)
		}
		tries := len(sends(s))
		if tries > 120 {
			t.Errorf("want a receiver that is down to be asked with restraint, got %d attempts in an hour", tries)
		}
		time.Sleep(20 * time.Minute)
		stop()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprintf("i%02d/30", i))
		}
		got := sends(s)[tries:]
		for len(got) > len(want) {
			got = got[1:] // attempts of the last minute before it came back
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want one message an incident (-want +got):\n%s", diff)
		}
		if s.size() != 0 || len(b.Pending()) != 0 {
			t.Errorf("want nothing left, got %d and %v", s.size(), b.Pending())
		}
		c := b.o.Metrics.Counts()
		if c.Attempts[ReceiverReason{"w", ReasonOK}] != 20 || c.Pending["w"] != 0 || c.LastSuccess["w"].IsZero() {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestOrderOfOneIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		r := &fakeReceiver{name: "w", answer: func(context.Context, Notification) Result {
			time.Sleep(10 * time.Second)
			return Result{}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		for n := range int64(7) {
			give(t, b, s, revision("a", n+1))
			time.Sleep(4100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		stop()
		if diff := cmp.Diff([]string{"a/1", "a/3", "a/5", "a/7"}, sends(s)); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if s.size() != 0 {
			t.Errorf("want an empty store, got %d", s.size())
		}
	})
}

func TestPermanentErrorsAreParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		var accepting atomic.Bool
		r := &fakeReceiver{name: "w", answer: func(_ context.Context, n Notification) Result {
			if !accepting.Load() && n.Incident == "bad" {
				return Result{Err: errors.New("400"), Reason: ReasonClientError}
			}
			return Result{}
		}}
		b := testOutbox(t, s, func(o *OutboxOptions) { o.MinParked = 48 * time.Hour }, r)
		stop := start(t, b)
		give(t, b, s, revision("bad", 1), revision("good", 1))
		time.Sleep(24 * time.Hour)
		if diff := cmp.Diff([]string{"bad/1", "good/1"}, slices.Sorted(slices.Values(sends(s)))); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if p := b.Pending(); len(p) != 1 || !p[0].Parked {
			t.Errorf("want one parked, got %+v", p)
		}
		give(t, b, s, revision("bad", 2)) // a newer one is tried
		time.Sleep(time.Hour)
		accepting.Store(true)
		if err := b.SetTargets([]Target{{Receiver: r}}); err != nil { // a reload tries again
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
		if diff := cmp.Diff([]string{"bad/2", "bad/2"}, sends(s)[2:]); diff != "" {
			t.Errorf("sent later (-want +got):\n%s", diff)
		}
		if n := b.o.Metrics.Counts().Parked["w"]; n != 2 {
			t.Errorf("want 2 parked counted, got %d", n)
		}
		if s.size() != 0 {
			t.Errorf("want an empty store, got %d", s.size())
		}
	})
}

func TestPoisonDoesNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		r := &fakeReceiver{name: "w", answer: func(_ context.Context, n Notification) Result {
			if n.Incident == "poison" {
				return Result{Err: errors.New("500"), Retry: true, Reason: ReasonServerError}
			}
			return Result{}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		give(t, b, s, revision("poison", 1))
		for i := range 50 {
			give(t, b, s, revision(fmt.Sprintf("i%d", i), 1))
		}
		time.Sleep(10 * time.Second)
		stop()
		if n := b.o.Metrics.Counts().Attempts[ReceiverReason{"w", ReasonOK}]; n != 50 {
			t.Errorf("want the 50 others delivered, got %d", n)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		var at []time.Duration
		begin := time.Now()
		r := &fakeReceiver{name: "w", answer: func(context.Context, Notification) Result {
			at = append(at, time.Since(begin))
			if len(at) == 1 {
				return Result{Err: errors.New("429"), Retry: true, After: 90 * time.Second, Reason: ReasonRateLimited}
			}
			return Result{}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		give(t, b, s, revision("a", 1))
		time.Sleep(time.Hour)
		stop()
		if diff := cmp.Diff([]time.Duration{0, 90 * time.Second}, at); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

func TestHangingReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		r := &fakeReceiver{name: "w", answer: func(ctx context.Context, _ Notification) Result {
			<-ctx.Done()
			return Result{Err: context.Cause(ctx), Retry: true, Reason: ReasonTimeout}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		give(t, b, s, revision("a", 1))
		time.Sleep(45 * time.Second)
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("want to stop within the grace, took %s", took)
		}
		if m, err := decodeMessage(slices.Collect(maps.Values(s.values))[0]); err != nil || !m.Attempted {
			t.Errorf("want it kept as perhaps arrived, got %+v, %v", m, err)
		}
	})
}

func TestStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		r := &fakeReceiver{name: "w", answer: func(context.Context, Notification) Result {
			s.failWith(errors.New("disk full"))
			return Result{}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		give(t, b, s, revision("a", 1))
		time.Sleep(time.Hour)
		if got := sends(s); len(got) != 1 {
			t.Errorf("want what was sent but not marked to be sent once, got %v", got)
		}
		s.failWith(nil)
		time.Sleep(time.Hour)
		if s.size() != 0 {
			t.Error("want it marked once the store works again")
		}
		// An attempt that cannot be written down is not made.
		seq, ops, _ := b.Stage([]Revision{revision("b", 1)})
		_ = s.Commit(ops)
		s.failWith(errors.New("disk full"))
		b.Committed(seq)
		time.Sleep(time.Hour)
		if got := sends(s); len(got) != 1 {
			t.Errorf("want no send without its commit, got %v", got)
		}
		s.failWith(nil)
		time.Sleep(time.Hour)
		stop()
		if got := sends(s); len(got) != 2 || b.o.Metrics.Counts().StoreErrors == 0 {
			t.Errorf("want it sent later, got %v", got)
		}
	})
}

// TestKilledAnywhere stops the world at each point of an attempt, as a kill
// would, and starts again from what the store holds.
func TestKilledAnywhere(t *testing.T) {
	for point, want := range map[string][]string{
		PointCommittedNotSent: {"a/1"},
		PointAttemptedNotSent: {"a/1"},
		PointSentNotMarked:    {"a/1", "a/1"},
	} {
		t.Run(point, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMemStore()
				killed := make(chan struct{})
				dead := make(chan struct{})
				hit := 0
				b := testOutbox(t, s, func(o *OutboxOptions) {
					o.Hook = func(p string) {
						if p == point {
							hit++
							close(killed)
							<-dead // nothing of this life happens any more
							s.failWith(errors.New("dead"))
						}
					}
				}, &fakeReceiver{name: "w", answer: accept})
				stop := start(t, b)
				give(t, b, s, revision("a", 1))
				<-killed
				s2 := &memStore{values: maps.Clone(s.values), journal: s.journal}
				var repeat bool
				r2 := &fakeReceiver{name: "w", answer: func(_ context.Context, n Notification) Result { repeat = n.Repeat; return Result{} }}
				b2 := testOutbox(t, s2, nil, r2)
				if err := b2.Load(s2.scan); err != nil {
					t.Fatal(err)
				}
				stop2 := start(t, b2)
				synctest.Wait()
				stop2()
				if diff := cmp.Diff(want, sends(s2)); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
				if repeat != (point != PointCommittedNotSent) {
					t.Errorf("want the receiver told whether this may be a repeat, got %v", repeat)
				}
				if hit != 1 || s2.size() != 0 {
					t.Errorf("want the point hit once and nothing left, got %d and %d", hit, s2.size())
				}
				close(dead)
				stop()
			})
		})
	}
}

func TestLoadKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		down := func(context.Context, Notification) Result {
			return Result{Err: errors.New("down"), Retry: true, Reason: ReasonConnection}
		}
		b := testOutbox(t, s, nil, &fakeReceiver{name: "w", answer: down}, &fakeReceiver{name: "gone", answer: down})
		give(t, b, s, revision("a", 1), revision("b", 1))
		old := maps.Clone(s.values)
		give(t, b, s, revision("a", 2))
		maps.Copy(s.values, old) // as if an attempt had written it again
		b2 := testOutbox(t, s, nil, &fakeReceiver{name: "w", answer: accept})
		if err := b2.Load(s.scan); err != nil {
			t.Fatal(err)
		}
		stop := start(t, b2)
		synctest.Wait()
		stop()
		if diff := cmp.Diff([]string{"a/2", "b/1"}, slices.Sorted(slices.Values(sends(s)))); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if s.size() != 0 {
			t.Errorf("want nothing left, not even of the receiver that is gone; got %d", s.size())
		}
	})
}

func TestOutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		b := testOutbox(t, s, func(o *OutboxOptions) { o.MaxPending = 10 }, &fakeReceiver{name: "w", answer: accept})
		for i := range 25 {
			give(t, b, s, revision(fmt.Sprintf("i%02d", i), 1))
		}
		if p := b.Pending(); len(p) != 10 || p[0].Incident != "i15" {
			t.Errorf("want the latest 10, got %+v", p)
		}
		if n := b.o.Metrics.Counts().Dropped["w"]; n != 15 {
			t.Errorf("want 15 counted, got %d", n)
		}
		give(t, b, s) // a cut without news takes the deletions along
		if s.size() != 10 {
			t.Errorf("want 10 in the store, got %d", s.size())
		}
	})
}

func TestTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		one, two := &fakeReceiver{name: "one", answer: accept, store: s}, &fakeReceiver{name: "two", answer: accept, store: s}
		b := testOutbox(t, s, nil, one)
		stop := start(t, b)
		if err := b.SetTargets([]Target{{Receiver: one}, {Receiver: one}}); err == nil {
			t.Error("want an error for one name twice")
		}
		give(t, b, s, revision("a", 1))
		synctest.Wait()
		if err := b.SetTargets([]Target{{Receiver: two, MinLevel: observation.Critical}}); err != nil {
			t.Fatal(err)
		}
		give(t, b, s, revision("b", 1))
		loud := revision("c", 1)
		loud.Incident.Level = observation.Critical
		give(t, b, s, loud)
		synctest.Wait()
		stop()
		if diff := cmp.Diff([]string{"a/1", "c/1"}, sends(s)); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	m := &message{Receiver: "w", Incident: "a", Revision: 1, payload: []byte(`{}`)}
	f.Add(m.encode())
	f.Add([]byte{1, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := decodeMessage(value)
		if err != nil {
			return
		}
		again, err := decodeMessage(m.encode())
		if err != nil || string(again.key()) != string(m.key()) {
			t.Errorf("want the same message again, got %v", err)
		}
	})
}

// TestStagingLeavesAttempts: a revision may be sent while its successor is
// being committed. That it was attempted stays written down.
func TestStagingLeavesAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		hold := make(chan struct{})
		r := &fakeReceiver{name: "ops", answer: func(context.Context, Notification) Result { <-hold; return Result{} }}
		b := testOutbox(t, s, nil, r)
		give(t, b, s, revision("a", 1))
		seq, ops, err := b.Stage([]Revision{revision("a", 2)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.Run(ctx) })
		synctest.Wait() // the first is on its way
		if err := s.Commit(ops); err != nil {
			t.Fatal(err)
		}
		b.Committed(seq)
		attempted := 0
		for _, v := range s.values {
			if m, err := decodeMessage(v); err == nil && m.Revision == 1 && m.Attempted {
				attempted++
			}
		}
		if attempted != 1 || len(s.values) != 2 {
			t.Errorf("want the attempt and its successor to be stored, got %d of %d", attempted, len(s.values))
		}
		close(hold)
		synctest.Wait()
		cancel()
		wg.Wait()
		want := []string{"attempt a/1", "send a/1", "attempt a/2", "send a/2"}
		if diff := cmp.Diff(want, s.journal.all()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if n := s.size(); n != 0 {
			t.Errorf("want nothing left, got %d stored", n)
		}
	})
}
