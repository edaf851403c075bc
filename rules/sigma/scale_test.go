package sigma

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// sizes are the numbers of rules that costs are compared at.
var sizes = [...]int{10, 100, 1000, 3000}

// alike makes n rules that differ in one word only, so that all share the
// rest of what they look for.
func alike(kind string, n int) string {
	var b strings.Builder
	for i := range n {
		var items string
		switch kind {
		case "all":
			items = fmt.Sprintf("cs-uri-query|contains|all: ['/api/', 'id=', 'x%dy']", i)
		case "regular expression":
			items = fmt.Sprintf("cs-uri-query|re: '/api/v1/.*evil%d'", i)
		case "wildcards":
			items = fmt.Sprintf("cs-uri-query: '/api/*/evil%d*'", i)
		case "prefix":
			items = fmt.Sprintf("cs-uri-query|contains: '/api/v1/users/%d/admin'\n    cs-method: GET", 100_000+i)
		case "agent":
			items = fmt.Sprintf("cs-user-agent: 'Mozilla/5.0*evil%d*'\n    cs-uri-stem|endswith: .php", i)
		case "three letters":
			items = fmt.Sprintf("cs-uri-query|contains: '%c%c%c'\n    cs-user-agent|contains: 'evil%d'", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26, i)
		case "status":
			items = fmt.Sprintf("sc-status: %d\n    cs-uri-query|re: '[0-9]{3}x%d'", 400+i%200, i)
		}
		fmt.Fprintf(&b, "---\ntitle: r%d\nid: r%d\nlogsource: {category: webserver}\ndetection:\n  selection:\n    %s\n  condition: selection\nlevel: low\n", i, i, items)
	}
	return b.String()
}

// realRules returns n rules, in turn one that gatewatch ships, a published one
// where they are at hand, and one made like them. Which ones depends on draw.
func realRules(t testing.TB, n int, draw uint64) *Index {
	t.Helper()
	r := rand.New(rand.NewPCG(15, draw))
	w := webRules{rand.New(rand.NewPCG(13, draw))}
	var made []Document
	for i := range n {
		made = append(made, Document{File: fmt.Sprintf("made/%d.yml", i), Data: []byte(strings.TrimPrefix(w.rule(i), "---\n"))})
	}
	// Detections that feed windows match ordinary requests, and cost what matches.
	alone := slices.DeleteFunc(builtinDocs(t), func(d Document) bool { return bytes.Contains(d.Data, []byte("\ncorrelation:")) })
	lists := [][]Document{alone, nil, made}
	if published, err := ReadFS(os.DirFS(filepath.Dir(publishedFolder())), filepath.Base(publishedFolder())); err == nil {
		lists[1] = published
	}
	var docs []Document
	for _, list := range lists[:2] {
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	for i := range n {
		for _, list := range lists {
			if i < len(list) {
				docs = append(docs, list[i])
			}
		}
	}
	// Documents keep this order, which a set sorted by file would not.
	kept := 0
	for i, d := range docs {
		set, _ := Parse([]Document{d})
		for _, rule := range set.rules {
			if rule.Kind == Detection {
				kept++
			}
		}
		if kept >= n {
			docs = docs[:i+1]
			break
		}
	}
	set, _ := Parse(docs)
	x, _ := set.Compile(CompileOptions{})
	if len(x.dets) < n {
		t.Fatalf("only %d of %d rules", len(x.dets), n)
	}
	return x
}

// eventTime is how long an event takes, in nanoseconds.
func eventTime(m *Matcher, b *observation.Batch, evs []*event.Event) float64 {
	start := time.Now()
	for _, ev := range evs {
		m.Observe(ev, b)
	}
	b.Reset()
	return float64(time.Since(start)) / float64(len(evs))
}

// TestCostHardlyGrows: with 3,000 rules an event of ordinary traffic costs less
// than three times what it costs with 10.
func TestCostHardlyGrows(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	const limit = 3.0
	// Ten rules look at a few fields or at many: it depends on which.
	const draws = 8
	sets := map[string]func(t *testing.T, n int) []*Index{
		"real": func(t *testing.T, n int) []*Index {
			var out []*Index
			for draw := range uint64(draws) {
				if out = append(out, realRules(t, n, draw)); n > sizes[0] {
					break
				}
			}
			return out
		},
		"published": func(t *testing.T, n int) []*Index { return []*Index{mustCompile(t, webRuleSet(n))} },
	}
	for _, kind := range []string{"all", "regular expression", "wildcards", "prefix", "agent", "three letters", "status"} {
		sets["alike, "+kind] = func(t *testing.T, n int) []*Index { return []*Index{mustCompile(t, alike(kind, n))} }
	}
	for name, index := range sets {
		t.Run(name, func(t *testing.T) {
			var ms [len(sizes)][]*Matcher
			var least [len(sizes)][]float64
			var needs event.FieldSet
			for i, n := range sizes {
				for _, x := range index(t, n) {
					ms[i] = append(ms[i], x.NewMatcher())
					least[i] = append(least[i], math.Inf(1))
					needs |= x.Needs()
				}
			}
			evs := ordinary(t, needs)
			var batch observation.Batch
			mean := func(i int) (sum float64) {
				for _, ns := range least[i] {
					sum += ns / float64(len(least[i]))
				}
				return sum
			}
			ratio := func() float64 { return mean(len(sizes)-1) / mean(0) }
			// A busy machine makes some rounds slow and none fast.
			for round := range 40 {
				for i := range ms {
					for k, m := range ms[i] {
						least[i][k] = min(least[i][k], eventTime(m, &batch, evs))
					}
				}
				if round >= 5 && ratio() < limit/2 {
					break
				}
			}
			for i, n := range sizes {
				t.Logf("%5d rules: %4.0f ns an event", n, mean(i))
			}
			if r := ratio(); r >= limit {
				t.Errorf("%d rules take %.1f times as long as %d, want less than %v", sizes[len(sizes)-1], r, sizes[0], limit)
			}
		})
	}
}

// TestManyRulesAllocateNothing: events that match none of 3,000 rules cost no
// allocation.
func TestManyRulesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("regexp allocates under the race detector")
	}
	x := mustCompile(t, webRuleSet(3000))
	m := x.NewMatcher()
	var quiet []*event.Event
	for _, ev := range ordinary(t, x.Needs()) {
		if len(m.Match(ev)) == 0 {
			quiet = append(quiet, ev)
		}
	}
	if len(quiet) < 2000 {
		t.Fatalf("only %d events match nothing", len(quiet))
	}
	var batch observation.Batch
	all := func() {
		for _, ev := range quiet {
			m.Observe(ev, &batch)
		}
	}
	all() // caches and buffers fill
	all()
	if n := testing.AllocsPerRun(3, all); n > 0 {
		t.Errorf("%v allocations in %d events", n, len(quiet))
	}
}

// BenchmarkRules is what an event of ordinary traffic costs with real rules.
func BenchmarkRules(b *testing.B) {
	for _, n := range sizes {
		x := realRules(b, n, 0)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) { observeAll(b, x, ordinary(b, x.Needs())) })
	}
}
