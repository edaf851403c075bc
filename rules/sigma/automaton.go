package sigma

import "slices"

// automaton finds all occurrences of many literals in one pass over a text,
// whatever the case of its ASCII letters. It is Aho and Corasick's: states
// near the root, where ordinary traffic stays, are rows of a table over byte
// classes; deeper ones keep only their edges and a failure link, so that
// thousands of literals stay small. It is immutable once built.
type automaton struct {
	class [256]uint8
	shift uint8 // log2 of the row width
	dense uint32
	// Dense rows, in one of two widths: half the memory is less to wait for.
	narrow []uint16
	wide   []uint32
	// flag marks a state that has outputs of its own or through suffixes. It
	// is the highest bit of a row's entry.
	flag uint32

	// Sparse states, indexed by state - dense.
	edges []sparseEdge
	first []uint32 // edges of a state, one more entry than states
	fail  []uint32 // failure target, without flag

	out  []uint32 // per state: first entry in hits; one more entry than states
	hits []literalHit
	next []uint32 // per state: the nearest suffix state with hits, 0 for none

	depth []uint32 // per state: length of the text it stands for
}

type sparseEdge struct {
	class  uint8
	target uint32 // with flag
}

// maxNarrow is how many states an automaton with narrow rows has.
const maxNarrow = 1 << 15

// maxDenseEntries bounds the dense table: 1 MiB stays in the second level cache.
const maxDenseEntries = 256 << 10

// literalHit is one literal that ends in a state.
type literalHit struct {
	pattern uint32
	length  uint32
	input   uint16 // index of the input that the pattern is for
	start   bool   // has to begin where the value does
	end     bool   // has to end where the value does
	// A pattern that is more than a literal is tested when the text is
	// through, if a literal of each of its clauses was seen.
	clause  uint8    // bit of this literal's clause, 0 where the literal is all
	clauses uint8    // bits of all
	after   *byteSet // what has to follow the literal, nil for anything
	cased   string   // the literal, where its case matters
}

// literal is one entry to build an automaton from.
type literal struct {
	text string // folded
	hit  literalHit
}

type trieNode struct {
	kids  []sparseEdge // sorted by class; targets are trie indices
	fail  uint32
	hits  []literalHit
	depth uint32
}

// commonBytes begin the rows, so that ordinary text looks at few cache lines.
const commonBytes = "e/atiorscnpdlu0m1h2g-vb34yf5=.k67w8x9q_&jz?"

func buildAutomaton(lits []literal, maxEntries int) *automaton {
	a := &automaton{}
	var used byteSet
	for _, l := range lits {
		for _, c := range []byte(l.text) {
			used.add(c)
		}
	}
	classes := 1 // class 0: bytes in no literal
	number := func(c byte) {
		if used.has(c) && a.class[c] == 0 {
			// At most 230 folded bytes exist, so classes fit a byte.
			a.class[c] = uint8(classes)
			classes++
		}
	}
	for _, c := range []byte(commonBytes) {
		number(c)
	}
	for c := range 256 {
		number(byte(c))
	}
	for c := byte('A'); c <= 'Z'; c++ {
		a.class[c] = a.class[lowerByte(c)]
	}
	for 1<<a.shift < classes {
		a.shift++
	}
	trie := a.grow(lits)
	order := numberBreadthFirst(trie)
	a.lay(trie, order, maxEntries)
	return a
}

func findEdge(kids []sparseEdge, class uint8) (int, bool) {
	return slices.BinarySearchFunc(kids, class, func(e sparseEdge, c uint8) int { return int(e.class) - int(c) })
}

// grow makes the trie; node 0 is the root.
func (a *automaton) grow(lits []literal) []trieNode {
	trie := []trieNode{{}}
	for _, l := range lits {
		at := uint32(0)
		for _, c := range []byte(l.text) {
			class := a.class[c]
			i, ok := findEdge(trie[at].kids, class)
			if !ok {
				trie = append(trie, trieNode{depth: trie[at].depth + 1})
				trie[at].kids = slices.Insert(trie[at].kids, i, sparseEdge{class, uint32(len(trie) - 1)})
			}
			at = trie[at].kids[i].target
		}
		trie[at].hits = append(trie[at].hits, l.hit)
	}
	return trie
}

// numberBreadthFirst sets failure links and returns the nodes from the root
// outwards.
func numberBreadthFirst(trie []trieNode) []uint32 {
	order := make([]uint32, 1, len(trie))
	for i := 0; i < len(order); i++ {
		n := order[i]
		for _, e := range trie[n].kids {
			order = append(order, e.target)
			if n == 0 {
				continue
			}
			f := trie[n].fail
			for {
				if j, ok := findEdge(trie[f].kids, e.class); ok {
					trie[e.target].fail = trie[f].kids[j].target
					break
				}
				if f == 0 {
					break
				}
				f = trie[f].fail
			}
		}
	}
	return order
}

// lay writes the trie in its final form, states numbered from the root.
func (a *automaton) lay(trie []trieNode, order []uint32, maxEntries int) {
	n := len(order)
	number := make([]uint32, n)
	for i, t := range order {
		number[t] = uint32(i)
	}
	a.out = make([]uint32, n+1)
	a.next = make([]uint32, n)
	a.depth = make([]uint32, n)
	fails := make([]uint32, n)
	for i, t := range order {
		a.depth[i] = trie[t].depth
		a.hits = append(a.hits, trie[t].hits...)
		a.out[i+1] = uint32(len(a.hits))
		f := number[trie[t].fail]
		fails[i] = f
		if f != 0 { // a shallower state, so its own link is known
			if a.out[f+1] > a.out[f] {
				a.next[i] = f
			} else {
				a.next[i] = a.next[f]
			}
		}
	}
	a.flag = 1 << 31
	if n <= maxNarrow {
		a.flag = 1 << 15
	}
	flagged := func(t uint32) uint32 {
		s := number[t]
		if a.out[s+1] > a.out[s] || a.next[s] != 0 {
			return s | a.flag
		}
		return s
	}
	a.dense = uint32(min(n, max(1, maxEntries>>a.shift)))
	if n <= maxNarrow {
		a.narrow = layRows[uint16](a, trie, order, fails, flagged)
	} else {
		a.wide = layRows[uint32](a, trie, order, fails, flagged)
	}
	a.first = append(a.first, 0)
	for i, t := range order[a.dense:] {
		for _, e := range trie[t].kids {
			a.edges = append(a.edges, sparseEdge{e.class, flagged(e.target)})
		}
		a.first = append(a.first, uint32(len(a.edges)))
		a.fail = append(a.fail, fails[int(a.dense)+i])
	}
}

// layRows writes the dense rows.
func layRows[T uint16 | uint32](a *automaton, trie []trieNode, order, fails []uint32, flagged func(uint32) uint32) []T {
	width := 1 << a.shift
	rows := make([]T, int(a.dense)*width)
	for i, t := range order[:a.dense] {
		row := rows[i*width : (i+1)*width]
		if i > 0 {
			copy(row, rows[int(fails[i])*width:int(fails[i]+1)*width])
		}
		for _, e := range trie[t].kids {
			row[e.class] = T(flagged(e.target))
		}
	}
	return rows
}

// step is the transition from a sparse state.
func (a *automaton) step(state uint32, class uint8) uint32 {
	for state >= a.dense {
		i := state - a.dense
		for _, e := range a.edges[a.first[i]:a.first[i+1]] {
			if e.class == class {
				return e.target
			}
		}
		state = a.fail[i]
	}
	if a.narrow != nil {
		return uint32(a.narrow[state<<a.shift|uint32(class)])
	}
	return a.wide[state<<a.shift|uint32(class)]
}
