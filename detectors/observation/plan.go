package observation

import (
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// Level is the severity of a rule in Sigma's words.
type Level uint8

// Sigma's levels, least first.
const (
	Informational Level = iota
	Low
	Medium
	High
	Critical
)

var levelNames = [...]string{"informational", "low", "medium", "high", "critical"}

// String returns Sigma's word for l.
func (l Level) String() string { return levelNames[l] }

// MarshalText gives Sigma's word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads Sigma's word.
func (l *Level) UnmarshalText(b []byte) error {
	for i, n := range levelNames {
		if n == string(b) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no level; write informational, low, medium, high or critical", b)
}

// Type is how a rule's window is judged.
type Type uint8

// The window types. A plain detection rule is EventCount with Gte 1.
const (
	EventCount      Type = iota + 1
	ValueCount           // different values of a field
	Temporal             // every one of the rule's Steps occurred
	TemporalOrdered      // they occurred one after another; equal times count as in order
	ValueSum             // sum of a number
	ValueAvg             // its mean
	ValuePercentile      // its percentile, or a text's rank by rarity; see Rule.Percentile
	IDWalk               // different ids that look like a walk; see Rule.Walk
	RateAnomaly          // the number of events, or a sum, against what was learned; see Rule.Baseline
)

var typeNames = [...]string{"", "event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_avg", "value_percentile", "id_walk", "rate_anomaly"}

// String returns the correlation type's name in Sigma.
func (t Type) String() string {
	if int(t) >= len(typeNames) || t == 0 {
		return "unknown"
	}
	return typeNames[t]
}

// Counts reports whether the window's number is a count of events or values:
// a whole number that only grows with what is kept.
func (t Type) Counts() bool { return t == EventCount || t == ValueCount }

// Steps reports whether the window waits for each of several rules.
func (t Type) Steps() bool { return t == Temporal || t == TemporalOrdered }

// Measures reports whether the window's number is made of a number in each event.
func (t Type) Measures() bool { return t == ValueSum || t == ValueAvg || t == ValuePercentile }

// Op compares a window's number with a bound.
type Op uint8

// Sigma's comparison operators.
const (
	Gt Op = iota + 1
	Gte
	Lt
	Lte
	Eq
	Neq
)

var opNames = [...]string{"", "gt", "gte", "lt", "lte", "eq", "neq"}

// String returns Sigma's word for o.
func (o Op) String() string { return opNames[o] }

// Bound is one comparison of a condition.
type Bound struct {
	Op    Op
	Value float64 // whole and below MaxKept for types that count
}

// Holds reports whether n satisfies the bound.
func (b Bound) Holds(n float64) bool {
	switch b.Op {
	case Gt:
		return n > b.Value
	case Gte:
		return n >= b.Value
	case Lt:
		return n < b.Value
	case Lte:
		return n <= b.Value
	case Eq:
		return n == b.Value
	case Neq:
		return n != b.Value
	default:
		return false
	}
}

// Rule is one window rule: a plain detection, or a correlation. Detections
// that only feed correlations have no Rule of their own.
type Rule struct {
	ID          string // the rule's id, else its name, else its title
	Name        string
	Title       string
	Description string
	Level       Level
	Tags        []string
	Family      string
	Plain       bool // a detection rule; late records still count for it
	Alerting    bool // opens incidents; false where it only feeds others

	Type     Type
	Kind     uint16 // index into Plan.Kinds
	Timespan int64  // seconds
	Bounds   []Bound

	// Shadow: evaluated and counted, its incidents are told to nobody.
	Shadow bool

	// Steps are the ids of the rules that a temporal rule waits for, in the order
	// of the document; at most MaxSteps. Empty for other types. At depth 2 and
	// more the firings of an input count for the steps that have its ID.
	Steps []string
	// Percentile is what a ValuePercentile asks for, above 0 and up to 100, of the numbers by
	// nearest rank. 0 means that the field is a text: the window's number is then the
	// share in percent of the events whose value is as rare as that of the newest or rarer.
	Percentile float64
	// Walk is what an IDWalk looks for in the ids; nil for other types.
	Walk *Walk

	// Least is how many values a type that measures needs before it is judged: a
	// mean of three says little. 0 means one.
	Least int
	// Newest bounds the values that a type that measures keeps, and is judged by, to
	// the newest so many of the timespan. 0 means MaxKept.
	Newest int
	// Guard says which of its observations count.
	Guard Guard
	// Baseline is what a RateAnomaly asks for.
	Baseline Baseline

	// Feed names what events the rule counts and how: rules of depth 1 with the
	// same Feed get the same hits for the same entities, always together. If
	// their type is the same they can share one window, see Shares. "" shares none.
	Feed string

	// ResolveAfter is the rule's own resolve time in seconds, 0 for the default.
	ResolveAfter int64

	// Depth is 1 for rules fed by events, n+1 for rules fed by findings of
	// depth n or less. Inputs lists the rules whose firings feed this one.
	Depth  int
	Inputs []uint32
	// Reads names, for each of Inputs, the fields of its findings that the fields
	// of Kind are read from, for aliases; nil where they have the same names.
	Reads [][]string
	// ValueField names the field that the value types count or measure, several
	// joined by a comma. At depth 2 and more the engine takes it from the finding,
	// see HasCardField; at depth 1 the hit brings the value.
	ValueField string
}

// Guard lets an observation count for a rule depending on what else is known
// of the same entity at that moment. The zero value lets all of them count.
type Guard struct {
	// Unless: only while the entity has no mark within the rule's timespan before,
	// see Observation.Mark. After: only while it has one. At depth 1 alone.
	Unless, After bool
	// While are rules of the same Kind, with smaller indexes, whose conditions have
	// to be true. They are all of depth 1, or all of greater depth, like the rule.
	While []uint32
}

// Any reports whether there is anything to ask.
func (g *Guard) Any() bool { return g.Unless || g.After || len(g.While) > 0 }

// MaxSteps bounds the rules of a temporal correlation: bits of Hit.Steps.
const MaxSteps = 64

// MaxKept bounds the times or values that one window keeps.
const MaxKept = 10_000

// MaxEvidence bounds the observations that the window of a temporal rule keeps:
// they are what it shows and counts, not what it is judged by. An id_walk keeps as
// many ids, or what its bound needs, and looks at the shares of these.
const MaxEvidence = 1_000

// Keep is how many entries the window keeps. Of types that count it is what
// exact judgement of the bounds needs; all others keep as many as they may, and
// say so when that is not enough.
func (r *Rule) Keep() int {
	switch {
	case r.Type.Steps():
		return MaxEvidence
	case r.Type == IDWalk:
		return max(r.needs(), MaxEvidence)
	case r.Type == RateAnomaly:
		return MaxMembers
	case !r.Type.Counts() && r.Newest > 0:
		return min(r.Newest, MaxKept)
	case !r.Type.Counts():
		return MaxKept
	}
	return r.needs()
}

// needs is how many entries the bounds can be judged by.
func (r *Rule) needs() int {
	n := 1.0
	for _, b := range r.Bounds {
		need := b.Value
		if b.Op != Gte && b.Op != Lt {
			need++ // gt, lte, eq and neq have to see one more than their value
		}
		n = max(n, need)
	}
	return int(math.Ceil(min(n, MaxKept)))
}

// Holds reports whether the window's number satisfies the rule. Temporal types
// have no bounds: the engine judges their steps.
func (r *Rule) Holds(n float64) bool {
	for _, b := range r.Bounds {
		if !b.Holds(n) {
			return false
		}
	}
	return true
}

// TrueWhenFewer reports whether losing an entry can make the rule true, so
// that it must also be judged when entries expire.
func (r *Rule) TrueWhenFewer() bool {
	switch r.Type {
	case Temporal, TemporalOrdered, IDWalk, RateAnomaly:
		return false
	case ValueAvg, ValuePercentile:
		return true // without the smallest value both rise
	}
	for _, b := range r.Bounds {
		if b.Op != Gte && b.Op != Gt {
			return true
		}
	}
	return false
}

// shared reports whether the rule's window can be that of other rules as well:
// it counts, more only ever makes it true, and it is not true of nothing.
func (r *Rule) shared() bool {
	if r.Type == RateAnomaly {
		return r.Feed != "" && r.Depth == 1
	}
	return r.Feed != "" && r.Depth == 1 && !r.Plain && r.Type.Counts() && !r.TrueWhenFewer() && !r.Holds(0)
}

// Plan is what the detectors keep and judge: the compiled rule set without
// its matching half. It is immutable once made.
type Plan struct {
	Kinds []Kind
	Rules []Rule
	// IPv6Whole keeps IPv6 clients apart by their whole address instead of their /64.
	IPv6Whole bool
}

// MaxShared is how many rules can share one window: bits of Share.Bit.
const MaxShared = 31

// Share says in whose window a rule counts.
type Share struct {
	Leader uint32 // index into Plan.Rules: the rule itself where it shares no window or comes first
	Bit    uint32 // the rule's own among those of its window
}

// Shares puts rules that count the same into one window, whatever their bounds
// and timespans; of RateAnomaly those with the same bucket and season. Engines take
// the hits of leaders and pass over those of the other rules, so whoever makes
// hits may leave these out.
func (p *Plan) Shares() []Share {
	type what struct {
		kind   uint16
		counts Type
		feed   string
		bucket int64 // of a RateAnomaly
		season bool
	}
	out := make([]Share, len(p.Rules))
	last := map[what]*Share{}
	for i := range p.Rules {
		r := &p.Rules[i]
		out[i] = Share{Leader: uint32(i), Bit: 1}
		if !r.shared() {
			continue
		}
		key := what{kind: r.Kind, counts: r.Type, feed: r.Feed}
		if r.Type == RateAnomaly {
			key.bucket, key.season = r.Timespan, r.Baseline.Seasonal
		}
		if before := last[key]; before != nil && before.Bit < 1<<(MaxShared-1) {
			out[i] = Share{Leader: before.Leader, Bit: before.Bit << 1}
		}
		last[key] = &out[i]
	}
	return out
}

// Identity names the state of a rule's windows across reloads and restarts:
// as long as it stays the same, windows are kept.
func (p *Plan) Identity(rule int) uint64 {
	r := &p.Rules[rule]
	h := xxhash.New()
	_, _ = fmt.Fprintf(h, "%s\x00%d\x00%q\x00%d\x00%t\x00%q\x00%q\x00%t\x00%q", r.ID, r.Type, p.Kinds[r.Kind].Fields, r.Timespan, r.Depth > 1,
		r.Steps, r.ValueField, r.Type == ValuePercentile && r.Percentile == 0, r.Reads)
	if r.Guard.Any() {
		_, _ = fmt.Fprintf(h, "\x00%t\x00%t", r.Guard.Unless, r.Guard.After)
		for _, w := range r.Guard.While {
			_, _ = fmt.Fprintf(h, "\x00%q", p.Rules[w].ID)
		}
	}
	return h.Sum64()
}

// Finding says that a rule's condition became true, or that an observation
// arrived while it was.
type Finding struct {
	Key    Key
	Rule   uint32
	Kind   uint16
	Hash   uint64
	Values string // the entity
	Fired  bool   // false then true; otherwise the window grew while true
	// Walked is what an IDWalk saw.
	Walked Walked
	// Sample: not told to anybody, it says how many ids a group has reached, for the
	// habit of the route; with Items while the walk holds.
	Sample bool
	Late   bool
	Behind bool // the observation, or one in the window, came behind the merge
	// Number is the count of the window: events or distinct values kept.
	Number int64
	// Value is what was compared with the bounds, where that is no count: a sum,
	// a mean, a percentile, a rank.
	Value float64
	// Capped: the window held as many entries as it may and let older ones go
	// that had not expired, so that Number and Value are of the newest alone. Types
	// that count keep what their bounds need and are never capped.
	Capped bool
	// Warming: the rule's bound was raised, and of the entries that its window let
	// go before that one would still be in it: there may have been more than it
	// holds. It ends one timespan after the raise.
	Warming bool
	// Items are, at a firing, all entries kept in the window, oldest first;
	// while it grows, the new observation alone. Of a RateAnomaly they are an
	// entry for each client that stands out, or for each that is kept where none
	// does; and at the end of a bucket those that have come to stand out.
	Items []Item

	// Of a RateAnomaly: Value was seen in Span seconds where Expected was
	// expected. Cold says that the hour of the week was not known yet. Everybody
	// says that no client of the population stands out, so that none is accused.
	Expected         float64
	Span             int64
	Cold, Everybody  bool
	Unusual, Members int64 // clients that stand out, and all that were kept of the bucket
}

// Item is one entry of a window.
type Item struct {
	Time    int64 // window time, Unix seconds
	N       uint32
	Counted bool // an earlier finding of this window already told of it
	Ref     Ref
	// Aside: its number is below the bound that a mean is above, so it speaks for
	// the other side and accuses nobody.
	Aside  bool
	Card   Card
	Value  string // the value, for value_count and ranks
	Number float64
	Steps  uint64 // bits of the steps that the event is one of
}

// cardFields are the fields that a finding has besides those of its entity:
// they come from the card of the observation that caused it.
var cardFields = map[string]func(*Card) (string, bool){
	"client.address":            func(c *Card) (string, bool) { return c.Client.String(), c.Client.IsValid() },
	"client.prefix":             clientPrefix,
	"principal":                 func(c *Card) (string, bool) { return c.Principal, c.Principal != "" },
	"auth.account":              func(c *Card) (string, bool) { return c.Account, c.Account != "" },
	"http.request.method":       func(c *Card) (string, bool) { return c.Method, c.Method != "" },
	"http.route":                func(c *Card) (string, bool) { return c.Route, c.Route != "" },
	"auth.failed":               authFailed,
	"http.response.status_code": func(c *Card) (string, bool) { return fmt.Sprint(c.Status), c.Status != 0 },
}

// CardField returns a field of a card as text.
func CardField(c *Card, name string) (string, bool) {
	f, ok := cardFields[name]
	if !ok {
		return "", false
	}
	return f(c)
}

// HasCardField reports whether cards carry the field, so that a correlation
// over correlations can group by it or count it.
func HasCardField(name string) bool {
	_, ok := cardFields[name]
	return ok
}

// What Card.Outcome says of an attempt that ended; the numbers are those of
// event.Outcome.
const (
	OutcomeSuccess = 1
	OutcomeFailure = 2
)

// clientPrefix is the /24 of an IPv4 client and the /64 of an IPv6 one, as event.Event.Prefix gives it.
func clientPrefix(c *Card) (string, bool) {
	bits := 64
	if c.Client.Is4() {
		bits = 24
	}
	p, err := c.Client.Prefix(bits)
	return p.String(), err == nil && p.IsValid()
}

// authFailed is 1 for a failed attempt to log in and 0 for a good one, so that
// the mean over firings is the share of failures.
func authFailed(c *Card) (string, bool) {
	switch c.Outcome {
	case OutcomeFailure:
		return "1", true
	case OutcomeSuccess:
		return "0", true
	default:
		return "", false
	}
}
