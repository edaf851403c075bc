package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/config"
	"gatewatch/detectors/injection"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

func newExplain(a *app) *cobra.Command {
	var (
		in  input
		out outputFormat
	)
	c := &cobra.Command{
		Use:   "explain FILE...",
		Short: "Show what each line was parsed into and which rules matched",
		Long: "Explain prints, for each line of the logs, the request that was read from it, the\n" +
			"detections that matched, and in the form for people those that nearly did and why\n" +
			"not. A file may be gzip or zstd; - is standard input.",
		Args: needFiles,
		RunE: func(c *cobra.Command, args []string) error {
			in.files = args
			return failed(a.explain(c.Context(), in, out))
		},
	}
	in.flags(c)
	outputFlag(c, &out)
	return c
}

func (a *app) explain(ctx context.Context, in input, out outputFormat) error {
	c, err := a.readConfig(in.config, in.rules)
	if err != nil {
		return err
	}
	set, err := loadRules(c)
	if err != nil {
		return err
	}
	a.warnRules(set)
	o, err := in.options(c)
	if err != nil {
		return err
	}
	sources, err := a.open(c, o, in.files, false)
	if err != nil {
		return err
	}
	e, err := a.newExplainer(c, set.index, o, out)
	if err != nil {
		return err
	}
	e.several = len(sources) > 1
	for _, s := range sources {
		if err := e.source(ctx, s); err != nil {
			return fmt.Errorf("read %s: %w", s.Name(), err)
		}
	}
	if err := e.w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// explainer prints line by line.
type explainer struct {
	w       *bufio.Writer
	decoder *format.Decoder
	deriver *event.Deriver
	matcher *sigma.Matcher
	table   bool
	several bool // more than one source: name each line's file
	fields  []event.Field
	all     event.FieldSet
	buf     []byte
	event   event.Event
}

func (a *app) newExplainer(c *config.Config, x *sigma.Index, o format.Options, out outputFormat) (*explainer, error) {
	decoder, err := format.New(o)
	if err != nil {
		return nil, err
	}
	deriver, err := event.NewDeriver(pipeline.WithAttacks(c.Derive()))
	if err != nil {
		return nil, err
	}
	e := &explainer{
		w: bufio.NewWriterSize(a.stdout, 64<<10), decoder: decoder, deriver: deriver, matcher: x.NewMatcher(),
		table: out == formatTable,
	}
	for _, name := range event.FieldNames() {
		f, _ := event.Lookup(name)
		e.all = e.all.Add(f)
		switch f {
		case event.FieldRaw, event.FieldFormat, event.FieldDurationMS:
			// The line itself, what is said beside the event, and a second
			// unit of the same number.
		default:
			e.fields = append(e.fields, f)
		}
	}
	return e, nil
}

func (e *explainer) source(ctx context.Context, s collectors.Source) error {
	return s.Run(ctx, collectors.Position{}, func(item collectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		b := item.Block
		if b == nil {
			return nil
		}
		if b.Release != nil {
			defer b.Release()
		}
		data, line := b.Data, b.Line
		for len(data) > 0 {
			text, rest, _ := bytes.Cut(data, []byte{'\n'})
			if err := e.line(s.Name(), line, text); err != nil {
				return err
			}
			data, line = rest, line+1
		}
		if err := e.w.Flush(); err != nil { // a pipe is watched as it comes
			return fmt.Errorf("write: %w", err)
		}
		return ctx.Err()
	})
}

func (e *explainer) line(file string, line int64, text []byte) error {
	err := e.decoder.Decode(text, &e.event)
	var matches []sigma.Match
	if err == nil {
		e.deriver.Derive(&e.event, e.all)
		matches = e.matcher.Match(&e.event)
	}
	if !e.several {
		file = ""
	}
	if e.table {
		e.buf = e.appendText(e.buf[:0], file, line, text, matches, err)
	} else if e.buf, err = e.appendJSON(e.buf[:0], file, line, matches, err); err != nil {
		return err
	}
	_, err = e.w.Write(e.buf)
	return err
}

// explained is the tail of one object of explain -o jsonl.
type explained struct {
	Rule     string   `json:"rule"`
	Title    string   `json:"title"`
	Level    string   `json:"level"`
	Alerting bool     `json:"alerting"`
	Tags     []string `json:"tags"`
}

func (e *explainer) appendJSON(b []byte, file string, line int64, matches []sigma.Match, fault error) ([]byte, error) {
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, line, 10)
	if file != "" {
		b = appendJSONText(append(b, `,"file":`...), file)
	}
	if fault != nil {
		b = appendJSONText(append(b, `,"error":`...), faultText(fault))
		return append(b, ",\"matches\":[]}\n"...), nil
	}
	b = appendJSONText(append(b, `,"format":`...), e.event.Format)
	b = append(b, `,"event":`...)
	b = e.appendEvent(b)
	list := make([]explained, 0, len(matches))
	for _, m := range matches {
		tags := m.Rule.Tags
		if tags == nil {
			tags = []string{}
		}
		list = append(list, explained{m.Rule.ID, m.Rule.Title, m.Rule.Level.String(), m.Alerting, tags})
	}
	tail, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	b = append(append(b, `,"matches":`...), tail...)
	return append(b, "}\n"...), nil
}

func (e *explainer) appendEvent(b []byte) []byte {
	b = append(b, `{"timestamp":"`...)
	b = time.Unix(0, e.event.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	for _, f := range e.fields {
		text, ok := e.event.Text(f)
		if !ok {
			continue
		}
		b = append(b, ',', '"')
		b = append(b, f.String()...)
		b = append(b, '"', ':')
		switch {
		case f.Kind() == event.KindNumber, f == event.FieldMalformed, f == event.FieldUserVerified, f == event.FieldLogin:
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

// mostReasons bounds the reasons that are printed of one near miss.
const mostReasons = 3

// appendText is the form for people.
func (e *explainer) appendText(b []byte, file string, line int64, text []byte, matches []sigma.Match, fault error) []byte {
	if file != "" {
		b = append(b, escape(file)...)
		b = append(b, ':')
	}
	b = strconv.AppendInt(b, line, 10)
	b = append(b, ' ', ' ')
	b = append(b, clip(escape(string(text)), tableWidth-12)...)
	b = append(b, '\n')
	if fault != nil {
		b = append(b, "    not read: "...)
		b = append(b, escape(faultText(fault))...)
		if line, ok := errors.AsType[*format.LineError](fault); ok {
			b = append(append(b, ": "...), reasonText(line.Reason)...)
		}
		return append(b, '\n')
	}
	b = e.appendFields(b)
	if len(e.event.AttackClass) > 0 {
		b = appendAttacks(b, pipeline.ExplainAttacks(&e.event))
	}
	for _, m := range matches {
		note := ""
		if !m.Alerting {
			note = " (feeds correlations only)"
		}
		b = fmt.Appendf(b, "    matched  %-8s  %s%s\n", shortLevel(m.Rule.Level.String()), escape(m.Rule.Title), note)
	}
	for _, n := range e.matcher.Near(&e.event) {
		b = fmt.Appendf(b, "    nearly   %-8s  %s\n", shortLevel(n.Rule.Level.String()), escape(n.Rule.Title))
		for _, f := range n.Failed[:min(mostReasons, len(n.Failed))] {
			b = append(b, "                       "...)
			b = append(b, clip(escape(f.String()), tableWidth-23)...)
			b = append(b, '\n')
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
			at += " " + escape(f.Name)
		}
		b = fmt.Appendf(b, "    attack   %-8s  %s\n", f.Class, clip(at+": "+escape(f.Text), tableWidth-23))
	}
	return b
}

// appendFields prints what was read, several fields a line.
func (e *explainer) appendFields(b []byte) []byte {
	const indent = "    "
	b = append(b, indent...)
	b = append(b, e.event.Format...)
	b = append(b, ' ')
	b = time.Unix(0, e.event.Time).UTC().AppendFormat(b, stamp)
	width := len(indent) + len(e.event.Format) + 1 + len(stamp)
	for _, f := range e.fields {
		v, ok := e.event.Text(f)
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
	case event.FieldTarget, event.FieldClientPrefix, event.FieldForwardedFor, event.FieldReferer:
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
