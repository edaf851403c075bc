package sigma

import (
	"fmt"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// column is one field of a group-by list: its name, and the event field that
// it is read from for each of a correlation's detections.
type column struct {
	name   string
	fields []event.Field // in the order of the detections
	alias  string        // what the alias means, "" for a plain field
}

// overEvents plans a correlation whose inputs are detections.
func (c *compiler) overEvents(r *Rule, p *problems) {
	spec := c.tunedRule(r).corr
	var ins []*Rule
	for _, in := range spec.inputs {
		if !c.out[in] {
			ins = append(ins, in)
		}
	}
	cols := c.columns(r, ins, spec.groupBy, p)
	vals := c.columns(r, ins, spec.fields, p)
	if len(vals) > maxTuple {
		p.refuse(spec.fields[maxTuple].where, spec.fields[maxTuple].name, "count fewer fields", "at most %d fields can be counted together", maxTuple)
	}
	if p.refused {
		return
	}
	// Equal lists share their entities, whatever their order in the rule.
	slices.SortFunc(cols, func(a, b column) int { return strings.Compare(a.name, b.name) })
	cols = slices.CompactFunc(cols, func(a, b column) bool { return a.name == b.name })
	names, address, mean := make([]string, len(cols)), make([]bool, len(cols)), ""
	for i, col := range cols {
		names[i] = col.name
		mean += col.alias
		for j, f := range col.fields {
			if is := f.Kind() == event.KindAddress; j == 0 {
				address[i] = is
			} else if address[i] != is {
				p.refuse(spec.aliases[col.name].where, col.name, "map it to addresses only, or to none", "the alias %q mixes addresses and texts", col.name)
				return
			}
		}
	}
	pr := c.planRule(c.tunedRule(r))
	pr.Kind, pr.Depth = c.kind(names, address, mean), 1
	id := c.add(r, pr)
	feed := make([]string, len(ins))
	for i, in := range ins {
		fields := make([]event.Field, len(cols))
		for j, col := range cols {
			fields[j] = col.fields[i]
		}
		s := sink{rule: id, kind: pr.Kind, variant: c.variant(fields), value: -1}
		if len(vals) > 0 {
			tuple := make([]event.Field, len(vals))
			for j, v := range vals {
				tuple[j] = v.fields[i]
				c.x.needs = c.x.needs.Add(v.fields[i])
			}
			s.value = c.tuple(tuple)
		}
		d := &c.x.dets[c.detOf[in]]
		d.sinks = append(d.sinks, s)
		feed[i] = fmt.Sprintf("%d/%d/%d", c.detOf[in], s.variant, s.value)
	}
	// Rules that count the same share their window, see observation.Rule.
	slices.Sort(feed)
	c.x.plan.Rules[id].Feed = strings.Join(slices.Compact(feed), " ")
}

func (c *compiler) tuple(fields []event.Field) int32 {
	i := slices.IndexFunc(c.x.values, func(v []event.Field) bool { return slices.Equal(v, fields) })
	if i < 0 {
		i = len(c.x.values)
		c.x.values = append(c.x.values, fields)
	}
	return int32(i)
}

// columns resolves the names of a group-by list or of counted fields.
func (c *compiler) columns(r *Rule, ins []*Rule, names []ref, p *problems) []column {
	var out []column
	for _, name := range names {
		if a, ok := r.corr.aliases[name.name]; ok {
			if col, ok := c.aliased(r, ins, name, a, p); ok {
				out = append(out, col)
			}
			continue
		}
		f, ok := eventField(name, p)
		if !ok {
			continue
		}
		col := column{name: f.String()}
		for range ins {
			col.fields = append(col.fields, f)
		}
		out = append(out, col)
	}
	return out
}

// eventField resolves the name of a field that events are grouped by.
func eventField(name ref, p *problems) (event.Field, bool) {
	src, ok := lookupSource(name.name, taxWebserver)
	if !ok {
		unknownField(p, name.where, name.name)
		return 0, false
	}
	f, ok := src.field()
	if !ok {
		p.refuse(name.where, name.name, "use url.path or http.route", "events cannot be grouped by %s", src)
		return 0, false
	}
	return f, true
}

// aliased resolves an alias: the field that it names in each detection.
func (c *compiler) aliased(r *Rule, ins []*Rule, name ref, a alias, p *problems) (column, bool) {
	if _, ok := lookupSource(name.name, taxWebserver); ok {
		p.refuse(a.where, name.name, "give the alias a name that is no field", "the alias %q is also the name of a field", name.name)
		return column{}, false
	}
	col := column{name: name.name}
	var mean strings.Builder
	same := true
	for _, in := range ins {
		i := slices.IndexFunc(a.fields, func(f aliasField) bool { return c.set.byName[f.rule.name] == in })
		if i < 0 {
			p.refuse(a.where, name.name, "add the rule to the alias", "the alias %q has no field for the rule %q", name.name, in.ID)
			return column{}, false
		}
		f, ok := eventField(a.fields[i].field, p)
		if !ok {
			return column{}, false
		}
		same = same && (len(col.fields) == 0 || f == col.fields[0])
		col.fields = append(col.fields, f)
		mean.WriteString(in.ID + "\x00" + f.String() + "\x00")
	}
	if same { // nothing but another name for one field
		col.name = col.fields[0].String()
		return col, true
	}
	col.alias = mean.String()
	if m, ok := c.meanings[name.name]; ok && m.text != col.alias {
		p.refuse(a.where, name.name, "give one of them another name", "the alias %q means something else in the correlation at %s:%d", name.name, m.rule.File, m.rule.Line)
		return column{}, false
	}
	c.meanings[name.name] = meaning{col.alias, r}
	return col, true
}

// overFindings plans a correlation whose inputs are correlations. It can use
// what a finding carries: the group-by fields of the input, and those of the
// card of the event that made the input fire.
func (c *compiler) overFindings(r *Rule, p *problems) {
	spec := c.tunedRule(r).corr
	pr := c.planRule(c.tunedRule(r))
	pr.Depth = c.depth[r]
	for _, in := range spec.inputs {
		if !c.out[in] {
			pr.Inputs = append(pr.Inputs, c.planned[in])
		}
	}
	for name, a := range spec.aliases {
		p.refuse(a.where, name, "use fields that all inputs group by", "aliases over correlations are not yet supported")
	}
	carried := func(name ref) string {
		f, ok := eventField(name, p)
		if !ok {
			return ""
		}
		if observation.HasCardField(f.String()) {
			return f.String()
		}
		for _, in := range pr.Inputs {
			if k := c.x.plan.Kinds[c.x.plan.Rules[in].Kind]; !slices.Contains(k.Fields, f.String()) {
				p.refuse(name.where, name.name, "add it to the group-by of that rule",
					"a firing of %q does not carry %s: it is not in its group-by", c.x.plan.Rules[in].ID, f)
				return ""
			}
		}
		return f.String()
	}
	var names []string
	for _, g := range spec.groupBy {
		names = append(names, carried(g))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	address := make([]bool, len(names))
	for i, n := range names {
		if f, ok := event.Lookup(n); ok {
			address[i] = f.Kind() == event.KindAddress
		}
	}
	if len(spec.fields) > 1 {
		p.refuse(spec.fields[1].where, spec.fields[1].name, "count one field", "a correlation over correlations counts the values of one field, not of several")
	}
	if len(spec.fields) == 1 {
		pr.ValueField = carried(spec.fields[0])
	}
	if p.refused {
		return
	}
	if names == nil {
		names, address = []string{}, []bool{}
	}
	pr.Kind = c.kind(names, address, "")
	c.add(r, pr)
}
