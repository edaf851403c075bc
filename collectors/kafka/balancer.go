package kafka

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
)

// A program that is killed while it joins leaves a member behind that nobody
// will ever hear of, and of which it has no note. Were that member assigned a
// partition, the next start would have to do without it until the session ends, and
// its records would come behind all others then. So members say whose they are and
// since when, and whoever assigns leaves out those of which there is a newer one.
//
// A member gets a new id each time that it joins, and partitions follow the order of
// ids. After a coordinator was away they would change hands for no reason, and what
// a member could not commit any more would be read again by another. So members stand in the
// order of whose they are: the same ones have the same partitions again.

// balancer is one of kafka-go's with what a member says of itself.
type balancer struct {
	kafka.GroupBalancer
	data []byte
}

const (
	balancerMark    = "gatewatch1"
	balancerDataLen = len(balancerMark) + sha256.Size + 8
)

// balancers are those that kafka-go has by default.
func balancers(instance string, since int64) []kafka.GroupBalancer {
	var data []byte
	if instance != "" {
		sum := sha256.Sum256([]byte(instance))
		data = append([]byte(balancerMark), sum[:]...)
		data = binary.BigEndian.AppendUint64(data, uint64(since))
	}
	return []kafka.GroupBalancer{balancer{kafka.RangeGroupBalancer{}, data}, balancer{kafka.RoundRobinGroupBalancer{}, data}}
}

// UserData implements kafka.GroupBalancer.
func (b balancer) UserData() ([]byte, error) { return b.data, nil }

// AssignGroups implements kafka.GroupBalancer.
func (b balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	members = living(members)
	slices.SortFunc(members, func(x, y kafka.GroupMember) int {
		xi, _, _ := owner(x)
		yi, _, _ := owner(y)
		return cmp.Or(strings.Compare(xi, yi), strings.Compare(x.ID, y.ID))
	})
	// What assigns goes by ids, so it is given some in this order.
	ids := make(map[string]string, len(members))
	for i := range members {
		alias := fmt.Sprintf("%08d", i)
		ids[alias], members[i].ID = members[i].ID, alias
	}
	out := kafka.GroupMemberAssignments{}
	for alias, topics := range b.GroupBalancer.AssignGroups(members, partitions) {
		out[ids[alias]] = topics
	}
	return out
}

// owner returns whose a member is and since when. ok is false for one that does not
// say.
func owner(m kafka.GroupMember) (instance string, since uint64, ok bool) {
	d := m.UserData
	if len(d) != balancerDataLen || string(d[:len(balancerMark)]) != balancerMark {
		return "", 0, false
	}
	return string(d[:len(d)-8]), binary.BigEndian.Uint64(d[len(d)-8:]), true
}

// living returns the members without those of which there is a newer one.
func living(members []kafka.GroupMember) []kafka.GroupMember {
	newest := map[string]uint64{}
	for _, m := range members {
		if instance, since, ok := owner(m); ok {
			newest[instance] = max(newest[instance], since)
		}
	}
	return slices.DeleteFunc(slices.Clone(members), func(m kafka.GroupMember) bool {
		instance, since, ok := owner(m)
		return ok && since < newest[instance]
	})
}
