package stdin

import (
	"bytes"
	"context"
	"sync"

	"gatewatch/collectors"
)

// maxText is how much of a line Fetch returns.
const maxText = 8 << 10

// ring keeps the latest bytes of the stream by their logical offset. It is
// safe for concurrent use.
type ring struct {
	size int

	mu   sync.Mutex
	mem  []byte // the byte at offset o is mem[o%size]
	from int64  // offset of the oldest byte that is kept
	end  int64  // offset after the latest
}

// add keeps data, which begins at off. Bytes between end and off were passed
// over: nobody asks for them, so what lies there does not matter.
func (r *ring) add(off int64, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		r.mem = make([]byte, r.size)
		r.from = off
	}
	r.end = off + int64(len(data))
	if over := len(data) - r.size; over > 0 {
		data, off = data[over:], off+int64(over)
	}
	n := copy(r.mem[off%int64(r.size):], data)
	copy(r.mem, data[n:])
	r.from = max(r.from, r.end-int64(r.size))
}

// line returns the line at off without its end, if it is still kept.
func (r *ring) line(off int64, length int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < r.from || off >= r.end {
		return ""
	}
	if length <= 0 || length > maxText {
		length = maxText
	}
	length = int(min(int64(length), r.end-off))
	text := make([]byte, length)
	n := copy(text, r.mem[off%int64(r.size):])
	copy(text[n:], r.mem)
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return string(bytes.TrimSuffix(text, []byte{'\r'}))
}

// Fetch implements collectors.Source, from the latest Options.KeepBytes of
// text. Line numbers are logical: there is no file to count in.
func (c *Collector) Fetch(_ context.Context, lookups []collectors.Lookup) []collectors.Text {
	out := make([]collectors.Text, len(lookups))
	for i, l := range lookups {
		out[i] = collectors.Text{File: Name, Line: l.Line, Text: c.kept.line(l.Offset, int(l.Length))}
	}
	return out
}
