// Package trace follows the correlations of a rule set event by event: for
// which group each one counts, how many its window holds, what it still needs,
// and when it fires. It is for people who ask why; what fires is decided by the
// detectors, of which it runs an engine of its own.
package trace

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"gatewatch/detectors"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// Trace follows one source, or several that were merged. It belongs to one goroutine.
type Trace struct {
	plan    *observation.Plan
	names   map[string]string // titles of rules by id
	own     map[string]bool   // ids of rules that are in no document: what a temporal rule makes of a match
	engine  *detectors.Engine
	upper   *detectors.Engine // nil where no rule is fed by firings
	found   detectors.Findings
	batch   observation.Batch
	windows map[windowKey]*window
	marks   map[entityKey]int64 // times of marks, for guards
	shares  []observation.Share // by rule
	unusual map[windowKey]int64 // when a baseline last said so
	nearest map[*observation.Rule]Count
	// What a baseline expected of a window when it last said so.
	expected map[windowKey]float64
	missing  []uint64 // as the matcher counted before the event
	events   int
	reach    int64 // the longest timespan
}

type windowKey struct {
	rule   uint32
	values string
}

type entityKey struct {
	kind   uint16
	values string
}

// sweepEvery is how many events lie between two searches for windows that ran out.
const sweepEvery = 1 << 16

// New returns a trace of the correlations of an index.
func New(index *sigma.Index) *Trace {
	plan := index.Plan()
	t := &Trace{plan: plan, shares: plan.Shares(), names: map[string]string{}, own: map[string]bool{}, engine: detectors.New(plan, detectors.Options{}), windows: map[windowKey]*window{}, marks: map[entityKey]int64{}, unusual: map[windowKey]int64{}, expected: map[windowKey]float64{}, nearest: map[*observation.Rule]Count{}}
	if detectors.Chained(plan) {
		t.upper = detectors.New(plan, detectors.Options{})
	}
	for _, r := range index.Rules() {
		t.names[r.ID] = r.Title
	}
	for i := range plan.Rules {
		t.reach = max(t.reach, plan.Rules[i].Timespan)
		if r := &plan.Rules[i]; t.names[r.ID] == "" {
			t.names[r.ID], t.own[r.ID] = r.Title, true
		}
	}
	return t
}

// Field is a name and a value of a group.
type Field struct{ Name, Value string }

// Count is what became of an event in one window of a correlation.
type Count struct {
	Rule  *observation.Rule
	Group []Field // empty where there is one window over all events
	// Time is the window time in Unix seconds.
	Time int64
	// Number is what the condition is judged by, with this event: how many events,
	// values or steps the window holds, a sum, a mean, a percentile.
	Number float64
	// Before is the same without it, once what is too old has left; HasBefore is
	// false for the first of a window.
	Before    float64
	HasBefore bool
	// Value is what the event brought where values are counted or ranked.
	Value string
	// Fired: the condition became true; True: it is.
	Fired, True bool
	// Left: no event of this group; it fired because others left the window.
	Left bool
	// Missing are the titles of the steps of a temporal rule that the window lacks.
	Missing []string
	// Guard says which guard of the rule keeps the event from counting, "" for none. Number is that
	// of the window without it then.
	Guard string
	// Expected is what the baseline of a rate_anomaly expected, where it is true.
	Expected float64
	// Kept is how many events the window holds.
	Kept int
	// Absent are the names of what an event lacks that therefore does not count. Nothing
	// else is set then but Rule.
	Absent []string
}

// Event enters an event that m, a matcher of the trace's index, has to judge,
// at a window time in Unix seconds, and returns what became of it, in the order
// of the plan. A late event enters no window.
func (t *Trace) Event(ev *event.Event, m *sigma.Matcher, window int64, late bool) []Count {
	if t.events++; t.events%sweepEvery == 0 {
		t.sweep(window)
	}
	t.batch.Reset()
	t.missing = append(t.missing[:0], m.Missing()...)
	m.Observe(ev, &t.batch)
	rec := observation.Record{Time: seconds(ev.Time), Window: window, Offset: int64(t.events), Late: late, Count: uint32(len(t.batch.Obs))}
	rec.Card = observation.Card{
		Client: ev.Client, Principal: observation.Cut(ev.Principal, observation.MaxAccount), Account: observation.Cut(ev.Account, observation.MaxAccount),
		Method: ev.Method, Route: observation.Cut(ev.Route, observation.MaxRoute), Status: ev.Status, Outcome: uint8(ev.Outcome), Bytes: ev.BodySize,
	}
	rec.Card.Sum()
	t.batch.Records = append(t.batch.Records, rec)
	t.found.Reset()
	t.engine.Apply(detectors.Run{Batch: &t.batch, To: 1}, &t.found)
	if t.upper != nil {
		t.upper.Chain(&t.found)
	}
	var out []Count
	if !late {
		for i := range t.batch.Obs {
			o := &t.batch.Obs[i]
			for _, h := range t.hits(o) {
				if r := &t.plan.Rules[h.Rule]; !r.Plain {
					out = append(out, t.count(o.Values, &h, rec.Card.Status, window))
				}
			}
			if o.Mark {
				t.marks[entityKey{o.Kind, strings.Clone(o.Values)}] = window
			}
		}
		out = t.fired(out)
	}
	for i, n := range m.Missing() {
		if n > t.missing[i] && !late && !t.plan.Rules[i].Plain {
			out = append(out, Count{Rule: &t.plan.Rules[i], Absent: t.absent(ev, &t.plan.Rules[i])})
		}
	}
	out = slices.DeleteFunc(out, func(c Count) bool { return t.own[c.Rule.ID] })
	slices.SortStableFunc(out, func(a, b Count) int { return t.order(a.Rule) - t.order(b.Rule) })
	for i := range out {
		t.keep(&out[i])
	}
	return out
}

// hits returns the hits of an observation, with those of the rules that share a
// window with another one, in the order of the plan.
func (t *Trace) hits(o *observation.Observation) []observation.Hit {
	var out []observation.Hit
	for i := range t.shares {
		for _, h := range t.batch.HitsOf(o) {
			if t.shares[i].Leader == h.Rule {
				h.Rule = uint32(i)
				out = append(out, h)
			}
		}
	}
	return out
}

// keep remembers the number of a rule that was nearest to firing.
func (t *Trace) keep(c *Count) {
	if c.Absent != nil || c.Left || c.Guard != "" {
		return
	}
	best := *c
	if c.HasBefore && nearer(c.Rule, c.Before, c.Number) {
		best.Number = c.Before
	}
	if old, ok := t.nearest[c.Rule]; !ok || nearer(c.Rule, best.Number, old.Number) {
		t.nearest[c.Rule] = best
	}
}

// Nearest returns, for each correlation that counted anything, in the order of
// the plan, the window that came nearest to firing, with its number then.
func (t *Trace) Nearest() []Count {
	var out []Count
	for i := range t.plan.Rules {
		if c, ok := t.nearest[&t.plan.Rules[i]]; ok {
			out = append(out, c)
		}
	}
	return out
}

func seconds(ns int64) int64 { return min(max(ns/1e9, 0), math.MaxUint32) }

func (t *Trace) order(r *observation.Rule) int {
	return slices.IndexFunc(t.plan.Rules, func(o observation.Rule) bool { return o.ID == r.ID })
}

// told is the rule that people know of a rule of the plan: itself, but of the ids
// of an id_walk with a factor the one that compares them with the habit of their route.
func (t *Trace) told(id uint32) *observation.Rule {
	r := &t.plan.Rules[id]
	if r.Walk == nil || r.Walk.Factor == 0 || r.Depth > 1 {
		return r
	}
	for i := range t.plan.Rules {
		if up := &t.plan.Rules[i]; up.Walk == r.Walk && up.Depth > 1 && slices.Contains(up.Inputs, id) {
			return up
		}
	}
	return r
}

// count enters a hit into its window.
func (t *Trace) count(values string, h *observation.Hit, status int32, now int64) Count {
	r := &t.plan.Rules[h.Rule]
	key := windowKey{h.Rule, values}
	w := t.windows[key]
	if w == nil {
		key.values = strings.Clone(values) // the batch is emptied
		w = &window{counts: map[uint64]int{}}
		t.windows[key] = w
	}
	c := Count{Rule: t.told(h.Rule), Group: t.group(r.Kind, values), Time: now, Value: strings.Clone(h.Value)}
	if c.Guard = t.guard(r, values, now); c.Guard != "" {
		w.expire(r, now)
		if c.Kept = len(w.entries) - w.first; c.Kept > 0 || r.Type.Counts() {
			c.Number = w.number(r)
		}
		return c
	}
	numbers := w.add(r, now, h, status)
	c.Number, c.Kept = numbers[len(numbers)-1], len(w.entries)-w.first
	if c.HasBefore = len(numbers) > 1; c.HasBefore {
		c.Before = numbers[0]
	}
	if r.Type.Steps() {
		seen := stepsSeen(w.entries[w.first:], len(r.Steps), r.Type == observation.TemporalOrdered)
		for i, id := range r.Steps {
			if seen>>i&1 == 0 {
				c.Missing = append(c.Missing, t.names[id])
			}
		}
	}
	return c
}

// guard names the guard of a rule that keeps an event of a group from counting,
// by what is known of the group before it.
func (t *Trace) guard(r *observation.Rule, values string, now int64) string {
	g := &r.Guard
	mark, known := t.marks[entityKey{r.Kind, values}]
	known = known && mark > now-r.Timespan
	switch {
	case g.Unless && known:
		return "unless"
	case g.After && !known:
		return "after"
	}
	for _, id := range g.While {
		if during := &t.plan.Rules[id]; during.Type == observation.RateAnomaly {
			if at, ok := t.unusual[windowKey{id, values}]; !ok || at <= now-during.Timespan {
				return "while " + strconv.Quote(during.Title)
			}
			continue
		}
		w, during := t.windows[windowKey{id, values}], &t.plan.Rules[id]
		holds := false
		if w != nil {
			w.expire(during, now)
			holds = w.first < len(w.entries) && w.holds(during)
		}
		if !holds {
			return "while " + strconv.Quote(during.Title)
		}
	}
	return ""
}

// holds reports whether the condition of a rule is true of a window that is not empty.
func (w *window) holds(r *observation.Rule) bool {
	if r.Type.Steps() {
		return w.number(r) == float64(len(r.Steps))
	}
	return len(w.entries)-w.first >= r.Least && r.Holds(w.number(r))
}

// fired marks what fired, and adds what counts firings.
func (t *Trace) fired(out []Count) []Count {
	for i := range t.found.List {
		f := &t.found.List[i]
		r := &t.plan.Rules[f.Rule]
		if t.told(f.Rule) != r {
			continue // what its habit makes of it is another finding
		}
		if !r.Plain {
			group := t.group(f.Kind, f.Values)
			at := slices.IndexFunc(out, func(c Count) bool { return c.Rule == r && slices.Equal(c.Group, group) && c.Absent == nil })
			if at < 0 || f.Key.Offset != int64(t.events) {
				out = append(out, Count{Rule: r, Group: group, Time: f.Key.Time, Number: findingNumber(f), Left: true})
				at = len(out) - 1
			}
			out[at].Fired, out[at].True = out[at].Fired || f.Fired, true
			if r.Type == observation.RateAnomaly {
				t.compare(&out[at], f)
				t.unusual[windowKey{f.Rule, strings.Clone(f.Values)}] = f.Key.Time
			}
		}
		if f.Fired {
			out = t.feedUp(f, out)
		}
	}
	return out
}

// compare says what was seen and expected: what the finding says, or, where it
// tells of a single event, what the last one of the window did that says it.
func (t *Trace) compare(c *Count, f *observation.Finding) {
	key := windowKey{f.Rule, f.Values}
	if f.Span == 0 {
		c.Number, c.Expected = float64(f.Number), t.expected[key]
		return
	}
	c.Number, c.Expected = f.Value, f.Expected
	key.values = strings.Clone(key.values)
	t.expected[key] = f.Expected
}

func findingNumber(f *observation.Finding) float64 {
	if f.Value != 0 {
		return f.Value
	}
	return float64(f.Number)
}

func (t *Trace) group(kind uint16, values string) []Field {
	k := &t.plan.Kinds[kind]
	var out []Field
	for i, v := range k.Values(values) {
		out = append(out, Field{k.Fields[i], v})
	}
	return out
}

// absent names the fields that an event lacks for a rule to count it.
func (t *Trace) absent(ev *event.Event, r *observation.Rule) []string {
	names := slices.Clone(t.plan.Kinds[r.Kind].Fields)
	if r.ValueField != "" {
		names = append(names, strings.Split(r.ValueField, ",")...)
	}
	var out []string
	for _, name := range names {
		f, ok := event.Lookup(name)
		if !ok { // an alias
			continue
		}
		if v, ok := ev.Text(f); !ok || v == "" {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		out = []string{strings.Join(names, ", ")}
	}
	return out
}

// sweep forgets windows that ran out.
func (t *Trace) sweep(now int64) {
	for k, w := range t.windows {
		if w.expire(&t.plan.Rules[k.rule], now); w.first == len(w.entries) {
			delete(t.windows, k)
		}
	}
	for k, at := range t.unusual {
		if at < now-t.reach {
			delete(t.unusual, k)
		}
	}
	for k, at := range t.marks {
		if at < now-t.reach {
			delete(t.marks, k)
		}
	}
}
