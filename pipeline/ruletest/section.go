package ruletest

import (
	"go.yaml.in/yaml/v4"

	"gatewatch/rules/sigma"
)

// section reads the cases that stand in the documents of a rule file, as a
// list under gatewatch: tests:. It returns a suite without cases where there
// are none; whole is false where part of the file is no YAML, which whoever
// reads the rules reports.
func section(file string, data []byte) (s *Suite, problems []Problem, whole bool) {
	r := &reader{file: file}
	s = &Suite{File: file}
	names := map[string]int{}
	roots, unread := sigma.Trees(sigma.Document{File: file, Data: data})
	for _, root := range roots {
		tests := under(under(root, "gatewatch"), "tests")
		if tests == nil || !r.plain(tests, 0) {
			continue
		}
		r.cases(tests, names, s)
	}
	if len(r.problems) > 0 {
		return nil, r.sorted(), len(unread) == 0
	}
	return s, nil, len(unread) == 0
}

// under returns the value of a key of a mapping, or nil.
func under(n *yaml.Node, key string) *yaml.Node {
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
