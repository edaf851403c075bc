package lint

import (
	"strings"
)

// filter checks that an exception reaches rules, and changes them.
func (l *linter) filter(d *document) {
	reached := l.set.Reached(d.rule)
	n := d.tree.at("filter", "rules")
	if n == nil {
		n = d.tree.root
	}
	if len(reached) == 0 {
		if l.namesNothing(d) {
			return // told already, name by name
		}
		hint := "write the same logsource: as the rules have, or none"
		if category, product, service := d.rule.Logsource(); category+product+service == "" {
			hint = "name rules that are loaded"
		}
		l.add(d, "filter-without-rules", Warning, n.Line, n.Column, "", hint, "the filter reaches no rule: none that it names is of its log source")
		return
	}
	c, ok := l.conditionOf(d.rule)
	if !ok {
		return
	}
	at := d.tree.at("filter", "condition")
	without, silenced := 0, []string{}
	for _, r := range reached {
		rule, ok := l.conditionOf(r)
		switch {
		case !ok:
		case rule.Implies(c):
			without++
		case rule.Implies(c.Not()):
			silenced = append(silenced, r.Title)
		}
	}
	switch {
	case without == len(reached):
		l.add(d, "filter-without-effect", Warning, at.Line, at.Column, at.Value, "a filter says what has to hold; an exception is written as condition: not selection",
			"the filter excludes nothing: what it asks for holds whenever its rules do")
	case len(silenced) > 0:
		l.add(d, "filter-without-effect", Warning, at.Line, at.Column, at.Value, "narrow the filter, or disable the rule in the configuration; an exception is written as condition: not selection",
			"the filter excludes everything that %s finds", strings.TrimSpace(quoted(silenced, 2)))
	}
}

// namesNothing reports whether each name of the filter leads nowhere.
func (l *linter) namesNothing(d *document) bool {
	names := list(d.tree.at("filter", "rules"))
	for _, n := range names {
		found := false
		for _, r := range l.set.Rules() {
			found = found || r.ID == n.Value || r.Name == n.Value
		}
		if found || strings.EqualFold(n.Value, "any") {
			return false
		}
	}
	return len(names) > 0
}
