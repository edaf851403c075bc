package pipeline

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/detectors/observation"
)

// When a source counts as silent, see Input.SilentAfter.
const (
	// SilentNever leaves it alone.
	SilentNever time.Duration = -1
	// silentLeast is the least pause of an input that is one where nothing is set.
	silentLeast = time.Hour
	// silentFactor is how much longer than its longest pause before.
	silentFactor = 3
	// silentLines is how many lines an input has to have brought before its
	// habit means anything.
	silentLines = 100
	// silentLook is the time between two looks.
	silentLook = 15 * time.Second
	// silentListed bounds the sources that an incident names.
	silentListed = 20

	silentKind  = "source_silent"
	silentTitle = "A log stopped growing"
)

// silences finds sources that say nothing more, by the wall clock: an
// attacker who stops the log, a full disk and a broken shipper look the same.
// One goroutine has it. It stands outside what a replay repeats.
//
// Where Input.SilentAfter is set, each source is judged by it. Otherwise the
// sources of an input are judged together and against their own longest pause
// since the start: of logs that are named by their day, all but one are silent.
type silences struct {
	inputs []Input
	heard  map[string]*heard // by source, or by input
	told   string
}

// heard is what is known of the pauses of one source or input.
type heard struct {
	lines   int64
	brought int64 // lines since it is watched
	last    time.Time
	longest time.Duration
	seen    time.Time // when it was looked at last
	silent  bool
}

// spoke is a source at one look.
type spoke struct {
	name  string
	input int
	lines int64
	gone  bool
	err   string
}

// look takes in how far the sources are at now, and returns the text of the
// incident, "" where none is silent.
func (s *silences) look(now time.Time, sources []spoke) string {
	together := map[int]*spoke{}
	var each []spoke
	for _, x := range sources {
		switch after := s.inputs[x.input].SilentAfter; {
		case after == SilentNever || x.gone && after > 0:
		case after > 0:
			each = append(each, x)
		default:
			t := together[x.input]
			if t == nil {
				t = &spoke{name: x.name, input: x.input}
				together[x.input] = t
			} else if n := strings.TrimSuffix(t.name, " and others of its entry"); x.name != n {
				t.name = n + " and others of its entry"
			}
			t.lines += x.lines
			if x.err != "" {
				t.err = x.err
			}
		}
	}
	for i := range s.inputs {
		if t := together[i]; t != nil {
			each = append(each, *t)
		}
	}
	var silent []string
	for i := range each {
		x := &each[i]
		key := x.name
		if s.inputs[x.input].SilentAfter == 0 {
			key = fmt.Sprint(x.input)
		}
		if text := s.hear(key, x, now); text != "" {
			silent = append(silent, text)
		}
	}
	for key, h := range s.heard {
		if h.seen != now {
			delete(s.heard, key) // it is no source any more
		}
	}
	more := ""
	if n := len(silent) - silentListed; n > 0 {
		silent, more = silent[:silentListed], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(silent, "; ") + more
}

// hear judges one source, or one input, and says since when it is silent.
func (s *silences) hear(key string, x *spoke, now time.Time) string {
	h := s.heard[key]
	if h == nil {
		h = &heard{lines: x.lines, last: now}
		s.heard[key] = h
	}
	h.seen = now
	if x.lines != h.lines {
		h.brought += max(x.lines-h.lines, 0)
		h.longest = max(h.longest, now.Sub(h.last))
		h.lines, h.last, h.silent = x.lines, now, false
		return ""
	}
	after := s.inputs[x.input].SilentAfter
	if after == 0 {
		if h.brought < silentLines {
			return ""
		}
		after = max(silentLeast, silentFactor*h.longest)
	}
	if now.Sub(h.last) < after {
		return ""
	}
	h.silent = true
	text := fmt.Sprintf("%s: no line since %s", x.name, h.last.UTC().Format(time.RFC3339))
	if s.inputs[x.input].SilentAfter == 0 {
		text += fmt.Sprintf(", its longest pause before was %s", h.longest.Round(time.Second))
	}
	if x.err != "" {
		text += ", it cannot be read: " + x.err
	}
	return text
}

// listen looks for silent sources until ctx is done.
func (p *Pipeline) listen(ctx context.Context) {
	s := silences{inputs: p.o.Inputs, heard: map[string]*heard{}}
	t := time.NewTicker(silentLook)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if p.settled.Load() > 0 {
			continue
		}
		now := p.o.Now()
		text := s.look(now, p.spoken())
		if text == s.told {
			continue
		}
		err := p.ask(ctx, func(f *findingsStage) {
			if text == "" {
				f.book.OwnOver(silentKind, "Lines come again.", now)
			} else {
				f.book.Own(alerting.Trouble{
					Kind: silentKind, Title: silentTitle, Level: observation.Medium, Lasting: true,
					Text: text + ". What nobody logs, nobody sees.",
				}, now.Unix())
			}
			p.wantCut.Store(true)
		})
		if err != nil {
			return
		}
		s.told = text
		p.wakeMerge()
	}
}

func (p *Pipeline) spoken() []spoke {
	p.sourceMu.Lock()
	lanes := append([]*lane(nil), p.laneList...)
	p.sourceMu.Unlock()
	out := make([]spoke, 0, len(lanes))
	for _, l := range lanes {
		x := spoke{name: l.name, input: l.input, lines: l.status.lines.Load(), gone: collectors.State(l.status.state.Load()) == collectors.Gone}
		if e := l.status.lastErr.Load(); e != nil && collectors.State(l.status.state.Load()) == collectors.Failing {
			x.err = *e
		}
		out = append(out, x)
	}
	return out
}
