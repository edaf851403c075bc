package sigma

import (
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// guardSpec is what a correlation says under the key gatewatch of which of its
// events count, and how many a mean takes.
type guardSpec struct {
	where         place
	unless, after *ref  // a detection
	while         []ref // correlations with the same group-by
	least, newest int   // of the types that measure, 0 for none

	mark   *Rule   // of unless or after, set by link
	during []*Rule // of while, set by link
}

func (g *guardSpec) set() bool {
	return g.unless != nil || g.after != nil || len(g.while) > 0 || g.least != 0 || g.newest != 0
}

// refs returns the documents that the guard looks at.
func (g *guardSpec) refs() []*Rule {
	if g.mark == nil {
		return g.during
	}
	return append([]*Rule{g.mark}, g.during...)
}

// guardKeys are the keys under gatewatch that only correlations have.
func guardKeys() []string { return []string{"unless", "after", "while", "at_least", "newest"} }

// setGuard reads one of guardKeys.
func (r *Rule) setGuard(file string, kv pair, p *problems) {
	g, v, key := &r.guard, kv.value, kv.key.Value
	if !g.set() {
		g.where = at(file, kv.key)
	}
	if key == "at_least" || key == "newest" {
		n, err := strconv.Atoi(v.Value)
		if v.Kind != yaml.ScalarNode || err != nil || n < 1 || n > observation.MaxKept {
			p.refuse(at(file, v), v.Value, fmt.Sprintf("write a whole number from 1 to %d", observation.MaxKept), "%s is no number of values", key)
			return
		}
		if key == "at_least" {
			g.least = n
		} else {
			g.newest = n
		}
		return
	}
	if key == "while" {
		g.while = refs(file, v, key, "write the id or name of a correlation, or a list of them", p)
		return
	}
	if v.Kind != yaml.ScalarNode || v.Value == "" || isNull(v) {
		p.refuse(at(file, v), v.Value, "write the id or name of one rule", "%s must be the id or name of a rule", key)
		return
	}
	to := map[string]**ref{"unless": &g.unless, "after": &g.after}[key]
	*to = &ref{v.Value, at(file, v)}
}

// checkGuard refuses what a document of r's kind cannot say of its events.
func (r *Rule) checkGuard(p *problems) {
	g := &r.guard
	switch {
	case !g.set():
		return
	case r.Kind != Correlation:
		p.refuse(g.where, "", "write a correlation over it", "unless, after, while, at_least and newest are for correlations, this is a %s", r.Kind)
		return
	case r.corr == nil:
		return // refused already
	case g.unless != nil && g.after != nil:
		p.refuse(g.after.where, g.after.name, "keep one of them; write two correlations for both", "unless and after cannot stand together")
	case (g.least != 0 || g.newest != 0) && !r.corr.typ.Measures():
		p.refuse(g.where, "", "remove them, or raise the number of the condition", "at_least and newest are for value_sum, value_avg and value_percentile, this is %s", r.corr.typeName())
	case g.newest != 0 && g.least > g.newest:
		p.refuse(g.where, "", "raise newest", "at_least %d can never be among the newest %d", g.least, g.newest)
	}
	r.corr.guard = *g
}

// linkGuard finds the documents that a guard names.
func (s *Set) linkGuard(r *Rule, p *problems) {
	g := &r.corr.guard
	g.mark, g.during = nil, nil
	for _, name := range []*ref{g.unless, g.after} {
		if name == nil {
			continue
		}
		if g.mark = s.find(*name, Refused, p); g.mark != nil && g.mark.Kind != Detection {
			p.refuse(name.where, name.name, "name a detection; of a correlation say while", "unless and after look for single events, %q is a %s", name.name, g.mark.Kind)
		}
	}
	for _, name := range g.while {
		switch x := s.find(name, Refused, p); {
		case x == nil:
		case x.Kind != Correlation:
			p.refuse(name.where, name.name, "name a correlation, such as an event_count over it", "while asks for a condition that can be true, %q is a %s", name.name, x.Kind)
		default:
			g.during = append(g.during, x)
		}
	}
}

// lostGuard returns what the guard of a correlation looks at and is left out,
// or nil.
func (c *compiler) lostGuard(r *Rule) *Rule {
	for _, g := range r.corr.guard.refs() {
		if c.out[g] && !c.bad[g] {
			return g
		}
	}
	return nil
}

// guard resolves the guard of a correlation whose kind and depth are known.
func (c *compiler) guard(r *Rule, spec *correlationSpec, pr *observation.Rule, p *problems) {
	g := &spec.guard
	pr.Least, pr.Newest = g.least, g.newest
	if g.mark != nil {
		where := g.unless
		if where == nil {
			where = g.after
		}
		if pr.Depth > 1 {
			p.refuse(where.where, where.name, "put it into the correlation over detections", "unless and after are for correlations over detections, this is one over correlations")
			return
		}
		pr.Guard.Unless, pr.Guard.After = g.unless != nil, g.after != nil
		c.mark(r, spec, pr.Kind, *where, p)
	}
	for i, x := range g.during {
		at, ok := c.planned[x]
		name := g.while[i]
		switch {
		case !ok:
			p.refuse(name.where, name.name, "let it stand before this one, over rules of the same depth", "%q is not there yet when this correlation is judged", name.name)
		case c.x.plan.Rules[at].Kind != pr.Kind:
			p.refuse(name.where, name.name, "give both the same group-by", "while asks for the same group, %q has another group-by", name.name)
		case (c.x.plan.Rules[at].Depth > 1) != (pr.Depth > 1):
			p.refuse(name.where, name.name, "make both over detections, or both over correlations", "%q is judged at another place: one of the two is over correlations and the other is not", name.name)
		default:
			pr.Guard.While = append(pr.Guard.While, at)
		}
	}
}

// mark makes the matches of a detection mark the entities of a kind.
func (c *compiler) mark(r *Rule, spec *correlationSpec, kind uint16, name ref, p *problems) {
	det := spec.guard.mark
	if before := c.marks[kind]; before != nil {
		if before != det {
			p.refuse(name.where, name.name, fmt.Sprintf("name %q here too, or group by something else", before.ID),
				"correlations with this group-by already look for %q: one detection can be looked for in a group", before.ID)
		}
		return
	}
	cols := c.columns(r, spec, []*Rule{det}, spec.groupBy, p)
	if p.refused {
		return
	}
	_, _, _, cols = c.columnNames(spec, cols, p)
	var fields []event.Field
	for _, col := range cols {
		fields = append(fields, col.fields[0])
	}
	s := sink{mark: true, kind: kind, value: -1, variant: c.variant(fields)}
	if kv := &c.x.kindVariants[kind]; !slices.Contains(*kv, s.variant) {
		*kv = append(*kv, s.variant)
	}
	c.marks[kind] = det
	d := &c.x.dets[c.detOf[det]]
	d.sinks = append(d.sinks, s)
}
