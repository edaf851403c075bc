package alerting

import (
	"encoding/binary"
	"errors"
)

var errDamaged = errors.New("it is damaged")

// writer appends the binary parts of stored values.
type writer struct{ b []byte }

func (w *writer) uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

func (w *writer) bytes(p []byte) {
	w.uint(uint64(len(p)))
	w.b = append(w.b, p...)
}

func (w *writer) text(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

// The flags of a stored tally.
const (
	tallyBitten = 1 << iota
	tallySketch
)

func (w *writer) tally(t *tally) {
	var flags uint64
	if t.bitten {
		flags |= tallyBitten
	}
	if t.more != nil {
		flags |= tallySketch
	}
	w.uint(flags)
	w.uint(uint64(t.extra))
	w.uint(uint64(len(t.entries)))
	for _, e := range t.entries {
		w.text(e.key)
		w.uint(uint64(e.n))
	}
	if t.more != nil {
		w.b = append(w.b, t.more.registers[:]...)
	}
}

// reader takes them apart again. After the first fault it is bad and returns
// zero values, so that callers need to check once, at the end. What it
// returns are views.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	n, w := binary.Uvarint(r.b)
	if w <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[w:]
	return n
}

func (r *reader) bytes() []byte { return r.take(r.uint()) }

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) tally(t *tally) {
	flags := r.uint()
	t.bitten = flags&tallyBitten != 0
	t.extra = int64(r.uint())
	for n := r.uint(); n > 0 && !r.bad; n-- {
		key := string(r.bytes())
		t.insert(entry{key, int64(r.uint())})
	}
	if flags&tallySketch != 0 {
		t.more = new(sketch)
		copy(t.more.registers[:], r.take(uint64(len(t.more.registers))))
	}
}
