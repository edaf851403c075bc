package lint

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"gatewatch/event"
	"gatewatch/rules/sigma"
)

func modifiersOf(key string) []string {
	_, mods, _ := strings.Cut(key, "|")
	if mods == "" {
		return nil
	}
	return strings.Split(mods, "|")
}

// comparisons are those of each item of a document, by place and by the value
// as written.
type comparisons map[place]map[string][]sigma.Comparison

// leaves calls visit for each leaf of a condition, each once.
func leaves(c sigma.Condition, visit func(sigma.Condition)) {
	seen := map[sigma.Condition]bool{}
	var walk func(c sigma.Condition)
	walk = func(c sigma.Condition) {
		if seen[c] {
			return
		}
		seen[c] = true
		if c.Op() == sigma.Leaf {
			visit(c)
			return
		}
		for _, k := range c.Kids() {
			walk(k)
		}
	}
	walk(c)
}

// values checks each value of a detection or filter.
func (l *linter) values(d *document, cond sigma.Condition) {
	byItem := comparisons{}
	sources := map[place]sigma.Item{}
	leaves(cond, func(c sigma.Condition) {
		it, _ := c.Item()
		line, column := it.Place()
		at := place{line, column}
		if byItem[at] == nil {
			byItem[at] = map[string][]sigma.Comparison{}
		}
		sources[at] = it
		for _, m := range it.Comparisons() {
			known := byItem[at][m.Written()]
			if !slices.ContainsFunc(known, m.Same) {
				byItem[at][m.Written()] = append(known, m)
			}
		}
	})
	for _, at := range d.tree.order {
		it := d.tree.items[at]
		l.duplicates(d, it)
		l.wildcards(d, it)
		if found := byItem[at]; found != nil {
			l.contained(d, it, found)
			for _, v := range it.values {
				l.possible(d, it, v, sources[at], found[it.shown(v)])
				l.regex(d, v, found[it.shown(v)])
			}
		}
	}
}

// duplicates reports values that stand twice in a list.
func (l *linter) duplicates(d *document, it *item) {
	exact := it.has("cased") || it.has("re")
	first := map[string]*yaml.Node{}
	for _, v := range it.values {
		key := v.Value
		if !exact {
			key = asciiLower(key)
		}
		if o := first[key]; o != nil && o.ShortTag() == v.ShortTag() {
			l.add(d, "duplicate-value", Warning, v.Line, v.Column, v.Value, "remove one of them", "the value %s stands at line %d too", quote(v.Value), o.Line)
			continue
		}
		first[key] = v
	}
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// longestList is how many values are compared with each other.
const longestList = 5000

// contained reports values that say nothing beside another one: in a list, of
// which one has to match, what another one finds anyhow; with all, what another
// one asks for anyhow.
func (l *linter) contained(d *document, it *item, found map[string][]sigma.Comparison) {
	if len(it.values) < 2 || len(it.values) > longestList || it.has("base64offset") || it.has("windash") {
		return
	}
	weaker := func(a, b []sigma.Comparison) bool { // b holds whenever a does
		return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(m sigma.Comparison) bool {
			return !slices.ContainsFunc(b, m.Implies)
		})
	}
	parsed := make([][]sigma.Comparison, len(it.values))
	for i, v := range it.values {
		parsed[i] = found[it.shown(v)]
	}
	all := it.has("all")
	for i, v := range it.values {
		for k, o := range it.values {
			a, b := parsed[i], parsed[k]
			if all {
				a, b = b, a
			}
			if i == k || v.Value == o.Value || !weaker(a, b) || weaker(b, a) && i < k {
				continue
			}
			if strings.EqualFold(v.Value, o.Value) {
				break // told as a duplicate
			}
			why := "%s finds nothing that %s at line %d does not"
			if all {
				why = "%s asks for nothing that %s at line %d does not"
			}
			l.add(d, "contained-value", Info, v.Line, v.Column, v.Value, "remove it", why, quote(v.Value), quote(o.Value), o.Line)
			break
		}
	}
}

// wildcards reports stars at the ends of values that the modifier or the
// search for keywords adds anyhow.
func (l *linter) wildcards(d *document, it *item) {
	keyword := it.key == nil || strings.HasPrefix(it.key.Value, "|")
	if it.has("re") || it.has("cidr") || it.has("exists") {
		return
	}
	before := it.has("contains") || it.has("endswith") || keyword
	after := it.has("contains") || it.has("startswith") || keyword
	for _, v := range it.values {
		s := v.Value
		if v.Kind != yaml.ScalarNode || strings.Trim(s, "*") == "" {
			continue
		}
		stars := before && s[0] == '*' || after && s[len(s)-1] == '*' && !escaped(s)
		if !stars {
			continue
		}
		what := "a keyword is searched anywhere"
		for _, m := range it.modifiers {
			if m == "contains" || m == "startswith" || m == "endswith" {
				what = m + " allows any text there"
			}
		}
		l.add(d, "redundant-wildcard", Info, v.Line, v.Column, s, "remove the star, or write \\* if a star is meant", "the * at the end of %s does nothing: %s", quote(s), what)
	}
}

// escaped reports whether the last character of s has its meaning taken.
func escaped(s string) bool {
	n := 0
	for i := len(s) - 2; i >= 0 && s[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// regex checks expressions.
func (l *linter) regex(d *document, v *yaml.Node, found []sigma.Comparison) {
	for _, m := range found {
		tree := parsed(m)
		if tree == nil {
			continue
		}
		switch {
		case matchesEmpty(tree):
			l.add(d, "matches-anything", Warning, v.Line, v.Column, v.Value, "write |exists: true if that is meant; else ask for at least one character that tells",
				"the expression matches every value: it may match nothing at all, anywhere in it")
		case plainText(tree):
			how := "contains|cased"
			if tree.Flags&syntax.FoldCase != 0 {
				how = "contains"
			}
			l.add(d, "redundant-regex", Info, v.Line, v.Column, v.Value, "write the text with |"+how, "the expression is a plain text")
		case wideEnds.MatchString(v.Value):
			l.add(d, "redundant-regex", Info, v.Line, v.Column, v.Value, "remove it", "the .* at the end of the expression does nothing: it is searched anywhere in the value")
		}
	}
}

// parsed returns the tree of an expression, nil where the value is none.
func parsed(m sigma.Comparison) *syntax.Regexp {
	re := m.Regexp()
	if re == nil {
		return nil
	}
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	return tree.Simplify()
}

func matchesAnything(m sigma.Comparison) bool {
	tree := parsed(m)
	return tree != nil && matchesEmpty(tree)
}

var wideEnds = regexp.MustCompile(`^(\(\?[ims]+\))?\.\*.|[^\\]\.\*$`)

// plainText reports whether the expression is one literal.
func plainText(re *syntax.Regexp) bool {
	return re.Op == syntax.OpLiteral
}

// matchesEmpty reports whether the expression matches the empty text wherever
// it is put: no anchor holds it to a place.
func matchesEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpRepeat:
		return re.Min == 0 || matchesEmpty(re.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return matchesEmpty(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !matchesEmpty(s) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, matchesEmpty)
	default:
		return false
	}
}

// possible checks whether a field can have the value.
func (l *linter) possible(d *document, it *item, v *yaml.Node, in sigma.Item, found []sigma.Comparison) {
	if len(found) == 0 {
		return
	}
	var first doubt
	for i, m := range found {
		doubt := doubtful(in, m, it)
		if doubt.why == "" {
			return // one of its forms can match
		}
		if i == 0 {
			first = doubt
		}
	}
	check := "hardly-matches"
	if first.sure {
		check = "never-matches"
	}
	l.add(d, check, Warning, v.Line, v.Column, v.Value, first.hint, "%s: %s", quote(v.Value), first.why)
}

// impossible reports whether no event can have the value.
func impossible(in sigma.Item, m sigma.Comparison) bool { return doubtful(in, m, nil).sure }

// doubt is why a value is not to be found in a field.
type doubt struct {
	why, hint string
	sure      bool
}

func doubtful(in sigma.Item, m sigma.Comparison, it *item) doubt {
	if asks, _ := m.Presence(); asks || !m.Known() {
		return doubt{}
	}
	if known := closedValues(in.Source()); known != nil && m.IsText() {
		if slices.ContainsFunc(known, m.MatchesText) {
			return doubt{}
		}
		return doubt{in.Source() + " has no such value", closedHint(m, known, in.Source()), true}
	}
	switch in.Kind() {
	case event.KindNumber:
		return doubtfulNumber(in.Source(), m)
	case event.KindAddress:
		return doubtfulAddress(m)
	default:
		return doubtfulText(in.Source(), m, it)
	}
}

func closedHint(m sigma.Comparison, known []string, source string) string {
	if source == "http.request.method" {
		return "write a method in capitals, or use cs-method for methods that are not registered"
	}
	if m.Cased() {
		for _, k := range known {
			if strings.EqualFold(k, m.Written()) {
				return "case matters here: write " + k
			}
		}
	}
	return didYouMean(m.Written(), known, "write one of "+strings.Join(known, ", "))
}
