// Package summary says in words what an incident is, once for all receivers
// that are read by people. Its texts hold what clients sent, as they sent it:
// whoever shows them escapes them for the place where they land.
//
// All functions are pure.
package summary

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
)

// Summary is an incident in words. Lists and the values in them are cut to what
// fits a message, so that no client can push the rest out of sight.
type Summary struct {
	// Headline names level, title and subject, such as
	// "HIGH: Flood of failed logins from one client: 203.0.113.7".
	Headline string
	// Title is the headline without level, and Who its subject in few words.
	Title, Who string
	// News says what is new with this revision, such as "Resolved after 18 min".
	News string
	// Line is the figures in one line, for the screen of a phone, such as
	// "1,486 requests in 18 min, POST /login, 401".
	Line string
	// Facts are for a table, in the order in which they matter.
	Facts []Fact
	// Evidence are log lines with their places.
	Evidence []Evidence
	// Notes say what could not be seen, or is not exact.
	Notes []string
	// Entries are the incidents of a digest.
	Entries []Entry
}

// Fact is a name with values.
type Fact struct {
	Name   string
	Values []string
	More   int64 // how many further values there are
}

// Text returns the values with blanks and commas between them, and how many more there
// are.
func (f Fact) Text() string {
	s := strings.Join(f.Values, ", ")
	if f.More > 0 {
		s += " and " + Number(f.More) + " more"
	}
	return s
}

// Evidence is one log line.
type Evidence struct {
	Place string // file:line
	Text  string
}

// Entry is one incident of a digest.
type Entry struct {
	Headline, Line string
	ID             string
}

const (
	// maxValues is how many values of a list are shown.
	maxValues = 5
	// maxValue bounds a value in bytes, maxShort one in a headline or a line.
	maxValue, maxShort = 200, 100
)

// Of returns the summary of one revision of an incident.
func Of(inc *alerting.Incident, cause alerting.Cause) Summary {
	s := Summary{Title: inc.Rule.Title, Who: Who(inc), News: news(inc, cause), Line: line(inc), Notes: notes(inc)}
	s.Headline = strings.ToUpper(inc.Level.String()) + ": " + s.Title
	if s.Who != "" {
		s.Headline += ": " + s.Who
	}
	if inc.Message != "" {
		s.Line = inc.Message
	}
	for _, e := range inc.Digest {
		s.Entries = append(s.Entries, entry(e))
	}
	s.Facts = facts(inc)
	for _, e := range inc.Evidence {
		place := e.File
		if e.Line > 0 {
			place += ":" + strconv.FormatInt(e.Line, 10)
		}
		s.Evidence = append(s.Evidence, Evidence{place, cmp.Or(e.Text, "(this line is not at hand)")})
	}
	return s
}

func entry(e alerting.DigestEntry) Entry {
	out := Entry{ID: e.ID, Headline: strings.ToUpper(e.Level.String()) + ": " + e.Title}
	if who := groupWords(e.Group); who != "" {
		out.Headline += ": " + who
	}
	out.Line = requests(e.Count, false) + within(e.FirstSeen, e.LastSeen)
	if e.State != alerting.StateOpen {
		out.Line += ", " + e.State
	}
	return out
}

// Who names the subject of an incident in few words: its group, or how many
// sources there are.
func Who(inc *alerting.Incident) string {
	if inc.Message != "" || len(inc.Digest) > 0 {
		return ""
	}
	if words := groupWords(inc.Group); words != "" {
		return words
	}
	switch {
	case inc.SourcesTotal > 1:
		return Number(inc.SourcesTotal) + " sources"
	case len(inc.Sources) > 0:
		return escape.Cut(inc.Sources[0], maxShort)
	}
	return ""
}

// groupWords says what the group fields are. An address speaks for itself.
func groupWords(group map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(group)) {
		value := escape.Cut(group[name], maxShort)
		switch {
		case value == "*":
			words = append(words, "many others")
		case name == "client.address" || name == "http.route" || name == "url.path":
			words = append(words, value)
		case name == "auth.account":
			words = append(words, "account "+value)
		case name == "principal":
			words = append(words, "principal "+value)
		case name == "user_agent.original":
			words = append(words, "agent "+value)
		case name == "server.address":
			words = append(words, "host "+value)
		default:
			words = append(words, name+" "+value)
		}
	}
	return strings.Join(words, ", ")
}

// news says what a revision tells that the one before did not.
func news(inc *alerting.Incident, cause alerting.Cause) string {
	by := func(verb string, kind alerting.ActionKind) string {
		for _, a := range slices.Backward(inc.Actions) {
			if a.Action != kind {
				continue
			}
			verb += " by " + a.By
			if a.Comment != "" {
				verb += ": " + a.Comment
			}
			break
		}
		return verb
	}
	switch cause {
	case alerting.CauseOpened:
		return "New"
	case alerting.CauseLevel:
		return "Level is now " + inc.Level.String()
	case alerting.CauseParent:
		if inc.Parent == "" {
			return "Stands alone again"
		}
		return "Belongs to incident " + inc.Parent + ", which tells of it from now on"
	case alerting.CauseResolved:
		if n := len(inc.Actions); n > 0 && inc.Actions[n-1].Action == alerting.ActionResolve {
			return by("Resolved", alerting.ActionResolve)
		}
		return "Resolved: it has stopped" + after(inc)
	case alerting.CauseReopened:
		return "It has begun again"
	case alerting.CauseGrew:
		return "It goes on"
	case alerting.CauseRepeat:
		return "Still open"
	case alerting.CauseAcknowledged:
		return by("Acknowledged", alerting.ActionAcknowledge)
	case alerting.CauseSilenced:
		if inc.SilencedUntil != nil {
			return "Silenced until " + Time(*inc.SilencedUntil)
		}
		return "Silenced"
	case alerting.CauseUnsilenced:
		return "No longer silenced, and still open"
	case alerting.CauseFalsePositive:
		return by("Marked as a false positive", alerting.ActionFalsePositive)
	case alerting.CauseDigest:
		return "Several incidents at once"
	case alerting.CauseTest:
		return "This is a test. Nothing has happened"
	default:
		return ""
	}
}

func after(inc *alerting.Incident) string {
	if d := inc.LastSeen.Sub(inc.FirstSeen); d > 0 {
		return " after " + Duration(d)
	}
	return ""
}

// line is the figures in one line.
func line(inc *alerting.Incident) string {
	var parts []string
	if inc.Count > 0 {
		parts = append(parts, requests(inc.Count, inc.Order != "")+within(inc.FirstSeen, inc.LastSeen))
	}
	if inc.SourcesTotal > 1 {
		parts = append(parts, Number(inc.SourcesTotal)+" sources")
	}
	if inc.AccountsTotal > 1 {
		parts = append(parts, Number(inc.AccountsTotal)+" accounts")
	}
	switch {
	case len(inc.Routes) == 1 && len(inc.Methods) == 1:
		parts = append(parts, escape.Cut(inc.Methods[0]+" "+inc.Routes[0], maxShort))
	case inc.RoutesTotal > 1:
		parts = append(parts, Number(inc.RoutesTotal)+" routes")
	case len(inc.Routes) == 1:
		parts = append(parts, escape.Cut(inc.Routes[0], maxShort))
	}
	if len(inc.Statuses) > 0 {
		top := inc.Statuses[0]
		for _, s := range inc.Statuses {
			if s.Count > top.Count {
				top = s
			}
		}
		text := "status " + strconv.Itoa(int(top.Status))
		if len(inc.Statuses) > 1 {
			text = "mostly " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func requests(n int64, inexact bool) string {
	s := Number(n) + " requests"
	if n == 1 {
		s = "1 request"
	}
	if inexact {
		s = "about " + s
	}
	return s
}

func facts(inc *alerting.Incident) []Fact {
	var out []Fact
	add := func(name string, values ...string) {
		values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
		if len(values) > 0 {
			out = append(out, Fact{Name: name, Values: cut(values)})
		}
	}
	list := func(name string, values []string, total int64) {
		if len(values) == 0 {
			return
		}
		shown := values[:min(maxValues, len(values))]
		out = append(out, Fact{name, cut(shown), max(total, int64(len(values))) - int64(len(shown))})
	}
	if len(inc.Digest) > 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(inc.Group)) {
		add(fieldWords(name), inc.Group[name])
	}
	if inc.Message == "" {
		if inc.Count > 0 {
			add("Requests", strings.TrimSuffix(strings.TrimSuffix(requests(inc.Count, inc.Order != ""), "s"), " request")+statuses(inc))
		}
		list("Entered accounts", inc.Entered, int64(len(inc.Entered)))
		list("Routes", routes(inc), inc.RoutesTotal)
		if len(inc.Sources) != 1 || inc.Group["client.address"] != inc.Sources[0] {
			list("Sources", inc.Sources, inc.SourcesTotal)
		}
		if len(inc.Accounts) != 1 || inc.Group["auth.account"] != inc.Accounts[0] {
			list("Accounts", inc.Accounts, inc.AccountsTotal)
		}
		if len(inc.Principals) != 1 || inc.Group["principal"] != inc.Principals[0] {
			list("Principals", inc.Principals, inc.PrincipalsTotal)
		}
	}
	add("First seen", Time(inc.FirstSeen))
	add("Last seen", Time(inc.LastSeen))
	if inc.ResolvedAt != nil {
		add("Resolved", Time(*inc.ResolvedAt))
	}
	if len(inc.Rules) > 1 {
		var titles []string
		for _, r := range inc.Rules {
			if r.ID != inc.Rule.ID {
				titles = append(titles, r.Title)
			}
		}
		list("Also", titles, int64(len(titles)))
	}
	list("Known as", tags(inc.Rule.Tags), 0)
	if inc.Acknowledged != nil {
		add("Acknowledged", "by "+inc.Acknowledged.By)
	}
	if inc.SilencedUntil != nil {
		add("Silenced", "until "+Time(*inc.SilencedUntil))
	}
	if inc.FalsePositive {
		add("Marked", "false positive")
	}
	if inc.ChildrenTotal > 0 {
		add("Part of it", Number(inc.ChildrenTotal)+" smaller incidents")
	}
	add("Part of", inc.Parent)
	add("Incident", inc.ID)
	return out
}

// cut bounds each value.
func cut(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = escape.Cut(v, maxValue)
	}
	return out
}

// fieldWords names the group fields that people meet most.
func fieldWords(name string) string {
	switch name {
	case "client.address":
		return "Client"
	case "auth.account":
		return "Account"
	case "principal":
		return "Principal"
	case "http.route":
		return "Route"
	case "url.path":
		return "Path"
	case "user_agent.original":
		return "Agent"
	case "server.address":
		return "Host"
	default:
		return name
	}
}

func routes(inc *alerting.Incident) []string {
	if len(inc.Methods) != 1 {
		return inc.Routes
	}
	var out []string
	for _, r := range inc.Routes[:min(maxValues+1, len(inc.Routes))] {
		out = append(out, inc.Methods[0]+" "+r)
	}
	return out
}

// statuses lists the statuses that were answered most.
func statuses(inc *alerting.Incident) string {
	var parts []string
	for _, s := range inc.Statuses[:min(maxValues, len(inc.Statuses))] {
		text := strconv.Itoa(int(s.Status))
		if len(inc.Statuses) > 1 {
			text += " × " + Number(s.Count)
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (status " + strings.Join(parts, ", ") + ")"
}

// tags writes those of OWASP and ATT&CK as these write them.
func tags(list []string) []string {
	var out []string
	for _, t := range list {
		switch name, rest, _ := strings.Cut(t, "."); {
		case name == "owasp" && rest != "":
			out = append(out, "OWASP "+strings.ToUpper(strings.Replace(rest, "-", ":", 1)))
		case name == "attack" && len(rest) > 1 && rest[0] == 't' && rest[1] >= '0' && rest[1] <= '9':
			out = append(out, "ATT&CK "+strings.ToUpper(rest))
		case name == "cve" && rest != "":
			out = append(out, "CVE-"+strings.ReplaceAll(strings.ToUpper(rest), ".", "-"))
		}
	}
	return out
}

func notes(inc *alerting.Incident) []string {
	var out []string
	if inc.Order != "" {
		out = append(out, "a record came behind the merge: counts and order are approximate")
	}
	if inc.LateOnly {
		out = append(out, "all of it was logged long before it was read")
	}
	if len(inc.Estimated) > 0 {
		out = append(out, fmt.Sprintf("totals of %s are estimates", strings.Join(inc.Estimated, ", ")))
	}
	return append(append(out, inc.Basis...), inc.Limits...)
}
