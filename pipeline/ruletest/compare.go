package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
)

// mostShown bounds the incidents of each sort in one report.
const mostShown = 8

// compare says what is different between the incidents of a case and those
// that the log opened.
func compare(c *Case, got []*alerting.Incident) []string {
	want := c.Expect
	taken, owner := assign(want, got)
	var faults []string
	if len(want) != len(got) {
		faults = append(faults, fmt.Sprintf("wanted %s, got %s", incidents(len(want)), incidents(len(got))))
	}
	shown := 0
	for i := range want {
		if taken[i] >= 0 {
			continue
		}
		if shown++; shown > mostShown {
			faults = append(faults, "and more wanted incidents that are missing")
			break
		}
		x := &want[i]
		best := nearestOf(x, got, owner)
		if best < 0 {
			faults = append(faults, fmt.Sprintf("- line %d: %s", x.Line, describe(x)))
			continue
		}
		owner[best] = i
		faults = append(faults, fmt.Sprintf("~ line %d: %s", x.Line, title(x, got[best])))
		for _, d := range differences(x, got[best]) {
			faults = append(faults, "    "+d)
		}
	}
	shown = 0
	for j, g := range got {
		if owner[j] >= 0 {
			continue
		}
		if shown++; shown > mostShown {
			faults = append(faults, "and more incidents that nobody wanted")
			break
		}
		faults = append(faults, "+ "+describeIncident(g))
	}
	return faults
}

func incidents(n int) string {
	switch n {
	case 0:
		return "no incident"
	case 1:
		return "1 incident"
	}
	return fmt.Sprintf("%d incidents", n)
}

// assign gives each wanted incident one that is as wanted, as far as there are
// enough: one with few keys must not take what another one needs. It returns
// for each wanted one the index of its incident, and the reverse; -1 is none.
func assign(want []Expected, got []*alerting.Incident) (taken, owner []int) {
	taken, owner = make([]int, len(want)), make([]int, len(got))
	for j := range owner {
		owner[j] = -1
	}
	var seen []bool
	var find func(i int) bool
	find = func(i int) bool {
		for j := range got {
			if seen[j] || len(differences(&want[i], got[j])) > 0 {
				continue
			}
			seen[j] = true
			if owner[j] < 0 || find(owner[j]) {
				owner[j] = i
				return true
			}
		}
		return false
	}
	for i := range want {
		taken[i] = -1
		seen = make([]bool, len(got))
		find(i)
	}
	for j, i := range owner {
		if i >= 0 {
			taken[i] = j
		}
	}
	return taken, owner
}

// nearestOf returns the incident that nobody owns and that is most like x, or
// -1 when none has its rule or its group.
func nearestOf(x *Expected, got []*alerting.Incident, owner []int) int {
	best, least := -1, 0
	for j, g := range got {
		if owner[j] >= 0 {
			continue
		}
		alike := x.Rule != "" && named(x.Rule, g.Rule.ID, g.Rule.Title) || len(x.Group) > 0 && sameGroup(x, g)
		if d := len(differences(x, g)); alike && (best < 0 || d < least) {
			best, least = j, d
		}
	}
	return best
}

func named(name, id, title string) bool { return name == id || name == title }

func sameGroup(x *Expected, g *alerting.Incident) bool {
	for k, v := range x.Group {
		if have, ok := g.Group[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// differences lists the keys of x that the incident does not have as wanted.
func differences(x *Expected, g *alerting.Incident) []string {
	var out []string
	differ := func(key string, want, got any) {
		out = append(out, fmt.Sprintf("%s: wanted %v, got %v", key, want, got))
	}
	if x.Rule != "" && !named(x.Rule, g.Rule.ID, g.Rule.Title) {
		differ("rule", x.Rule, g.Rule.Title)
	}
	if x.Level != nil && *x.Level != g.Level {
		differ("level", *x.Level, g.Level)
	}
	for _, k := range slices.Sorted(maps.Keys(x.Group)) {
		if have, ok := g.Group[k]; !ok {
			differ("group "+k, x.Group[k], "no such field")
		} else if have != x.Group[k] {
			differ("group "+k, x.Group[k], have)
		}
	}
	if len(x.Rules) > 0 {
		missing, extra := ruleNames(x.Rules, g.Rules)
		for _, name := range missing {
			out = append(out, "rules: "+name+" did not fire")
		}
		for _, name := range extra {
			out = append(out, "rules: "+name+" fired too")
		}
	}
	if x.Count != 0 && x.Count != g.Count {
		differ("count", x.Count, g.Count)
	}
	if !x.DetectedAt.IsZero() && !x.DetectedAt.Equal(g.DetectedAt) {
		differ("detected_at", moment(x.DetectedAt), moment(g.DetectedAt))
	}
	return out
}

// ruleNames compares the names of rules with those that fired, in any order.
func ruleNames(want []string, got []alerting.RuleCount) (missing, extra []string) {
	left := slices.Clone(got)
	for _, name := range want {
		i := slices.IndexFunc(left, func(r alerting.RuleCount) bool { return named(name, r.ID, r.Title) })
		if i < 0 {
			missing = append(missing, name)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, r := range left {
		extra = append(extra, r.Title)
	}
	return missing, extra
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// title names an incident that is nearly as wanted.
func title(x *Expected, g *alerting.Incident) string {
	if x.Rule != "" {
		return x.Rule
	}
	return g.Rule.Title
}

func describe(x *Expected) string {
	var parts []string
	if x.Rule != "" {
		parts = append(parts, x.Rule)
	}
	if x.Level != nil {
		parts = append(parts, x.Level.String())
	}
	parts = append(parts, groupText(x.Group)...)
	if x.Count != 0 {
		parts = append(parts, fmt.Sprintf("count %d", x.Count))
	}
	if !x.DetectedAt.IsZero() {
		parts = append(parts, "detected "+moment(x.DetectedAt))
	}
	if len(x.Rules) > 0 {
		parts = append(parts, "rules "+strings.Join(x.Rules, " and "))
	}
	return strings.Join(parts, ", ")
}

func describeIncident(g *alerting.Incident) string {
	parts := append([]string{g.Rule.Title, g.Level.String()}, groupText(g.Group)...)
	parts = append(parts, fmt.Sprintf("count %d", g.Count), "detected "+moment(g.DetectedAt))
	if len(g.Rules) > 1 {
		var rules []string
		for _, r := range g.Rules {
			rules = append(rules, fmt.Sprintf("%s (%d)", r.Title, r.Count))
		}
		parts = append(parts, "rules "+strings.Join(rules, " and "))
	}
	return strings.Join(parts, ", ")
}

func groupText(group map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(group)) {
		out = append(out, k+" "+group[k])
	}
	return out
}
