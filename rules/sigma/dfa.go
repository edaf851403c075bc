package sigma

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// dfa answers whether texts hold a match of an [nfa], in time linear in their
// length and in bounded memory. Its states are sets of places that a match
// could be at; they are made when a text first needs them, and all are
// forgotten when there is no room for another. It belongs to one goroutine.
type dfa struct {
	n *nfa
	// rows holds one row for each state: by class, where the row of the next
	// state begins, or one of the values below.
	rows   []uint32
	states []dfaState
	sets   []uint16 // the sets of all states
	table  []uint32 // hash table: 1 + state
	first  uint32   // row of the state at the begin of a text, 0 where it is not made

	maxStates, maxSets int
	flushes            int

	// The set that is being made.
	next  []uint16
	seen  []uint32 // per atom
	best  []rank   // per chain
	stamp uint32
}

type dfaState struct {
	lo, hi uint32 // in dfa.sets
	hash   uint32
	kind   kind // of the character before, where an assertion waits
}

type rank struct {
	stamp uint32
	rank  uint16
}

// Entries of a row that are no row. Row 0 is no state's.
const (
	rowUnknown = iota
	rowMatch   // a match is complete
	rowDead    // none can come any more
	rowSpecial = rowDead
)

// init makes an empty automaton that takes at most memory bytes for states.
func (d *dfa) init(n *nfa, memory int) {
	perState := 4*int(n.stride) + 16 + 4*4 // the hash table is at least a quarter full
	*d = dfa{n: n, maxStates: memory / 2 / perState, maxSets: memory / 2 / 2}
}

// match reports whether text holds a match, as regexp's MatchString does.
func (d *dfa) match(text string) bool {
	if d.n.always {
		return true
	}
	return d.run(text, 0, d.start())
}

// run goes on from a state in the middle of a text.
func (d *dfa) run(text string, i int, at uint32) bool {
	n := d.n
	rows := d.rows
	for i < len(text) {
		if to := rows[at+uint32(n.ascii[text[i]])]; to > rowSpecial {
			at = to
			i++
			continue
		}
		to, width := d.step(text[i:], at)
		if to <= rowSpecial {
			return to == rowMatch
		}
		rows = d.rows
		at = to
		i += width
	}
	return d.ends(at)
}

// step reads one character, whatever it is.
func (d *dfa) step(text string, at uint32) (to uint32, width int) {
	n := d.n
	c, width := n.ascii[text[0]], 1
	if c == n.high {
		var r rune
		r, width = utf8.DecodeRuneInString(text)
		c = n.classOf(r)
	}
	if to = d.rows[at+uint32(c)]; to == rowUnknown {
		to = d.make(at, c)
	}
	return to, width
}

// ends reports whether a match is complete where the text ends.
func (d *dfa) ends(at uint32) bool {
	to := d.rows[at+uint32(d.n.end)]
	if to == rowUnknown {
		to = d.make(at, d.n.end)
	}
	return to == rowMatch
}

// start returns the state that texts begin in.
func (d *dfa) start() uint32 {
	if d.first == 0 {
		d.reset()
		d.addAll(d.n.start)
		d.first = d.state(kindEdge)
	}
	return d.first
}

// make works out one entry of a row.
func (d *dfa) make(at uint32, class uint8) uint32 {
	n := d.n
	s := d.states[at/n.stride-1]
	d.reset()
	// What waits for assertions that hold between the two characters goes on
	// first. All that is added so is tested here as well.
	holds := syntax.EmptyOpContext(kindRune[s.kind], kindRune[n.kinds[class]])
	for _, a := range d.sets[s.lo:s.hi] {
		d.add(a)
	}
	match := false
	for i := 0; i < len(d.next); i++ {
		if a := &n.atoms[d.next[i]]; a.set == nil && a.empty&^holds == 0 {
			match = match || a.matches
			d.addAll(a.follow)
		}
	}
	to := uint32(rowDead)
	switch {
	case match:
		to = rowMatch
	case class != n.end:
		to = d.read(class, at)
	}
	if to <= rowSpecial {
		d.rows[at+uint32(class)] = to
	}
	return to
}

// read makes the state behind a character, out of the places in d.next.
func (d *dfa) read(class uint8, at uint32) uint32 {
	n := d.n
	from := len(d.next)
	d.stampUp()
	for _, a := range d.next {
		if a := &n.atoms[a]; a.set != nil && a.set.has(class) {
			if a.matches {
				return rowMatch
			}
			d.addAll(a.follow)
		}
	}
	if !n.anchored {
		d.addAll(n.start)
	}
	d.next = d.next[:copy(d.next, d.next[from:])]
	if len(d.next) == 0 {
		return rowDead
	}
	flushes := d.flushes
	to := d.state(n.kinds[class])
	if d.flushes == flushes { // else there is no row of at any more
		d.rows[at+uint32(class)] = to
	}
	return to
}

func (d *dfa) stampUp() {
	if d.stamp++; d.stamp == 0 {
		clear(d.seen)
		clear(d.best)
		d.stamp = 1
	}
}

func (d *dfa) reset() {
	if d.seen == nil {
		d.seen = make([]uint32, len(d.n.atoms))
		d.best = make([]rank, d.n.chains+1)
		d.next = make([]uint16, 0, 2*len(d.n.atoms))
	}
	d.next = d.next[:0]
	d.stampUp()
}

func (d *dfa) addAll(l list) {
	for _, a := range d.n.list(l) {
		d.add(a)
	}
}

// add adds an atom to the set that is being made, unless one that covers it
// is there.
func (d *dfa) add(a uint16) {
	if d.seen[a] == d.stamp {
		return
	}
	d.seen[a] = d.stamp
	if c := &d.n.atoms[a]; c.chain > 0 {
		b := &d.best[c.chain]
		if b.stamp == d.stamp && b.rank < c.rank {
			return
		}
		b.stamp, b.rank = d.stamp, c.rank
	}
	d.next = append(d.next, a)
}

// state returns the row of the state of d.next, making it if there is none.
func (d *dfa) state(before kind) uint32 {
	n := d.n
	keep, waits := d.next[:0], false
	for _, i := range d.next {
		a := &n.atoms[i]
		if a.chain > 0 && d.best[a.chain].rank < a.rank {
			continue
		}
		waits = waits || a.set == nil
		keep = append(keep, i)
	}
	d.next = keep
	slices.Sort(d.next)
	if !waits {
		before = kindOther
	}
	mixed := uint64(before) + 1
	for _, a := range d.next {
		mixed = (mixed ^ uint64(a)) * 0x9E3779B97F4A7C15
		mixed ^= mixed >> 32
	}
	hash := uint32(mixed)
	if len(d.table) > 0 {
		mask := uint32(len(d.table) - 1)
		for i := hash & mask; d.table[i] != 0; i = (i + 1) & mask {
			id := d.table[i]
			if s := &d.states[id-1]; s.hash == hash && s.kind == before && slices.Equal(d.sets[s.lo:s.hi], d.next) {
				return id * n.stride
			}
		}
	}
	return d.keep(before, hash)
}

// keep stores d.next as a new state.
func (d *dfa) keep(before kind, hash uint32) uint32 {
	stride := int(d.n.stride)
	if len(d.states) >= d.maxStates || len(d.sets)+len(d.next) > d.maxSets {
		d.states, d.sets, d.rows, d.first = d.states[:0], d.sets[:0], d.rows[:0], 0
		clear(d.table)
		d.flushes++
	}
	lo := len(d.sets)
	d.sets = append(room(d.sets, len(d.next), d.maxSets), d.next...)
	d.states = append(room(d.states, 1, d.maxStates), dfaState{uint32(lo), uint32(len(d.sets)), hash, before})
	used, need := len(d.rows), (len(d.states)+1)*stride
	d.rows = room(d.rows, need-used, (d.maxStates+1)*stride)[:need]
	clear(d.rows[used:])
	if 2*len(d.states) > len(d.table) {
		d.table = make([]uint32, max(64, 2*len(d.table)))
		for i := range d.states {
			d.enter(uint32(i + 1))
		}
	} else {
		d.enter(uint32(len(d.states)))
	}
	return uint32(need - stride)
}

// enter puts a state into the hash table.
func (d *dfa) enter(id uint32) {
	mask := uint32(len(d.table) - 1)
	i := d.states[id-1].hash & mask
	for d.table[i] != 0 {
		i = (i + 1) & mask
	}
	d.table[i] = id
}

// memory is how many bytes the states take.
func (d *dfa) memory() int {
	return 4*cap(d.rows) + 16*cap(d.states) + 2*cap(d.sets) + 4*cap(d.table)
}

// room returns s with room for more elements, doubling it up to most.
func room[T any](s []T, more, most int) []T {
	if need := len(s) + more; need > cap(s) {
		return append(make([]T, 0, max(need, min(2*cap(s), most))), s...)
	}
	return s
}
