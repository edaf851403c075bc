package sigma

import "slices"

// A condition is compiled to a graph of tests: each looks at one atom and
// goes on at one of two places, until a rule is accepted or rejected.
type instr struct{ atom, yes, no uint32 }

const (
	accept = 1<<32 - 1
	reject = 1<<32 - 2
	// maxProgram bounds one rule: "N of" over long lists multiplies.
	maxProgram = 1 << 17
)

// programmer writes the programs of all rules into one slice.
type programmer struct {
	b      *builder
	code   []instr
	start  int
	failed bool
}

// compile appends the program of a condition and returns its entry.
func (g *programmer) compile(n *node) (entry uint32, ok bool) {
	g.start, g.failed = len(g.code), false
	entry = g.node(n, accept, reject)
	if g.failed {
		g.code = g.code[:g.start]
	}
	return entry, !g.failed
}

func (g *programmer) node(n *node, yes, no uint32) uint32 {
	if len(g.code)-g.start > maxProgram {
		g.failed = true
		return no
	}
	switch n.op {
	case nodeLeaf:
		g.code = append(g.code, instr{g.b.atom(n.leaf), yes, no})
		return uint32(len(g.code) - 1)
	case nodeNot:
		return g.node(n.kids[0], no, yes)
	case nodeAnd, nodeOr:
		to := yes
		if n.op == nodeOr {
			to = no
		}
		for _, k := range slices.Backward(g.cheapFirst(n.kids)) {
			if n.op == nodeAnd {
				to = g.node(k, to, no)
			} else {
				to = g.node(k, yes, to)
			}
		}
		return to
	default:
		// Row i is where to go on from child i with a number of children
		// already true.
		next := make([]uint32, n.n+1)
		for have := range next {
			next[have] = no
		}
		next[n.n] = yes
		for _, k := range slices.Backward(n.kids) {
			row := make([]uint32, n.n+1)
			row[n.n] = yes
			for have := range n.n {
				row[have] = g.node(k, next[have+1], next[have])
			}
			next = row
		}
		return next[0]
	}
}

// cheapFirst puts children that need a lazy test behind those that do not.
func (g *programmer) cheapFirst(kids []*node) []*node {
	out := slices.Clone(kids)
	slices.SortStableFunc(out, func(a, b *node) int { return g.lazies(a) - g.lazies(b) })
	return out
}

func (g *programmer) lazies(n *node) int {
	if n.op == nodeLeaf {
		return min(1, len(g.b.atoms[g.b.atom(n.leaf)].lazy))
	}
	for _, k := range n.kids {
		if g.lazies(k) > 0 {
			return 1
		}
	}
	return 0
}

// trigger is a set of atoms of which at least one is true whenever the
// condition is, with the sum of their likelihoods. A nil set means that there
// is none: the condition can hold while every atom is false. What triggers
// has to be announced, see builder.postpone.
type trigger struct {
	atoms []uint32
	cost  float64
}

func (b *builder) trigger(n *node, negated bool) *trigger {
	t := b.triggerOf(n, negated)
	often := 1.0
	if t != nil {
		often = t.cost
		for _, a := range t.atoms {
			b.atoms[a].triggers = true
		}
	}
	b.askedFor(n, often)
	return t
}

// askedFor notes at the atoms of a condition how often it is evaluated.
func (b *builder) askedFor(n *node, often float64) {
	if n.op == nodeLeaf {
		a := &b.atoms[b.atom(n.leaf)]
		a.asked = max(a.asked, often)
	}
	for _, k := range n.kids {
		b.askedFor(k, often)
	}
}

func (b *builder) triggerOf(n *node, negated bool) *trigger {
	switch n.op {
	case nodeLeaf:
		id := b.atom(n.leaf)
		if negated || len(b.atoms[id].lazy) > 0 {
			return nil
		}
		return &trigger{[]uint32{id}, b.atoms[id].cost}
	case nodeNot:
		return b.triggerOf(n.kids[0], !negated)
	}
	// How many children have to be true (or false, when negated)?
	need := 1
	switch n.op {
	case nodeAnd:
		need = len(n.kids)
	case nodeAtLeast:
		need = n.n
	}
	if negated {
		need = len(n.kids) - need + 1
	}
	var found []*trigger
	for _, k := range n.kids {
		if t := b.triggerOf(k, negated); t != nil {
			found = append(found, t)
		}
	}
	// Of any len-need+1 children at least one is true: take the rarest.
	take := len(n.kids) - need + 1
	if len(found) < take {
		return nil
	}
	slices.SortStableFunc(found, func(x, y *trigger) int {
		switch {
		case x.cost < y.cost:
			return -1
		case x.cost > y.cost:
			return 1
		}
		return 0
	})
	out := &trigger{}
	for _, t := range found[:take] {
		out.atoms = append(out.atoms, t.atoms...)
		out.cost += t.cost
	}
	slices.Sort(out.atoms)
	out.atoms = slices.Compact(out.atoms)
	return out
}
