package main

import (
	"fmt"
	"log/slog"
	"os"

	"gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/config"
)

// newCluster says how to reach the cluster of a source. It connects to nothing.
func (a *app) newCluster(k *config.KafkaCluster) (*conn.Cluster, error) {
	return conn.New(k.Options(a.env))
}

// kafkaOptions returns the options of the collector of a source, with what has
// to be closed after it.
func (a *app) kafkaOptions(k *config.KafkaSource, logger *slog.Logger) (o kafka.Options, undo func() error, err error) {
	cluster, err := a.newCluster(&k.KafkaCluster)
	if err != nil {
		return o, nil, err
	}
	o = k.Options()
	o.Cluster, o.Now, o.Logger, o.Hook = cluster, a.now, logger, a.hook
	undo = func() error { return nil }
	switch l := k.DeadLetters; {
	case l.Topic != "":
		if o.DeadLetters, err = kafka.DeadLetterTopic(cluster, l.Topic); err != nil {
			return o, nil, err
		}
		undo = o.DeadLetters.Close
	case l.File != "":
		o.DeadLetters = kafka.DeadLetterFile(l.File, l.MaxSize)
	}
	return o, undo, nil
}

// kafkaCollector makes the collector of a source.
func (d *daemon) kafkaCollector(s *config.Source, stop *stack) (*kafka.Collector, error) {
	k := s.Kafka
	o, undo, err := d.app.kafkaOptions(k, d.logger)
	if err != nil {
		return nil, err
	}
	stop.push("close the dead letters", undo)
	// Two hosts may call their state files the same; one host cannot open one twice.
	if host, err := os.Hostname(); err == nil {
		o.Instance = host + ":" + d.config.State.Path
	}
	o.Shared = func(topic string, mine, all int) { d.sharing.changed(d.rulesNow(), k, topic, mine, all) }
	return kafka.New(o)
}

// checkKafka finds what is wrong with sources that are topics, without
// connecting to anything.
func (a *app) checkKafka(c *config.Config) error {
	for i := range c.Sources {
		k := c.Sources[i].Kafka
		if k == nil {
			continue
		}
		o, undo, err := a.kafkaOptions(k, slog.New(slog.DiscardHandler))
		if err == nil {
			_, err = kafka.New(o)
			_ = undo() // nothing was sent
		}
		if err != nil {
			return configError(fmt.Errorf("sources[%d].kafka: %w", i, err))
		}
	}
	return nil
}
