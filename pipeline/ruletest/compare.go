package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
)

// mostShown bounds the incidents of each sort in one report.
const mostShown = 8

// compare says what is different between the incidents of a case and those
// that the log opened.
func compare(c *Case, got []Incident) []string {
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
		faults = append(faults, fmt.Sprintf("~ line %d: %s", x.Line, title(x, &got[best])))
		for _, d := range differences(x, &got[best]) {
			faults = append(faults, d.lines()...)
		}
	}
	shown = 0
	for j := range got {
		if owner[j] >= 0 {
			continue
		}
		if shown++; shown > mostShown {
			faults = append(faults, "and more incidents that nobody wanted")
			break
		}
		faults = append(faults, "+ "+describeIncident(&got[j]))
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
func assign(want []Expected, got []Incident) (taken, owner []int) {
	taken, owner = make([]int, len(want)), make([]int, len(got))
	for j := range owner {
		owner[j] = -1
	}
	var seen []bool
	var find func(i int) bool
	find = func(i int) bool {
		for j := range got {
			if seen[j] || len(differences(&want[i], &got[j])) > 0 {
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
func nearestOf(x *Expected, got []Incident, owner []int) int {
	best, least := -1, 0
	for j := range got {
		g := &got[j]
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

func sameGroup(x *Expected, g *Incident) bool {
	for k, v := range x.Group {
		if have, ok := g.Group[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// difference is a key that an incident does not have as wanted; want or got is
// "" where there is nothing to show.
type difference struct{ key, want, got string }

// lines are those of a diff: what was wanted behind a minus, what came behind
// a plus.
func (d difference) lines() []string {
	var out []string
	if d.want != "" {
		out = append(out, fmt.Sprintf("    - %s: %s", d.key, d.want))
	}
	if d.got != "" {
		out = append(out, fmt.Sprintf("    + %s: %s", d.key, d.got))
	}
	return out
}

// differences lists the keys of x that the incident does not have as wanted.
func differences(x *Expected, g *Incident) []difference {
	var out []difference
	differ := func(key, want, got string) {
		if want != "" && want != got {
			out = append(out, difference{key, want, got})
		}
	}
	if x.Rule != "" && !named(x.Rule, g.Rule.ID, g.Rule.Title) {
		differ("rule", x.Rule, g.Rule.Title)
	}
	if x.Level != nil {
		differ("level", x.Level.String(), g.Level.String())
	}
	differ("family", x.Family, g.Family)
	for _, k := range slices.Sorted(maps.Keys(x.Group)) {
		have, ok := g.Group[k]
		if !ok {
			have = "(no such field)"
		}
		differ("group "+k, x.Group[k], have)
	}
	if len(x.Rules) > 0 {
		missing, extra := ruleNames(x.Rules, g.Rules)
		for _, name := range missing {
			out = append(out, difference{key: "rules", want: name + " (did not fire)"})
		}
		for _, name := range extra {
			out = append(out, difference{key: "rules", got: name + " (fired too)"})
		}
	}
	if x.Count != 0 {
		differ("count", strconv.FormatInt(x.Count, 10), strconv.FormatInt(g.Count, 10))
	}
	out = append(out, timeDifference("first_seen", x.FirstSeen, g.FirstSeen)...)
	out = append(out, timeDifference("detected_at", x.DetectedAt, g.DetectedAt)...)
	out = append(out, timeDifference("last_seen", x.LastSeen, g.LastSeen)...)
	out = append(out, listDifferences("sources", x.Sources, g.Sources)...)
	out = append(out, listDifferences("accounts", x.Accounts, g.Accounts)...)
	if x.Shadow != nil {
		differ("shadow", strconv.FormatBool(*x.Shadow), strconv.FormatBool(g.Shadow))
	}
	return out
}

// timeDifference compares moments; a zero want is not compared.
func timeDifference(key string, want, got time.Time) []difference {
	if want.IsZero() || want.Equal(got) {
		return nil
	}
	by := fmt.Sprintf(" (%s later)", got.Sub(want))
	if got.Before(want) {
		by = fmt.Sprintf(" (%s earlier)", want.Sub(got))
	}
	return []difference{{key, moment(want), moment(got) + by}}
}

// listDifferences compares lists in any order; an empty want is not compared.
func listDifferences(key string, want, got []string) []difference {
	if want == nil {
		return nil
	}
	var out []difference
	left := slices.Clone(got)
	for _, w := range want {
		if i := slices.Index(left, w); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			out = append(out, difference{key: key, want: w})
		}
	}
	for i, g := range left {
		if i == mostShown {
			out = append(out, difference{key: key, got: fmt.Sprintf("and %d more", len(left)-i)})
			break
		}
		out = append(out, difference{key: key, got: g})
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
func title(x *Expected, g *Incident) string {
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
	if x.Family != "" {
		parts = append(parts, "family "+x.Family)
	}
	parts = append(parts, groupText(x.Group)...)
	if x.Count != 0 {
		parts = append(parts, fmt.Sprintf("count %d", x.Count))
	}
	for _, at := range []struct {
		word string
		t    time.Time
	}{{"first seen", x.FirstSeen}, {"detected", x.DetectedAt}, {"last seen", x.LastSeen}} {
		if !at.t.IsZero() {
			parts = append(parts, at.word+" "+moment(at.t))
		}
	}
	for _, list := range []struct {
		word   string
		values []string
	}{{"rules", x.Rules}, {"sources", x.Sources}, {"accounts", x.Accounts}} {
		if len(list.values) > 0 {
			parts = append(parts, list.word+" "+strings.Join(list.values, " and "))
		}
	}
	if x.Shadow != nil {
		parts = append(parts, "shadow "+strconv.FormatBool(*x.Shadow))
	}
	return strings.Join(parts, ", ")
}

func describeIncident(g *Incident) string {
	parts := append([]string{g.Rule.Title, g.Level.String()}, groupText(g.Group)...)
	parts = append(parts, fmt.Sprintf("count %d", g.Count), "detected "+moment(g.DetectedAt))
	if len(g.Rules) > 1 {
		var rules []string
		for _, r := range g.Rules {
			rules = append(rules, fmt.Sprintf("%s (%d)", r.Title, r.Count))
		}
		parts = append(parts, "rules "+strings.Join(rules, " and "))
	}
	if g.Shadow {
		parts = append(parts, "shadow")
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
