package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/conn"
)

// membership is the time for which a collector is in the group with the same
// topics.
type membership struct {
	*Collector
	topics  []string
	found   func(collectors.Source)
	settled func()
}

// errTopics ends a membership: it has to begin again with other topics.
var errTopics = errors.New("the topics are others now")

// leaveWithin bounds leaving the group: others wait for its session otherwise.
const leaveWithin = 10 * time.Second

// leaveAtEnd bounds it at the end of a run, which has little time: a coordinator that
// does not answer is not waited for. The next start leaves in this one's place.
const leaveAtEnd = 1500 * time.Millisecond

// run is in the group until the topics change (nil), ctx is done and the
// collector finished, or the group cannot be made.
func (m *membership) run(ctx context.Context) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: m.opts.Group, Brokers: m.opts.Cluster.Brokers(), Dialer: m.opts.Cluster.Dialer(), Topics: m.topics,
		SessionTimeout: m.opts.Session, HeartbeatInterval: m.opts.Heartbeat, RebalanceTimeout: m.opts.Rebalance,
		JoinGroupBackoff: min(time.Second, m.opts.Session), Timeout: min(5*time.Second, max(m.opts.Session, 500*time.Millisecond)),
		StartOffset: kafka.FirstOffset, GroupBalancers: balancers(m.opts.Instance, m.since),
		// Its own look at partitions would make topics that were deleted: WatchPartitionChanges stays off.
	})
	if err != nil {
		return fmt.Errorf("consumer group %s: %w", m.opts.Group, err)
	}
	inside, leave := context.WithCancelCause(context.WithoutCancel(ctx))
	defer leave(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ctx.Done():
			// The last checkpoint is still to come, and to be committed.
			select {
			case <-m.finished:
			case <-time.After(leaveWithin):
			}
			leave(ctx.Err())
		case <-inside.Done():
		}
	})
	wg.Go(func() { m.watchTopics(inside, leave) })
	for {
		g, err := group.Next(inside)
		if inside.Err() != nil {
			break
		}
		if err != nil {
			m.failed(err)
			continue
		}
		m.about("group", "")
		m.voice.well("the consumer group was joined")
		m.generation(ctx, g)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = group.Close() // it has nothing to say
	}()
	within := leaveWithin
	if ctx.Err() != nil {
		within = leaveAtEnd
	}
	select {
	case <-closed:
	case <-time.After(within):
	}
	leave(nil)
	wg.Wait()
	if cause := context.Cause(inside); errors.Is(cause, errTopics) {
		return nil
	}
	return ctx.Err()
}

// watchTopics ends the membership when there are other topics, or one has
// other partitions.
func (m *membership) watchTopics(ctx context.Context, leave context.CancelCauseFunc) {
	m.mu.Lock()
	sizes := m.sizes
	m.mu.Unlock()
	t := time.NewTicker(m.opts.Refresh)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		topics, err := m.resolve(ctx)
		if err != nil {
			continue // partitions say it where it matters
		}
		m.mu.Lock()
		same := slices.Equal(topics, m.topics) && maps.Equal(sizes, m.sizes)
		m.mu.Unlock()
		if !same {
			leave(errTopics)
			return
		}
	}
}

// generation gives partitions what the group assigned.
func (m *membership) generation(ctx context.Context, g *kafka.Generation) {
	m.count(eventRebalance)
	revoked, revoke := context.WithCancel(context.Background())
	open := make(chan struct{})
	var ready sync.WaitGroup
	mine := map[*partition]*assignment{}
	for topic, list := range g.Assignments {
		for _, pa := range list {
			p, isNew := m.source(topic, int32(pa.ID))
			ready.Add(1)
			a := &assignment{
				committed: max(pa.Offset, none), member: g.MemberID, ready: sync.OnceFunc(ready.Done), open: open, revoked: revoked,
				parked: make(chan struct{}),
			}
			mine[p] = a
			if isNew {
				m.found(p)
			}
			p.tell(order{assigned: a})
		}
	}
	for p := range m.held {
		if mine[p] == nil {
			p.tell(order{lost: true})
		}
	}
	clear(m.held)
	for p := range mine {
		m.held[p] = true
	}
	m.say(g, mine)
	go func() {
		// All of them are known to the merge before one brings a record.
		all := make(chan struct{})
		go func() { ready.Wait(); close(all) }()
		select {
		case <-all:
			close(open)
			m.settled()
		case <-ctx.Done():
		case <-revoked.Done():
		}
		for _, a := range mine {
			a.ready() // nobody waits any more
		}
	}()
	g.Start(func(end context.Context) {
		m.serve(end, g, mine)
		revoke()
		m.handOver(ctx, g, mine)
	})
}

// say leaves a trace of what was assigned, and tells who wants to know how much
// of each topic that is.
func (m *membership) say(g *kafka.Generation, mine map[*partition]*assignment) {
	var names []string
	counts := map[string]int{}
	for p := range mine {
		names = append(names, p.name)
		counts[p.topic]++
	}
	slices.Sort(names)
	m.opts.Logger.Info("partitions are assigned", "group", m.opts.Group, "generation", g.ID, "partitions", strings.Join(names, " "))
	if m.opts.Shared == nil {
		return
	}
	m.mu.Lock()
	sizes := maps.Clone(m.sizes)
	m.mu.Unlock()
	for topic, all := range sizes {
		m.opts.Shared(topic, counts[topic], all)
	}
}

// serve commits what becomes durable until the generation ends.
func (m *membership) serve(end context.Context, g *kafka.Generation, mine map[*partition]*assignment) {
	for {
		select {
		case <-end.Done():
			return
		case <-m.commit:
			_ = m.commitAll(g, mine) // it was said, and the next checkpoint tries again
		}
	}
}

// commitAll tells Kafka how far the last checkpoint is.
func (m *membership) commitAll(g *kafka.Generation, mine map[*partition]*assignment) error {
	offsets := map[string]map[int]int64{}
	told := map[*partition]int64{}
	for p, a := range mine {
		offset, ok := p.toCommit(a)
		if !ok {
			continue
		}
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int]int64{}
		}
		offsets[p.topic][int(p.number)] = offset
		told[p] = offset
	}
	if len(told) == 0 {
		return nil
	}
	if err := g.CommitOffsets(offsets); err != nil {
		m.count(eventCommitFailed)
		m.voice.warn("offsets could not be committed; they follow with the next checkpoint", "reason", conn.Reason(err), "error", err)
		return err
	}
	m.opts.Hook("offset-committed-not-noted")
	m.count(eventCommit)
	for p, offset := range told {
		p.committed(offset)
	}
	return nil
}

// handOver waits until all partitions are parked and commits their offsets,
// while the coordinator still takes this member's word. At the end of a run
// they do not park: the last checkpoint was made for all of them.
func (m *membership) handOver(ctx context.Context, g *kafka.Generation, mine map[*partition]*assignment) {
	limit := time.NewTimer(m.opts.Rebalance * 2 / 3)
	defer limit.Stop()
	for p, a := range mine {
		select {
		case <-a.parked:
			continue
		case <-ctx.Done():
		case <-limit.C:
			m.voice.warn("a partition could not be handed over in time; who reads it next may count some of its records again", "partition", p.name)
			limit.Reset(0)
		}
	}
	const tries = 2
	for range tries {
		if m.commitAll(g, mine) == nil {
			return
		}
	}
}
