package sigma

import (
	"slices"

	"gatewatch/event"
)

// automaton finds all occurrences of many literals in one pass over a text,
// whatever the case of its ASCII letters. It is Aho and Corasick's: states
// that ordinary traffic comes to, and those near the root, are rows of a table
// over byte classes; the others keep only their edges and a failure link, so
// that thousands of literals stay small. It is immutable once built.
//
// A state is written so that a scan has least to do: a dense one as the place
// of its row in the table, a sparse one as its number times four and the flag
// sparseState. The two lowest bits of a row's place are always free.
type automaton struct {
	class [256]uint8
	shift uint8 // log2 of the row width
	dense uint32
	rows  []uint32 // states, with flags

	// Sparse states, indexed by number - dense.
	edges []sparseEdge
	first []uint32 // edges of a state, one more entry than states
	fail  []uint32 // failure state, without flagHit

	// Indexed by the number of a state, see number.
	out   []uint32 // first entry in hits; one more entry than states
	next  []uint32 // number of the nearest suffix state with hits, 0 for none
	depth []uint32 // length of the text that the state stands for

	hits    []literalHit
	longest uint32 // length of the longest literal
}

// Flags of a state.
const (
	stateHit    = 1 << iota // has outputs of its own or through suffixes
	stateSparse             // has no row
	stateFlags  = stateHit | stateSparse
)

type sparseEdge struct {
	class  uint8
	target uint32
}

// maxDenseEntries bounds the dense table, in entries of four bytes. What
// traffic never comes to costs memory but no time.
const maxDenseEntries = 1 << 20

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
	a.shift = max(a.shift, 2)
	trie := a.grow(lits)
	order := breadthFirst(trie)
	a.lay(trie, order, max(1, maxEntries>>a.shift))
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

// breadthFirst sets failure links and returns the nodes from the root
// outwards.
func breadthFirst(trie []trieNode) []uint32 {
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

// lay writes the trie in its final form, with at most maxDense rows. States
// that ordinary traffic visits come first, so that they lie close together,
// then the others from the root outwards.
func (a *automaton) lay(trie []trieNode, order []uint32, maxDense int) {
	n := len(order)
	visited := a.visit(trie)
	number := make([]uint32, n) // of a node
	nodes := make([]uint32, 0, n)
	for _, first := range []bool{true, false} {
		for _, t := range order {
			if visited[t] == first {
				number[t] = uint32(len(nodes))
				nodes = append(nodes, t)
			}
		}
	}
	a.out = make([]uint32, n+1)
	a.next = make([]uint32, n)
	a.depth = make([]uint32, n)
	for i, t := range nodes {
		a.depth[i] = trie[t].depth
		a.longest = max(a.longest, trie[t].depth)
		a.hits = append(a.hits, trie[t].hits...)
		a.out[i+1] = uint32(len(a.hits))
	}
	for _, t := range order { // a failure state is shallower, so its link is known
		if f := number[trie[t].fail]; a.out[f+1] > a.out[f] {
			a.next[number[t]] = f
		} else {
			a.next[number[t]] = a.next[f]
		}
	}
	a.next[0] = 0 // the root has no literal, and fails to itself
	a.dense = uint32(min(n, maxDense))
	state := func(t uint32) uint32 {
		s := number[t]
		var flags uint32
		if a.out[s+1] > a.out[s] || a.next[s] != 0 {
			flags = stateHit
		}
		if s < a.dense {
			return s<<a.shift | flags
		}
		return (s-a.dense)<<2 | stateSparse | flags
	}
	width := 1 << a.shift
	a.rows = make([]uint32, int(a.dense)*width)
	for _, t := range order {
		if number[t] >= a.dense {
			continue
		}
		row := a.rows[number[t]<<a.shift:][:width]
		if f := number[trie[t].fail]; t != 0 && f < a.dense {
			copy(row, a.rows[f<<a.shift:][:width])
		} else if t != 0 {
			for c := range width {
				row[c] = state(follow(trie, trie[t].fail, uint8(c)))
			}
		}
		for _, e := range trie[t].kids {
			row[e.class] = state(e.target)
		}
	}
	a.first = append(a.first, 0)
	for _, t := range nodes[a.dense:] {
		for _, e := range trie[t].kids {
			a.edges = append(a.edges, sparseEdge{e.class, state(e.target)})
		}
		a.first = append(a.first, uint32(len(a.edges)))
		a.fail = append(a.fail, state(trie[t].fail)&^stateHit)
	}
}

// follow is the transition from a node of the trie.
func follow(trie []trieNode, t uint32, class uint8) uint32 {
	for {
		if i, ok := findEdge(trie[t].kids, class); ok {
			return trie[t].kids[i].target
		}
		if t == 0 {
			return 0
		}
		t = trie[t].fail
	}
}

// visit reports which nodes ordinary traffic comes to. The root counts.
func (a *automaton) visit(trie []trieNode) []bool {
	visited := make([]bool, len(trie))
	t := uint32(0)
	visited[0] = true
	for _, sample := range fieldSource(event.FieldRaw).ordinary() {
		for _, c := range []byte(sample) {
			t = follow(trie, t, a.class[c])
			visited[t] = true
		}
	}
	return visited
}

// number returns the number of a state.
func (a *automaton) number(state uint32) uint32 {
	if state&stateSparse != 0 {
		return a.dense + state>>2
	}
	return state >> a.shift
}

// step is the transition from any state, given without stateHit.
func (a *automaton) step(state uint32, class uint8) uint32 {
	for state&stateSparse != 0 {
		i := state >> 2
		for _, e := range a.edges[a.first[i]:a.first[i+1]] {
			if e.class == class {
				return e.target
			}
		}
		state = a.fail[i]
	}
	return a.rows[state+uint32(class)]
}

// runTwo reads two parts of n bytes from i on, until one comes to a state with
// flags, and returns where it stopped. The states must have no flags.
func (a *automaton) runTwo(text string, n, i int, at *[4]uint32) int {
	t0, t1 := text[:n], text[n:2*n]
	t1 = t1[:len(t0)]
	s0, s1 := at[0], at[1]
	rows, class := a.rows, &a.class
	for i < len(t0) {
		s0 = rows[s0+uint32(class[t0[i]])]
		s1 = rows[s1+uint32(class[t1[i]])]
		i++
		if (s0|s1)&stateFlags != 0 {
			break
		}
	}
	at[0], at[1] = s0, s1
	return i
}

// runFour does the same with four parts.
func (a *automaton) runFour(text string, n, i int, at *[4]uint32) int {
	t0, t1, t2, t3 := text[:n], text[n:2*n], text[2*n:3*n], text[3*n:4*n]
	t1, t2, t3 = t1[:len(t0)], t2[:len(t0)], t3[:len(t0)]
	s0, s1, s2, s3 := at[0], at[1], at[2], at[3]
	rows, class := a.rows, &a.class
	for i < len(t0) {
		s0 = rows[s0+uint32(class[t0[i]])]
		s1 = rows[s1+uint32(class[t1[i]])]
		s2 = rows[s2+uint32(class[t2[i]])]
		s3 = rows[s3+uint32(class[t3[i]])]
		i++
		if (s0|s1|s2|s3)&stateFlags != 0 {
			break
		}
	}
	at[0], at[1], at[2], at[3] = s0, s1, s2, s3
	return i
}
