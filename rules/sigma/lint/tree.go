package lint

import (
	"slices"

	"go.yaml.in/yaml/v4"

	"gatewatch/rules/sigma"
)

// document is a rule with the text that it was read from.
type document struct {
	rule *sigma.Rule
	tree *tree
}

// place is a line and a column.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// item is a "field|modifiers: values" of a detection, or a list of keywords.
type item struct {
	key       *yaml.Node // nil for keywords without a key
	modifiers []string
	values    []*yaml.Node // scalars
}

func (i *item) has(modifier string) bool { return slices.Contains(i.modifiers, modifier) }

// shown is how the parsed rule names the value.
func (i *item) shown(v *yaml.Node) string {
	for _, m := range []string{"lt", "lte", "gt", "gte"} {
		if i.has(m) {
			return m + " " + v.Value
		}
	}
	return v.Value
}

// tree is the YAML of a document with its items by place.
type tree struct {
	root  *yaml.Node
	items map[place]*item
	order []place
}

func newTree(root *yaml.Node) *tree {
	t := &tree{root: root, items: map[place]*item{}}
	for _, body := range []string{"detection", "filter"} {
		n := t.at(body)
		if n == nil || n.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if k := n.Content[i].Value; k != "condition" && (body != "filter" || k != "rules") {
				t.selection(n.Content[i+1])
			}
		}
	}
	return t
}

func (t *tree) add(at *yaml.Node, i *item) {
	p := placeOf(at)
	if t.items[p] == nil {
		t.items[p] = i
		t.order = append(t.order, p)
	}
}

// selection enters the items of a search identifier.
func (t *tree) selection(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		t.add(n, &item{values: []*yaml.Node{n}})
	case yaml.SequenceNode:
		words := &item{}
		for _, k := range n.Content {
			if k.Kind == yaml.ScalarNode {
				words.values = append(words.values, k)
			} else {
				t.selection(k)
			}
		}
		if len(words.values) > 0 {
			t.add(n, words)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			it := &item{key: key, modifiers: modifiersOf(key.Value)}
			if value.Kind == yaml.SequenceNode {
				it.values = value.Content
			} else {
				it.values = []*yaml.Node{value}
			}
			t.add(key, it)
		}
	}
}

// at returns the value of a path of keys, or nil.
func (t *tree) at(path ...string) *yaml.Node { return under(t.root, path...) }

// key returns the key node of a path of keys, or nil.
func (t *tree) key(path ...string) *yaml.Node {
	n := under(t.root, path[:len(path)-1]...)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == path[len(path)-1] {
			return n.Content[i]
		}
	}
	return nil
}

func under(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		var next *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				next = n.Content[i+1]
			}
		}
		n = next
	}
	return n
}

// list returns the scalars of a list, or of one value.
func list(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	default:
		return []*yaml.Node{n}
	}
}

// empty reports whether a value says nothing.
func empty(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == "") ||
		n.Kind != yaml.ScalarNode && len(n.Content) == 0
}
