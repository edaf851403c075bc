package main

import (
	"bytes"
	"context"
	"sync"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/pipeline"
)

// span remembers when the logs of a replay begin. Only the first lines of
// each source are looked at; the end is the sources' clocks.
type span struct {
	mu    sync.Mutex
	first int64 // Unix nanoseconds, 0 before anything was read
}

// spanLines is how many lines of a source are looked at.
const spanLines = 32

// watch wraps sources so that their first lines are looked at in passing.
func (s *span) watch(sources []collectors.Source, o format.Options) []collectors.Source {
	out := make([]collectors.Source, len(sources))
	for i, src := range sources {
		out[i] = &spanned{Source: src, span: s, time: firstTime(o)}
	}
	return out
}

// until returns the beginning and the end of what was read. The end is zero
// when nothing was.
func (s *span) until(st *pipeline.Status) (first, last time.Time) {
	for i := range st.Sources {
		if c := st.Sources[i].Clock; c.After(last) {
			last = c
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 {
		return last, last
	}
	return time.Unix(0, s.first).UTC(), last
}

func (s *span) see(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 || t < s.first {
		s.first = t
	}
}

// spanned is a source whose first lines are looked at.
type spanned struct {
	collectors.Source
	span *span
	time func([]byte) (int64, bool)
	seen int
}

var _ collectors.Source = (*spanned)(nil)

// Run implements collectors.Source.
func (s *spanned) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	return s.Source.Run(ctx, from, func(item collectors.Item) error {
		if item.Block != nil && s.seen < spanLines {
			for line := range bytes.Lines(item.Block.Data) {
				if t, ok := s.time(bytes.TrimRight(line, "\n")); ok {
					s.span.see(t)
				}
				if s.seen++; s.seen >= spanLines {
					break
				}
			}
		}
		return emit(item)
	})
}
