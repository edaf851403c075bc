package sigma

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// TestBadRules compares the problems of faulty files with what stands in the
// .txt files beside them.
func TestBadRules(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 8 {
		t.Fatalf("only %d files", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			set, problems := Parse([]Document{{File: filepath.Base(file), Data: data}})
			_, more := set.Compile(CompileOptions{Lists: map[string][]string{
				"admins": {"root", "adm*"}, "nets": {"10.0.0.0/8", "intranet"}, "none": {}, "scanners": {"192.0.2.1"},
				"words": {"a", "b", "c", "d", "e", "f", "g", "h"},
			}})
			var b strings.Builder
			for _, p := range append(problems, more...) {
				if p.File == "" || p.Line < 1 || p.Column < 1 || p.Hint == "" || p.Message == "" {
					t.Errorf("incomplete: %+v", p)
				}
				b.WriteString(p.Error() + "\n")
			}
			b.WriteString("loaded:")
			for _, r := range set.Rules() {
				b.WriteString(" " + r.ID + ";")
			}
			b.WriteString("\n")
			golden := strings.TrimSuffix(file, ".yml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParse: no bytes make the parser or the compiler panic, and what loads
// can be matched.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && filepath.Base(file) != "bomb.yml" {
			for doc := range strings.SplitSeq(string(data), "---\n") {
				f.Add([]byte(doc))
			}
		}
	}
	f.Add([]byte(twoRules))
	f.Add([]byte(bases))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, problems := Parse([]Document{{File: "f.yml", Data: data}})
		x, more := set.Compile(CompileOptions{})
		for _, p := range append(problems, more...) {
			if p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Errorf("incomplete: %+v", p)
			}
		}
		m := x.NewMatcher()
		m.Match(request("GET", "/a?b=c%20d", 200, "ua"))
		m.Near(request("GET", "/a?b=c%20d", 200, "ua"))
	})
}
