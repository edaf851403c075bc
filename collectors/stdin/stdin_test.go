package stdin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"gatewatch/collectors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// item is what a test compares of a collectors.Item.
type item struct {
	State   string
	Off     int64
	Line    int64
	Text    string
	Skipped map[string]int64
}

func record(out *[]item) func(collectors.Item) error {
	return func(it collectors.Item) error {
		i := item{State: it.State.String(), Skipped: it.Skipped}
		if b := it.Block; b != nil {
			i.Off, i.Line, i.Text = b.Offset, b.Line, string(b.Data)
			b.Release()
		}
		*out = append(*out, i)
		return nil
	}
}

// source returns the source that c finds.
func source(t *testing.T, c *Collector) (s collectors.Source) {
	t.Helper()
	settled := 0
	if err := c.Watch(t.Context(), func(f collectors.Source) { s = f }, func() { settled++ }); err != nil || settled != 1 {
		t.Fatalf("error %v, settled %d times", err, settled)
	}
	return s
}

func TestRun(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, "a\nb\nlast")
	_ = z.Close()
	var long bytes.Buffer
	z = gzip.NewWriter(&long)
	for i := range 20000 {
		fmt.Fprintln(z, i*i)
	}
	_ = z.Close()
	reading := item{State: "reading"}
	tests := map[string]struct {
		in   string
		from collectors.Position
		want []item
	}{
		"empty":         {"", collectors.Position{}, []item{reading}},
		"lines":         {"a\r\n\x00\n\xff", collectors.Position{}, []item{reading, {"reading", 0, 1, "a\r\n\x00\n", nil}, {"reading", 5, 3, "\xff", nil}}},
		"resume":        {"a\nb\n", collectors.Position{Offset: 100, Line: 7, Origin: []byte{1}}, []item{reading, {"reading", 100, 8, "a\nb\n", nil}}},
		"packed":        {packed.String(), collectors.Position{}, []item{reading, {"reading", 0, 1, "a\nb\n", nil}, {"reading", 4, 3, "last", nil}}},
		"nearly packed": {"\x1f\x8b\n", collectors.Position{}, []item{reading, {"reading", 0, 1, "\x1f\x8b\n", nil}}},
		"too long": {strings.Repeat("x", 100) + "\nb\n" + strings.Repeat("y", 100), collectors.Position{}, []item{
			reading, {"reading", 101, 2, "b\n", map[string]int64{SkippedTooLong: 1}}, {"reading", 0, 0, "", map[string]int64{SkippedTooLong: 1}},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := New(strings.NewReader(tt.in), Options{MaxLineBytes: 50})
			var got []item
			if err := source(t, c).Run(t.Context(), tt.from, record(&got)); err != nil {
				t.Fatal(err)
			}
			// A machine that stalls makes the stream look idle.
			got = slices.DeleteFunc(got, func(i item) bool { return i.State == "idle" })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("damaged", func(t *testing.T) {
		var got []item
		if err := New(bytes.NewReader(long.Bytes()[:long.Len()/2]), Options{}).Run(t.Context(), collectors.Position{}, record(&got)); err != nil {
			t.Fatal(err)
		}
		if last := got[len(got)-1]; last.Skipped[SkippedDamaged] != 1 || len(got) < 3 {
			t.Errorf("%d items, last %+v", len(got), last)
		}
	})
}

// TestPause checks that lines do not wait for more, and that a stop does not
// wait for a read.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer func() { _ = w.Close() }()
		c := New(r, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var all []item
		emitted := func() []item {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		done := make(chan error, 1)
		go func() {
			done <- c.Run(ctx, collectors.Position{}, func(it collectors.Item) error {
				mu.Lock()
				defer mu.Unlock()
				return record(&all)(it)
			})
		}()
		fmt.Fprint(w, "a\nhal")
		synctest.Wait()
		got := emitted()
		if want := (item{"reading", 0, 1, "a\n", nil}); len(got) != 2 || !cmp.Equal(want, got[1]) {
			t.Fatalf("items %+v, want %+v last", got, want)
		}
		time.Sleep(2*heartbeat + 2*pause)
		fmt.Fprint(w, "f\n")
		synctest.Wait()
		want := []item{{State: "reading"}, {"reading", 0, 1, "a\n", nil}, {State: "idle"}, {State: "idle"}, {State: "idle"}, {"reading", 2, 2, "half\n", nil}}
		if diff := cmp.Diff(want, emitted()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		cancel()
		synctest.Wait()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want canceled", err)
			}
		default:
			t.Error("run waits for its read")
		}
	})
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	c := New(io.MultiReader(strings.NewReader("a\n"), failing{broken}), Options{})
	var got []item
	if err := c.Run(t.Context(), collectors.Position{}, record(&got)); !errors.Is(err, broken) || len(got) != 2 {
		t.Errorf("error %v after %+v", err, got)
	}
	full := errors.New("full")
	if err := New(strings.NewReader("a\n"), Options{}).Run(t.Context(), collectors.Position{}, func(it collectors.Item) error {
		if it.Block != nil {
			return full
		}
		return nil
	}); !errors.Is(err, full) {
		t.Errorf("error %v, want that of emit", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestFetch(t *testing.T) {
	var in strings.Builder
	var all []collectors.Lookup
	for i := range 1000 {
		text := fmt.Sprintf("line %d %s\r\n", i, strings.Repeat("x", i%50))
		all = append(all, collectors.Lookup{Offset: int64(in.Len()), Length: uint32(len(text)), Line: int64(i + 1)})
		in.WriteString(text)
	}
	c := New(strings.NewReader(in.String()), Options{BlockBytes: 1024, KeepBytes: 5000})
	var got []item
	if err := c.Run(t.Context(), collectors.Position{}, record(&got)); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i, text := range c.Fetch(t.Context(), all) {
		want := fmt.Sprintf("line %d %s", i, strings.Repeat("x", i%50))
		if all[i].Offset < int64(in.Len()-5000) {
			want = ""
		} else {
			kept++
		}
		if diff := cmp.Diff(collectors.Text{File: "stdin", Line: int64(i + 1), Text: want}, text); diff != "" {
			t.Fatalf("line %d (-want +got):\n%s", i, diff)
		}
	}
	if kept < 100 {
		t.Errorf("%d lines kept", kept)
	}
}

func BenchmarkRun(b *testing.B) {
	data := bytes.Repeat([]byte(strings.Repeat("x", 199)+"\n"), 1<<17)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := New(bytes.NewReader(data), Options{}).Run(b.Context(), collectors.Position{}, func(it collectors.Item) error {
			if it.Block != nil {
				it.Block.Release()
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}
