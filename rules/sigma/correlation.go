package sigma

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
)

// ref is a name in a document with its place.
type ref struct {
	name  string
	where place
}

// correlationSpec is the parsed "correlation" part of a document.
type correlationSpec struct {
	typ      observation.Type
	rules    []ref
	inputs   []*Rule // set by link, in the order of the set, each once
	steps    []*Rule // set by link for temporal types: the inputs in the order of the document
	groupBy  []ref
	fields   []ref // of the value types
	aliases  map[string]alias
	timespan time.Duration
	bounds   []observation.Bound
	generate bool
	guard    guardSpec
	where    place

	spanWhere       place
	percentile      float64 // 0 where none is written
	percentileWhere place
	baseline        *baselineSpec // rate_anomaly
	walk            *walkSpec     // id_walk

	groupTuned *tuning // that set groupBy, nil for none
}

// groupTuned returns the tuning that set the group-by of a correlation, or nil.
func (r *Rule) groupTuned() *tuning {
	if r.corr == nil {
		return nil
	}
	return r.corr.groupTuned
}

// alias is a name for what is called differently in different rules.
type alias struct {
	where  place
	fields []aliasField
}

type aliasField struct{ rule, field ref }

// parseCorrelation reads a correlation, or returns nil after reporting why
// not.
func parseCorrelation(file string, root, n *yaml.Node, p *problems) *correlationSpec {
	if n.Kind != yaml.MappingNode {
		p.refuse(at(file, n), n.Value, "write type, rules, group-by, timespan and condition", "a correlation must be a map, this is %s", kindName(n))
		return nil
	}
	c := &correlationSpec{where: at(file, n), aliases: map[string]alias{}}
	known := correlationKeys()
	var cond, typ, rules *yaml.Node
	for _, kv := range pairs(n) {
		v := kv.value
		switch kv.key.Value {
		case "type":
			typ = v
			c.setType(file, v, p)
		case "rules":
			rules = v
		case "group-by":
			if !isNull(v) {
				c.groupBy = refs(file, v, "group-by", "write a list of fields", p)
			}
		case "timespan", "timeframe":
			d, ok := parseSpan(v)
			if !ok {
				p.refuse(at(file, v), v.Value, "write a number and s, m, h or d, such as 90m", "the timespan is no length of time")
			}
			c.timespan, c.spanWhere = d, at(file, v)
		case "condition":
			cond = v
		case "aliases":
			c.setAliases(file, v, p)
		case "generate":
			c.setGenerate(file, v, p)
		case "field":
			p.refuse(at(file, kv.key), "field", "move it into condition", "field belongs under condition")
		default:
			p.refuse(at(file, kv.key), kv.key.Value, didYouMean(kv.key.Value, known, "write one of: "+strings.Join(known, ", ")),
				"unknown key %q in a correlation", kv.key.Value)
		}
	}
	if v := get(root, "generate"); v != nil {
		c.setGenerate(file, v, p)
	}
	missing := func(key, hint string) { p.refuse(c.where, "", hint, "the correlation has no %s", key) }
	if typ == nil {
		missing("type", "add type: such as event_count or value_count")
	}
	if rules == nil {
		missing("rules", "add rules: and a list of ids or names")
	} else {
		c.setRules(file, rules, p)
	}
	if c.timespan == 0 && get(n, "timespan") == nil && get(n, "timeframe") == nil {
		missing("timespan", "add timespan: such as 5m")
	}
	switch {
	case typ == nil || c.typ == 0 && !c.extension():
		return nil // what the condition needs depends on the type
	case c.typ.Steps():
		c.setStepsCondition(file, cond, p)
	case cond == nil && c.baseline != nil:
		missing("condition", "add condition: with factor: or score:")
	case cond == nil:
		missing("condition", "add condition: with gte: and a number")
	case c.baseline != nil:
		c.setBaseline(file, cond, p)
	case c.walk != nil:
		c.setWalk(file, cond, p)
	default:
		c.setCondition(file, cond, p)
	}
	return c
}

// extension reports whether the type is one of ours.
func (c *correlationSpec) extension() bool { return c.baseline != nil || c.walk != nil }

// typeName returns the type as the document writes it.
func (c *correlationSpec) typeName() string {
	switch {
	case c.baseline != nil:
		return typeBaseline
	case c.walk != nil:
		return typeWalk
	default:
		return c.typ.String()
	}
}

// correlationTypes are Sigma's, and ours behind them.
func correlationTypes() []string {
	var out []string
	for t := observation.EventCount; t <= observation.ValuePercentile; t++ {
		out = append(out, t.String())
	}
	return append(out, typeBaseline, typeWalk)
}

func (c *correlationSpec) setType(file string, v *yaml.Node, p *problems) {
	switch v.Value {
	case typeBaseline:
		c.typ, c.baseline = observation.RateAnomaly, &baselineSpec{where: at(file, v)}
		return
	case typeWalk:
		c.walk = &walkSpec{where: at(file, v)}
		return
	}
	for t := observation.EventCount; t <= observation.ValuePercentile; t++ {
		if t.String() == v.Value {
			c.typ = t
			return
		}
	}
	known := correlationTypes()
	hint := didYouMean(v.Value, known, "write one of: "+strings.Join(known, ", "))
	if v.Value == "value_median" {
		hint = "write value_percentile, which is the median where condition has no percentile: or 50"
	}
	p.refuse(at(file, v), v.Value, hint, "unknown correlation type %q", v.Value)
}

// setRules reads what the correlation is made of.
func (c *correlationSpec) setRules(file string, n *yaml.Node, p *problems) {
	if words, ok := texts(n); ok && c.typ == observation.TemporalOrdered {
		for i, w := range words {
			if slices.ContainsFunc(words[:i], func(o *yaml.Node) bool { return o.Value == w.Value }) {
				p.refuse(at(file, w), w.Value, "name each rule once; a copy of it under another name can stand for the second time",
					"%q stands twice in the order of a %s", w.Value, c.typ)
			}
		}
		if p.refused {
			return
		}
	}
	c.rules = refs(file, n, "rules", "write a list of ids or names", p)
	if !c.typ.Steps() {
		return
	}
	switch {
	case len(c.rules) > observation.MaxSteps:
		p.refuse(c.rules[observation.MaxSteps].where, c.rules[observation.MaxSteps].name, "name fewer rules",
			"a %s waits for at most %d rules, this one names %d", c.typ, observation.MaxSteps, len(c.rules))
	case len(c.rules) == 1:
		p.warn(c.rules[0].where, c.rules[0].name, "name a second rule, or write event_count with gte: 1",
			"a %s of one rule fires whenever that rule does", c.typ)
	}
}

// setStepsCondition accepts no condition, or one that says what a temporal
// type means anyway.
func (c *correlationSpec) setStepsCondition(file string, n *yaml.Node, p *problems) {
	switch {
	case n == nil || isNull(n):
		return
	case n.Kind != yaml.MappingNode:
		p.refuse(at(file, n), n.Value, "remove it; what must not occur can be excepted in the condition of a detection, or by a filter",
			"a %s waits for all of its rules and takes no expression", c.typ)
		return
	}
	for _, kv := range pairs(n) {
		key, v := kv.key.Value, kv.value.Value
		if key == "field" {
			p.refuse(at(file, kv.key), key, "remove it, or use value_count", "%s waits for rules and takes no field", c.typ)
			continue
		}
		if _, ok := ops()[key]; !ok {
			p.refuse(at(file, kv.key), key, "remove the condition", "a %s needs no condition, and knows no %q in one", c.typ, key)
			continue
		}
		want := len(c.rules)
		if key == "gt" {
			want--
		}
		if got, err := strconv.Atoi(v); kv.value.Kind != yaml.ScalarNode || err != nil || key != "gte" && key != "eq" && key != "gt" || got != want {
			p.refuse(at(file, kv.value), v, fmt.Sprintf("remove the condition, or write gte: %d; for fewer of them write a rule for each combination", len(c.rules)),
				"a %s waits for all of its %d rules, %s: %s asks for something else", c.typ, len(c.rules), key, v)
		}
	}
}

func (c *correlationSpec) setGenerate(file string, v *yaml.Node, p *problems) {
	switch strings.ToLower(v.Value) {
	case "true":
		c.generate = true
	case "false":
	default:
		p.refuse(at(file, v), v.Value, "write true or false", "generate must be true or false")
	}
}

// refs reads a list of names, each once.
func refs(file string, n *yaml.Node, key, hint string, p *problems) []ref {
	words, ok := texts(n)
	if !ok || len(words) == 0 {
		p.refuse(at(file, n), n.Value, hint, "%s must be a list of words", key)
		return nil
	}
	var out []ref
	for _, w := range words {
		if slices.ContainsFunc(out, func(r ref) bool { return r.name == w.Value }) {
			p.warn(at(file, w), w.Value, "remove one of them", "%q stands twice in %s", w.Value, key)
			continue
		}
		out = append(out, ref{w.Value, at(file, w)})
	}
	return out
}

func (c *correlationSpec) setAliases(file string, n *yaml.Node, p *problems) {
	const hint = "write aliases: {name: {rule: field}}"
	if n.Kind != yaml.MappingNode {
		p.refuse(at(file, n), n.Value, hint, "aliases must be a map")
		return
	}
	for _, kv := range pairs(n) {
		if kv.value.Kind != yaml.MappingNode || len(kv.value.Content) == 0 {
			p.refuse(at(file, kv.value), kv.key.Value, hint, "the alias %q must map rules to fields", kv.key.Value)
			continue
		}
		a := alias{where: at(file, kv.key)}
		for _, rf := range pairs(kv.value) {
			if rf.value.Kind != yaml.ScalarNode {
				p.refuse(at(file, rf.value), rf.key.Value, hint, "a field must be a word")
				continue
			}
			a.fields = append(a.fields, aliasField{
				ref{rf.key.Value, at(file, rf.key)}, ref{rf.value.Value, at(file, rf.value)},
			})
		}
		c.aliases[kv.key.Value] = a
	}
}

// ops are Sigma's comparison words.
func ops() map[string]observation.Op {
	return map[string]observation.Op{
		"gt": observation.Gt, "gte": observation.Gte, "lt": observation.Lt, "lte": observation.Lte,
		"eq": observation.Eq, "neq": observation.Neq,
	}
}

// setCondition reads the condition of the types that compare a number.
func (c *correlationSpec) setCondition(file string, n *yaml.Node, p *problems) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		p.refuse(at(file, n), n.Value, "write gte: and a number under it", "the condition of %s must be a map", c.typ)
		return
	}
	for _, kv := range pairs(n) {
		switch key := kv.key.Value; key {
		case "field":
			if c.typ == observation.EventCount {
				p.refuse(at(file, kv.key), key, "use value_count to count different values", "%s counts events and takes no field", c.typ)
				continue
			}
			c.setFields(file, kv.value, p)
		case "percentile":
			c.setPercentile(file, kv, p)
		default:
			if b, ok := c.bound(file, kv, p); ok {
				c.bounds = append(c.bounds, b)
			}
		}
	}
	if c.typ != observation.EventCount && get(n, "field") == nil {
		what := "whose values it counts"
		if c.typ != observation.ValueCount {
			what = "that it measures"
		}
		p.refuse(at(file, n), "", "add field: under condition", "%s needs the field %s", c.typ, what)
	}
	if p.refused {
		return
	}
	if len(c.bounds) == 0 {
		p.refuse(at(file, n), "", "add gte: and a number", "the condition compares with nothing")
		return
	}
	if why, hint := checkBounds(c, c.bounds); why != "" {
		p.refuse(at(file, n), "", hint, "%s", why)
	}
}

func (c *correlationSpec) setFields(file string, n *yaml.Node, p *problems) {
	c.fields = refs(file, n, "field", "write a field or a list of fields", p)
	if len(c.fields) > 1 && (c.typ == observation.ValueSum || c.typ == observation.ValueAvg) {
		p.refuse(c.fields[1].where, c.fields[1].name, "write a rule for each field", "%s measures one field, not several", c.typ)
	}
}

// defaultPercentile is the median.
const defaultPercentile = 50

func (c *correlationSpec) setPercentile(file string, kv pair, p *problems) {
	v := kv.value
	if c.typ != observation.ValuePercentile {
		p.refuse(at(file, kv.key), "percentile", "remove it, or use value_percentile", "%s has no percentile", c.typ)
		return
	}
	f, err := strconv.ParseFloat(v.Value, 64)
	if v.Kind != yaml.ScalarNode || err != nil || !(f > 0 && f <= 100) {
		p.refuse(at(file, v), v.Value, "write a number above 0 and up to 100, such as 95", "%q is no percentile", v.Value)
		return
	}
	c.percentile, c.percentileWhere = f, at(file, kv.key)
}

// bound reads one comparison.
func (c *correlationSpec) bound(file string, kv pair, p *problems) (b observation.Bound, ok bool) {
	key, v := kv.key.Value, kv.value
	op, ok := ops()[key]
	if !ok {
		known := conditionKeys()
		p.refuse(at(file, kv.key), key, didYouMean(key, known, "write one of: "+strings.Join(known, ", ")), "unknown comparison %q", key)
		return b, false
	}
	whole := c.typ.Counts() || c.walk != nil
	f, err := strconv.ParseFloat(v.Value, 64)
	switch {
	case v.Kind != yaml.ScalarNode || err != nil || whole && (f < 0 || f != math.Trunc(f) || strings.ContainsAny(v.Value, ".eExXpP_")):
		if whole {
			p.refuse(at(file, v), v.Value, "write a whole number of 0 or more", "%s needs a whole number", key)
		} else {
			p.refuse(at(file, v), v.Value, "write a number such as 1500 or 2.5", "%s needs a number", key)
		}
		return b, false
	}
	typ := c.typ
	if c.walk != nil {
		typ = observation.ValueCount
	}
	if why, hint := checkNumber(typ, f); why != "" {
		p.refuse(at(file, v), v.Value, hint, "%s", why)
		return b, false
	}
	return observation.Bound{Op: op, Value: f}, true
}

// overFindings reports whether an input is a correlation.
func (c *correlationSpec) overFindings() bool {
	return slices.ContainsFunc(c.inputs, func(in *Rule) bool { return in.Kind == Correlation })
}
