package kafka_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
)

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
