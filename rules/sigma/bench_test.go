package sigma

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gatewatch/collectors/format"
	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// manyRules makes n rules with about twenty literals each, as published ones
// have: signatures in the target, and some of agents, statuses and methods.
func manyRules(n int) string {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	word := func() string {
		var b strings.Builder
		for range 5 + r.IntN(14) {
			b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789/=._-("[r.IntN(42)])
		}
		return b.String()
	}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\ntitle: rule %d\nid: rule-%d\nlogsource: {category: webserver}\ndetection:\n  sel:\n", i, i)
		field := []string{"cs-uri-query|contains", "cs-uri-stem|endswith", "cs-uri-query|contains", "cs-user-agent|contains"}[i%4]
		fmt.Fprintf(&b, "    %s:\n", field)
		for range 20 {
			fmt.Fprintf(&b, "      - '%s'\n", word())
		}
		if i%3 == 0 {
			b.WriteString("    cs-method: GET\n")
		}
		if i%10 == 0 {
			fmt.Fprintf(&b, "  re: {cs-uri-query|re: '%s[0-9]+%s'}\n", regexpWord(r), regexpWord(r))
		}
		b.WriteString("  filter: {sc-status: 404}\n")
		if i%10 == 0 {
			b.WriteString("  condition: (sel or re) and not filter\n")
		} else {
			b.WriteString("  condition: sel and not filter\n")
		}
	}
	b.WriteString(`---
title: any request
id: any
logsource: {category: webserver}
detection:
  sel: {http.request.method|exists: true}
  condition: sel
---
title: flood
id: flood
correlation: {type: event_count, rules: [any], group-by: [client.address], timespan: 10s, condition: {gte: 1000}}
`)
	return b.String()
}

func regexpWord(r *rand.Rand) string {
	var b strings.Builder
	for range 6 {
		b.WriteByte(byte('a' + r.IntN(26)))
	}
	return b.String()
}

// benign are requests of ordinary traffic with targets of about 100 bytes.
func benign() []*event.Event {
	agents := []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
		"okhttp/4.12.0", "python-requests/2.31.0",
	}
	var out []*event.Event
	for i := range 256 {
		target := fmt.Sprintf("/api/v2/customers/%d/orders/%d/items?page=%d&per_page=50&sort=created_at&fields=id,name,price,currency,tax", 1000+i, i*7919, i%9)
		out = append(out, request([]string{"GET", "POST"}[i%2], target, []int32{200, 200, 201, 304, 404}[i%5], agents[i%4]))
	}
	return out
}

func BenchmarkObserve(b *testing.B) {
	for _, n := range []int{10, 20, 100, 200, 1000, 2000, 3000} {
		x := mustCompile(b, manyRules(n))
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) { observeAll(b, x, benign()) })
	}
}

// BenchmarkBuiltin runs the rules that gatewatch ships.
func BenchmarkBuiltin(b *testing.B) { observeAll(b, builtinIndex(b), benign()) }

// builtinIndex compiles the rules that gatewatch ships.
func builtinIndex(t testing.TB) *Index {
	t.Helper()
	set, _ := Parse(builtinDocs(t))
	x, _ := set.Compile(CompileOptions{})
	return x
}

func builtinDocs(t testing.TB) []Document {
	t.Helper()
	docs, err := ReadFS(os.DirFS("../.."), "rules")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(docs, func(d Document) bool { return strings.Contains(d.File, "/sigma/") })
}

// BenchmarkLog runs the built-in rules over lines of a log, the one that
// GATEWATCH_BENCH_LOG names or the sample.
func BenchmarkLog(b *testing.B) {
	x := builtinIndex(b)
	observeAll(b, x, logged(b, x.Needs(), 1<<11))
}

// ordinary are requests of a shop's web pages, apps and API without attacks.
func ordinary(t testing.TB, needs event.FieldSet) []*event.Event {
	t.Helper()
	return readLog(t, "testdata/ordinary.log.gz", needs, 1<<20)
}

// logged decodes the first n lines of a log, the one that
// GATEWATCH_BENCH_LOG names or the sample.
func logged(t testing.TB, needs event.FieldSet, n int) []*event.Event {
	t.Helper()
	path := os.Getenv("GATEWATCH_BENCH_LOG")
	if path == "" {
		path = "../../testdata/attack-hour.log.gz"
	}
	return readLog(t, path, needs, n)
}

func readLog(t testing.TB, path string, needs event.FieldSet, n int) []*event.Event {
	t.Helper()
	var in io.Reader
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	in = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	dec, err := format.New(format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	der, err := event.NewDeriver(event.DeriveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []*event.Event
	for lines := bufio.NewScanner(in); lines.Scan() && len(out) < n; {
		var e event.Event
		if dec.Decode(bytes.Clone(lines.Bytes()), &e) != nil {
			continue
		}
		der.Derive(&e, needs)
		for _, s := range []*string{&e.Route, &e.ObjectID, &e.Principal, &e.Account} {
			*s = strings.Clone(*s)
		}
		out = append(out, &e)
	}
	return out
}

// BenchmarkHostile is a target of 8 KiB that makes every regular expression
// of the built-in rules run, and matches few.
func BenchmarkHostile(b *testing.B) {
	x := builtinIndex(b)
	_, pieces := builtinRegexps(b)
	r := rand.New(rand.NewPCG(20, 21))
	var same, other []*event.Event
	for i := range 64 {
		var t strings.Builder
		t.WriteString("/x?q=")
		for t.Len() < 8<<10 {
			t.WriteString(pieces[18+r.IntN(len(pieces)-18)])
			t.WriteString(strings.Repeat("z", 1+r.IntN(3)))
		}
		e := request("GET", t.String(), 200, "curl")
		other = append(other, e)
		if i == 0 {
			same = append(same, e)
		}
	}
	b.Run("same", func(b *testing.B) { observeAll(b, x, same) })
	b.Run("different", func(b *testing.B) { observeAll(b, x, other) })
}

func BenchmarkPublished(b *testing.B) {
	set, _ := Parse(loadPublished(b))
	x, _ := set.Compile(CompileOptions{})
	observeAll(b, x, benign())
}

func observeAll(b *testing.B, x *Index, evs []*event.Event) {
	m := x.NewMatcher()
	var batch observation.Batch
	b.ReportAllocs()
	// Processor time of this thread: wall time says little on a busy machine.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	i, start := 0, threadTime()
	for b.Loop() {
		m.Observe(evs[i], &batch)
		if i++; i == len(evs) {
			i = 0
		}
		if i&255 == 0 {
			batch.Reset()
		}
	}
	b.ReportMetric(float64(threadTime()-start)/float64(b.N), "cpu-ns/op")
}

func threadTime() int64 {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkCompile(b *testing.B) {
	docs := []Document{{File: "many.yml", Data: []byte(manyRules(2000))}}
	for b.Loop() {
		set, _ := Parse(docs)
		set.Compile(CompileOptions{})
	}
}
