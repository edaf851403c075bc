package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
	"gatewatch/collectors/kafka/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, brokers []string) *wire.Conn {
	t.Helper()
	c, err := conn.New(conn.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	w, err := wire.Open(t.Context(), c, brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// got is a record as a test compares it.
type got struct {
	Offset     int64
	Time       int64
	Key, Value string
	Null       bool
	Headers    string
}

// reading reads a partition to its end.
type reading struct {
	*testing.T
	w       *wire.Conn
	topic   wire.Topic
	pool    wire.Pool
	max     int32
	limit   int
	skipped int // batches passed over as too large
	damaged int
}

func start(t *testing.T, w *wire.Conn, topic string) *reading {
	t.Helper()
	m, err := w.Metadata(t.Context(), []string{topic})
	if err != nil || len(m.Topics) != 1 || m.Topics[0].Err != nil {
		t.Fatalf("metadata: %+v %v", m, err)
	}
	return &reading{T: t, w: w, topic: m.Topics[0], max: 1 << 20, limit: 64 << 20}
}

func (r *reading) all(partition int32, from int64) []got {
	r.Helper()
	end, err := r.w.ListOffset(r.Context(), r.topic.Name, partition, wire.Last, true)
	if err != nil {
		r.Fatal(err)
	}
	var out []got
	for next := from; next < end; {
		err := r.w.SendFetch(wire.FetchRequest{
			Topic: r.topic.Name, ID: r.topic.ID, Partition: partition, Offset: next, LeaderEpoch: -1, LastEpoch: -1,
			MaxWait: 100 * time.Millisecond, MaxBytes: r.max, Committed: true,
		})
		if err != nil {
			r.Fatal(err)
		}
		res, err := r.w.ReadFetch(r.Context(), &r.pool, r.limit)
		if err != nil {
			r.Fatal(err)
		}
		if res.Err != nil {
			r.Fatal(res.Err)
		}
		before := next
		out, next = r.records(out, res, next)
		if next == before && res.HighWatermark > next {
			r.Fatalf("nothing read from %d on, the high watermark is %d", next, res.HighWatermark)
		}
		res.Free()
	}
	return out
}

func (r *reading) records(out []got, res *wire.FetchResponse, next int64) ([]got, int64) {
	r.Helper()
	if res.TooLarge > 0 {
		r.skipped++
		return out, res.Next
	}
	span, _, _ := wire.Span(res.Records)
	filter := wire.NewFilter(res.Aborted)
	from, last := next, next
	for data := res.Records; ; {
		b, rest, ok, err := wire.NextBatch(data)
		if err != nil {
			r.Fatal(err)
		}
		if !ok {
			break
		}
		data, last = rest, b.Last+1
		if filter.Drop(&b) {
			continue
		}
		buf, n, err := b.Unpack(&r.pool, r.limit)
		if damaged, ok := errors.AsType[*wire.DamagedError](err); ok && errors.Is(err, wire.ErrTooLarge) {
			r.damaged++
			last = damaged.Next
			continue
		} else if err != nil {
			r.Fatal(err)
		}
		var unpacked []byte
		if buf != nil {
			unpacked = buf.B[:n]
		}
		err = b.Each(unpacked, func(rec *wire.Record) {
			if rec.Offset < from {
				return // the batch begins earlier than what was asked for
			}
			g := got{Offset: rec.Offset, Time: rec.Time, Key: string(rec.Key), Value: string(rec.Value), Null: rec.Value == nil}
			wire.EachHeader(rec.Headers, func(k, v []byte) { g.Headers += string(k) + "=" + string(v) + ";" })
			out = append(out, g)
		})
		if err != nil {
			r.Fatal(err)
		}
		if buf != nil {
			buf.Free()
		}
	}
	if span != last && span != 0 {
		r.Errorf("heads say that the next offset is %d, batches that it is %d", span, last)
	}
	return out, max(last, next)
}

var stamp = time.UnixMilli(1795413600123)

func records(topic string, from, n int, value func(i int) []byte) (in []kafkatest.Record, want []got) {
	for i := from; i < from+n; i++ {
		r := kafkatest.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i), Value: value(i), Time: stamp.Add(time.Duration(i) * time.Millisecond)}
		g := got{Offset: int64(i), Time: r.Time.UnixMilli(), Key: string(r.Key), Value: string(r.Value), Null: r.Value == nil}
		if i%3 == 0 {
			r.Headers = []kafkatest.Header{{Key: "a", Value: []byte("b")}, {Key: "c"}}
			g.Headers = "a=b;c=;"
		}
		in, want = append(in, r), append(want, g)
	}
	return in, want
}

func text(i int) []byte {
	switch i % 5 {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	return fmt.Appendf(nil, "%d %s", i, strings.Repeat("abc ", i%100))
}

// suite is what must hold for any broker.
func suite(t *testing.T, k *kafkatest.Cluster) {
	for _, codec := range kafkatest.Codecs() {
		t.Run(string(codec), func(t *testing.T) {
			k := k.For(t)
			topic := k.Topic(1)
			in, want := records(topic, 0, 3000, text)
			k.ProduceWith(codec, in[:1000]...)
			k.ProduceWith(codec, in[1000:]...)
			r := start(t, open(t, k.Brokers()), topic)
			if d := cmp.Diff(want, r.all(0, 0)); d != "" {
				t.Errorf("(-want +got):\n%.2000s", d)
			}
			r.max = 1 // one batch at a time
			if d := cmp.Diff(want[1500:], r.all(0, 1500)); d != "" {
				t.Errorf("from the middle of a batch (-want +got):\n%.2000s", d)
			}
			r.max, r.limit = 1<<20, 10_000
			r.all(0, 0)
			if r.skipped+r.damaged == 0 {
				t.Error("no batch was over a limit that all are over")
			}
		})
	}
	t.Run("transactions", func(t *testing.T) {
		k := k.For(t)
		topic := k.Topic(1)
		value := func(i int) []byte { return fmt.Appendf(nil, "v%d", i) }
		var want []got
		at := 0
		for _, commit := range []bool{true, false, true, false, false, true} {
			in, w := records(topic, at, 10, value)
			k.Transaction(commit, in...)
			at += 11 // and the control record
			if commit {
				want = append(want, w...)
			}
		}
		in, w := records(topic, at, 5, value)
		k.Produce(in...)
		want = append(want, w...)
		r := start(t, open(t, k.Brokers()), topic)
		if d := cmp.Diff(want, r.all(0, 0)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		r.max = 1
		if d := cmp.Diff(want, r.all(0, 0)); d != "" {
			t.Errorf("batch by batch (-want +got):\n%s", d)
		}
	})
	t.Run("errors", func(t *testing.T) {
		k := k.For(t)
		topic := k.Topic(2)
		k.Produce(kafkatest.Lines(topic, 1, "a", "b", "c")...)
		w := open(t, k.Brokers())
		m, err := w.Metadata(t.Context(), []string{topic, "no.such.topic"})
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Topics) != 2 || len(m.Topics[0].Partitions) != 2 || m.Topics[0].ID == (wire.TopicID{}) || m.Topics[0].Partitions[1].Leader < 0 {
			t.Errorf("topic: %+v", m.Topics)
		}
		if got := m.Topics[1].Err; !errors.Is(got, kafka.UnknownTopicOrPartition) {
			t.Errorf("unknown topic: %v", got)
		}
		if m.Brokers[m.Topics[0].Partitions[1].Leader] == "" {
			t.Errorf("leader has no address: %+v", m)
		}
		r := start(t, w, topic)
		for name, f := range map[string]struct {
			req  wire.FetchRequest
			want error
		}{
			"beyond the end": {wire.FetchRequest{ID: r.topic.ID, Partition: 1, Offset: 99}, kafka.OffsetOutOfRange},
			"by name":        {wire.FetchRequest{Partition: 1, Offset: 99}, kafka.OffsetOutOfRange},
			"no partition":   {wire.FetchRequest{Partition: 7}, kafka.UnknownTopicOrPartition},
			"another topic":  {wire.FetchRequest{ID: wire.TopicID{1, 2, 3}, Partition: 1}, kafka.Error(100)},
		} {
			f.req.Topic, f.req.LeaderEpoch, f.req.LastEpoch, f.req.MaxBytes = topic, -1, -1, 1<<20
			if err := w.SendFetch(f.req); err != nil {
				t.Fatal(err)
			}
			res, err := w.ReadFetch(t.Context(), &r.pool, r.limit)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !errors.Is(res.Err, f.want) {
				t.Errorf("%s: %v, want %v", name, res.Err, f.want)
			}
			res.Free()
		}
		for at, want := range map[int64]int64{wire.First: 0, wire.Last: 3, time.Now().Add(time.Hour).UnixMilli(): -1, 1: 0} {
			if got, err := w.ListOffset(t.Context(), topic, 1, at, true); got != want || err != nil {
				t.Errorf("offset at %d: %d and %v, want %d", at, got, err, want)
			}
		}
	})
	t.Run("pipelined", func(t *testing.T) {
		k := k.For(t)
		topic := k.Topic(1)
		k.Produce(kafkatest.Lines(topic, 0, "a", "b", "c")...)
		r := start(t, open(t, k.Brokers()), topic)
		for i := range int64(3) {
			if err := r.w.SendFetch(wire.FetchRequest{Topic: topic, ID: r.topic.ID, Offset: i, LeaderEpoch: -1, LastEpoch: -1, MaxBytes: 1 << 20}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			res, err := r.w.ReadFetch(t.Context(), &r.pool, r.limit)
			if err != nil {
				t.Fatal(err)
			}
			out, _ := r.records(nil, res, int64(i))
			res.Free()
			if len(out) != 3-i {
				t.Errorf("fetch %d gave %+v", i, out)
			}
		}
	})
}

func TestWire(t *testing.T) { suite(t, kafkatest.Start(t, kafkatest.Options{})) }

func TestWireReal(t *testing.T) { suite(t, kafkatest.Real(t)) }

// TestOldBrokers asks the same of what brokers before ids of topics understand.
func TestOldBrokers(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{})
	topic := k.Topic(1)
	in, want := records(topic, 0, 100, text)
	k.Produce(in...)
	for name, v := range map[string][2]int16{"0.11": {4, 4}, "1.1": {7, 5}, "2.3": {11, 8}, "2.4": {11, 9}, "2.8": {12, 11}, "3.1": {13, 12}} {
		t.Run(name, func(t *testing.T) {
			w := open(t, k.Brokers())
			w.Understands(v[0], v[1])
			r := start(t, w, topic)
			if known := r.topic.ID != (wire.TopicID{}); known != (v[1] >= 10) {
				t.Errorf("the id is known: %t", known)
			}
			if r.topic.Partitions[0].Leader < 0 {
				t.Errorf("partitions: %+v", r.topic.Partitions)
			}
			if d := cmp.Diff(want, r.all(0, 0)); d != "" {
				t.Errorf("(-want +got):\n%.2000s", d)
			}
		})
	}
}

// TestCancel asks that nothing waits longer than its context.
func TestCancel(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{})
	topic := k.Topic(1)
	r := start(t, open(t, k.Brokers()), topic)
	if err := r.w.SendFetch(wire.FetchRequest{Topic: topic, ID: r.topic.ID, LeaderEpoch: -1, LastEpoch: -1, MaxWait: time.Minute, MaxBytes: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.w.ReadFetch(ctx, &r.pool, 1); err == nil || conn.Reason(err) != conn.ReasonTimeout {
		t.Errorf("got %v", err)
	}
	w := open(t, k.Brokers())
	k.Hang()
	defer k.Restart()
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Metadata(ctx, nil); err == nil || conn.Reason(err) != conn.ReasonTimeout {
		t.Errorf("got %v", err)
	}
}

func TestPool(t *testing.T) {
	var p wire.Pool
	for _, n := range []int{0, 1, 4096, 4097, 1 << 20, 33 << 20, 100 << 20} {
		b := p.Get(n)
		if len(b.B) < n || n > 0 && len(b.B) > max(2*n, 4096) {
			t.Errorf("%d bytes asked for, %d given", n, len(b.B))
		}
		b.Hold()
		b.Free()
		copy(b.B, bytes.Repeat([]byte{1}, 10))
		b.Free()
	}
}
