package pipeline

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/file"
	"gatewatch/storage"
)

// durations collects what Options.Observe is told.
type durations struct {
	mu  sync.Mutex
	all map[string][]time.Duration
}

func (d *durations) observe(what string, x time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[string][]time.Duration{}
	}
	d.all[what] = append(d.all[what], x)
}

// p99 returns the 99th percentile in milliseconds.
func (d *durations) p99(what string) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := slices.Sorted(slices.Values(d.all[what]))
	if len(x) == 0 {
		return 0
	}
	return float64(x[len(x)*99/100].Microseconds()) / 1000
}

func openBench(b *testing.B, dir string) *storage.DB {
	b.Helper()
	db, err := storage.Open(filepath.Join(dir, "state.db"), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return db
}

// unpacked returns the path of a plain copy of a gzip file.
func unpacked(b *testing.B, path string) string {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		b.Fatal(err)
	}
	plain := filepath.Join(b.TempDir(), "access.log")
	if err := os.WriteFile(plain, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return plain
}

// BenchmarkRun follows a whole log live with checkpoints on, like
// BenchmarkReplay without them.
func BenchmarkRun(b *testing.B) {
	path := os.Getenv("GATEWATCH_BENCH_LOG")
	if path == "" {
		path = unpacked(b, "../testdata/attack-hour.log.gz")
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	index := builtinIndex(b)
	var d durations
	var lines int64
	var stateBytes int64
	began := cpu(b)
	for b.Loop() {
		c, err := file.New(file.Options{Paths: []string{path}, Begin: file.Start})
		if err != nil {
			b.Fatal(err)
		}
		db := openBench(b, b.TempDir())
		p, err := New(Options{Inputs: []Input{{Collector: c}}, Index: index, DB: db, Live: true, Observe: d.observe})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			if s := p.Status().Sources; len(s) == 1 && s[0].Offset == info.Size() {
				lines += s[0].Lines
				break
			}
		}
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		stateBytes = db.Size()
	}
	b.ReportMetric(float64(lines)/(cpu(b)-began).Seconds(), "lines/cpu-s")
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(d.p99("cut_stall"), "stall-p99-ms")
	b.ReportMetric(d.p99("commit"), "commit-p99-ms")
	b.ReportMetric(float64(len(d.all["commit"])), "commits")
	b.ReportMetric(float64(stateBytes)/(1<<20), "state-MiB")
}

// crowd is a source of many clients: 70 % with one request, 25 % with 3, 5 %
// with 20, of which a twentieth are failed logins and a tenth pages that are
// not there; after that it goes on with requests of clients it had before,
// until time is up. Its event time passes slowly, so that nothing expires.
type crowd struct {
	clients int
	extra   time.Duration
	full    chan struct{} // closed when all clients were seen
	resume  chan struct{} // closed when it may go on
}

func (c *crowd) Name() string { return "crowd" }

func (c *crowd) Fetch(_ context.Context, l []collectors.Lookup) []collectors.Text {
	return make([]collectors.Text, len(l))
}

func (c *crowd) Watch(ctx context.Context, found func(collectors.Source), settled func()) error {
	found(c)
	settled()
	<-ctx.Done()
	return ctx.Err()
}

func (c *crowd) Run(ctx context.Context, _ collectors.Position, emit func(collectors.Item) error) error {
	r := rand.New(rand.NewPCG(1, 1))
	at := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	var data []byte
	var offset, line int64 = 0, 1
	sent := 0
	send := func() error {
		n := int64(0)
		for _, x := range data {
			if x == '\n' {
				n++
			}
		}
		err := emit(collectors.Item{Block: &collectors.Block{Data: data, Offset: offset, Line: line, Origin: []byte("x")}})
		offset, line, data = offset+int64(len(data)), line+n, make([]byte, 0, 80<<10)
		return err
	}
	add := func(i, k int) error {
		if sent++; sent%200_000 == 0 {
			at = at.Add(time.Second)
		}
		data = fmt.Appendf(data, "10.%d.%d.%d - - [%s] ", i>>16&255, i>>8&255, i&255, at.Format("02/Jan/2006:15:04:05 -0700"))
		switch {
		case i%20 == 7:
			data = append(data, "\"POST /api/login HTTP/1.1\" 401 100 \"-\" \"agent\"\n"...)
		case i%10 == 3:
			data = fmt.Appendf(data, "\"GET /gone/page%d HTTP/1.1\" 404 100 \"-\" \"agent\"\n", k)
		default:
			data = fmt.Appendf(data, "\"GET /api/v1/items/%d HTTP/1.1\" 200 100 \"-\" \"agent\"\n", i*7+k)
		}
		if len(data) < 64<<10 {
			return ctx.Err()
		}
		return send()
	}
	times := func(i int) int {
		switch i % 20 {
		case 0:
			return 20
		case 1, 2, 3, 4, 5:
			return 3
		default:
			return 1
		}
	}
	// Rounds, so that the requests of one client are apart in time.
	for round := range 20 {
		for i := range c.clients {
			if times(i) > round {
				if err := add(i, round); err != nil {
					return err
				}
			}
		}
	}
	if err := send(); err != nil {
		return err
	}
	close(c.full)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.resume:
	}
	began := time.Now()
	for n := 0; time.Since(began) < c.extra; n++ {
		if err := add(r.IntN(c.clients), r.IntN(20)); err != nil {
			return err
		}
		if n%1000 == 0 {
			select { // keep to the rate
			case <-ctx.Done():
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / crowdRate))):
			}
		}
	}
	if err := send(); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// crowdRate is how many requests a second the crowd sends once it is complete.
const crowdRate = 50_000

// BenchmarkCrowd runs with many live entities and all built-in rules:
// GATEWATCH_BENCH_ENTITIES of them (default 20,000), for
// GATEWATCH_BENCH_SECONDS (default 2) after all were seen.
func BenchmarkCrowd(b *testing.B) {
	number := func(name string, n int) int {
		if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return v
		}
		return n
	}
	clients, extra := number("GATEWATCH_BENCH_ENTITIES", 20_000), time.Duration(number("GATEWATCH_BENCH_SECONDS", 2))*time.Second
	index := builtinIndex(b)
	for b.Loop() {
		var d durations
		var base, full runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&base)
		c := &crowd{clients: clients, extra: extra, full: make(chan struct{}), resume: make(chan struct{})}
		db := openBench(b, b.TempDir())
		p, err := New(Options{Inputs: []Input{{Collector: c}}, Index: index, DB: db, Live: true, Observe: d.observe, Budget: 3 << 30})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		<-c.full
		<-time.After(3 * time.Second) // so that no checkpoint is under way
		runtime.GC()
		runtime.ReadMemStats(&full)
		st := p.Status()
		d = durations{}
		close(c.resume)
		<-time.After(extra)
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		state := 0 // what the windows take when written once
		for _, o := range p.owners {
			o.engine.BeginCut(0, func(int) bool { return true })
			for _, s := range o.engine.EndCut() {
				for _, c := range s.Chunks {
					state += len(c)
				}
			}
		}
		b.ReportMetric(float64(st.Windows.Entities), "entities")
		b.ReportMetric(float64(st.Windows.Entries)/float64(st.Windows.Entities), "entries/entity")
		b.ReportMetric(float64(full.HeapAlloc-base.HeapAlloc)/float64(st.Windows.Entities), "B/entity")
		b.ReportMetric(d.p99("cut_stall"), "stall-p99-ms")
		b.ReportMetric(d.p99("commit"), "commit-p99-ms")
		b.ReportMetric(float64(len(d.all["commit"])), "commits")
		b.ReportMetric(float64(db.Size())/(1<<20), "file-MiB")
		b.ReportMetric(float64(state)/(1<<20), "state-MiB")
		b.ReportMetric(float64(p.Status().Windows.EvictedAlive), "evicted-alive")
	}
}
