package sigma

import (
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"gatewatch/event"
)

// implication works out, from the text of conditions alone, whether one holds
// whenever another does. "Yes" is certain, "no" may only mean that it is not
// plain to see. It takes time in the product of both sizes, and belongs to one
// goroutine.
type implication struct {
	known  map[[2]Condition]bool
	single map[*matcher]*node // a leaf of one matcher, for the alternatives of a leaf
}

func newImplication() *implication {
	return &implication{known: map[[2]Condition]bool{}, single: map[*matcher]*node{}}
}

// Implies reports whether o holds of every event of which c does.
func (c Condition) Implies(o Condition) bool {
	if a, b := c.inner(), o.inner(); a.n.op == nodeLeaf && b.n.op == nodeLeaf {
		return leavesImply(a, b)
	}
	return newImplication().holds(c, o)
}

func (im *implication) holds(a, b Condition) bool {
	a, b = a.inner(), b.inner()
	if a == b {
		return true
	}
	key := [2]Condition{a, b}
	yes, ok := im.known[key]
	if !ok {
		yes = im.decide(a, b)
		im.known[key] = yes
	}
	return yes
}

func (im *implication) decide(a, b Condition) bool {
	all := func(list []Condition, test func(Condition) bool) bool {
		return !slices.ContainsFunc(list, func(k Condition) bool { return !test(k) })
	}
	aOp, bOp := a.Op(), b.Op()
	if aOp == Or {
		return all(a.Kids(), func(k Condition) bool { return im.holds(k, b) })
	}
	if bOp == And {
		return all(b.Kids(), func(k Condition) bool { return im.holds(a, k) })
	}
	if bOp == Or && slices.ContainsFunc(b.Kids(), func(k Condition) bool { return im.holds(a, k) }) {
		return true
	}
	if aOp == And && slices.ContainsFunc(a.Kids(), func(k Condition) bool { return im.holds(k, b) }) {
		return true
	}
	if bOp == AtLeast {
		n := 0
		for _, k := range b.Kids() {
			if im.holds(a, k) {
				n++
			}
		}
		if n >= b.N() {
			return true
		}
	}
	if aOp == AtLeast { // of any N children at least one implies b
		n := 0
		for _, k := range a.Kids() {
			if im.holds(k, b) {
				n++
			}
		}
		if n > len(a.Kids())-a.N() {
			return true
		}
	}
	if aOp != Leaf {
		return false
	}
	if bOp == Leaf {
		return leavesImply(a, b)
	}
	if l := a.n.leaf; !a.neg && len(l.any) > 1 { // one alternative may imply one part of b, another one another
		for _, m := range l.any {
			one := im.single[m]
			if one == nil {
				one = &node{op: nodeLeaf, leaf: &leaf{src: l.src, field: l.field, key: l.key, any: []*matcher{m}, where: l.where}, where: l.where}
				im.single[m] = one
			}
			if !im.holds(Condition{n: one}, b) {
				return false
			}
		}
		return true
	}
	return false
}

// leavesImply compares two leaves, each of which may be negated.
func leavesImply(a, b Condition) bool {
	x, y := a.n.leaf, b.n.leaf
	if x.src != y.src {
		return false
	}
	each := func(from, to *leaf, test func(m, o *matcher) bool) bool {
		for _, m := range from.any {
			if !slices.ContainsFunc(to.any, func(o *matcher) bool { return test(m, o) }) {
				return false
			}
		}
		return true
	}
	switch {
	case !a.neg && !b.neg:
		return each(x, y, func(m, o *matcher) bool { return m.implies(x.src, o) })
	case a.neg && b.neg:
		return each(y, x, func(m, o *matcher) bool { return m.implies(x.src, o) })
	case !a.neg:
		return !slices.ContainsFunc(x.any, func(m *matcher) bool {
			return slices.ContainsFunc(y.any, func(o *matcher) bool { return !m.excludes(x.src, o) })
		})
	default: // what is not there is absent
		return x.asks(opExists) && y.asks(opAbsent) || x.asks(opAbsent) && y.asks(opExists)
	}
}

func (l *leaf) asks(what op) bool {
	return slices.ContainsFunc(l.any, func(m *matcher) bool { return m.op == what })
}

// implies reports whether o matches every form that m does.
func (m *matcher) implies(src source, o *matcher) bool {
	if m.same(o) {
		return true
	}
	switch o.op {
	case opExists:
		return m.op != opAbsent
	case opContains, opPrefix, opSuffix, opExact, opGlob, opRegex:
		if m.op == opNumEq {
			return o.matchText(strconv.FormatInt(m.num, 10))
		}
		return m.textImplies(o)
	case opNumGte:
		return m.op == opNumGte && m.num >= o.num || m.op == opNumEq && m.num >= o.num
	case opNumLte:
		return m.op == opNumLte && m.num <= o.num || m.op == opNumEq && m.num <= o.num
	case opCIDR:
		return m.op == opCIDR && o.cidr.Bits() <= m.cidr.Bits() && o.cidr.Contains(m.cidr.Addr())
	default:
		return false
	}
}

// same reports whether both compare with the same.
func (m *matcher) same(o *matcher) bool {
	switch {
	case m == o:
		return true
	case m.op != o.op || m.cased != o.cased || len(m.text) != len(o.text) || m.num != o.num:
		return false
	case m.op == opContains || m.op == opPrefix || m.op == opSuffix || m.op == opExact:
		return equal(m.text, o.text, m.cased)
	default:
		return m.key() == o.key()
	}
}

// textImplies compares two matchers of text.
func (m *matcher) textImplies(o *matcher) bool {
	// Whoever looks at case learns nothing from one who does not.
	blind := !m.cased && m.op != opRegex
	if m.op == opExact && o.op == opRegex {
		return (!blind || !hasLetter(m.text)) && o.re.MatchString(m.text)
	}
	if o.op == opRegex || o.cased && blind {
		return false
	}
	if m.op == opExact && o.op != opContains {
		return o.matchText(m.text)
	}
	if m.op == opRegex {
		return !o.cased && o.op == opContains && m.regexHolds(o.text)
	}
	if o.op == opContains && m.op != opGlob {
		return holdsText(m.text, o)
	}
	first, last, pieces := m.pieces()
	switch o.op {
	case opContains:
		return slices.ContainsFunc(pieces, func(p string) bool { return holdsText(p, o) })
	case opPrefix:
		return first && hasPrefix(pieces[0], o.text, o.cased)
	case opSuffix:
		return last && hasSuffix(pieces[len(pieces)-1], o.text, o.cased)
	default:
		return false
	}
}

// holdsText reports whether s has the text that o looks for.
func holdsText(s string, o *matcher) bool {
	switch {
	case len(s) < len(o.text):
		return false
	case o.cased:
		return strings.Contains(s, o.text)
	default:
		return strings.Contains(lower(s), lower(o.text))
	}
}

// pieces returns the literals that a matching text holds, and whether it
// begins with the first and ends with the last of them.
func (m *matcher) pieces() (first, last bool, pieces []string) {
	switch m.op {
	case opExact:
		return true, true, []string{m.text}
	case opContains:
		return false, false, []string{m.text}
	case opPrefix:
		return true, false, []string{m.text}
	case opSuffix:
		return false, true, []string{m.text}
	case opGlob:
		for i, g := range m.glob {
			if g[0] == '=' {
				first, last = first || i == 0, i == len(m.glob)-1
				pieces = append(pieces, g[1:])
			}
		}
	}
	return first, last, pieces
}

// regexHolds reports whether every text that the expression matches has the
// given one in it, whatever the case.
func (m *matcher) regexHolds(text string) bool {
	tree, err := syntax.Parse(m.re.String(), syntax.Perl)
	if err != nil {
		return false
	}
	text = lower(text)
	for _, c := range analyse(tree.Simplify(), 0).all() {
		if len(c.lits) > 0 && !slices.ContainsFunc(c.lits, func(l string) bool { return !strings.Contains(l, text) }) {
			return true
		}
	}
	return false
}

func hasLetter(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
}

// excludes reports whether no event has a value that m matches and one that o
// does.
func (m *matcher) excludes(src source, o *matcher) bool {
	if (m.op == opAbsent) != (o.op == opAbsent) {
		return true
	}
	switch src.kind() {
	case event.KindNumber:
		return m.excludesNumber(o) || o.excludesNumber(m)
	case event.KindAddress:
		return m.op == opCIDR && o.op == opCIDR && !m.cidr.Overlaps(o.cidr)
	default:
		if src < srcURL && event.Field(src).List() {
			return false // one value may be the one, another the other
		}
		// A text has a second form, decoded, and a target a third with the host.
		whole := func(m *matcher) bool { return m.op == opExact && !strings.ContainsAny(m.text, "%+") }
		return src != srcURL && whole(m) && whole(o) && !equalFold(m.text, o.text)
	}
}

func (m *matcher) excludesNumber(o *matcher) bool {
	switch {
	case m.op == opNumGte && o.op == opNumLte:
		return m.num > o.num
	case m.op != opNumEq:
		return false
	}
	switch o.op {
	case opNumEq:
		return m.num != o.num
	case opNumGte:
		return m.num < o.num
	case opNumLte:
		return m.num > o.num
	case opContains, opPrefix, opSuffix, opExact, opGlob, opRegex:
		return !o.matchText(strconv.FormatInt(m.num, 10))
	default:
		return false
	}
}
