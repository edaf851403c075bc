package detectors

import (
	"hash/maphash"
	"net/netip"

	"gatewatch/detectors/observation"
)

// dict stores each distinct value once and counts who refers to it. It keeps
// what windows share: cards, counted values, client addresses. Index 0 means
// none. It is storage only: no result depends on what else is in it. So it is
// indexed by a hash with a seed of the process, for which nobody outside can
// choose values that collide.
type dict[T any] struct {
	entries []dictEntry[T]
	free    []uint32
	index   []uint32 // open addressing with linear probing; 0 is empty
	used    int
	seed    maphash.Seed
	hash    func(maphash.Seed, *T) uint64
	same    func(a, b *T) bool
	clone   func(*T) T // makes the copy to keep

	// Values to which nothing refers any more, oldest first, as a ring: what was of
	// use a moment ago mostly is so again, and then needs no new copy.
	idle     [dictIdle]uint32
	idleFrom int
	idleN    int
}

// dictIdle is how many values are kept to which nothing refers.
const dictIdle = 1024

type dictEntry[T any] struct {
	value T
	hash  uint64
	refs  uint32
	idle  bool   // is in dict.idle
	stamp uint32 // encoder: generation in which local was given
	local uint32 // encoder: number of the value in the chunk being written
}

func newDict[T any](hash func(maphash.Seed, *T) uint64, same func(a, b *T) bool, clone func(*T) T) dict[T] {
	return dict[T]{
		entries: make([]dictEntry[T], 1), index: make([]uint32, 64), seed: maphash.MakeSeed(), hash: hash, same: same, clone: clone,
	}
}

// acquire returns the index of the value and adds a reference. The value is
// copied when it is new.
func (d *dict[T]) acquire(v *T) uint32 {
	hash := d.hash(d.seed, v)
	mask := uint64(len(d.index) - 1)
	i := hash & mask
	for ; d.index[i] != 0; i = (i + 1) & mask {
		e := &d.entries[d.index[i]]
		if e.hash == hash && d.same(&e.value, v) {
			e.refs++
			return d.index[i]
		}
	}
	var id uint32
	if n := len(d.free); n > 0 {
		id = d.free[n-1]
		d.free = d.free[:n-1]
	} else {
		id = uint32(len(d.entries))
		d.entries = append(d.entries, dictEntry[T]{})
	}
	d.entries[id] = dictEntry[T]{value: d.clone(v), hash: hash, refs: 1}
	d.index[i] = id
	d.used++
	if d.used*4 > len(d.index)*3 {
		d.grow()
	}
	return id
}

// retain adds a reference to a value that is there.
func (d *dict[T]) retain(id uint32) {
	if id != 0 {
		d.entries[id].refs++
	}
}

// release takes a reference away. With the last one the value is idle, and
// forgotten when many others have become so.
func (d *dict[T]) release(id uint32) {
	if id == 0 {
		return
	}
	e := &d.entries[id]
	if e.refs--; e.refs > 0 || e.idle {
		return
	}
	if d.idleN == dictIdle {
		d.forget(d.idle[d.idleFrom])
		d.idleFrom, d.idleN = (d.idleFrom+1)%dictIdle, d.idleN-1
	}
	e.idle = true
	d.idle[(d.idleFrom+d.idleN)%dictIdle] = id
	d.idleN++
}

// forget takes a value out that is no longer idle, if nothing refers to it now.
func (d *dict[T]) forget(id uint32) {
	e := &d.entries[id]
	if e.idle = false; e.refs > 0 {
		return
	}
	mask := uint64(len(d.index) - 1)
	i := e.hash & mask
	for d.index[i] != id {
		i = (i + 1) & mask
	}
	d.unlink(i)
	*e = dictEntry[T]{}
	d.free = append(d.free, id)
	d.used--
}

// unlink empties place i of the index and moves later ones back, so that no
// search stops too early.
func (d *dict[T]) unlink(i uint64) {
	mask := uint64(len(d.index) - 1)
	for j := (i + 1) & mask; d.index[j] != 0; j = (j + 1) & mask {
		home := d.entries[d.index[j]].hash & mask
		if (j-home)&mask >= (j-i)&mask {
			d.index[i] = d.index[j]
			i = j
		}
	}
	d.index[i] = 0
}

func (d *dict[T]) grow() {
	old := d.index
	d.index = make([]uint32, 2*len(old))
	mask := uint64(len(d.index) - 1)
	for _, id := range old {
		if id == 0 {
			continue
		}
		i := d.entries[id].hash & mask
		for d.index[i] != 0 {
			i = (i + 1) & mask
		}
		d.index[i] = id
	}
}

// counted is a value as windows count it: values are equal when their hashes
// and what is kept of their texts are, see observation.HashValue.
type counted struct {
	hash uint64
	text string
}

func hashCounted(seed maphash.Seed, v *counted) uint64 { return maphash.String(seed, v.text) ^ v.hash }

func sameCounted(a, b *counted) bool { return *a == *b }

func cloneCounted(v *counted) counted { return counted{v.hash, cloneString(&v.text)} }

func hashAddr(seed maphash.Seed, a *netip.Addr) uint64 {
	b := a.As16()
	return maphash.Bytes(seed, b[:])
}

func sameAddr(a, b *netip.Addr) bool { return *a == *b }

func cloneAddr(a *netip.Addr) netip.Addr { return *a }

// hashCard takes the digest for what is in it and the seed for the texts that
// requests choose.
func hashCard(seed maphash.Seed, c *observation.Card) uint64 {
	h := c.Digest ^ maphash.String(seed, c.Route)
	if c.Account != "" {
		h = h<<7 ^ h>>57 ^ maphash.String(seed, c.Account)
	}
	if c.Principal != "" {
		h = h<<7 ^ h>>57 ^ maphash.String(seed, c.Principal)
	}
	if c.Before != "" {
		h = h<<7 ^ h>>57 ^ maphash.String(seed, c.Before)
	}
	return h
}
