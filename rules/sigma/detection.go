package sigma

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"gatewatch/event"
)

// nodeOp is what a node of a condition does with its children.
type nodeOp uint8

const (
	nodeLeaf nodeOp = iota + 1
	nodeAnd
	nodeOr
	nodeNot
	nodeAtLeast // n of the children
	nodeItem    // an item that waits for the lists of the configuration
)

// node is a parsed condition: what a detection says, free of names. Nodes are
// shared between the places that refer to one selection and never change.
type node struct {
	op   nodeOp
	n    int
	kids []*node
	leaf *leaf
	item *item
	name string // the selection that the node is, "" inside one
	// filter is the title of the filter that the node is, "" for what the rule says itself.
	filter string
	where  place
}

// leaf is a field and the matchers of which one has to hold.
type leaf struct {
	src   source
	field string // as written; "" for keywords
	key   string // the same with its modifiers
	any   []*matcher
	where place
}

// join makes an n-ary node, or returns the only child.
func join(op nodeOp, kids []*node, where place) *node {
	if len(kids) == 1 {
		return kids[0]
	}
	return &node{op: op, kids: kids, where: where}
}

// detection is the parsed "detection" (or "filter") part of a document.
type detection struct {
	file  string
	tax   taxonomy
	order []string // names of the selections in document order
	sel   map[string]*node
	cond  *node
	p     *problems
}

// parseDetection reads selections and condition. It returns nil after
// reporting why when the condition cannot be used.
func parseDetection(file string, n *yaml.Node, tax taxonomy, skip string, p *problems) *node {
	if n.Kind != yaml.MappingNode {
		p.refuse(at(file, n), n.Value, "write selections and a condition", "a detection must be a map, this is %s", kindName(n))
		return nil
	}
	d := &detection{file: file, tax: tax, sel: map[string]*node{}, p: p}
	var cond *yaml.Node
	for _, kv := range pairs(n) {
		switch kv.key.Value {
		case "condition":
			cond = kv.value
		case "timeframe":
			p.refuse(at(file, kv.key), "timeframe", "write a correlation document with a timespan",
				"timeframe belonged to aggregation conditions, which Sigma has dropped")
		case skip:
		default:
			name := kv.key.Value
			if s := d.selection(kv.value); s != nil {
				named := *s
				named.name = name
				d.sel[name] = &named
			} else {
				d.sel[name] = nil // refused already; known by name
			}
			d.order = append(d.order, name)
		}
	}
	if cond == nil {
		p.refuse(at(file, n), "", "add a condition that names the selections", "the detection has no condition")
		return nil
	}
	if len(d.order) == 0 {
		p.refuse(at(file, n), "", "add a selection", "the detection has no selection")
		return nil
	}
	d.cond = d.condition(cond)
	if p.refused {
		return nil
	}
	return d.cond
}

// selection reads the value of one search identifier.
func (d *detection) selection(n *yaml.Node) *node {
	switch n.Kind {
	case yaml.MappingNode:
		return d.mapping(n)
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			d.p.refuse(at(d.file, n), "", "add a value or remove the selection", "the list is empty")
			return nil
		}
		var kids []*node
		words := &leaf{src: fieldSource(event.FieldRaw), where: at(d.file, n)}
		for _, k := range n.Content {
			switch k.Kind {
			case yaml.MappingNode:
				if s := d.mapping(k); s != nil {
					kids = append(kids, s)
				}
			case yaml.ScalarNode:
				if m := d.keyword(k); m != nil {
					words.any = append(words.any, m)
				}
			default:
				d.p.refuse(at(d.file, k), "", "write one list", "a list inside a list has no meaning in Sigma")
			}
		}
		if len(words.any) > 0 {
			kids = append(kids, &node{op: nodeLeaf, leaf: words, where: words.where})
		}
		if len(kids) == 0 {
			return nil
		}
		return join(nodeOr, kids, at(d.file, n))
	default:
		m := d.keyword(n)
		if m == nil {
			return nil
		}
		l := &leaf{src: fieldSource(event.FieldRaw), any: []*matcher{m}, where: at(d.file, n)}
		return &node{op: nodeLeaf, leaf: l, where: l.where}
	}
}

// keyword reads a word that is searched in the whole line.
func (d *detection) keyword(n *yaml.Node) *matcher {
	if isNull(n) || n.Value == "" {
		d.p.refuse(at(d.file, n), n.Value, "write the text to look for", "an empty keyword matches everything")
		return nil
	}
	return textMatcher(wrap(parsePattern(n.Value), true, true), false, n.Value)
}

// wrap puts stars around a pattern that has none there.
func wrap(parts []part, before, after bool) []part {
	if before && (len(parts) == 0 || parts[0].wild != '*') {
		parts = append([]part{{wild: '*'}}, parts...)
	}
	if after && parts[len(parts)-1].wild != '*' {
		parts = append(slices.Clip(parts), part{wild: '*'})
	}
	return parts
}

func (d *detection) mapping(n *yaml.Node) *node {
	if len(n.Content) == 0 {
		d.p.refuse(at(d.file, n), "", "add a field or remove the selection", "the selection is empty")
		return nil
	}
	var kids []*node
	for _, kv := range pairs(n) {
		if k := d.item(kv); k != nil {
			kids = append(kids, k)
		}
	}
	if len(kids) == 0 {
		return nil
	}
	return join(nodeAnd, kids, at(d.file, n))
}

// item reads one "field|modifiers: values".
func (d *detection) item(kv pair) *node {
	where := at(d.file, kv.key)
	name, rest, _ := strings.Cut(kv.key.Value, "|")
	var mods modifiers
	if !mods.parse(rest, strings.Contains(kv.key.Value, "|"), where, kv.key.Value, d.p) {
		return nil
	}
	src := fieldSource(event.FieldRaw)
	if name != "" {
		var ok bool
		if src, ok = lookupSource(name, d.tax); !ok {
			unknownField(d.p, where, name)
			return nil
		}
		if src, ok = d.timePart(src, &mods, where, kv.key.Value); !ok {
			return nil
		}
	} else {
		if mods.shape == "" && mods.kind == modText {
			mods.shape = "contains"
		}
		if mods.kind != modText && mods.kind != modRegex || mods.part != "" {
			d.p.refuse(where, kv.key.Value, "name a field", "this modifier needs a field")
			return nil
		}
	}
	values := []*yaml.Node{kv.value}
	switch kv.value.Kind {
	case yaml.SequenceNode:
		values = kv.value.Content
		if len(values) == 0 {
			d.p.refuse(at(d.file, kv.value), kv.key.Value, "add a value or remove the field", "the list is empty")
			return nil
		}
	case yaml.MappingNode:
		d.p.refuse(at(d.file, kv.value), kv.key.Value, "write a value or a list of values", "a map cannot be a field's value")
		return nil
	default:
		if mods.all && (!mods.expand || !hasList(pieces(kv.value.Value))) {
			d.p.warn(where, kv.key.Value, "remove it", "the modifier all does nothing with a single value")
		}
	}
	it := &item{file: d.file, tax: d.tax, src: src, field: name, key: kv.key.Value, mods: mods, values: values, where: where}
	if mods.part != "" {
		it.field = name + "|" + mods.part
	}
	lists := false
	for _, v := range values {
		if v.Kind != yaml.ScalarNode {
			d.p.refuse(at(d.file, v), "", "write single values", "a value cannot be %s", kindName(v))
			return nil
		}
		lists = lists || mods.expand && hasList(pieces(v.Value))
	}
	if lists {
		return &node{op: nodeItem, item: it, where: where}
	}
	if mods.expand {
		d.p.warn(where, kv.key.Value, "write %name% where the entries of a list belong, or remove expand", "no value has a placeholder that expand could replace")
	}
	return it.resolve(nil, d.p)
}

// timePart returns the source of a part of a time, where the modifiers ask
// for one.
func (d *detection) timePart(src source, m *modifiers, where place, whole string) (source, bool) {
	if m.part == "" {
		return src, true
	}
	out, ok := src.part(m.part)
	if !ok {
		hint := "write timestamp|" + m.part
		d.p.refuse(where, whole, hint, "%s has no %s", src, m.part)
	}
	return out, ok
}
