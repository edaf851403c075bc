package kafka_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
