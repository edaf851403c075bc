package injection

import "hash/maphash"

// memory holds verdicts on texts that come again: agents, referers, parameters
// of clients that ask for the same. It is a table of fixed size with the texts
// in it, so that it allocates nothing and answers for the very text alone; a
// new text takes the place of the one that was there. What it gives is what
// judging would give, so results do not depend on what is in it.
type memory struct {
	seed  maphash.Seed
	slots []slot
	texts []byte
	width int
}

type slot struct {
	length  uint16
	known   bool
	verdict verdict
}

// newMemory returns a memory for n texts, a power of two, of at most width bytes.
func newMemory(n, width int) *memory {
	return &memory{seed: maphash.MakeSeed(), slots: make([]slot, n), texts: make([]byte, n*width), width: width}
}

// find returns the place of a text and whether its verdict is there.
func (m *memory) find(s string) (int, bool) {
	i := int(maphash.String(m.seed, s) & uint64(len(m.slots)-1))
	x := &m.slots[i]
	return i, x.known && int(x.length) == len(s) && string(m.texts[i*m.width:i*m.width+len(s)]) == s
}

func (m *memory) put(i int, s string, v verdict) {
	copy(m.texts[i*m.width:], s)
	m.slots[i] = slot{uint16(len(s)), true, v}
}
