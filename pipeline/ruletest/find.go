package ruletest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"gatewatch/rules/sigma"
)

// Pair is a rule file and its tests, as paths of a file system. One of them is
// "" when it is not there.
type Pair struct {
	Rules, Tests string
}

// Find returns the rule files and tests under root, in the order of their
// names. A root that is a rule file or a test file gives its pair alone.
func Find(fsys fs.FS, root string) ([]Pair, error) {
	byStem := map[string]*Pair{}
	add := func(name string) {
		ext := path.Ext(name)
		if ext != ".yml" && ext != ".yaml" {
			return
		}
		stem, tests := strings.CutSuffix(strings.TrimSuffix(name, ext), ".test")
		key := stem + ext
		p := byStem[key]
		if p == nil {
			p = &Pair{}
			byStem[key] = p
		}
		if tests {
			p.Tests = name
		} else {
			p.Rules = name
		}
	}
	err := fs.WalkDir(fsys, root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		add(name)
		if name == root {
			if other := neighbour(name); exists(fsys, other) {
				add(other)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for rules and tests under %s: %w", root, err)
	}
	pairs := make([]Pair, 0, len(byStem))
	for _, p := range byStem {
		pairs = append(pairs, *p)
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return strings.Compare(a.key(), b.key()) })
	return pairs, nil
}

func (p Pair) key() string {
	if p.Rules != "" {
		return p.Rules
	}
	return neighbour(p.Tests)
}

// neighbour turns the name of a rule file into that of its tests, and back.
func neighbour(name string) string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	if s, ok := strings.CutSuffix(stem, ".test"); ok {
		return s + ext
	}
	return stem + ".test" + ext
}

func exists(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return err == nil
}

// ErrNoTests is in the error of Load when neither file has a case.
var ErrNoTests = errors.New("no tests")

// Load reads a pair and compiles its rules, alone. The cases are those of the
// test file, then those in the rule file. prefix stands before file names in
// messages. The error joins every fault of both files that keeps a test from
// meaning what it says; warnings are none.
func Load(fsys fs.FS, p Pair, prefix string, o sigma.CompileOptions) (*Suite, *sigma.Index, error) {
	if p.Rules == "" {
		return nil, nil, fmt.Errorf("%s%s: there is no %s beside it", prefix, p.Tests, path.Base(neighbour(p.Tests)))
	}
	data, err := fs.ReadFile(fsys, p.Rules)
	if err != nil {
		return nil, nil, fmt.Errorf("read rules: %w", err)
	}
	var faults []error
	index, err := compile(prefix+p.Rules, data, o)
	faults = append(faults, err)
	suite := &Suite{File: prefix + p.Rules}
	take := func(s *Suite, problems []Problem) {
		for _, problem := range problems {
			faults = append(faults, problem)
		}
		if s != nil {
			suite.Cases = append(suite.Cases, s.Cases...)
		}
	}
	if p.Tests != "" {
		data, err := fs.ReadFile(fsys, p.Tests)
		if err != nil {
			return nil, nil, errors.Join(append(faults, fmt.Errorf("read tests: %w", err))...)
		}
		take(Parse(prefix+p.Tests, data))
	}
	own, problems, whole := section(prefix+p.Rules, data)
	take(own, problems)
	if len(suite.Cases) == 0 && errors.Join(faults[1:]...) == nil && whole {
		return nil, nil, fmt.Errorf("%s%s: %w: there is no %s beside it, and no list under gatewatch: tests: in it", prefix, p.Rules, ErrNoTests, path.Base(neighbour(p.Rules)))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, nil, err
	}
	return suite, index, nil
}

func compile(name string, data []byte, o sigma.CompileOptions) (*sigma.Index, error) {
	set, problems := sigma.Parse([]sigma.Document{{File: name, Data: data}})
	index, more := set.Compile(o)
	var faults []error
	for _, p := range append(problems, more...) {
		if p.Severity == sigma.Refused {
			faults = append(faults, p)
		}
	}
	if len(index.Rules()) == 0 && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("%s: the file has no rule", name))
	}
	return index, errors.Join(faults...)
}
