package sigma

import (
	"math/bits"

	"gatewatch/event"
)

// valueCache remembers which atoms were found in the values of one input. It
// is bounded: a value replaces what was in its slot, and slots keep their
// memory.
type valueCache struct {
	slots []cachedValue
	shift uint8
}

type cachedValue struct {
	value []byte
	atoms []uint32
}

const (
	maxCachedValue = 512 // bytes; longer values are searched each time
	maxCachedAtoms = 64
)

func (c *valueCache) init(src source) {
	n := 64
	if src == fieldSource(event.FieldUserAgent) || src == fieldSource(event.FieldReferer) {
		n = 1024
	}
	c.slots = make([]cachedValue, n)
	c.shift = uint8(64 - bits.TrailingZeros(uint(n)))
}

// slot returns the place of a value, or nil for one that is not kept. The
// hash looks at three words of the value: what collides is searched again,
// which costs time but changes nothing.
func (c *valueCache) slot(s string) *cachedValue {
	if len(s) > maxCachedValue || len(s) == 0 {
		return nil
	}
	h := uint64(len(s)) * 0x9E3779B97F4A7C15
	if len(s) >= 8 {
		mid := len(s)/2 - 4
		h ^= word(s) ^ bits.RotateLeft64(word(s[mid:]), 21) ^ bits.RotateLeft64(word(s[len(s)-8:]), 42)
	} else {
		for i := range len(s) {
			h = h<<8 ^ uint64(s[i]) ^ h>>56
		}
	}
	h *= 0x9E3779B97F4A7C15
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	return &c.slots[h>>c.shift]
}

func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// put makes e hold a value and its atoms.
func (e *cachedValue) put(s string, atoms []uint32) {
	if len(atoms) > maxCachedAtoms {
		e.value, e.atoms = e.value[:0], e.atoms[:0]
		return
	}
	e.value = append(e.value[:0], s...)
	e.atoms = append(e.atoms[:0], atoms...)
}
