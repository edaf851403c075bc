package config

import (
	"errors"
	"regexp"
	"slices"
	"time"

	"gatewatch/collectors/kafka"
	"gatewatch/event"
	"gatewatch/pipeline"

	"go.yaml.in/yaml/v4"
)

// KafkaSource is a source of the file whose lines come in messages of topics.
type KafkaSource struct {
	KafkaCluster
	Name    string // tells the topics of one cluster from those of another, "" for none
	Group   string
	Topics  []string
	Pattern string // of the names of topics, "" for none
	Begin   kafka.Begin
	BeginAt time.Time // with kafka.At
	Stale   kafka.Stale
	// Uncommitted also reads records of transactions that are open or were aborted.
	Uncommitted bool
	// KeyedBy are the fields whose values decide in which partition a message is,
	// empty where that is not said.
	KeyedBy []string
	// Headers are the names of headers, each with the field that it gives.
	Headers map[string]string
	// MessageTime lets a line without a time have that of its message.
	MessageTime bool
	DeadLetters KafkaDeadLetters

	MaxMessage int64 // bytes, as all sizes here; 0 for the default
	MaxBatch   int64
	Fetch      int64
	Session    time.Duration
	Rebalance  time.Duration
	Refresh    time.Duration
	Stall      time.Duration

	// LoginFault is what is wrong with the login in a configuration that was only
	// loaded for reading: most commands need none.
	LoginFault error
}

// KafkaDeadLetters says where messages go that cannot be read. At most one of
// Topic and File is set.
type KafkaDeadLetters struct {
	Topic   string
	File    string // absolute
	MaxSize int64  // of the file, 0 for the default
}

// Options returns the options of kafka.New, without the cluster and what the
// command line adds.
func (k *KafkaSource) Options() kafka.Options {
	o := kafka.Options{
		Name: k.Name, Group: k.Group, Topics: k.Topics, Begin: k.Begin, BeginAt: k.BeginAt, Stale: k.Stale, Uncommitted: k.Uncommitted,
		Headers: k.headers(), MaxMessage: int(k.MaxMessage), MaxBatch: int(k.MaxBatch), FetchBytes: int(k.Fetch),
		Session: k.Session, Rebalance: k.Rebalance, Refresh: k.Refresh, Stall: k.Stall,
	}
	if k.Pattern != "" {
		o.Pattern, _ = kafka.ParsePattern(k.Pattern) // a bad one was told
	}
	return o
}

// ReplayOptions returns the options of kafka.Replay for a topic, without the
// cluster and what the command line adds.
func (k *KafkaSource) ReplayOptions(topic string) kafka.ReplayOptions {
	return kafka.ReplayOptions{
		Name: k.Name, Topic: topic, Uncommitted: k.Uncommitted, Headers: k.headers(), MaxMessage: int(k.MaxMessage), MaxBatch: int(k.MaxBatch),
	}
}

func (k *KafkaSource) matches(topic string) bool {
	p := k.Options().Pattern
	return p != nil && p.MatchString(topic)
}

func (k *KafkaSource) headers() []string {
	var names []string
	for name := range k.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Messages returns how messages of the source become events.
func (s *Source) Messages() pipeline.Messages {
	m := pipeline.Messages{MaxLine: int(s.MaxLine)}
	if s.Kafka == nil {
		return m
	}
	m.OwnTime = !s.Kafka.MessageTime
	for name, field := range s.Kafka.Headers {
		if m.Headers == nil {
			m.Headers = map[string]event.Field{}
		}
		m.Headers[name], _ = event.Lookup(field) // it was checked
	}
	return m
}

// kafkaSource reads sources[].kafka.
func (d *decoder) kafkaSource(n *yaml.Node, name string) *KafkaSource {
	before := len(d.problems)
	k := &KafkaSource{Group: "gatewatch", MessageTime: true}
	m := d.mapping(n, name)
	d.kafkaCluster(m, n, &k.KafkaCluster)
	if d.reading && len(d.problems) > before {
		k.LoginFault = errors.New(d.problems[before:].Error())
		d.problems = d.problems[:before]
	}
	d.kafkaTopics(m, n, k)
	begin := "last"
	if at := m.text("begin", &begin); at != nil {
		d.kafkaBegin(at, m.path("begin"), begin, k)
	}
	stale := "earliest"
	m.oneOf("stale", &stale, "earliest", "latest", "stop")
	k.Stale = map[string]kafka.Stale{"earliest": kafka.Earliest, "latest": kafka.Latest, "stop": kafka.Stop}[stale]
	m.boolean("uncommitted", &k.Uncommitted)
	m.texts("keyed_by", &k.KeyedBy, func(s string) error {
		return checkField(s, func(event.Field) bool { return true })
	})
	m.pairs("headers", func(_, v *yaml.Node, header, field string) {
		if err := checkField(field, isFillable); err != nil {
			d.fail(v, "%s.%s: %s", m.path("headers"), header, err)
			return
		}
		if k.Headers == nil {
			k.Headers = map[string]string{}
		}
		k.Headers[header] = field
	})
	m.boolean("message_time", &k.MessageTime)
	if at := m.take("dead_letters"); at != nil {
		d.kafkaDeadLetters(at, m.path("dead_letters"), k)
	}
	m.size("max_message", &k.MaxMessage, 1<<10, 1<<30)
	m.size("max_batch", &k.MaxBatch, 1<<16, 1<<30)
	m.size("fetch", &k.Fetch, 1<<12, 1<<28)
	m.duration("session", &k.Session, 100*time.Millisecond, 30*time.Minute)
	m.duration("rebalance", &k.Rebalance, 100*time.Millisecond, 30*time.Minute)
	m.duration("refresh", &k.Refresh, 10*time.Millisecond, time.Hour)
	m.duration("stall", &k.Stall, time.Second, day)
	m.done()
	return k
}

func (d *decoder) kafkaTopics(m *mapping, n *yaml.Node, k *KafkaSource) {
	before := len(d.problems)
	if at := m.text("name", &k.Name); at != nil {
		if err := kafka.CheckTopic(k.Name); err != nil {
			d.fail(at, "%s is %s; write letters, digits, and . _ - between them", m.path("name"), quote(k.Name))
		}
	}
	if at := m.text("group", &k.Group); at != nil && k.Group == "" {
		d.fail(at, "%s is empty; write the name of a consumer group, or remove the key for gatewatch", m.path("group"))
	}
	m.texts("topics", &k.Topics, kafka.CheckTopic)
	if at := m.text("pattern", &k.Pattern); at != nil {
		if _, err := kafka.ParsePattern(k.Pattern); err != nil {
			d.fail(at, "%s is no regular expression: %s", m.path("pattern"), regexpError(regexpCause(k.Pattern)))
		}
	}
	if len(d.problems) == before && len(k.Topics) == 0 && k.Pattern == "" {
		d.fail(n, "%s names no topic; write topics: [access-logs], or pattern: \"access-.*\"", m.name)
	}
}

// regexpCause is what package regexp itself says of a text.
func regexpCause(s string) error {
	_, err := regexp.Compile(s)
	if err == nil {
		err = errors.New("it does not end where its parentheses do")
	}
	return err
}

func (d *decoder) kafkaBegin(at *yaml.Node, name, begin string, k *KafkaSource) {
	switch begin {
	case "last":
		k.Begin = kafka.Last
	case "first":
		k.Begin = kafka.First
	default:
		t, err := time.Parse(time.RFC3339, begin)
		if err != nil {
			d.fail(at, "%s is %s; write first, last, or a time such as 2026-11-20T08:00:00Z", name, quote(begin))
			return
		}
		k.Begin, k.BeginAt = kafka.At, t
	}
}

func (d *decoder) kafkaDeadLetters(n *yaml.Node, name string, k *KafkaSource) {
	before := len(d.problems)
	l := &k.DeadLetters
	m := d.mapping(n, name)
	if at := m.text("topic", &l.Topic); at != nil {
		err := kafka.CheckTopic(l.Topic)
		switch {
		case err != nil:
			d.fail(at, "%s: %s", m.path("topic"), err)
		case slices.Contains(k.Topics, l.Topic):
			d.fail(at, "%s is %s, which is read as well; what cannot be read would come again for ever", m.path("topic"), quote(l.Topic))
		case k.matches(l.Topic):
			d.fail(at, "%s is %s, which pattern matches; what cannot be read would come again for ever", m.path("topic"), quote(l.Topic))
		}
	}
	if m.text("file", &l.File) != nil {
		l.File = d.path(l.File)
	}
	m.size("max_size", &l.MaxSize, 1<<16, 1<<40)
	m.done()
	switch {
	case len(d.problems) > before:
	case l.Topic != "" && l.File != "":
		d.fail(n, "%s has both topic and file; keep one", name)
	case l.Topic == "" && l.File == "":
		d.fail(n, "%s goes nowhere; write topic: access-logs.dead, or file: dead.jsonl, or remove the key to have them only counted", name)
	}
}

// checkField returns what is wrong with the name of a field.
func checkField(name string, fits func(event.Field) bool) error {
	if f, ok := event.Lookup(name); ok && fits(f) {
		return nil
	}
	var names []string
	for _, n := range event.FieldNames() {
		if f, ok := event.Lookup(n); ok && fits(f) {
			names = append(names, n)
		}
	}
	if near := Nearest(name, names); near != "" {
		return errors.New(quote(name) + " is no field for this; did you mean " + near + "?")
	}
	slices.Sort(names)
	return errors.New(quote(name) + " is no field for this; write " + orList(names))
}

// isFillable reports whether a text can give an event the field.
func isFillable(f event.Field) bool { return slices.Contains(event.Fillable(), f) }

// kafkaSources checks what entries have to differ in.
func (d *decoder) kafkaSources(nodes []*yaml.Node, list []Source) {
	for i := range list {
		for j := range i {
			a, b := list[j].Kafka, list[i].Kafka
			if a == nil || b == nil || a.Name != b.Name {
				continue
			}
			if !slices.Equal(a.Brokers, b.Brokers) {
				d.fail(nodes[i], "sources[%d].kafka reads from other brokers than sources[%d].kafka; give one of them a name, such as name: %s", i, j, "frankfurt")
				continue
			}
			for _, t := range b.Topics {
				if slices.Contains(a.Topics, t) {
					d.fail(nodes[i], "sources[%d].kafka reads topic %s, as sources[%d].kafka does; one of them is enough", i, t, j)
				}
			}
		}
	}
}
