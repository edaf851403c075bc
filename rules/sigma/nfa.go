package sigma

import (
	"cmp"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// nfa is a regular expression made ready for the subset construction of a
// [dfa]. It answers only whether a text holds a match. It is immutable.
//
// Its alphabet is classes of characters, so that text is read as regexp reads
// it: a byte that is not UTF-8 is U+FFFD, one byte wide.
type nfa struct {
	ascii  [256]uint8 // class of a byte; of bytes beyond ASCII the class high
	lows   []rune     // beyond ASCII: where ranges of one class begin, ascending
	class  []uint8    // the classes of these
	kinds  []kind     // per class
	high   uint8      // stands for bytes that have to be decoded first
	end    uint8      // the end of the text
	stride uint32     // classes with high and end

	atoms    []atomState
	follow   []uint16 // lists of atoms, ascending
	start    list
	chains   int
	anchored bool // a match can only begin where the text does
	always   bool // matches any text
}

// atomState is a place in the expression: a character to be read, or an
// assertion that has to hold. Everything between them is worked out beforehand.
type atomState struct {
	set     *byteSet       // classes that it reads, nil for an assertion
	empty   syntax.EmptyOp // the assertion
	follow  list           // what comes next
	matches bool           // a match is complete next
	// A chain is the optional part of x{m,n}: places that do the same but for
	// how many x they still read. What a lower rank can match is all that a
	// higher one can, and more, so only the lowest is kept.
	chain uint16 // 1 + number, 0 for none
	rank  uint16
}

// list is a part of nfa.follow.
type list struct{ lo, hi uint32 }

// kind is what assertions can see of a character.
type kind uint8

const (
	kindOther kind = iota
	kindEdge       // begin or end of the text
	kindLine       // \n
	kindWord
)

var kindRune = [...]rune{kindOther: ' ', kindEdge: -1, kindLine: '\n', kindWord: 'a'}

const (
	maxAtoms   = 4096    // places of one expression
	maxFollow  = 1 << 18 // entries of all lists
	maxClasses = 250
)

// newNFA returns the automaton of an expression, or nil for one that is too
// large or makes too many classes; regexp serves for these.
func newNFA(re *syntax.Regexp) *nfa {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil
	}
	g := nfaMaker{n: &nfa{}, prog: prog, number: map[uint32]uint16{}, sets: map[string]int{}}
	if !g.gather() || !g.classify() || !g.connect() {
		return nil
	}
	g.link()
	return g.n
}

type nfaMaker struct {
	n      *nfa
	prog   *syntax.Prog
	pcs    []uint32          // of the atoms
	number map[uint32]uint16 // the atoms of these
	sets   map[string]int    // distinct sets of characters
	ranges [][]rune          // of these: pairs
	setOf  []int             // per atom, -1 for an assertion
	used   syntax.EmptyOp
	seen   []uint32 // per instruction
	stamp  uint32
}

// gather makes the atoms.
func (g *nfaMaker) gather() bool {
	for pc := range g.prog.Inst {
		in := &g.prog.Inst[pc]
		var ranges []rune
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			ranges = rangesOf(in)
		case syntax.InstEmptyWidth:
		default:
			continue
		}
		if len(g.pcs) == maxAtoms {
			return false
		}
		g.number[uint32(pc)] = uint16(len(g.pcs))
		g.pcs = append(g.pcs, uint32(pc))
		a := atomState{}
		set := -1
		if in.Op == syntax.InstEmptyWidth {
			a.empty = syntax.EmptyOp(in.Arg)
			g.used |= a.empty
		} else {
			var ok bool
			if set, ok = g.sets[string(ranges)]; !ok {
				set = len(g.ranges)
				g.sets[string(ranges)] = set
				g.ranges = append(g.ranges, ranges)
			}
		}
		g.setOf = append(g.setOf, set)
		g.n.atoms = append(g.n.atoms, a)
	}
	return true
}

// rangesOf returns the characters of an instruction as pairs.
func rangesOf(in *syntax.Inst) []rune {
	switch in.Op {
	case syntax.InstRuneAny:
		return []rune{0, unicode.MaxRune}
	case syntax.InstRuneAnyNotNL:
		return []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	}
	if len(in.Rune) != 1 {
		return in.Rune
	}
	r := in.Rune[0]
	out := []rune{r, r}
	if in.Op == syntax.InstRune && syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			out = append(out, f, f)
		}
	}
	return out
}

// classify divides the characters into classes that no set and no assertion
// tells apart.
func (g *nfaMaker) classify() bool {
	words := g.used&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0
	lines := g.used&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0
	kindOf := func(r rune) kind {
		switch {
		case words && syntax.IsWordChar(r):
			return kindWord
		case lines && r == '\n':
			return kindLine
		}
		return kindOther
	}
	cuts := []rune{0, utf8.RuneSelf}
	for _, ranges := range g.ranges {
		for i := 0; i+1 < len(ranges); i += 2 {
			cuts = append(cuts, ranges[i], ranges[i+1]+1)
		}
	}
	for r := range rune(utf8.RuneSelf) {
		if r > 0 && kindOf(r) != kindOf(r-1) {
			cuts = append(cuts, r)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	n := g.n
	members := make([]byteSet, len(g.ranges))
	classes := map[string]uint8{}
	key := make([]byte, len(g.ranges)+1)
	if len(cuts)*len(g.ranges) > maxFollow {
		return false
	}
	for i, lo := range cuts {
		if lo > unicode.MaxRune {
			break
		}
		key[0] = byte(kindOf(lo))
		for s, ranges := range g.ranges {
			key[1+s] = 0
			if inRanges(ranges, lo) {
				key[1+s] = 1
			}
		}
		c, ok := classes[string(key)]
		if !ok {
			if len(classes) == maxClasses {
				return false
			}
			c = uint8(len(classes))
			classes[string(key)] = c
			n.kinds = append(n.kinds, kind(key[0]))
			for s := range members {
				if key[1+s] == 1 {
					members[s].add(c)
				}
			}
		}
		if lo >= utf8.RuneSelf {
			if k := len(n.class); k == 0 || n.class[k-1] != c {
				n.lows, n.class = append(n.lows, lo), append(n.class, c)
			}
			continue
		}
		for r := lo; r < cuts[i+1]; r++ {
			n.ascii[r] = c
		}
	}
	n.high, n.end = uint8(len(classes)), uint8(len(classes)+1)
	n.stride = uint32(len(classes) + 2)
	n.kinds = append(n.kinds, kindOther, kindEdge)
	for c := utf8.RuneSelf; c < 256; c++ {
		n.ascii[c] = n.high
	}
	for i, s := range g.setOf {
		if s >= 0 {
			n.atoms[i].set = &members[s]
		}
	}
	return true
}

func inRanges(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}

// connect works out what comes behind each atom.
func (g *nfaMaker) connect() bool {
	n := g.n
	g.seen = make([]uint32, len(g.prog.Inst))
	n.start, n.always = g.reach(uint32(g.prog.Start))
	n.anchored = g.prog.StartCond()&syntax.EmptyBeginText != 0
	for i, pc := range g.pcs {
		a := &n.atoms[i]
		if a.follow, a.matches = g.reach(g.prog.Inst[pc].Out); len(n.follow) > maxFollow {
			return false
		}
	}
	return true
}

// reach returns the atoms that can be next at an instruction, and whether a
// match is complete there.
func (g *nfaMaker) reach(pc uint32) (l list, matches bool) {
	g.stamp++
	l.lo = uint32(len(g.n.follow))
	todo := []uint32{pc}
	for len(todo) > 0 {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if g.seen[pc] == g.stamp {
			continue
		}
		g.seen[pc] = g.stamp
		switch in := &g.prog.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			todo = append(todo, in.Out)
		case syntax.InstMatch:
			matches = true
		case syntax.InstFail:
		default:
			g.n.follow = append(g.n.follow, g.number[pc])
		}
	}
	slices.Sort(g.n.follow[l.lo:])
	l.hi = uint32(len(g.n.follow))
	return l, matches
}

func (n *nfa) list(l list) []uint16 { return n.follow[l.lo:l.hi] }

// link finds the chains.
func (g *nfaMaker) link() {
	n := g.n
	next := make([]int, len(n.atoms)) // the weaker place behind this one, -1 for none
	state := make([]uint8, len(n.atoms))
	var find func(a int)
	find = func(a int) {
		state[a], next[a] = 1, -1
		if g.setOf[a] >= 0 {
			for _, b := range n.list(n.atoms[a].follow) {
				if int(b) == a || g.setOf[b] != g.setOf[a] || n.atoms[b].matches && !n.atoms[a].matches {
					continue
				}
				if state[b] == 0 {
					find(int(b))
				}
				if state[b] == 2 && g.covers(a, int(b), next[b]) {
					next[a] = int(b)
					break
				}
			}
		}
		state[a] = 2
	}
	before := make([]int, len(n.atoms))
	for a := range n.atoms {
		if state[a] == 0 {
			find(a)
		}
		before[a] = -1
	}
	for a, b := range next {
		if b >= 0 {
			if before[b] >= 0 { // in one chain only
				next[a] = -1
			} else {
				before[b] = a
			}
		}
	}
	for a := range n.atoms {
		if before[a] >= 0 || next[a] < 0 {
			continue
		}
		n.chains++
		rank := uint16(0)
		for b := a; b >= 0; b = next[b] {
			n.atoms[b].chain, n.atoms[b].rank = uint16(n.chains), rank
			rank++
		}
	}
}

// covers reports whether a can match all that b can, both reading the same:
// whatever follows b follows a too, but for the next weaker than b, which b
// itself stands in for behind a.
func (g *nfaMaker) covers(a, b, weaker int) bool {
	fa, fb := g.n.list(g.n.atoms[a].follow), g.n.list(g.n.atoms[b].follow)
	for _, f := range fb {
		if int(f) == weaker {
			continue
		}
		if _, ok := slices.BinarySearch(fa, f); !ok {
			return false
		}
	}
	return true
}

// classOf returns the class of a character beyond ASCII.
func (n *nfa) classOf(r rune) uint8 {
	if len(n.lows) < 16 {
		i := len(n.lows) - 1
		for n.lows[i] > r {
			i--
		}
		return n.class[i]
	}
	i, found := slices.BinarySearchFunc(n.lows, r, func(low, r rune) int { return cmp.Compare(low, r) })
	if !found {
		i--
	}
	return n.class[i]
}
