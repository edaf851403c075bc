package sigma

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of a rule file. They are far above what people write and keep a
// hostile file from costing more than its size.
const (
	maxFileSize  = 4 << 20
	maxDocuments = 5_000
	maxNodes     = 400_000 // of one file, aliases counted each time they are used
	maxDepth     = 32
)

// yamlDocs splits a file into its documents' root nodes. It refuses what the
// language must not depend on: anchors that expand without end, deep nesting,
// duplicate keys and merge keys.
func yamlDocs(file string, data []byte, p *problems) []*yaml.Node {
	start := place{file: file, line: 1, column: 1}
	if len(data) > maxFileSize {
		p.refuse(start, "", "split it into several files", "the file has %d bytes, more than %d", len(data), maxFileSize)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		p.refuse(start, "", "", "the file cannot be read as YAML: %v", err)
		return nil
	}
	var docs []*yaml.Node
	budget := maxNodes
	for {
		var doc yaml.Node
		err := loader.Load(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			reportYAML(start, err, p)
			return docs
		}
		if len(docs) == maxDocuments {
			p.refuse(at(file, &doc), "", "split it into several files", "the file has more than %d documents", maxDocuments)
			return docs
		}
		root, ok := unalias(file, &doc, 0, &budget, p)
		if ok && root != nil {
			docs = append(docs, root)
		}
	}
}

// reportYAML turns an error of the YAML reader into a problem with its place.
func reportYAML(start place, err error, p *problems) {
	where := start
	msg := err.Error()
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		msg = le.Message
		if le.Mark.Line > 0 {
			where.line, where.column = le.Mark.Line, max(le.Mark.Column, 1)
		}
	}
	p.refuse(where, "", "check indentation and quotes at this place", "not valid YAML: %s", strings.TrimSpace(msg))
}

// unalias returns the tree under n with aliases replaced by what they stand
// for, so that later code never meets one. Expansion costs from the budget.
func unalias(file string, n *yaml.Node, depth int, budget *int, p *problems) (*yaml.Node, bool) {
	if *budget--; *budget < 0 {
		p.refuse(at(file, n), "", "write the lists out or split the file", "the file expands to more than %d values", maxNodes)
		return nil, false
	}
	if depth > maxDepth {
		p.refuse(at(file, n), "", "flatten the document", "nested deeper than %d levels", maxDepth)
		return nil, false
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil, true
		}
		return unalias(file, n.Content[0], depth, budget, p)
	case yaml.AliasNode:
		if n.Alias == nil {
			p.refuse(at(file, n), n.Value, "", "the alias points nowhere")
			return nil, false
		}
		// A copy that stands where the alias does, so that messages point there.
		c, ok := unalias(file, n.Alias, depth+1, budget, p)
		if !ok {
			return nil, false
		}
		moved := *c
		moved.Line, moved.Column = n.Line, n.Column
		return &moved, true
	case yaml.MappingNode, yaml.SequenceNode:
		c := *n
		c.Content = make([]*yaml.Node, len(n.Content))
		good := c.Kind != yaml.MappingNode || checkKeys(file, n, p)
		for i, k := range n.Content {
			kid, ok := unalias(file, k, depth+1, budget, p)
			if !ok && *budget < 0 {
				return nil, false // one complaint is enough
			}
			good = good && ok
			c.Content[i] = kid
		}
		return &c, good
	default:
		c := *n
		return &c, true
	}
}

func checkKeys(file string, n *yaml.Node, p *problems) bool {
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	ok := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case k.Kind != yaml.ScalarNode:
			p.refuse(at(file, k), "", "write a plain word", "a key must be a word")
			ok = false
		case k.Value == "<<" && k.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0:
			p.refuse(at(file, k), k.Value, "write the keys out", "merge keys are not part of Sigma")
			ok = false
		case seen[k.Value] != nil:
			p.refuse(at(file, k), k.Value, "give one of them another name, or join their values in one list",
				"the key %q appears twice, first at line %d", k.Value, seen[k.Value].Line)
			ok = false
		}
		seen[k.Value] = k
	}
	return ok
}

// pair is one entry of a mapping.
type pair struct{ key, value *yaml.Node }

func pairs(n *yaml.Node) []pair {
	out := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, pair{n.Content[i], n.Content[i+1]})
	}
	return out
}

// get returns the value of a key of a mapping, or nil.
func get(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for _, kv := range pairs(n) {
		if kv.key.Value == key {
			return kv.value
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isQuoted(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// kindName names a node's kind for messages.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// texts reads a list of words, or one word, as a list.
func texts(n *yaml.Node) ([]*yaml.Node, bool) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return []*yaml.Node{n}, true
	}
	if n.Kind != yaml.SequenceNode {
		return nil, false
	}
	for _, k := range n.Content {
		if k.Kind != yaml.ScalarNode || isNull(k) {
			return nil, false
		}
	}
	return n.Content, true
}
