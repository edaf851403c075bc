package sigma

import (
	"fmt"
	"strconv"
	"strings"

	"gatewatch/event"
)

// Near is a detection of which an event had some text that it looks for, but
// which it did not match.
type Near struct {
	Rule   *Rule
	Failed []Failure // what kept it from matching, in the order of the rule
}

// Failure is one item of a rule that did not hold, or, where Negated is set,
// one that held although the condition excludes it.
type Failure struct {
	Selection string   // name of the selection
	Field     string   // as the rule writes it, "" for keywords
	Want      []string // the rule's values as written, at most maxWant
	More      int      // values left out of Want
	Value     string   // what the event had, as logged; "" for keywords
	Present   bool     // the event has the field
	Negated   bool
	Line      int // where the item stands in the rule's file
}

const (
	maxWant  = 5
	maxValue = 200 // bytes of Failure.Value
)

// String says the failure in words. Values are quoted.
func (f Failure) String() string {
	var b strings.Builder
	if f.Selection != "" {
		b.WriteString(f.Selection + ": ")
	}
	quoted := make([]string, len(f.Want))
	for i, w := range f.Want {
		quoted[i] = strconv.Quote(w)
	}
	want := strings.Join(quoted, ", ")
	if f.More > 0 {
		want += fmt.Sprintf(" and %d more", f.More)
	}
	switch {
	case f.Field == "" && f.Negated:
		fmt.Fprintf(&b, "the line has one of the excluded keywords %s", want)
	case f.Field == "":
		fmt.Fprintf(&b, "the line has none of the keywords %s", want)
	case f.Negated && f.Present:
		fmt.Fprintf(&b, "%s is %q, which %s excludes", f.Field, f.Value, want)
	case f.Negated:
		fmt.Fprintf(&b, "%s is absent, which %s excludes", f.Field, want)
	case f.Present:
		fmt.Fprintf(&b, "%s is %q, not %s", f.Field, f.Value, want)
	default:
		fmt.Fprintf(&b, "%s is absent, not %s", f.Field, want)
	}
	return b.String()
}

// Near returns the detections that ev nearly matches: a text that the rule
// looks for was seen, but the rest of the condition failed. It is meant for
// explain and allocates.
func (m *Matcher) Near(ev *event.Event) []Near {
	m.find(ev)
	matched := map[uint32]bool{}
	for _, d := range m.matched {
		matched[d] = true
	}
	var out []Near
	for id := range m.x.dets {
		d := &m.x.dets[id]
		if matched[uint32(id)] || !m.sawText(ev, d.cond) {
			continue
		}
		failed := m.failures(ev, d.cond, "", false)
		out = append(out, Near{Rule: d.rule, Failed: failed})
	}
	return out
}

// sawText reports whether a leaf that looks for a telling text holds.
func (m *Matcher) sawText(ev *event.Event, n *node) bool {
	if n.op == nodeNot {
		return false
	}
	if n.op == nodeLeaf {
		return n.leaf.tells() && m.leafHolds(ev, n.leaf)
	}
	for _, k := range n.kids {
		if m.sawText(ev, k) {
			return true
		}
	}
	return false
}

// tells reports whether the leaf says something of an attack, rather than of
// requests in general.
func (l *leaf) tells() bool {
	if l.src.kind() != event.KindText || l.src.small() || l.src == srcMethod || l.src == fieldSource(event.FieldMethod) {
		return false
	}
	for _, m := range l.any {
		if m.op == opExists || m.op == opAbsent {
			return false
		}
	}
	return true
}

func (m *Matcher) leafHolds(ev *event.Event, l *leaf) bool {
	id, ok := m.x.atomOf[l]
	return ok && m.holds(ev, id)
}

func (m *Matcher) nodeHolds(ev *event.Event, n *node) bool {
	if n.op == nodeLeaf {
		return m.leafHolds(ev, n.leaf)
	}
	yes := 0
	for _, k := range n.kids {
		if m.nodeHolds(ev, k) {
			yes++
		}
	}
	switch n.op {
	case nodeNot:
		return yes == 0
	case nodeAnd:
		return yes == len(n.kids)
	case nodeOr:
		return yes > 0
	default:
		return yes >= n.n
	}
}

// failures returns what has to change for n to hold, or, negated, for it not
// to hold. Of alternatives it takes the one that needs least.
func (m *Matcher) failures(ev *event.Event, n *node, selection string, negated bool) []Failure {
	if m.nodeHolds(ev, n) != negated {
		return nil
	}
	if n.name != "" {
		selection = n.name
	}
	switch n.op {
	case nodeLeaf:
		return []Failure{m.failure(ev, n.leaf, selection, negated)}
	case nodeNot:
		return m.failures(ev, n.kids[0], selection, !negated)
	}
	all := n.op == nodeAnd && !negated || n.op == nodeOr && negated || n.op == nodeAtLeast
	var out []Failure
	for _, k := range n.kids {
		if m.nodeHolds(ev, k) != negated {
			continue
		}
		f := m.failures(ev, k, selection, negated)
		switch {
		case all:
			out = append(out, f...)
		case out == nil || len(f) < len(out):
			out = f
		}
	}
	return out
}

func (m *Matcher) failure(ev *event.Event, l *leaf, selection string, negated bool) Failure {
	f := Failure{Selection: selection, Field: l.field, Negated: negated, Line: l.where.line}
	for _, w := range l.any[:min(len(l.any), maxWant)] {
		f.Want = append(f.Want, w.shown)
	}
	f.More = len(l.any) - len(f.Want)
	for i, in := range m.x.inputs {
		if in.src != l.src {
			continue
		}
		if forms := m.formsOf(ev, uint16(i)); forms.n > 0 {
			f.Present = true
			if l.field != "" {
				f.Value = strings.Clone(clipTo(forms.text[0], maxValue))
			}
		}
	}
	return f
}

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
