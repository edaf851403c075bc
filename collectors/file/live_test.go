package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"gatewatch/collectors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

// live runs a source and collects what it emits.
type live struct {
	t      *testing.T
	s      collectors.Source
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	taken  taken
	last   collectors.Item // the last change of state
	change chan struct{}   // has an element when something was emitted
}

func quick(o Options) Options {
	o.Poll = 2 * time.Millisecond
	o.Rescan = 5 * time.Millisecond
	if o.Linger == 0 {
		o.Linger = 10 * time.Millisecond
	}
	return o
}

// one returns the only source of opts.
func one(t *testing.T, opts Options) collectors.Source {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	var s collectors.Source
	if err := c.Watch(t.Context(), func(found collectors.Source) { s = found }, func() {}); err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T, s collectors.Source, from collectors.Position) *live {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &live{t: t, s: s, cancel: cancel, done: make(chan error, 1), change: make(chan struct{}, 1)}
	go func() {
		l.done <- s.Run(ctx, from, func(it collectors.Item) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if it.Block == nil {
				l.last = it
			} else {
				l.last = collectors.Item{}
			}
			l.taken.add(it)
			select {
			case l.change <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	t.Cleanup(func() { l.stop() })
	return l
}

// stop ends the run and checks that it does so at once.
func (l *live) stop() {
	if l.cancel == nil {
		return
	}
	l.cancel()
	l.cancel = nil
	select {
	case err := <-l.done:
		if !errors.Is(err, context.Canceled) {
			l.t.Errorf("run ended with %v", err)
		}
	case <-time.After(patience):
		l.t.Error("run did not end")
	}
}

// until waits for a condition on what was taken.
func (l *live) until(what string, ok func(k *taken, last collectors.Item) bool) {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		done := ok(&l.taken, l.last)
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-l.change:
		case <-deadline:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("waited for %s in vain; last state %v %v, skipped %v, %d records, text ends %.300q",
				what, l.last.State, l.last.Err, l.taken.skipped, len(l.taken.records), lastOf(l.taken.text(), 300))
		}
	}
}

func lastOf(s string, n int) string { return s[max(0, len(s)-n):] }

// wants waits until exactly text was emitted.
func (l *live) wants(text string) {
	l.t.Helper()
	l.until(fmt.Sprintf("text that ends %q", lastOf(text, 100)), func(k *taken, _ collectors.Item) bool {
		return len(k.text()) >= len(text)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(text, l.taken.text()); diff != "" {
		l.t.Fatalf("text (-want +got):\n%.3000s", diff)
	}
	l.taken.continuous(l.t)
}

func (l *live) state(s collectors.State) {
	l.t.Helper()
	l.until("state "+s.String(), func(k *taken, last collectors.Item) bool {
		return last.State == s && !last.At.IsZero()
	})
}

func (l *live) skipped(reason string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken.skipped[reason]
}

// after returns the position of the n-th record, counted from 0.
func (l *live) at(n int) collectors.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.taken.records[n]
	return collectors.Position{Offset: r.Off, Line: r.Line - 1, Origin: l.taken.origins[n]}
}

// end returns the position after the last record.
func (l *live) end() collectors.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.taken.records) - 1
	r := l.taken.records[n]
	return collectors.Position{Offset: r.Off + int64(len(r.Text)), Line: r.Line, Origin: l.taken.origins[n]}
}

// writer appends to a path and keeps it open like a server does.
type writer struct {
	t    *testing.T
	path string
	f    *os.File
}

func newWriter(t *testing.T, path string) *writer {
	w := &writer{t: t, path: path}
	w.reopen()
	t.Cleanup(func() { _ = w.f.Close() })
	return w
}

func (w *writer) reopen() {
	w.t.Helper()
	if w.f != nil {
		_ = w.f.Close()
	}
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	w.f = f
}

func (w *writer) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.f, text); err != nil {
		w.t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func logPath(t *testing.T) string { return filepath.Join(t.TempDir(), "x.log") }

// beginning is the position of who followed a file and was stopped before its first line.
func beginning(t *testing.T, path string) (pos collectors.Position) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = one(t, quick(Options{Paths: []string{path}})).Run(ctx, pos, func(it collectors.Item) error {
		if it.Block != nil {
			pos = collectors.Position{Offset: it.Block.Offset, Line: it.Block.Line - 1, Origin: it.Block.Origin}
			cancel()
		}
		return nil
	})
	if pos.Origin == nil {
		t.Fatal("the file was not begun")
	}
	return pos
}

func TestFollow(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("old 1\nold 2\nold unf")
	l := start(t, one(t, quick(Options{Paths: []string{path}})), collectors.Position{})
	l.state(collectors.Idle)
	w.write("inished\nnew 1\n")
	l.wants("old unfinished\nnew 1\n")
	w.write("half")
	w.write("\r\n\x00nul\xff\xfe\n\n")
	l.wants("old unfinished\nnew 1\nhalf\r\n\x00nul\xff\xfe\n\n")
	l.state(collectors.Idle)
	if p := l.at(0); p.Offset != 12 || p.Line != 2 {
		t.Errorf("first record at %+v", p)
	}
	texts := l.s.Fetch(t.Context(), []collectors.Lookup{{Offset: 12, Length: 15, Line: 3}, {Offset: 1 << 40, Length: 5, Line: 9}})
	want := []collectors.Text{{File: path, Line: 3, Text: "old unfinished"}, {File: path, Line: 9}}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

func TestFirstSight(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := map[string]struct {
		begin  Begin
		before string // "" for no file
		after  string
		want   string
	}{
		"end":             {End, "a\n", "b\n", "b\n"},
		"start":           {Start, "a\n", "b\n", "a\nb\n"},
		"empty":           {End, "-", "b\n", "b\n"},
		"no file, end":    {End, "", "b\n", "b\n"},
		"in a long line":  {End, "a\n" + long, "still long\nb\n", "b\n"},
		"long line ahead": {Start, "a\n" + long + "\n", "b\n", "a\nb\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := logPath(t)
			if tt.before != "" {
				newWriter(t, path).write(strings.TrimPrefix(tt.before, "-"))
			}
			l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: tt.begin, MaxLineBytes: 1000, BlockBytes: 1024})), collectors.Position{})
			if tt.before == "" {
				l.state(collectors.Gone)
			} else {
				l.state(collectors.Idle)
			}
			newWriter(t, path).write(tt.after)
			l.until("records", func(k *taken, _ collectors.Item) bool { return k.text() == tt.want })
			if n := l.skipped(SkippedTooLong); strings.Contains(name, "long") != (n == 1) {
				t.Errorf("%d lines too long", n)
			}
			// The first block has no data but a position that another run can use.
			if l.taken.blocks < 2 {
				t.Errorf("%d blocks", l.taken.blocks)
			}
		})
	}
}

// TestPositionBeforeFirstLine stops before anything was written and goes on.
func TestPositionBeforeFirstLine(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("old\n")
	pos := beginning(t, path)
	w.write("while away\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}})), pos)
	l.wants("while away\n")
	if p := l.at(0); p.Offset != 4 || p.Line != 1 {
		t.Errorf("position %+v", p)
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.log", "a.log.1", "a.log.2.gz", "b.log", "b-20261101.log", "d-20261101.log", "skip.log"} {
		write(t, filepath.Join(dir, name), name+"\n")
	}
	c, err := New(quick(Options{Paths: []string{filepath.Join(dir, "*.log*"), filepath.Join(dir, "named"), filepath.Join(dir, "b.log")}, Exclude: []string{"skip*"}}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	found := make(chan collectors.Source, 10)
	settled := make(chan int, 1)
	done := make(chan error, 1)
	go func() {
		done <- c.Watch(ctx, func(s collectors.Source) { found <- s }, func() { settled <- len(found) })
	}()
	n := <-settled
	var got []string
	for range n {
		got = append(got, filepath.Base((<-found).Name()))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a.log", "b.log", "d-20261101.log", "named"}, got); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	write(t, filepath.Join(dir, "late.log"), "from the start\n")
	s := <-found
	if want := filepath.Join(dir, "late.log"); s.Name() != want {
		t.Errorf("found %s, want %s", s.Name(), want)
	}
	start(t, s, collectors.Position{}).wants("from the start\n")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
}

func TestOptions(t *testing.T) {
	tests := map[string]struct {
		opts Options
		want string
	}{
		"none":     {Options{}, "no file to read; name at least one path or pattern"},
		"pattern":  {Options{Paths: []string{"/x/[a"}}, "write [[] for a bracket"},
		"empty":    {Options{Paths: []string{""}}, "a path is empty"},
		"negative": {Options{Paths: []string{"/x"}, Poll: -1}, "poll: -1 is negative"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}
