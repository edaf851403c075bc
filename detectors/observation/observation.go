// Package observation holds what crosses from the stateless half of gatewatch
// to the stateful one, and what comes out of it: observations, the plan they
// are judged by, and findings. It is a leaf.
//
// An event gives at most one [Observation] for each entity that it touches. A
// [Batch] holds the observations of a run of records of one source, in source
// order. Strings in a batch are views into the batch and live until its Reset.
package observation

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// Key is the place of a record in the merged order of all sources.
type Key struct {
	Time   int64 // window time, Unix seconds
	Rank   int32 // rank of the source by name
	Offset int64 // logical offset in the source
}

// Compare returns -1, 0 or +1 as k is before, at or after o.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Time, o.Time); c != 0 {
		return c
	}
	if c := cmp.Compare(k.Rank, o.Rank); c != 0 {
		return c
	}
	return cmp.Compare(k.Offset, o.Offset)
}

// Ref says where the text of a record is. The text itself does not cross.
type Ref struct {
	Source uint32 // id that the pipeline gave to the source name
	Length uint32 // bytes without the line end
	Offset int64  // logical offset in the source
	Line   int64  // 1-based, counted through all rotations
}

// Card is what is told of the event behind an observation. One card an event,
// shared by its observations.
type Card struct {
	Client    netip.Addr // as logged, never masked to a prefix
	Principal string     // "" where the log names none apart from the address
	Account   string
	Method    string
	Route     string
	Status    int32
	Outcome   uint8 // OutcomeSuccess, OutcomeFailure, or another event.Outcome
	Bytes     int64 // response body, -1 unknown
	// Before is, of a firing that counted principals, who was there before the last one,
	// with a NUL between two; at most MaxBefore bytes. Events have none.
	Before string
	// Digest is the hash of everything but Client and Bytes, set by Sum.
	Digest uint64
}

// Limits of the texts of a card and of an entity, in bytes. Longer ones are cut by Cut.
const (
	MaxRoute   = 128
	MaxAccount = 96
	MaxBefore  = 2 * MaxAccount
)

// Cut returns at most n bytes of s.
func Cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// Sum sets c.Digest. Whoever fills a card calls it last.
func (c *Card) Sum() {
	h := mix(xxhash.Sum64String(c.Route), xxhash.Sum64String(c.Method))
	h = mix(h, uint64(uint32(c.Status))<<8|uint64(c.Outcome))
	if c.Principal != "" || c.Account != "" {
		h = mix(mix(h, xxhash.Sum64String(c.Principal)), xxhash.Sum64String(c.Account))
	}
	if c.Before != "" {
		h = mix(h, xxhash.Sum64String(c.Before))
	}
	c.Digest = h
}

// mix makes one hash of two.
func mix(a, b uint64) uint64 {
	h := (a<<23 ^ a>>41 ^ b) * 0x9E3779B97F4A7C15
	return h ^ h>>32
}

// Same reports whether c and o are equal but for Client and Bytes.
func (c *Card) Same(o *Card) bool {
	return c.Digest == o.Digest && c.Status == o.Status && c.Outcome == o.Outcome && c.Route == o.Route &&
		c.Method == o.Method && c.Account == o.Account && c.Principal == o.Principal && c.Before == o.Before
}

// Record is one event of a batch.
type Record struct {
	Time   int64 // the record's own event time, Unix seconds
	Window int64 // window time, set by the source's clock and by the merge
	Offset int64
	End    int64 // logical offset after the line and its line end
	Line   int64
	Length uint32 // bytes without the line end
	Late   bool   // too far behind the clock to enter any window but those of plain rules
	Behind bool   // came behind the merge
	First  uint32 // index of the record's first observation
	Count  uint32 // number of its observations
	Card   Card
}

// Hit says that an event counts for one rule.
type Hit struct {
	Rule   uint32  // index into Plan.Rules
	N      uint32  // events added up, 1 or more
	Hash   uint64  // of the value, for value_count
	Value  string  // the value as text, at most MaxValue bytes, for value_count
	Number float64 // the value, for value_sum, value_avg and value_percentile
	Steps  uint64  // for temporal and temporal_ordered: bits of the steps that the event matches
}

// MaxValue is the length in bytes beyond which a hit's value is cut. Hash is
// always that of the whole value.
const MaxValue = 96

// Observation is what one event contributes to one entity.
type Observation struct {
	Hash   uint64 // see Kind.Hash
	Values string // the entity's encoded values, see AppendText and AppendAddr
	First  uint32 // index of the first hit; observations that bring the same may have the same hits
	Count  uint32 // number of hits
	Kind   uint16 // index into Plan.Kinds
	// Mark notes the time at the entity for guards, after the hits were judged. An
	// observation may have a mark and no hits.
	Mark bool
}

// Batch holds the observations of consecutive records of one source.
// It belongs to one goroutine at a time, and is emptied by Reset alone.
type Batch struct {
	Records []Record
	Obs     []Observation
	Hits    []Hit
	text    []byte
	resets  uint64
}

// Reset empties b for reuse. All strings taken from it become invalid.
func (b *Batch) Reset() {
	clear(b.Records)
	b.Records = b.Records[:0]
	b.Obs = b.Obs[:0]
	b.Hits = b.Hits[:0]
	b.text = b.text[:0]
	b.resets++
}

// Resets is how often the batch was emptied, so that whoever remembers what is in
// it can tell whether it still is.
func (b *Batch) Resets() uint64 { return b.resets }

// Keep copies s into the batch and returns the copy, valid until Reset.
func (b *Batch) Keep(s string) string {
	if s == "" {
		return ""
	}
	n := len(b.text)
	b.text = append(b.text, s...)
	// Growing moves only what is appended later: earlier strings keep the old array alive.
	return unsafe.String(&b.text[n], len(s))
}

// KeepBytes is Keep for bytes.
func (b *Batch) KeepBytes(s []byte) string {
	if len(s) == 0 {
		return ""
	}
	return b.Keep(unsafe.String(&s[0], len(s)))
}

// Of returns the observations of record r of the batch.
func (b *Batch) Of(r *Record) []Observation { return b.Obs[r.First : r.First+r.Count] }

// HitsOf returns the hits of o.
func (b *Batch) HitsOf(o *Observation) []Hit { return b.Hits[o.First : o.First+o.Count] }

// HashValue is the hash of a hit's value. Values are equal when their hashes
// and their first MaxValue bytes are. What lies beyond those bytes is told
// apart by a hash for which nobody can make equal pairs cheaply: the values
// are chosen by attackers, and equal ones count once.
func HashValue(s string) uint64 {
	if len(s) <= MaxValue {
		return xxhash.Sum64String(s)
	}
	sum := sha256.Sum256([]byte(s))
	return binary.LittleEndian.Uint64(sum[:])
}

// Slots is the number of slots that entities are spread over. It is fixed:
// caps and eviction are per slot, so it is part of what results depend on.
const Slots = 256

// Slot returns the slot that owns an entity with this hash.
func Slot(hash uint64) int { return int(hash >> 56) }
