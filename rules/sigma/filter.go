package sigma

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// filterSpec is the parsed "filter" part of a document: the rules whose
// conditions it is joined to.
type filterSpec struct {
	any   bool // all rules of the log source
	rules []ref
}

// filter reads a filter. Its condition is joined with "and" to the condition
// of each rule that it names, so an exclusion reads "condition: not selection".
func (r *Rule) filter(file string, n *yaml.Node, tax taxonomy, p *problems) {
	if n.Kind != yaml.MappingNode {
		p.refuse(at(file, n), n.Value, "write rules, a selection and a condition", "a filter must be a map, this is %s", kindName(n))
		return
	}
	rules := get(n, "rules")
	if rules == nil {
		p.refuse(at(file, n), "", "add rules: with a list of ids or names, or any", "the filter names no rules")
		return
	}
	r.only = &filterSpec{}
	if rules.Kind == yaml.ScalarNode && strings.EqualFold(rules.Value, "any") {
		r.only.any = true
	} else {
		r.only.rules = refs(file, rules, "rules", "write a list of ids or names, or any", p)
	}
	r.cond = parseDetection(file, n, tax, "rules", p)
}
