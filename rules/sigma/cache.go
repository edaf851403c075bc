package sigma

import (
	"hash/maphash"
	"slices"

	"gatewatch/event"
)

// valueCache remembers which atoms are true of the values of one input, so
// that a value that comes again is not searched again. What it holds is
// bounded: places keep their memory, and a value takes the place of another
// when it is seen the second time. So a run of values that never come again,
// however long, displaces nothing and copies nothing.
type valueCache struct {
	mask  uint32 // sets - 1
	sets  []cacheSet
	slots []cachedValue // cacheWays a set
	last  uint32        // the place that was found last: methods and outcomes are mostly one value
	// How often a value was there and was not, for measuring.
	hits, misses uint64
}

// cacheSet is where the values with equal low bits of their hash are.
type cacheSet struct {
	tags   [cacheWays]uint32 // high bits of the hashes, 0 for an empty place
	once   [2]uint32         // tags of values seen once, the newest first
	recent uint8             // bits of the places used since the last eviction
	hand   uint8             // where to look for a place first
}

type cachedValue struct {
	value []byte
	atoms []uint32
}

const (
	cacheWays      = 4
	maxCachedValue = 512 // bytes; longer values are searched each time
	maxCachedAtoms = 64
)

// cacheSets is how many sets the cache of a source has. Logs hold thousands of
// targets, hundreds of agents and referers, and a few of everything else.
func cacheSets(src source) int {
	switch src {
	case fieldSource(event.FieldTarget):
		return 512
	case fieldSource(event.FieldUserAgent), fieldSource(event.FieldReferer):
		return 256
	default:
		return 32
	}
}

func (c *valueCache) init(sets int) {
	c.mask = uint32(sets - 1)
	c.sets = make([]cacheSet, sets)
	c.slots = make([]cachedValue, cacheWays*sets)
}

// cachePlace is where a value is or may be put.
type cachePlace struct {
	set uint32
	tag uint32
}

// find returns the atoms of a value. Where it is not known, put takes place.
func (c *valueCache) find(seed maphash.Seed, s string) (atoms []uint32, place cachePlace, ok bool) {
	if e := &c.slots[c.last]; string(e.value) == s {
		c.hits++
		return e.atoms, cachePlace{}, true
	}
	h := maphash.String(seed, s)
	place = cachePlace{set: uint32(h) & c.mask, tag: uint32(h>>32) | 1}
	set := &c.sets[place.set]
	for way, tag := range set.tags {
		if tag != place.tag {
			continue
		}
		slot := place.set*cacheWays + uint32(way)
		if e := &c.slots[slot]; string(e.value) == s {
			set.recent |= 1 << way
			c.last = slot
			c.hits++
			return e.atoms, place, true
		}
	}
	c.misses++
	return nil, place, false
}

// put keeps the atoms of a value that find did not know, if it was seen before.
func (c *valueCache) put(place cachePlace, s string, atoms []uint32) {
	set := &c.sets[place.set]
	if !slices.Contains(set.once[:], place.tag) {
		set.once[1], set.once[0] = set.once[0], place.tag
		return
	}
	if len(s) > maxCachedValue || len(atoms) > maxCachedAtoms {
		return
	}
	way := set.hand
	for range cacheWays {
		if set.recent&(1<<way) == 0 {
			break
		}
		set.recent &^= 1 << way
		way = (way + 1) % cacheWays
	}
	set.hand = (way + 1) % cacheWays
	set.tags[way] = place.tag
	e := &c.slots[place.set*cacheWays+uint32(way)]
	e.value = append(e.value[:0], s...)
	e.atoms = append(e.atoms[:0], atoms...)
}
