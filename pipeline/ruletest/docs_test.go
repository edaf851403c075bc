package ruletest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"gatewatch/rules/sigma"
)

// TestDocumentedExamples: the examples of docs/rules.md that have tests in them
// hold, each case of them.
func TestDocumentedExamples(t *testing.T) {
	data, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for block := range strings.SplitSeq(string(data), "```yaml\n") {
		text, _, ok := strings.Cut(block, "```")
		if !ok || !strings.Contains(text, "\n  tests:\n") {
			continue
		}
		examples++
		t.Run(fmt.Sprint(examples), func(t *testing.T) {
			fsys := fstest.MapFS{"rules.yml": {Data: []byte(text)}}
			s, index, err := Load(fsys, Pair{Rules: "rules.yml"}, "", sigma.CompileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ran := 0
			for _, r := range Run(t.Context(), s, index, Options{}) {
				if ran++; !r.OK() {
					t.Error(r.Report())
				}
			}
			if want := strings.Count(text, "\n    - name:"); ran != want || ran < 2 {
				t.Errorf("ran %d of %d cases", ran, want)
			}
		})
	}
	if examples < 8 {
		t.Errorf("only %d examples", examples)
	}
}
