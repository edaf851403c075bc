package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors"
	"gatewatch/collectors/file"
	"gatewatch/pipeline/traffictest"
	"gatewatch/storage"
)

// logWriter writes lines to their files in pieces that end anywhere, and
// rotates the files by rename and create.
type logWriter struct {
	dir   string
	r     *rand.Rand
	files []*os.File
	size  []int64
	turns []int
}

func (w *logWriter) path(i int) string {
	return filepath.Join(w.dir, fmt.Sprintf("access-%c.log", 'a'+i))
}

func newLogWriter(t *testing.T, dir string, seed uint64, files int) *logWriter {
	t.Helper()
	w := &logWriter{dir: dir, r: rand.New(rand.NewPCG(seed, 3)), files: make([]*os.File, files), size: make([]int64, files), turns: make([]int, files)}
	for i := range files {
		w.create(t, i)
	}
	return w
}

func (w *logWriter) create(t *testing.T, i int) {
	t.Helper()
	f, err := os.Create(w.path(i))
	if err != nil {
		t.Fatal(err)
	}
	w.files[i] = f
}

func (w *logWriter) rotate(t *testing.T, i int) {
	t.Helper()
	w.turns[i]++
	for n := w.turns[i]; n > 1; n-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", w.path(i), n-1), fmt.Sprintf("%s.%d", w.path(i), n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(w.path(i), w.path(i)+".1"); err != nil {
		t.Fatal(err)
	}
	if err := w.files[i].Close(); err != nil {
		t.Fatal(err)
	}
	w.create(t, i)
}

// write writes a line, in two pieces now and then.
func (w *logWriter) write(t *testing.T, l traffictest.Line) {
	t.Helper()
	text := l.Text + "\n"
	cut := len(text)
	if w.r.IntN(20) == 0 {
		cut = 1 + w.r.IntN(len(text)-1)
	}
	for _, piece := range []string{text[:cut], text[cut:]} {
		if _, err := w.files[l.File].WriteString(piece); err != nil {
			t.Fatal(err)
		}
	}
	w.size[l.File] += int64(len(text))
	if w.r.IntN(600) == 0 {
		w.rotate(t, l.File)
	}
}

// remove takes the live files away: what was written is all there will be.
func (w *logWriter) remove(t *testing.T) {
	t.Helper()
	for i := range w.files {
		w.rotate(t, i)
		if err := errors.Join(w.files[i].Close(), os.Remove(w.path(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// live is a running live pipeline.
type live struct {
	p    *Pipeline
	db   *storage.DB
	stop context.CancelFunc
	done chan error
}

func startLive(t *testing.T, dir string, o Options) *live {
	t.Helper()
	db, err := storage.Open(filepath.Join(dir, "state.db"), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.New(file.Options{
		Paths: []string{filepath.Join(dir, "*.log")}, Begin: file.Start, Poll: 5 * time.Millisecond,
		Rescan: 10 * time.Millisecond, Linger: 50 * time.Millisecond, BlockBytes: 8 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Inputs, o.Index, o.DB, o.Live = []Input{{Collector: c}}, testIndex(t), db, true
	if o.Checkpoint == 0 {
		o.Checkpoint = 20 * time.Millisecond
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &live{p: p, db: db, stop: cancel, done: make(chan error, 1)}
	go func() { l.done <- p.Run(ctx) }()
	return l
}

func (l *live) close(t *testing.T) {
	t.Helper()
	l.stop()
	select {
	case err := <-l.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the pipeline did not stop")
	}
	if err := l.db.Close(); err != nil {
		t.Error(err)
	}
}

// await polls until every source was judged up to its end.
func (l *live) await(t *testing.T, sizes map[string]int64) Status {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		s := l.p.Status()
		left := len(sizes)
		for _, src := range s.Sources {
			if size, ok := sizes[src.Name]; ok && src.Offset == size && src.State == collectors.Gone {
				left--
			}
		}
		if left == 0 {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all was judged in time: want %v, have %+v", sizes, s)
		}
		time.Sleep(5 * time.Millisecond) // polled, with the deadline above
	}
}

// TestLiveIsReplay: a tail with rotations, stopped and started again in the
// middle, gives what a replay of the same lines gives.
func TestLiveIsReplay(t *testing.T) {
	for _, files := range []int{1, 3} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("files=%d,seed=%d", files, seed), func(t *testing.T) {
				o := traffictest.Options{Seed: seed, Lines: 3000, Files: files, Disorder: true}
				lines := traffictest.Make(o)
				caps := Options{Keys: 16, Entries: 40, Workers: 2, MergeWait: time.Minute}
				want, _ := replay(t, writeFiles(t, traffictest.Split(lines, files)), caps, 0)

				dir := t.TempDir()
				w := newLogWriter(t, dir, seed, files)
				l := startLive(t, dir, caps)
				r := rand.New(rand.NewPCG(seed, 5))
				for _, line := range lines {
					w.write(t, line)
					if r.IntN(300) == 0 {
						caps.Workers = 1 + r.IntN(4)
						l.close(t)
						l = startLive(t, dir, caps)
					}
				}
				w.remove(t)
				sizes := map[string]int64{}
				for i := range files {
					sizes[w.path(i)] = w.size[i]
				}
				status := l.await(t, sizes)
				got, err := l.p.Incidents(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range status.Sources {
					if s.Behind != 0 {
						t.Errorf("%s: %d records behind the merge", s.Name, s.Behind)
					}
				}
				l.close(t)
				if d := cmp.Diff(want, traffictest.Summarize(got)); d != "" {
					t.Errorf("the live run differs from the replay (-replay +live):\n%.6000s", strings.TrimSpace(d))
				}
			})
		}
	}
}
