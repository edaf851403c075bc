package injection

import (
	"bufio"
	"compress/gzip"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// ordinary reads requests out of a log of ordinary traffic.
func ordinary(tb testing.TB) []Request {
	tb.Helper()
	return readRequests(tb, "../../rules/sigma/testdata/ordinary.log.gz")
}

func readRequests(tb testing.TB, path string) []Request {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var out []Request
	sc := bufio.NewScanner(z)
	for sc.Scan() {
		parts := strings.Split(sc.Text(), `"`)
		if len(parts) < 6 {
			continue
		}
		words := strings.Fields(parts[1])
		if len(words) < 2 {
			continue
		}
		path, query, _ := strings.Cut(words[1], "?")
		referer := parts[3]
		if referer == "-" {
			referer = ""
		}
		out = append(out, Request{Path: path, Query: query, Agent: parts[5], Referer: referer, Host: "api.example.com"})
	}
	if len(out) < 1000 {
		tb.Fatalf("%d requests", len(out))
	}
	return out
}

// BenchmarkOrdinary is the cost of a request that holds no attack.
func BenchmarkOrdinary(b *testing.B) {
	list := ordinary(b)
	a := New()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a.Analyze(&list[i%len(list)])
		i++
	}
	s := a.Stats()
	b.ReportMetric(100*float64(s.Suspects)/float64(s.Requests), "%suspect")
	b.ReportMetric(100*float64(s.Deep)/float64(s.Requests), "%deep")
}

// BenchmarkBench is the same for the lines of the bench of the speed, which hold
// JSON, names with apostrophes and words of SQL.
func BenchmarkBench(b *testing.B) {
	list := readRequests(b, "../../rules/sigma/testdata/bench.log.gz")
	a := New()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a.Analyze(&list[i%len(list)])
		i++
	}
	s := a.Stats()
	b.ReportMetric(100*float64(s.Suspects)/float64(s.Requests), "%suspect")
	b.ReportMetric(100*float64(s.Deep)/float64(s.Requests), "%deep")
}

// TestOrdinaryAllocates: a request that never came before and holds no attack
// allocates nothing.
func TestOrdinaryAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, path := range []string{"../../rules/sigma/testdata/ordinary.log.gz", "../../rules/sigma/testdata/bench.log.gz"} {
		a := New()
		list := slices.DeleteFunc(readRequests(t, path), func(r Request) bool { return a.Analyze(&r) != 0 })
		half := len(list) / 2
		least := uint64(math.MaxUint64)
		for range 5 { // the runtime itself allocates now and then
			a := New()
			for i := range list[:half] {
				a.Analyze(&list[i])
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for i := half; i < len(list); i++ {
				a.Analyze(&list[i])
			}
			runtime.ReadMemStats(&after)
			least = min(least, after.Mallocs-before.Mallocs)
		}
		if least > 0 {
			t.Errorf("%s: %d allocations for %d requests", path, least, len(list)-half)
		}
	}
}

// TestOrdinaryIsCheap: ordinary requests hardly ever get past the first look,
// and libinjection runs on less than a hundredth of them.
func TestOrdinaryIsCheap(t *testing.T) {
	list := ordinary(t)
	a := New()
	attacks := 0
	for i := range list {
		// A few lines of the log are attacks, each of them one that a person sees at once.
		if set, why := a.Explain(&list[i]); set.Has(SQLi) || set.Has(XSS) || set.Has(Command) {
			attacks++
		} else if set != 0 {
			t.Errorf("%+v is taken for %v: %+v", list[i], set.Append(nil), why)
		}
	}
	if attacks != 4 {
		t.Errorf("%d attacks, the log has 4", attacks)
	}
	s := a.Stats()
	if s.Deep*100 > s.Requests || s.Suspects*4 > s.Requests {
		t.Errorf("of %d requests %d got past the first look and %d ran libinjection", s.Requests, s.Suspects, s.Deep)
	}
}
