package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
)

type positions = map[string]collectors.Position

// setup makes a topic and options for it with a group of its own.
func setup(t *testing.T, k *kafkatest.Cluster, partitions int) (*kafkatest.Cluster, string, kafka.Options) {
	t.Helper()
	k = k.For(t)
	topic := k.Topic(partitions)
	o := options(t, k.Brokers(), topic)
	o.Group = topic
	if k.IsReal() {
		o.Session, o.Heartbeat, o.Rebalance = 6*time.Second, 200*time.Millisecond, 10*time.Second
	}
	return k, topic, o
}

func name(topic string, partition int) string { return fmt.Sprintf("kafka:%s/%d", topic, partition) }

// patient are options where nobody dies: a member that gets no processor for a while
// is not taken for dead, and its partitions are not read twice.
func patient(o kafka.Options) kafka.Options {
	o.Session, o.Rebalance = 30*time.Second, 60*time.Second
	return o
}

// suite is what must hold with any broker.
func suite(t *testing.T, k *kafkatest.Cluster) {
	t.Run("codecs", func(t *testing.T) {
		k, topic, o := setup(t, k, 2)
		n := 0
		for _, codec := range kafkatest.Codecs() {
			fill(k, topic, 2, n, 500, codec)
			n += 500
		}
		l := newLedger()
		d := sit(t, l, positions{}, o)
		await(t, "all read", func() bool { return l.total() == n })
		d.leave()
		same(t, k, topic, l)
		if d := cmp.Diff(k.Ends(topic), k.Committed(o.Group)[topic]); d != "" {
			t.Errorf("committed offsets (-want +got):\n%s", d)
		}
		if g := k.Group(o.Group); len(g.Members) != 0 {
			t.Errorf("the member did not leave: %+v", g)
		}
	})
	t.Run("stop and go", func(t *testing.T) { stopAndGo(t, k) })
	t.Run("three members", func(t *testing.T) { threeMembers(t, k, 12_000) })
	t.Run("more members than partitions", func(t *testing.T) {
		k, topic, o := setup(t, k, 1)
		l := newLedger()
		a := sit(t, l, positions{}, o)
		await(t, "it is assigned", func() bool { return a.assigned() == 1 })
		b := sit(t, l, positions{}, o)
		k.AwaitGroup(o.Group, 2)
		fill(k, topic, 1, 0, 500, kafkatest.None)
		await(t, "all read", func() bool { return l.total() == 500 })
		await(t, "both are settled", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.settled })
		a.leave()
		fill(k, topic, 1, 500, 500, kafkatest.None)
		await(t, "the rest read", func() bool { return l.total() == 1000 })
		b.leave()
		same(t, k, topic, l)
	})
	t.Run("goes and comes back", func(t *testing.T) { comesBack(t, k) })
	t.Run("reset by somebody", func(t *testing.T) { reset(t, k) })
	t.Run("moved and not judged", func(t *testing.T) { notJudged(t, k) })
	t.Run("group expired", func(t *testing.T) {
		k, topic, o := setup(t, k, 1)
		l, saved := newLedger(), positions{}
		fill(k, topic, 1, 0, 100, kafkatest.None)
		d := sit(t, l, saved, o)
		await(t, "all read", func() bool { return l.total() == 100 })
		d.leave()
		k.ForgetGroup(o.Group)
		fill(k, topic, 1, 100, 100, kafkatest.None)
		d = sit(t, l, saved, o)
		await(t, "the rest read", func() bool { return l.total() == 200 })
		d.leave()
		same(t, k, topic, l)
	})
	t.Run("begin", func(t *testing.T) { beginnings(t, k) })
	t.Run("recreated", func(t *testing.T) { anew(t, k) })
	t.Run("expired", func(t *testing.T) { expiry(t, k) })
	t.Run("odd messages", func(t *testing.T) { odd(t, k) })
	t.Run("transactions", func(t *testing.T) {
		k, topic, o := setup(t, k, 1)
		for i, commit := range []bool{true, false, true, false} {
			k.Transaction(commit, kafkatest.Lines(topic, 0, fmt.Sprintf("%t %d", commit, i), "x")...)
		}
		l := newLedger()
		d := sit(t, l, positions{}, o)
		await(t, "it is idle at the end", func() bool {
			return view(d, name(topic, 0), func(x *tray) bool {
				offset, _ := collectors.MessageOffset(x.at.Offset)
				return x.state == collectors.Idle && offset == 12
			})
		})
		d.leave()
		for _, text := range l.texts {
			if strings.HasPrefix(text, "false") {
				t.Errorf("%q was aborted", text)
			}
		}
		if l.total() != 4 {
			t.Errorf("%d records, want 4", l.total())
		}
		if got := k.Committed(o.Group)[topic][0]; got != 12 {
			t.Errorf("committed %d, want 12, behind the last control record", got)
		}
	})
	t.Run("stands still", func(t *testing.T) { standsStill(t, k) })
	t.Run("nobody takes", func(t *testing.T) { untaken(t, k) })
	t.Run("unknown topic", func(t *testing.T) { unknown(t, k) })
	t.Run("pattern", func(t *testing.T) { pattern(t, k) })
	t.Run("more partitions", func(t *testing.T) {
		k, topic, o := setup(t, k, 1)
		l := newLedger()
		d := sit(t, l, positions{}, o)
		fill(k, topic, 1, 0, 100, kafkatest.None)
		await(t, "all read", func() bool { return l.total() == 100 })
		k.AddPartitions(topic, 3)
		fill(k, topic, 3, 100, 300, kafkatest.None)
		await(t, "the rest read", func() bool { return l.total() == 400 })
		d.leave()
		same(t, k, topic, l)
	})
	t.Run("dead letters", func(t *testing.T) { letters(t, k) })
	t.Run("dead letters lost", func(t *testing.T) { lostLetters(t, k) })
	t.Run("evidence", func(t *testing.T) { evidence(t, k) })
}

func TestKafka(t *testing.T) { suite(t, kafkatest.Start(t, kafkatest.Options{})) }

func TestKafkaReal(t *testing.T) { suite(t, kafkatest.Real(t)) }

// stopAndGo stops and kills a collector again and again while records come.
func stopAndGo(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 3)
	o = patient(o)
	l, saved := newLedger(), positions{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		d := sit(t, l, saved, o)
		before := l.total()
		fill(k, topic, 3, i*500, 500, kafkatest.Codecs()[i%5])
		await(t, "something read", func() bool { return l.total() > before })
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond) // somewhere in the middle
		if i%2 == 0 {
			d.leave()
		} else {
			d.kill()
		}
	}
	d := sit(t, l, saved, o)
	await(t, "all read", func() bool { return l.total() == 4000 })
	d.leave()
	same(t, k, topic, l)
}

// threeMembers lets members join and leave while records come.
func threeMembers(t *testing.T, k *kafkatest.Cluster, n int) {
	k, topic, o := setup(t, k, 6)
	o = patient(o)
	l := newLedger()
	saved := []positions{{}, {}, {}}
	steps := []struct{ join, leave int }{{0, -1}, {1, -1}, {2, -1}, {-1, 0}, {0, -1}, {-1, 1}, {-1, 2}, {1, -1}}
	desks := map[int]*desk{}
	for i, s := range steps {
		if s.join >= 0 {
			desks[s.join] = sit(t, l, saved[s.join], o)
		}
		if s.leave >= 0 {
			desks[s.leave].leave()
			delete(desks, s.leave)
		}
		from, to := n*i/len(steps), n*(i+1)/len(steps)
		fill(k, topic, 6, from, to-from, kafkatest.Codecs()[i%5])
		k.AwaitGroup(o.Group, len(desks))
		await(t, "every partition has somebody", func() bool {
			sum := 0
			for _, d := range desks {
				sum += d.assigned()
			}
			return sum == 6
		})
	}
	await(t, "all read", func() bool { return l.total() == n })
	for _, d := range desks {
		d.leave()
	}
	same(t, k, topic, l)
}

// comesBack: what a member judged before its partition went elsewhere is not
// judged again when it comes back, nor what others judged meanwhile.
func comesBack(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 2)
	o = patient(o)
	l, first, second := newLedger(), positions{}, positions{}
	a := sit(t, l, first, o)
	fill(k, topic, 2, 0, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 1000 })
	b := sit(t, l, second, o)
	await(t, "each has one", func() bool { return a.assigned() == 1 && b.assigned() == 1 })
	fill(k, topic, 2, 1000, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 2000 })
	b.leave()
	fill(k, topic, 2, 2000, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 3000 })
	gaps := 0
	for p := range 2 {
		gaps += view(a, name(topic, p), func(x *tray) int { return x.gaps })
	}
	if gaps != 1 {
		t.Errorf("%d gaps, want 1: half of what came was counted elsewhere", gaps)
	}
	if n := a.c.Counts()["moved"]; n != 1 {
		t.Errorf("moved %d times, want once", n)
	}
	a.leave()
	same(t, k, topic, l)
}

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

// odd has messages without a value, without anything in it, and too long ones.
func odd(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	o.MaxMessage, o.Headers = 2000, []string{"wanted"}
	long := []byte(strings.Repeat("x", 3000))
	k.Produce(
		kafkatest.Record{Topic: topic, Key: []byte("k"), Value: nil},
		kafkatest.Record{Topic: topic, Value: []byte{}},
		kafkatest.Record{Topic: topic, Value: long},
		kafkatest.Record{Topic: topic, Value: []byte("fine"), Headers: []kafkatest.Header{{Key: "other", Value: []byte("a")}, {Key: "wanted", Value: []byte("b")}}},
		kafkatest.Record{Topic: topic, Key: []byte("gone"), Value: nil},
	)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	await(t, "it is at the end", func() bool {
		return view(d, name(topic, 0), func(x *tray) bool { return x.at.Offset == collectors.LogicalOffset(5) && x.state == collectors.Idle })
	})
	skipped := view(d, name(topic, 0), func(x *tray) map[string]int64 { return x.skipped })
	d.leave()
	if want := map[string]int64{kafka.SkippedTombstone: 2, kafka.SkippedTooLarge: 1}; cmp.Diff(want, skipped) != "" || l.total() != 2 {
		t.Errorf("skipped %v, want %v; %d read, want 2", skipped, want, l.total())
	}
	t.Run("batches", func(t *testing.T) {
		k, topic, o := setup(t, k, 1)
		o.MaxBatch, o.MaxMessage = 20_000, 20_000
		n := 0
		for i, codec := range kafkatest.Codecs() {
			big := kafkatest.Record{Topic: topic, Value: []byte(strings.Repeat("y", 100_000))}
			k.ProduceWith(codec, kafkatest.Lines(topic, 0, "a", "b")...)
			k.ProduceWith(codec, big)
			n = 3 * (i + 1)
		}
		l := newLedger()
		d := sit(t, l, positions{}, o)
		await(t, "it is at the end", func() bool {
			return view(d, name(topic, 0), func(x *tray) bool {
				return x.at.Offset == collectors.LogicalOffset(int64(n)) && x.state == collectors.Idle
			})
		})
		skipped := view(d, name(topic, 0), func(x *tray) map[string]int64 { return x.skipped })
		d.leave()
		if want := map[string]int64{kafka.SkippedTooLarge: 5}; cmp.Diff(want, skipped) != "" || l.total() != 10 {
			t.Errorf("skipped %v, want %v; %d read, want 10", skipped, want, l.total())
		}
	})
}

// standsStill: a transaction that is not ended keeps records from readers. It is said,
// once in a while, and over when the transaction is.
func standsStill(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	o.Stall = 100 * time.Millisecond
	end := k.OpenTransaction(kafkatest.Lines(topic, 0, "a", "b")...)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	await(t, "it is said often", func() bool { return d.c.Counts()["stalled"] >= 3 })
	if text := strings.Join(d.c.Trouble(), " "); !strings.Contains(text, name(topic, 0)+" stands still at offset 0") || !strings.Contains(text, "a transaction is open since offset 0") {
		t.Errorf("trouble: %q", text)
	}
	if n := strings.Count(d.book.String(), "partition stands still"); n != 1 {
		t.Errorf("%d log lines about it, want 1", n)
	}
	end(true)
	await(t, "all read", func() bool { return l.total() == 2 })
	await(t, "there is no trouble", func() bool { return len(d.c.Trouble()) == 0 })
	d.leave()
}

// untaken: records that the merge does not take are reported.
func untaken(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	o.Stall = 100 * time.Millisecond
	fill(k, topic, 1, 0, 3000, kafkatest.None)
	l := newLedger()
	d := sit(t, l, positions{}, o, func(d *desk) { d.freeze = true })
	await(t, "it is said often", func() bool { return d.c.Counts()["untaken"] >= 3 })
	if text := strings.Join(d.c.Trouble(), " "); !strings.Contains(text, name(topic, 0)+" has records that nobody takes since") {
		t.Errorf("trouble: %q", text)
	}
	if n := strings.Count(d.book.String(), "records wait and nobody takes them"); n != 1 {
		t.Errorf("%d log lines about it, want 1", n)
	}
	d.mu.Lock()
	d.freeze = false
	d.mu.Unlock()
	await(t, "all read", func() bool { return l.total() == 3000 })
	await(t, "there is no trouble", func() bool { return len(d.c.Trouble()) == 0 })
	d.leave()
}

// unknown: a topic that is not there is said and taken up once it is, while
// others are read, and is not made by looking for it.
func unknown(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	later := topic + ".later"
	o.Topics = []string{topic, later}
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 1, 0, 100, kafkatest.None)
	await(t, "the one that is there is read", func() bool { return l.total() == 100 })
	if text := strings.Join(d.c.Trouble(), "; "); !strings.Contains(text, later) {
		t.Errorf("trouble: %q", text)
	}
	if d.c.Counts()[conn.ReasonUnknownTopic] == 0 {
		t.Errorf("counts: %v", d.c.Counts())
	}
	k.CreateTopic(later, 2, nil)
	fill(k, later, 2, 0, 100, kafkatest.None)
	await(t, "the other one too", func() bool { return l.total() == 200 })
	await(t, "there is no trouble", func() bool { return len(d.c.Trouble()) == 0 })
	k.DeleteTopic(later)
	await(t, "the deleted one is gone", func() bool {
		return view(d, name(later, 1), func(x *tray) bool { return x.state == collectors.Gone })
	})
	fill(k, topic, 1, 100, 100, kafkatest.None)
	await(t, "the other goes on", func() bool { return l.total() == 300 })
	d.leave()
}

func pattern(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	re, err := kafka.ParsePattern(strings.ReplaceAll(topic, ".", `\.`) + `(\.[ab])?`)
	if err != nil {
		t.Fatal(err)
	}
	o.Topics, o.Pattern = nil, re
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 1, 0, 10, kafkatest.None)
	await(t, "the first is read", func() bool { return l.total() == 10 })
	for i, suffix := range []string{".a", ".c", ".b"} {
		k.CreateTopic(topic+suffix, 1, nil)
		fill(k, topic+suffix, 1, 10*i, 10, kafkatest.None)
	}
	await(t, "those that match are read", func() bool { return l.total() == 30 })
	d.leave()
	d.mu.Lock()
	names := slices.Sorted(maps.Keys(d.trays))
	d.mu.Unlock()
	want := []string{name(topic, 0), name(topic+".a", 0), name(topic+".b", 0)}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("sources %v, want %v", names, want)
	}
}

func letters(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	dead := topic + ".dead"
	k.CreateTopic(dead, 1, nil)
	var err error
	if o.DeadLetters, err = kafka.DeadLetterTopic(o.Cluster, dead); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.DeadLetters.Close(); err != nil {
			t.Error(err)
		}
	}()
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 1, 0, 3, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 3 })
	at := time.UnixMilli(1795413600123)
	lost := d.c.PutAside(t.Context(), []collectors.Reject{
		{Source: name(topic, 0), Offset: collectors.LogicalOffset(2) + 1, Reason: "bad_json", Key: []byte("k"), Value: []byte("{"), Time: at.UnixNano()},
		{Source: name(topic, 0), Offset: collectors.LogicalOffset(7), Reason: "too_large"},
	})
	if lost != 0 {
		t.Errorf("%d lost", lost)
	}
	d.leave()
	got := k.Records(dead)
	if len(got) != 2 {
		t.Fatalf("%d dead letters, want 2", len(got))
	}
	r := got[0]
	if string(r.Value) != "{" || string(r.Key) != "k" || !r.Time.Equal(at) {
		t.Errorf("dead letter: %+v", r)
	}
	for header, want := range map[string]string{
		"gatewatch.reason": "bad_json", "gatewatch.topic": topic, "gatewatch.partition": "0", "gatewatch.offset": "2", "gatewatch.line": "2",
		"gatewatch.source": name(topic, 0),
	} {
		if got := r.Header(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
}

// lostLetters: a dead-letter topic that is not there holds nothing up. It is said, and not
// for ever: nothing may have to be put aside for days.
func lostLetters(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	var err error
	if o.DeadLetters, err = kafka.DeadLetterTopic(o.Cluster, topic+".nowhere"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.DeadLetters.Close(); err != nil {
			t.Error(err)
		}
	}()
	var later atomic.Int64
	o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 1, 0, 10, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 10 })
	reject := []collectors.Reject{{Source: name(topic, 0), Offset: collectors.LogicalOffset(2), Reason: "bad_json", Value: []byte("{")}}
	for range 2 { // the second one soon after is not tried
		if lost := d.c.PutAside(t.Context(), reject); lost != 1 {
			t.Errorf("%d lost, want 1", lost)
		}
	}
	if text := strings.Join(d.c.Trouble(), " "); !strings.Contains(text, "not put aside") || !strings.Contains(text, topic+".nowhere") {
		t.Errorf("trouble: %q", text)
	}
	if n := d.c.Counts()["dead_letter_failed"]; n != 2 {
		t.Errorf("counts: %v", d.c.Counts())
	}
	fill(k, topic, 1, 10, 10, kafkatest.None)
	await(t, "reading goes on", func() bool { return l.total() == 20 })
	later.Store(int64(6 * time.Minute))
	if text := d.c.Trouble(); len(text) != 0 {
		t.Errorf("trouble, long after: %q", text)
	}
	d.leave()
}

// TestDeadLetterFile writes rejects to a file that is set aside when it is long.
func TestDeadLetterFile(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{}), 1)
	path := filepath.Join(t.TempDir(), "dead.jsonl")
	o.DeadLetters = kafka.DeadLetterFile(path, 300)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	fill(k, topic, 1, 0, 3, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 3 })
	for i := range 4 {
		value := []byte("{")
		if i == 3 {
			value = []byte{0xff, 0xfe}
		}
		lost := d.c.PutAside(t.Context(), []collectors.Reject{{
			Source: name(topic, 0), Offset: collectors.LogicalOffset(int64(i)) + 1, Reason: "bad_json", Key: []byte("k"), Value: value, Time: 1_795_413_600_123_000_000,
		}})
		if lost != 0 {
			t.Errorf("%d lost", lost)
		}
	}
	d.leave()
	var got []map[string]any
	for _, p := range []string{path + ".1", path} {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var x map[string]any
			if err := json.Unmarshal([]byte(line), &x); err != nil {
				t.Fatal(err)
			}
			got = append(got, x)
		}
	}
	if len(got) != 4 {
		t.Fatalf("%d dead letters in both files, want 4: %v", len(got), got)
	}
	for i, x := range got {
		want := map[string]any{
			"time": "2026-11-23T06:00:00.123Z", "source": name(topic, 0), "topic": topic, "partition": 0.0, "offset": float64(i), "line": 2.0,
			"reason": "bad_json", "key": "k", "text": "{",
		}
		if i == 3 {
			delete(want, "text")
			want["bytes"] = "//4="
		}
		if diff := cmp.Diff(want, x); diff != "" {
			t.Errorf("letter %d (-want +got):\n%s", i, diff)
		}
	}
}

func evidence(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 1)
	k.ProduceWith(kafkatest.Zstd, kafkatest.Lines(topic, 0, "first\nsecond\nthird", `["a","b"]`, "alone")...)
	k.ProduceWith(kafkatest.Gzip, kafkatest.Lines(topic, 0, "later")...)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	await(t, "all read", func() bool { return l.total() == 4 })
	src := view(d, name(topic, 0), func(x *tray) collectors.Source { return x.src })
	at := func(message int64, line int, length uint32) collectors.Lookup {
		return collectors.Lookup{Offset: collectors.LogicalOffset(message) + int64(line), Length: length}
	}
	got := src.Fetch(t.Context(), []collectors.Lookup{at(3, 0, 5), at(0, 1, 6), at(1, 1, 1), at(2, 0, 5), at(2, 0, 9), at(0, 7, 1), at(99, 0, 1)})
	d.leave()
	file := func(n int) string { return fmt.Sprintf("%s@%d", name(topic, 0), n) }
	want := []collectors.Text{
		{File: file(3), Line: 1, Text: "later"},
		{File: file(0), Line: 2, Text: "second"},
		{File: file(1), Line: 2, Text: "b"},
		{File: file(2), Line: 1, Text: "alone"},
		{},
		{},
		{},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestMany reads 100,000 records with members that join and leave.
func TestMany(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	threeMembers(t, kafkatest.Start(t, kafkatest.Options{}), n)
}

// TestDeadMember: a member that is not heard of any more loses its partitions
// to another, which goes on where the dead one had committed.
func TestDeadMember(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{}), 4)
	l, saved := newLedger(), positions{}
	a := sit(t, l, saved, o)
	await(t, "a has all", func() bool { return a.assigned() == 4 })
	b := sit(t, l, positions{}, o)
	await(t, "each has its part", func() bool { return a.assigned() == 2 && b.assigned() == 2 })
	fill(k, topic, 4, 0, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 1000 })
	await(t, "all committed", func() bool {
		sum := int64(0)
		for _, n := range k.Committed(o.Group)[topic] {
			sum += n
		}
		return sum == 1000
	})
	// What a member says in the group does not arrive any more, and neither does
	// it get an answer: its process is gone.
	victim := ""
	for _, m := range k.Group(o.Group).Members {
		if len(m.Partitions[topic]) > 0 {
			victim = m.ID
			break
		}
	}
	var dead atomic.Bool
	dead.Store(true)
	for _, key := range []int16{12, 8, 13, 11} { // heartbeat, commit, leave, join
		k.Fake().ControlKey(key, func(req kmsg.Request) (kmsg.Response, error, bool) {
			k.Fake().KeepControl()
			if !dead.Load() {
				return nil, nil, false
			}
			id := ""
			switch r := req.(type) {
			case *kmsg.HeartbeatRequest:
				id = r.MemberID
			case *kmsg.OffsetCommitRequest:
				id = r.MemberID
			case *kmsg.LeaveGroupRequest:
				id = r.MemberID
			case *kmsg.JoinGroupRequest:
				id = r.MemberID
			}
			return nil, errTest, id == victim
		})
	}
	fill(k, topic, 4, 1000, 1000, kafkatest.None)
	await(t, "the other one has all, and all is read", func() bool {
		return max(a.assigned(), b.assigned()) == 4 || l.total() == 2000
	})
	await(t, "all read", func() bool { return l.total() == 2000 })
	dead.Store(false)
	a.kill()
	b.kill()
	if d := l.doubled(); len(d) > 0 {
		// A zombie judges on until it notices; what it made durable beyond its last
		// commit is judged again elsewhere. It is bounded by the session.
		t.Logf("judged by the dead member too: %v", d)
	}
}

// TestInjected answers requests with errors, now and then, of every kind that a
// broker may answer with.
func TestInjected(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{Brokers: 2}), 4)
	r := rand.New(rand.NewPCG(3, 4))
	var asked atomic.Int64
	var over atomic.Bool // the test reads the topic itself then, and does not take faults as the collector must
	fault := func() int16 {
		list := []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.FencedLeaderEpoch, kerr.KafkaStorageError,
			kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RebalanceInProgress, kerr.RequestTimedOut, kerr.UnknownServerError,
		}
		return list[r.IntN(len(list))].Code
	}
	k.Fake().ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() || asked.Add(1)%40 != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.HeartbeatResponse)
		res.ErrorCode = fault()
		return res, nil, true
	})
	k.Fake().ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() || r.IntN(5) != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, x := range req.(*kmsg.OffsetCommitRequest).Topics {
			out := kmsg.NewOffsetCommitResponseTopic()
			out.Topic = x.Topic
			for _, p := range x.Partitions {
				part := kmsg.NewOffsetCommitResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, fault()
				out.Partitions = append(out.Partitions, part)
			}
			res.Topics = append(res.Topics, out)
		}
		return res, nil, true
	})
	k.Fake().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() {
			return nil, nil, false
		}
		switch r.IntN(30) {
		case 0: // the connection breaks
			return nil, errTest, true
		case 1:
			q := req.(*kmsg.FetchRequest)
			res := req.ResponseKind().(*kmsg.FetchResponse)
			for _, x := range q.Topics {
				out := kmsg.NewFetchResponseTopic()
				out.Topic, out.TopicID = x.Topic, x.TopicID
				for _, p := range x.Partitions {
					part := kmsg.NewFetchResponseTopicPartition()
					part.Partition, part.ErrorCode = p.Partition, fault()
					out.Partitions = append(out.Partitions, part)
				}
				res.Topics = append(res.Topics, out)
			}
			return res, nil, true
		}
		return nil, nil, false
	})
	k.Fake().ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() || r.IntN(4) != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.JoinGroupResponse)
		res.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return res, nil, true
	})
	l := newLedger()
	d := sit(t, l, positions{}, o)
	n := 0
	for range 20 {
		fill(k, topic, 4, n, 250, kafkatest.None)
		n += 250
		await(t, "all read", func() bool { return l.total() == n })
	}
	d.leave()
	over.Store(true)
	same(t, k, topic, l)
	t.Logf("%v", d.c.Counts())
}

// TestLeaderMoves: partitions change their leaders while they are read.
func TestLeaderMoves(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{Brokers: 3}), 3)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	for i := range 10 {
		fill(k, topic, 3, i*300, 300, kafkatest.None)
		if err := k.Fake().MoveTopicPartition(topic, int32(i%3), int32((i+i/3)%3)); err != nil {
			t.Fatal(err)
		}
		await(t, "all read", func() bool { return l.total() == (i+1)*300 })
	}
	d.leave()
	same(t, k, topic, l)
}

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

// TestWays reads over every kind of connection, and says who was refused.
func TestWays(t *testing.T) {
	for _, w := range kafkatest.Ways() {
		t.Run(w.String(), func(t *testing.T) {
			k := kafkatest.Start(t, kafkatest.Options{Way: w})
			topic := k.Topic(1)
			fill(k, topic, 1, 0, 100, kafkatest.None)
			ways(t, k, w, topic)
		})
	}
}

func TestWaysReal(t *testing.T) {
	k := kafkatest.Real(t)
	for _, w := range kafkatest.Ways() {
		t.Run(w.String(), func(t *testing.T) {
			k := k.For(t)
			topic := k.Topic(1)
			fill(k, topic, 1, 0, 100, kafkatest.None)
			ways(t, k, w, topic)
		})
	}
}

type secret string

func (s secret) Read() (string, error) { return string(s), nil }

func ways(t *testing.T, k *kafkatest.Cluster, w kafkatest.Way, topic string) {
	t.Helper()
	a := k.Access(w)
	c := conn.Config{Brokers: a.Brokers, Timeout: 5 * time.Second}
	if a.CAFile != "" {
		c.TLS = &conn.TLS{CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile}
	}
	if a.Mechanism != "" {
		c.SASL = &conn.SASL{Mechanism: a.Mechanism, Username: a.User, Password: secret("wrong")}
	}
	o := options(t, a.Brokers, topic)
	o.Group = topic
	if k.IsReal() {
		o.Session = 6 * time.Second
	}
	var err error
	if a.Mechanism != "" {
		if o.Cluster, err = conn.New(c); err != nil {
			t.Fatal(err)
		}
		d := sit(t, newLedger(), positions{}, o)
		await(t, "the refused login is said", func() bool { return strings.Contains(strings.Join(d.c.Trouble(), " "), "login_refused") })
		d.kill()
		if d.c.Counts()[conn.ReasonLogin] == 0 || strings.Contains(d.book.String(), "wrong") {
			t.Errorf("counts %v, log %s", d.c.Counts(), d.book)
		}
		c.SASL.Password = secret(a.Password)
	}
	if o.Cluster, err = conn.New(c); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	d := sit(t, l, positions{}, o)
	await(t, "all read", func() bool { return l.total() == 100 })
	d.leave()
}
