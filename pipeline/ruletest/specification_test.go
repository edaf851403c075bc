package ruletest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/rules/sigma"
)

// TestSpecification: what Sigma's specification says of correlations and
// filters by example, written anew for requests, holds from log lines to
// incidents. Each file has its cases in itself.
func TestSpecification(t *testing.T) {
	const folder = "../../rules/sigma/testdata/specification"
	files, err := filepath.Glob(folder + "/*.yml")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	fsys := os.DirFS(folder)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yml"), func(t *testing.T) {
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			s, index, err := Load(fsys, Pair{Rules: name}, "", sigma.CompileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ran := 0
			for _, r := range Run(t.Context(), s, index, Options{}) {
				if ran++; !r.OK() {
					t.Error(r.Report())
				}
			}
			if want := strings.Count(string(data), "\n    - name:"); ran != want || ran < 2 {
				t.Errorf("ran %d of %d cases", ran, want)
			}
		})
	}
}
