package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/collectors/file"
	"gatewatch/pipeline/traffictest"
	"gatewatch/rules/sigma"
)

// fixed is a collector of sources that are all known.
type fixed []collectors.Source

func (f fixed) Watch(_ context.Context, found func(collectors.Source), settled func()) error {
	for _, s := range f {
		found(s)
	}
	settled()
	return nil
}

func testIndex(t testing.TB) *sigma.Index {
	t.Helper()
	set, problems := sigma.Parse([]sigma.Document{{File: "rules.yml", Data: []byte(traffictest.Rules)}})
	index, more := set.Compile(sigma.CompileOptions{})
	for _, p := range append(problems, more...) {
		t.Error(p.Error())
	}
	return index
}

func writeFiles(t testing.TB, contents []string) []string {
	t.Helper()
	dir := t.TempDir()
	paths := make([]string, len(contents))
	for i, c := range contents {
		paths[i] = filepath.Join(dir, fmt.Sprintf("access-%c.log", 'a'+i))
		if err := os.WriteFile(paths[i], []byte(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func replay(t testing.TB, paths []string, o Options, blockBytes int) ([]traffictest.Summary, Status) {
	t.Helper()
	src, err := file.Replay(paths, file.ReplayOptions{BlockBytes: blockBytes})
	if err != nil {
		t.Fatal(err)
	}
	o.Inputs = []Input{{Collector: fixed(src)}}
	if o.Index == nil {
		o.Index = testIndex(t)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	incidents, err := p.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range incidents {
		if i.State != alerting.StateResolved {
			t.Fatalf("incident %s is %s at the end of a replay", i.ID, i.State)
		}
	}
	return traffictest.Summarize(incidents), p.Status()
}

// TestReplayIsOne: a replay gives the same on any number of workers and with
// any block size, with records out of order, bad stamps and evictions.
func TestReplayIsOne(t *testing.T) {
	for _, files := range []int{1, 3} {
		for _, disorder := range []bool{false, true} {
			for seed := range uint64(4) {
				o := traffictest.Options{Seed: seed, Lines: 4000, Files: files, Disorder: disorder}
				caps := Options{}
				if disorder {
					o.Clients = 1500
					caps.Keys, caps.Entries = 6, 12
				}
				paths := writeFiles(t, traffictest.Split(traffictest.Make(o), files))
				var want []traffictest.Summary
				for i, w := range []int{1, 2, 8} {
					caps.Workers = w
					got, status := replay(t, paths, caps, []int{256 << 10, 4 << 10, 1 << 10}[i])
					if i == 0 {
						want = got
						checkLively(t, want, status, disorder)
						checkWriters(t, o)
						continue
					}
					if d := cmp.Diff(want, got); d != "" {
						t.Fatalf("files %d, disorder %v, seed %d: %d workers differ from one (-1 +%d):\n%s", files, disorder, seed, w, w, d)
					}
				}
			}
		}
	}
}

// checkWriters fails where a log is not what its options say: every file has
// lines, and disorder puts a pair of stamps far ahead into the last one.
func checkWriters(t *testing.T, o traffictest.Options) {
	t.Helper()
	lines := make([]int, o.Files)
	ahead := 0
	clock := int64(0)
	for i, l := range traffictest.Make(o) {
		lines[l.File]++
		if i > 0 && l.File == o.Files-1 && l.At > clock+300*86400 && clock > 0 {
			ahead++
			continue
		}
		if i > 0 {
			clock = l.At
		}
	}
	for i, n := range lines {
		if n < 20 {
			t.Fatalf("file %d has %d lines only: %v", i, n, lines)
		}
	}
	if o.Disorder && ahead != 2 {
		t.Fatalf("%d stamps of the last file are a year ahead, want a pair", ahead)
	}
}

// checkLively fails where a log would show nothing whatever the pipeline did.
func checkLively(t *testing.T, s []traffictest.Summary, st Status, disorder bool) {
	t.Helper()
	rules := map[string]bool{}
	for _, x := range s {
		for _, r := range x.Rules {
			rules[r.ID] = true
		}
	}
	if !disorder && len(rules) < 8 {
		t.Fatalf("only %d of 8 rules fired: %v", len(rules), rules)
	}
	if w := st.Windows; disorder && (w.EvictedAlive < 10 || w.Dropped < 10 || w.Readmitted == 0) {
		t.Fatalf("the caps hardly bite: %+v", w)
	}
	var late int64
	for _, src := range st.Sources {
		late += src.Late
		if src.Behind != 0 {
			t.Fatalf("%s: %d records behind the merge in a replay", src.Name, src.Behind)
		}
	}
	if disorder && st.Sources[len(st.Sources)-1].Late == 0 {
		t.Fatal("no record of the last source was late, behind its pair of stamps")
	}
	if disorder && late == 0 {
		t.Fatal("no record was late")
	}
}

// TestCuttings: the same records in one file and in three give the same, where
// each piece is in order and no cap bites.
func TestCuttings(t *testing.T) {
	seeds := uint64(20)
	if raceEnabled {
		seeds = 5
	}
	for seed := range seeds {
		o := traffictest.Options{Seed: seed, Lines: 4000, Files: 3}
		lines := traffictest.Make(o)
		three, _ := replay(t, writeFiles(t, traffictest.Split(lines, 3)), Options{}, 2<<10)
		for i := range lines {
			lines[i].File = 0
		}
		one, _ := replay(t, writeFiles(t, traffictest.Split(lines, 1)), Options{}, 0)
		if d := cmp.Diff(one, three); d != "" {
			t.Fatalf("seed %d: three files differ from one (-one +three):\n%s", seed, d)
		}
	}
}
