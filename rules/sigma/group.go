package sigma

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// column is one field of a group-by list or of what a correlation counts: its
// name, and the event field that it is read from for each of the detections.
type column struct {
	ref    ref
	name   string
	fields []event.Field // in the order of the detections
	alias  string        // what the alias means, "" for a plain field
}

// address reports whether the column holds addresses; ok is false where it
// mixes them with texts.
func (col *column) address() (is, ok bool) {
	for i, f := range col.fields {
		if a := f.Kind() == event.KindAddress; i == 0 {
			is = a
		} else if is != a {
			return false, false
		}
	}
	return is, true
}

// numeric refuses a column that holds something else than numbers.
func (col *column) numeric(typ string, p *problems) bool {
	for _, f := range col.fields {
		if f.Kind() != event.KindNumber {
			p.refuse(col.ref.where, col.ref.name, "use a field that holds a number, such as http.response.body.size or duration_ms, or value_count to count different values",
				"%s is no number, %s cannot measure it", f, typ)
			return false
		}
	}
	return true
}

// loadedInputs returns the inputs of a correlation that are in.
func (c *compiler) loadedInputs(spec *correlationSpec) []*Rule {
	var ins []*Rule
	for _, in := range spec.inputs {
		if !c.out[in] {
			ins = append(ins, in)
		}
	}
	return ins
}

// overEvents plans a correlation whose inputs are detections.
func (c *compiler) overEvents(r *Rule, p *problems) {
	spec := c.tunedRule(r).corr
	ins := c.loadedInputs(spec)
	cols := c.columns(r, spec, ins, spec.groupBy, p)
	vals := c.columns(r, spec, ins, spec.fields, p)
	if len(vals) > maxTuple {
		p.refuse(spec.fields[maxTuple].where, spec.fields[maxTuple].name, "name fewer fields", "at most %d fields can be taken together", maxTuple)
	}
	pr := c.planRule(c.tunedRule(r))
	pr.Percentile = c.measured(spec, vals, p)
	if p.refused {
		return
	}
	names, address, mean, cols := c.columnNames(spec, cols, p)
	if p.refused {
		return
	}
	if spec.baseline != nil {
		spec.baseline.checkCrowd(names, p)
		pr.Baseline = spec.baseline.plan()
	}
	if p.refused {
		return
	}
	pr.Kind, pr.Depth = c.kind(names, address, mean), 1
	for i, v := range vals {
		if i > 0 {
			pr.ValueField += ","
		}
		pr.ValueField += v.name
	}
	for _, s := range spec.steps {
		pr.Steps = append(pr.Steps, s.ID)
	}
	if c.guard(r, spec, &pr, p); p.refused {
		return
	}
	id := c.add(r, pr)
	c.x.plan.Rules[id].Feed = c.feed(id, spec, ins, cols, vals)
	if pr.Guard.Any() {
		// Rules share a window only where the same events count.
		c.x.plan.Rules[id].Feed += fmt.Sprintf(" %+v %d", pr.Guard, pr.Timespan)
	}
}

// columnNames returns a group-by list in the order of its names: equal lists
// share their entities, whatever their order in the rule.
func (c *compiler) columnNames(spec *correlationSpec, cols []column, p *problems) (names []string, address []bool, mean string, ordered []column) {
	slices.SortFunc(cols, func(a, b column) int { return strings.Compare(a.name, b.name) })
	cols = slices.CompactFunc(cols, func(a, b column) bool { return a.name == b.name })
	names, address = make([]string, len(cols)), make([]bool, len(cols))
	for i, col := range cols {
		names[i] = col.name
		mean += col.alias
		var ok bool
		if address[i], ok = col.address(); !ok {
			p.refuse(spec.aliases[col.name].where, col.name, "map it to addresses only, or to none", "the alias %q mixes addresses and texts", col.name)
		}
	}
	return names, address, mean, cols
}

// feed makes the detections feed a rule of the plan, and says what it gets,
// see observation.Rule.
func (c *compiler) feed(id uint32, spec *correlationSpec, ins []*Rule, cols, vals []column) string {
	pr := &c.x.plan.Rules[id]
	feed := make([]string, len(ins))
	for i, in := range ins {
		fields := make([]event.Field, len(cols))
		for j, col := range cols {
			fields[j] = col.fields[i]
		}
		s := sink{rule: id, kind: pr.Kind, variant: c.variant(fields), value: -1}
		if at := slices.Index(spec.steps, in); at >= 0 && pr.Type.Steps() {
			s.steps = 1 << at
		}
		if len(vals) > 0 {
			tuple := make([]event.Field, len(vals))
			for j, v := range vals {
				tuple[j] = v.fields[i]
				c.x.needs = c.x.needs.Add(v.fields[i])
			}
			s.value = c.tuple(tuple)
			s.measures = vals[0].fields[0].Kind() == event.KindNumber && len(vals) == 1 && (pr.Type.Measures() || pr.Type == observation.RateAnomaly)
		}
		if kv := &c.x.kindVariants[pr.Kind]; !slices.Contains(*kv, s.variant) {
			*kv = append(*kv, s.variant)
		}
		d := &c.x.dets[c.detOf[in]]
		d.sinks = append(d.sinks, s)
		feed[i] = fmt.Sprintf("%d/%d/%d/%x", c.detOf[in], s.variant, s.value, s.steps)
	}
	slices.Sort(feed)
	return strings.Join(slices.Compact(feed), " ")
}

// measured checks the field of a type that measures, and returns the
// percentile that it asks for: 0 where there is none, or where the field is a
// text and the type ranks its values by rarity.
func (c *compiler) measured(spec *correlationSpec, vals []column, p *problems) float64 {
	switch spec.typ {
	case observation.ValueSum, observation.ValueAvg, observation.RateAnomaly:
		for _, v := range vals {
			v.numeric(spec.typ.String(), p)
		}
		return 0
	case observation.ValuePercentile:
	default:
		return 0
	}
	numbers, texts := 0, 0
	for _, v := range vals {
		for _, f := range v.fields {
			if f.Kind() == event.KindNumber {
				numbers++
			} else {
				texts++
			}
		}
	}
	if numbers == 0 || len(vals) > 1 { // several fields are ranked as texts
		spec.ranks(p)
		return 0
	}
	if texts > 0 {
		p.refuse(vals[0].ref.where, vals[0].ref.name, "map it to numbers only, or to none", "the alias %q mixes numbers and texts", vals[0].ref.name)
	}
	if spec.percentile == 0 {
		return defaultPercentile
	}
	return spec.percentile
}

// ranks refuses what makes no sense for a rank by rarity.
func (c *correlationSpec) ranks(p *problems) {
	if c.percentile != 0 {
		p.refuse(c.percentileWhere, "percentile", "remove it, or use a field that holds a number",
			"texts are ranked by how rare they are, which takes no percentile")
	}
	r := observation.Rule{Bounds: c.bounds}
	var samples []float64
	for _, b := range c.bounds {
		samples = append(samples, math.Nextafter(b.Value, 0), b.Value, math.Nextafter(b.Value, 101))
	}
	samples = slices.DeleteFunc(append(samples, 1e-9, 100), func(v float64) bool { return v <= 0 || v > 100 })
	holds := 0
	for _, v := range samples {
		if r.Holds(v) {
			holds++
		}
	}
	if holds == 0 || holds == len(samples) {
		p.refuse(c.fields[0].where, c.fields[0].name, "write such as lte: 1, for values that one event of a hundred has",
			"the rank of a text is above 0 and up to 100: the condition holds for %s", map[bool]string{true: "none", false: "each"}[holds == 0])
	}
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
func (c *compiler) columns(r *Rule, spec *correlationSpec, ins []*Rule, names []ref, p *problems) []column {
	var out []column
	for _, name := range names {
		if a, ok := spec.aliases[name.name]; ok {
			if col, ok := c.aliased(r, ins, name, a, p); ok {
				out = append(out, col)
			}
			continue
		}
		f, ok := eventField(name, p)
		if !ok {
			continue
		}
		col := column{ref: name, name: f.String()}
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
	col := column{ref: name, name: name.name}
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
	ins := c.loadedInputs(spec)
	steps := map[*Rule]string{}
	for _, in := range ins {
		if in.Kind == Detection {
			at := c.single(r, spec, in, p)
			if p.refused {
				return
			}
			pr.Inputs, steps[in] = append(pr.Inputs, at), c.x.plan.Rules[at].ID
			continue
		}
		pr.Inputs, steps[in] = append(pr.Inputs, c.planned[in]), in.ID
	}
	for _, s := range spec.steps {
		pr.Steps = append(pr.Steps, steps[s])
	}
	cols := c.upperColumns(r, spec, pr.Inputs, p)
	if spec.measuresFirings() {
		p.refuse(spec.fields[0].where, spec.fields[0].name, "measure over the detections, or count or rank what a firing carries with value_count or value_percentile of a text",
			"a firing carries no number that %s could measure", spec.typ)
		return
	}
	var values []string
	for _, f := range spec.fields {
		if _, ok := spec.aliases[f.name]; ok {
			p.refuse(f.where, f.name, "name what the firings of all inputs carry", "an alias over correlations can be grouped by, but not counted")
		} else if name, _, ok := c.carried(pr.Inputs, f, p); ok {
			values = append(values, name)
		}
	}
	pr.ValueField = strings.Join(values, ",")
	if len(spec.fields) > maxTuple {
		p.refuse(spec.fields[maxTuple].where, spec.fields[maxTuple].name, "name fewer fields", "at most %d fields can be taken together", maxTuple)
	}
	if spec.typ == observation.ValuePercentile && !p.refused {
		spec.ranks(p)
	}
	if p.refused {
		return
	}
	var names []string
	var address []bool
	var mean strings.Builder
	for _, col := range cols {
		names, address = append(names, col.name), append(address, col.address)
		mean.WriteString(c.meanings[col.name].text)
	}
	if slices.ContainsFunc(cols, func(col upperColumn) bool { return col.alias }) {
		pr.Reads = make([][]string, len(pr.Inputs))
		for i := range pr.Reads {
			for _, col := range cols {
				pr.Reads[i] = append(pr.Reads[i], col.reads[i])
			}
		}
	}
	pr.Kind = c.kind(names, address, mean.String())
	if c.guard(r, spec, &pr, p); p.refused {
		return
	}
	c.add(r, pr)
}

// upperColumn is one field of the group-by list of a correlation over
// correlations: its name, and what it is called in the findings of each input.
type upperColumn struct {
	name    string
	address bool
	reads   []string
	alias   bool // they are not all called so
}

// upperColumns resolves a group-by list, in the order of its names.
func (c *compiler) upperColumns(r *Rule, spec *correlationSpec, inputs []uint32, p *problems) []upperColumn {
	var cols []upperColumn
	for _, g := range spec.groupBy {
		if a, ok := spec.aliases[g.name]; ok {
			if col, ok := c.carriedAlias(r, spec, inputs, g, a, p); ok {
				cols = append(cols, col)
			}
			continue
		}
		if name, address, ok := c.carried(inputs, g, p); ok {
			cols = append(cols, upperColumn{name: name, address: address, reads: slices.Repeat([]string{name}, len(inputs))})
		}
	}
	slices.SortFunc(cols, func(a, b upperColumn) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(cols, func(a, b upperColumn) bool { return a.name == b.name })
}

// single plans what makes a firing of each match of a detection, for a
// temporal rule that waits for it and for correlations too: an event_count of
// one within a second, which is as fine as order is.
func (c *compiler) single(r *Rule, spec *correlationSpec, in *Rule, p *problems) uint32 {
	pr := c.planRule(c.tunedRule(in))
	pr.ID, pr.Name, pr.Shadow = in.ID+" in "+r.ID, "", false
	pr.Type, pr.Timespan, pr.Bounds, pr.Depth = observation.EventCount, 1, []observation.Bound{{Op: observation.Gte, Value: 1}}, 1
	for _, g := range spec.groupBy {
		_, alias := spec.aliases[g.name]
		_, known := lookupSource(g.name, taxWebserver)
		if !alias && !known && c.isAlias(c.plannedInputs(spec), g.name) {
			p.refuse(g.where, g.name, "add an alias, of another name, that says what stands for it in each of the rules",
				"the detection %q has no %q", in.ID, g.name)
			return 0
		}
	}
	names, address, mean, cols := c.columnNames(spec, c.columns(r, spec, []*Rule{in}, spec.groupBy, p), p)
	if p.refused {
		return 0
	}
	pr.Kind = c.kind(names, address, mean)
	id := uint32(len(c.x.plan.Rules))
	c.x.plan.Rules = append(c.x.plan.Rules, pr)
	c.x.plan.Rules[id].Feed = c.feed(id, spec, []*Rule{in}, cols, nil)
	return id
}

// measuresFirings reports whether a correlation over correlations asks for a
// number, which firings do not have: their status is that of one event.
func (c *correlationSpec) measuresFirings() bool {
	switch c.typ {
	case observation.ValueSum, observation.ValueAvg:
		src, ok := lookupSource(c.fields[0].name, taxWebserver)
		return !ok || src != fieldSource(event.FieldAuthFailed) // which is a share, and carried
	case observation.ValuePercentile:
		if len(c.fields) == 1 {
			src, ok := lookupSource(c.fields[0].name, taxWebserver)
			return ok && src.kind() == event.KindNumber
		}
	}
	return false
}

// carried resolves the name of something that the firings of all inputs
// carry: a field, or an alias that all of them group by.
func (c *compiler) carried(inputs []uint32, name ref, p *problems) (carried string, address, ok bool) {
	_, known := lookupSource(name.name, taxWebserver)
	carried = name.name
	if known {
		f, ok := eventField(name, p)
		if !ok {
			return "", false, false
		}
		if carried, address = f.String(), f.Kind() == event.KindAddress; observation.HasCardField(carried) {
			return carried, address, true
		}
	}
	for i, in := range inputs {
		kind := &c.x.plan.Kinds[c.x.plan.Rules[in].Kind]
		at := slices.Index(kind.Fields, carried)
		switch {
		case at < 0 && !known && !c.isAlias(inputs, carried):
			eventField(name, p) // says that there is no such field
			return "", false, false
		case at < 0:
			p.refuse(name.where, name.name, "add it to the group-by of that rule",
				"a firing of %q does not carry %s: it is not in its group-by", c.x.plan.Rules[in].ID, carried)
			return "", false, false
		case i > 0 && address != kind.Address[at]:
			p.refuse(name.where, name.name, "make the alias stand for addresses in all of them, or in none",
				"%s is an address in some firings and a text in others", carried)
			return "", false, false
		}
		address = kind.Address[at]
	}
	return carried, address, true
}

// plannedInputs returns the correlations among the inputs.
func (c *compiler) plannedInputs(spec *correlationSpec) []uint32 {
	var out []uint32
	for _, in := range c.loadedInputs(spec) {
		if in.Kind == Correlation {
			out = append(out, c.planned[in])
		}
	}
	return out
}

// isAlias reports whether one of the inputs groups by something of this name.
func (c *compiler) isAlias(inputs []uint32, name string) bool {
	return slices.ContainsFunc(inputs, func(in uint32) bool {
		return slices.Contains(c.x.plan.Kinds[c.x.plan.Rules[in].Kind].Fields, name)
	})
}

// carriedAlias resolves an alias over correlations: what it is called in the
// findings of each input.
func (c *compiler) carriedAlias(r *Rule, spec *correlationSpec, inputs []uint32, name ref, a alias, p *problems) (col upperColumn, ok bool) {
	if _, ok := lookupSource(name.name, taxWebserver); ok {
		p.refuse(a.where, name.name, "give the alias a name that is no field", "the alias %q is also the name of a field", name.name)
		return col, false
	}
	mean := strings.Builder{}
	mean.WriteString("over findings\x00")
	for i, in := range c.loadedInputs(spec) {
		at := slices.IndexFunc(a.fields, func(f aliasField) bool { return c.set.byName[f.rule.name] == in })
		if at < 0 {
			p.refuse(a.where, name.name, "add the rule to the alias", "the alias %q has no field for the rule %q", name.name, in.ID)
			return col, false
		}
		got, address, ok := c.carried(inputs[i:i+1], a.fields[at].field, p)
		switch {
		case !ok:
			return col, false
		case i > 0 && address != col.address:
			p.refuse(a.where, name.name, "map it to addresses only, or to none", "the alias %q mixes addresses and texts", name.name)
			return col, false
		}
		col.address = address
		col.reads = append(col.reads, got)
		mean.WriteString(in.ID + "\x00" + got + "\x00")
	}
	if col.name = col.reads[0]; len(slices.Compact(slices.Clone(col.reads))) == 1 {
		return col, true // nothing but another name for one field
	}
	col.name, col.alias = name.name, true
	if m, ok := c.meanings[name.name]; ok && m.text != mean.String() {
		p.refuse(a.where, name.name, "give one of them another name", "the alias %q means something else in the correlation at %s:%d", name.name, m.rule.File, m.rule.Line)
		return col, false
	}
	c.meanings[name.name] = meaning{mean.String(), r}
	return col, true
}
