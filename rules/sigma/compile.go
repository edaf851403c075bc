package sigma

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// CompileOptions are the settings that a rule set is compiled with.
type CompileOptions struct {
	// ResolveAfter is the timespan of plain detections that set none of their
	// own. 0 means one hour.
	ResolveAfter time.Duration
	// IPv6Whole makes IPv6 addresses group by the whole address instead of
	// its /64.
	IPv6Whole bool
	// Disable reports whether to leave a rule out. Correlations lose it as an
	// input, and are left out themselves when they have no input left.
	Disable func(*Rule) bool
	// Tune changes rules; of several that set the same thing the last wins. A
	// tuning that enables a rule overrides Disable.
	Tune []Tuning
	// Lists are what the modifier expand puts in the place of %name%: texts
	// with Sigma's wildcards. A list may be empty.
	Lists map[string][]string
}

// Compile makes the index. What cannot be compiled is left out and reported,
// together with the correlations that need it; the rest loads. The set is not
// changed and can be compiled again with other options.
func (s *Set) Compile(o CompileOptions) (*Index, []Problem) {
	if o.ResolveAfter <= 0 {
		o.ResolveAfter = time.Hour
	}
	c := &compiler{
		set: s, o: o, b: newBuilder(), out: map[*Rule]bool{}, bad: map[*Rule]bool{}, x: &Index{plan: &observation.Plan{}, ipv6Whole: o.IPv6Whole, tuned: map[string][]Change{}},
		now:   map[*Rule]*Rule{},
		kinds: map[string]uint16{}, meanings: map[string]meaning{}, planned: map[*Rule]uint32{}, detOf: map[*Rule]int{}, marks: map[uint16]*Rule{},
	}
	c.code.b = c.b
	c.tune()
	c.expandLists()
	c.detections()
	c.correlations()
	c.b.finish()
	c.x.code = c.code.code
	c.x.lay(c.b, c.triggers)
	for _, r := range s.rules {
		if !c.out[r] {
			c.x.rules = append(c.x.rules, c.tunedRule(r))
		}
	}
	sortProblems(c.problems)
	return c.x, c.problems
}

// compiler holds what is known while a set is compiled.
type compiler struct {
	set      *Set
	o        CompileOptions
	b        *builder
	code     programmer
	x        *Index
	tunings  []*tuning
	now      map[*Rule]*Rule // by rule of the set: what tunings made of it
	out      map[*Rule]bool  // disabled or refused
	bad      map[*Rule]bool  // refused
	problems []Problem
	triggers [][]uint32         // per atom: dets
	kinds    map[string]uint16  // by names and meaning
	meanings map[string]meaning // what each alias means
	planned  map[*Rule]uint32   // index into Plan.Rules
	detOf    map[*Rule]int      // index into Index.dets
	marks    map[uint16]*Rule   // by kind: the detection that marks its entities
	depth    map[*Rule]int
}

type meaning struct {
	text string
	rule *Rule
}

// tunedRule returns what tunings made of a rule of the set.
func (c *compiler) tunedRule(r *Rule) *Rule {
	if now := c.now[r]; now != nil {
		return now
	}
	return r
}

// drop leaves a rule out and keeps why.
func (c *compiler) drop(r *Rule, p *problems) {
	c.out[r], c.bad[r] = true, true
	c.problems = append(c.problems, p.list...)
}

// detections compiles the conditions of all detections, with their filters.
func (c *compiler) detections() {
	for _, r := range c.set.rules {
		if r.Kind != Detection || c.out[r] {
			continue
		}
		cond := c.tunedRule(r).cond
		if filters := c.filters(r); len(filters) > 0 {
			cond = &node{op: nodeAnd, kids: append([]*node{cond}, filters...), where: cond.where}
		}
		entry, ok := c.code.compile(cond)
		if !ok {
			p := &problems{rule: r.ID}
			p.refuse(cond.where, "", "split the rule", "the condition is too large: it needs more than %d tests", maxProgram)
			c.drop(r, p)
			continue
		}
		id := len(c.x.dets)
		c.detOf[r] = id
		c.x.dets = append(c.x.dets, det{rule: c.tunedRule(r), of: r, cond: cond, entry: entry})
		t := c.b.trigger(cond, false)
		if t == nil {
			c.x.always = append(c.x.always, uint32(id))
			continue
		}
		for _, a := range t.atoms {
			for len(c.triggers) <= int(a) {
				c.triggers = append(c.triggers, nil)
			}
			c.triggers[a] = append(c.triggers[a], uint32(id))
		}
	}
}

// filters returns the conditions of the filters that reach r.
func (c *compiler) filters(r *Rule) []*node {
	var out []*node
	for _, f := range c.set.rules {
		if f.Kind != Filter || c.out[f] || !f.logs.covers(&r.logs) {
			continue
		}
		named := slices.ContainsFunc(f.only.rules, func(n ref) bool { return c.set.byName[n.name] == r })
		if f.only.any || named {
			cond := *c.tunedRule(f).cond
			cond.filter = f.Title
			out = append(out, &cond)
		}
	}
	return out
}

// correlations makes the plan: correlations from the lowest to the highest,
// so that inputs come before what they feed, then plain detections. A
// correlation takes the place of what it is made of, unless it is at fault.
func (c *compiler) correlations() {
	consumed := map[*Rule]bool{}
	generated := map[*Rule]bool{}
	take := func(r *Rule) {
		for _, in := range r.corr.inputs {
			consumed[in] = true
			generated[in] = generated[in] || r.corr.generate
		}
		for _, x := range r.corr.guard.refs() {
			consumed[x] = true
			generated[x] = generated[x] || r.corr.generate
		}
	}
	for _, r := range c.levels() {
		p := c.planCorrelation(r)
		if t := c.tunedRule(r).groupTuned(); p.refused && t != nil {
			// It may be the tuning that cannot be: try without it.
			tuned := p
			c.tuneRule(r, map[int]bool{t.index: true}, &problems{})
			if p = c.planCorrelation(r); !p.refused {
				for i := range tuned.list {
					tuned.list[i].Tuning = true
				}
				c.problems = append(c.problems, tuned.list...)
			}
		}
		if p.refused {
			c.drop(r, p)
			continue
		}
		take(r)
	}
	for _, r := range c.set.rules {
		// Leaving a rule out makes no other rule louder.
		if r.Kind == Correlation && c.out[r] && !c.bad[r] {
			take(r)
		}
	}
	for r, id := range c.planned {
		c.x.plan.Rules[id].Alerting = !consumed[r] || generated[r]
	}
	for i := range c.x.dets {
		if d := &c.x.dets[i]; !consumed[d.of] || generated[d.of] {
			d.alerting = true
			c.plain(d)
		}
	}
}

// planCorrelation adds a correlation to the plan, or says why it cannot.
func (c *compiler) planCorrelation(r *Rule) *problems {
	p := &problems{rule: r.ID}
	if c.inputsLoad(r, p); p.refused {
		return p
	}
	spec := c.tunedRule(r).corr
	switch {
	case spec.walk != nil:
		c.overIDs(r, spec, p)
	case spec.baseline != nil && spec.overFindings():
		p.refuse(spec.where, "", "name detections", "a %s is over detections, not over correlations", typeBaseline)
	case c.depth[r] == 1:
		c.overEvents(r, p)
	default:
		c.overFindings(r, p)
	}
	return p
}

// plain plans a detection that opens incidents by itself: one match is
// enough, by client, for as long as an incident stays open.
func (c *compiler) plain(d *det) {
	span := d.rule.ResolveAfter
	if span == 0 {
		span = c.o.ResolveAfter
	}
	pr := c.planRule(d.rule)
	pr.Plain, pr.Alerting, pr.Depth = true, true, 1
	pr.Kind = c.kind([]string{event.FieldClient.String()}, []bool{true}, "")
	pr.Type, pr.Timespan = observation.EventCount, max(1, int64(span/time.Second))
	pr.Bounds = []observation.Bound{{Op: observation.Gte, Value: 1}}
	d.sinks = append(d.sinks, sink{
		rule: c.add(d.of, pr), kind: pr.Kind, value: -1, variant: c.variant([]event.Field{event.FieldClient}),
	})
}

// inputsLoad refuses a correlation one of whose inputs was refused.
func (c *compiler) inputsLoad(r *Rule, p *problems) {
	for _, in := range append(slices.Clone(r.corr.inputs), r.corr.guard.refs()...) {
		if c.bad[in] {
			p.refuse(r.corr.where, in.ID, "mend that rule first", "the rule %q is refused itself, see %s:%d", in.ID, in.File, in.Line)
		}
	}
}

// lostStep returns a rule that a temporal correlation waits for and that is
// left out, or nil.
func (c *compiler) lostStep(r *Rule) *Rule {
	for _, in := range r.corr.steps {
		if c.out[in] && !c.bad[in] {
			return in
		}
	}
	return nil
}

// levels returns the correlations that are in, lowest depth first, in the
// order of the set within one depth. Those without inputs are left out.
func (c *compiler) levels() []*Rule {
	c.depth = map[*Rule]int{}
	var depth func(r *Rule) int
	depth = func(r *Rule) int {
		if d, ok := c.depth[r]; ok {
			return d
		}
		d, any := 0, false
		for _, in := range r.corr.inputs {
			switch {
			case c.bad[in]:
				any = true // to be refused as well
			case c.out[in]:
			case in.Kind == Detection:
				any = true
			default:
				if n := depth(in); n > 0 {
					d, any = max(d, n), true
				}
			}
		}
		if in := c.lostStep(r); in != nil {
			c.depth[r], c.out[r] = 0, true
			p := &problems{rule: r.ID}
			p.warn(r.corr.where, in.ID, fmt.Sprintf("disable it too, or take %q out of its rules", in.ID),
				"the rule waits for %q, which is left out, so it can never fire and is left out too", in.ID)
			c.problems = append(c.problems, p.list...)
			return 0
		}
		if in := c.lostGuard(r); in != nil && any {
			c.depth[r], c.out[r] = 0, true
			p := &problems{rule: r.ID}
			p.warn(r.corr.guard.where, in.ID, fmt.Sprintf("disable it too, or take %q out of it", in.ID),
				"which of its events count depends on %q, which is left out, so the rule is left out too", in.ID)
			c.problems = append(c.problems, p.list...)
			return 0
		}
		if !any {
			c.depth[r] = 0
			c.out[r] = true
			return 0
		}
		c.depth[r] = d + 1
		return d + 1
	}
	var order []*Rule
	for _, r := range c.set.rules {
		if r.Kind == Correlation && !c.out[r] && depth(r) > 0 {
			order = append(order, r)
		}
	}
	slices.SortStableFunc(order, func(a, b *Rule) int { return c.depth[a] - c.depth[b] })
	return order
}

func (c *compiler) planRule(r *Rule) observation.Rule {
	pr := observation.Rule{
		ID: r.ID, Name: r.Name, Title: r.Title, Description: r.Description, Level: r.Level, Tags: r.Tags, Family: r.Family,
		ResolveAfter: int64(r.ResolveAfter / time.Second), Shadow: r.Shadow,
	}
	if r.corr != nil {
		pr.Type, pr.Bounds = r.corr.typ, r.corr.bounds
		pr.Timespan = int64(r.corr.timespan / time.Second)
		if r.corr.walk != nil {
			pr.Type, pr.Walk = observation.IDWalk, &r.corr.walk.like
		}
	}
	return pr
}

func (c *compiler) add(r *Rule, pr observation.Rule) uint32 {
	id := uint32(len(c.x.plan.Rules))
	c.x.plan.Rules = append(c.x.plan.Rules, pr)
	c.planned[r] = id
	return id
}

// kind returns the kind of a group-by list whose names are in order.
func (c *compiler) kind(names []string, address []bool, meaning string) uint16 {
	key := strings.Join(names, "\x00") + "\x01" + meaning
	id, ok := c.kinds[key]
	if !ok {
		id = uint16(len(c.x.plan.Kinds))
		c.kinds[key] = id
		c.x.plan.Kinds = append(c.x.plan.Kinds, observation.NewKind(names, address))
		c.x.kindVariants = append(c.x.kindVariants, nil)
	}
	return id
}

func (c *compiler) variant(fields []event.Field) uint16 {
	for i, v := range c.x.variants {
		if slices.Equal(v.fields, fields) {
			return uint16(i)
		}
	}
	v := variant{fields: fields}
	for _, f := range fields {
		v.address = append(v.address, f.Kind() == event.KindAddress)
		c.x.needs = c.x.needs.Add(f)
	}
	c.x.variants = append(c.x.variants, v)
	return uint16(len(c.x.variants) - 1)
}
