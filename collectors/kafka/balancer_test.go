package kafka

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
)

// TestBalancer: a member that a killed program left behind is assigned nothing.
func TestBalancer(t *testing.T) {
	data := func(instance string, since int64) []byte {
		d, err := balancers(instance, since)[0].UserData()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	partitions := make([]kafka.Partition, 6)
	for i := range partitions {
		partitions[i] = kafka.Partition{Topic: "t", ID: i}
	}
	member := func(id string, data []byte) kafka.GroupMember {
		return kafka.GroupMember{ID: id, Topics: []string{"t"}, UserData: data}
	}
	a1, a2, b := data("a", 1), data("a", 2), data("b", 1)
	for _, c := range []struct {
		name    string
		members []kafka.GroupMember
		want    map[string]int
	}{
		{"alone", []kafka.GroupMember{member("x", a1)}, map[string]int{"x": 6}},
		{"two instances", []kafka.GroupMember{member("x", a1), member("y", b)}, map[string]int{"x": 3, "y": 3}},
		{"one that was killed", []kafka.GroupMember{member("x", a1), member("y", a2)}, map[string]int{"y": 6}},
		{"beside another", []kafka.GroupMember{member("w", b), member("x", a2), member("y", a1)}, map[string]int{"w": 3, "x": 3}},
		{"other programs", []kafka.GroupMember{member("w", nil), member("x", []byte("zzz")), member("y", a1)}, map[string]int{"w": 2, "x": 2, "y": 2}},
		{"without a name", []kafka.GroupMember{member("x", data("", 1)), member("y", data("", 2))}, map[string]int{"x": 3, "y": 3}},
	} {
		for _, b := range balancers("a", 2) {
			got := map[string]int{}
			for id, topics := range b.AssignGroups(c.members, partitions) {
				if n := len(topics["t"]); n > 0 {
					got[id] = n
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", c.name, b.ProtocolName(), diff)
			}
		}
	}
}

// TestBalancerOrder: a member that joins again under another id has the partitions
// that it had, in any order of members.
func TestBalancerOrder(t *testing.T) {
	partitions := make([]kafka.Partition, 7)
	for i := range partitions {
		partitions[i] = kafka.Partition{Topic: "t", ID: i}
	}
	instances := []string{"host1:a.db", "host2:a.db", "host3:a.db"}
	for _, b := range balancers("host1:a.db", 1) {
		var first map[string][]int
		for round := range 6 {
			var members []kafka.GroupMember
			names := map[string]string{}
			for i := range instances {
				instance := instances[(i+round)%len(instances)]
				data, err := balancers(instance, int64(round))[0].UserData()
				if err != nil {
					t.Fatal(err)
				}
				id := fmt.Sprintf("member-%d", (i*round+round)%5+10*i) // another one each time
				names[id] = instance
				members = append(members, kafka.GroupMember{ID: id, Topics: []string{"t"}, UserData: data})
			}
			got := map[string][]int{}
			for id, topics := range b.AssignGroups(members, partitions) {
				got[names[id]] = topics["t"]
			}
			if round == 0 {
				first = got
			}
			if diff := cmp.Diff(first, got); diff != "" || len(got) != len(instances) {
				t.Errorf("%s, round %d (-first +now):\n%s", b.ProtocolName(), round, diff)
			}
		}
	}
}
