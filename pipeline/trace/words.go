package trace

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

// nearer reports whether n is nearer to firing than the number so far: more,
// except for rules that only ask for less.
func nearer(r *observation.Rule, n, than float64) bool {
	if asksForLess(r) {
		return n < than
	}
	return n > than
}

func asksForLess(r *observation.Rule) bool {
	for _, b := range r.Bounds {
		if b.Op != observation.Lt && b.Op != observation.Lte {
			return false
		}
	}
	return len(r.Bounds) > 0
}

// told says the number of a window in words, such as "44 events in 10m0s".
// bound comes before the number: "at most", "at least" or nothing.
func told(r *observation.Rule, n float64, bound string) string {
	if bound != "" {
		bound += " "
	}
	number := amount(n)
	within := "in " + span(r)
	switch r.Type {
	case observation.ValueCount:
		return fmt.Sprintf("%s%v %s of %s %s", bound, n, plural(n, "value", "values"), r.ValueField, within)
	case observation.IDWalk:
		return fmt.Sprintf("%s%v %s %s", bound, n, plural(n, "id", "ids"), within)
	case observation.Temporal, observation.TemporalOrdered:
		return fmt.Sprintf("%s%v of %d rules %s", bound, n, len(r.Steps), within)
	case observation.ValueSum:
		return fmt.Sprintf("a sum of %s%s %s", bound, number, within)
	case observation.ValueAvg:
		return fmt.Sprintf("a mean of %s%s %s", bound, number, within)
	case observation.ValuePercentile:
		return fmt.Sprintf("a percentile of %s%s %s", bound, number, within)
	}
	return fmt.Sprintf("%s%v %s %s", bound, n, plural(n, "event", "events"), within)
}

// span says how long the window is: 10m, not 10m0s.
func span(r *observation.Rule) string {
	s := (time.Duration(r.Timespan) * time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func plural(n float64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Told says what the window holds, such as "44 events in 10m0s".
func (c *Count) Told() string {
	if c.Rule.Type == observation.RateAnomaly && c.True {
		return told(c.Rule, c.Number, "") + " where " + amount(c.Expected) + " were expected"
	}
	if c.Kept == 0 && c.Rule.Type.Measures() {
		return "nothing in " + span(c.Rule) // of which there is no sum, mean or percentile
	}
	return told(c.Rule, c.Number, "")
}

// Groups says for which group the window counts, such as "client.address 203.0.113.7".
func (c *Count) Groups() string {
	var out []string
	for _, g := range c.Group {
		out = append(out, g.Name+" "+g.Value)
	}
	return cmp.Or(strings.Join(out, ", "), "all together")
}

// Summary says of a window returned by Nearest how near it came to firing.
func (c *Count) Summary() string {
	bound := "at most"
	if asksForLess(c.Rule) {
		bound = "at least"
	}
	text := fmt.Sprintf("%s: %s at %s (%s)", c.Rule.Title, told(c.Rule, c.Number, bound), time.Unix(c.Time, 0).UTC().Format(time.RFC3339), c.Groups())
	if needs := Needs(c.Rule); needs != "" {
		text += ", needs " + needs
	}
	return text
}

// Needs says what a condition asks for, such as "gte 40"; "" where it is
// no comparison with a number.
func Needs(r *observation.Rule) string {
	if r.Type.Steps() {
		return strconv.Itoa(len(r.Steps))
	}
	if r.Type == observation.RateAnomaly {
		return baselineNeeds(&r.Baseline)
	}
	var out []string
	for _, b := range r.Bounds {
		out = append(out, fmt.Sprintf("%s %v", b.Op, b.Value))
	}
	return strings.Join(out, " and ")
}

// baselineNeeds says what a condition on a learned baseline asks for: more than is expected, less, or either.
func baselineNeeds(b *observation.Baseline) string {
	either := func(up, down string) string {
		switch {
		case !b.Down:
			return up
		case !b.Up:
			return down
		}
		return up + " or " + down
	}
	var parts []string
	if b.Factor > 0 {
		parts = append(parts, either(fmt.Sprintf("%v times what is expected", b.Factor), fmt.Sprintf("at most 1/%v of what is expected", b.Factor)))
	}
	if b.Score > 0 {
		parts = append(parts, "a score of "+either(fmt.Sprint(b.Score), fmt.Sprint(-b.Score)))
	}
	if b.Spread != observation.SpreadAny {
		parts = append(parts, "spread "+b.Spread.String())
	}
	return strings.Join(append(parts, fmt.Sprintf("%v %s", b.Least, either("seen", "expected"))), " and ")
}

// Lacks says what keeps the condition from being true, such as "gte 40 needs 30
// more"; "" where it is true, or where nobody can say.
func (c *Count) Lacks() string {
	r := c.Rule
	switch {
	case c.True || c.Fired || len(c.Absent) > 0 || c.Guard != "":
		return ""
	case r.Type.Steps():
		if len(c.Missing) == 0 {
			return ""
		}
		return "missing: " + strings.Join(c.Missing, ", ")
	case c.Kept < r.Least:
		return fmt.Sprintf("it is judged from %d events on", r.Least)
	}
	if r.Type == observation.RateAnomaly {
		return "needs " + Needs(r)
	}
	for _, b := range r.Bounds {
		if b.Holds(c.Number) {
			continue
		}
		text := fmt.Sprintf("%s %v", b.Op, b.Value)
		switch {
		case b.Op == observation.Gt && whole(r):
			return text + " needs " + amount(b.Value+1-c.Number) + " more"
		case b.Op == observation.Gte && (whole(r) || r.Type == observation.ValueSum):
			return text + " needs " + amount(b.Value-c.Number) + " more"
		default:
			return text + " does not hold"
		}
	}
	if r.Type == observation.IDWalk {
		return "what else the condition asks for does not hold"
	}
	if len(r.Bounds) > 0 && r.Type.Counts() && r.Holds(0) {
		return Needs(r) + " held from the start, and has to fail once before it can fire"
	}
	return ""
}

// whole reports whether the number is one of events, values or ids.
func whole(r *observation.Rule) bool { return r.Type.Counts() || r.Type == observation.IDWalk }

func amount(n float64) string { return strconv.FormatFloat(n, 'g', 6, 64) }
