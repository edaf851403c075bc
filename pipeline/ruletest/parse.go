package ruletest

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Parse reads a test file; file is the name used in messages. With a fault
// anywhere the suite is nil, so that no case is left out unseen; the problems
// are the first hundred that were found, in the order of the file. What a case
// expands to is bounded.
func Parse(file string, data []byte) (*Suite, []Problem) {
	r := &reader{file: file}
	s := &Suite{File: file}
	if root := r.document(data); root != nil {
		r.suite(root, s)
	}
	if len(r.problems) > 0 {
		return nil, r.sorted()
	}
	return s, nil
}

func (r *reader) sorted() []Problem {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.problems
}

// document returns the root of the file's one document, or nil.
func (r *reader) document(data []byte) *yaml.Node {
	start := &yaml.Node{}
	if len(data) > maxFile {
		r.fault(start, "split it, together with its rules", "the file has more than %d bytes", maxFile)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		r.fault(start, "", "the file cannot be read as YAML: %v", err)
		return nil
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		r.fault(start, "begin with tests:", "the file is empty")
		return nil
	} else if err != nil {
		r.yaml(err)
		return nil
	}
	switch err := loader.Load(&more); {
	case err == nil:
		r.fault(&more, "write all cases under one tests:", "a test file is one document")
		return nil
	case !errors.Is(err, io.EOF):
		r.yaml(err)
		return nil
	}
	if len(doc.Content) == 0 || !r.plain(doc.Content[0], 0) {
		if len(r.problems) == 0 {
			r.fault(start, "begin with tests:", "the file is empty")
		}
		return nil
	}
	return doc.Content[0]
}

// yaml turns an error of the YAML reader into a problem with its place.
func (r *reader) yaml(err error) {
	where, text := &yaml.Node{}, err.Error()
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		text = le.Message
		where.Line, where.Column = le.Mark.Line, le.Mark.Column
	}
	r.fault(where, "check indentation and quotes at this place", "not valid YAML: %s", strings.TrimSpace(text))
}

// plain reports whether the tree under n is of bounded size and has no
// aliases and no key twice.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	if r.nodes++; r.nodes > maxNodes {
		r.fault(n, "split it, together with its rules", "the file has more than %d values", maxNodes)
		return false
	}
	if depth > maxDepth {
		r.fault(n, "", "nested deeper than %d levels", maxDepth)
		return false
	}
	if n.Kind == yaml.AliasNode {
		r.fault(n, "write the value out", "aliases have no meaning here")
		return false
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]int{}
		for _, kv := range pairs(n) {
			if kv.key.Kind != yaml.ScalarNode {
				r.fault(kv.key, "write a plain word", "a key must be a word")
				return false
			}
			if line, twice := seen[kv.key.Value]; twice {
				r.fault(kv.key, "write it once", "the key %q appears twice, first at line %d", kv.key.Value, line)
				return false
			}
			seen[kv.key.Value] = kv.key.Line
		}
	}
	for _, k := range n.Content {
		if !r.plain(k, depth+1) {
			return false
		}
	}
	return true
}

type pair struct{ key, value *yaml.Node }

func pairs(n *yaml.Node) []pair {
	out := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, pair{n.Content[i], n.Content[i+1]})
	}
	return out
}

// fields gives each value of a map to the reader of its key. what names the
// map in messages.
func (r *reader) fields(n *yaml.Node, what string, keys map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "", "%s must be a map of keys and values", what)
		return
	}
	for _, kv := range pairs(n) {
		if read := keys[kv.key.Value]; read != nil {
			read(kv.value)
			continue
		}
		names := make([]string, 0, len(keys))
		for k := range keys {
			names = append(names, k)
		}
		slices.Sort(names)
		hint := didYouMean(kv.key.Value, names)
		if hint == "" {
			hint = "there are " + strings.Join(names, ", ")
			if len(names) == 1 {
				hint = "there is only " + names[0]
			}
		}
		r.fault(kv.key, hint, "%s has no key %q", what, kv.key.Value)
	}
}

func (r *reader) suite(root *yaml.Node, s *Suite) {
	var tests *yaml.Node
	r.fields(root, "the file", map[string]func(*yaml.Node){"tests": func(n *yaml.Node) { tests = n }})
	if tests == nil {
		if len(r.problems) == 0 {
			r.fault(root, "begin with tests:", "the file has no tests")
		}
		return
	}
	r.cases(tests, map[string]int{}, s)
}

// cases reads a list of cases. names has the lines of those of the same file.
func (r *reader) cases(tests *yaml.Node, names map[string]int, s *Suite) {
	if tests.Kind != yaml.SequenceNode || len(tests.Content) == 0 {
		r.fault(tests, "write a list with a - before each case", "tests must be a list of cases")
		return
	}
	for _, n := range tests.Content {
		c := r.testCase(n)
		if line, twice := names[c.Name]; twice && c.Name != "" {
			r.fault(n, "give it a name of its own", "the case at line %d has the name %q too", line, c.Name)
		}
		names[c.Name] = c.Line
		s.Cases = append(s.Cases, c)
	}
}

func (r *reader) testCase(n *yaml.Node) *Case {
	c := &Case{File: r.file, Line: n.Line}
	var log, repeat, start, parts, expect *yaml.Node
	keep := func(to **yaml.Node) func(*yaml.Node) { return func(n *yaml.Node) { *to = n } }
	before := len(r.problems)
	r.fields(n, "a case", map[string]func(*yaml.Node){
		"name": func(n *yaml.Node) { c.Name, _ = r.text(n, "name") },
		"late": func(n *yaml.Node) { c.Late, _ = r.number(n, "late", 1_000_000_000) },
		"log":  keep(&log), "repeat": keep(&repeat), "start": keep(&start), "parts": keep(&parts), "expect": keep(&expect),
	})
	if n.Kind != yaml.MappingNode {
		return c
	}
	whole := len(r.problems) == before
	if c.Name == "" && whole {
		r.fault(n, "add name:, what the case shows", "a case needs a name")
	}
	begin := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	switch {
	case parts != nil && log != nil:
		r.fault(log, "put all of it under parts", "a case has log or parts, not both")
	case parts != nil && repeat != nil:
		r.fault(repeat, "repeat each part by itself", "a case with parts is not repeated as a whole")
	case parts != nil:
		if start != nil {
			begin = r.time(start, "start", begin)
		}
		r.parts(parts, begin, c)
	case log != nil:
		c.Parts = append(c.Parts, r.part(log, repeat, start, begin))
	case whole:
		r.fault(n, "add log:, the lines to read", "a case needs log or parts")
	}
	var size int64
	for i := range c.Parts {
		size += c.Parts[i].size()
	}
	if size > maxExpanded {
		r.fault(n, "repeat less often", "the log of this case expands to more than %d MiB", maxExpanded>>20)
	}
	switch {
	case expect != nil:
		r.expect(expect, c)
	case whole:
		r.fault(n, "add expect: none, or the incidents", "a case needs expect")
	}
	return c
}

func (r *reader) parts(list *yaml.Node, begin time.Time, c *Case) {
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		r.fault(list, "write a list with a - before each part", "parts must be a list")
		return
	}
	for _, n := range list.Content {
		var log, repeat, start *yaml.Node
		before := len(r.problems)
		r.fields(n, "a part", map[string]func(*yaml.Node){
			"log":    func(n *yaml.Node) { log = n },
			"repeat": func(n *yaml.Node) { repeat = n },
			"start":  func(n *yaml.Node) { start = n },
		})
		switch {
		case log != nil:
			c.Parts = append(c.Parts, r.part(log, repeat, start, begin))
		case len(r.problems) == before:
			r.fault(n, "add log:, the lines to read", "a part needs log")
		}
	}
}
