package sigma

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"gatewatch/event"
)

var rulesDir = flag.String("rules", "", "folder of published rules to load and fire (default: sigma-web beside the project)")

// publishedFolder is the folder of published rules, which need not be there.
func publishedFolder() string {
	return cmp.Or(*rulesDir, filepath.Join(cmp.Or(os.Getenv("GATEWATCH_SHARED"), "../../../shared"), "corpora", "sigma-web"))
}

func loadPublished(t testing.TB) []Document {
	t.Helper()
	return loadFolder(t, publishedFolder())
}

func loadFolder(t testing.TB, dir string) []Document {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no published rules here: %s is absent", dir)
	}
	docs, err := ReadFS(os.DirFS(filepath.Dir(dir)), filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// trueReasons begin or are part of what is said of a rule that asks for what
// docs/rules.md says is refused, or that is no rule of Sigma.
var trueReasons = []string{
	"does not apply to access logs",
	"is not available",
	"unknown field",
	"is not yet supported",
	"regular expression is not valid",
	"belonged to aggregation conditions", "are no longer part of Sigma",
	"there is no list",
	"not valid YAML",
	"a document has one of detection, correlation and filter",
	"there is no rule", "is refused itself",
	// faults of the document
	"the document has no title", "there is no such selection", "the list is empty", "has no selection", "appears twice",
	"is not a number", "cannot be combined", "null cannot be modified", "a map cannot be a field's value", "a value cannot be",
	"unknown modifier", "unknown level",
}

// TestPublishedRules: each rule of a folder loads or is refused for a true
// reason. Each that loads fires on events made from its own condition, is silent
// on those made from its negation, and the index, the naive evaluator and the
// reader of the rule's text agree on all of them.
func TestPublishedRules(t *testing.T) {
	t.Run("published", func(t *testing.T) { tryRules(t, loadPublished(t)) })
	t.Run("odd", func(t *testing.T) { tryRules(t, loadFolder(t, "testdata/odd")) })
}

func tryRules(t *testing.T, docs []Document) {
	t.Helper()
	set, problems := Parse(docs)
	x, more := set.Compile(CompileOptions{})
	reasons := map[string]int{}
	known := map[string]bool{} // files that load or are refused
	refused := map[string]bool{}
	for _, p := range append(problems, more...) {
		if p.Severity != Refused {
			t.Logf("warning: %v", p)
			continue
		}
		known[p.File] = true
		refused[fmt.Sprint(p.File, " ", p.Rule)] = true
		if i := slices.IndexFunc(trueReasons, func(r string) bool { return strings.Contains(p.Message, r) }); i < 0 {
			t.Errorf("refused for no reason that is documented: %v", p)
		} else {
			reasons[trueReasons[i]]++
		}
	}
	texts := map[string]*yaml.Node{}
	for _, d := range docs {
		roots, _ := Trees(d)
		for _, n := range roots {
			texts[fmt.Sprint(d.File, ":", n.Line)] = n
			if n.Kind == 0 || len(n.Content) == 0 {
				known[d.File] = true
			}
		}
		if len(roots) == 0 {
			known[d.File] = true
		}
	}
	plain := true // the reader knows no filters
	for _, r := range x.Rules() {
		known[r.File] = true
		plain = plain && r.Kind != Filter
	}
	for _, d := range docs {
		if !known[d.File] {
			t.Errorf("%s neither loads nor is refused", d.File)
		}
	}
	m := x.NewMatcher()
	fired, silent, events := 0, 0, 0
	for i := range x.dets {
		d := &x.dets[i]
		name := fmt.Sprintf("%s:%d", d.rule.File, d.rule.Line)
		r := rand.New(rand.NewPCG(uint64(i), 1))
		agree := func(ev *event.Event, want bool) {
			events++
			got := matches(m, d, ev)
			read := want
			if doc := texts[name]; plain && doc != nil {
				read = reader{ev: ev}.rule(doc)
			}
			if got != want || read != want {
				t.Errorf("%s: the naive evaluator says %v, the index %v, the text %v, of %+v", name, want, got, read, *ev)
			}
		}
		yes, no := 0, 0
		for range 30 {
			if ev := makeEvent(r, d.cond, true, 100); ev != nil {
				yes++
				agree(ev, true)
			}
			if ev := makeEvent(r, d.cond, false, 100); ev != nil {
				no++
				agree(ev, false)
			}
		}
		switch {
		case yes > 0:
			fired++
		case constant(d.cond) == never:
			t.Logf("%s: an empty list keeps it from firing", name)
		default:
			t.Errorf("%s: no event made from the rule fires it", name)
		}
		if no == 0 {
			t.Errorf("%s: no event made from the negation is one", name)
		} else {
			silent++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("refused, %s: %d times", reason, reasons[reason])
	}
	t.Logf("%d files: %d rules refused, %d load; of these %d fire, %d are silent on their negation; %d events", len(docs), len(refused), len(x.dets), fired, silent, events)
}

func matches(m *Matcher, d *det, ev *event.Event) bool {
	return slices.ContainsFunc(m.Match(ev), func(r Match) bool { return r.Rule == d.rule })
}
