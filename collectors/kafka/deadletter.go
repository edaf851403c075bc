package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/conn"
)

// DeadLetters is where records go of which no event could be made: a topic or
// a file. They are stored as they were, with all that is secret in them. It is
// safe for concurrent use.
type DeadLetters struct {
	topic  string
	writer *kafka.Writer
	path   string
	size   int64 // of the file, before it is set aside

	mu   sync.Mutex
	rest time.Time // after a failure nothing is tried before
}

// restAfter is for how long nothing is tried after a failure: each try holds
// up a checkpoint.
const restAfter = 15 * time.Second

// lostFor is for how long a loss makes a collector unready. What is put aside next
// says whether it works again, and nothing may be for days.
const lostFor = 5 * time.Minute

var errResting = errors.New("it failed a moment ago")

// The headers of a dead letter in a topic. Topic, partition and offset are
// those of the message that could not be read; line is the number of the line in it, from
// 1 on.
const (
	headerReason    = "gatewatch.reason"
	headerSource    = "gatewatch.source"
	headerTopic     = "gatewatch.topic"
	headerPartition = "gatewatch.partition"
	headerOffset    = "gatewatch.offset"
	headerLine      = "gatewatch.line"
)

// DeadLetterTopic puts rejects into a topic of the cluster. The caller closes it.
func DeadLetterTopic(cluster *conn.Cluster, topic string) (*DeadLetters, error) {
	if err := CheckTopic(topic); err != nil {
		return nil, err
	}
	return &DeadLetters{topic: topic, writer: &kafka.Writer{
		Addr: cluster.Addr(), Topic: topic, Transport: cluster.Transport(), RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond, MaxAttempts: 3, Balancer: &kafka.Hash{},
	}}, nil
}

// DeadLetterFile appends rejects to a file, one JSON object a line. When it is
// longer than size bytes it is renamed to path.1, in place of an earlier one; default
// 64 MiB.
func DeadLetterFile(path string, size int64) *DeadLetters {
	if size <= 0 {
		size = 64 << 20
	}
	return &DeadLetters{path: path, size: size}
}

// Close gives back what a topic needs.
func (d *DeadLetters) Close() error {
	if d.writer == nil {
		return nil
	}
	err := d.writer.Close()
	if t, ok := d.writer.Transport.(*kafka.Transport); ok {
		t.CloseIdleConnections()
	}
	return err
}

// store stores rejects and returns how many it could not store, and why.
func (d *DeadLetters) store(ctx context.Context, rejects []located) (lost int, err error) {
	if len(rejects) == 0 {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.rest) {
		return len(rejects), errResting
	}
	if d.writer != nil {
		lost, err = d.send(ctx, rejects)
	} else if err = d.write(rejects); err != nil {
		lost, err = len(rejects), fmt.Errorf("write dead letters: %w", err)
	}
	if err != nil {
		d.rest = time.Now().Add(restAfter)
	}
	return lost, err
}

// located is a reject with its topic and partition.
type located struct {
	collectors.Reject
	topic     string
	partition int32
}

func (d *DeadLetters) send(ctx context.Context, rejects []located) (lost int, err error) {
	messages := make([]kafka.Message, len(rejects))
	for i, r := range rejects {
		offset, line := collectors.MessageOffset(r.Offset)
		messages[i] = kafka.Message{Key: r.Key, Value: r.Value, Headers: []kafka.Header{
			{Key: headerReason, Value: []byte(r.Reason)},
			{Key: headerSource, Value: []byte(r.Source)},
			{Key: headerTopic, Value: []byte(r.topic)},
			{Key: headerPartition, Value: strconv.AppendInt(nil, int64(r.partition), 10)},
			{Key: headerOffset, Value: strconv.AppendInt(nil, offset, 10)},
			{Key: headerLine, Value: strconv.AppendInt(nil, int64(line)+1, 10)},
		}}
		if r.Time > 0 {
			messages[i].Time = time.Unix(0, r.Time)
		}
	}
	err = d.writer.WriteMessages(ctx, messages...)
	if err == nil {
		return 0, nil
	}
	if each, ok := errors.AsType[kafka.WriteErrors](err); ok {
		return each.Count(), fmt.Errorf("write dead letters to topic %s: %w", d.topic, err)
	}
	return len(rejects), fmt.Errorf("write dead letters to topic %s: %w", d.topic, err)
}

// letter is a line of the file.
type letter struct {
	Time      *time.Time `json:"time,omitempty"` // of the message
	Source    string     `json:"source"`
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Offset    int64      `json:"offset"`
	Line      int        `json:"line"`
	Reason    string     `json:"reason"`
	Key       string     `json:"key,omitempty"`
	Text      string     `json:"text,omitempty"`
	Bytes     []byte     `json:"bytes,omitempty"` // in place of text that is no UTF-8; base64
}

func (d *DeadLetters) write(rejects []located) (err error) {
	if fi, err := os.Stat(d.path); err == nil && fi.Size() > d.size {
		if err := os.Rename(d.path, d.path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var out []byte
	for _, r := range rejects {
		offset, line := collectors.MessageOffset(r.Offset)
		l := letter{
			Source: r.Source, Topic: r.topic, Partition: r.partition, Offset: offset, Line: line + 1, Reason: r.Reason, Key: string(r.Key),
		}
		if r.Time > 0 {
			t := time.Unix(0, r.Time).UTC()
			l.Time = &t
		}
		if utf8.Valid(r.Value) {
			l.Text = string(r.Value)
		} else {
			l.Bytes = r.Value
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		out = append(append(out, b...), '\n')
	}
	_, err = f.Write(out)
	return err
}

// DeadLetters implements collectors.DeadLetterer.
func (c *Collector) DeadLetters() bool { return c.opts.DeadLetters != nil }

// PutAside implements collectors.DeadLetterer.
func (c *Collector) PutAside(ctx context.Context, rejects []collectors.Reject) (lost int) {
	byName := map[string]*partition{}
	for _, p := range c.all() {
		byName[p.name] = p
	}
	all := make([]located, 0, len(rejects))
	for _, r := range rejects {
		if p := byName[r.Source]; p != nil {
			all = append(all, located{r, p.topic, p.number})
		}
	}
	lost, err := c.opts.DeadLetters.store(ctx, all)
	if err != nil {
		c.count(eventLetterLost)
		if !errors.Is(err, errResting) { // else what was wrong is said already
			c.about(lettersTrouble, fmt.Sprintf("what cannot be read is not put aside: %v", err))
		}
		c.mu.Lock()
		c.lost = c.opts.Now()
		c.mu.Unlock()
		c.letters.warn("what could not be read was not put aside", "records", lost, "error", err)
	} else if len(all) > 0 {
		c.about(lettersTrouble, "")
		c.letters.well("what cannot be read is put aside again")
	}
	return lost + len(rejects) - len(all)
}
