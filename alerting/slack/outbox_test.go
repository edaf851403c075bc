package slack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/alerting/slack/fakeslack"
	"gatewatch/detectors/observation"
)

// store keeps what was committed, until it dies.
type store struct {
	mu     sync.Mutex
	values map[string][]byte
	dead   bool
}

func (s *store) Commit(ops []alerting.StoreOp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return context.Canceled
	}
	for _, op := range ops {
		if op.Value == nil {
			delete(s.values, string(op.Key))
		} else {
			s.values[string(op.Key)] = slices.Clone(op.Value)
		}
	}
	return nil
}

// die is the end of the process as the store sees it, and returns what a new
// process finds.
func (s *store) die() *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	return &store{values: maps.Clone(s.values)}
}

// TestKilledAnywhere kills the process at each step of an attempt, for each of
// the first revisions of an incident: in the end the channel has one message, with
// the last revision, and each revision that was told once in its thread.
func TestKilledAnywhere(t *testing.T) {
	for _, point := range []string{alerting.PointCommittedNotSent, alerting.PointAttemptedNotSent, alerting.PointSentNotMarked} {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprintf("%s %d", point, nth), func(t *testing.T) {
				f := fakeslack.New(t)
				r := bot(t, f, nil)
				s := &store{values: map[string][]byte{}}
				var mu sync.Mutex
				seen := 0
				killed := make(chan struct{})
				hook := func(p string) {
					mu.Lock()
					if p == point {
						seen++
					}
					now := p == point && seen == nth
					mu.Unlock()
					if now {
						mu.Lock()
						s = s.die()
						mu.Unlock()
						close(killed)
					}
				}
				begin := func(hook func(string)) (*alerting.Outbox, func()) {
					mu.Lock()
					mine := s
					mu.Unlock()
					b, err := alerting.NewOutbox(alerting.OutboxOptions{
						Store: mine, Targets: []alerting.Target{{Receiver: r, Concurrency: 1}}, Hook: hook,
						MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
					})
					if err != nil {
						t.Fatal(err)
					}
					err = b.Load(func(f func(k, v []byte) error) error {
						for k, v := range mine.values {
							if err := f([]byte(k), v); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(context.Background())
					done := make(chan struct{})
					go func() {
						defer close(done)
						b.Run(ctx)
					}()
					return b, func() {
						cancel()
						<-done
					}
				}
				b, stop := begin(hook)
				for n := int64(1); n <= 4; n++ {
					inc := receivertest.Incident("203.0.113.7")
					inc.Revision, inc.Level = n, observation.High
					cause := alerting.CauseGrew
					if n == 1 {
						cause = alerting.CauseOpened
					}
					give := func() {
						seq, ops, err := b.Stage([]alerting.Revision{{
							Incident: &inc, Number: n, At: inc.LastSeen, Cause: cause, To: []alerting.Addressee{{Receiver: "team", Cause: cause}},
						}})
						if err != nil {
							t.Fatal(err)
						}
						mu.Lock()
						mine := s
						mu.Unlock()
						if err := mine.Commit(ops); err != nil {
							t.Fatal(err)
						}
						b.Committed(seq)
					}
					give()
					soon(t, "the revision", func() bool {
						select {
						case <-killed:
							killed = nil
							stop()
							b, stop = begin(func(string) {})
						default:
						}
						return len(b.Pending()) == 0
					})
				}
				stop()
				top, replies := f.Top(), f.Replies()
				if len(top) != 1 || len(replies) != 4 {
					t.Errorf("%d messages and %d replies", len(top), len(replies))
				}
			})
		}
	}
}
