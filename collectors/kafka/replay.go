package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/wire"
)

// ReplayOptions are the settings of [Replay]. Cluster and Topic are required.
type ReplayOptions struct {
	Cluster *conn.Cluster
	Name    string // as Options.Name
	Topic   string
	// From and To bound the times of messages, as their producers or the broker
	// stamped them: each partition is read from its first message of From or later up to
	// its first message of To or later. Zero for all that is there now.
	From, To    time.Time
	Uncommitted bool
	Headers     []string
	MaxMessage  int
	MaxBatch    int
	BlockBytes  int

	Now    func() time.Time
	Logger *slog.Logger
}

// giveUpAfter is how long a replay tries to read a partition again.
const giveUpAfter = 10

// Replay returns the partitions of a topic as sources that end where the
// stretch does. It joins no group and commits nothing. They have the names and the
// order of the sources of a [Collector], so that what they bring gives the same.
func Replay(ctx context.Context, o ReplayOptions) ([]collectors.Source, error) {
	if err := CheckTopic(o.Topic); err != nil {
		return nil, err
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return nil, fmt.Errorf("there is nothing from %s to %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	}
	opts := Options{
		Cluster: o.Cluster, Name: o.Name, Uncommitted: o.Uncommitted, Headers: o.Headers, MaxMessage: o.MaxMessage, MaxBatch: o.MaxBatch,
		BlockBytes: o.BlockBytes, MaxWait: time.Millisecond, FetchBytes: 4 << 20, Stale: Earliest, Now: o.Now, Logger: o.Logger,
	}
	opts.withDefaults()
	s := newShared(&opts)
	topics, err := s.catalog.ask(ctx, []string{o.Topic})
	if err != nil {
		return nil, fmt.Errorf("look for topic %s: %w", o.Topic, err)
	}
	if len(topics) != 1 || topics[0].Err != nil || len(topics[0].Partitions) == 0 {
		return nil, fmt.Errorf("topic %s: %w", o.Topic, kafka.UnknownTopicOrPartition)
	}
	out := make([]*stretch, 0, len(topics[0].Partitions))
	for _, p := range topics[0].Partitions {
		x := &stretch{shared: s, topic: o.Topic, number: p.Number}
		x.name, x.rank = sourceName(o.Name, o.Topic, p.Number)
		x.voice = newVoice(opts.Logger.With("source", x.name), opts.Now)
		if err := x.find(ctx, o.From, o.To); err != nil {
			return nil, fmt.Errorf("partition %s/%d: %w", o.Topic, p.Number, err)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *stretch) int { return cmp.Compare(a.number, b.number) })
	sources := make([]collectors.Source, len(out))
	for i, x := range out {
		sources[i] = x
	}
	return sources, nil
}

// stretch is a part of a partition as a source that ends.
type stretch struct {
	*shared
	topic       string
	number      int32
	name, rank  string
	from, until int64
	id          wire.TopicID
	state       progress
	voice       *voice
}

var _ collectors.Queue = (*stretch)(nil)

// find looks for the offsets of the stretch.
func (x *stretch) find(ctx context.Context, from, to time.Time) error {
	w, at, err := x.catalog.open(ctx, x.topic, x.number, time.Time{})
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	x.id = at.id
	first, err := w.ListOffset(ctx, x.topic, x.number, wire.First, false)
	if err != nil {
		return err
	}
	last, err := w.ListOffset(ctx, x.topic, x.number, wire.Last, !x.o.Uncommitted)
	if err != nil {
		return err
	}
	offset := func(t time.Time, otherwise int64) (int64, error) {
		if t.IsZero() {
			return otherwise, nil
		}
		n, err := w.ListOffset(ctx, x.topic, x.number, t.UnixMilli(), !x.o.Uncommitted)
		if n < 0 {
			n = last
		}
		return min(n, last), err
	}
	if x.from, err = offset(from, first); err != nil {
		return err
	}
	x.until, err = offset(to, last)
	return err
}

// Name implements collectors.Source.
func (x *stretch) Name() string { return x.name }

// Rank implements collectors.Queue.
func (x *stretch) Rank() string { return x.rank }

// Place implements collectors.Queue.
func (x *stretch) Place() (topic string, number int32) { return x.topic, x.number }

// Lag implements collectors.Queue.
func (x *stretch) Lag(logical int64) (messages int64, ok bool) {
	offset, _ := collectors.MessageOffset(logical)
	return max(x.until-offset, 0), true
}

// Run implements collectors.Source: it ends with nil behind the last message.
func (x *stretch) Run(ctx context.Context, _ collectors.Position, emit func(collectors.Item) error) error {
	if x.from >= x.until {
		return nil
	}
	fails := 0
	guarded := func(it collectors.Item) error {
		switch {
		case it.State != collectors.Failing:
			fails = 0
		case fails >= giveUpAfter:
			return fmt.Errorf("given up after %d tries: %w", fails, it.Err)
		default:
			fails++
		}
		return emit(it)
	}
	r := &reader{
		shared: x.shared, topic: x.topic, number: x.number, emit: guarded, until: x.until, state: &x.state, voice: x.voice,
		id: x.id, next: x.from, at: collectors.LogicalOffset(x.from), epoch: none,
	}
	err := r.run(ctx)
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// Fetch implements collectors.Source.
func (x *stretch) Fetch(ctx context.Context, lookups []collectors.Lookup) []collectors.Text {
	return x.texts(ctx, x.topic, x.number, x.name, lookups)
}
