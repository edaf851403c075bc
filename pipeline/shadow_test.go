package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors/file"
	"gatewatch/pipeline/traffictest"
)

// TestShadow: rules that are only watched change nothing of what is told, and
// what they would have done is what they do when they are not.
func TestShadow(t *testing.T) {
	paths := writeFiles(t, traffictest.Split(traffictest.Make(traffictest.Options{Seed: 3, Lines: 6000, Files: 1}), 1))
	run := func(shadow, disabled func(id string) bool) (told, untold []traffictest.Summary, status Status) {
		t.Helper()
		src, err := file.Replay(paths, file.ReplayOptions{})
		if err != nil {
			t.Fatal(err)
		}
		index := testIndex(t)
		for i := range index.Plan().Rules {
			r := &index.Plan().Rules[i]
			r.Shadow = shadow(r.ID)
			r.Alerting = r.Alerting && !disabled(r.ID)
		}
		p, err := New(Options{Inputs: []Input{{Collector: fixed(src)}}, Index: index})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, err := p.Incidents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.ShadowIncidents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return traffictest.Summarize(a), traffictest.Summarize(b), p.Status()
	}
	none := func(string) bool { return false }
	rules := testIndex(t).Plan().Rules
	half := map[string]bool{}
	for i := range rules {
		half[rules[i].ID] = i%2 == 0
	}
	in := func(id string) bool { return half[id] }
	out := func(id string) bool { return !half[id] }
	told, untold, status := run(in, none)
	without, _, _ := run(none, in)
	if d := cmp.Diff(without, told); d != "" {
		t.Errorf("rules that are only watched change what is told (-without +with):\n%s", d)
	}
	alone, _, _ := run(none, out)
	if d := cmp.Diff(alone, untold); d != "" {
		t.Errorf("what would have been told differs from what is (-told +would have been):\n%s", d)
	}
	if len(told) == 0 || len(untold) == 0 {
		t.Fatalf("%d incidents told, %d not", len(told), len(untold))
	}
	var joined uint64
	for _, r := range status.Rules {
		if r.Shadow != half[r.ID] {
			t.Errorf("status says that %s is only watched: %v", r.Title, r.Shadow)
		}
		if r.Shadow {
			joined += r.Incidents
		}
	}
	if joined < uint64(len(untold)) {
		t.Errorf("rules became part of %d incidents, there are %d", joined, len(untold))
	}
}
