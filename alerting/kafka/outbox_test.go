package kafka

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/collectors/kafka/kafkatest"
)

// store keeps what was committed, as a state file would.
type store struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *store) Commit(ops []alerting.StoreOp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		if op.Value == nil {
			delete(s.values, string(op.Key))
		} else {
			s.values[string(op.Key)] = op.Value
		}
	}
	return nil
}

// copied is what a killed process leaves behind at this moment.
func (s *store) copied() *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &store{values: maps.Clone(s.values)}
}

func (s *store) scan(f func(key, value []byte) error) error {
	for k, v := range s.values {
		if err := f([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

func outbox(t *testing.T, s *store, r *Receiver, hook func(string)) *alerting.Outbox {
	t.Helper()
	b, err := alerting.NewOutbox(alerting.OutboxOptions{
		Store: s, Targets: []alerting.Target{{Receiver: r}}, Hook: hook,
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, MaxRetryAfter: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// give stages and commits one revision of some incidents, as a cut does.
func give(t *testing.T, b *alerting.Outbox, s *store, incidents int, revision int64) {
	t.Helper()
	var rs []alerting.Revision
	for i := range incidents {
		inc := receivertest.Incident("203.0.113.7")
		inc.ID, inc.Revision = fmt.Sprintf("%016x", i), revision
		rs = append(rs, alerting.Revision{Incident: &inc, Number: revision, At: time.UnixMilli(1_780_000_000_000 + revision), Cause: alerting.CauseGrew})
	}
	seq, ops, err := b.Stage(rs)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ops); err != nil {
		t.Fatal(err)
	}
	b.Committed(seq)
}

// throughTheOutbox writes revisions of incidents while the brokers go away and
// come back: the last revision of each arrives, in order, and nothing is left.
func throughTheOutbox(t *testing.T, c *kafkatest.Cluster, conf Config, topic string) {
	t.Helper()
	conf.Timeout = 2 * time.Second
	s := &store{values: map[string][]byte{}}
	b := outbox(t, s, receiver(t, conf), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	const incidents, revisions = 40, 5
	for rev := range int64(revisions) {
		give(t, b, s, incidents, rev+1)
		switch rev {
		case 1:
			c.Kill()
		case 3:
			c.Restart()
		}
	}
	c.Await("the outbox to be empty", func() bool { return s.left() == 0 })
	last := map[string]int64{}
	for _, r := range c.Records(topic) {
		var rev int64
		var id string
		if _, err := fmt.Sscanf(r.Header("ce_id"), "%16s/%d", &id, &rev); err != nil || id != string(r.Key) {
			t.Fatalf("%q: %v", r.Header("ce_id"), err)
		}
		if rev < last[id] {
			t.Errorf("%s: revision %d came after %d", id, rev, last[id])
		}
		last[id] = rev
	}
	for i := range incidents {
		if id := fmt.Sprintf("%016x", i); last[id] != revisions {
			t.Errorf("%s: want revision %d last, got %d", id, revisions, last[id])
		}
	}
}

func TestThroughTheOutbox(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Topics: map[string]int{"t": 3}})
	throughTheOutbox(t, c, config(c.Access(kafkatest.Way{}), "t"), "t")
}

// TestKilled has a process end between Kafka's answer and the outbox's record
// of it: the next one writes the message again, the same to the byte, so that a
// consumer tells by its key that it is one.
func TestKilled(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{Topics: map[string]int{"t": 1}})
	conf := config(c.Access(kafkatest.Way{}), "t")
	s := &store{values: map[string][]byte{}}
	var remains *store
	var once sync.Once
	b := outbox(t, s, receiver(t, conf), func(point string) {
		if point == alerting.PointSentNotMarked {
			once.Do(func() { remains = s.copied() })
		}
	})
	run := func(b *alerting.Outbox, s *store) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.Run(ctx) })
		c.Await("the outbox to be empty", func() bool { return s.left() == 0 })
		cancel()
		wg.Wait()
	}
	give(t, b, s, 1, 1)
	run(b, s)
	again := outbox(t, remains, receiver(t, conf), nil)
	if err := again.Load(remains.scan); err != nil {
		t.Fatal(err)
	}
	run(again, remains)
	got := c.Records("t")
	if len(got) != 2 {
		t.Fatalf("want the message twice, got %d", len(got))
	}
	if string(got[0].Key) != string(got[1].Key) || string(got[0].Value) != string(got[1].Value) ||
		got[0].Header("ce_id") != got[1].Header("ce_id") || !got[0].Time.Equal(got[1].Time) {
		t.Errorf("want equal messages, got %+v and %+v", got[0], got[1])
	}
}
