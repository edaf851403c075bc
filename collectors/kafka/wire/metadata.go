package wire

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/segmentio/kafka-go"
)

// Metadata is what a cluster says of its topics.
type Metadata struct {
	Brokers map[int32]string // host:port by number
	Topics  []Topic
}

// Topic is one topic of a cluster.
type Topic struct {
	Name       string
	ID         TopicID // zero for brokers before Kafka 2.8
	Internal   bool
	Err        error // a kafka.Error, such as kafka.UnknownTopicOrPartition
	Partitions []Partition
}

// Partition is one partition of a topic.
type Partition struct {
	Number int32
	Leader int32 // number of a broker, -1 when there is none
	Epoch  int32 // of the leader, -1 when not known
	Err    error
}

// Metadata asks for some topics, or for all with nil. It never makes a topic.
func (c *Conn) Metadata(ctx context.Context, topics []string) (*Metadata, error) {
	v, err := c.version(apiMetadata, 4, 12)
	if err != nil {
		return nil, err
	}
	d, err := c.ask(ctx, apiMetadata, v, func(e *encoder) {
		if topics == nil {
			e.array(-1)
		} else {
			e.array(len(topics))
		}
		for _, t := range topics {
			if v >= 10 {
				e.id(TopicID{})
			}
			e.string(t)
			e.tags()
		}
		e.bool(false) // do not make it
		if v >= 8 && v <= 10 {
			e.bool(false)
		}
		if v >= 8 {
			e.bool(false)
		}
		e.tags()
	})
	if err != nil {
		return nil, err
	}
	m := decodeMetadata(d, v)
	return m, c.wrap(d.err)
}

func decodeMetadata(d *decoder, v int16) *Metadata {
	m := &Metadata{Brokers: map[int32]string{}}
	d.int32() // throttled for so long
	for range d.array() {
		number := d.int32()
		host := d.string()
		m.Brokers[number] = net.JoinHostPort(host, strconv.Itoa(int(d.int32())))
		d.string() // rack
		d.tags()
	}
	d.string() // cluster
	d.int32()  // controller
	for range d.array() {
		m.Topics = append(m.Topics, decodeTopic(d, v))
	}
	if v >= 8 && v <= 10 {
		d.int32() // what may be done
	}
	d.tags()
	return m
}

func decodeTopic(d *decoder, v int16) Topic {
	t := Topic{Err: code(d.int16()), Name: d.string()}
	if v >= 10 {
		t.ID = d.id()
	}
	t.Internal = d.int8() != 0
	for range d.array() {
		p := Partition{Err: code(d.int16()), Number: d.int32(), Leader: d.int32(), Epoch: -1}
		if v >= 7 {
			p.Epoch = d.int32()
		}
		lists := 2 // replicas, and those in sync
		if v >= 5 {
			lists++ // and those offline
		}
		for range lists {
			for range d.array() {
				d.int32()
			}
		}
		d.tags()
		t.Partitions = append(t.Partitions, p)
	}
	if v >= 8 {
		d.int32() // what may be done
	}
	d.tags()
	return t
}

// The times of ListOffset that stand for places.
const (
	First = -2 // of the first message that is still there
	Last  = -1 // behind the last message that can be read
)

// ListOffset returns the offset of the first message whose time is at or
// after the given one, in Unix milliseconds, or of First or Last. Where no
// message is as late it returns -1. The connection has to be to the leader.
func (c *Conn) ListOffset(ctx context.Context, topic string, partition int32, at int64, committed bool) (int64, error) {
	v, err := c.version(apiListOffsets, 1, 3)
	if err != nil {
		return 0, err
	}
	d, err := c.ask(ctx, apiListOffsets, v, func(e *encoder) {
		e.int32(-1) // no replica
		if v >= 2 {
			e.bool(committed)
		}
		e.array(1)
		e.string(topic)
		e.array(1)
		e.int32(partition)
		e.int64(at)
	})
	if err != nil {
		return 0, err
	}
	if v >= 2 {
		d.int32() // throttled for so long
	}
	if d.array() != 1 || d.string() != topic || d.array() != 1 || d.int32() != partition {
		return 0, c.wrap(fmt.Errorf("it answers for another partition than %s/%d", topic, partition))
	}
	e := code(d.int16())
	d.int64() // the message's time
	offset := d.int64()
	if d.err != nil {
		return 0, c.wrap(d.err)
	}
	return offset, e
}

// code makes an error of a number in an answer.
func code(n int16) error {
	if n == 0 {
		return nil
	}
	return kafka.Error(n)
}
