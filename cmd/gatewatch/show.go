package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatewatch/alerting"
)

const (
	stamp      = "2006-01-02 15:04:05" // how times are printed for people
	shortStamp = "Jan _2 15:04:05"     // in tables, where width is dear

	minuteStamp = "Jan _2 15:04" // and dearer
)

// printIncidents prints a table; children stand below their parents.
func printIncidents(w io.Writer, list []*alerting.Incident, ids bool) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no incidents")
		return err
	}
	columns := []column{
		{title: "FIRST SEEN", max: len(shortStamp)},
		{title: "LEVEL", max: 8},
		{title: "TITLE", max: titleWidth(list)},
		{title: "WHO", max: 19},
		{title: "COUNT", max: 9, right: true},
		{title: "ROUTES"},
	}
	states := ids && slices.ContainsFunc(list, func(i *alerting.Incident) bool { return i.State != "" && i.State != alerting.StateOpen })
	seen := shortStamp
	if ids {
		// Who asks for ids looks at single incidents next: what happened is worth
		// more here than where.
		columns = append([]column{{title: "ID", max: 8}}, columns[:len(columns)-1]...)
		columns[3].max, columns[4].max = 36, 17
	}
	if states {
		seen = minuteStamp
		columns[1].max, columns[3].max = len(seen), 29
		columns = slices.Insert(columns, 3, column{title: "STATE", max: 8})
	}
	var rows [][]string
	for _, row := range nest(list) {
		i := row.incident
		title := escape(i.Rule.Title)
		if row.child {
			title = "└ " + title
		}
		cells := []string{
			i.FirstSeen.UTC().Format(seen), shortLevel(i.Level.String()), title, escape(who(i)), countOf(i), escape(strings.Join(i.Routes, " ")),
		}
		if ids {
			cells = append([]string{clip(escape(i.ID), 8)}, cells[:len(cells)-1]...)
			if len(i.ID) > 8 {
				cells[0] = escape(i.ID[:8])
			}
		}
		if states {
			cells = slices.Insert(cells, 3, shortState(i))
		}
		rows = append(rows, cells)
	}
	return writeTable(w, columns, rows)
}

// shortState is the state of an incident in a table.
func shortState(i *alerting.Incident) string {
	switch {
	case i.FalsePositive:
		return "false +"
	case i.State == alerting.StateAcknowledged:
		return "acked"
	}
	return escape(i.State)
}

// titleWidth is what the other columns leave for titles, within reason: short
// addresses and counts make room for what happened.
func titleWidth(list []*alerting.Incident) int {
	const (
		least, most = 30, 44
		routes      = 10
		gaps        = 5 * 2
	)
	level, name, count := len("LEVEL"), len("WHO"), len("COUNT")
	for _, i := range list {
		level = max(level, utf8.RuneCountInString(shortLevel(i.Level.String())))
		name = max(name, min(utf8.RuneCountInString(escape(who(i))), 19))
		count = max(count, utf8.RuneCountInString(countOf(i)))
	}
	return min(max(tableWidth-len(shortStamp)-level-name-count-routes-gaps, least), most)
}

type nested struct {
	incident *alerting.Incident
	child    bool
}

// nest puts each child behind its parent and keeps the order otherwise.
func nest(list []*alerting.Incident) []nested {
	there := map[string]bool{}
	for _, i := range list {
		there[i.ID] = true
	}
	children := map[string][]*alerting.Incident{}
	for _, i := range list {
		if i.Parent != "" && there[i.Parent] {
			children[i.Parent] = append(children[i.Parent], i)
		}
	}
	out := make([]nested, 0, len(list))
	for _, i := range list {
		if i.Parent != "" && there[i.Parent] {
			continue
		}
		out = append(out, nested{i, false})
		for _, c := range children[i.ID] {
			out = append(out, nested{c, true})
		}
	}
	return out
}

// who names the subject of an incident in few words.
func who(i *alerting.Incident) string {
	if i.Message != "" {
		return "gatewatch"
	}
	var values []string
	for _, name := range slices.Sorted(maps.Keys(i.Group)) {
		values = append(values, i.Group[name])
	}
	if len(values) > 0 {
		return strings.Join(values, " ")
	}
	switch {
	case i.SourcesTotal > 1:
		return fmt.Sprintf("%d sources", i.SourcesTotal)
	case len(i.Sources) > 0:
		return i.Sources[0]
	}
	return i.Subject
}

// countOf marks a count that a limit or the merge made inexact.
func countOf(i *alerting.Incident) string {
	s := strconv.FormatInt(i.Count, 10)
	if i.Order != "" {
		return "~" + s
	}
	return s
}

// printIncident prints all of one incident.
func printIncident(w io.Writer, i *alerting.Incident) error {
	b := bufio.NewWriter(w)
	width := len("client.address") + 1
	for name := range i.Group {
		width = max(width, len(name))
	}
	field := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(b, "%-*s %s\n", width, name, escape(value)) // Flush tells
		}
	}
	field("incident", i.ID)
	field("title", i.Rule.Title)
	field("message", i.Message)
	field("level", i.Level.String())
	field("state", stateText(i))
	field("family", i.Family)
	for _, name := range slices.Sorted(maps.Keys(i.Group)) {
		field(name, i.Group[name])
	}
	field("first seen", moment(i.FirstSeen))
	field("detected", moment(i.DetectedAt))
	field("last seen", moment(i.LastSeen))
	if i.ResolvedAt != nil {
		field("resolved", moment(*i.ResolvedAt))
	}
	field("count", strconv.FormatInt(i.Count, 10))
	field("parent", i.Parent)
	field("silenced by", strings.Join(i.SilencedBy, " "))
	field("inhibited by", strings.Join(i.InhibitedBy, " "))
	for _, act := range i.Actions {
		text := fmt.Sprintf("%s by %s at %s", strings.ReplaceAll(string(act.Action), "_", " "), act.By, moment(act.At))
		if act.Comment != "" {
			text += ": " + act.Comment
		}
		field("action", text)
	}
	if i.Order != "" {
		field("order", i.Order+" (a record came behind the merge)")
	}
	for _, r := range i.Rules {
		field("rule", fmt.Sprintf("%s, %s, %d since %s (%s)", r.Title, r.Level, r.Count, moment(r.DetectedAt), r.ID))
	}
	field("tags", strings.Join(i.Rule.Tags, " "))
	field("sources", some(i.Sources, i.SourcesTotal))
	field("entered", some(i.Entered, int64(len(i.Entered))))
	field("accounts", some(i.Accounts, i.AccountsTotal))
	field("principals", some(i.Principals, i.PrincipalsTotal))
	field("routes", some(i.Routes, i.RoutesTotal))
	field("methods", strings.Join(i.Methods, " "))
	var statuses []string
	for _, s := range i.Statuses {
		statuses = append(statuses, fmt.Sprintf("%d×%d", s.Count, s.Status))
	}
	field("statuses", strings.Join(statuses, " "))
	field("children", some(i.Children, i.ChildrenTotal))
	for _, l := range i.Basis {
		field("compared", l)
	}
	for _, l := range i.Limits {
		field("not seen", l)
	}
	for _, e := range i.Evidence {
		place := e.File
		if e.Line > 0 {
			place += ":" + strconv.FormatInt(e.Line, 10)
		}
		_, _ = fmt.Fprintf(b, "%s\n    %s\n", escape(place), escape(e.Text))
	}
	return b.Flush()
}

// stateText is the state with who or what brought it about.
func stateText(i *alerting.Incident) string {
	switch {
	case i.FalsePositive:
		return i.State + " as a false positive"
	case i.State == alerting.StateAcknowledged && i.Acknowledged != nil:
		return i.State + " by " + i.Acknowledged.By
	case i.State == alerting.StateSilenced && i.SilencedUntil != nil:
		return i.State + " until " + moment(*i.SilencedUntil)
	}
	return i.State
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(stamp) + " UTC"
}

// some lists the first few values and says how many there are.
func some(values []string, total int64) string {
	const most = 8
	shown := values[:min(most, len(values))]
	text := strings.Join(shown, " ")
	if more := max(total, int64(len(values))) - int64(len(shown)); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
