package kafka_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
)

// TestAway takes the brokers away and brings them back.
func TestAway(t *testing.T) { away(t, kafkatest.Start(t, kafkatest.Options{})) }

func away(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 2)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 2, 0, 500, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 500 })
	k.Kill()
	await(t, "the partitions fail", func() bool {
		ok := true
		for p := range 2 {
			ok = ok && view(d, name(topic, p), func(x *tray) bool { return x.state == collectors.Failing && x.err != nil })
		}
		return ok
	})
	await(t, "the group is in trouble", func() bool { return strings.Contains(strings.Join(d.c.Trouble(), " "), "cannot be joined") })
	if n := d.c.Counts()[conn.ReasonUnreachable]; n == 0 {
		t.Errorf("counts: %v", d.c.Counts())
	}
	// Who notices first says it: a partition, or the group, which takes its partitions back.
	if n := strings.Count(d.book.String(), "cannot be read") + strings.Count(d.book.String(), "cannot be joined"); n == 0 || n > 5 {
		t.Errorf("%d log lines about it", n)
	}
	k.Restart()
	fill(k, topic, 2, 500, 500, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 1000 })
	await(t, "there is no trouble", func() bool { return len(d.c.Trouble()) == 0 })
	d.leave()
	same(t, k, topic, l)
}

func TestAwayReal(t *testing.T) { away(t, kafkatest.Real(t)) }

// TestHang: brokers that take requests and do not answer.
func TestHang(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{}), 1)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 1, 0, 100, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 100 })
	k.Hang()
	await(t, "the group is in trouble", func() bool { return len(d.c.Trouble()) > 0 })
	k.Restart()
	fill(k, topic, 1, 100, 100, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 200 })
	d.leave()
	same(t, k, topic, l)
}

// TestHangAtEnd: brokers that do not answer do not hold up the end of a run.
func TestHangAtEnd(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{}), 1)
	l := newLedger()
	d := sit(t, l, positions{}, patient(o))
	fill(k, topic, 1, 0, 100, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 100 })
	k.Hang()
	begun := time.Now()
	d.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.c.Finish(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	k.Restart()
	d.end()
}

// TestAwayAtStart: other collectors wait for so long and no longer.
func TestAwayAtStart(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{}), 1)
	fill(k, topic, 1, 0, 100, kafkatest.None)
	k.Kill()
	o.Hold = 50 * time.Millisecond
	l := newLedger()
	d := sit(t, l, positions{}, o)
	await(t, "others may go ahead", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.settled })
	await(t, "it says so", func() bool { return len(d.c.Trouble()) > 0 })
	k.Restart()
	await(t, "all read", func() bool { return l.total() == 100 })
	d.leave()
}
