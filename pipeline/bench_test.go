package pipeline

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"gatewatch/collectors/file"
	"gatewatch/rules"
	"gatewatch/rules/sigma"
)

func builtinIndex(t testing.TB) *sigma.Index {
	t.Helper()
	docs, err := sigma.ReadFS(rules.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	set, problems := sigma.Parse(docs)
	index, more := set.Compile(sigma.CompileOptions{})
	for _, p := range append(problems, more...) {
		t.Error(p.Error())
	}
	return index
}

// cpu is the CPU time that the process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReplay replays a whole log with all built-in rules. GATEWATCH_BENCH_LOG
// names the log; lines per CPU second are what counts.
func BenchmarkReplay(b *testing.B) {
	path := os.Getenv("GATEWATCH_BENCH_LOG")
	if path == "" {
		path = "../testdata/attack-hour.log.gz"
	}
	index := builtinIndex(b)
	b.ReportAllocs()
	var lines int64
	began := cpu(b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		src, err := file.Replay([]string{path}, file.ReplayOptions{})
		if err != nil {
			b.Fatal(err)
		}
		p, err := New(Options{Inputs: []Input{{Collector: fixed(src)}}, Index: index})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		for _, s := range p.Status().Sources {
			lines += s.Lines
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(lines)/(cpu(b)-began).Seconds(), "lines/cpu-s")
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(lines), "allocs/line")
}
