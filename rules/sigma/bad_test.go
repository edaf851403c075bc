package sigma

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
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
	for _, folder := range []string{"bad", "specification"} {
		files, err := filepath.Glob("testdata/" + folder + "/*.yml")
		if err != nil || len(files) == 0 {
			f.Fatal(folder, err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && filepath.Base(file) != "bomb.yml" {
				for doc := range strings.SplitSeq(string(data), "---\n") {
					f.Add([]byte(doc))
				}
				if folder == "specification" {
					f.Add(data) // with what the correlation is made of
				}
			}
		}
	}
	f.Add([]byte(twoRules))
	f.Add([]byte(bases))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, problems := Parse([]Document{{File: "f.yml", Data: data}})
		o := CompileOptions{
			Lists: map[string][]string{"admins": {"root", "adm*"}, "nets": {"10.0.0.0/8"}, "none": {}},
			Tune:  []Tuning{{Titles: []string{"*"}, Threshold: new(7.0), Timespan: time.Minute, GroupBy: []string{"client.address"}, Shadow: new(true)}},
		}
		for _, o := range []CompileOptions{{}, o} {
			x, more := set.Compile(o)
			for _, p := range append(problems, more...) {
				if p.Line < 1 || p.Column < 1 || p.Message == "" || p.Hint == "" && p.Severity == Refused {
					t.Errorf("incomplete: %+v", p)
				}
			}
			m := x.NewMatcher()
			ev := request("GET", "/a?b=c%20d", 200, "ua")
			ev.Time, ev.AttackClass = 1_700_000_000_000_000_000, []string{"sqli", "xss"}
			var b observation.Batch
			m.Observe(ev, &b)
			m.Near(ev)
			for i := range b.Hits {
				if r := &x.Plan().Rules[b.Hits[i].Rule]; r.Type.Steps() != (b.Hits[i].Steps != 0) {
					t.Errorf("%s: steps %b", r.ID, b.Hits[i].Steps)
				}
			}
			for i := range x.Plan().Rules {
				for _, in := range x.Plan().Rules[i].Inputs {
					if int(in) >= i {
						t.Errorf("rule %d of the plan stands before its input %d", i, in)
					}
				}
			}
		}
	})
}
