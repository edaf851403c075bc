package lint

import (
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules/sigma"
)

const (
	longWindow    = 24 * time.Hour
	longestWindow = 7 * 24 * time.Hour
)

// correlation checks what is counted, by whom and for how long.
func (l *linter) correlation(d *document) {
	c := l.counted(d.rule)
	l.window(d, c)
	l.groups(d, c)
	l.fed(d, c)
	for _, name := range c.Aliases {
		used := func(n sigma.Name) bool { return n.Written == name }
		if !slices.ContainsFunc(c.GroupBy, used) && !slices.ContainsFunc(c.Fields, used) {
			n := d.tree.key("correlation", "aliases", name)
			l.add(d, "unused-alias", Warning, n.Line, n.Column, name, "use it in group-by or field, or remove it", "nothing uses the alias %s", quote(name))
		}
	}
}

// node returns the value under the first of the paths that there is, or the
// correlation itself.
func (d *document) node(paths ...string) *yaml.Node {
	for _, p := range paths {
		if n := d.tree.at("correlation", p); n != nil {
			return n
		}
	}
	return d.tree.at("correlation")
}

func (l *linter) window(d *document, c sigma.Counted) {
	n := d.node("timespan", "timeframe")
	span := c.Timespan
	switch {
	case span > longestWindow:
		l.add(d, "window-too-large", Warning, n.Line, n.Column, n.Value, "shorten the timespan; what takes weeks is better asked of stored incidents",
			"every group is kept for %s after its last event, and the memory for windows is bounded", longSpan(span))
	case span > longWindow:
		l.add(d, "window-too-large", Info, n.Line, n.Column, n.Value, "shorten the timespan, or raise state.budget",
			"every group is kept for %s after its last event, and the memory for windows is bounded", longSpan(span))
	}
	if c.Type.Measures() || c.Type.Steps() {
		// What is plausible of one group, and of all requests together.
		rate := 1.0
		if len(c.GroupBy) == 0 {
			rate = 20
		}
		if full := observation.MaxKept / span.Seconds(); full < rate {
			l.add(d, "window-too-large", Info, n.Line, n.Column, n.Value, "shorten the timespan, or name a rule that matches less",
				"a window keeps the newest %d events: from %s a second on it holds less than %s", observation.MaxKept, strconv.FormatFloat(full, 'g', 2, 64), longSpan(span))
		}
	}
}

func longSpan(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}

func (l *linter) groups(d *document, c sigma.Counted) {
	if len(c.GroupBy) == 0 && c.Type == observation.EventCount {
		n := d.tree.key("correlation")
		l.add(d, "no-group-by", Info, n.Line, n.Column, "", "add group-by: [client.address] if one client is meant", "all requests share one window: the correlation has no group-by")
	}
	if c.Type != observation.ValueCount || len(c.Fields) == 0 || !needsTwo(c) {
		return
	}
	if fixed := fixedBy(c); fixed {
		l.add(d, "never-fires", Error, c.Fields[0].Line, c.Fields[0].Column, c.Fields[0].Written, "count another field, or take it out of group-by",
			"a group has only one value of what is counted: %s is in group-by", c.Fields[0].Written)
		return
	}
	if len(c.Fields) > 1 || c.Fields[0].Source == "" {
		return
	}
	values := l.valuesOf(c, c.Fields[0])
	if values == nil {
		return
	}
	for n := range observation.MaxKept {
		if n > len(values) {
			break
		}
		if holdsAt(c, n) {
			return
		}
	}
	n := d.node("condition")
	l.add(d, "never-fires", Error, n.Line, n.Column, c.Fields[0].Written, "lower the number, or count another field",
		"%s has at most %d different values here: %s", c.Fields[0].Written, len(values), quoted(values, 4))
}

func holdsAt(c sigma.Counted, n int) bool {
	return !slices.ContainsFunc(c.Bounds, func(b observation.Bound) bool { return !b.Holds(float64(n)) })
}

// needsTwo reports whether it takes two values or more to make the condition
// true.
func needsTwo(c sigma.Counted) bool { return !holdsAt(c, 0) && !holdsAt(c, 1) }

// fixedBy reports whether the group has one value of each counted field.
func fixedBy(c sigma.Counted) bool {
	for _, f := range c.Fields {
		fixed := slices.ContainsFunc(c.GroupBy, func(g sigma.Name) bool {
			if f.Source == "" {
				return g.Written == f.Written
			}
			// A group of an IPv6 client is its /64, which holds many addresses.
			if f.Kind == event.KindAddress {
				return false
			}
			client := f.Source == event.FieldClientPrefix.String() && g.Source == event.FieldClient.String()
			return g.Source == f.Source || client
		})
		if !fixed {
			return false
		}
	}
	return true
}

// valuesOf returns all values that a field can have in the events that the
// inputs match, or nil where they cannot be told.
func (l *linter) valuesOf(c sigma.Counted, field sigma.Name) []string {
	var all []string
	for _, in := range c.Inputs {
		cond, ok := l.conditionOf(in)
		if !ok {
			return nil
		}
		values := allowed(cond, field.Source)
		if values == nil {
			return nil
		}
		all = append(all, values...)
	}
	return sorted(all)
}

// allowed returns the values of a field of which a matching event has one, or
// nil where it can be any.
func allowed(c sigma.Condition, source string) []string {
	every := closedValues(source)
	switch c.Op() {
	case sigma.And:
		best := every
		for _, k := range c.Kids() {
			if v := allowed(k, source); v != nil && (best == nil || len(v) < len(best)) {
				best = v
			}
		}
		return best
	case sigma.Or:
		var out []string
		for _, k := range c.Kids() {
			v := allowed(k, source)
			if v == nil {
				return every
			}
			out = append(out, v...)
		}
		return sorted(out)
	case sigma.Leaf:
		it, negated := c.Item()
		if negated || it.Source() != source {
			return every
		}
		var out []string
		for _, m := range it.Comparisons() {
			values := one(it, m)
			if values == nil {
				return every
			}
			out = append(out, values...)
		}
		return sorted(out)
	default:
		return every
	}
}

// one returns the values that a comparison allows, or nil.
func one(it sigma.Item, m sigma.Comparison) []string {
	if asks, present := m.Presence(); asks {
		if present {
			return nil
		}
		return []string{} // without the field nothing is counted
	}
	if it.Kind() == event.KindNumber {
		if n, err := strconv.ParseInt(m.Written(), 10, 64); err == nil && m.MatchesNumber(n) && !m.MatchesNumber(n+1) && !m.MatchesNumber(n-1) {
			return []string{m.Written()}
		}
		return nil
	}
	if known := closedValues(it.Source()); known != nil && m.IsText() {
		out := []string{}
		for _, k := range known {
			if m.MatchesText(k) {
				out = append(out, k)
			}
		}
		return out
	}
	return nil
}

// fed reports correlations that no event can reach: an input that never
// holds, or one whose events lack a field to group by or to count.
func (l *linter) fed(d *document, c sigma.Counted) {
	needs := slices.Concat(c.GroupBy, c.Fields)
	var why string
	for _, in := range c.Inputs {
		if l.off(in) {
			why = "the rule " + quote(in.Title) + " is disabled"
			continue
		}
		cond, ok := l.conditionOf(in)
		if !ok {
			return
		}
		if _, no := never(cond); no {
			why = "the rule " + quote(in.Title) + " never holds"
			continue
		}
		missing := slices.IndexFunc(needs, func(n sigma.Name) bool { return n.Source != "" && lacks(cond, n.Source) })
		if missing < 0 {
			return
		}
		why = "the events of " + quote(in.Title) + " have no " + needs[missing].Written
	}
	if why == "" || l.off(d.rule) {
		return
	}
	n := d.node("rules")
	l.add(d, "never-fires", Error, n.Line, n.Column, "", "correct that rule, or name another one", "no event can reach the correlation: %s", why)
}

// lacks reports whether an event that the condition holds of cannot have the
// field.
func lacks(c sigma.Condition, source string) bool {
	absent := func(c sigma.Condition) bool {
		it, negated := c.Item()
		if it.Source() != source {
			return false
		}
		return !slices.ContainsFunc(it.Comparisons(), func(m sigma.Comparison) bool {
			asks, present := m.Presence()
			return !asks || present != negated
		})
	}
	switch c.Op() {
	case sigma.Leaf:
		return absent(c)
	case sigma.And:
		return slices.ContainsFunc(c.Kids(), func(k sigma.Condition) bool { return lacks(k, source) })
	case sigma.Or:
		return !slices.ContainsFunc(c.Kids(), func(k sigma.Condition) bool { return !lacks(k, source) })
	default:
		return false
	}
}
