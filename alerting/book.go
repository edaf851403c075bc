// Package alerting turns findings into incidents, gives incidents a life, and
// hands each revision of an incident to the receivers, at least once and in
// order, through an outbox that survives a kill at any moment.
//
// [Book] is the deterministic half: a pure function of the findings in merge
// order and of the times it is told, so a replay gives what the live run gave.
// [Outbox] is the half that meets the world. The pipeline joins both to one
// durable commit; the interfaces they need are declared here.
package alerting

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

// BookOptions configure a book. The zero value means the defaults.
type BookOptions struct {
	// ResolveAfter is how long after its last observation an incident is
	// resolved, unless a rule sets its own. Default 1 h.
	ResolveAfter time.Duration
	// MaxOpen bounds the open incidents of a family. Default 1,000.
	MaxOpen int
	// MaxListed bounds each list of an incident. Default 100.
	MaxListed int
	// MaxKept bounds the resolved incidents kept; the oldest go first and are
	// counted. Default 10,000.
	MaxKept int
	// MaxTracked bounds the values that all open incidents count one by one,
	// and the windows that they hold. Default 200,000 each.
	MaxTracked int
	// GroupInterval is the least wall time between two revisions that only
	// say that an incident grew. Default 5 min.
	GroupInterval time.Duration
	// RepeatInterval is when an open incident is told again though nothing
	// changed. Default 12 h.
	RepeatInterval time.Duration
	// TextWait is how long the first telling of an incident waits for the texts
	// of its evidence. Default 0: it does not.
	TextWait time.Duration
	// Bucket is where Changes keeps the incidents. Default BucketIncidents.
	Bucket string
	// WholeIPv6 says that groups hold whole IPv6 addresses, not their /64.
	WholeIPv6 bool
	// SourceName gives the name of the source with an id, for evidence whose
	// text is not there (yet). Ids must mean the same after a restart.
	SourceName func(id uint32) string
	// Metrics counts what happens; nil counts nothing.
	Metrics *Metrics
}

func (o BookOptions) withDefaults() BookOptions {
	o.ResolveAfter = cmp.Or(o.ResolveAfter, time.Hour)
	o.MaxOpen = cmp.Or(o.MaxOpen, 1000)
	o.MaxListed = cmp.Or(o.MaxListed, 100)
	o.MaxKept = cmp.Or(o.MaxKept, 10_000)
	o.MaxTracked = cmp.Or(o.MaxTracked, 200_000)
	o.GroupInterval = cmp.Or(o.GroupInterval, 5*time.Minute)
	o.RepeatInterval = cmp.Or(o.RepeatInterval, 12*time.Hour)
	o.Bucket = cmp.Or(o.Bucket, BucketIncidents)
	if o.SourceName == nil {
		o.SourceName = func(uint32) string { return "" }
	}
	return o
}

// Book holds all incidents. It belongs to one goroutine.
type Book struct {
	o     BookOptions
	plan  *observation.Plan
	rules map[string]uint32 // rule id to its place in the plan

	byID     map[string]*incident
	bySubj   map[string]*incident // not closed
	live     []*incident          // not closed, by seq; holes are closed ones
	wide     []*incident          // those among live that may have children
	openedAt int64                // when the latest of live was opened
	closed   []*incident          // by closeSeq; holes are dropped ones
	due      dueHeap
	openIn   map[string]int // open incidents a family, overflow aside
	held     map[heldKey]*holder
	tracked  budget
	now      int64
	seq      int64
	closeSeq int64
	dropped  int // closed incidents dropped from the front of closed

	dirty     []*incident
	deleted   []string    // ids whose values are to be deleted
	wanting   []*incident // have evidence without text
	forgotten int         // incidents forgotten since the lists were last cleaned

	pending []*incident          // changed since Revise looked at them
	waiting map[string]*incident // Revise looks at them when they wake
	revised time.Time            // when Revise was last called

	routing   *Routing // nil tells everybody, see Revision.To
	groups    groups
	pass      int64 // counts calls of Revise
	silences  silences
	inhibitor inhibitor
}

// NewBook returns an empty book for the rules of plan.
func NewBook(plan *observation.Plan, o BookOptions) *Book {
	b := &Book{
		o:        o.withDefaults(),
		byID:     map[string]*incident{},
		bySubj:   map[string]*incident{},
		openIn:   map[string]int{},
		held:     map[heldKey]*holder{},
		waiting:  map[string]*incident{},
		groups:   groups{all: map[string]*group{}},
		silences: silences{byID: map[string]*Silence{}, dirty: map[string]bool{}},
		now:      minTime,
		openedAt: minTime,
	}
	b.tracked.limit = b.o.MaxTracked
	b.SetPlan(plan)
	return b
}

// SetPlan replaces the rules, at a cut. Rules are matched by id; incidents
// keep what they know of rules that are gone.
func (b *Book) SetPlan(plan *observation.Plan) {
	b.plan = plan
	b.rules = make(map[string]uint32, len(plan.Rules))
	for i := range plan.Rules {
		b.rules[plan.Rules[i].ID] = uint32(i)
	}
	clear(b.held)
	for _, inc := range b.live {
		if inc.closed {
			continue
		}
		for _, rs := range inc.rules {
			b.rehold(inc, rs)
		}
	}
}

// Advance says that merged time has reached t: incidents that are due at or
// before t are resolved, in the order in which they are due. Time never runs
// back; an earlier t does nothing.
func (b *Book) Advance(t int64) {
	if t <= b.now {
		return
	}
	b.now = t
	for len(b.due) > 0 && b.due[0].at <= t {
		d := &b.due[0]
		// The heap is lazy: growing moves an incident's end without telling it.
		if at := d.inc.dueAt(b); at > d.at {
			d.at = at
			heap.Fix(&b.due, 0)
			continue
		}
		inc := heap.Pop(&b.due).(dueEntry).inc
		b.close(inc)
	}
}

// AdvanceIdle resolves what is due at t while every source is silent and
// merged time stands still. Unlike Advance it is provisional: a finding whose
// own time is before the end of such an incident opens it again.
func (b *Book) AdvanceIdle(t int64) {
	if len(b.due) == 0 || b.due[0].at > t {
		return
	}
	for _, inc := range b.live {
		if !inc.closed && !inc.idle && inc.dueAt(b) <= t {
			if !inc.resolved() {
				b.o.Metrics.resolved(inc.family, inc.level())
			}
			inc.idle = true
			b.touch(inc)
		}
	}
}

// Finish says that the input has ended: resolve timers run out.
func (b *Book) Finish() { b.Advance(maxTime) }

// Apply takes the next finding in merge order. It first advances to the
// finding's time. What it keeps of f it copies. It reports whether the finding
// made its rule part of an incident, a new one or one that was open.
func (b *Book) Apply(f *observation.Finding) (joined bool) {
	if int(f.Rule) >= len(b.plan.Rules) || int(f.Kind) >= len(b.plan.Kinds) {
		return false
	}
	rule := &b.plan.Rules[f.Rule]
	if !rule.Alerting {
		return false
	}
	b.Advance(f.Key.Time)
	h := b.held[heldKey{f.Rule, f.Hash, f.Values}]
	if h != nil && !f.Fired {
		b.grow(h.inc, h.rs, f)
		if b.openedAt == f.Key.Time {
			b.meet(h.inc, f.Items)
		}
		return false
	}
	if !f.Fired && len(f.Items) == 0 {
		return false // goes on with nothing to tell, of a window that no incident holds
	}
	inc, opened := b.incidentFor(f, rule)
	b.narrow(inc, f, opened)
	joined = inc.find(rule.ID) == nil
	rs := inc.ruleOf(rule, f.Key.Time)
	if inc.subject.kind != SubjectOverflow {
		b.hold(inc, rs, f)
	}
	b.grow(inc, rs, f)
	b.settle(inc, opened)
	if !opened && b.openedAt == f.Key.Time {
		b.meet(inc, f.Items)
	}
	return joined
}

// grow adds what f tells to the incident's totals.
func (b *Book) grow(inc *incident, rs *ruleState, f *observation.Finding) {
	before := inc.count()
	beside := b.beside(inc, f)
	for i := range f.Items {
		item := &f.Items[i]
		if item.Aside {
			continue // it accuses nobody
		}
		n := int64(item.N)
		if item.Counted {
			n = 0
		} else {
			rs.count += n
			inc.first = min(inc.first, item.Time)
			inc.last = max(inc.last, item.Time)
			rs.before.add(&item.Card)
		}
		if !beside {
			b.tell(inc, rs, item, n, f.Everybody)
		}
		inc.enter(&b.plan.Rules[f.Rule], &item.Card)
	}
	rs.compare(f)
	rs.walk(f)
	inc.everybody = inc.everybody || f.Everybody && len(f.Items) > 0
	if inc.last == minTime {
		// Nothing new is in the window: it became true as an entry expired.
		inc.first, inc.last = f.Key.Time, f.Key.Time
	}
	inc.end = max(inc.end, f.Key.Time)
	inc.approximate = inc.approximate || f.Behind
	inc.lateOnly = inc.lateOnly && f.Late
	b.revive(inc, rs, f.Fired)
	b.touch(inc)
	if inc.parent != "" {
		b.outgrow(inc, inc.count()-before)
	}
}

// tell adds one observation to the incident's lists.
func (b *Book) tell(inc *incident, rs *ruleState, item *observation.Item, n int64, nobody bool) {
	c := &item.Card
	if nobody {
		// What everybody did accuses none of them.
		inc.tellWhat(b, rs, c, n)
		if inc.evidence.add(item) {
			b.want(inc)
		}
		return
	}
	if c.Client.IsValid() {
		a := c.Client.As16()
		inc.sources.add(string(a[:]), n, maxDistinct, &b.tracked)
	}
	if c.Account != "" {
		inc.accounts.add(c.Account, n, maxDistinct, &b.tracked)
	}
	if c.Principal != "" {
		inc.principals.add(c.Principal, n, maxDistinct, &b.tracked)
	}
	inc.tellWhat(b, rs, c, n)
	if inc.evidence.add(item) {
		b.want(inc)
	}
}

// tellWhat adds to the lists of what was asked for.
func (inc *incident) tellWhat(b *Book, rs *ruleState, c *observation.Card, n int64) {
	if c.Route != "" {
		inc.routes.add(c.Route, n, maxDistinct, &b.tracked)
	}
	if c.Method != "" {
		inc.methods.add(c.Method, n, b.o.MaxListed, &b.tracked)
	}
	if c.Status != 0 {
		rs.addStatus(c.Status, n, b.o.MaxListed, &b.tracked)
	}
}

// settle does what a firing may have changed: which rule leads, the family,
// parents and children, and when the incident is due.
func (b *Book) settle(inc *incident, opened bool) {
	family := inc.family
	inc.lead()
	if inc.subject.kind != SubjectOverflow && inc.main != nil && inc.main.family != family {
		b.openIn[family]--
		inc.family = inc.main.family
		b.openIn[inc.family]++
	}
	if opened {
		heap.Push(&b.due, dueEntry{inc.dueAt(b), inc})
		b.o.Metrics.opened(inc.family, inc.level())
	}
	if opened || inc.family != family {
		b.decide(inc)
	}
	if inc.parent != "" {
		b.raiseParent(inc)
	}
}

// close resolves an incident for good and keeps the short form of it.
func (b *Book) close(inc *incident) {
	if !inc.resolved() {
		b.o.Metrics.resolved(inc.family, inc.level())
	}
	inc.closed, inc.idle = true, false
	b.closeSeq++
	inc.closeSeq = b.closeSeq
	inc.closedAt = inc.dueAt(b)
	delete(b.bySubj, inc.subject.key)
	if inc.subject.kind != SubjectOverflow {
		if b.openIn[inc.family]--; b.openIn[inc.family] <= 0 {
			delete(b.openIn, inc.family)
		}
	}
	for _, rs := range inc.rules {
		b.release(inc, rs)
	}
	inc.compact(b.o.MaxListed, &b.tracked)
	b.closed = append(b.closed, inc)
	b.touch(inc)
	b.sweep()
}

// revive opens an incident again that was resolved provisionally, as something
// of a rule came; or by hand, if that is news.
func (b *Book) revive(inc *incident, rs *ruleState, fired bool) {
	was := inc.resolved()
	inc.idle = false
	if inc.hand != nil && inc.hand.over(inc, rs, fired, b.o.GroupInterval) {
		inc.hand, inc.falsePositive = nil, false
	}
	if was && !inc.resolved() {
		inc.ack = nil // of what was over
		b.o.Metrics.opened(inc.family, inc.level())
	}
}

// touch marks an incident as changed, for the next cut and for Revise.
func (b *Book) touch(inc *incident) {
	inc.shown, inc.dests = nil, nil
	b.save(inc)
	if !inc.pending {
		inc.pending = true
		b.pending = append(b.pending, inc)
	}
}

// save marks an incident as changed, for the next cut.
func (b *Book) save(inc *incident) {
	if !inc.dirty {
		inc.dirty = true
		b.dirty = append(b.dirty, inc)
	}
}

// Incidents returns all incidents kept, ordered by first_seen, then id. They
// never change, and are shared with later calls: callers only read them.
func (b *Book) Incidents() []*Incident {
	all := slices.SortedFunc(maps.Values(b.byID), func(x, y *incident) int {
		return cmp.Or(cmp.Compare(x.first, y.first), strings.Compare(x.id, y.id))
	})
	out := make([]*Incident, 0, len(all))
	for _, inc := range all {
		out = append(out, b.snapshot(inc))
	}
	return out
}

// Incident returns the incident with the id, or nil, under the same terms.
func (b *Book) Incident(id string) *Incident {
	if inc := b.byID[id]; inc != nil {
		return b.snapshot(inc)
	}
	return nil
}
