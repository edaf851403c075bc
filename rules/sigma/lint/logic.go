package lint

import (
	"slices"

	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// contradiction is why a condition can never hold: a part that no event
// satisfies, or two parts that exclude each other.
type contradiction struct {
	part, other sigma.Condition
	two         bool
}

// never looks for a reason why c can hold of no event.
func never(c sigma.Condition) (contradiction, bool) {
	switch c.Op() {
	case sigma.Leaf:
		it, negated := c.Item()
		if negated {
			return contradiction{}, false
		}
		for _, m := range it.Comparisons() {
			if !impossible(it, m) {
				return contradiction{}, false
			}
		}
		return contradiction{part: c}, true
	case sigma.And:
		parts := conjuncts(c)
		for _, k := range parts {
			if why, ok := never(k); ok {
				return why, true
			}
		}
		for i, a := range parts {
			for _, b := range parts[i+1:] {
				if a.Implies(b.Not()) {
					return contradiction{a, b, true}, true
				}
			}
		}
		return contradiction{}, false
	case sigma.Or:
		var first contradiction
		for i, k := range c.Kids() {
			why, ok := never(k)
			if !ok {
				return contradiction{}, false
			}
			if i == 0 {
				first = why
			}
		}
		return first, true
	default:
		kids := c.Kids()
		left := len(kids)
		var last contradiction
		for _, k := range kids {
			if why, ok := never(k); ok {
				last, left = why, left-1
			}
		}
		return last, left < c.N()
	}
}

// conjuncts returns the parts that all have to hold, with those of conjuncts
// inside.
func conjuncts(c sigma.Condition) []sigma.Condition {
	if c.Op() != sigma.And {
		return []sigma.Condition{c}
	}
	var out []sigma.Condition
	for _, k := range c.Kids() {
		out = append(out, conjuncts(k)...)
	}
	return out
}

// name says what a part of a condition is, for messages.
func name(c sigma.Condition) string {
	if s := c.Selection(); s != "" {
		return "the selection " + s
	}
	if c.Op() == sigma.Leaf {
		it, negated := c.Item()
		not := ""
		if negated {
			not = "not "
		}
		var values []string
		for _, m := range it.Comparisons() {
			values = append(values, m.Written())
		}
		field := it.Field()
		if field == "" {
			field = "keywords"
		}
		return not + field + " " + quoted(values, 2)
	}
	return "a part of the condition"
}

// condition checks what a detection or filter says as a whole.
func (l *linter) condition(d *document, c sigma.Condition) {
	if !l.contradictions(d, c, true) && d.rule.Kind == sigma.Detection && l.alerting[d.rule] && holdsOfNothing(c) {
		n := d.tree.at("detection", "condition")
		l.add(d, "fires-on-anything", Warning, n.Line, n.Column, n.Value, "add a selection that says what the request looks like, or count the rule in a correlation",
			"the condition holds of requests of which it asks nothing but which fields are there")
	}
	l.expressions(d, c)
}

// contradictions reports the outermost parts that can never hold. It returns
// whether the whole cannot.
func (l *linter) contradictions(d *document, c sigma.Condition, root bool) bool {
	why, ok := never(c)
	if !ok {
		for _, k := range c.Kids() {
			l.contradictions(d, k, false)
		}
		return false
	}
	severity, what := Warning, "this part of the condition"
	if root {
		severity, what = Error, "the condition"
	}
	line, column := why.part.Place()
	hint := "change one of them"
	switch {
	case why.two:
		if l2, c2 := why.other.Place(); l2 > line || l2 == line && c2 > column {
			line, column = l2, c2
		}
		l.add(d, "never-true", severity, line, column, "", hint, "%s can never hold: %s and %s exclude each other", what, name(why.part), name(why.other))
	default:
		if root {
			l.add(d, "never-true", severity, line, column, "", "correct the values", "%s can never hold, as no event has %s", what, name(why.part))
		}
	}
	return true
}

// holdsOfNothing reports whether the condition holds when no value matches and
// every field is there.
func holdsOfNothing(c sigma.Condition) bool {
	switch c.Op() {
	case sigma.Leaf:
		it, negated := c.Item()
		holds := slices.ContainsFunc(it.Comparisons(), func(m sigma.Comparison) bool {
			asks, present := m.Presence()
			return asks && present
		})
		return holds != negated
	case sigma.And:
		return !slices.ContainsFunc(c.Kids(), func(k sigma.Condition) bool { return !holdsOfNothing(k) })
	case sigma.Or:
		return slices.ContainsFunc(c.Kids(), holdsOfNothing)
	default:
		n := 0
		for _, k := range c.Kids() {
			if holdsOfNothing(k) {
				n++
			}
		}
		return n >= c.N()
	}
}

// expressions reports regular expressions that are run on every request,
// because neither they nor what stands beside them announces them.
func (l *linter) expressions(d *document, c sigma.Condition) {
	var walk func(c sigma.Condition, guarded bool)
	walk = func(c sigma.Condition, guarded bool) {
		switch c.Op() {
		case sigma.Leaf:
			it, _ := c.Item()
			if !guarded {
				l.unannounced(d, it)
			}
		case sigma.And:
			kids := c.Kids()
			for i, k := range kids {
				beside := guarded
				for j, o := range kids {
					beside = beside || i != j && announced(o)
				}
				walk(k, beside)
			}
		default:
			for _, k := range c.Kids() {
				walk(k, guarded)
			}
		}
	}
	walk(c, false)
}

func (l *linter) unannounced(d *document, it sigma.Item) {
	line, column := it.Place()
	item := d.tree.items[place{line, column}]
	for _, m := range it.Comparisons() {
		if m.Announced() || m.Regexp() == nil || it.Kind() != event.KindText || matchesAnything(m) {
			continue
		}
		if item != nil {
			for _, v := range item.values {
				if v.Value == m.Written() {
					line, column = v.Line, v.Column
				}
			}
		}
		l.add(d, "regex-without-literal", Warning, line, column, m.Written(),
			"put a text that every match holds into the expression, or beside it as a |contains of four or more characters",
			"the expression is run on every request that has %s: no text announces it", it.Source())
	}
}

// announced reports whether the condition can only hold where a telling text
// was seen, so that what stands beside it is seldom looked at.
func announced(c sigma.Condition) bool {
	switch c.Op() {
	case sigma.Leaf:
		it, negated := c.Item()
		if negated || it.Kind() != event.KindText {
			return false
		}
		return !slices.ContainsFunc(it.Comparisons(), func(m sigma.Comparison) bool {
			if !m.IsText() || !m.Announced() {
				return true
			}
			if m.Regexp() != nil {
				return false
			}
			_, _, pieces := m.Pieces()
			const telling = 3
			return !slices.ContainsFunc(pieces, func(p string) bool { return len(p) >= telling })
		})
	case sigma.And:
		return slices.ContainsFunc(c.Kids(), announced)
	case sigma.Or:
		return !slices.ContainsFunc(c.Kids(), func(k sigma.Condition) bool { return !announced(k) })
	default:
		n := 0
		for _, k := range c.Kids() {
			if !announced(k) {
				n++
			}
		}
		return n < c.N()
	}
}
