package ruletest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"gatewatch/collectors/format"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/pipeline/trace"
	"gatewatch/rules"
	"gatewatch/rules/sigma"
)

// coverage is what the cases of a file show of one of its rules.
type coverage struct {
	fires  bool // a case says that it fires, or that a rule which it feeds does
	near   bool // a case comes near to it, and it stays silent
	benign bool // a case that opens nothing, and is nothing like an attack
}

// TestBuiltinCoverage: each document of the built-in rules has a case in which
// it fires, named so by what the case expects, a near miss and a benign case.
//
// A detection that only feeds correlations fires where it matches and one of
// these does. A near miss of a detection is a line that it would match but for
// one item, in a case called so where the detection has only alternatives; of a
// correlation a window that is four fifths full or lacks one. Else a case of any kind can be
// one: a near miss of the rule for twenty is often an incident of the rule for five.
func TestBuiltinCoverage(t *testing.T) {
	checked := 0
	for _, p := range builtin(t) {
		s, index, err := Load(rules.FS(), p, "", sigma.CompileOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		seen := map[string]*coverage{}
		for _, r := range index.Rules() {
			seen[r.ID] = &coverage{}
		}
		results := Run(t.Context(), s, index, Options{})
		for i := range results {
			look(t, &results[i], index, seen)
		}
		for _, r := range index.Rules() {
			if r.Kind == sigma.Filter {
				continue
			}
			checked++
			switch c := seen[r.ID]; {
			case !c.fires:
				t.Errorf("%s:%d: no case says that %q fires", r.File, r.Line, r.Title)
			case !c.near:
				t.Errorf("%s:%d: no case nearly makes %q fire", r.File, r.Line, r.Title)
			case !c.benign:
				t.Errorf("%s:%d: no benign case leaves %q silent", r.File, r.Line, r.Title)
			}
		}
	}
	if checked < 50 {
		t.Errorf("checked %d rules", checked)
	}
}

// look notes what one case shows of each rule.
func look(t *testing.T, r *Result, index *sigma.Index, seen map[string]*coverage) {
	t.Helper()
	if !r.OK() {
		t.Error(r.Report())
		return
	}
	// What is expected has come, so the names are those of rules that fired.
	named := map[string]bool{}
	for i := range r.Case.Expect {
		x := &r.Case.Expect[i]
		for _, g := range r.Incidents {
			for _, fired := range g.Rules {
				if slices.ContainsFunc(append([]string{x.Rule}, x.Rules...), func(n string) bool { return nameOf(n, fired.ID, fired.Title) }) {
					named[fired.ID] = true
				}
			}
		}
	}
	fired := map[string]bool{}
	for _, g := range r.Incidents {
		for _, f := range g.Rules {
			fired[f.ID] = true
		}
	}
	matched, near := watch(t, r.Case, index)
	fed := below(index, named)
	if r.Case.Kind() == NearMiss {
		// How near firings and guarded events come is not watched: the author has the word.
		for _, rule := range index.Rules() {
			if counted, ok := rule.Counted(); ok && (len(counted.Guards) > 0 || slices.ContainsFunc(counted.Inputs, func(in *sigma.Rule) bool { return in.Kind == sigma.Correlation })) {
				for id := range below(index, map[string]bool{rule.ID: true}) {
					near[rule.ID] = near[rule.ID] || matched[id]
				}
			}
		}
	}
	for _, rule := range index.Rules() {
		c := seen[rule.ID]
		c.fires = c.fires || named[rule.ID] || fed[rule.ID] && (matched[rule.ID] || rule.Kind == sigma.Correlation)
		c.near = c.near || near[rule.ID] && !fired[rule.ID]
		c.benign = c.benign || r.Case.Kind() == Benign
	}
}

// below returns the documents that rules are made of, and that say which of
// their events count, on all levels.
func below(index *sigma.Index, rules map[string]bool) map[string]bool {
	out := map[string]bool{}
	var walk func(r *sigma.Rule)
	walk = func(r *sigma.Rule) {
		counted, _ := r.Counted()
		for _, in := range append(slices.Clone(counted.Inputs), counted.Guards...) {
			if !out[in.ID] {
				out[in.ID] = true
				walk(in)
			}
		}
	}
	for _, r := range index.Rules() {
		if rules[r.ID] {
			walk(r)
		}
	}
	return out
}

func nameOf(name, id, title string) bool { return name != "" && (name == id || name == title) }

// watch reads the log of a case without the pipeline, and says which
// detections matched a line, and which rules it came near to.
func watch(t *testing.T, c *Case, index *sigma.Index) (matched, near map[string]bool) {
	t.Helper()
	decoder, err := format.New(format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	deriver, err := event.NewDeriver(pipeline.WithAttacks(event.DeriveOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	x := &examination{trace: trace.New(index)}
	matcher := index.NewMatcher()
	matched, near = map[string]bool{}, map[string]bool{}
	var ev event.Event
	for line := range bytes.Lines(c.Text()) {
		if decoder.Decode(bytes.TrimSuffix(line, []byte{'\n'}), &ev) != nil {
			continue
		}
		deriver.Derive(&ev, index.Needs())
		for _, m := range matcher.Match(&ev) {
			matched[m.Rule.ID] = true
		}
		for _, r := range index.Rules() {
			if r.Kind != sigma.Detection || near[r.ID] || len(matcher.Unmet(&ev, r)) != 1 {
				continue
			}
			// A rule of one item is that near to any request: then the author has the word.
			cond, _ := r.Condition()
			near[r.ID] = cond.Op() == sigma.And || c.Kind() == NearMiss
		}
		at := time.Unix(0, ev.Time).Unix()
		window, late := x.clock.Place(at, at)
		x.trace.Event(&ev, matcher, window, late)
	}
	for _, c := range x.trace.Nearest() {
		if r := c.Rule; len(r.Bounds) == 1 && (c.Number >= 0.8*r.Bounds[0].Value || c.Number >= r.Bounds[0].Value-1) {
			near[r.ID] = true
		}
	}
	for i := range index.Plan().Rules {
		// How near a learned baseline came only the engine knows: the author has the word.
		if r := &index.Plan().Rules[i]; r.Type == observation.RateAnomaly && c.Kind() == NearMiss {
			near[r.ID] = true
		}
	}
	return matched, near
}
