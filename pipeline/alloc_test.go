package pipeline

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"gatewatch/collectors/file"
)

// TestSteadyStateAllocatesNothing: twice the lines cost no more allocations,
// from the file to the windows, with all built-in rules.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	index := builtinIndex(t)
	at := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	var log strings.Builder
	const lines = 40_000
	for i := range lines {
		stamp := at.Add(time.Duration(i/50) * time.Second).Format("02/Jan/2006:15:04:05 -0700")
		_, _ = fmt.Fprintf(&log, "198.51.100.%d - - [%s] \"GET /api/v1/items/%d?page=%d HTTP/1.1\" 200 %d \"https://shop.example/\" \"agent/%d\"\n",
			1+i%200, stamp, i, i%7, 100+i%900, i%5)
	}
	all := log.String()
	half := all[:strings.Index(all[len(all)/2:], "\n")+len(all)/2+1]
	mallocs := func(paths []string) uint64 {
		src, err := file.Replay(paths, file.ReplayOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(Options{Inputs: []Input{{Collector: fixed(src)}}, Index: index, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	one, two := writeFiles(t, []string{half}), writeFiles(t, []string{all})
	mallocs(one) // what is made once a process
	a, b := mallocs(one), mallocs(two)
	extra := float64(b) - float64(a)
	t.Logf("%d allocations for half the lines, %d for all", a, b)
	// A block of some thousand lines has a few of its own.
	if per := extra / (lines / 2); per > 0.01 {
		t.Errorf("%.4f allocations a line in the steady state, want none", per)
	}
}
