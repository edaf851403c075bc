package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/format/envelope"
	"gatewatch/collectors/kafka/wire"
)

const (
	// textsWithin bounds how long texts are looked for: they decorate an incident
	// that is already known.
	textsWithin = 3 * time.Second
	// textBytes is how much is asked for at a time: lines of one incident stand
	// near each other.
	textBytes = 64 << 10
)

// Fetch implements collectors.Source. It asks the broker again, over a
// connection of its own.
func (p *partition) Fetch(ctx context.Context, lookups []collectors.Lookup) []collectors.Text {
	return p.texts(ctx, p.topic, p.number, p.name, lookups)
}

// texts returns the lines behind references into a partition.
func (s *shared) texts(ctx context.Context, topic string, number int32, name string, lookups []collectors.Lookup) []collectors.Text {
	out := make([]collectors.Text, len(lookups))
	wanted := map[int64][]int{} // by offset of the message
	var order []int64
	for i, l := range lookups {
		offset, _ := collectors.MessageOffset(l.Offset)
		if wanted[offset] == nil {
			order = append(order, offset)
		}
		wanted[offset] = append(wanted[offset], i)
	}
	slices.Sort(order)
	ctx, cancel := context.WithTimeout(ctx, textsWithin)
	defer cancel()
	w, at, err := s.catalog.open(ctx, topic, number, s.o.Now().Add(-time.Minute))
	if err != nil {
		return out
	}
	defer func() { _ = w.Close() }()
	var lines envelope.Splitter
	found := func(rec *wire.Record) {
		for _, i := range wanted[rec.Offset] {
			_, line := collectors.MessageOffset(lookups[i].Offset)
			if text, ok := lineOf(&lines, rec.Value, line); ok && len(text) == int(lookups[i].Length) {
				out[i] = collectors.Text{File: fmt.Sprintf("%s@%d", name, rec.Offset), Line: int64(line) + 1, Text: string(text)}
			}
		}
		delete(wanted, rec.Offset)
	}
	for _, offset := range order {
		if wanted[offset] == nil {
			continue // it came with another one
		}
		if err := s.around(ctx, w, at, topic, number, offset, found); err != nil {
			return out
		}
	}
	return out
}

// around calls f for records from an offset on.
func (s *shared) around(ctx context.Context, w *wire.Conn, at place, topic string, number int32, offset int64, f func(*wire.Record)) error {
	err := w.SendFetch(wire.FetchRequest{
		Topic: topic, ID: at.id, Partition: number, Offset: offset, LeaderEpoch: none, LastEpoch: none, MaxBytes: textBytes,
	})
	if err != nil {
		return err
	}
	res, err := w.ReadFetch(ctx, &s.pool, s.o.MaxBatch)
	if err != nil {
		return err
	}
	defer res.Free()
	for data := res.Records; ; {
		batch, rest, ok, err := wire.NextBatch(data)
		if err != nil || !ok {
			return nil //nolint:nilerr // what is damaged has no text
		}
		data = rest
		if batch.Last < offset || batch.Control() {
			continue
		}
		unpacked, n, err := batch.Unpack(&s.pool, s.o.MaxBatch)
		if err != nil {
			continue
		}
		var body []byte
		if unpacked != nil {
			body = unpacked.B[:n]
		}
		err = batch.Each(body, f)
		if unpacked != nil {
			unpacked.Free()
		}
		if err != nil {
			return nil //nolint:nilerr // as above
		}
	}
}

// lineOf returns a line of a message by its number, from 0 on.
func lineOf(s *envelope.Splitter, value []byte, line int) (text []byte, ok bool) {
	s.Reset(value)
	for range line + 1 {
		if text, ok = s.Next(); !ok {
			return nil, false
		}
	}
	return text, true
}
