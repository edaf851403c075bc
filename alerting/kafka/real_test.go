package kafka

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"gatewatch/collectors/kafka/kafkatest"
)

// TestReal does with Apache Kafka what the other tests do in the process.
func TestReal(t *testing.T) {
	all := kafkatest.Real(t)
	t.Run("ways", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(1)
		for _, w := range kafkatest.Ways() {
			t.Run(w.String(), func(t *testing.T) { ways(t, all.For(t), topic, w) })
		}
	})
	t.Run("compressions and formats", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(3)
		for _, name := range Compressions() {
			for _, format := range Formats() {
				conf := config(c.Access(kafkatest.Way{}), topic)
				conf.Compression, conf.Format = name, format
				if res := receiver(t, conf).Notify(t.Context(), note(t, nil)); res.Err != nil {
					t.Errorf("%s %s: %v", name, format, res.Err)
				}
			}
		}
		got := c.Records(topic)
		if len(got) != len(Compressions())*len(Formats()) {
			t.Errorf("got %d messages", len(got))
		}
		for _, r := range got {
			if r.Partition != got[0].Partition || !json.Valid(r.Value) || r.Header("ce_id") != "654adc8f559de823/1" {
				t.Errorf("got %+v", r)
			}
		}
	})
	t.Run("unknown topic", func(t *testing.T) {
		c := all.For(t)
		unknownTopic(t, c, config(c.Access(kafkatest.Way{}), fmt.Sprintf("not-there.%d", time.Now().UnixNano())))
	})
	t.Run("too large", func(t *testing.T) {
		c := all.For(t)
		topic := fmt.Sprintf("small.%d", time.Now().UnixNano())
		c.CreateTopic(topic, 1, map[string]string{"max.message.bytes": "8192"})
		tooLarge(t, c, topic)
	})
	t.Run("compacted", func(t *testing.T) {
		c := all.For(t)
		topic := fmt.Sprintf("compacted.%d", time.Now().UnixNano())
		c.CreateTopic(topic, 1, map[string]string{"cleanup.policy": "compact"})
		if res := receiver(t, config(c.Access(kafkatest.Way{}), topic)).Notify(t.Context(), note(t, nil)); res.Err != nil {
			t.Errorf("got %+v", res)
		}
	})
	t.Run("recreated with fewer partitions", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(50)
		r := receiver(t, config(c.Access(kafkatest.Way{}), topic))
		if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
			t.Fatal(res.Err)
		}
		c.RecreateTopic(topic, 1)
		if r.Notify(t.Context(), note(t, nil)).Err != nil {
			if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
				t.Errorf("got %+v", res)
			}
		}
		if got := len(c.Records(topic)); got != 1 {
			t.Errorf("want one message, got %d", got)
		}
	})
	t.Run("outbox", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(3)
		throughTheOutbox(t, c, config(c.Access(kafkatest.Way{}), topic), topic)
	})
	t.Run("away", func(t *testing.T) {
		c := all.For(t)
		topic := c.Topic(1)
		away(t, c, receiver(t, config(c.Access(kafkatest.Way{}), topic)), topic)
	})
}
