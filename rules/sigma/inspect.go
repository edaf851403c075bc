package sigma

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// This file lets others look at parsed rules: linters, generators, whoever
// wants to know what a rule says without judging an event.

// Trees returns the root nodes of the documents of a file as Parse reads
// them: aliases are written out, so the trees have none. What cannot be read as
// YAML is left out and reported, as Parse does. Nobody may change the nodes.
func Trees(doc Document) ([]*yaml.Node, []Problem) {
	p := &problems{}
	return yamlDocs(doc.File, doc.Data, p), p.list
}

// Connective says how the parts of a condition are joined.
type Connective uint8

// The connectives. A negation is not among them: it stands at the leaves.
const (
	Leaf Connective = iota + 1
	And
	Or
	AtLeast // N of the parts
)

// Condition is a part of what a detection or filter asks for. Conditions are
// values that can be compared and never change.
type Condition struct {
	n   *node
	neg bool
}

// Condition returns what a detection or filter says, without the filters that
// reach it. It is false for correlations, and for what waits for lists of the
// configuration: the rules of an [Index] have them.
func (r *Rule) Condition() (Condition, bool) {
	if r.cond == nil || waits(r.cond) {
		return Condition{}, false
	}
	return Condition{n: r.cond}, true
}

func waits(n *node) bool { return n.op == nodeItem || slices.ContainsFunc(n.kids, waits) }

// Not returns the negation.
func (c Condition) Not() Condition { return Condition{c.n, !c.neg} }

// Op says how the parts are joined.
func (c Condition) Op() Connective {
	c = c.inner()
	switch c.n.op {
	case nodeLeaf:
		return Leaf
	case nodeAtLeast:
		return AtLeast
	case nodeAnd:
		if c.neg {
			return Or
		}
		return And
	default:
		if c.neg {
			return And
		}
		return Or
	}
}

// inner takes negations off.
func (c Condition) inner() Condition {
	for c.n.op == nodeNot {
		c = Condition{c.n.kids[0], !c.neg}
	}
	return c
}

// Kids returns the parts; a leaf has none.
func (c Condition) Kids() []Condition {
	c = c.inner()
	out := make([]Condition, len(c.n.kids))
	for i, k := range c.n.kids {
		out[i] = Condition{k, c.neg}
	}
	return out
}

// N is how many of the parts have to hold, for AtLeast.
func (c Condition) N() int {
	c = c.inner()
	if c.neg {
		return len(c.n.kids) - c.n.n + 1
	}
	return c.n.n
}

// Item returns what a leaf asks for, and whether it must not hold.
func (c Condition) Item() (item Item, negated bool) {
	c = c.inner()
	return Item{c.n.leaf}, c.neg
}

// Selection is the name of the selection that the condition is, "" inside one.
func (c Condition) Selection() string { return c.n.name }

// Place returns the line and column, from 1.
func (c Condition) Place() (line, column int) { return c.n.where.line, c.n.where.column }

// Item is a field and the values of which one has to match.
type Item struct{ l *leaf }

// Field is the name as written, "" for keywords.
func (i Item) Field() string { return i.l.field }

// Source is the name of what is looked at, the same for all spellings of a
// field: an event field, or a view such as url.full.
func (i Item) Source() string { return i.l.src.String() }

// Kind is the type of the field's values.
func (i Item) Kind() event.Kind { return i.l.src.kind() }

// Place returns the line and column of the field's name.
func (i Item) Place() (line, column int) { return i.l.where.line, i.l.where.column }

// Comparisons returns the comparisons of which one has to hold. A value that
// stands for several, as with base64offset, has one for each.
func (i Item) Comparisons() []Comparison {
	out := make([]Comparison, len(i.l.any))
	for k, m := range i.l.any {
		out[k] = Comparison{m, i.l.src}
	}
	return out
}

// Comparison is a value of a rule and how it is compared.
type Comparison struct {
	m   *matcher
	src source
}

// Written is the value as the rule has it.
func (c Comparison) Written() string { return c.m.shown }

// Same reports whether both compare with the same.
func (c Comparison) Same(o Comparison) bool {
	return c.src == o.src && c.m.same(o.m)
}

// Implies reports whether o matches whatever c does. It errs to false.
func (c Comparison) Implies(o Comparison) bool { return c.src == o.src && c.m.implies(c.src, o.m) }

// Excludes reports whether no event has a value for both. It errs to false.
func (c Comparison) Excludes(o Comparison) bool { return c.src == o.src && c.m.excludes(c.src, o.m) }

// Known reports whether the rule says what it compares with: it does not where
// that is another field, or an entry of an empty list.
func (c Comparison) Known() bool { return c.m.op != opFieldRef && c.m.op != opNever }

// Presence reports whether it only asks whether the event has the field, and
// for which of the two.
func (c Comparison) Presence() (asks, present bool) {
	return c.m.op == opExists || c.m.op == opAbsent, c.m.op == opExists
}

// IsText reports whether it compares with a text, be it the digits of a number
// or an address as it is written.
func (c Comparison) IsText() bool { return c.m.op >= opContains && c.m.op <= opRegex }

// MatchesText tests one form of a text; false where it compares no text.
func (c Comparison) MatchesText(s string) bool { return c.IsText() && c.m.matchText(s) }

// MatchesNumber tests a number, by its digits where text is compared.
func (c Comparison) MatchesNumber(n int64) bool {
	switch c.m.op {
	case opExists:
		return true
	case opNumEq:
		return n == c.m.num
	case opNumGte:
		return n >= c.m.num
	case opNumLte:
		return n <= c.m.num
	default:
		return c.IsText() && c.m.matchText(string(appendInt(nil, n)))
	}
}

// Pieces returns the literals that a matching text holds in this order, and
// whether it begins with the first and ends with the last. An expression has
// none.
func (c Comparison) Pieces() (first, last bool, pieces []string) { return c.m.pieces() }

// Cased reports whether case matters.
func (c Comparison) Cased() bool { return c.m.cased }

// Regexp returns the expression with its flags, or nil.
func (c Comparison) Regexp() *regexp.Regexp { return c.m.re }

// Announced reports whether a value can only match where a text was seen that
// the index searches for. What is not announced is tested one by one.
func (c Comparison) Announced() bool {
	if !c.IsText() {
		return true
	}
	switch c.src.kind() {
	case event.KindAddress:
		return false
	case event.KindNumber:
		return true
	default:
		return len(c.m.required(c.src)) > 0
	}
}

// UUID is the id as written, "" where the document has none.
func (r *Rule) UUID() string { return r.uuid }

// Logsource returns the parts of the log source as written.
func (r *Rule) Logsource() (category, product, service string) {
	return r.logs.category, r.logs.product, r.logs.service
}

// Counted is what a correlation says.
type Counted struct {
	Type     observation.Type
	Inputs   []*Rule // detections or correlations, each once
	GroupBy  []Name
	Fields   []Name // whose values are counted or measured
	Aliases  []string
	Timespan time.Duration
	Bounds   []observation.Bound
	Generate bool
	// Guards are the documents that say which of its events count.
	Guards []*Rule
}

// Name is a field in a correlation.
type Name struct {
	Written string
	// Source is the event field, "" for an alias.
	Source       string
	Kind         event.Kind
	Line, Column int
}

// Counted returns what a correlation says. It is false for other documents.
func (r *Rule) Counted() (Counted, bool) {
	if r.corr == nil {
		return Counted{}, false
	}
	c := r.corr
	out := Counted{Type: c.typ, Inputs: c.inputs, Timespan: c.timespan, Bounds: c.bounds, Generate: c.generate, Guards: c.guard.refs()}
	if c.walk != nil {
		out.Type = observation.IDWalk
	}
	names := func(list []ref) []Name {
		var out []Name
		for _, n := range list {
			name := Name{Written: n.name, Line: n.where.line, Column: n.where.column}
			if _, alias := c.aliases[n.name]; !alias {
				if src, ok := lookupSource(n.name, taxWebserver); ok {
					if f, ok := src.field(); ok {
						name.Source, name.Kind = f.String(), f.Kind()
					}
				}
			}
			out = append(out, name)
		}
		return out
	}
	out.GroupBy, out.Fields = names(c.groupBy), names(c.fields)
	for name := range c.aliases {
		out.Aliases = append(out.Aliases, name)
	}
	slices.Sort(out.Aliases)
	return out, true
}

// Reached returns the detections that a filter is joined to, in the order of
// the set.
func (s *Set) Reached(filter *Rule) []*Rule {
	var out []*Rule
	if filter.only == nil {
		return nil
	}
	for _, r := range s.rules {
		named := slices.ContainsFunc(filter.only.rules, func(n ref) bool { return s.byName[n.name] == r })
		if r.Kind == Detection && filter.logs.covers(&r.logs) && (filter.only.any || named) {
			out = append(out, r)
		}
	}
	return out
}

// LookupField returns the event field or view that a name stands for, in the
// webserver taxonomy or that of proxies.
func LookupField(name string, proxy bool) (source string, kind event.Kind, ok bool) {
	tax := taxWebserver
	if proxy {
		tax = taxProxy
	}
	s, ok := lookupSource(strings.TrimSpace(name), tax)
	if !ok {
		return "", 0, false
	}
	return s.String(), s.kind(), true
}

// Unmet returns what keeps a detection of the index from matching an event,
// of alternatives the one that needs least; nothing where it matches. It is
// meant for tests and explanations and allocates.
func (m *Matcher) Unmet(ev *event.Event, r *Rule) []Failure {
	m.find(ev)
	for i := range m.x.dets {
		if d := &m.x.dets[i]; d.rule == r {
			return m.failures(ev, d.cond, "", false)
		}
	}
	return nil
}
