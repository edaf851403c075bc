package ruletest

import (
	"bytes"
	"context"
	"time"

	"gatewatch/collectors"
)

// memory is a collector of one source: a log that is already there, whole.
type memory struct {
	name string
	text []byte // each line ends with a line feed
}

var (
	_ collectors.Collector = (*memory)(nil)
	_ collectors.Source    = (*memory)(nil)
)

// blockBytes is about how much text goes on at once.
const blockBytes = 256 << 10

// Watch implements collectors.Collector.
func (m *memory) Watch(_ context.Context, found func(collectors.Source), settled func()) error {
	found(m)
	settled()
	return nil
}

// Name implements collectors.Source.
func (m *memory) Name() string { return m.name }

// Run implements collectors.Source. It reads all of the text: nothing keeps a
// position in it.
func (m *memory) Run(ctx context.Context, _ collectors.Position, emit func(collectors.Item) error) error {
	data, offset, line := m.text, int64(0), int64(1)
	for len(data) > 0 {
		n := len(data)
		if n > blockBytes {
			n = blockBytes + bytes.IndexByte(data[blockBytes:], '\n') + 1
		}
		block := &collectors.Block{Data: data[:n:n], Offset: offset, Line: line}
		if err := emit(collectors.Item{Block: block, At: time.Now()}); err != nil {
			return err
		}
		offset, line = offset+int64(n), line+int64(bytes.Count(data[:n], []byte{'\n'}))
		data = data[n:]
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Fetch implements collectors.Source.
func (m *memory) Fetch(_ context.Context, lookups []collectors.Lookup) []collectors.Text {
	out := make([]collectors.Text, len(lookups))
	for i, l := range lookups {
		out[i] = collectors.Text{File: m.name, Line: l.Line}
		if end := l.Offset + int64(l.Length); l.Offset >= 0 && end <= int64(len(m.text)) {
			out[i].Text = string(bytes.TrimSuffix(m.text[l.Offset:end], []byte{'\r'}))
		}
	}
	return out
}
