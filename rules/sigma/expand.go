package sigma

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// expanded is one value of an item, read: with the modifier expand, with
// entries of lists in the places of its placeholders.
type expanded struct {
	node  *yaml.Node
	text  string // as written, entries of lists written out
	parts []part // the value as a pattern
	regex string // the value as a regular expression
	from  string // says which entries of which lists, "" for none
}

func plainValue(n *yaml.Node) *expanded {
	return &expanded{node: n, text: n.Value, parts: parsePattern(n.Value), regex: n.Value}
}

// item is a "field|modifiers: values" whose values wait for the lists of the
// configuration.
type item struct {
	file   string
	tax    taxonomy
	src    source
	field  string
	key    string // with its modifiers
	mods   modifiers
	values []*yaml.Node
	where  place
}

// maxExpanded bounds the values of one item once its placeholders are
// replaced: several placeholders in one value multiply.
const maxExpanded = 100_000

// piece is a part of a value: text, or the name of a list.
type piece struct {
	text string
	list string
}

// pieces splits a value at its placeholders: %name%, where a name is made of
// letters, digits, '_', '-' and '.'. A backslash takes the meaning from a '%'.
func pieces(s string) []piece {
	var out []piece
	var text strings.Builder
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '%':
			text.WriteByte('%')
			i += 2
		case s[i] == '\\' && i+1 < len(s):
			text.WriteString(s[i : i+2])
			i += 2
		case s[i] == '%':
			n := 1
			for i+n < len(s) && (wordByte(s[i+n]) || s[i+n] == '-' || s[i+n] == '.') {
				n++
			}
			if n == 1 || i+n == len(s) || s[i+n] != '%' {
				text.WriteByte('%')
				i++
				continue
			}
			if text.Len() > 0 {
				out = append(out, piece{text: text.String()})
				text.Reset()
			}
			out = append(out, piece{list: s[i+1 : i+n]})
			i += n + 1
		default:
			text.WriteByte(s[i])
			i++
		}
	}
	if text.Len() > 0 || len(out) == 0 {
		out = append(out, piece{text: text.String()})
	}
	return out
}

func hasList(ps []piece) bool {
	return slices.ContainsFunc(ps, func(p piece) bool { return p.list != "" })
}

// asRegexp writes a pattern as a regular expression.
func asRegexp(parts []part) string {
	var b strings.Builder
	b.WriteString("(?s:")
	for _, p := range parts {
		switch p.wild {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(p.lit))
		}
	}
	b.WriteString(")")
	return b.String()
}

// expand returns the values that a value stands for: one for each combination
// of the entries of its lists.
func (it *item) expand(n *yaml.Node, lists map[string][]string, p *problems) (out []*expanded, ok bool) {
	if isNull(n) {
		return []*expanded{plainValue(n)}, true
	}
	out = []*expanded{{node: n}}
	for _, pc := range pieces(n.Value) {
		if pc.list == "" {
			parts := parsePattern(pc.text)
			for _, v := range out {
				v.text += pc.text
				v.parts = append(v.parts, parts...)
				v.regex += pc.text
			}
			continue
		}
		entries, found := lists[pc.list]
		if !found {
			names := make([]string, 0, len(lists))
			for name := range lists {
				names = append(names, name)
			}
			slices.Sort(names)
			p.refuse(at(it.file, n), n.Value, didYouMean(pc.list, names, `define it under rules.lists in the configuration, or write \%`+pc.list+`% for the text itself`),
				"there is no list %q", pc.list)
			return nil, false
		}
		if len(out)*len(entries) > maxExpanded {
			p.refuse(at(it.file, n), n.Value, "put fewer placeholders in one value", "the lists make more than %d values of this one", maxExpanded)
			return nil, false
		}
		next := make([]*expanded, 0, len(out)*len(entries))
		for _, v := range out {
			for _, e := range entries {
				parts := parsePattern(e)
				from := fmt.Sprintf("the entry %q of the list %q", clip(e), pc.list)
				if v.from != "" {
					from = v.from + " with " + from
				}
				next = append(next, &expanded{
					node: n, text: v.text + e, parts: append(slices.Clip(v.parts), parts...), regex: v.regex + asRegexp(parts), from: from,
				})
			}
		}
		out = next
	}
	for _, v := range out {
		v.parts = mergeParts(v.parts)
	}
	return out, true
}

// mergeParts joins what stands side by side.
func mergeParts(parts []part) []part {
	var out []part
	for _, p := range parts {
		n := len(out)
		switch {
		case n > 0 && p.wild == 0 && out[n-1].wild == 0:
			out[n-1].lit += p.lit
		case n > 0 && p.wild == '*' && out[n-1].wild == '*':
		default:
			out = append(out, p)
		}
	}
	return out
}

// resolve makes the node of an item. Where all lists are empty it is a leaf
// that never holds.
func (it *item) resolve(lists map[string][]string, p *problems) *node {
	d := &detection{file: it.file, tax: it.tax, p: p}
	var all []*expanded
	for _, n := range it.values {
		if !it.mods.expand {
			all = append(all, plainValue(n))
			continue
		}
		vs, ok := it.expand(n, lists, p)
		if !ok {
			return nil
		}
		if all = append(all, vs...); len(all) > maxExpanded {
			p.refuse(it.where, it.field, "shorten the lists", "the lists make more than %d values", maxExpanded)
			return nil
		}
	}
	var sets [][]*matcher
	made := 0
	for _, v := range all {
		set := d.matchers(it.src, &it.mods, v)
		if set == nil {
			return nil
		}
		if made += len(set); made > maxExpanded {
			p.refuse(it.where, it.field, "write fewer values, or shorten the lists", "the item has more than %d values once dashes and encodings are written out", maxExpanded)
			return nil
		}
		sets = append(sets, set)
	}
	if len(sets) == 0 {
		names := make([]string, len(it.values))
		for i, n := range it.values {
			names[i] = n.Value
		}
		sets = [][]*matcher{{{op: opNever, shown: "an entry of " + strings.Join(names, ", ") + ", which is empty"}}}
	}
	one := func(any []*matcher) *node {
		return &node{op: nodeLeaf, leaf: &leaf{src: it.src, field: it.field, key: it.key, any: any, where: it.where}, where: it.where}
	}
	var out *node
	if it.mods.all {
		var kids []*node
		for _, s := range sets {
			kids = append(kids, one(s))
		}
		out = join(nodeAnd, kids, it.where)
	} else {
		out = one(slices.Concat(sets...))
	}
	if it.mods.neq {
		out = &node{op: nodeNot, kids: []*node{out}, where: it.where}
	}
	return out
}

// expand returns the condition with all items resolved: n itself where no
// item waits for a list. Nodes that several places share stay shared.
func (c *compiler) expand(n *node, made map[*node]*node, p *problems) *node {
	if n.op == nodeItem {
		out, ok := made[n]
		if !ok {
			if out = n.item.resolve(c.o.Lists, p); out != nil {
				named := *out
				named.name = n.name
				out = &named
			}
			made[n] = out
		}
		return out
	}
	if out, ok := made[n]; ok {
		return out
	}
	out := n
	for i, k := range n.kids {
		now := c.expand(k, made, p)
		if now == k {
			continue
		}
		if out == n {
			clone := *n
			clone.kids = slices.Clone(n.kids)
			out = &clone
		}
		out.kids[i] = now
	}
	made[n] = out
	return out
}

// expandLists puts the lists of the configuration into the rules that ask for
// them. A rule whose list is missing is refused.
func (c *compiler) expandLists() {
	for _, r := range c.set.rules {
		if c.out[r] || r.cond == nil {
			continue
		}
		p := &problems{rule: r.ID}
		cond := c.expand(r.cond, map[*node]*node{}, p)
		if p.refused {
			c.drop(r, p)
			continue
		}
		if cond == r.cond {
			continue
		}
		c.problems = append(c.problems, p.list...)
		now := *c.tunedRule(r)
		now.cond = cond
		c.now[r] = &now
		if r.Kind == Detection && constant(cond) == never {
			p := &problems{rule: r.ID}
			p.warn(cond.where, "", "fill the list, or disable the rule", "the rule can never match, as a list that it needs is empty")
			c.problems = append(c.problems, p.list...)
		}
	}
}

// truth is what is known of a condition without an event.
type truth uint8

const (
	unknown truth = iota
	never
	ever
)

// constant works out whether empty lists decide a condition.
func constant(n *node) truth {
	switch n.op {
	case nodeLeaf:
		for _, m := range n.leaf.any {
			if m.op != opNever {
				return unknown
			}
		}
		return never
	case nodeNot:
		switch constant(n.kids[0]) {
		case never:
			return ever
		case ever:
			return never
		}
		return unknown
	}
	need := 1
	switch n.op {
	case nodeAnd:
		need = len(n.kids)
	case nodeAtLeast:
		need = n.n
	}
	yes, no := 0, 0
	for _, k := range n.kids {
		switch constant(k) {
		case ever:
			yes++
		case never:
			no++
		}
	}
	switch {
	case yes >= need:
		return ever
	case len(n.kids)-no < need:
		return never
	default:
		return unknown
	}
}
