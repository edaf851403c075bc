package ruletest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/rules/sigma/schema"
)

// TestSchema: the schema of test files has the keys that the parser reads.
func TestSchema(t *testing.T) {
	data, err := schema.Tests()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Definitions map[string]struct {
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"case":     "{qqqqqqq: 1}",
		"part":     "{name: a, parts: [{qqqqqqq: 1}], expect: none}",
		"repeat":   "{name: a, log: x, repeat: {qqqqqqq: 1}, expect: none}",
		"incident": "{name: a, log: x, expect: [{qqqqqqq: 1}]}",
	} {
		_, problems := Parse("x", []byte("tests: ["+text+"]"))
		if len(problems) == 0 {
			t.Fatalf("%s is accepted", text)
		}
		want := strings.Split(strings.TrimPrefix(problems[0].Hint, "there are "), ", ")
		if d := cmp.Diff(want, slices.Sorted(maps.Keys(s.Definitions[name].Properties))); d != "" {
			t.Errorf("keys of %s (-parser +schema):\n%s", name, d)
		}
	}
}
