package kafkatest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCluster and TestRealCluster hold both kinds to the same promises.
func TestCluster(t *testing.T) {
	suite(t, Start(t, Options{Brokers: 3}))
	t.Run("ways", func(t *testing.T) {
		for _, w := range Ways() {
			t.Run(w.String(), func(t *testing.T) {
				c := Start(t, Options{Way: w, Topics: map[string]int{"t": 1}})
				c.Produce(Lines("t", 0, "x")...)
				if got := c.Records("t"); len(got) != 1 {
					t.Errorf("want one record, got %v", got)
				}
			})
		}
	})
}

func TestRealCluster(t *testing.T) {
	c := Real(t)
	suite(t, c)
	t.Run("ways", func(t *testing.T) {
		topic := c.Topic(1)
		for _, w := range Ways() {
			t.Run(w.String(), func(t *testing.T) {
				a := c.For(t).Access(w)
				in := &Cluster{t, &core{way: w, certs: c.certs, broker: c.broker, given: c.given}}
				if a.Brokers[0] != in.Access(w).Brokers[0] {
					t.Fatal("two answers to one question")
				}
				before := len(c.Records(topic))
				in.Produce(Lines(topic, 0, "x")...)
				in.closeAdmin()
				if got := c.Records(topic); len(got) != before+1 {
					t.Errorf("want %d records, got %d", before+1, len(got))
				}
			})
		}
	})
}

func suite(t *testing.T, all *Cluster) {
	t.Run("records", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(2)
		at := time.UnixMilli(1_700_000_000_123).UTC()
		want := []Record{
			{Topic: topic, Partition: 0, Offset: 0, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{"h", []byte("1")}}, Time: at},
			{Topic: topic, Partition: 0, Offset: 1, Key: []byte("k"), Time: at}, // a tombstone
			{Topic: topic, Partition: 1, Offset: 0, Value: []byte("other"), Time: at},
		}
		c.Produce(want...)
		got := c.Records(topic)
		for i := range got {
			got[i].Time = got[i].Time.UTC()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if got[0].Header("h") != "1" || got[0].Header("none") != "" {
			t.Error("headers are not found by name")
		}
	})
	t.Run("codecs", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(1)
		for _, codec := range Codecs() {
			c.ProduceWith(codec, Lines(topic, 0, slices.Repeat([]string{string(codec) + " and much that repeats itself, much that repeats itself"}, 20)...)...)
		}
		if got := c.Records(topic); len(got) != 20*len(Codecs()) {
			t.Errorf("want %d records, got %d", 20*len(Codecs()), len(got))
		}
	})
	t.Run("transactions", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(1)
		c.Transaction(true, Lines(topic, 0, "a", "b")...)
		c.Transaction(false, Lines(topic, 0, "c")...)
		c.Produce(Lines(topic, 0, "d")...)
		// Each transaction ends with a control record, which takes an offset.
		if got, want := c.Ends(topic), map[int]int64{0: 6}; !maps.Equal(got, want) {
			t.Errorf("want the ends %v, got %v", want, got)
		}
		if got := c.Records(topic); len(got) != 4 {
			t.Errorf("want four records, got %d", len(got))
		}
	})
	t.Run("retention and recreation", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(1)
		c.Produce(Lines(topic, 0, "a", "b", "c")...)
		c.DeleteRecords(topic, 0, 2)
		if got, want := c.Starts(topic), map[int]int64{0: 2}; !maps.Equal(got, want) {
			t.Errorf("want the starts %v, got %v", want, got)
		}
		c.RecreateTopic(topic, 2)
		if got, want := c.Ends(topic), map[int]int64{0: 0, 1: 0}; !maps.Equal(got, want) {
			t.Errorf("want the ends %v, got %v", want, got)
		}
		c.AddPartitions(topic, 3)
		if got := c.Ends(topic); len(got) != 3 {
			t.Errorf("want three partitions, got %v", got)
		}
	})
	t.Run("groups", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(2)
		group := topic + ".group"
		c.Produce(Lines(topic, 0, "a")...)
		cl := c.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.RangeBalancer()))
		defer cl.Close()
		if got := cl.PollFetches(t.Context()).NumRecords(); got != 1 {
			t.Errorf("want one record, got %d", got)
		}
		g := c.AwaitGroup(group, 1)
		if diff := cmp.Diff(map[string][]int{topic: {0, 1}}, g.Members[0].Partitions); diff != "" {
			t.Errorf("assignment (-want +got):\n%s", diff)
		}
		if err := cl.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Error(err)
		}
		if got := c.Committed(group); got[topic][0] != 1 {
			t.Errorf("want the commit 1, got %v", got)
		}
		cl.Close()
		c.AwaitGroup(group, 0)
		c.Commit(group, topic, 0, 0)
		if diff := cmp.Diff(map[string]map[int]int64{topic: {0: 0}}, c.Committed(group)); diff != "" {
			t.Errorf("commits (-want +got):\n%s", diff)
		}
		c.ForgetGroup(group)
		if got := c.Committed(group); len(got) != 0 {
			t.Errorf("want no commits, got %v", got)
		}
	})
	t.Run("away and back", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(1)
		c.Produce(Lines(topic, 0, "a")...)
		c.Kill()
		if conn, err := net.Dial("tcp", c.Brokers()[0]); err == nil {
			_ = conn.Close()
			t.Error("a killed broker took a connection")
		}
		c.Restart()
		c.Produce(Lines(topic, 0, "b")...)
		if got := c.Records(topic); len(got) != 2 {
			t.Errorf("want two records, got %v", got)
		}
	})
}

func TestHang(t *testing.T) {
	c := Start(t, Options{Topics: map[string]int{"t": 1}})
	c.Hang()
	conn, err := net.Dial("tcp", c.Brokers()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// A request for the versions that it speaks.
	if _, err := conn.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 8)
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := io.ReadFull(conn, answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a broker that hangs has answered, or said %v", err)
	}
	c.Restart()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, answer); err != nil || answer[7] != 7 {
		t.Errorf("want an answer to request 7, got %v, %v", answer, err)
	}
}

func TestInjectedError(t *testing.T) {
	c := Start(t, Options{Topics: map[string]int{"t": 1}})
	h := c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.NotLeaderForPartition})
	c.Produce(Lines("t", 0, "a")...) // a client tries again
	if h.Hits() != 1 {
		t.Errorf("want one refused request, got %d", h.Hits())
	}
}

func TestLegalName(t *testing.T) {
	if got, want := legalName("TestX/mutual TLS_ü"), "TestX-mutual-TLS--"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	if got := fmt.Sprint(Way{}, Way{TLS: true, Mechanism: Plain}); got != "plain text TLS PLAIN" {
		t.Errorf("got %q", got)
	}
}
