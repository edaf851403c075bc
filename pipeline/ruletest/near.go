package ruletest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"gatewatch/collectors/format"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/pipeline/trace"
	"gatewatch/rules/sigma"
)

const (
	mostRules   = 12
	mostReasons = 3
	checkEvery  = 4096             // lines between two looks at the context
	lateness    = 10 * time.Second // as a pipeline's where nothing is said
)

// examination looks at the log of a failed case again, line by line and
// without the pipeline: what could not be read, which detections matched or
// nearly did, and how full the windows got.
type examination struct {
	trace   *trace.Trace
	unread  []string
	unreadN int
	matched map[*sigma.Rule]*tally
	nearly  map[*sigma.Rule]*tally
	clock   trace.Clock
}

// tally counts lines and keeps what there is to say of the first.
type tally struct {
	lines, first int64
	failed       []sigma.Failure
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
		trace: trace.New(index), clock: trace.Clock{Lateness: int64(cmp.Or(o.Lateness, lateness).Seconds())}, matched: map[*sigma.Rule]*tally{}, nearly: map[*sigma.Rule]*tally{},
	}
	matcher := index.NewMatcher()
	var ev event.Event
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
		at := time.Unix(0, ev.Time).Unix()
		window, late := x.clock.Place(at, at)
		x.trace.Event(&ev, matcher, window, late)
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

// words says what was seen, the most telling first.
func (x *examination) words(index *sigma.Index) []string {
	out := x.unread
	if more := x.unreadN - len(x.unread); more > 0 {
		out = append(out, fmt.Sprintf("and %d more lines cannot be read", more))
	}
	for _, c := range x.trace.Nearest() {
		out = append(out, c.Summary())
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
