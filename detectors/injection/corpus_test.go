package injection

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	show  = flag.String("injection.show", "", "print the rows of this class or benign group that are judged wrongly")
	shown = flag.Int("injection.n", 40, "how many of them")
)

// corpus is where the labelled requests are.
func corpus() string {
	shared := os.Getenv("GATEWATCH_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	return filepath.Join(shared, "corpora", "injection-dev.jsonl.gz")
}

// TestCorpus measures recall by class and alerts by benign group on labelled
// requests, and holds the means that are reached.
func TestCorpus(t *testing.T) {
	f, err := os.Open(corpus())
	if err != nil {
		t.Skip("the labelled requests are not here: ", err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	type tally struct{ n, hit int }
	groups := map[string]*tally{}
	a := New()
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	rows, printed := 0, 0
	for sc.Scan() {
		var r struct {
			Class, Label, Source, Kind, Method, URI, Quality string
			UserAgent                                        string `json:"user_agent"`
			Referer                                          string
		}
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Quality != "" {
			continue
		}
		rows++
		path, query, _ := strings.Cut(r.URI, "?")
		set, why := a.Explain(&Request{Path: path, Query: query, Agent: r.UserAgent, Referer: r.Referer, Host: "api.example.com"})
		key := "attack " + r.Class
		if r.Label != "attack" {
			key = "benign " + strings.TrimSuffix(r.Source+":"+r.Kind, ":")
		}
		g := groups[key]
		if g == nil {
			g = &tally{}
			groups[key] = g
		}
		g.n++
		if set != 0 {
			g.hit++
		}
		if (set != 0) != (r.Label == "attack") && *show != "" && strings.HasSuffix(key, " "+*show) && printed < *shown {
			printed++
			fmt.Println(key, r.Source, r.URI, "|", r.UserAgent, "|", r.Referer, set.Append(nil), why)
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	if rows < 30_000 {
		t.Fatalf("%d rows", rows)
	}
	mean := map[string][]float64{}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		g := groups[key]
		share := 100 * float64(g.hit) / float64(g.n)
		t.Logf("%-40s n=%-6d %5.1f%%", key, g.n, share)
		if g.n >= 9 {
			label, _, _ := strings.Cut(key, " ")
			mean[label] = append(mean[label], share)
		}
	}
	avg := func(x []float64) (m float64) {
		for _, v := range x {
			m += v / float64(len(x))
		}
		return m
	}
	t.Logf("mean of %d attack classes %.2f%%, of %d benign groups %.2f%%", len(mean["attack"]), avg(mean["attack"]), len(mean["benign"]), avg(mean["benign"]))
	for _, class := range []string{"sqli", "xss", "cmdi", "traversal", "lfi", "ssti", "log4shell", "xxe", "ssi", "ssrf", "php"} {
		if g := groups["attack "+class]; float64(g.hit) < 0.93*float64(g.n) {
			t.Errorf("%s: %d of %d found, fewer than 93 %%", class, g.hit, g.n)
		}
	}
	if avg(mean["attack"]) < 84 || avg(mean["benign"]) > 0.5 {
		t.Error("the means are worse than they were")
	}
	t.Logf("%+v", a.Stats())
}
