package file

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/packed"
)

const (
	// maxHistory is how many generations of a source are remembered, and
	// returns to one.
	maxHistory = 512
	// maxText is how much of a line Fetch returns.
	maxText = 8 << 10
)

// history remembers the generations of a source, so that a logical offset can
// be found in its file again. It is safe for concurrent use.
type history struct {
	mu   sync.Mutex
	gens []generation // ascending by from
}

// add remembers g, or what is newly known of it.
func (h *history) add(g *generation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, found := slices.BinarySearchFunc(h.gens, g.from, func(k generation, from int64) int {
		return cmp.Compare(k.from, from)
	})
	// An empty generation has the from of the one after it: the later one wins.
	if found {
		h.gens[i] = *g
		return
	}
	h.gens = slices.Insert(h.gens, i, *g)
	if len(h.gens) > maxHistory {
		h.gens = slices.Delete(h.gens, 0, len(h.gens)-maxHistory)
	}
}

// at returns the generation that holds a logical offset.
func (h *history) at(offset int64) (generation, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range slices.Backward(h.gens) {
		if g.from <= offset {
			return g, true
		}
	}
	return generation{}, false
}

// fetch answers lookups. open finds a generation's content again: a file that
// the caller closes, and whether it is compressed.
func (h *history) fetch(ctx context.Context, lookups []collectors.Lookup, open func(*generation) (*os.File, bool, error)) []collectors.Text {
	out := make([]collectors.Text, len(lookups))
	order := make([]int, len(lookups))
	for i := range order {
		order[i] = i
	}
	// By offset, so that each generation is opened once and a compressed one
	// is read through once.
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(lookups[a].Offset, lookups[b].Offset)
	})
	var cur *found
	defer func() { cur.close() }()
	for _, i := range order {
		if ctx.Err() != nil {
			return out
		}
		l := lookups[i]
		g, ok := h.at(l.Offset)
		if !ok {
			continue
		}
		if cur == nil || cur.gen.from != g.from {
			cur.close()
			cur = openFound(g, open)
		}
		out[i] = cur.text(ctx, l)
	}
	return out
}

// found is a generation opened for lookups in ascending order.
type found struct {
	gen generation
	f   *os.File
	z   *bufio.Reader // set for a compressed file
	pos int64         // of z, in the content
	err error
}

func openFound(g generation, open func(*generation) (*os.File, bool, error)) *found {
	r := &found{gen: g}
	var compressed bool
	if r.f, compressed, r.err = open(&g); r.err != nil || !compressed {
		return r
	}
	z, err := packed.NewReader(io.NewSectionReader(r.f, 0, 1<<62))
	if err != nil {
		r.err = err
		return r
	}
	r.z = bufio.NewReaderSize(z, 2*maxText)
	return r
}

func (r *found) close() {
	if r != nil && r.f != nil {
		_ = r.f.Close()
	}
}

// text reads one line. What cannot be read leaves the text empty.
func (r *found) text(ctx context.Context, l collectors.Lookup) collectors.Text {
	t := collectors.Text{File: r.gen.path}
	if line := l.Line - r.gen.baseLine; line > 0 && !r.gen.lineHidden {
		t.Line = line
	}
	if r.err != nil || r.f == nil {
		return t
	}
	t.File = r.f.Name()
	at := l.Offset - r.gen.base
	want := int(min(l.Length, maxText))
	if l.Length == 0 {
		want = maxText
	}
	var data []byte
	if r.z == nil {
		data = make([]byte, want)
		n, err := r.f.ReadAt(data, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return t
		}
		data = data[:n]
	} else {
		if r.err = r.forward(ctx, at); r.err != nil {
			return t
		}
		data, _ = r.z.Peek(want) // two lookups of one line are fine
	}
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		data = data[:end]
	}
	t.Text = string(bytes.TrimSuffix(data, []byte{'\r'}))
	return t
}

// forward goes to offset at of compressed content.
func (r *found) forward(ctx context.Context, at int64) error {
	for r.pos < at {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.z.Discard(int(min(at-r.pos, 1<<20)))
		r.pos += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}
