package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/config"
	"gatewatch/pipeline"
)

const kafkaScheme = "kafka://"

func isTopic(arg string) bool { return strings.HasPrefix(arg, kafkaScheme) }

// topicAddress is kafka://broker,broker/topic. There may be no broker: then a
// source of the configuration says where the topic is.
type topicAddress struct {
	text    string
	brokers []string // host:port
	topic   string
}

func parseTopic(arg string) (topicAddress, error) {
	t := topicAddress{text: arg}
	hosts, topic, found := strings.Cut(strings.TrimPrefix(arg, kafkaScheme), "/")
	if !found || topic == "" {
		return t, usage("%s names no topic; write kafka://broker:9092/topic", arg)
	}
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		return t, usage("kafka://%s/%s: a login does not belong into an address; write it into sources[].kafka.sasl of the configuration", hosts[i+1:], topic)
	}
	var err error
	if t.topic, err = url.PathUnescape(topic); err == nil {
		err = kafka.CheckTopic(t.topic)
	}
	if err != nil {
		return t, usage("%s: %w", arg, err)
	}
	for h := range strings.SplitSeq(hosts, ",") {
		if hosts == "" {
			break
		}
		address, err := conn.Address(h)
		if err != nil {
			return t, usage("%s: %w", arg, err)
		}
		t.brokers = append(t.brokers, address)
	}
	return t, nil
}

// find returns the source of the configuration that a topic is read as: one
// with such a broker, best one that reads this topic. It is nil where there is none.
func (t *topicAddress) find(c *config.Config) (*config.Source, error) {
	var near, exact []*config.Source
	for i := range c.Sources {
		k := c.Sources[i].Kafka
		if k == nil || len(t.brokers) > 0 && !slices.ContainsFunc(k.Brokers, func(b string) bool {
			address, err := conn.Address(b)
			return err == nil && slices.Contains(t.brokers, address)
		}) {
			continue
		}
		near = append(near, &c.Sources[i])
		o := k.Options()
		if slices.Contains(o.Topics, t.topic) || o.Pattern != nil && o.Pattern.MatchString(t.topic) {
			exact = append(exact, &c.Sources[i])
		}
	}
	switch {
	case len(exact) > 0 && (len(t.brokers) > 0 || len(exact) == 1):
		return exact[0], nil
	case len(exact) > 1:
		return nil, usage("%s: several sources of the configuration read this topic; name a broker, as in kafka://broker:9092/%s", t.text, t.topic)
	case len(near) > 0 && (len(t.brokers) > 0 || len(near) == 1):
		return near[0], nil
	case len(t.brokers) == 0:
		return nil, usage("%s: no source of the configuration says where the topic is; name a broker, as in kafka://broker:9092/%s", t.text, t.topic)
	}
	return nil, nil
}

// kafkaInputs makes an input of each topic. What the configuration says of
// reading it holds, unless the command line says something else.
func (a *app) kafkaInputs(ctx context.Context, c *config.Config, r *replay, begin *span) ([]pipeline.Input, error) {
	var out []pipeline.Input
	var seen []string
	for _, arg := range r.topics {
		t, err := parseTopic(arg)
		if err != nil {
			return nil, err
		}
		s, err := t.find(c)
		if err != nil {
			return nil, err
		}
		if s == nil {
			// An address that the configuration does not know: nothing is encrypted and
			// nobody logs in.
			plain := c.Sources[0]
			plain.Kafka = &config.KafkaSource{KafkaCluster: config.KafkaCluster{Brokers: t.brokers}, MessageTime: true}
			s = &plain
		}
		input, err := a.kafkaInput(ctx, s, &t, r, begin)
		if err != nil {
			return nil, err
		}
		if key := s.Kafka.Name + "/" + t.topic; slices.Contains(seen, key) {
			return nil, usage("%s: the topic is there twice", arg)
		} else {
			seen = append(seen, key)
		}
		out = append(out, input)
	}
	return out, nil
}

func (a *app) kafkaInput(ctx context.Context, s *config.Source, t *topicAddress, r *replay, begin *span) (pipeline.Input, error) {
	k := s.Kafka
	if k.LoginFault != nil {
		return pipeline.Input{}, configError(k.LoginFault)
	}
	o, err := r.in.formatOf(s)
	if err != nil {
		return pipeline.Input{}, err
	}
	cluster, err := a.newCluster(&k.KafkaCluster)
	if err != nil {
		return pipeline.Input{}, configError(err)
	}
	ro := k.ReplayOptions(t.topic)
	ro.Cluster, ro.From, ro.To, ro.Now, ro.Logger = cluster, r.from, r.to, a.now, slog.New(slog.DiscardHandler)
	if !r.quiet {
		ro.Logger = warnings(a, false)
	}
	within, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	sources, err := kafka.Replay(within, ro)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = fmt.Errorf("no answer within %v", findWithin)
		}
		return pipeline.Input{}, fmt.Errorf("%s: %w", escape(t.text), err)
	}
	r.opened = append(r.opened, sources...)
	return pipeline.Input{Collector: fixed(begin.watch(sources, o)), Format: o, Lateness: s.Lateness, Messages: s.Messages()}, nil
}

// findWithin bounds how long a replay looks for a topic.
const findWithin = 30 * time.Second

// moment reads --from and --to: a time, a day, or how long ago.
func (a *app) parseMoment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil // UTC where there is no zone
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return a.now().Add(-d), nil
	}
	return time.Time{}, usage("%s is %q; write a time such as 2026-11-20T08:00:00Z (without a zone it is UTC), a day such as 2026-11-20, or how long ago, such as 90m", flag, text)
}

// split takes the topics out of the arguments, and checks the times.
func (r *replay) split(a *app, args []string) error {
	for _, arg := range args {
		if isTopic(arg) {
			r.topics = append(r.topics, arg)
		} else {
			r.in.files = append(r.in.files, arg)
		}
	}
	var err error
	if r.from, err = a.parseMoment("--from", r.fromText); err != nil {
		return err
	}
	if r.to, err = a.parseMoment("--to", r.toText); err != nil {
		return err
	}
	switch {
	case len(r.topics) == 0 && !r.from.IsZero():
		return usage("--from is for topics; files are read as a whole")
	case len(r.topics) == 0 && !r.to.IsZero():
		return usage("--to is for topics; files are read as a whole")
	case !r.from.IsZero() && !r.to.IsZero() && !r.from.Before(r.to):
		return usage("--from %s is not before --to %s", r.from.UTC().Format(time.RFC3339), r.to.UTC().Format(time.RFC3339))
	}
	return nil
}
