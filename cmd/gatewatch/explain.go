package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/config"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/pipeline/trace"
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

func newExplain(a *app) *cobra.Command {
	var (
		in   input
		out  outputFormat
		rule string
	)
	c := &cobra.Command{
		Use:   "explain FILE...",
		Short: "Show what each line was parsed into and which rules matched",
		Long: "Explain prints, for each line of the logs, the request that was read from it; the\n" +
			"detections that matched, with the selection and the value that did it; the\n" +
			"correlations that count it, with the group, what their windows hold and what is\n" +
			"missing; and in the form for people the detections that nearly matched and why not.\n\n" +
			"With --rule it says of one rule alone why it matched or not: each item passes or\n" +
			"fails, with the value that it saw. Of a correlation it shows the rules that feed it\n" +
			"and its windows, and at the end how near it came.\n\n" +
			"A file may be gzip or zstd; - is standard input. Windows count the lines of one file.",
		Example: "  gatewatch explain /var/log/nginx/access.log\n" +
			"  grep 203.0.113.7 access.log | gatewatch explain --rule 'Many failed logins from one client' -",
		Args: needFiles,
		RunE: func(c *cobra.Command, args []string) error {
			in.files = args
			return failed(a.explain(c.Context(), in, out, rule))
		},
	}
	in.flags(c)
	outputFlag(c, &out)
	c.Flags().StringVar(&rule, "rule", "", "say of the rule with this `id`, name or title why it matched or not")
	return c
}

func (a *app) explain(ctx context.Context, in input, out outputFormat, rule string) error {
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
	if rule != "" {
		if e.asked, err = ask(set, rule); err != nil {
			return err
		}
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
	w        *bufio.Writer
	decoder  *format.Decoder
	deriver  *event.Deriver
	index    *sigma.Index
	matcher  *sigma.Matcher
	trace    *trace.Trace
	clock    trace.Clock
	lateness int64
	asked    *asked // for --rule
	table    bool
	several  bool // more than one source: name each line's file
	fields   []event.Field
	all      event.FieldSet
	buf      []byte
	waiting  []*explainLine // for the time of the next one, see trace.Clock
}

// explainLine is a line and what was made of it.
type explainLine struct {
	file    string
	number  int64
	text    []byte
	event   event.Event
	err     error // why it cannot be read; all below is empty then
	matches []sigma.Match
	because []sigma.Test // of matches
	counts  []trace.Count
	late    bool
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
		w: bufio.NewWriterSize(a.stdout, 64<<10), decoder: decoder, deriver: deriver, index: x, matcher: x.NewMatcher(),
		lateness: int64(c.Sources[0].Lateness.Seconds()), table: out == formatTable,
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
	e.clock, e.trace = trace.Clock{Lateness: e.lateness}, trace.New(e.index)
	err := s.Run(ctx, collectors.Position{}, func(item collectors.Item) error {
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
	if err != nil {
		return err
	}
	if err := e.print(true); err != nil {
		return err
	}
	return e.summary(s.Name())
}

// mostWaiting bounds the lines that wait for one that can be read.
const mostWaiting = 1000

func (e *explainer) line(file string, number int64, text []byte) error {
	if !e.several {
		file = ""
	}
	l := &explainLine{file: file, number: number, text: bytes.Clone(text)}
	l.err = e.decoder.Decode(l.text, &l.event)
	e.waiting = append(e.waiting, l)
	return e.print(len(e.waiting) > mostWaiting)
}

// print prints the lines of which all is known; at the end of a source all.
func (e *explainer) print(all bool) error {
	for len(e.waiting) > 0 {
		l := e.waiting[0]
		if l.err == nil {
			t := second(&l.event)
			next, known := t, !e.clock.Doubts(t)
			for _, n := range e.waiting[1:] {
				if n.err == nil && !known {
					next, known = second(&n.event), true
				}
			}
			if !known && !all {
				return nil
			}
			e.judge(l, t, next)
		}
		e.waiting = e.waiting[1:]
		if err := e.write(l); err != nil {
			return err
		}
	}
	return nil
}

func second(ev *event.Event) int64 { return max(ev.Time/1e9, 0) }

// judge derives the rest of an event and asks the rules.
func (e *explainer) judge(l *explainLine, t, next int64) {
	e.deriver.Derive(&l.event, e.all)
	var window int64
	window, l.late = e.clock.Place(t, next)
	l.counts = e.trace.Event(&l.event, e.matcher, window, l.late)
	l.matches = e.matcher.Match(&l.event)
	if len(l.matches) > 0 {
		rules := make([]*sigma.Rule, len(l.matches))
		for i := range l.matches {
			rules[i] = l.matches[i].Rule
		}
		l.because = e.matcher.ExplainAll(&l.event, rules)
	}
}

func (e *explainer) write(l *explainLine) error {
	var err error
	switch {
	case !e.table:
		if e.buf, err = e.appendJSON(e.buf[:0], l); err != nil {
			return err
		}
	case l.err == nil && e.asked != nil:
		e.buf = e.appendAsked(e.appendHead(e.buf[:0], l), l)
	default:
		e.buf = e.appendText(e.buf[:0], l)
	}
	_, err = e.w.Write(e.buf)
	return err
}

// summary says at the end of a source how near the asked rule came to firing.
func (e *explainer) summary(file string) error {
	if e.asked == nil || !e.table {
		return nil
	}
	b := e.asked.appendNearest(nil, e.trace)
	if len(b) > 0 && e.several {
		b = append(append([]byte(escape(file)), '\n'), b...)
	}
	_, err := e.w.Write(b)
	return err
}
