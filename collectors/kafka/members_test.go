package kafka_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gatewatch/collectors/kafka/kafkatest"
)

// threeMembers lets members join and leave while records come.
func threeMembers(t *testing.T, k *kafkatest.Cluster, n int) {
	k, topic, o := setup(t, k, 6)
	o = patient(o)
	l := newLedger()
	saved := []positions{{}, {}, {}}
	steps := []struct{ join, leave int }{{0, -1}, {1, -1}, {2, -1}, {-1, 0}, {0, -1}, {-1, 1}, {-1, 2}, {1, -1}}
	desks := map[int]*desk{}
	for i, s := range steps {
		if s.join >= 0 {
			desks[s.join] = sit(t, l, saved[s.join], o)
		}
		if s.leave >= 0 {
			desks[s.leave].leave()
			delete(desks, s.leave)
		}
		from, to := n*i/len(steps), n*(i+1)/len(steps)
		fill(k, topic, 6, from, to-from, kafkatest.Codecs()[i%5])
		k.AwaitGroup(o.Group, len(desks))
		await(t, "every partition has somebody", func() bool {
			sum := 0
			for _, d := range desks {
				sum += d.assigned()
			}
			return sum == 6
		})
	}
	await(t, "all read", func() bool { return l.total() == n })
	for _, d := range desks {
		d.leave()
	}
	same(t, k, topic, l)
}

// comesBack: what a member judged before its partition went elsewhere is not
// judged again when it comes back, nor what others judged meanwhile.
func comesBack(t *testing.T, k *kafkatest.Cluster) {
	k, topic, o := setup(t, k, 2)
	o = patient(o)
	l, first, second := newLedger(), positions{}, positions{}
	a := sit(t, l, first, o)
	fill(k, topic, 2, 0, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 1000 })
	b := sit(t, l, second, o)
	await(t, "each has one", func() bool { return a.assigned() == 1 && b.assigned() == 1 })
	fill(k, topic, 2, 1000, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 2000 })
	b.leave()
	fill(k, topic, 2, 2000, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 3000 })
	gaps := 0
	for p := range 2 {
		gaps += view(a, name(topic, p), func(x *tray) int { return x.gaps })
	}
	if gaps != 1 {
		t.Errorf("%d gaps, want 1: half of what came was counted elsewhere", gaps)
	}
	if n := a.c.Counts()["moved"]; n != 1 {
		t.Errorf("moved %d times, want once", n)
	}
	a.leave()
	same(t, k, topic, l)
}

// TestDeadMember: a member that is not heard of any more loses its partitions
// to another, which goes on where the dead one had committed.
func TestDeadMember(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{}), 4)
	l, saved := newLedger(), positions{}
	a := sit(t, l, saved, o)
	await(t, "a has all", func() bool { return a.assigned() == 4 })
	b := sit(t, l, positions{}, o)
	await(t, "each has its part", func() bool { return a.assigned() == 2 && b.assigned() == 2 })
	fill(k, topic, 4, 0, 1000, kafkatest.None)
	await(t, "all read", func() bool { return l.total() == 1000 })
	await(t, "all committed", func() bool {
		sum := int64(0)
		for _, n := range k.Committed(o.Group)[topic] {
			sum += n
		}
		return sum == 1000
	})
	// What a member says in the group does not arrive any more, and neither does
	// it get an answer: its process is gone.
	victim := ""
	for _, m := range k.Group(o.Group).Members {
		if len(m.Partitions[topic]) > 0 {
			victim = m.ID
			break
		}
	}
	var dead atomic.Bool
	dead.Store(true)
	for _, key := range []int16{12, 8, 13, 11} { // heartbeat, commit, leave, join
		k.Fake().ControlKey(key, func(req kmsg.Request) (kmsg.Response, error, bool) {
			k.Fake().KeepControl()
			if !dead.Load() {
				return nil, nil, false
			}
			id := ""
			switch r := req.(type) {
			case *kmsg.HeartbeatRequest:
				id = r.MemberID
			case *kmsg.OffsetCommitRequest:
				id = r.MemberID
			case *kmsg.LeaveGroupRequest:
				id = r.MemberID
			case *kmsg.JoinGroupRequest:
				id = r.MemberID
			}
			return nil, errTest, id == victim
		})
	}
	fill(k, topic, 4, 1000, 1000, kafkatest.None)
	await(t, "the other one has all, and all is read", func() bool {
		return max(a.assigned(), b.assigned()) == 4 || l.total() == 2000
	})
	await(t, "all read", func() bool { return l.total() == 2000 })
	dead.Store(false)
	a.kill()
	b.kill()
	if d := l.doubled(); len(d) > 0 {
		// A zombie judges on until it notices; what it made durable beyond its last
		// commit is judged again elsewhere. It is bounded by the session.
		t.Logf("judged by the dead member too: %v", d)
	}
}

// TestInjected answers requests with errors, now and then, of every kind that a
// broker may answer with.
func TestInjected(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{Brokers: 2}), 4)
	r := rand.New(rand.NewPCG(3, 4))
	var asked atomic.Int64
	var over atomic.Bool // the test reads the topic itself then, and does not take faults as the collector must
	fault := func() int16 {
		list := []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.FencedLeaderEpoch, kerr.KafkaStorageError,
			kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RebalanceInProgress, kerr.RequestTimedOut, kerr.UnknownServerError,
		}
		return list[r.IntN(len(list))].Code
	}
	k.Fake().ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() || asked.Add(1)%40 != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.HeartbeatResponse)
		res.ErrorCode = fault()
		return res, nil, true
	})
	k.Fake().ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() || r.IntN(5) != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, x := range req.(*kmsg.OffsetCommitRequest).Topics {
			out := kmsg.NewOffsetCommitResponseTopic()
			out.Topic = x.Topic
			for _, p := range x.Partitions {
				part := kmsg.NewOffsetCommitResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, fault()
				out.Partitions = append(out.Partitions, part)
			}
			res.Topics = append(res.Topics, out)
		}
		return res, nil, true
	})
	k.Fake().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() {
			return nil, nil, false
		}
		switch r.IntN(30) {
		case 0: // the connection breaks
			return nil, errTest, true
		case 1:
			q := req.(*kmsg.FetchRequest)
			res := req.ResponseKind().(*kmsg.FetchResponse)
			for _, x := range q.Topics {
				out := kmsg.NewFetchResponseTopic()
				out.Topic, out.TopicID = x.Topic, x.TopicID
				for _, p := range x.Partitions {
					part := kmsg.NewFetchResponseTopicPartition()
					part.Partition, part.ErrorCode = p.Partition, fault()
					out.Partitions = append(out.Partitions, part)
				}
				res.Topics = append(res.Topics, out)
			}
			return res, nil, true
		}
		return nil, nil, false
	})
	k.Fake().ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.Fake().KeepControl()
		if over.Load() || r.IntN(4) != 0 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.JoinGroupResponse)
		res.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return res, nil, true
	})
	l := newLedger()
	d := sit(t, l, positions{}, o)
	n := 0
	for range 20 {
		fill(k, topic, 4, n, 250, kafkatest.None)
		n += 250
		await(t, "all read", func() bool { return l.total() == n })
	}
	d.leave()
	over.Store(true)
	same(t, k, topic, l)
	t.Logf("%v", d.c.Counts())
}

// TestLeaderMoves: partitions change their leaders while they are read.
func TestLeaderMoves(t *testing.T) {
	k, topic, o := setup(t, kafkatest.Start(t, kafkatest.Options{Brokers: 3}), 3)
	l := newLedger()
	d := sit(t, l, positions{}, o)
	for i := range 10 {
		fill(k, topic, 3, i*300, 300, kafkatest.None)
		if err := k.Fake().MoveTopicPartition(topic, int32(i%3), int32((i+i/3)%3)); err != nil {
			t.Fatal(err)
		}
		await(t, "all read", func() bool { return l.total() == (i+1)*300 })
	}
	d.leave()
	same(t, k, topic, l)
}
