package ruletest

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"gatewatch/detectors/observation"
	"gatewatch/rules"
	"gatewatch/rules/sigma"
)

// builtin returns the built-in rule files with their tests.
func builtin(t *testing.T) []Pair {
	t.Helper()
	pairs, err := Find(rules.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	const least = 15
	if len(pairs) < least {
		t.Fatalf("want %d rule files or more, found %d", least, len(pairs))
	}
	return pairs
}

// written counts the cases of a test file without its parser, so that none
// gets lost on the way.
func written(t *testing.T, name string) int {
	t.Helper()
	data, err := fs.ReadFile(rules.FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count("\n"+string(data), "\n  - name:")
}

// TestBuiltin: each rule file holds what its tests say, and has a case that
// fires, a near miss and a benign one.
func TestBuiltin(t *testing.T) {
	ran, want := 0, 0
	for _, p := range builtin(t) {
		if p.Tests == "" {
			t.Errorf("%s has no tests", p.Rules)
			continue
		}
		want += written(t, p.Tests)
		s, index, err := Load(rules.FS(), p, "", sigma.CompileOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		kinds := map[Kind]int{}
		for _, r := range Run(t.Context(), s, index, Options{}) {
			ran++
			kinds[r.Case.Kind()]++
			if !r.OK() {
				t.Error(r.Report())
			}
		}
		for _, k := range []Kind{Fires, NearMiss, Benign} {
			if kinds[k] == 0 {
				t.Errorf("%s has no case of kind %q", p.Tests, k)
			}
		}
	}
	if ran != want || ran == 0 {
		t.Errorf("ran %d of %d cases", ran, want)
	}
}

// TestBuiltinTogether: with all built-in rules loaded at once, no benign case
// of any of them opens an incident that wakes people, and each case that fires
// by itself still opens one.
func TestBuiltinTogether(t *testing.T) {
	docs, err := sigma.ReadFS(rules.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	set, problems := sigma.Parse(docs)
	index, more := set.Compile(sigma.CompileOptions{})
	for _, p := range append(problems, more...) {
		t.Error(p)
	}
	ran := 0
	for _, p := range builtin(t) {
		s, _, err := Load(rules.FS(), p, "", sigma.CompileOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		for _, r := range Run(t.Context(), s, index, Options{}) {
			where := fmt.Sprintf("%s:%d: %s", r.Case.File, r.Case.Line, r.Case.Name)
			if r.Err != nil {
				t.Errorf("%s: %v", where, r.Err)
				continue
			}
			switch r.Case.Kind() {
			case Benign:
				ran++
				for _, i := range r.Incidents {
					if i.Level >= observation.Medium {
						t.Errorf("%s: a benign case opens\n    %s", where, describeIncident(&i))
					}
				}
			case Fires:
				if len(r.Incidents) == 0 {
					t.Errorf("%s: opens no incident when all rules are loaded", where)
				}
			}
		}
	}
	if ran < 15 {
		t.Errorf("ran %d benign cases", ran)
	}
}
