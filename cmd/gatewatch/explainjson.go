package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"gatewatch/event"
	"gatewatch/pipeline/trace"
	"gatewatch/rules/sigma"
)

// explained is a match in one object of explain -o jsonl.
type explained struct {
	Rule     string        `json:"rule"`
	Title    string        `json:"title"`
	Level    string        `json:"level"`
	Alerting bool          `json:"alerting"`
	Tags     []string      `json:"tags"`
	Because  []explainItem `json:"because"`
}

// explainItem is an item of a rule and what it saw.
type explainItem struct {
	Selection string `json:"selection,omitempty"`
	// Field has its modifiers as written; keywords have none.
	Field string   `json:"field"`
	Want  []string `json:"want,omitempty"`
	More  int      `json:"more,omitempty"`  // values left out of want
	Seen  []string `json:"seen,omitempty"`  // what the event has: as logged, then decoded
	Value string   `json:"value,omitempty"` // of want, the one that matched
	In    string   `json:"in,omitempty"`    // the form in which it did
	Line  int      `json:"line"`            // of the rule's file
}

// explainTest is a part of the condition of the rule that --rule names.
type explainTest struct {
	Join      string        `json:"join,omitempty"` // all, any, or a number: so many of tests have to hold
	Not       bool          `json:"not,omitempty"`
	Selection string        `json:"selection,omitempty"`
	Filter    string        `json:"filter,omitempty"`
	Holds     bool          `json:"holds"`
	Item      *explainItem  `json:"item,omitempty"`
	Tests     []explainTest `json:"tests,omitempty"`
}

// explainRule is a detection that --rule asks for, itself or as what feeds a correlation.
type explainRule struct {
	Rule    string      `json:"rule"`
	Title   string      `json:"title"`
	Matched bool        `json:"matched"`
	Test    explainTest `json:"test"`
}

// explainCount is a correlation that counts the line.
type explainCount struct {
	Rule   string            `json:"rule"`
	Title  string            `json:"title"`
	Level  string            `json:"level"`
	Group  map[string]string `json:"group"`
	Number float64           `json:"number"`
	Needs  string            `json:"needs,omitempty"`
	Lacks  string            `json:"lacks,omitempty"`
	Fired  bool              `json:"fired,omitempty"`
	Holds  bool              `json:"holds"`
	Guard  string            `json:"guard,omitempty"`  // why the line does not count
	Absent []string          `json:"absent,omitempty"` // fields without which the line does not count
}

func itemOf(t *sigma.Test) explainItem {
	return explainItem{t.Selection, t.Key, t.Want, t.More, t.Seen, t.Matched, t.In, t.Line}
}

func testOf(t *sigma.Test) explainTest {
	out := explainTest{Not: t.Not, Selection: t.Selection, Filter: t.Filter, Holds: t.Holds}
	switch t.Op {
	case sigma.Leaf:
		item := itemOf(t)
		item.Selection = ""
		out.Item = &item
	case sigma.And:
		out.Join = "all"
	case sigma.Or:
		out.Join = "any"
	default:
		out.Join = strconv.Itoa(t.N)
	}
	for i := range t.Tests {
		out.Tests = append(out.Tests, testOf(&t.Tests[i]))
	}
	return out
}

func explainedCount(c *trace.Count) explainCount {
	out := explainCount{
		Rule: c.Rule.ID, Title: c.Rule.Title, Level: c.Rule.Level.String(), Group: map[string]string{}, Number: c.Number,
		Needs: trace.Needs(c.Rule), Lacks: c.Lacks(), Fired: c.Fired, Holds: c.True, Guard: c.Guard, Absent: c.Absent,
	}
	for _, g := range c.Group {
		out.Group[g.Name] = g.Value
	}
	return out
}

func (e *explainer) appendJSON(b []byte, l *explainLine) ([]byte, error) {
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, l.number, 10)
	if l.file != "" {
		b = appendJSONText(append(b, `,"file":`...), l.file)
	}
	if l.err != nil {
		b = appendJSONText(append(b, `,"error":`...), faultText(l.err))
		return append(b, ",\"matches\":[]}\n"...), nil
	}
	b = appendJSONText(append(b, `,"format":`...), l.event.Format)
	b = append(b, `,"event":`...)
	b = e.appendEvent(b, &l.event)
	if l.late {
		b = append(b, `,"late":true`...)
	}
	matches := make([]explained, 0, len(l.matches))
	for i, m := range l.matches {
		x := explained{m.Rule.ID, m.Rule.Title, m.Rule.Level.String(), m.Alerting, m.Rule.Tags, []explainItem{}}
		if x.Tags == nil {
			x.Tags = []string{}
		}
		for _, t := range l.because[i].Because(mostReasons) {
			x.Because = append(x.Because, itemOf(&t))
		}
		matches = append(matches, x)
	}
	b, err := appendMember(b, "matches", matches)
	if err != nil {
		return nil, err
	}
	counts := []explainCount{}
	for i := range l.counts {
		if e.asked == nil || e.asked.counts(l.counts[i].Rule.ID) {
			counts = append(counts, explainedCount(&l.counts[i]))
		}
	}
	if b, err = appendMember(b, "correlations", counts); err != nil {
		return nil, err
	}
	if e.asked != nil {
		asked := []explainRule{}
		for i, t := range e.matcher.ExplainAll(&l.event, e.asked.detections) {
			r := e.asked.detections[i]
			asked = append(asked, explainRule{r.ID, r.Title, t.Holds, testOf(&t)})
		}
		if b, err = appendMember(b, "asked", asked); err != nil {
			return nil, err
		}
	}
	return append(b, "}\n"...), nil
}

func appendMember(b []byte, name string, value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return append(append(b, `,"`+name+`":`...), inertJSON(text)...), nil
}

func (e *explainer) appendEvent(b []byte, ev *event.Event) []byte {
	b = append(b, `{"timestamp":"`...)
	b = time.Unix(0, ev.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	for _, f := range e.fields {
		text, ok := ev.Text(f)
		if !ok {
			continue
		}
		b = append(b, ',', '"')
		b = append(b, f.String()...)
		b = append(b, '"', ':')
		switch {
		case f.Kind() == event.KindNumber, f == event.FieldMalformed, f == event.FieldUserVerified, f == event.FieldLogin, f == event.FieldObjectSampled:
			b = append(b, text...) // digits, true or false
		default:
			b = appendJSONText(b, text)
		}
	}
	return append(b, '}')
}

// appendJSONText appends s as a JSON string. Bytes that are no UTF-8 become
// U+FFFD.
func appendJSONText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // strings always marshal
			}
			return append(b, inertJSON(quoted)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
