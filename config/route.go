package config

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/event"

	"go.yaml.in/yaml/v4"
)

// Routing returns who is told of which incident and when: the tree of the
// file, or without one every receiver of everything at its level. targets are
// the receivers of the file.
func (c *Config) Routing(targets []alerting.Target) (*alerting.Routing, error) {
	root := c.Route
	if root == nil {
		all := alerting.DefaultRoute(targets, c.Incidents.GroupInterval, c.Incidents.RepeatInterval)
		root = &all
	}
	return alerting.NewRouting(*root, c.InhibitRules, targets)
}

// Unrouted returns the names of receivers that no route leads to.
func (c *Config) Unrouted() []string {
	if c.Route == nil {
		return nil
	}
	var out []string
	for _, r := range c.Receivers {
		if !leadsTo(c.Route, r.Name) {
			out = append(out, r.Name)
		}
	}
	return out
}

func leadsTo(r *alerting.Route, name string) bool {
	return slices.Contains(r.Receivers, name) || slices.ContainsFunc(r.Routes, func(r alerting.Route) bool { return leadsTo(&r, name) })
}

// maxRouteDepth bounds the depth of the routing tree.
const maxRouteDepth = 32

// routing is what route, time_intervals and inhibit_rules are read with.
type routing struct {
	d         *decoder
	receivers []string // all names of the file, of broken entries too
	intervals map[string][]alerting.TimeInterval
}

// routing reads the three sections. receivers is the value of that key.
func (d *decoder) routing(c *Config, top *mapping, receivers *yaml.Node) {
	r := &routing{d: d, receivers: receiverNames(receivers), intervals: map[string][]alerting.TimeInterval{}}
	r.timeIntervals(top)
	if n := top.take("route"); n != nil {
		root := alerting.Route{GroupInterval: c.Incidents.GroupInterval, RepeatInterval: c.Incidents.RepeatInterval}
		if route, ok := r.route(n, "route", root, 0); ok {
			c.Route = &route
		}
	}
	top.list("inhibit_rules", func(item *yaml.Node, name string) {
		if rule, ok := r.inhibit(item, name); ok {
			c.InhibitRules = append(c.InhibitRules, rule)
		}
	})
}

// receiverNames are the names of receivers as far as they can be read.
func receiverNames(n *yaml.Node) []string {
	var names []string
	n = resolve(n)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	for _, item := range n.Content {
		item = resolve(item)
		for i := 0; item.Kind == yaml.MappingNode && i+1 < len(item.Content); i += 2 {
			if item.Content[i].Value == "name" {
				names = append(names, resolve(item.Content[i+1]).Value)
			}
		}
	}
	return names
}

// route reads one node of the tree; parent is what it inherits from.
func (r *routing) route(n *yaml.Node, name string, parent alerting.Route, depth int) (alerting.Route, bool) {
	d := r.d
	before := len(d.problems)
	out := alerting.Route{
		Receivers: parent.Receivers, GroupBy: parent.GroupBy, GroupWait: parent.GroupWait,
		GroupInterval: parent.GroupInterval, RepeatInterval: parent.RepeatInterval,
	}
	m := d.mapping(n, name)
	r.routeReceivers(m, &out, depth == 0)
	matched := r.matchers(m, "match", "match_re", "matchers", &out.Matchers)
	if matched != nil && depth == 0 {
		d.fail(matched, "%s is the root and takes everything; put the matchers into an entry of %s.routes", name, name)
	}
	m.texts("group_by", &out.GroupBy, func(s string) error {
		if s == alerting.GroupAlone {
			return nil
		}
		return checkSingleLabel(s)
	})
	m.duration("group_wait", &out.GroupWait, 0, day)
	m.duration("group_interval", &out.GroupInterval, time.Second, 30*day)
	m.duration("repeat_interval", &out.RepeatInterval, time.Minute, forever)
	out.Mute = r.intervalsOf(m, "mute_time_intervals")
	out.Active = r.intervalsOf(m, "active_time_intervals")
	if kv, there := m.keys["continue"]; there && depth == 0 {
		d.fail(kv[0], "%s is the root; nothing follows it, so it cannot continue", name)
	}
	m.boolean("continue", &out.Continue)
	if depth >= maxRouteDepth {
		d.fail(n, "%s is nested more than %d deep", name, maxRouteDepth)
		m.take("routes")
	} else {
		m.list("routes", func(item *yaml.Node, name string) {
			if child, ok := r.route(item, name, out, depth+1); ok {
				out.Routes = append(out.Routes, child)
			}
		})
	}
	m.done()
	return out, len(d.problems) == before
}

// routeReceivers reads receiver or receivers. The root has to name some, or
// say with an empty list that it tells nobody.
func (r *routing) routeReceivers(m *mapping, out *alerting.Route, root bool) {
	_, many := m.keys["receivers"]
	var one string
	at := m.text("receiver", &one)
	check := func(n *yaml.Node, where, name string) bool {
		if slices.Contains(r.receivers, name) {
			return true
		}
		switch near := Nearest(name, r.receivers); {
		case near != "":
			r.d.fail(n, "%s is %s, but there is no such receiver; did you mean %s?", where, quote(name), near)
		case len(r.receivers) == 0:
			r.d.fail(n, "%s is %s, but there are no receivers; add one under receivers", where, quote(name))
		default:
			r.d.fail(n, "%s is %s, but there is no such receiver; there are %s", where, quote(name), strings.Join(r.receivers, ", "))
		}
		return false
	}
	switch {
	case at != nil && many:
		r.d.fail(at, "%s has both receiver and receivers; keep one", m.title())
		m.take("receivers")
	case at != nil:
		if check(at, m.path("receiver"), one) {
			out.Receivers = []string{one}
		}
	case many:
		out.Receivers = nil
		m.list("receivers", func(item *yaml.Node, name string) {
			s, ok := r.d.text(item, name)
			if !ok || !check(item, name, s) {
				return
			}
			if slices.Contains(out.Receivers, s) {
				r.d.fail(item, "%s is %s a second time", name, quote(s))
				return
			}
			out.Receivers = append(out.Receivers, s)
		})
	case root:
		r.d.fail(m.node, "%s names no receiver; add receiver: with the name of who is told of what no route takes, or receivers: [] for nobody", m.title())
	}
}

// matchers reads the three ways to write matchers and returns the node of one
// that is there.
func (r *routing) matchers(m *mapping, equal, regexp, list string, out *[]alerting.Matcher) (at *yaml.Node) {
	d := r.d
	add := func(n *yaml.Node, where string, made alerting.Matcher, err error) {
		at = n
		if err == nil {
			err = checkLabel(made.Name)
		}
		if err != nil {
			d.fail(n, "%s: %s", where, err)
			return
		}
		*out = append(*out, made)
	}
	pairs := func(key string, op alerting.MatchOp) {
		if key == "" {
			return
		}
		m.pairs(key, func(_, v *yaml.Node, name, value string) {
			op, value := op, value
			if name == alerting.LabelLevel && op == alerting.MatchEqual {
				op, value = levelOp(value)
			}
			made, err := alerting.NewMatcher(name, op, value)
			add(v, m.path(key)+"."+name, made, err)
		})
	}
	pairs(equal, alerting.MatchEqual)
	pairs(regexp, alerting.MatchRegexp)
	read := func(n *yaml.Node, where string) {
		s, ok := d.text(n, where)
		if !ok {
			return
		}
		made, err := alerting.ParseMatchers(s)
		if err != nil {
			d.fail(n, "%s: %s", where, err)
			return
		}
		for _, x := range made {
			add(n, where, x, nil)
		}
	}
	if kv, there := m.keys[list]; there && resolve(kv[1]).Kind == yaml.ScalarNode {
		read(m.take(list), m.path(list))
		return at
	}
	m.list(list, read)
	return at
}

// levelOp lets match: {level: ">=high"} be written.
func levelOp(value string) (alerting.MatchOp, string) {
	for _, op := range [...]alerting.MatchOp{alerting.MatchAtLeast, alerting.MatchAtMost, alerting.MatchAbove, alerting.MatchBelow} {
		if rest, ok := strings.CutPrefix(value, op.String()); ok {
			return op, strings.TrimSpace(rest)
		}
	}
	return alerting.MatchEqual, value
}

func (r *routing) inhibit(n *yaml.Node, name string) (alerting.InhibitRule, bool) {
	d := r.d
	before := len(d.problems)
	var out alerting.InhibitRule
	m := d.mapping(n, name)
	r.matchers(m, "source_match", "source_match_re", "source_matchers", &out.Source)
	r.matchers(m, "target_match", "target_match_re", "target_matchers", &out.Target)
	m.texts("equal", &out.Equal, checkSingleLabel)
	m.done()
	if len(d.problems) == before {
		switch {
		case len(out.Source) == 0:
			d.fail(n, "%s has no source_matchers; write those of the incidents that inhibit, such as [level=critical]", name)
		case len(out.Target) == 0:
			d.fail(n, "%s has no target_matchers; write those of the incidents that are not told, such as [level<=medium]", name)
		}
	}
	return out, len(d.problems) == before
}

// CheckLabel says what is wrong with the name of a label, for matchers that
// do not come from a file.
func CheckLabel(name string) error { return checkLabel(name) }

// checkLabel refuses names that look like a slip of the pen. Others may be
// what a rule groups by under a name of its own.
func checkLabel(name string) error {
	known := append(alerting.Labels(), event.FieldNames()...)
	if slices.Contains(known, name) {
		return nil
	}
	if near := Nearest(name, known); near != "" {
		return labelError{name, near}
	}
	return nil
}

type labelError struct{ name, near string }

func (e labelError) Error() string {
	return "there is no label " + quote(e.name) + "; did you mean " + e.near + "?"
}

// checkSingleLabel is checkLabel for labels that are to be compared: those of
// which an incident has several values say nothing.
func checkSingleLabel(name string) error {
	switch name {
	case alerting.LabelTag, alerting.LabelSource, alerting.LabelLog:
		return several(name)
	}
	return checkLabel(name)
}

type several string

func (s several) Error() string {
	return "an incident has several values of " + string(s) + "; write a label with one, such as family, rule or client.address"
}

// timeIntervals reads the definitions.
func (r *routing) timeIntervals(top *mapping) {
	d := r.d
	lines := map[string]int{}
	top.list("time_intervals", func(item *yaml.Node, name string) {
		before := len(d.problems)
		var id string
		m := d.mapping(item, name)
		at := m.text("name", &id)
		var list []alerting.TimeInterval
		there := m.list("time_intervals", func(item *yaml.Node, name string) {
			if t, ok := r.timeInterval(item, name); ok {
				list = append(list, t)
			}
		})
		m.done()
		switch {
		case at == nil && len(d.problems) == before:
			d.fail(item, "%s has no name; add name: nights", name)
		case at != nil && id == "":
			d.fail(at, "%s.name is empty", name)
		case at != nil && lines[id] != 0:
			d.fail(at, "%s.name is %s, as on line %d; every interval has its own name", name, quote(id), lines[id])
		case len(list) == 0 && len(d.problems) == before:
			if there {
				d.fail(item, "%s is empty; write what times it is made of", name)
			} else {
				d.fail(item, "%s has no time_intervals; write a list such as [{weekdays: [saturday, sunday]}]", name)
			}
		}
		if at != nil {
			lines[id] = at.Line
			r.intervals[id] = list
		}
	})
}

func (r *routing) timeInterval(n *yaml.Node, name string) (alerting.TimeInterval, bool) {
	d := r.d
	before := len(d.problems)
	var t alerting.TimeInterval
	m := d.mapping(n, name)
	parts := 0
	m.list("times", func(item *yaml.Node, name string) {
		parts++
		var from, to string
		m := d.mapping(item, name)
		a, b := m.text("start_time", &from), m.text("end_time", &to)
		m.done()
		if a == nil || b == nil {
			d.fail(item, "%s needs start_time and end_time, such as {start_time: \"09:00\", end_time: \"17:00\"}", name)
			return
		}
		span, err := alerting.ParseClockSpan(from, to)
		if err != nil {
			d.fail(a, "%s: %s", name, err)
			return
		}
		t.Times = append(t.Times, span)
	})
	spans := func(key string, dst *[]alerting.IntSpan, parse func(string) (alerting.IntSpan, error)) {
		m.list(key, func(item *yaml.Node, name string) {
			parts++
			s, ok := d.text(item, name)
			if !ok {
				return
			}
			span, err := parse(s)
			if err != nil {
				d.fail(item, "%s: %s", name, err)
				return
			}
			*dst = append(*dst, span)
		})
	}
	spans("weekdays", &t.Weekdays, alerting.ParseWeekdays)
	spans("days_of_month", &t.DaysOfMonth, alerting.ParseDaysOfMonth)
	spans("months", &t.Months, alerting.ParseMonths)
	spans("years", &t.Years, alerting.ParseYears)
	var place string
	if at := m.text("location", &place); at != nil {
		// "Local" would be another place on another machine.
		location, err := time.LoadLocation(place)
		if err != nil || place == "Local" || place == "" {
			d.fail(at, "%s.location is %s; write a place of the tz database such as Europe/Berlin, or UTC", name, quote(place))
		}
		t.Location = location
	}
	m.done()
	if parts == 0 && len(d.problems) == before {
		d.fail(n, "%s is all of time; write times, weekdays, days_of_month, months or years", name)
	}
	return t, len(d.problems) == before
}

// intervalsOf reads a list of names of intervals.
func (r *routing) intervalsOf(m *mapping, key string) []alerting.TimeInterval {
	var out []alerting.TimeInterval
	m.list(key, func(item *yaml.Node, name string) {
		s, ok := r.d.text(item, name)
		if !ok {
			return
		}
		list, there := r.intervals[s]
		if !there {
			var names []string
			for n := range r.intervals {
				names = append(names, n)
			}
			slices.Sort(names)
			near := Nearest(s, names)
			switch {
			case near != "":
				r.d.fail(item, "%s is %s, but there is no such time interval; did you mean %s?", name, quote(s), near)
			default:
				r.d.fail(item, "%s is %s, but time_intervals has no such name; there are: %s", name, quote(s), cmp.Or(strings.Join(names, ", "), "none"))
			}
			return
		}
		out = append(out, list...)
	})
	return out
}
