package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/wire"
)

// catalog knows which broker leads which partition. It is safe for concurrent
// use; whoever asks while it is asking already gets the same answer.
type catalog struct {
	cluster *conn.Cluster
	now     func() time.Time

	mu      sync.Mutex
	brokers []string // those of the last answer
	topics  map[string]entry
}

// entry is what was last heard of a topic.
type entry struct {
	wire.Topic
	leaders map[int32]string // address by partition
	at      time.Time
}

// metadataWithin bounds one look at the cluster.
const metadataWithin = 20 * time.Second

func newCatalog(c *conn.Cluster, now func() time.Time) *catalog {
	return &catalog{cluster: c, now: now, topics: map[string]entry{}}
}

// ask asks the cluster about topics, or about all of them with nil. Any broker
// knows, so the first that answers is believed.
func (c *catalog) ask(ctx context.Context, topics []string) ([]wire.Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataWithin)
	defer cancel()
	c.mu.Lock()
	addresses := slices.Clone(c.brokers)
	c.mu.Unlock()
	for _, a := range c.cluster.Brokers() {
		if !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	var first error
	for _, a := range addresses {
		m, err := c.askOne(ctx, a, topics)
		if err == nil {
			c.learn(m)
			return m.Topics, nil
		}
		if first == nil || conn.Reason(err) == conn.ReasonLogin {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (c *catalog) askOne(ctx context.Context, address string, topics []string) (*wire.Metadata, error) {
	w, err := wire.Open(ctx, c.cluster, address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Close() }()
	return w.Metadata(ctx, topics)
}

func (c *catalog) learn(m *wire.Metadata) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = c.brokers[:0]
	for _, a := range m.Brokers {
		c.brokers = append(c.brokers, a)
	}
	slices.Sort(c.brokers)
	now := c.now()
	for _, t := range m.Topics {
		e := entry{Topic: t, leaders: map[int32]string{}, at: now}
		for _, p := range t.Partitions {
			if p.Leader >= 0 {
				e.leaders[p.Number] = m.Brokers[p.Leader]
			}
		}
		c.topics[t.Name] = e
	}
}

// place is where a partition is now.
type place struct {
	address string
	id      wire.TopicID
	epoch   int32 // of the leader
}

// find returns where a partition is, as heard at since or later.
func (c *catalog) find(ctx context.Context, topic string, number int32, since time.Time) (place, error) {
	c.mu.Lock()
	e, ok := c.topics[topic]
	c.mu.Unlock()
	if !ok || e.at.Before(since) {
		if _, err := c.ask(ctx, []string{topic}); err != nil {
			return place{}, err
		}
		c.mu.Lock()
		e = c.topics[topic]
		c.mu.Unlock()
	}
	if e.Err != nil {
		return place{}, fmt.Errorf("topic %s: %w", topic, e.Err)
	}
	for _, p := range e.Partitions {
		if p.Number != number {
			continue
		}
		switch a := e.leaders[number]; {
		case a != "":
			return place{address: a, id: e.ID, epoch: p.Epoch}, nil
		case p.Err != nil:
			return place{}, fmt.Errorf("partition %s/%d: %w", topic, number, p.Err)
		default:
			return place{}, fmt.Errorf("partition %s/%d: %w", topic, number, kafka.LeaderNotAvailable)
		}
	}
	return place{}, fmt.Errorf("partition %s/%d: %w", topic, number, kafka.UnknownTopicOrPartition)
}

// open connects to the leader of a partition.
func (c *catalog) open(ctx context.Context, topic string, number int32, since time.Time) (*wire.Conn, place, error) {
	at, err := c.find(ctx, topic, number, since)
	if err != nil {
		return nil, at, err
	}
	w, err := wire.Open(ctx, c.cluster, at.address)
	return w, at, err
}
