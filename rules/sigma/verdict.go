package sigma

import (
	"slices"
	"strings"

	"gatewatch/event"
)

// Test is a part of a rule's condition and what became of it with one event.
// Its strings are copies. Text of the event is as it came: whoever prints it
// escapes it.
type Test struct {
	// Op says how Tests are joined; Leaf where there are none.
	Op Connective
	// Not: the part holds when what is joined does not. All else speaks of
	// what is joined, Holds of the part.
	Not bool
	// N of Tests have to hold, for AtLeast.
	N int
	// Selection is the name of the selection that the part is, "" inside one.
	Selection string
	// Filter is the title of the filter that the part is, "" for what the rule says itself.
	Filter string
	Holds  bool
	Tests  []Test

	// Of a leaf: the field with its modifiers as written, "" for keywords,
	Key string
	// the values of which one has to match, at most five, and how many more there are,
	Want []string
	More int
	// what the event has: as logged, then decoded where that differs, then other
	// forms; nothing where it does not have the field, and for keywords, which are
	// searched in the whole line. Long ones are cut.
	Seen []string
	// the value of the rule that matched, and the form of the event's in which it
	// did, cut around it; "" where none did or there is none to show,
	Matched, In string
	// and where the item stands in the file of the rule.
	Line int
}

// Explain tests an event against each item of a detection of the index, as
// tuned and with its filters. It is false for rules that are no detections of
// it. It is meant for people who ask why a rule matched, or why not, and
// allocates.
func (m *Matcher) Explain(ev *event.Event, r *Rule) (Test, bool) {
	m.find(ev)
	return m.explain(ev, r)
}

// ExplainAll is Explain for several rules, which costs one search.
func (m *Matcher) ExplainAll(ev *event.Event, rules []*Rule) []Test {
	m.find(ev)
	out := make([]Test, len(rules))
	for i, r := range rules {
		out[i], _ = m.explain(ev, r)
	}
	return out
}

func (m *Matcher) explain(ev *event.Event, r *Rule) (Test, bool) {
	i := slices.IndexFunc(m.x.dets, func(d det) bool { return d.rule == r })
	if i < 0 {
		return Test{}, false
	}
	return m.test(ev, m.x.dets[i].cond), true
}

func (m *Matcher) test(ev *event.Event, n *node) Test {
	t := Test{Selection: n.name, Filter: n.filter}
	if l := unequal(n); l != nil {
		t.Op, t.Holds = Leaf, !m.leafHolds(ev, l)
		m.testLeaf(ev, l, &t)
		return t
	}
	if n.op == nodeNot {
		t.Not, n = true, n.kids[0]
		if t.Selection == "" {
			t.Selection = n.name
		}
		if n.op == nodeNot || unequal(n) != nil { // not not
			t.Op, t.Tests = And, []Test{m.test(ev, n)}
			t.Holds = !t.Tests[0].Holds
			return t
		}
	}
	t.Holds = m.nodeHolds(ev, n) != t.Not
	switch n.op {
	case nodeLeaf:
		t.Op = Leaf
		m.testLeaf(ev, n.leaf, &t)
		if t.Holds != t.Not {
			m.testMatch(ev, n.leaf, &t)
		}
		return t
	case nodeAnd:
		t.Op = And
	case nodeOr:
		t.Op = Or
	default:
		t.Op, t.N = AtLeast, n.n
	}
	for _, k := range n.kids {
		kid := m.test(ev, k)
		if kid.Op == t.Op && kid.Op != AtLeast && kid.Op != Leaf && !kid.Not && kid.Selection == "" && kid.Filter == "" {
			t.Tests = append(t.Tests, kid.Tests...) // the same said at once
			continue
		}
		t.Tests = append(t.Tests, kid)
	}
	return t
}

// unequal returns the leaf of an item with the modifier neq, which is a
// negation that the condition does not write, or nil.
func unequal(n *node) *leaf {
	if n.op != nodeNot || n.kids[0].op != nodeLeaf || n.kids[0].name != "" || !strings.Contains(n.kids[0].leaf.key, "|neq") {
		return nil
	}
	return n.kids[0].leaf
}

func (m *Matcher) testLeaf(ev *event.Event, l *leaf, t *Test) {
	t.Key, t.Line = l.key, l.where.line
	for _, w := range l.any[:min(len(l.any), maxWant)] {
		t.Want = append(t.Want, w.value())
	}
	t.More = len(l.any) - len(t.Want)
	f := m.formsOf(ev, m.inputFor(l.src))
	if l.src == fieldSource(event.FieldRaw) {
		return
	}
	for k := range f.n {
		if s := clipTo(f.text[k], maxValue); !slices.Contains(t.Seen, s) {
			t.Seen = append(t.Seen, strings.Clone(s))
		}
	}
}

// value is what the rule has as written, without what its modifier says.
func (m *matcher) value() string {
	switch {
	case m.op == opNumGte || m.op == opNumLte:
		return m.shown[strings.IndexByte(m.shown, ' ')+1:]
	case m.shown == "":
		return "''"
	}
	return m.shown
}

// testMatch fills in which value of a leaf that matches did so.
func (m *Matcher) testMatch(ev *event.Event, l *leaf, t *Test) {
	in := m.inputFor(l.src)
	f := m.formsOf(ev, in)
	for _, w := range l.any {
		if k, at, ok := m.matchedIn(ev, w, in, f); ok {
			t.Matched = w.value()
			if k >= 0 {
				t.In = strings.Clone(around(f.text[k], at, maxValue))
			}
			return
		}
	}
}

// matchedIn returns the form in which a matcher holds and where it begins to;
// -1 where no form says it.
func (m *Matcher) matchedIn(ev *event.Event, w *matcher, in uint16, f *forms) (form, at int, ok bool) {
	src := m.x.inputs[in].src
	c := Comparison{w, src}
	switch w.op {
	case opAbsent:
		return -1, 0, f.n == 0
	case opExists:
		return -1, 0, f.n > 0
	case opFieldRef:
		return -1, 0, m.refers(ev, &pattern{m: w, input: in, ref: m.inputFor(w.ref)})
	case opCIDR:
		a, ok := address(ev, src)
		return 0, 0, ok && w.cidr.Contains(a)
	case opNumEq, opNumGte, opNumLte:
		n, ok := m.number(ev, src)
		return 0, 0, ok && c.MatchesNumber(n)
	}
	for k := range f.n {
		if c.MatchesText(f.text[k]) {
			return int(k), w.begin(f.text[k]), true
		}
	}
	return -1, 0, false
}

func (m *Matcher) inputFor(src source) uint16 {
	return uint16(slices.IndexFunc(m.x.inputs, func(in *input) bool { return in.src == src }))
}

// begin returns where the part of a text that a matcher matches begins, for
// whoever shows it.
func (m *matcher) begin(s string) int {
	switch m.op {
	case opRegex:
		if loc := m.re.FindStringIndex(s); loc != nil {
			return loc[0]
		}
	case opContains:
		if m.cased {
			return max(0, strings.Index(s, m.text))
		}
		return max(0, strings.Index(lower(s), lower(m.text)))
	case opSuffix:
		return len(s) - len(m.text)
	case opGlob:
		for _, g := range m.glob {
			if g != "*" && g != "?" {
				return max(0, strings.Index(lower(s), lower(g[1:])))
			}
		}
	}
	return 0
}

// around cuts a text to n bytes in which the place at is.
func around(s string, at, n int) string {
	if len(s) <= n {
		return s
	}
	const lead = 16
	from := min(max(0, at-lead), len(s)-n)
	out := strings.ToValidUTF8(s[from:from+n], "")
	if from > 0 {
		out = "..." + out
	}
	if from+n < len(s) {
		out += "..."
	}
	return out
}

// Because returns the leaves that made the part hold, with the selections that
// they are of, at most most. What holds because something is not there has none.
func (t Test) Because(most int) []Test {
	var out []Test
	t.because("", &out, most)
	return out
}

func (t *Test) because(selection string, out *[]Test, most int) {
	if t.Selection != "" {
		selection = t.Selection
	}
	switch {
	case !t.Holds || t.Not || len(*out) >= most:
	case t.Op == Leaf:
		leaf := *t
		leaf.Selection = selection
		*out = append(*out, leaf)
	default:
		for i := range t.Tests {
			t.Tests[i].because(selection, out, most)
		}
	}
}
