package ruletest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/collectors/format"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/rules/sigma"
)

// Options say how logs are read and judged. The zero value is the default
// configuration.
type Options struct {
	Format format.Options
	// Lateness is as in pipeline.Input; default 10 s.
	Lateness time.Duration
	Derive   event.DeriveOptions
	Book     alerting.BookOptions
}

// Result is what became of one case.
type Result struct {
	Case      *Case
	Lines     int64         // of the log, blank ones too
	Took      time.Duration // by the wall clock
	Incidents []Incident
	// Faults say in words what is not as the case expects; empty when it holds.
	Faults []string
	// Near says, of a case that fails, what was matched and what nearly fired.
	Near []string
	// Err is an error of the run itself. Then the case was not judged.
	Err error
}

// OK reports whether the case was run and holds.
func (r *Result) OK() bool { return r.Err == nil && len(r.Faults) == 0 }

// Report says on several lines why the case fails, or returns "" when it
// holds. It has no control characters but line feeds.
func (r *Result) Report() string {
	if r.OK() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: %s\n", printable(r.Case.File), r.Case.Line, printable(r.Case.Name))
	if r.Err != nil {
		fmt.Fprintf(&b, "    not run: %s\n", printable(r.Err.Error()))
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "    %s\n", printable(f))
	}
	if len(r.Near) > 0 {
		b.WriteString("  what the rules saw:\n")
	}
	for _, n := range r.Near {
		fmt.Fprintf(&b, "    %s\n", printable(n))
	}
	return b.String()
}

// Run runs the cases of a suite, one after the other, against the rules of
// the index, and returns a result for each of them in the order of the file.
// When ctx ends, the cases that are left have its error.
func Run(ctx context.Context, s *Suite, index *sigma.Index, o Options) []Result {
	out := make([]Result, len(s.Cases))
	for i, c := range s.Cases {
		out[i] = Result{Case: c}
		begin := time.Now()
		out[i].Err = out[i].run(ctx, index, o)
		out[i].Took = time.Since(begin)
	}
	return out
}

func (r *Result) run(ctx context.Context, index *sigma.Index, o Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text := r.Case.Text()
	p, err := pipeline.New(pipeline.Options{
		Inputs: []pipeline.Input{{
			Collector: &memory{name: r.Case.File, text: text}, Format: o.Format, Lateness: o.Lateness,
		}},
		Derive: o.Derive, Index: index, Book: o.Book, Workers: 1,
	})
	if err != nil {
		return fmt.Errorf("make the pipeline: %w", err)
	}
	if err := p.Run(ctx); err != nil {
		return fmt.Errorf("run the pipeline: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Incidents, err = opened(ctx, p); err != nil {
		return fmt.Errorf("ask for the incidents: %w", err)
	}
	r.readable(p.Status())
	r.Faults = append(r.Faults, compare(r.Case, r.Incidents)...)
	if len(r.Faults) > 0 {
		r.Faults = append(r.Faults, unknownRules(r.Case, index)...)
		r.Near, err = examine(ctx, text, index, o)
	}
	return err
}

// opened returns the incidents, then those of rules that are only watched:
// what a rule finds is tested alike before and after it is trusted.
func opened(ctx context.Context, p *pipeline.Pipeline) ([]Incident, error) {
	told, err := p.Incidents(ctx)
	if err != nil {
		return nil, err
	}
	untold, err := p.ShadowIncidents(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Incident, 0, len(told)+len(untold))
	for _, i := range told {
		out = append(out, Incident{Incident: i})
	}
	for _, i := range untold {
		out = append(out, Incident{Incident: i, Shadow: true})
	}
	return out, nil
}

// readable reports lines that were not judged as the case's author must have
// meant: a test of them would hold for nothing.
func (r *Result) readable(s pipeline.Status) {
	var events, unreadable, late int64
	for i := range s.Sources {
		src := &s.Sources[i]
		r.Lines += src.Lines
		events += src.Events
		late += src.Late
		for _, n := range src.Unreadable {
			unreadable += n
		}
	}
	switch {
	case unreadable > 0:
		r.Faults = append(r.Faults, fmt.Sprintf("%d of %d lines cannot be read as a request", unreadable, r.Lines))
	case events == 0:
		r.Faults = append(r.Faults, "the log has no request")
	}
	switch want := r.Case.Late; {
	case late == want:
	case want == 0:
		r.Faults = append(r.Faults, fmt.Sprintf("%s too far behind those before it to count in windows; let times go up", lines(late)))
	default:
		r.Faults = append(r.Faults, fmt.Sprintf("%s too far behind those before it to count in windows, late says %d", lines(late), want))
	}
}

// unknownRules reports names that no rule of the index has.
func unknownRules(c *Case, index *sigma.Index) []string {
	var names []string
	for _, r := range index.Rules() {
		names = append(names, r.Title, r.ID)
	}
	var out []string
	for i := range c.Expect {
		x := &c.Expect[i]
		for _, name := range append([]string{x.Rule}, x.Rules...) {
			if name == "" || slices.Contains(names, name) {
				continue
			}
			out = append(out, fmt.Sprintf("line %d: no rule has the title or id %q; %s", x.Line, name,
				cmp.Or(didYouMean(name, names), "tests load the rules of their neighbour file only")))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
