package ruletest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/collectors/format"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/rules/sigma"
)

const (
	mostRules   = 12
	mostReasons = 3
	checkEvery  = 4096 // lines between two looks at the context
)

// examination looks at the log of a failed case again, line by line and
// without the pipeline: what could not be read, which detections matched or
// nearly did, and how full the windows got.
type examination struct {
	plan    *observation.Plan
	unread  []string
	unreadN int
	matched map[*sigma.Rule]*tally
	nearly  map[*sigma.Rule]*tally
	clock   int64
	windows map[windowKey]*window
	fullest map[uint32]fullest // by rule
}

// tally counts lines and keeps what there is to say of the first.
type tally struct {
	lines, first int64
	failed       []sigma.Failure
}

type windowKey struct {
	rule   uint32
	values string
}

// fullest is the number of a rule's windows that was nearest to firing.
type fullest struct {
	n      float64
	at     int64
	values string
	known  bool
}

func examine(ctx context.Context, text []byte, index *sigma.Index, o Options) ([]string, error) {
	decoder, err := format.New(o.Format)
	if err != nil {
		return nil, fmt.Errorf("read the lines: %w", err)
	}
	deriver, err := event.NewDeriver(pipeline.WithAttacks(o.Derive))
	if err != nil {
		return nil, fmt.Errorf("derive fields: %w", err)
	}
	x := &examination{
		plan: index.Plan(), matched: map[*sigma.Rule]*tally{}, nearly: map[*sigma.Rule]*tally{},
		windows: map[windowKey]*window{}, fullest: map[uint32]fullest{},
	}
	matcher := index.NewMatcher()
	var (
		ev    event.Event
		batch observation.Batch
	)
	line := int64(0)
	for data := range bytes.Lines(text) {
		if line++; line%checkEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		data = bytes.TrimSuffix(data, []byte{'\n'})
		if err := decoder.Decode(data, &ev); err != nil {
			x.unreadable(line, data, err)
			continue
		}
		deriver.Derive(&ev, index.Needs())
		for _, m := range matcher.Match(&ev) {
			count(x.matched, m.Rule, line)
		}
		for _, n := range matcher.Near(&ev) {
			if t := count(x.nearly, n.Rule, line); t.lines == 1 {
				t.failed = n.Failed
			}
		}
		matcher.Observe(&ev, &batch)
		x.clock = max(x.clock, time.Unix(0, ev.Time).Unix())
		x.judge(&batch)
		batch.Reset()
	}
	return x.words(index), nil
}

func count(m map[*sigma.Rule]*tally, r *sigma.Rule, line int64) *tally {
	t := m[r]
	if t == nil {
		t = &tally{first: line}
		m[r] = t
	}
	t.lines++
	return t
}

func (x *examination) unreadable(line int64, text []byte, err error) {
	if errors.Is(err, format.ErrBlank) {
		return
	}
	if x.unreadN++; x.unreadN <= mostReasons {
		x.unread = append(x.unread, fmt.Sprintf("line %d cannot be read: %v: %s", line, err, clip(string(text))))
	}
}

// judge enters what one event contributes into the windows of rules over
// events.
func (x *examination) judge(b *observation.Batch) {
	for i := range b.Obs {
		o := &b.Obs[i]
		for _, h := range b.HitsOf(o) {
			r := &x.plan.Rules[h.Rule]
			key := windowKey{h.Rule, o.Values}
			w := x.windows[key]
			if w == nil {
				key.values = strings.Clone(o.Values) // the batch is emptied
				w = &window{counts: map[uint64]int{}}
				x.windows[key] = w
			}
			for _, n := range w.add(r, x.clock, &h) {
				if f := x.fullest[h.Rule]; !f.known || nearer(r, n, f.n) {
					x.fullest[h.Rule] = fullest{n, x.clock, strings.Clone(o.Values), true}
				}
			}
		}
	}
}

// words says what was seen, the most telling first.
func (x *examination) words(index *sigma.Index) []string {
	out := x.unread
	if more := x.unreadN - len(x.unread); more > 0 {
		out = append(out, fmt.Sprintf("and %d more lines cannot be read", more))
	}
	for _, id := range slices.Sorted(maps.Keys(x.fullest)) {
		if r := &x.plan.Rules[id]; !r.Plain {
			out = append(out, x.fullness(r, x.fullest[id]))
		}
	}
	shown := 0
	for _, r := range index.Rules() {
		m, n := x.matched[r], x.nearly[r]
		if m == nil && n == nil {
			continue
		}
		if shown++; shown > mostRules {
			return append(out, "and more rules")
		}
		if m != nil {
			out = append(out, fmt.Sprintf("%s matched %s, the first is line %d", r.Title, lines(m.lines), m.first))
			continue
		}
		out = append(out, fmt.Sprintf("%s nearly matched %s, the first is line %d:", r.Title, lines(n.lines), n.first))
		for _, f := range n.failed[:min(mostReasons, len(n.failed))] {
			out = append(out, "    "+clip(f.String()))
		}
	}
	if shown == 0 {
		out = append(out, "no rule matched or nearly matched a line")
	}
	return out
}

func lines(n int64) string {
	if n == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", n)
}

func (x *examination) fullness(r *observation.Rule, f fullest) string {
	kind := &x.plan.Kinds[r.Kind]
	values := kind.Values(f.values)
	var group []string
	for i, name := range kind.Fields {
		if i < len(values) {
			group = append(group, name+" "+values[i])
		}
	}
	var bounds []string
	for _, b := range r.Bounds {
		bounds = append(bounds, fmt.Sprintf("%s %v", b.Op, b.Value))
	}
	needs := strings.Join(bounds, " and ")
	if r.Type == observation.RateAnomaly {
		needs = baselineNeeds(&r.Baseline)
	}
	if r.Type.Steps() {
		needs = fmt.Sprint(len(r.Steps))
	}
	return fmt.Sprintf("%s: %s %s at %s (%s), needs %s", r.Title, told(r, f.n), span(r),
		time.Unix(f.at, 0).UTC().Format(time.RFC3339), cmp.Or(strings.Join(group, ", "), "all together"), needs)
}
