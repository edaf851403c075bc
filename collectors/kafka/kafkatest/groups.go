package kafkatest

import (
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is what a cluster knows of a consumer group.
type Group struct {
	State   string   // Empty, PreparingRebalance, CompletingRebalance, Stable, Dead
	Members []Member // by ID
}

// Member is one member of a group.
type Member struct {
	ID, ClientID string
	Partitions   map[string][]int // by topic, ascending
}

// Group returns what the cluster knows of a consumer group now.
func (c *Cluster) Group(name string) Group {
	c.t.Helper()
	var out Group
	c.Await("group "+name+" to be described", func() bool {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{name}
		res, err := ask[*kmsg.DescribeGroupsResponse](c, req)
		if err != nil || len(res.Groups) != 1 {
			return false
		}
		g := res.Groups[0]
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil && kerr.IsRetriable(err) {
			return false
		}
		out = Group{State: g.State}
		for _, m := range g.Members {
			member := Member{ID: m.MemberID, ClientID: m.ClientID, Partitions: map[string][]int{}}
			var assigned kmsg.ConsumerMemberAssignment
			if assigned.ReadFrom(m.MemberAssignment) == nil {
				for _, t := range assigned.Topics {
					for _, p := range t.Partitions {
						member.Partitions[t.Topic] = append(member.Partitions[t.Topic], int(p))
					}
					slices.Sort(member.Partitions[t.Topic])
				}
			}
			out.Members = append(out.Members, member)
		}
		slices.SortFunc(out.Members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
		return true
	})
	return out
}

// AwaitGroup waits until a group is stable with so many members.
func (c *Cluster) AwaitGroup(name string, members int) Group {
	c.t.Helper()
	var g Group
	c.Await("the group to settle", func() bool {
		g = c.Group(name)
		return len(g.Members) == members && (g.State == "Stable" || members == 0)
	})
	return g
}

// Committed returns the offsets that a group has committed, by topic and
// partition; without an entry where there is none.
func (c *Cluster) Committed(group string) map[string]map[int]int64 {
	c.t.Helper()
	var out map[string]map[int]int64
	c.Await("the offsets of group "+group, func() bool {
		out = map[string]map[int]int64{}
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group, req.Topics = group, nil
		one := kmsg.NewOffsetFetchRequestGroup()
		one.Group, one.Topics = group, nil
		req.Groups = append(req.Groups, one)
		res, err := ask[*kmsg.OffsetFetchResponse](c, req)
		if err != nil || len(res.Groups) != 1 {
			return false
		}
		switch err := kerr.ErrorForCode(res.Groups[0].ErrorCode); {
		case errors.Is(err, kerr.GroupIDNotFound):
			return true
		case err != nil:
			return false
		}
		for _, t := range res.Groups[0].Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return false
				}
				if p.Offset < 0 {
					continue
				}
				if out[t.Topic] == nil {
					out[t.Topic] = map[int]int64{}
				}
				out[t.Topic][int(p.Partition)] = p.Offset
			}
		}
		return true
	})
	return out
}

// Commit sets the offset of a group, as a tool does that an operator resets it
// with. The group must have no members.
func (c *Cluster) Commit(group, topic string, partition int, offset int64) {
	c.t.Helper()
	var err error
	c.Await("the offset to be set", func() bool {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = group, -1
		t := kmsg.NewOffsetCommitRequestTopic()
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(partition), offset
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		var res *kmsg.OffsetCommitResponse
		if res, err = ask[*kmsg.OffsetCommitResponse](c, req); err == nil {
			err = kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
		}
		return err == nil || !kerr.IsRetriable(err)
	})
	if err != nil {
		c.t.Fatalf("kafkatest: commit %d for %s/%d of group %s: %v", offset, topic, partition, group, err)
	}
}

// ForgetGroup deletes a group with its offsets, as happens when they expire. The
// group must have no members.
func (c *Cluster) ForgetGroup(group string) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	res, err := ask[*kmsg.DeleteGroupsResponse](c, req)
	if err == nil {
		err = kerr.ErrorForCode(res.Groups[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("kafkatest: delete group %s: %v", group, err)
	}
}
