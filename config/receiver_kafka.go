package config

import (
	"time"

	"gatewatch/alerting/kafka"

	"go.yaml.in/yaml/v4"
)

// KafkaReceiver is a receiver that writes to a topic.
type KafkaReceiver struct {
	KafkaCluster
	Topic       string
	Format      string // "json" or "ocsf"
	Compression string
	MaxMessage  int64 // bytes, 0 for the default
	Timeout     time.Duration
}

// AttemptTimeout returns the timeout of one message.
func (k *KafkaReceiver) AttemptTimeout() time.Duration { return k.Timeout }

// Options returns the options of kafka.New for a receiver of that name; version
// is gatewatch's own, and env looks up environment variables.
func (k *KafkaReceiver) Options(name, version string, env func(string) (string, bool)) kafka.Config {
	return kafka.Config{
		Name: name, Cluster: k.KafkaCluster.Options(env), Topic: k.Topic, Format: kafka.Format(k.Format),
		Compression: k.Compression, MaxMessage: int(k.MaxMessage), Timeout: k.Timeout, Version: version,
	}
}

func readKafkaReceiver(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	k := &KafkaReceiver{Format: string(kafka.JSON), Compression: "none", Timeout: 10 * time.Second}
	m := d.mapping(n, name)
	d.kafkaCluster(m, n, &k.KafkaCluster)
	topic := m.text("topic", &k.Topic)
	if topic != nil {
		if err := kafka.CheckTopic(k.Topic); err != nil {
			d.fail(topic, "%s: %s", m.path("topic"), err)
		}
	}
	var formats []string
	for _, f := range kafka.Formats() {
		formats = append(formats, string(f))
	}
	m.oneOf("format", &k.Format, formats...)
	m.oneOf("compression", &k.Compression, kafka.Compressions()...)
	m.size("max_message", &k.MaxMessage, kafka.MinMessage, kafka.MaxMessage)
	m.duration("timeout", &k.Timeout, 100*time.Millisecond, 5*time.Minute)
	m.done()
	if topic == nil && len(d.problems) == before {
		d.fail(n, "%s has no topic; write topic: gatewatch.incidents", name)
	}
	return k
}
