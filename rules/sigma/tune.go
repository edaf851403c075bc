package sigma

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

// Tuning changes rules without touching their documents. A rule is meant when
// any entry of any of the three lists names it; of several tunings that set
// the same thing the last one wins.
type Tuning struct {
	Rules  []string // ids, names or titles
	Tags   []string // such as owasp.api2-2023; "*" stands for any text, case does not matter
	Titles []string // the same for titles

	Level     *observation.Level
	Threshold *float64      // the number of a correlation's only bound
	Timespan  time.Duration // of a correlation, in whole seconds; 0 leaves it
	GroupBy   []string      // of a correlation: fields, or its aliases; nil leaves it
	Enabled   *bool
	Shadow    *bool // evaluated and counted, told to nobody

	File         string // where the tuning is written, for problems
	Line, Column int
}

func (t *Tuning) where() place {
	return place{file: t.File, line: max(t.Line, 1), column: max(t.Column, 1)}
}

// Change is one thing that tunings made different in a rule.
type Change struct {
	Setting      string // level, threshold, timespan, group-by, enabled or shadow
	From, To     string
	File         string // the tuning that had the last word
	Line, Column int
}

// String returns such as "level: high, was medium".
func (c Change) String() string { return fmt.Sprintf("%s: %s, was %s", c.Setting, c.To, c.From) }

// Tuned returns what tunings made different in the rule with this id, in the
// order in which they first did. It knows rules that a tuning disabled too.
func (x *Index) Tuned(id string) []Change { return x.tuned[id] }

// tuning is a Tuning made ready to find its rules.
type tuning struct {
	*Tuning
	index   int
	entries []tuningEntry
}

type tuningEntry struct {
	list, text string
	match      func(*Rule) bool
	used       bool
}

func newTuning(index int, t *Tuning) *tuning {
	out := &tuning{Tuning: t, index: index}
	add := func(list, text string, match func(*Rule) bool) {
		out.entries = append(out.entries, tuningEntry{list: list, text: text, match: match})
	}
	for _, name := range t.Rules {
		add("rules", name, func(r *Rule) bool { return name == r.ID || name == r.Title || name == r.Name && name != "" })
	}
	for _, tag := range t.Tags {
		glob := starGlob(tag)
		add("tags", tag, func(r *Rule) bool {
			return slices.ContainsFunc(r.Tags, func(s string) bool { return globMatch(glob, s, false) })
		})
	}
	for _, title := range t.Titles {
		glob := starGlob(title)
		add("titles", title, func(r *Rule) bool { return globMatch(glob, r.Title, false) })
	}
	return out
}

// starGlob compiles a pattern in which only '*' is special.
func starGlob(s string) []string {
	var parts []part
	for i, lit := range strings.Split(s, "*") {
		if i > 0 && (len(parts) == 0 || parts[len(parts)-1].wild == 0) {
			parts = append(parts, part{wild: '*'})
		}
		if lit != "" {
			parts = append(parts, part{lit: lit})
		}
	}
	return compileGlob(parts)
}

// means reports whether the tuning is for r, and marks the entries that say so.
func (t *tuning) means(r *Rule) bool {
	found := false
	for i := range t.entries {
		if e := &t.entries[i]; e.match(r) {
			e.used, found = true, true
		}
	}
	return found
}

// tune works out what each rule of the set is after the tunings, and which
// are left out.
func (c *compiler) tune() {
	for i := range c.o.Tune {
		c.tunings = append(c.tunings, newTuning(i, &c.o.Tune[i]))
	}
	for _, r := range c.set.rules {
		p := &problems{rule: r.ID}
		c.tuneRule(r, nil, p)
		c.problems = append(c.problems, p.list...)
	}
	for _, t := range c.tunings {
		p := &problems{tuning: true}
		t.check(p)
		for _, e := range t.entries {
			if !e.used {
				p.warn(t.where(), e.text, didYouMean(e.text, c.tunable(e.list), "gatewatch rules list prints ids, titles and tags"),
					"the tuning names %q under %s, but no loaded rule is called so", e.text, e.list)
			}
		}
		c.problems = append(c.problems, p.list...)
	}
}

// check reports what is wrong with a tuning whatever the rules.
func (t *tuning) check(p *problems) {
	if len(t.entries) == 0 {
		p.refuse(t.where(), "", "add rules: with ids, names or titles, tags: or titles:", "the tuning names no rule")
	}
	if t.Level == nil && t.Threshold == nil && t.Timespan == 0 && t.GroupBy == nil && t.Enabled == nil && t.Shadow == nil {
		p.warn(t.where(), "", "set level, threshold, timespan, group_by, enabled or shadow", "the tuning changes nothing")
	}
}

// tunable returns what entries of a list can name.
func (c *compiler) tunable(list string) []string {
	var out []string
	for _, r := range c.set.rules {
		switch list {
		case "rules":
			out = append(out, r.ID)
			for _, other := range []string{r.Name, r.Title} {
				if other != "" && !strings.EqualFold(other, r.ID) { // else it would be proposed beside itself
					out = append(out, other)
				}
			}
		case "tags":
			out = append(out, r.Tags...)
		default:
			out = append(out, r.Title)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tuneRule applies all tunings to r but those in skip. What a tuning cannot
// do to the rule is reported, and then it does nothing to it.
func (c *compiler) tuneRule(r *Rule, skip map[int]bool, p *problems) {
	off := c.o.Disable != nil && c.o.Disable(r)
	unusable := r.Status == "unsupported"
	cur := r
	enabled := !off && !unusable
	var changes []Change
	for _, t := range c.tunings {
		if !t.means(r) || skip[t.index] {
			continue
		}
		tp := &problems{rule: r.ID, tuning: true}
		next, more := t.apply(cur, tp)
		p.list = append(p.list, tp.list...)
		if tp.refused {
			continue
		}
		if t.Enabled != nil && *t.Enabled != enabled {
			more = append(more, t.change("enabled", strconv.FormatBool(enabled), strconv.FormatBool(*t.Enabled)))
			enabled = *t.Enabled
			off = off || !enabled // somebody asked for it, no need to say why it is out
		}
		cur, changes = next, mergeChanges(changes, more)
	}
	delete(c.now, r)
	if cur != r {
		c.now[r] = cur
	}
	c.out[r] = !enabled
	delete(c.x.tuned, r.ID)
	if len(changes) > 0 {
		c.x.tuned[r.ID] = changes
	}
	if len(skip) > 0 {
		return // said before
	}
	switch {
	case unusable && !enabled && !off:
		p.warn(r.where, r.Status, "mend the rule and give it another status, or enable it with a tuning",
			"the rule says of itself that it is unsupported, and is left out")
	case r.Status == "deprecated" && enabled:
		p.warn(r.where, r.Status, "load the rule that replaces it, see its related:, or disable it", "the rule says of itself that it is deprecated")
	}
}

func (t *tuning) change(setting, from, to string) Change {
	w := t.where()
	return Change{Setting: setting, From: from, To: to, File: w.file, Line: w.line, Column: w.column}
}

// mergeChanges adds later changes: each setting stands once, from its first
// value to its last, and not at all where these are the same.
func mergeChanges(list, more []Change) []Change {
	for _, m := range more {
		i := slices.IndexFunc(list, func(c Change) bool { return c.Setting == m.Setting })
		switch {
		case i < 0:
			list = append(list, m)
		case list[i].From == m.To:
			list = slices.Delete(list, i, i+1)
		default:
			m.From = list[i].From
			list[i] = m
		}
	}
	return list
}

// apply returns what the tuning makes of r, or reports why it cannot.
func (t *tuning) apply(r *Rule, p *problems) (*Rule, []Change) {
	next := *r
	var changes []Change
	note := func(setting, from, to string) {
		if from != to {
			changes = append(changes, t.change(setting, from, to))
		}
	}
	if r.Kind == Filter && (t.Level != nil || t.Shadow != nil) {
		p.refuse(t.where(), r.ID, "tune the rules that it filters", "%q is a filter: it has no level and opens nothing", r.ID)
	}
	if t.Level != nil {
		note("level", r.Level.String(), t.Level.String())
		next.Level = *t.Level
	}
	if t.Shadow != nil {
		note("shadow", strconv.FormatBool(r.Shadow), strconv.FormatBool(*t.Shadow))
		next.Shadow = *t.Shadow
	}
	if t.Threshold == nil && t.Timespan == 0 && t.GroupBy == nil {
		return &next, changes
	}
	if r.corr == nil {
		t.noWindow(r, p)
		return nil, nil
	}
	spec := *r.corr
	next.corr = &spec
	if t.Threshold != nil {
		if spec.baseline != nil {
			spec.baseline = t.factor(r, note, p)
		} else if bounds, from := t.threshold(r, p); bounds != nil {
			note("threshold", from, formatNumber(*t.Threshold))
			spec.bounds = bounds
		}
	}
	switch {
	case t.Timespan == 0:
	case t.Timespan < 0 || t.Timespan%time.Second != 0 || t.Timespan > longestSpan:
		p.refuse(t.where(), t.Timespan.String(), "write whole seconds, minutes, hours or days up to 366d", "the timespan %s is no length of a window", t.Timespan)
	case spec.baseline != nil && !validBucket(t.Timespan):
		p.refuse(t.where(), formatSpan(t.Timespan), "write one such as 10s, 1m, 5m, 15m or 1h",
			"the timespan of %q is the bucket that is judged: it has to divide an hour and be %s at least", r.ID, formatSpan(leastBucket))
	default:
		note("timespan", formatSpan(spec.timespan), formatSpan(t.Timespan))
		spec.timespan = t.Timespan
	}
	if t.GroupBy != nil {
		groupBy := t.groupBy(&spec, p)
		note("group-by", formatRefs(spec.groupBy), formatRefs(groupBy))
		spec.groupBy, spec.groupTuned = groupBy, t
	}
	return &next, changes
}

// noWindow says why a rule without a condition over time cannot have one tuned.
func (t *tuning) noWindow(r *Rule, p *problems) {
	for _, s := range []struct {
		set       bool
		what, how string
	}{
		{t.Threshold != nil, "threshold", "write an event_count correlation over it"},
		{t.Timespan != 0, "timespan", "set gatewatch.resolve_after in the rule, or write an event_count correlation over it"},
		{t.GroupBy != nil, "group-by", "write an event_count correlation over it"},
	} {
		if !s.set {
			continue
		}
		why := "one match is enough, and its incidents are by client"
		if r.Kind == Filter {
			why, s.how = "it only excepts", "tune the rules that it filters"
		}
		p.refuse(t.where(), r.ID, s.how, "%q is a %s and has no %s: %s", r.ID, r.Kind, s.what, why)
	}
}

// threshold returns the bounds of r with the tuned number, and the number
// that it was.
func (t *tuning) threshold(r *Rule, p *problems) (bounds []observation.Bound, from string) {
	spec := r.corr
	refuse := func(hint, format string, args ...any) {
		p.refuse(t.where(), r.ID, hint, "the threshold of %q cannot be tuned: %s", r.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case spec.typ.Steps():
		refuse("tune its timespan, or what its rules count", "%s waits for its rules and compares no number", spec.typ)
		return nil, ""
	case len(spec.bounds) != 1:
		refuse("write the rule anew with other numbers", "it has %d bounds and one number says too little", len(spec.bounds))
		return nil, ""
	}
	b := spec.bounds[0]
	if b.Op == observation.Eq || b.Op == observation.Neq {
		refuse("write the rule anew with gte", "%s is no threshold", b.Op)
		return nil, ""
	}
	from = formatNumber(b.Value)
	b.Value = *t.Threshold
	bounds = []observation.Bound{b}
	typ := spec.typ
	if spec.walk != nil {
		typ = observation.ValueCount // of ids
	}
	if why, hint := checkNumber(typ, b.Value); why != "" {
		refuse(hint, "%s", why)
		return nil, ""
	}
	if why, hint := checkBounds(spec, bounds); why != "" {
		refuse(hint, "%s", why)
		return nil, ""
	}
	return bounds, from
}

// factor returns the condition of a rate_anomaly with the tuned number: its
// factor, or its score where it has none.
func (t *tuning) factor(r *Rule, note func(setting, from, to string), p *problems) *baselineSpec {
	next := *r.corr.baseline
	at, low, high := &next.factor, 1.1, 1e6
	if next.factor == 0 {
		at, low, high = &next.score, 1, 1000
	}
	if v := *t.Threshold; !(low <= v && v <= high) {
		p.refuse(t.where(), formatNumber(v), "write a number from "+formatNumber(low)+" to "+formatNumber(high),
			"the threshold of %q cannot be tuned: it is a factor or a score, and %s is none", r.ID, formatNumber(v))
		return r.corr.baseline
	}
	note("threshold", formatNumber(*at), formatNumber(*t.Threshold))
	*at = *t.Threshold
	return &next
}

// groupBy resolves the names as far as the rule alone can tell.
func (t *tuning) groupBy(spec *correlationSpec, p *problems) []ref {
	out := []ref{}
	for _, name := range t.GroupBy {
		n := ref{name, t.where()}
		if slices.ContainsFunc(out, func(r ref) bool { return r.name == name }) {
			continue
		}
		_, alias := spec.aliases[name]
		if !alias && !spec.overFindings() {
			eventField(n, p)
		}
		out = append(out, n)
	}
	return out
}

func formatRefs(list []ref) string {
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.name
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// formatSpan writes a length of time as Sigma does.
func formatSpan(d time.Duration) string {
	for _, u := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.length && d%u.length == 0 {
			return strconv.FormatInt(int64(d/u.length), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// checkNumber says what is wrong with the number of a bound whatever its
// operator, or returns "".
func checkNumber(typ observation.Type, v float64) (why, hint string) {
	switch {
	case math.IsNaN(v) || math.Abs(v) > 1<<53:
		return fmt.Sprintf("%v is no number that a window can reach", v), "write a plain number"
	case typ.Counts() && (v < 0 || v != math.Trunc(v)):
		return fmt.Sprintf("%s counts, and %s is no whole number of 0 or more", typ, formatNumber(v)), "write a whole number of 0 or more"
	case typ.Counts() && v >= observation.MaxKept:
		return fmt.Sprintf("a window keeps at most %d entries, it cannot be judged against %s", observation.MaxKept, formatNumber(v)),
			"shorten the timespan and lower the number"
	default:
		return "", ""
	}
}

// checkBounds refuses conditions that never turn from false to true.
func checkBounds(spec *correlationSpec, bounds []observation.Bound) (why, hint string) {
	r := observation.Rule{Bounds: bounds}
	// The condition can only change at the bounds. No field holds a negative number.
	what, beside := "count", 1.0
	samples := []float64{0, observation.MaxKept + 1}
	if !spec.typ.Counts() {
		what, beside = "number", 0
		samples[1] = 1 << 54
	}
	for _, b := range bounds {
		low, high := b.Value-beside, b.Value+beside
		if beside == 0 {
			low, high = math.Nextafter(b.Value, -1), math.Nextafter(b.Value, 1<<54)
		}
		samples = append(samples, low, b.Value, high)
	}
	samples = slices.DeleteFunc(samples, func(v float64) bool { return v < 0 })
	var everTrue, everFalse bool
	for _, v := range samples {
		if r.Holds(v) {
			everTrue = true
		} else {
			everFalse = true
		}
	}
	switch {
	case !everTrue:
		return "no " + what + " satisfies the condition, it never fires", "check the numbers of the range"
	case !everFalse && !spec.typ.Counts() && spec.typ != observation.ValueSum: // of nothing there is no mean
		return "every number satisfies the condition, so it says nothing", "raise the number, or write event_count with gte: 1"
	case !everFalse:
		return "every " + what + " satisfies the condition, so it never becomes true and never fires", "raise the number"
	default:
		return "", ""
	}
}
