package kafkatest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic makes a topic of a name that nobody else has and returns the name, which
// begins with that of the test.
func (c *Cluster) Topic(partitions int) string {
	c.t.Helper()
	c.mu.Lock()
	c.names++
	n := c.names
	c.mu.Unlock()
	name := fmt.Sprintf("%.100s.%d.%d", legalName(c.t.Name()), time.Now().UnixNano(), n)
	c.CreateTopic(name, partitions, nil)
	return name
}

// legalName leaves of a text what may stand in the name of a topic.
func legalName(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-':
			return r
		default:
			return '-'
		}
	}, text)
}

// CreateTopic makes a topic and waits until its partitions can be written. configs
// are settings such as retention.ms or max.message.bytes; nil for none.
func (c *Cluster) CreateTopic(name string, partitions int, configs map[string]string) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), 1
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		set := kmsg.NewCreateTopicsRequestTopicConfig()
		set.Name, set.Value = key, new(configs[key])
		topic.Configs = append(topic.Configs, set)
	}
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(patience / time.Millisecond)
	// A topic that was just deleted may not be gone yet.
	var err error
	c.Await("topic "+name+" to be made", func() bool {
		var res *kmsg.CreateTopicsResponse
		if res, err = ask[*kmsg.CreateTopicsResponse](c, req); err == nil {
			err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
		}
		return !errors.Is(err, kerr.TopicAlreadyExists)
	})
	if err != nil {
		c.t.Fatalf("kafkatest: create topic %s: %v", name, err)
	}
	c.settle(name, partitions)
}

// settle waits until a topic has so many partitions and each of its leaders
// knows that it is one, which it learns a little after the others.
func (c *Cluster) settle(name string, partitions int) {
	c.t.Helper()
	c.Await("leaders of topic "+name, func() bool { return c.led(name) == partitions })
	c.Ends(name)
}

// led returns how many partitions of a topic have a leader.
func (c *Cluster) led(name string) int {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = new(name)
	req.Topics = append(req.Topics, topic)
	res, err := ask[*kmsg.MetadataResponse](c, req)
	if err != nil || len(res.Topics) == 0 || res.Topics[0].ErrorCode != 0 {
		return 0
	}
	led := 0
	for _, p := range res.Topics[0].Partitions {
		if p.ErrorCode == 0 && p.Leader >= 0 {
			led++
		}
	}
	return led
}

// DeleteTopic deletes a topic and waits until the cluster knows it no more.
func (c *Cluster) DeleteTopic(name string) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = new(name)
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{name}
	req.TimeoutMillis = int32(patience / time.Millisecond)
	res, err := ask[*kmsg.DeleteTopicsResponse](c, req)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("kafkatest: delete topic %s: %v", name, err)
	}
	c.Await("topic "+name+" to be gone", func() bool { return c.led(name) == 0 })
}

// RecreateTopic deletes a topic and makes it again, empty: offsets begin at 0
// again.
func (c *Cluster) RecreateTopic(name string, partitions int) {
	c.t.Helper()
	c.DeleteTopic(name)
	c.CreateTopic(name, partitions, nil)
}

// AddPartitions gives a topic more partitions: total is how many it has then.
func (c *Cluster) AddPartitions(name string, total int) {
	c.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = name, int32(total)
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(patience / time.Millisecond)
	res, err := ask[*kmsg.CreatePartitionsResponse](c, req)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("kafkatest: add partitions to %s: %v", name, err)
	}
	c.settle(name, total)
}

// DeleteRecords takes away what is before the offset, as retention does.
func (c *Cluster) DeleteRecords(name string, partition int, before int64) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Partition, part.Offset = int32(partition), before
	topic.Topic, topic.Partitions = name, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(patience / time.Millisecond)
	res, err := ask[*kmsg.DeleteRecordsResponse](c, req)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("kafkatest: delete records of %s/%d: %v", name, partition, err)
	}
}

// Ends returns the offset behind the last record of each partition.
func (c *Cluster) Ends(name string) map[int]int64 {
	c.t.Helper()
	return c.offsets(name, -1)
}

// Starts returns the offset of the first record of each partition.
func (c *Cluster) Starts(name string) map[int]int64 {
	c.t.Helper()
	return c.offsets(name, -2)
}

func (c *Cluster) offsets(name string, at int64) map[int]int64 {
	c.t.Helper()
	out := map[int]int64{}
	partitions := c.led(name)
	var err error
	if poll(patience, func() bool {
		req := kmsg.NewPtrListOffsetsRequest()
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for i := range partitions {
			part := kmsg.NewListOffsetsRequestTopicPartition()
			part.Partition, part.Timestamp = int32(i), at
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
		var res *kmsg.ListOffsetsResponse
		if res, err = ask[*kmsg.ListOffsetsResponse](c, req); err != nil {
			return false
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				if err = kerr.ErrorForCode(p.ErrorCode); err != nil {
					return !kerr.IsRetriable(err)
				}
				out[int(p.Partition)] = p.Offset
			}
		}
		return true
	}) != nil || err != nil {
		c.t.Fatalf("kafkatest: list the offsets of %s: %v", name, err)
	}
	return out
}
