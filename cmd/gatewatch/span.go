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
		x := &spanned{Source: src, span: s, time: firstTime(o)}
		out[i] = x
		if q, ok := src.(collectors.Queue); ok {
			out[i] = &spannedQueue{spanned: x, queue: q}
		}
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
			for i := range item.Block.Messages {
				s.message(&item.Block.Messages[i])
				if s.seen++; s.seen >= spanLines {
					break
				}
			}
		}
		return emit(item)
	})
}

// message looks at a message. Where its lines are wrapped its own time will do.
func (s *spanned) message(m *collectors.Message) {
	if t, ok := s.time(bytes.TrimRight(m.Value, "\n")); ok {
		s.span.see(t)
	} else if m.Time > 0 {
		s.span.see(m.Time)
	}
}

// spannedQueue is a queue whose first messages are looked at.
type spannedQueue struct {
	*spanned
	queue collectors.Queue
}

var _ collectors.Queue = (*spannedQueue)(nil)

// Rank implements collectors.Queue.
func (s *spannedQueue) Rank() string { return s.queue.Rank() }

// Place implements collectors.Queue.
func (s *spannedQueue) Place() (topic string, partition int32) { return s.queue.Place() }

// Lag implements collectors.Queue.
func (s *spannedQueue) Lag(offset int64) (messages int64, ok bool) { return s.queue.Lag(offset) }
