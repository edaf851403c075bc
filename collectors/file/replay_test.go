package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors"
)

// record is one line as a receiver sees it.
type record struct {
	Off, Line int64
	Text      string
}

// taken collects what a source emits.
type taken struct {
	records []record
	origins [][]byte // of each record
	skipped map[string]int64
	states  []collectors.State
	blocks  int
}

func (k *taken) add(it collectors.Item) {
	for reason, n := range it.Skipped {
		if k.skipped == nil {
			k.skipped = map[string]int64{}
		}
		k.skipped[reason] += n
	}
	if it.Block == nil {
		k.states = append(k.states, it.State)
		return
	}
	k.blocks++
	off, num := it.Block.Offset, it.Block.Line
	for l := range bytes.SplitAfterSeq(it.Block.Data, []byte("\n")) {
		if len(l) == 0 {
			continue
		}
		k.records = append(k.records, record{off, num, string(l)})
		k.origins = append(k.origins, it.Block.Origin)
		off += int64(len(l))
		num++
	}
	if it.Block.Release != nil {
		it.Block.Release()
	}
}

func (k *taken) text() string {
	var b strings.Builder
	for _, r := range k.records {
		b.WriteString(r.Text)
	}
	return b.String()
}

// continuous checks that offsets and lines go on without a hole.
func (k *taken) continuous(t *testing.T) {
	t.Helper()
	for i := 1; i < len(k.records); i++ {
		p, r := k.records[i-1], k.records[i]
		if r.Off != p.Off+int64(len(p.Text)) || r.Line != p.Line+1 {
			t.Fatalf("record %d: offset %d, line %d after %+v", i, r.Off, r.Line, p)
		}
	}
}

func runReplay(t *testing.T, s collectors.Source, from collectors.Position) *taken {
	t.Helper()
	k := &taken{}
	if err := s.Run(t.Context(), from, func(it collectors.Item) error { k.add(it); return nil }); err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if strings.HasSuffix(path, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		text = b.String()
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func manyLines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%d some text of line %d\n", i, i)
	}
	return b.String()
}

// leadingNumber is a FirstTime for lines that manyLines made.
func leadingNumber(line []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(line[:max(0, bytes.IndexByte(line, ' '))]), 10, 64)
	return n, err == nil
}

func TestReplayJoinsRotations(t *testing.T) {
	tests := map[string]struct {
		files []string // oldest first
		want  string
	}{
		"numbers":       {[]string{"x.log.10.gz", "x.log.2.gz", "x.log.1", "x.log"}, "x.log"},
		"dates":         {[]string{"x-20261031.log", "x.log-20261101", "x.log-20261102.gz", "x.log"}, "x.log"},
		"long dates":    {[]string{"x-2026-11-01T12-00-00.000.log", "x-2026-11-01T13-00-00.000.log.gz", "x.log"}, "x.log"},
		"unix seconds":  {[]string{"x.log-1793450000", "x.log-1793540000", "x.log"}, "x.log"},
		"old":           {[]string{"x.log.old", "x.log"}, "x.log"},
		"no base given": {[]string{"x.log.3", "x.log.2.gz"}, "x.log"},
		"one file":      {[]string{"x.log.3.gz"}, "x.log.3.gz"},
	}
	for name, tt := range tests {
		for _, byTime := range []bool{false, true} {
			t.Run(fmt.Sprint(name, byTime), func(t *testing.T) {
				dir := t.TempDir()
				var paths []string
				n := 0
				for i, f := range tt.files {
					write(t, filepath.Join(dir, f), manyLines(n, n+1000*i+10))
					n += 1000*i + 10
					paths = append([]string{filepath.Join(dir, f)}, paths...) // given newest first
				}
				opts := ReplayOptions{BlockBytes: 4096}
				if byTime {
					opts.FirstTime = leadingNumber
				}
				sources, err := Replay(paths, opts)
				if err != nil || len(sources) != 1 {
					t.Fatalf("sources %v, error %v; want one source", sources, err)
				}
				s := sources[0]
				if want := filepath.Join(dir, tt.want); s.Name() != want {
					t.Errorf("name %s, want %s", s.Name(), want)
				}
				k := runReplay(t, s, collectors.Position{})
				if diff := cmp.Diff(manyLines(0, n), k.text()); diff != "" {
					t.Errorf("text (-want +got):\n%s", diff)
				}
				k.continuous(t)
				if p := s.(Progress); p.Read() != p.Size() || p.Size() == 0 {
					t.Errorf("read %d of %d", p.Read(), p.Size())
				}
				checkReplayResume(t, s, k)
				checkFetch(t, s, k)
			})
		}
	}
}

// checkReplayResume goes on from some records of k and wants the same rest.
func checkReplayResume(t *testing.T, s collectors.Source, k *taken) {
	t.Helper()
	for i := 0; i < len(k.records); i += 1 + len(k.records)/7 {
		r := k.records[i]
		got := runReplay(t, s, collectors.Position{Offset: r.Off, Line: r.Line - 1, Origin: k.origins[i]})
		if diff := cmp.Diff(k.records[i:], got.records); diff != "" {
			t.Fatalf("resumed at record %d (-want +got):\n%.2000s", i, diff)
		}
	}
}

// checkFetch looks up some records of k, last first.
func checkFetch(t *testing.T, s collectors.Source, k *taken) {
	t.Helper()
	var lookups []collectors.Lookup
	var want []string
	for i := len(k.records) - 1; i >= 0; i -= 1 + len(k.records)/9 {
		r := k.records[i]
		lookups = append(lookups, collectors.Lookup{Offset: r.Off, Length: uint32(len(r.Text)), Line: r.Line})
		want = append(want, strings.TrimRight(r.Text, "\r\n"))
	}
	var got []string
	for i, text := range s.Fetch(t.Context(), lookups) {
		got = append(got, text.Text)
		if text.File == "" || text.Line <= 0 || text.Line > lookups[i].Line {
			t.Errorf("text %+v for %+v", text, lookups[i])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

func TestReplayTimesBeatNames(t *testing.T) {
	dir := t.TempDir()
	// A rotator that counts upwards.
	write(t, filepath.Join(dir, "x.log.1"), manyLines(0, 10))
	write(t, filepath.Join(dir, "x.log.2"), "\nno number\n"+manyLines(10, 20))
	write(t, filepath.Join(dir, "x.log.3"), "")
	write(t, filepath.Join(dir, "x.log"), "20 unfinished")
	sources, err := Replay([]string{filepath.Join(dir, "x.log*")}, ReplayOptions{FirstTime: leadingNumber})
	if err != nil {
		t.Fatal(err)
	}
	want := manyLines(0, 10) + "\nno number\n" + manyLines(10, 20) + "20 unfinished"
	if diff := cmp.Diff(want, runReplay(t, sources[0], collectors.Position{}).text()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplaySources(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.log", "a.log.1", "b-1.log", "b-2.log", "c.log.1", "c.log.1.gz", "v1.2"} {
		write(t, filepath.Join(dir, name), "text of "+name[:1]+"\n")
	}
	if err := os.Symlink(filepath.Join(dir, "a.log"), filepath.Join(dir, "link.log")); err != nil {
		t.Fatal(err)
	}
	sources, err := Replay([]string{filepath.Join(dir, "*"), filepath.Join(dir, "a.log"), dir + "/../" + filepath.Base(dir) + "/b-1.log"}, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range sources {
		got[strings.TrimPrefix(s.Name(), dir+"/")] = runReplay(t, s, collectors.Position{}).text()
	}
	want := map[string]string{
		"a.log": "text of a\ntext of a\n", "b-1.log": "text of b\n", "b-2.log": "text of b\n",
		"c.log.1": "text of c\n", "v1.2": "text of v\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplayErrors(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked.log")
	write(t, locked, "x\n")
	if err := os.Chmod(locked, 0); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ path, want string }{
		"missing":       {filepath.Join(dir, "none.log"), "does not exist"},
		"empty pattern": {filepath.Join(dir, "*.none"), "matches no file"},
		"bad pattern":   {filepath.Join(dir, "[a"), "write [[] for a bracket"},
		"directory":     {dir, "is a directory; name the files in it"},
		"empty name":    {"", "a file name is empty"},
		"unreadable":    {locked, "may not be read by this user"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "unreadable" && os.Geteuid() == 0 {
				t.Skip("the superuser may read everything")
			}
			_, err := Replay([]string{tt.path}, ReplayOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestReplayDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.log.1.gz")
	write(t, path, manyLines(0, 50000))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "x.log"), "after\n")
	sources, err := Replay([]string{filepath.Join(dir, "*")}, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	k := runReplay(t, sources[0], collectors.Position{})
	if k.skipped[SkippedDamaged] != 1 || !strings.HasSuffix(k.text(), "\nafter\n") || len(k.records) < 10000 {
		t.Errorf("skipped %v, %d records", k.skipped, len(k.records))
	}
}

func TestReplayStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	write(t, path, manyLines(0, 10000))
	sources, err := Replay([]string{path}, ReplayOptions{BlockBytes: 1024})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = sources[0].Run(ctx, collectors.Position{}, func(it collectors.Item) error {
		if it.Block != nil {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	full := errors.New("full")
	if err := sources[0].Run(t.Context(), collectors.Position{}, func(collectors.Item) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v, want that of emit", err)
	}
}

func FuzzOrigin(f *testing.F) {
	g := generation{id: identity{1, 2}, print: fingerprint{3, 4}, base: 5, baseLine: 6, from: 5, since: -7, path: "/x", lineHidden: true, copied: true}
	f.Add(g.appendOrigin(nil, nil))
	f.Add(g.appendOrigin(nil, []remnant{
		{generation: generation{id: identity{1, 3}, print: fingerprint{5, 6}, path: "/x.1"}, off: 7, line: 8},
		{generation: generation{id: identity{1, 4}, since: 9}, off: 1 << 40, line: 2, paused: true, over: true},
	}))
	g.from = 99
	f.Add(g.appendOrigin(nil, nil))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		g, rest, err := decodeOrigin(data)
		if err != nil {
			return
		}
		again, restAgain, err := decodeOrigin(g.appendOrigin(nil, rest))
		if err != nil {
			t.Fatal(err)
		}
		private := cmp.AllowUnexported(generation{}, identity{}, fingerprint{}, remnant{})
		if diff := cmp.Diff(*g, *again, private) + cmp.Diff(rest, restAgain, private); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func BenchmarkReplay(b *testing.B) {
	var text strings.Builder
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200_000 {
		fmt.Fprintf(&text, `198.51.%d.%d - - [23/Nov/2026:16:%02d:%02d +0000] "GET /api/v1/users/%d/orders?page=%d HTTP/1.1" 200 %d "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"`+"\n",
			rng.IntN(256), rng.IntN(256), i/6000, i/100%60, rng.IntN(1e6), rng.IntN(50), rng.IntN(1e5))
	}
	for _, name := range []string{"x.log", "x.log.gz"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), name)
			var data bytes.Buffer
			if strings.HasSuffix(name, ".gz") {
				z := gzip.NewWriter(&data)
				_, _ = z.Write([]byte(text.String()))
				_ = z.Close()
			} else {
				data.WriteString(text.String())
			}
			if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
				b.Fatal(err)
			}
			sources, err := Replay([]string{path}, ReplayOptions{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(text.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if err := sources[0].Run(b.Context(), collectors.Position{}, func(it collectors.Item) error {
					if it.Block != nil {
						it.Block.Release()
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
