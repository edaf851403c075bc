// Package kafka writes incidents to a topic of Kafka: as JSON in the form of the
// webhook receiver, or as OCSF Detection Findings. The key of a message is the
// incident's id, so that all revisions of one incident are in one partition and
// a compacted topic keeps the last. A write counts when all in-sync replicas
// have it.
//
// An attempt may be made more than once for one revision, and then there may be
// two messages of it. They are equal but for their offset: the header ce_id is
// "incident id/revision" and never changes between attempts.
//
// The receiver keeps no queue: what waits is in the outbox, which is durable.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/alerting"
	"gatewatch/collectors/kafka/conn"
)

// Format is how an incident is written.
type Format string

// The formats.
const (
	// JSON is what the webhook receiver posts.
	JSON Format = "json"
	// OCSF is a Detection Finding, see package ocsf.
	OCSF Format = "ocsf"
)

// Formats lists the formats.
func Formats() []Format { return []Format{JSON, OCSF} }

// Compressions lists the names of the compressions.
func Compressions() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// The bounds of a message, in bytes.
const (
	MinMessage     = 4 << 10
	MaxMessage     = 64 << 20
	defaultMessage = 960 << 10 // below the 1 MiB that brokers take unless told otherwise
)

// Config is a receiver's configuration. Name, Cluster and Topic are required.
type Config struct {
	Name    string
	Cluster conn.Config
	// Topic has to exist: it is never made.
	Topic string
	// Format is JSON or OCSF. Default JSON.
	Format Format
	// Compression is one of Compressions. Default none.
	Compression string
	// MaxMessage bounds a message before compression. Incidents that are larger
	// are told with shorter lists and say so. Default 960 KiB.
	MaxMessage int
	// Timeout bounds one attempt, from connecting to the replicas' answer.
	// Default 10 s.
	Timeout time.Duration
	// Version is gatewatch's own.
	Version string
}

// Receiver writes notifications to one topic. It may be used by many
// goroutines.
type Receiver struct {
	c       Config
	cluster *conn.Cluster
	codec   kafka.Compression

	mu     sync.Mutex
	link   *link // nil until needed
	closed bool
}

var (
	_ alerting.Receiver = (*Receiver)(nil)
	_ alerting.Traits   = (*Receiver)(nil)
)

// topicName is what Kafka takes for the name of a topic.
var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// CheckTopic says what is wrong with the name of a topic.
func CheckTopic(name string) error {
	if !topicName.MatchString(name) || name == "." || name == ".." {
		return fmt.Errorf("%.100q is no name of a topic; write letters, digits, and . _ - between them, 249 at most", name)
	}
	return nil
}

// New checks the configuration, reading the files that it names once, and returns
// a receiver. It connects to nothing.
func New(c Config) (*Receiver, error) {
	c.Format = cmp.Or(c.Format, JSON)
	c.Compression = cmp.Or(c.Compression, "none")
	c.MaxMessage = cmp.Or(c.MaxMessage, defaultMessage)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Cluster.Timeout = cmp.Or(c.Cluster.Timeout, c.Timeout)
	fail := func(err error) (*Receiver, error) { return nil, fmt.Errorf("kafka %s: %w", c.Name, err) }
	if c.Name == "" {
		return fail(errors.New("no name"))
	}
	if err := CheckTopic(c.Topic); err != nil {
		return fail(err)
	}
	if !slices.Contains(Formats(), c.Format) {
		return fail(fmt.Errorf("format %q is not known; write json or ocsf", c.Format))
	}
	if c.MaxMessage < MinMessage || c.MaxMessage > MaxMessage {
		return fail(fmt.Errorf("a message of %d bytes is out of range; write between %d and %d", c.MaxMessage, MinMessage, MaxMessage))
	}
	codec := slices.Index(Compressions(), c.Compression)
	if codec < 0 {
		return fail(fmt.Errorf("compression %q is not known; write none, gzip, snappy, lz4 or zstd", c.Compression))
	}
	cluster, err := conn.New(c.Cluster)
	if err != nil {
		return fail(err)
	}
	return &Receiver{c: c, cluster: cluster, codec: kafka.Compression(codec)}, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that each incident is told by itself, see [alerting.Traits]: the
// last message of a key is the incident's state.
func (r *Receiver) Keeps() bool { return true }

// Folds says that nobody reads a topic message by message.
func (r *Receiver) Folds() bool { return false }

// Close ends the connections to the brokers, each when nothing is under way on
// it. A later Notify fails and may be tried again.
func (r *Receiver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.link != nil {
		r.link.close()
		r.link = nil
	}
}

var errClosed = errors.New("the receiver was closed")

// Notify writes n once. It is done when all in-sync replicas have the message.
// Whatever may become better by itself or by somebody's doing may be tried
// again: brokers that are away, a refused login, a topic that is missing. What
// is wrong with the message itself is final.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	m, err := r.message(n)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("kafka %s: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.c.Timeout, fmt.Errorf("no answer within %s", r.c.Timeout))
	defer cancel()
	l, err := r.connected()
	if err == nil {
		if err = l.write(ctx, m); err != nil {
			// Whatever it was, where the leaders are is asked anew for the next
			// attempt, on new connections.
			r.drop(l)
		}
	}
	if err != nil {
		return r.failed(ctx, err)
	}
	return alerting.Result{Reason: alerting.ReasonOK}
}

func (r *Receiver) connected() (*link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if r.link == nil {
		r.link = newLink(r.cluster, r.c.Topic, r.codec)
	}
	return r.link, nil
}

func (r *Receiver) drop(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == l {
		r.link = nil
	}
	l.close()
}

// link is a set of connections with what is known of the topic. It is safe for
// concurrent use.
type link struct {
	topic     string
	codec     kafka.Compression
	transport *kafka.Transport
	client    *kafka.Client
}

func newLink(cluster *conn.Cluster, topic string, codec kafka.Compression) *link {
	t := cluster.Transport()
	t.MetadataTopics = []string{topic}
	return &link{topic, codec, t, &kafka.Client{Addr: cluster.Addr(), Transport: t}}
}

// close ends idle connections now and busy ones when they are idle. It may be
// called more than once.
func (l *link) close() { l.transport.CloseIdleConnections() }

// write writes one message to the partition that its key belongs to, by the
// hash that Kafka's own producers use.
func (l *link) write(ctx context.Context, m *message) error {
	known, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{l.topic}})
	if err != nil {
		return fmt.Errorf("ask where topic %s is: %w", l.topic, bare(err))
	}
	if len(known.Topics) != 1 {
		return fmt.Errorf("ask where topic %s is: the brokers told of %d topics", l.topic, len(known.Topics))
	}
	topic := &known.Topics[0]
	if topic.Error != nil {
		return fmt.Errorf("look for topic %s: %w", l.topic, topic.Error)
	}
	var ids []int
	faults := map[int]error{}
	for _, p := range topic.Partitions {
		ids = append(ids, p.ID)
		faults[p.ID] = p.Error
	}
	if len(ids) == 0 {
		return fmt.Errorf("look for topic %s: %w", l.topic, kafka.UnknownTopicOrPartition)
	}
	slices.Sort(ids)
	hash := kafka.Murmur2Balancer{Consistent: true}
	to := hash.Balance(kafka.Message{Key: m.key}, ids...)
	if err := faults[to]; err != nil {
		return fmt.Errorf("look for partition %d of topic %s: %w", to, l.topic, err)
	}
	res, err := l.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: l.topic, Partition: to, RequiredAcks: kafka.RequireAll, Compression: l.codec,
		Records: kafka.NewRecordReader(kafka.Record{
			Time: m.at, Key: kafka.NewBytes(m.key), Value: kafka.NewBytes(m.value), Headers: m.headers,
		}),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return fmt.Errorf("write to partition %d of topic %s: %w", to, l.topic, bare(err))
	}
	return nil
}

// bare takes away the name of the function that kafka.Client puts in front.
func bare(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "kafka.(*Client).") {
		return inner
	}
	return err
}
