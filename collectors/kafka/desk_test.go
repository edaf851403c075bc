package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is what several desks judged together, as their checkpoints say.
type ledger struct {
	mu     sync.Mutex
	counts map[string]int // by name of the source and offset
	texts  map[string]string
}

func newLedger() *ledger {
	return &ledger{counts: map[string]int{}, texts: map[string]string{}}
}

func (l *ledger) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.counts)
}

// doubled returns what was judged more than once, in stretches.
func (l *ledger) doubled() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	offsets := map[string][]int{}
	for k, n := range l.counts {
		if n > 1 {
			source, offset, _ := strings.Cut(k, "@")
			at, _ := strconv.Atoi(offset)
			offsets[source] = append(offsets[source], at)
		}
	}
	for source, list := range offsets {
		slices.Sort(list)
		for i, from := 1, list[0]; i <= len(list); i++ {
			if i == len(list) || list[i] != list[i-1]+1 {
				out = append(out, fmt.Sprintf("%s@%d-%d", source, from, list[i-1]))
				if i < len(list) {
					from = list[i]
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// desk stands for the pipeline: it judges blocks in the order in which they
// come, some time later, and makes checkpoints. It forgets, when it is killed, what
// came after the last one.
type desk struct {
	t      testing.TB
	c      *kafka.Collector
	ledger *ledger
	book   *syncBuffer // the collector's log

	saved  map[string]collectors.Position // as of the last checkpoint; outlives the desk
	cancel context.CancelFunc
	done   chan struct{}
	stop   chan struct{} // ends checkpoints

	cut     sync.Mutex // one checkpoint at a time
	mu      sync.Mutex
	trays   map[string]*tray
	settled bool
	freeze  bool // judge nothing
	aside   []collectors.Reject
}

// tray is one source.
type tray struct {
	src     collectors.Source
	state   collectors.State
	err     error
	pending []*collectors.Block
	credits chan struct{}
	judged  []judgedMessage // since the last checkpoint
	at      collectors.Position
	dirty   bool
	parks   []func(collectors.Position)
	gaps    int
	skipped map[string]int64
	ended   error
}

type judgedMessage struct{ key, text string }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var _ io.Writer = (*syncBuffer)(nil)

// options are fast ones for a cluster in the process.
func options(t testing.TB, brokers []string, topics ...string) kafka.Options {
	t.Helper()
	c, err := conn.New(conn.Config{Brokers: brokers, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Options{
		Cluster: c, Group: "watchers", Topics: topics, Begin: kafka.First, MaxWait: 20 * time.Millisecond, BlockBytes: 4 << 10,
		Session: time.Second, Heartbeat: 50 * time.Millisecond, Rebalance: 5 * time.Second, Refresh: 200 * time.Millisecond,
	}
}

// sit starts a desk that goes on where saved says, changed beforehand.
func sit(t testing.TB, l *ledger, saved map[string]collectors.Position, o kafka.Options, change ...func(*desk)) *desk {
	t.Helper()
	d := &desk{
		t: t, ledger: l, saved: saved, trays: map[string]*tray{}, done: make(chan struct{}), stop: make(chan struct{}), book: &syncBuffer{},
	}
	for _, f := range change {
		f(d)
	}
	o.Logger = slog.New(slog.NewTextHandler(d.book, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if d.c, err = kafka.New(o); err != nil {
		t.Fatal(err)
	}
	d.c.Recall(maps.Clone(saved))
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = d.c.Watch(ctx, func(s collectors.Source) {
			x := &tray{src: s, credits: make(chan struct{}, 4), skipped: map[string]int64{}}
			d.mu.Lock()
			from := saved[s.Name()]
			x.at = from
			if d.trays[s.Name()] != nil {
				t.Errorf("%s was found twice", s.Name())
			}
			d.trays[s.Name()] = x
			d.mu.Unlock()
			wg.Go(func() {
				err := s.Run(ctx, from, func(it collectors.Item) error { return d.emit(ctx, x, it) })
				d.mu.Lock()
				x.ended = err
				d.mu.Unlock()
			})
		}, func() {
			d.mu.Lock()
			d.settled = true
			d.mu.Unlock()
		})
	})
	wg.Go(func() { d.work(t) })
	go func() {
		wg.Wait()
		close(d.done)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("log of a collector %p:\n%s", d, d.book)
		}
	})
	return d
}

func (d *desk) emit(ctx context.Context, x *tray, it collectors.Item) error {
	if it.Block != nil {
		select {
		case x.credits <- struct{}{}:
		case <-it.Cancel:
			return collectors.ErrCanceled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, n := range it.Skipped {
		x.skipped[k] += n
	}
	for _, r := range it.Rejects {
		r.Source = x.src.Name()
		d.aside = append(d.aside, r)
	}
	switch {
	case it.Block != nil:
		x.state = collectors.Reading
		x.pending = append(x.pending, it.Block)
	case it.Park != nil:
		for _, b := range x.pending {
			d.free(x, b)
		}
		x.pending = nil
		x.parks = append(x.parks, it.Park)
		x.state = it.State
	default:
		x.state, x.err = it.State, it.Err
	}
	return nil
}

func (d *desk) free(x *tray, b *collectors.Block) {
	if b.Release != nil {
		b.Release()
	}
	<-x.credits
}

// work judges, and makes a checkpoint now and then.
func (d *desk) work(t testing.TB) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		for _, x := range d.trays {
			if len(x.pending) > 0 && !d.freeze {
				d.judge(t, x, x.pending[0])
				x.pending = x.pending[1:]
			}
		}
		d.mu.Unlock()
		if n%5 == 0 {
			d.checkpoint()
		}
	}
}

func (d *desk) judge(t testing.TB, x *tray, b *collectors.Block) {
	name := x.src.Name()
	if b.Gap {
		x.gaps++
	} else if x.at.Origin != nil && b.Offset != x.at.Offset {
		t.Errorf("%s: a block begins at %d, not where the one before ended, at %d", name, b.Offset, x.at.Offset)
	}
	for i := range b.Messages {
		m := &b.Messages[i]
		if logical := collectors.LogicalOffset(m.Offset); logical < b.Offset || logical >= b.End {
			t.Errorf("%s: message %d is outside of its block, %d to %d", name, m.Offset, b.Offset, b.End)
		}
		x.judged = append(x.judged, judgedMessage{fmt.Sprintf("%s@%d", name, m.Offset), string(m.Value)})
	}
	x.at = collectors.Position{Offset: b.End, Origin: b.Origin}
	x.dirty = true
	d.free(x, b)
}

// checkpoint makes what was judged durable, then tells.
func (d *desk) checkpoint() {
	d.cut.Lock()
	defer d.cut.Unlock()
	d.mu.Lock()
	var tell []func()
	for name, x := range d.trays {
		src := x.src.(collectors.Committer)
		p := x.at
		p.Note = src.Note()
		if x.dirty || !bytes.Equal(p.Note, d.saved[name].Note) {
			d.saved[name] = p
		}
		if x.dirty {
			x.dirty = false
			tell = append(tell, func() { src.Durable(p) })
		}
		d.ledger.mu.Lock()
		for _, m := range x.judged {
			d.ledger.counts[m.key]++
			d.ledger.texts[m.key] = m.text
		}
		d.ledger.mu.Unlock()
		x.judged = nil
		for _, f := range x.parks {
			tell = append(tell, func() { f(p) })
		}
		x.parks = nil
	}
	d.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

// leave stops in order: a last checkpoint, then Finish.
func (d *desk) leave() {
	d.t.Helper()
	d.mu.Lock()
	d.freeze = true // as the merge, which lets nothing pass after its last cut
	d.mu.Unlock()
	d.cancel()
	d.checkpoint()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.c.Finish(ctx); err != nil {
		d.t.Errorf("finish: %v", err)
	}
	d.end()
}

// kill stops without another checkpoint. The member does not leave the group
// as long as the test runs: see die.
func (d *desk) kill() {
	d.mu.Lock()
	d.freeze = true
	d.mu.Unlock()
	d.halt()
	d.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = d.c.Finish(ctx)
	d.end()
}

// halt ends checkpoints.
func (d *desk) halt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.stop:
	default:
		close(d.stop)
	}
}

func (d *desk) end() {
	d.halt()
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		d.t.Error("the collector did not stop")
	}
}

// view returns something of a tray; the zero tray where there is none.
func view[T any](d *desk, name string, f func(*tray) T) T {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.trays[name]
	if x == nil {
		x = &tray{}
	}
	return f(x)
}

// reading counts the sources that are assigned here.
func (d *desk) assigned() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, x := range d.trays {
		if x.state == collectors.Reading || x.state == collectors.Idle {
			n++
		}
	}
	return n
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(40 * time.Second); !done(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in time", what)
		}
	}
}

// fill produces n lines over all partitions of a topic.
func fill(k *kafkatest.Cluster, topic string, partitions, from, n int, codec kafkatest.Codec) {
	var all []kafkatest.Record
	for i := from; i < from+n; i++ {
		all = append(all, kafkatest.Record{Topic: topic, Partition: i % partitions, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "line %d", i)})
	}
	k.ProduceWith(codec, all...)
}

// same asks that the ledger holds exactly what the topic does.
func same(t testing.TB, k *kafkatest.Cluster, topic string, l *ledger) {
	t.Helper()
	records := k.Records(topic)
	missing, other := 0, 0
	l.mu.Lock()
	for _, r := range records {
		key := fmt.Sprintf("kafka:%s/%d@%d", topic, r.Partition, r.Offset)
		if l.counts[key] == 0 {
			missing++
		} else if l.texts[key] != string(r.Value) {
			other++
		}
	}
	extra := len(l.counts) - (len(records) - missing)
	l.mu.Unlock()
	if missing > 0 || other > 0 || extra > 0 {
		t.Errorf("of %d records %d are lost and %d are others; %d were never written", len(records), missing, other, extra)
	}
	if d := l.doubled(); len(d) > 0 {
		t.Errorf("records were judged twice: %s", strings.Join(d, ", "))
	}
}

var errTest = errors.New("test")
