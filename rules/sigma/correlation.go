package sigma

import (
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
	groupBy  []ref
	fields   []ref // of value_count
	aliases  map[string]alias
	timespan time.Duration
	bounds   []observation.Bound
	generate bool
	where    place

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
	known := []string{"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"}
	var cond, typ *yaml.Node
	for _, kv := range pairs(n) {
		v := kv.value
		switch kv.key.Value {
		case "type":
			typ = v
			c.setType(file, v, p)
		case "rules":
			c.rules = refs(file, v, "rules", "write a list of ids or names", p)
		case "group-by":
			if !isNull(v) {
				c.groupBy = refs(file, v, "group-by", "write a list of fields", p)
			}
		case "timespan", "timeframe":
			d, ok := parseSpan(v)
			if !ok {
				p.refuse(at(file, v), v.Value, "write a number and s, m, h or d, such as 90m", "the timespan is no length of time")
			}
			c.timespan = d
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
		missing("type", "add type: event_count or value_count")
	}
	if get(n, "rules") == nil {
		missing("rules", "add rules: and a list of ids or names")
	}
	if c.timespan == 0 && get(n, "timespan") == nil && get(n, "timeframe") == nil {
		missing("timespan", "add timespan: such as 5m")
	}
	if c.typ == 0 {
		return nil // what the condition needs depends on the type
	}
	if cond == nil {
		missing("condition", "add condition: with gte: and a number")
		return nil
	}
	c.setCondition(file, cond, p)
	return c
}

func (c *correlationSpec) setType(file string, v *yaml.Node, p *problems) {
	switch v.Value {
	case "event_count":
		c.typ = observation.EventCount
	case "value_count":
		c.typ = observation.ValueCount
	case "temporal", "temporal_ordered", "value_sum", "value_avg", "value_percentile", "rate_anomaly", "id_walk":
		p.refuse(at(file, v), v.Value, "use event_count or value_count, or leave the rule out for now", "the correlation type %s is not yet supported", v.Value)
	default:
		known := []string{"event_count", "value_count", "temporal", "temporal_ordered", "value_sum", "value_avg", "value_percentile"}
		p.refuse(at(file, v), v.Value, didYouMean(v.Value, known, "write event_count or value_count"), "unknown correlation type %q", v.Value)
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

func (c *correlationSpec) setCondition(file string, n *yaml.Node, p *problems) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		p.refuse(at(file, n), n.Value, "write gte: and a number under it", "the condition of %s must be a map", c.typ)
		return
	}
	for _, kv := range pairs(n) {
		key := kv.key.Value
		if key == "field" {
			if c.typ != observation.ValueCount {
				p.refuse(at(file, kv.key), key, "use value_count to count different values", "%s counts events and takes no field", c.typ)
				continue
			}
			c.fields = refs(file, kv.value, "field", "write a field or a list of fields", p)
			continue
		}
		op, ok := ops()[key]
		if !ok {
			known := []string{"gt", "gte", "lt", "lte", "eq", "neq", "field"}
			p.refuse(at(file, kv.key), key, didYouMean(key, known, "write one of: "+strings.Join(known, ", ")), "unknown comparison %q", key)
			continue
		}
		v, err := strconv.ParseInt(kv.value.Value, 10, 64)
		if kv.value.Kind != yaml.ScalarNode || err != nil || v < 0 {
			p.refuse(at(file, kv.value), kv.value.Value, "write a whole number of 0 or more", "%s needs a whole number", key)
			continue
		}
		if v >= observation.MaxKept {
			p.refuse(at(file, kv.value), kv.value.Value, "shorten the timespan and lower the number", "a window keeps at most %d entries, it cannot be judged against %d", observation.MaxKept, v)
			continue
		}
		c.bounds = append(c.bounds, observation.Bound{Op: op, Value: float64(v)})
	}
	if c.typ == observation.ValueCount && get(n, "field") == nil {
		p.refuse(at(file, n), "", "add field: under condition", "value_count needs the field whose values it counts")
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

// overFindings reports whether the inputs are correlations.
func (c *correlationSpec) overFindings() bool {
	return len(c.inputs) > 0 && c.inputs[0].Kind == Correlation
}
