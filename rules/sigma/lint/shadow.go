package lint

import (
	"slices"

	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// shadows reports rules that another one does the work of: it holds whenever
// they do, opens incidents as they do, and is of the same level or a higher
// one.
func (l *linter) shadows() {
	r := newReasoner(l)
	for _, d := range l.docs {
		if !l.opensAlone(d.rule) || len(l.fedTo[d.rule]) > 0 {
			continue // whoever counts it needs it
		}
		for _, o := range l.all {
			if o == d || o.rule.Kind != d.rule.Kind || !l.opensAlone(o.rule) || l.now[o.rule].Level < l.now[d.rule].Level || !r.covers(o.rule, d.rule) {
				continue
			}
			same := l.now[o.rule].Level == l.now[d.rule].Level && r.covers(d.rule, o.rule)
			if same && slices.Contains(l.docs, o) && slices.Index(l.docs, o) > slices.Index(l.docs, d) {
				continue // told of the other one
			}
			l.shadowed(d, o, same)
			break
		}
	}
}

func (l *linter) shadowed(d, o *document, same bool) {
	n := d.tree.at("title")
	if n == nil {
		n = d.tree.root
	}
	if same {
		l.add(d, "shadowed", Warning, n.Line, n.Column, d.rule.Title, "remove one of them", "the rule %s (%s:%d) finds exactly the same", quote(o.rule.Title), o.rule.File, o.rule.Line)
		return
	}
	severity := Warning
	if !slices.Contains(l.docs, o) { // whoever loads both may well prefer the more exact title
		severity = Info
	}
	l.add(d, "shadowed", severity, n.Line, n.Column, d.rule.Title, "remove the rule, or raise its level if it says more",
		"the rule %s (%s:%d), of level %s, finds all that this one does", quote(o.rule.Title), o.rule.File, o.rule.Line, l.now[o.rule].Level)
}

// opensAlone reports whether the rule opens incidents that people are told of.
func (l *linter) opensAlone(r *sigma.Rule) bool { return l.alerting[r] && !l.now[r].Shadow }

// reasoner compares rules.
type reasoner struct {
	l       *linter
	filters map[*sigma.Rule][]sigma.Condition
	sign    map[*sigma.Rule]*signature
}

func newReasoner(l *linter) *reasoner {
	r := &reasoner{l: l, filters: map[*sigma.Rule][]sigma.Condition{}, sign: map[*sigma.Rule]*signature{}}
	for _, f := range l.set.Rules() {
		if f.Kind != sigma.Filter || l.off(f) {
			continue
		}
		c, ok := l.conditionOf(f)
		if !ok {
			continue
		}
		for _, d := range l.set.Reached(f) {
			r.filters[d] = append(r.filters[d], c)
		}
	}
	for _, d := range l.all {
		if c, ok := l.conditionOf(d.rule); ok && d.rule.Kind == sigma.Detection {
			r.sign[d.rule] = newSignature(c)
		}
	}
	return r
}

// covers reports whether o fires whenever r does.
func (r *reasoner) covers(o, d *sigma.Rule) bool {
	if d.Kind == sigma.Correlation {
		return r.counts(o, d)
	}
	if r.sign[d] == nil || r.sign[o] == nil || !r.sign[d].mayImply(r.sign[o]) {
		return false
	}
	cd, _ := r.l.conditionOf(d)
	co, _ := r.l.conditionOf(o)
	if !cd.Implies(co) {
		return false
	}
	for _, f := range r.filters[o] {
		if !cd.Implies(f) && !slices.Contains(r.filters[d], f) {
			return false
		}
	}
	return true
}

// counts does the same for correlations that count: of the same events, or
// more, in the same groups for the same time or longer, up to a lower bound.
func (r *reasoner) counts(o, d *sigma.Rule) bool {
	a, b := r.l.counted(d), r.l.counted(o)
	if a.Type != b.Type || !a.Type.Counts() || len(a.Aliases)+len(b.Aliases) > 0 || a.Generate && !b.Generate {
		return false
	}
	if !slices.Equal(sourcesOf(a.GroupBy), sourcesOf(b.GroupBy)) || !slices.Equal(sourcesOf(a.Fields), sourcesOf(b.Fields)) {
		return false
	}
	if len(b.Guards) > 0 && !slices.Equal(a.Guards, b.Guards) {
		return false // of the same events it counts fewer
	}
	for _, in := range a.Inputs {
		if !slices.Contains(b.Inputs, in) {
			return false
		}
	}
	grows := func(c sigma.Counted) bool {
		return !slices.ContainsFunc(c.Bounds, func(x observation.Bound) bool { return x.Op != observation.Gt && x.Op != observation.Gte })
	}
	if !grows(a) || !grows(b) { // then only the same events in the same time say anything
		if a.Timespan != b.Timespan || len(a.Inputs) != len(b.Inputs) {
			return false
		}
	}
	if a.Timespan > b.Timespan {
		return false
	}
	holds := func(c sigma.Counted, n int) bool {
		return !slices.ContainsFunc(c.Bounds, func(x observation.Bound) bool { return !x.Holds(float64(n)) })
	}
	for n := range observation.MaxKept + 1 {
		if holds(a, n) && !holds(b, n) {
			return false
		}
	}
	return true
}

func sourcesOf(names []sigma.Name) []string {
	var out []string
	for _, n := range names {
		out = append(out, n.Source)
	}
	return sorted(out)
}

// signature is what is quickly compared before two conditions are looked at
// closely: whoever implies another has what that one needs.
type signature struct {
	// has is what the first way to satisfy the condition has.
	has bitset
	// needs says what any way has, of each list one entry at least.
	needs [][]bitset
}

// bitset is a set of words by their hashes.
type bitset [4]uint64

// in reports whether all words of b may be in o.
func (b *bitset) in(o *bitset) bool {
	return b[0]&^o[0]|b[1]&^o[1]|b[2]&^o[2]|b[3]&^o[3] == 0
}

func (b *bitset) join(o *bitset) {
	for i := range b {
		b[i] |= o[i]
	}
}

// mostWays bounds the lists of a signature; what is longer asks for nothing.
const mostWays = 64

func newSignature(c sigma.Condition) *signature {
	s := &signature{}
	firstWay(c, &s.has)
	for _, k := range conjuncts(c) {
		if ways := waysOf(k); ways != nil {
			s.needs = append(s.needs, ways)
		}
	}
	return s
}

// firstWay enters what the first alternative of each choice has.
func firstWay(c sigma.Condition, has *bitset) {
	switch c.Op() {
	case sigma.And:
		for _, k := range c.Kids() {
			firstWay(k, has)
		}
	case sigma.Or:
		firstWay(c.Kids()[0], has)
	case sigma.Leaf:
		it, negated := c.Item()
		if !negated {
			enter(has, it, it.Comparisons()[0])
		}
	default:
		for _, k := range c.Kids() {
			firstWay(k, has)
		}
	}
}

// waysOf returns what each alternative of a condition has, nil where one of
// them may have nothing.
func waysOf(c sigma.Condition) []bitset {
	switch c.Op() {
	case sigma.Leaf:
		it, negated := c.Item()
		list := it.Comparisons()
		if negated || len(list) > mostWays {
			return nil
		}
		out := make([]bitset, len(list))
		for i, m := range list {
			if asks, _ := m.Presence(); asks || m.Regexp() != nil || !m.Known() {
				return nil
			}
			enter(&out[i], it, m)
		}
		return out
	case sigma.Or:
		var out []bitset
		for _, k := range c.Kids() {
			ways := waysOf(k)
			if ways == nil || len(out)+len(ways) > mostWays {
				return nil
			}
			out = append(out, ways...)
		}
		return out
	case sigma.And:
		var all bitset // of those that have one way
		var choice []bitset
		for _, k := range c.Kids() {
			switch ways := waysOf(k); {
			case len(ways) == 1:
				all.join(&ways[0])
			case ways != nil && choice == nil:
				choice = ways
			}
		}
		for i := range choice {
			choice[i].join(&all)
		}
		if choice == nil && all != (bitset{}) {
			choice = []bitset{all}
		}
		return choice
	}
	return nil
}

// enter adds what a value has that matches: its field, and the triples of
// letters of its texts.
func enter(to *bitset, it sigma.Item, m sigma.Comparison) {
	source := it.Source()
	if m.Regexp() != nil {
		*to = bitset{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)} // may hold any text
		return
	}
	to.set("source " + source)
	if it.Kind() != event.KindText {
		return // numbers and addresses can be compared as texts and as such
	}
	_, _, pieces := m.Pieces()
	for _, p := range pieces {
		p = asciiLower(p)
		for i := 0; i+3 <= len(p); i++ {
			to.set(source + "\x00" + p[i:i+3])
		}
	}
}

// set enters a word by its hash (FNV-1a).
func (b *bitset) set(word string) {
	h := uint64(14695981039346656037)
	for i := range len(word) {
		h = (h ^ uint64(word[i])) * 1099511628211
	}
	h ^= h >> 29
	b[h>>6&3] |= 1 << (h & 63)
}

// mayImply reports whether whoever has s may imply o; false is certain.
func (s *signature) mayImply(o *signature) bool {
	for _, ways := range o.needs {
		if !slices.ContainsFunc(ways, func(b bitset) bool { return b.in(&s.has) }) {
			return false
		}
	}
	return true
}
