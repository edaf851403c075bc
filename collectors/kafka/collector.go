package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/wire"
)

// Collector is a member of a consumer group. Its sources are the partitions
// that it was ever assigned. Its methods are safe for concurrent use, but for
// Recall, which goes before Watch.
type Collector struct {
	opts Options
	*shared
	voice   *voice
	letters *voice

	since    int64         // when it was made, Unix nanoseconds
	left     string        // the member that this program was before it ended
	finished chan struct{} // closed by Finish
	done     chan struct{} // closed when Watch has left the group
	finish   sync.Once
	commit   chan struct{} // something may be to commit

	mu         sync.Mutex
	partitions map[string]map[int32]*partition
	held       map[*partition]bool // assigned now or in the generation before; of the goroutine of Watch
	trouble    map[string]string   // by what it is about
	sizes      map[string]int      // partitions of each topic
	lost       time.Time           // when a dead letter was lost last
}

var (
	_ collectors.Collector    = (*Collector)(nil)
	_ collectors.Recaller     = (*Collector)(nil)
	_ collectors.Finisher     = (*Collector)(nil)
	_ collectors.Reporter     = (*Collector)(nil)
	_ collectors.DeadLetterer = (*Collector)(nil)
	_ collectors.Counter      = (*Collector)(nil)
)

// New returns a collector. It connects to nothing yet; its error names all
// mistakes in the options.
func New(opts Options) (*Collector, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts.withDefaults()
	c := &Collector{
		opts: opts, since: opts.Now().UnixNano(), finished: make(chan struct{}), done: make(chan struct{}), commit: make(chan struct{}, 1),
		partitions: map[string]map[int32]*partition{}, held: map[*partition]bool{}, trouble: map[string]string{},
	}
	c.shared = newShared(&c.opts)
	log := opts.Logger.With("group", opts.Group)
	c.voice, c.letters = newVoice(log, opts.Now), newVoice(log, opts.Now)
	return c, nil
}

// Recall implements collectors.Recaller. The coordinator may still wait for the
// member that this program was when it was killed. Nobody but us has the state
// file, so that member is dead for certain.
func (c *Collector) Recall(saved map[string]collectors.Position) {
	for name, p := range saved {
		if !strings.HasPrefix(name, "kafka:") {
			continue
		}
		if x, err := decodeNote(p.Note); err == nil && x.member != "" && c.isOurs(name) {
			c.left = x.member
		}
	}
}

// isOurs reports whether a source's name is that of a partition of ours.
func (c *Collector) isOurs(name string) bool {
	prefix, _ := sourceName(c.opts.Name, "", 0)
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(prefix, "/0"))
	if !ok {
		return false
	}
	topic, _, ok := strings.Cut(rest, "/")
	return ok && c.wants(topic)
}

func (c *Collector) wants(topic string) bool {
	return slices.Contains(c.opts.Topics, topic) || c.opts.Pattern != nil && c.opts.Pattern.MatchString(topic)
}

// Watch implements collectors.Collector: it stays in the group until ctx is
// done and Finish was called.
func (c *Collector) Watch(ctx context.Context, found func(collectors.Source), settled func()) error {
	defer close(c.done)
	once := sync.OnceFunc(settled)
	hold := time.AfterFunc(c.opts.Hold, once)
	defer hold.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	wg.Go(func() { c.watchStalls(stop) })
	c.leaveOld(ctx)
	for fails := 1; ctx.Err() == nil; {
		topics, err := c.resolve(ctx)
		if err == nil {
			c.release(topics)
		}
		if err == nil && len(topics) > 0 {
			fails = 1
			m := &membership{Collector: c, topics: topics, found: found, settled: once}
			if err = m.run(ctx); err == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			c.failed(err)
		}
		_ = sleep(ctx, min(backoff(fails), c.opts.Refresh)) // ends with ctx, as the loop does
		fails++
	}
	return ctx.Err()
}

// Finish implements collectors.Finisher: what the last checkpoint holds is
// committed, and the member leaves the group, so that others need not wait.
func (c *Collector) Finish(ctx context.Context) error {
	c.finish.Do(func() { close(c.finished) })
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave the consumer group %s: %w", c.opts.Group, context.Cause(ctx))
	}
}

// Trouble implements collectors.Reporter.
func (c *Collector) Trouble() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	now := c.opts.Now()
	for what, t := range c.trouble {
		if what != lettersTrouble || now.Sub(c.lost) < lostFor {
			out = append(out, t)
		}
	}
	for _, numbers := range c.partitions {
		for _, p := range numbers {
			if t := p.state.trouble.Load(); t != nil {
				out = append(out, "source "+p.name+" "+*t)
			}
			if since := p.state.waiting.Load(); since != 0 && now.Sub(time.Unix(0, since)) >= c.opts.Stall {
				out = append(out, fmt.Sprintf("source %s has records that nobody takes since %s", p.name, time.Unix(0, since).UTC().Format(time.RFC3339)))
			}
		}
	}
	slices.Sort(out)
	return out
}

// release lets go of partitions whose topics are not there any more.
func (c *Collector) release(topics []string) {
	for p := range c.held {
		if !slices.Contains(topics, p.topic) {
			delete(c.held, p)
			p.tell(order{lost: true})
		}
	}
}

// failed says that nobody knows who reads which partition now. They hold the
// merge like every source that cannot be read.
func (c *Collector) failed(err error) {
	if errors.Is(err, kafka.RebalanceInProgress) {
		return // it goes on
	}
	c.inTrouble(err)
	for p := range c.held {
		p.tell(order{err: fmt.Errorf("the consumer group %s cannot be joined: %w", c.opts.Group, err)})
	}
}

// Name implements collectors.Counter.
func (c *Collector) Name() string {
	if c.opts.Name == "" {
		return "kafka:" + c.opts.Group
	}
	return "kafka:" + c.opts.Name + "/" + c.opts.Group
}

// Counts implements collectors.Counter: rebalances, commits, trouble by its
// reason, and why partitions went on elsewhere.
func (c *Collector) Counts() map[string]int64 { return c.counts.all() }

// watchStalls says it where the pipeline takes nothing for long.
func (c *Collector) watchStalls(stop <-chan struct{}) {
	t := time.NewTicker(max(c.opts.Stall/4, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		now := c.opts.Now()
		for _, p := range c.all() {
			if since := p.state.waiting.Load(); since != 0 && now.Sub(time.Unix(0, since)) >= c.opts.Stall {
				p.count(eventUntaken)
				p.voice.warn("records wait and nobody takes them; another source may hold the merge", "since", time.Unix(0, since).UTC())
			}
		}
	}
}

// all returns all partitions, in order.
func (c *Collector) all() []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*partition
	for _, numbers := range c.partitions {
		for _, p := range numbers {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *partition) int { return strings.Compare(a.rank, b.rank) })
	return out
}

// lettersTrouble is what trouble with dead letters is about.
const lettersTrouble = "letters"

// about sets what is wrong with something, "" for nothing.
func (c *Collector) about(what, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text == "" {
		delete(c.trouble, what)
	} else {
		c.trouble[what] = text
	}
}

// inTrouble says that the group or the cluster cannot be reached.
func (c *Collector) inTrouble(err error) {
	c.count(conn.Reason(err))
	c.about("group", fmt.Sprintf("the consumer group %s cannot be joined: %s: %v", c.opts.Group, conn.Reason(err), err))
	c.voice.warn("the consumer group cannot be joined, trying again", "reason", conn.Reason(err), "error", err)
}

// resolve returns the topics that are wanted and there, in order.
func (c *Collector) resolve(ctx context.Context) ([]string, error) {
	ask := c.opts.Topics
	if c.opts.Pattern != nil {
		ask = nil
	}
	all, err := c.catalog.ask(ctx, ask)
	if err != nil {
		return nil, err
	}
	var out []string
	sizes := map[string]int{}
	missing := map[string]error{}
	for _, name := range c.opts.Topics {
		missing[name] = kafka.UnknownTopicOrPartition
	}
	for _, t := range all {
		if !c.wants(t.Name) || t.Internal && !slices.Contains(c.opts.Topics, t.Name) {
			continue
		}
		if t.Err != nil && len(t.Partitions) == 0 {
			missing[t.Name] = t.Err
			continue
		}
		delete(missing, t.Name)
		out = append(out, t.Name)
		sizes[t.Name] = len(t.Partitions)
	}
	slices.Sort(out)
	c.mu.Lock()
	c.sizes = sizes
	for what := range c.trouble {
		if name, ok := strings.CutPrefix(what, "topic "); ok && missing[name] == nil {
			delete(c.trouble, what)
		}
	}
	c.mu.Unlock()
	for name, err := range missing {
		c.count(conn.Reason(err))
		c.about("topic "+name, fmt.Sprintf("topic %s cannot be read: %v", name, err))
		c.voice.warn("topic cannot be read, trying again", "topic", name, "reason", conn.Reason(err), "error", err)
	}
	if len(out) == 0 && len(missing) == 0 {
		c.count(conn.ReasonUnknownTopic)
		c.about("pattern", fmt.Sprintf("no topic matches %s", c.opts.Pattern))
		c.voice.warn("no topic matches the pattern", "pattern", c.opts.Pattern.String())
	} else {
		c.about("pattern", "")
	}
	if len(out) > 0 && len(missing) == 0 {
		c.voice.well("the topics can be read")
	}
	return out, nil
}

// leaveOld makes the group forget the member that this program was.
func (c *Collector) leaveOld(ctx context.Context) {
	if c.left == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	transport := c.opts.Cluster.Transport()
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: c.opts.Cluster.Addr(), Transport: transport}
	_, err := client.LeaveGroup(ctx, &kafka.LeaveGroupRequest{GroupID: c.opts.Group, Members: []kafka.LeaveGroupRequestMember{{ID: c.left}}})
	if err != nil && !errors.Is(err, kafka.UnknownMemberId) {
		c.opts.Logger.Debug("the member of the last run could not leave; the group waits for its session to end", "error", err)
	}
}

// source returns the partition, and whether it is new.
func (c *Collector) source(topic string, number int32) (p *partition, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.partitions[topic] == nil {
		c.partitions[topic] = map[int32]*partition{}
	}
	if p = c.partitions[topic][number]; p == nil {
		p, isNew = newPartition(c.shared, topic, number, c.wake), true
		c.partitions[topic][number] = p
	}
	return p, isNew
}

// wake says that there may be something to commit.
func (c *Collector) wake() {
	select {
	case c.commit <- struct{}{}:
	default:
	}
}

var _ wire.Dialer = (*conn.Cluster)(nil)
