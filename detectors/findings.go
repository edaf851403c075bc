package detectors

import (
	"cmp"
	"slices"

	"gatewatch/detectors/observation"
)

// Findings collects findings and owns their items. It is reused: after Reset
// everything taken from it is invalid.
type Findings struct {
	List   []observation.Finding
	chunks [][]observation.Item
	used   int // chunks in use
}

const itemChunk = 512

// Reset empties f and keeps its memory.
func (f *Findings) Reset() {
	clear(f.List)
	f.List = f.List[:0]
	for i := range f.chunks {
		clear(f.chunks[i])
		f.chunks[i] = f.chunks[i][:0]
	}
	f.used = 0
}

// items returns an empty slice with room for n items that stays where it is.
func (f *Findings) items(n int) []observation.Item {
	if n > itemChunk {
		return make([]observation.Item, 0, n)
	}
	if f.used == 0 || cap(f.chunks[f.used-1])-len(f.chunks[f.used-1]) < n {
		if f.used == len(f.chunks) {
			f.chunks = append(f.chunks, make([]observation.Item, 0, itemChunk))
		}
		f.used++
	}
	c := &f.chunks[f.used-1]
	at := len(*c)
	*c = (*c)[:at+n]
	return (*c)[at:at:(at + n)]
}

// Append adds the findings of g, which must not be Reset before f is.
func (f *Findings) Append(g *Findings) { f.List = append(f.List, g.List...) }

// Sort puts findings of several engines into merged order. Findings of one
// record stay in the order of their rules.
func (f *Findings) Sort() {
	slices.SortStableFunc(f.List, func(a, b observation.Finding) int {
		return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Hash, b.Hash))
	})
}
