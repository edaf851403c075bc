package kafka_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/kafkatest"
)

// reset: an operator sets the group's offset, back or forward.
func reset(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	saved := positions{}
	fill(k, topic, 1, 0, 100, kafkatest.None)
	for _, c := range []struct{ to, want int64 }{{-1, 100}, {40, 60}, {90, 10}, {100, 0}} {
		if c.to >= 0 {
			k.Commit(o.Group, topic, 0, c.to)
		}
		l := newLedger()
		d := sit(t, l, saved, o)
		await(t, "it is idle", func() bool {
			return view(d, name(topic, 0), func(x *tray) bool {
				return x.state == collectors.Idle && len(x.pending) == 0 && x.at.Offset == collectors.LogicalOffset(100)
			})
		})
		d.leave()
		d.checkpoint() // it holds what Kafka acknowledged at the end
		if got := int64(l.total()); got != c.want {
			t.Errorf("reset to %d: %d records read, want %d", c.to, got, c.want)
		}
		if c.to >= 0 && c.to < 100 && d.c.Counts()["moved"] != 1 {
			t.Errorf("reset to %d: %v", c.to, d.c.Counts())
		}
	}
}

// notJudged: a run goes on where others are, and ends before anything was judged
// there. The next one must not take its own old position for right because Kafka has
// what this one was told.
func notJudged(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	saved := positions{}
	fill(k, topic, 1, 0, 300, kafkatest.None)
	for _, c := range []struct {
		to     int64 // that somebody commits before the run, -1 for nobody
		freeze bool
		want   int // judged
	}{{-1, false, 300}, {100, true, 0}, {-1, false, 200}, {-1, false, 0}, {40, true, 0}, {290, true, 0}, {-1, false, 10}, {-1, false, 0}} {
		if c.to >= 0 {
			k.Commit(o.Group, topic, 0, c.to)
		}
		l := newLedger()
		d := sit(t, l, saved, o, func(d *desk) { d.freeze = c.freeze })
		await(t, "it is idle", func() bool {
			return view(d, name(topic, 0), func(x *tray) bool { return x.state == collectors.Idle && (c.freeze || len(x.pending) == 0) })
		})
		d.leave()
		d.checkpoint()
		if got := l.total(); got != c.want {
			t.Errorf("%+v: %d records judged", c, got)
		}
	}
}

func beginnings(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	var all []kafkatest.Record
	for i := range 100 {
		all = append(all, kafkatest.Record{Topic: topic, Value: fmt.Appendf(nil, "line %d", i), Time: at.Add(time.Duration(i) * time.Second)})
	}
	k.Produce(all...)
	for _, c := range []struct {
		begin kafka.Begin
		at    time.Time
		want  int
	}{{kafka.First, time.Time{}, 100}, {kafka.Last, time.Time{}, 0}, {kafka.At, at.Add(30 * time.Second), 70}, {kafka.At, at.Add(24 * time.Hour), 0}} {
		o := o
		o.Group += fmt.Sprintf("-%d-%d", c.begin, c.want)
		o.Begin, o.BeginAt = c.begin, c.at
		l := newLedger()
		d := sit(t, l, positions{}, o)
		await(t, "it is idle", func() bool {
			return view(d, name(topic, 0), func(x *tray) bool {
				return x.state == collectors.Idle && len(x.pending) == 0 && x.at.Offset == collectors.LogicalOffset(100)
			})
		})
		d.leave()
		if l.total() != c.want {
			t.Errorf("begin %d at %s: %d records, want %d", c.begin, c.at, l.total(), c.want)
		}
		if got := k.Committed(o.Group)[topic][0]; got != 100 {
			t.Errorf("begin %d: committed %d, want 100, also where nothing was read", c.begin, got)
		}
	}
}

// anew makes a topic anew: while nobody reads it, and while somebody does,
// with fewer records than were read and with more.
func anew(t *testing.T, k *kafkatest.Cluster) {
	for _, stale := range []kafka.Stale{kafka.Earliest, kafka.Latest, kafka.Stop} {
		for _, n := range []int{10, 300} {
			t.Run(fmt.Sprintf("stopped/stale=%d/%d", stale, n), func(t *testing.T) {
				k, topic, o := setup(t, k, 1)
				o.Stale = stale
				saved := positions{}
				fill(k, topic, 1, 0, 100, kafkatest.None)
				l := newLedger()
				d := sit(t, l, saved, o)
				await(t, "all read", func() bool { return l.total() == 100 })
				d.leave()
				k.RecreateTopic(topic, 1)
				fill(k, topic, 1, 1000, n, kafkatest.None)
				l = newLedger()
				d = sit(t, l, saved, o)
				state, want := collectors.Idle, map[kafka.Stale]int{kafka.Earliest: n}[stale]
				if stale == kafka.Stop {
					state = collectors.Failing
				}
				await(t, "it is where it should be", func() bool {
					return view(d, name(topic, 0), func(x *tray) bool {
						return x.state == state && (stale == kafka.Stop || x.at.Offset == collectors.LogicalOffset(int64(n)))
					})
				})
				if d.c.Counts()["recreated"] != 1 {
					t.Errorf("counts: %v", d.c.Counts())
				}
				if stale == kafka.Stop {
					if err := view(d, name(topic, 0), func(x *tray) error { return x.err }); err == nil || !strings.Contains(err.Error(), "stopped") {
						t.Errorf("the error is %v", err)
					}
				}
				d.leave()
				if l.total() != want {
					t.Errorf("%d records, want %d", l.total(), want)
				}
				for _, text := range l.texts {
					if !strings.HasPrefix(text, "line 1") || len(text) < len("line 1000") {
						t.Errorf("%q is of the topic before", text)
					}
				}
			})
		}
	}
	t.Run("while it is read", func(t *testing.T) {
		k, topic, o := setup(t, k, 2)
		l := newLedger()
		d := sit(t, l, positions{}, o)
		fill(k, topic, 2, 0, 200, kafkatest.None)
		await(t, "all read", func() bool { return l.total() == 200 })
		k.RecreateTopic(topic, 2)
		fill(k, topic, 2, 1000, 600, kafkatest.None)
		await(t, "all of the new one read", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			n := 0
			for _, text := range l.texts {
				if len(text) == len("line 1000") {
					n++
				}
			}
			return n == 600
		})
		d.leave()
	})
}

// expiry: retention is faster than the reader.
func expiry(t *testing.T, k *kafkatest.Cluster) {
	for _, stale := range []kafka.Stale{kafka.Earliest, kafka.Latest, kafka.Stop} {
		t.Run(fmt.Sprintf("stale=%d", stale), func(t *testing.T) {
			k, topic, o := setup(t, k, 1)
			o.Stale = stale
			saved := positions{}
			fill(k, topic, 1, 0, 100, kafkatest.None)
			l := newLedger()
			d := sit(t, l, saved, o)
			await(t, "all read", func() bool { return l.total() == 100 })
			d.leave()
			fill(k, topic, 1, 100, 100, kafkatest.None)
			k.DeleteRecords(topic, 0, 150)
			l = newLedger()
			d = sit(t, l, saved, o)
			want := map[kafka.Stale]int{kafka.Earliest: 50}[stale]
			state := collectors.Idle
			if stale == kafka.Stop {
				state = collectors.Failing
			}
			await(t, "it is where it should be", func() bool {
				return view(d, name(topic, 0), func(x *tray) bool { return x.state == state && len(x.pending) == 0 })
			})
			skipped := view(d, name(topic, 0), func(x *tray) int64 { return x.skipped[kafka.SkippedExpired] })
			gaps := view(d, name(topic, 0), func(x *tray) int { return x.gaps })
			d.leave()
			if l.total() != want || d.c.Counts()["expired"] != 1 {
				t.Errorf("%d records, want %d; counts %v", l.total(), want, d.c.Counts())
			}
			if stale != kafka.Stop && (skipped != 50 || gaps != 1) {
				t.Errorf("%d records counted as expired, want 50; %d gaps, want 1", skipped, gaps)
			}
		})
	}
	t.Run("while it is read", func(t *testing.T) {
		k, topic, o := setup(t, k, 1)
		l := newLedger()
		d := sit(t, l, positions{}, o)
		d.mu.Lock()
		d.freeze = true
		d.mu.Unlock()
		fill(k, topic, 1, 0, 5000, kafkatest.None)
		await(t, "it cannot go on", func() bool { return view(d, name(topic, 0), func(x *tray) bool { return len(x.pending) == 4 }) })
		fill(k, topic, 1, 5000, 20_000, kafkatest.None)
		k.DeleteRecords(topic, 0, 24_000)
		d.mu.Lock()
		d.freeze = false
		d.mu.Unlock()
		await(t, "it is at the end", func() bool {
			return view(d, name(topic, 0), func(x *tray) bool { return x.at.Offset == collectors.LogicalOffset(25_000) })
		})
		skipped := view(d, name(topic, 0), func(x *tray) int64 { return x.skipped[kafka.SkippedExpired] })
		d.leave()
		if int(skipped)+l.total() != 25_000 || skipped == 0 {
			t.Errorf("%d read and %d counted as expired, want 25000 together", l.total(), skipped)
		}
		if d := l.doubled(); len(d) > 0 {
			t.Errorf("doubled: %v", d[:min(len(d), 5)])
		}
	})
}
