package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"gatewatch/collectors/kafka/conn"
)

// Begin says where to begin in a partition that neither gatewatch nor its
// group has read before.
type Begin uint8

// The places to begin.
const (
	Last  Begin = iota // behind what is there
	First              // at the first record that is there
	At                 // at the first record of Options.BeginAt or later
)

// Stale says what to do where a position is not in the partition any more: the
// topic was made anew, retention was faster, or the broker lost what it had.
type Stale uint8

// The ways to handle a stale position.
const (
	Earliest Stale = iota // go on with the first record that is there
	Latest                // go on behind what is there
	Stop                  // do not read the partition until somebody has looked
)

// Options are the settings of [New]. Cluster, Group, and Topics or Pattern are
// required.
type Options struct {
	Cluster *conn.Cluster
	// Name tells the topics of one cluster from those of another in the names of
	// sources; "" where there is one cluster. Letters, digits, '.', '_' and '-'.
	Name  string
	Group string
	// Instance names this program with its state file over all its starts; "" where
	// nothing is known. Of members with the same one only the newest is assigned anything.
	Instance string
	Topics   []string
	Pattern  *regexp.Regexp // topics whose whole name it matches, also later ones
	Begin    Begin
	BeginAt  time.Time
	Stale    Stale
	// Uncommitted also reads records of transactions that are open or were aborted.
	Uncommitted bool
	// Headers are the names of headers that messages bring along; none by default.
	Headers []string

	MaxMessage int           // longest value of a message, in bytes; default 1 MiB
	FetchBytes int           // of a partition at a time; default 1 MiB
	MaxBatch   int           // longest batch, packed or unpacked, in bytes; default 64 MiB
	BlockBytes int           // about so many bytes go on at a time; default 256 KiB
	MaxWait    time.Duration // for the first record; default 250 ms

	Session   time.Duration // after which a member that is not heard of is dead; default 30 s
	Heartbeat time.Duration // default a tenth of Session
	Rebalance time.Duration // how long members may take to hand over; default 30 s
	Refresh   time.Duration // between two looks for topics and partitions; default 10 s
	Stall     time.Duration // without progress, after which a partition is reported; default 1 min
	// Hold is how long Watch waits for the first assignment before it lets other
	// collectors go ahead; default 5 min.
	Hold time.Duration

	// DeadLetters is where records go of which no event can be made; nil for nowhere.
	DeadLetters *DeadLetters
	// Shared, if not nil, is called for each topic at each assignment, with how many
	// of its partitions are assigned to this member.
	Shared func(topic string, mine, all int)

	Now    func() time.Time   // default time.Now
	Logger *slog.Logger       // default discards
	Hook   func(point string) // called at named points, for crash tests; may be nil
}

const (
	leastMessage  = 1 << 10
	leastSession  = 50 * time.Millisecond
	backoffFirst  = 100 * time.Millisecond
	backoffMost   = 5 * time.Second
	maxNameLength = 249 // of a topic, as Kafka says
)

func (o *Options) withDefaults() {
	o.MaxMessage = max(cmp.Or(o.MaxMessage, 1<<20), leastMessage)
	o.MaxBatch = max(cmp.Or(o.MaxBatch, 64<<20), o.MaxMessage)
	o.FetchBytes = min(cmp.Or(o.FetchBytes, 1<<20), o.MaxBatch)
	o.BlockBytes = cmp.Or(o.BlockBytes, 256<<10)
	o.MaxWait = cmp.Or(o.MaxWait, 250*time.Millisecond)
	o.Session = max(cmp.Or(o.Session, 30*time.Second), leastSession)
	o.Heartbeat = cmp.Or(o.Heartbeat, o.Session/10)
	o.Rebalance = cmp.Or(o.Rebalance, 30*time.Second)
	o.Refresh = cmp.Or(o.Refresh, 10*time.Second)
	o.Stall = cmp.Or(o.Stall, time.Minute)
	o.Hold = cmp.Or(o.Hold, 5*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hook == nil {
		o.Hook = func(string) {}
	}
}

// legal is what Kafka allows in the names of topics.
var legal = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// CheckTopic returns what is wrong with the name of a topic.
func CheckTopic(name string) error {
	if !legal.MatchString(name) || len(name) > maxNameLength || name == "." || name == ".." {
		return fmt.Errorf("%q is no name of a topic; it may have letters, digits, '.', '_' and '-', %d at most", name, maxNameLength)
	}
	return nil
}

// ParsePattern compiles a pattern for the names of topics.
func ParsePattern(s string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(?:` + s + `)$`)
	if err != nil {
		return nil, fmt.Errorf("%q is no regular expression: %s", s, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

func (o *Options) check() error {
	var faults []error
	if o.Cluster == nil {
		faults = append(faults, errors.New("there is no cluster"))
	}
	if o.Group == "" {
		faults = append(faults, errors.New("there is no consumer group"))
	}
	if o.Name != "" && !legal.MatchString(o.Name) {
		faults = append(faults, fmt.Errorf("%q is no name of a cluster; it may have letters, digits, '.', '_' and '-'", o.Name))
	}
	if len(o.Topics) == 0 && o.Pattern == nil {
		faults = append(faults, errors.New("there is no topic"))
	}
	for _, t := range o.Topics {
		if err := CheckTopic(t); err != nil {
			faults = append(faults, err)
		}
	}
	if o.Begin == At && o.BeginAt.IsZero() {
		faults = append(faults, errors.New("there is no time to begin at"))
	}
	return errors.Join(faults...)
}

// sourceName returns the name of a partition as a source, and what it is
// ordered by: partitions by their number, not as text.
func sourceName(cluster, topic string, number int32) (name, rank string) {
	prefix := "kafka:"
	if cluster != "" {
		prefix += cluster + "/"
	}
	return fmt.Sprintf("%s%s/%d", prefix, topic, number), fmt.Sprintf("%s%s/%010d", prefix, topic, number)
}
