package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatewatch/collectors/format"
	"gatewatch/detectors/injection"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/pipeline/trace"
	"gatewatch/rules/sigma"
)

// faultText says why a line could not be read.
func faultText(err error) string {
	if errors.Is(err, format.ErrBlank) {
		return "blank or comment"
	}
	return err.Error()
}

// reasonText is what a reason means, for people.
func reasonText(reason string) string {
	switch reason {
	case "unknown_shape":
		return "like no format that gatewatch knows"
	case "other_format":
		return "a line of another format than the one named"
	case "bad_address":
		return "what stands before the time is no client address"
	case "bad_time":
		return "no time stamp where one is expected"
	case "bad_status":
		return "no status after the request"
	case "bad_json":
		return "damaged JSON"
	case "no_request":
		return "JSON without the fields of a request; sources[].aliases can name them"
	}
	return "not known why"
}

// mostReasons bounds the items that are printed of one match or near miss.
const mostReasons = 3

// explainIndent is where what is said of a rule stands, under its title.
const explainIndent = "                       "

// appendHead prints the line, and what was read from it or why nothing was.
func (e *explainer) appendHead(b []byte, l *explainLine) []byte {
	if l.file != "" {
		b = append(b, escape(l.file)...)
		b = append(b, ':')
	}
	b = strconv.AppendInt(b, l.number, 10)
	b = append(b, ' ', ' ')
	b = append(b, clip(escape(string(l.text)), tableWidth-12)...)
	b = append(b, '\n')
	if l.err != nil {
		b = append(b, "    not read: "...)
		b = append(b, escape(faultText(l.err))...)
		if line, ok := errors.AsType[*format.LineError](l.err); ok {
			b = append(append(b, ": "...), reasonText(line.Reason)...)
		}
		return append(b, '\n')
	}
	b = e.appendFields(b, &l.event)
	if l.late {
		b = append(b, "    late: too far behind the lines before it, or far ahead of the next: it counts in no window\n"...)
	}
	return b
}

// appendText is the form for people.
func (e *explainer) appendText(b []byte, l *explainLine) []byte {
	b = e.appendHead(b, l)
	if l.err != nil {
		return b
	}
	if len(l.event.AttackClass) > 0 {
		b = appendAttacks(b, pipeline.ExplainAttacks(&l.event))
	}
	for i, m := range l.matches {
		note := ""
		if !m.Alerting {
			note = " (feeds correlations only)"
		}
		b = appendVerdict(b, "matched", m.Rule.Level.String(), m.Rule.Title+note)
		for _, t := range l.because[i].Because(mostReasons) {
			b = appendUnder(b, explainIndent, because(&t))
		}
	}
	for i := range l.counts {
		b = appendCount(b, &l.counts[i])
	}
	for _, n := range e.matcher.Near(&l.event) {
		b = appendVerdict(b, "nearly", n.Rule.Level.String(), n.Rule.Title)
		for _, f := range n.Failed[:min(mostReasons, len(n.Failed))] {
			b = appendUnder(b, explainIndent, f.String())
		}
	}
	return b
}

// appendAttacks prints where each kind of attack was found, and in which text
// once it was decoded.
func appendAttacks(b []byte, list []injection.Finding) []byte {
	for _, f := range list {
		at := f.Where.String()
		if f.Name != "" {
			at += " " + f.Name
		}
		b = appendUnder(b, fmt.Sprintf("    attack   %-8s  ", f.Class), at+": "+f.Text)
	}
	return b
}

func appendVerdict(b []byte, verdict, level, title string) []byte {
	return fmt.Appendf(b, "    %-8s %-8s  %s\n", verdict, shortLevel(level), escape(title))
}

// Widths of what is said of a rule: of a value in it, and of a line.
const (
	shownValue = 60
	shownLine  = 300
)

// appendUnder prints a line of hostile text behind an indent.
func appendUnder(b []byte, indent, text string) []byte {
	b = append(b, indent...)
	b = append(b, clip(escape(text), shownLine)...)
	return append(b, '\n')
}

// because says which item of a rule matched what.
func because(t *sigma.Test) string {
	var b strings.Builder
	if t.Selection != "" {
		b.WriteString(t.Selection + ": ")
	}
	if t.Key == "" {
		b.WriteString("keyword")
	} else {
		b.WriteString(t.Key)
	}
	if t.Matched != "" {
		b.WriteString(" " + strconv.Quote(clip(t.Matched, shownValue)))
	}
	if t.In != "" && !strings.EqualFold(t.In, t.Matched) {
		b.WriteString(" in " + strconv.Quote(clip(t.In, shownValue)))
	}
	return b.String()
}

// appendCount says what a correlation made of the line.
func appendCount(b []byte, c *trace.Count) []byte {
	verdict := "counts"
	switch {
	case c.Absent != nil:
		verdict = "lacks"
	case c.Guard != "":
		verdict = "passes"
	case c.Fired:
		verdict = "fires"
	case c.True:
		verdict = "holds"
	}
	b = appendVerdict(b, verdict, c.Rule.Level.String(), c.Rule.Title)
	return appendUnder(b, explainIndent, countText(c))
}

func countText(c *trace.Count) string {
	if c.Absent != nil {
		return "does not count, without " + strings.Join(c.Absent, ", ")
	}
	text := c.Groups() + ": " + c.Told()
	if c.Left {
		text += ", as others left the window at " + time.Unix(c.Time, 0).UTC().Format(time.TimeOnly)
	}
	if c.Guard != "" {
		return text + " without this line, which does not count: " + c.Guard
	}
	if lacks := c.Lacks(); lacks != "" {
		return text + "; " + lacks
	}
	if needs := trace.Needs(c.Rule); needs != "" && !c.Rule.Type.Steps() {
		text += ", " + needs
	}
	return text
}

// appendFields prints what was read, several fields a line.
func (e *explainer) appendFields(b []byte, ev *event.Event) []byte {
	const indent = "    "
	b = append(b, indent...)
	b = append(b, ev.Format...)
	b = append(b, ' ')
	b = time.Unix(0, ev.Time).UTC().AppendFormat(b, stamp)
	width := len(indent) + len(ev.Format) + 1 + len(stamp)
	for _, f := range e.fields {
		v, ok := ev.Text(f)
		if !ok || dull(f, v) {
			continue
		}
		v = quoteSpaces(escape(v))
		next := 2 + len(f.String()) + utf8.RuneCountInString(v)
		if width+next > tableWidth {
			b = append(b, "\n"+indent...)
			width = len(indent)
		} else {
			b = append(b, ' ')
			width++
		}
		b = append(b, f.String()...)
		b = append(b, '=')
		b = append(b, v...)
		width += next - 1
	}
	return append(b, '\n')
}

// dull leaves out of the form for people what says nothing new.
func dull(f event.Field, value string) bool {
	switch f {
	case event.FieldTarget, event.FieldClientPrefix, event.FieldClientClass, event.FieldObjectSampled, event.FieldRefused, event.FieldForwardedFor, event.FieldReferer:
		return true
	case event.FieldMalformed, event.FieldLogin, event.FieldUserVerified:
		return value == "false"
	case event.FieldOutcome, event.FieldClientSource:
		return value == "none" || value == "peer"
	}
	return false
}

func quoteSpaces(s string) string {
	for i := range len(s) {
		if s[i] == ' ' {
			return `"` + s + `"`
		}
	}
	return s
}
