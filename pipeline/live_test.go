package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	o.Inputs, o.DB, o.Live = []Input{{Collector: c}}, db, true
	if o.Index == nil {
		o.Index = testIndex(t)
	}
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
	for _, s := range l.p.Status().Sources {
		if s.Behind != 0 {
			t.Errorf("%s: %d records behind the merge", s.Name, s.Behind)
		}
	}
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

// awaitSeen polls until every file was found and its position committed: what
// is written from then on is read, wherever it is moved.
func (l *live) awaitSeen(t *testing.T, files int) {
	t.Helper()
	var seen time.Time
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // polled
		s := l.p.Status()
		idle := 0
		for _, src := range s.Sources {
			if src.State == collectors.Idle {
				idle++
			}
		}
		switch {
		case idle < files:
		case seen.IsZero():
			seen = time.Now()
		case s.Checkpoint.After(seen.Add(100 * time.Millisecond)):
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sources were not seen in time: %+v", s)
		}
	}
}

// await polls until every source was judged up to its end.
func (l *live) await(t *testing.T, sizes map[string]int64) {
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
			return
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
				o := traffictest.Options{Seed: seed, Lines: 4000, Files: files, Disorder: true, Clients: 1500}
				lines := traffictest.Make(o)
				caps := Options{Keys: 6, Entries: 12, Workers: 2, MergeWait: time.Minute}
				want, _ := replay(t, writeFiles(t, traffictest.Split(lines, files)), caps, 0)

				dir := t.TempDir()
				w, err := traffictest.NewWriter(dir, seed, files)
				if err != nil {
					t.Fatal(err)
				}
				l := startLive(t, dir, caps)
				l.awaitSeen(t, files)
				r := rand.New(rand.NewPCG(seed, 5))
				for _, line := range lines {
					if err := w.Write(line); err != nil {
						t.Fatal(err)
					}
					if r.IntN(300) == 0 {
						caps.Workers = 1 + r.IntN(4)
						l.close(t)
						l = startLive(t, dir, caps)
					}
				}
				sizes := map[string]int64{}
				for i := range files {
					if w.Sizes[i] > 0 {
						sizes[w.Path(i)] = w.Sizes[i]
					}
				}
				if err := w.Finish(); err != nil {
					t.Fatal(err)
				}
				l.await(t, sizes)
				got, err := l.p.Incidents(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				l.close(t)
				if d := cmp.Diff(want, traffictest.Summarize(got)); d != "" {
					t.Errorf("the live run differs from the replay (-replay +live):\n%.6000s", strings.TrimSpace(d))
				}
			})
		}
	}
}
