package learn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
)

// blocks is a source of blocks in memory.
type blocks struct {
	collectors.Source
	data [][]byte
	err  error
	held atomic.Int32 // blocks that were not given back
}

func (b *blocks) Name() string { return "blocks" }

func (b *blocks) Run(_ context.Context, _ collectors.Position, emit func(collectors.Item) error) error {
	for _, d := range b.data {
		b.held.Add(1)
		if err := emit(collectors.Item{Block: &collectors.Block{Data: d, Release: func() { b.held.Add(-1) }}}); err != nil {
			return err
		}
	}
	return b.err
}

func lines(n int) (out [][]byte) {
	var b bytes.Buffer
	for i := range n {
		_, _ = fmt.Fprintf(&b, "192.0.2.%d - - [10/Oct/2026:13:%02d:%02d +0000] \"GET /blog/%s/%d?page=%d HTTP/1.1\" 200 %d \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:%d) Gecko/20100101 Firefox\"\n",
			i%250, i/60%60, i%60, words[i%997], i%97, i%9, i, i%11)
		if b.Len() > 8<<10 {
			out = append(out, bytes.Clone(b.Bytes()))
			b.Reset()
		}
	}
	return append(out, b.Bytes())
}

// TestReadOrder: every request once and in its order, whatever the workers.
func TestReadOrder(t *testing.T) {
	data := append(lines(3000), []byte("this is no log line\n\n"))
	var want []string
	for _, workers := range []int{1, 2, 9} {
		var got []string
		src := &blocks{data: data}
		r := Reader{Format: format.Options{}, Workers: workers}
		n, err := r.Read(t.Context(), []collectors.Source{src, &blocks{data: data[:2]}}, func(f *Fact) {
			got = append(got, fmt.Sprint(f.Time, f.Client, f.Route, f.Object, strings.Clone(f.Agent), f.Size))
		})
		if err != nil || n.Events != int64(len(got)) || n.Lines != n.Events+2 || len(got) < 3000 {
			t.Fatalf("%d workers: %d facts, %+v, %v", workers, len(got), n, err)
		}
		if n := src.held.Load(); n != 0 {
			t.Errorf("%d blocks were not given back", n)
		}
		if want == nil {
			want = got
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d workers: other facts, or another order", workers)
		}
	}
}

func TestReadFails(t *testing.T) {
	bad := errors.New("disk away")
	r := Reader{Workers: 2}
	if _, err := r.Read(t.Context(), []collectors.Source{&blocks{data: lines(100), err: bad}}, func(*Fact) {}); !errors.Is(err, bad) || !strings.Contains(err.Error(), "blocks") {
		t.Errorf("want the error of the source with its name, got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.Read(ctx, []collectors.Source{&blocks{data: lines(50_000)}}, func(*Fact) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want the run to end when it is asked to, got %v", err)
	}
}

// BenchmarkRead is the cost of a line in each of the steps that run no rules.
func BenchmarkRead(b *testing.B) {
	data := lines(20_000)
	for _, attacks := range []bool{false, true} {
		b.Run(fmt.Sprintf("attacks=%t", attacks), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				c := NewClients(0, 1<<40, &Suspects{})
				routes, logins := NewRoutes(), NewLogins()
				r := Reader{Workers: 1, Attacks: attacks}
				if _, err := r.Read(b.Context(), []collectors.Source{&blocks{data: data}}, func(f *Fact) {
					c.Add(f)
					routes.Add(f)
					logins.Add(f)
					n++
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
		})
	}
}
