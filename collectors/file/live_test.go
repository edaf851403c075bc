package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// shift makes room for path.1 like logrotate does, and moves path there.
func shift(t *testing.T, path string) {
	t.Helper()
	for i := 20; i > 0; i-- {
		for _, ext := range []string{"", ".gz"} {
			rename(t, fmt.Sprintf("%s.%d%s", path, i, ext), fmt.Sprintf("%s.%d%s", path, i+1, ext))
		}
	}
	rename(t, path, path+".1")
}

// pack compresses a rotated file.
func pack(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".gz", string(data))
	if err := os.Chtimes(path+".gz", fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func logPath(t *testing.T) string { return filepath.Join(t.TempDir(), "x.log") }

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
	var pos collectors.Position
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := one(t, quick(Options{Paths: []string{path}}))
	_ = s.Run(ctx, pos, func(it collectors.Item) error {
		if it.Block != nil {
			pos = collectors.Position{Offset: it.Block.Offset, Line: it.Block.Line - 1, Origin: it.Block.Origin}
			cancel()
		}
		return nil
	})
	w.write("while away\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}})), pos)
	l.wants("while away\n")
	if p := l.at(0); p.Offset != 4 || p.Line != 1 {
		t.Errorf("position %+v", p)
	}
}

// TestOvertaken: an empty file that is filled, copied and emptied before its
// first line is read has had a life of its own, which is in the copy.
func TestOvertaken(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	var pos collectors.Position
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = one(t, quick(Options{Paths: []string{path}})).Run(ctx, pos, func(it collectors.Item) error {
		if it.Block != nil {
			pos = collectors.Position{Offset: it.Block.Offset, Line: it.Block.Line - 1, Origin: it.Block.Origin}
			cancel()
		}
		return nil
	})
	w.write("the first of its lives\n")
	write(t, path+".1", "the first of its lives\n")
	write(t, path+".2.gz", "") // a compressed rotation that is just being made
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	w.write("the second\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}})), pos)
	l.wants("the first of its lives\nthe second\n")
	if n := l.skipped(SkippedTruncated); n != 1 {
		t.Errorf("truncated %d times, want 1", n)
	}
}

// TestOvertakenWithHead is the same of a file that had some lines when it was
// opened: what is read then begins otherwise.
func TestOvertakenWithHead(t *testing.T) {
	path := logPath(t)
	write(t, path, "what it began with\n")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p, err := newPlain(f, 0, []byte("what it began with\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("and what it goes on with\n"), 0); err != nil {
		t.Fatal(err)
	}
	if n, err := p.ReadAt(make([]byte, 100), 0); n != 0 || !errors.Is(err, errTruncated) {
		t.Errorf("read %d bytes and %v, want %v", n, err, errTruncated)
	}
	if _, err := newPlain(f, 24, []byte("what it began with\n")); !errors.Is(err, errTruncated) {
		t.Errorf("%v, want %v", err, errTruncated)
	}
}

func TestRotation(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("the first line of all\n")
	hooks := 0
	opts := quick(Options{Paths: []string{path}, Begin: Start, Linger: 300 * time.Millisecond})
	opts.Hook = func(point string) {
		if point == "rename-create" {
			hooks++
		}
	}
	l := start(t, one(t, opts), collectors.Position{})
	l.wants("the first line of all\n")
	// The writer keeps the old file for a while.
	shift(t, path)
	w.write("late 1\n")
	l.wants("the first line of all\nlate 1\n")
	w.write("late 2, no line feed")
	w.reopen()
	w.write("b, the first line of the second file\n")
	l.wants("the first line of all\nlate 1\nlate 2, no line feedb, the first line of the second file\n")
	// Two rotations between two looks, the older one compressed already.
	l.stop()
	w.write("b2\n")
	shift(t, path)
	w.reopen()
	w.write("c, the first line of the third file\n")
	shift(t, path)
	w.reopen()
	w.write("d\n")
	pack(t, path+".3")
	pack(t, path+".2")
	for n := range 4 {
		want := []string{"the first line of all\n", "late 1\n", "late 2, no line feed", "b, the first line of the second file\n", "b2\n", "c, the first line of the third file\n", "d\n"}
		again := start(t, l.s, l.at(n))
		again.wants(strings.Join(want[n:], ""))
		if again.at(len(want)-n-1).Line != int64(len(want)-1) {
			t.Errorf("last position %+v", again.at(len(want)-n-1))
		}
		again.stop()
		if len(again.taken.skipped) > 0 {
			t.Errorf("skipped %v", again.taken.skipped)
		}
		checkFetch(t, l.s, &again.taken)
	}
	if hooks != 1+4*3-1 { // the last resume begins in the second generation
		t.Errorf("hook was called %d times", hooks)
	}
}

func TestDeleteAndRecreate(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	want := ""
	for i := range 5 {
		w.write(fmt.Sprintf("line %d\nunfinished %d", i, i))
		l.wants(want + fmt.Sprintf("line %d\n", i))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		want += fmt.Sprintf("line %d\nunfinished %d", i, i)
		l.wants(want)
		l.state(collectors.Gone)
		w.reopen()
	}
	// The same again without waiting for the reader.
	for i := range 5 {
		w.write(fmt.Sprintf("line %d\n", i))
		want += fmt.Sprintf("line %d\n", i)
		l.wants(want)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w.reopen()
	}
	if len(l.taken.skipped) > 0 {
		t.Errorf("skipped %v", l.taken.skipped)
	}
}

func TestCopyTruncate(t *testing.T) {
	for _, withCopy := range []bool{true, false} {
		t.Run(fmt.Sprint("copy ", withCopy), func(t *testing.T) {
			path := logPath(t)
			w := newWriter(t, path)
			l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
			want := ""
			for i := range 4 {
				// The second life is longer, as long, and shorter than the first.
				text := fmt.Sprintf("life %d, ", i) + strings.Repeat("long ", 20-i/2*10) + "\n"
				w.write(text)
				want += text
				l.wants(want)
				if withCopy {
					rename(t, path+".1", fmt.Sprintf("%s.%d", path, 9-i))
					// What is in the copy only is found there.
					last := fmt.Sprintf("last words %d\n", i)
					want += last
					data, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					write(t, path+".1", string(data)+last)
				}
				if err := os.Truncate(path, 0); err != nil {
					t.Fatal(err)
				}
			}
			w.write("end\n")
			l.wants(want + "end\n")
			if n := l.skipped(SkippedTruncated); n != 4 {
				t.Errorf("truncated %d times, want 4", n)
			}
		})
	}
}

// drained waits until all that was written before was read, whole lines or not.
func (l *live) drained() {
	l.t.Helper()
	written := time.Now()
	l.until("all to be read", func(_ *taken, last collectors.Item) bool {
		return last.State == collectors.Idle && last.At.After(written)
	})
}

// copyTo is the first half of copytruncate. The copy holds more than the file
// did when the reader looked.
func copyTo(t *testing.T, path, more string) {
	t.Helper()
	for i := 8; i > 0; i-- {
		rename(t, fmt.Sprintf("%s.%d", path, i), fmt.Sprintf("%s.%d", path, i+1))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".1", string(data)+more)
}

// TestCopyTruncateInLine: the reader was inside a line, as with every server
// that buffers, when the file was copied and truncated. The rest of that line
// and all after it is in the copy.
func TestCopyTruncateInLine(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	want := ""
	for i := range 4 {
		text := fmt.Sprintf("a line of life %d\nthe first half of ", i)
		w.write(text)
		l.drained()
		last := fmt.Sprintf("a line\nlast words %d\n", i)
		want += text + last
		copyTo(t, path, last)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.write("end\n")
	l.wants(want + "end\n")
	if n := l.skipped(SkippedTruncated); n != 4 {
		t.Errorf("truncated %d times, want 4", n)
	}
}

// TestReadBehindCopy: what was written after the copy was made, but read before
// the truncation, is not lost; and nothing of the copy is read again, though it
// ends before what was read: neither while the reader runs nor where it was
// stopped before the truncation, whether or not the file has outgrown what was
// read when it comes back.
func TestReadBehindCopy(t *testing.T) {
	for _, tt := range []struct {
		name             string
		stopped, outgrow bool
	}{{"running", false, false}, {"stopped", true, false}, {"stopped, outgrown", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			path := logPath(t)
			w := newWriter(t, path)
			s := one(t, quick(Options{Paths: []string{path}, Begin: Start}))
			l := start(t, s, collectors.Position{})
			// More than a fingerprint covers: shorter copies cannot be told.
			first, hidden := strings.Repeat("a line of the first life\n", 50), "in no copy\n"
			w.write(first)
			l.wants(first)
			copyTo(t, path, "")
			w.write(hidden)
			l.wants(first + hidden)
			from := collectors.Position{}
			if tt.stopped {
				l.stop()
				from = l.end()
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			want := "the second life\n"
			if tt.outgrow {
				want += strings.Repeat("which is longer than the first one was\n", 50)
			}
			w.write(want)
			if tt.stopped {
				l = start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), from)
			} else {
				want = first + hidden + want
			}
			w.write("end\n")
			l.wants(want + "end\n")
			if n := l.skipped(SkippedTruncated); n != 1 || len(l.taken.skipped) != 1 {
				t.Errorf("skipped %v, want one truncation", l.taken.skipped)
			}
		})
	}
}

func TestResumeTruncatedWhileStopped(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("a first line of text\nb\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	l.wants("a first line of text\nb\n")
	l.stop()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	w.write("c\n")
	again := start(t, l.s, l.end())
	again.wants("c\n")
	if again.skipped(SkippedTruncated) != 1 || again.at(0).Offset != 23 {
		t.Errorf("skipped %v, at %+v", again.taken.skipped, again.at(0))
	}
}

// TestEmptyFileInodeReused: a file that was empty when gatewatch was stopped
// was removed, and another has its inode by now. Writing
// to it stands for that.
func TestEmptyFileInodeReused(t *testing.T) {
	text := func(what string) string { return strings.Repeat(what+"\n", 60) }
	t.Run("the path", func(t *testing.T) {
		path := logPath(t)
		w := newWriter(t, path)
		var pos collectors.Position
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_ = one(t, quick(Options{Paths: []string{path}})).Run(ctx, pos, func(it collectors.Item) error {
			if it.Block != nil {
				pos = collectors.Position{Offset: it.Block.Offset, Line: it.Block.Line - 1, Origin: it.Block.Origin}
				cancel()
			}
			return nil
		})
		write(t, path+".1.gz", text("a line that was rotated and compressed"))
		w.write(text("a line of the file with the inode"))
		l := start(t, one(t, quick(Options{Paths: []string{path}})), pos)
		l.wants(text("a line that was rotated and compressed") + text("a line of the file with the inode"))
		if len(l.taken.skipped) > 0 {
			t.Errorf("skipped %v", l.taken.skipped)
		}
	})
	t.Run("a late one", func(t *testing.T) {
		path := logPath(t)
		newWriter(t, path)
		l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
		l.drained()
		shift(t, path)
		w := newWriter(t, path)
		w.write(text("a line of the second file"))
		l.wants(text("a line of the second file"))
		l.stop()
		// The compressed copy of what was read has the inode of the empty file.
		empty, err := os.OpenFile(path+".1", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := os.ReadFile(packedFile(t, text("a line of the second file")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := empty.Write(packed); err != nil {
			t.Fatal(err)
		}
		if err := empty.Close(); err != nil {
			t.Fatal(err)
		}
		rename(t, path+".1", path+".2.gz")
		rename(t, path, path+".1")
		w = newWriter(t, path)
		w.write("the third file\n")
		again := start(t, l.s, l.end())
		again.wants("the third file\n")
		again.drained()
		again.wants("the third file\n")
	})
}

// packedFile makes a compressed file somewhere else.
func packedFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.gz")
	write(t, path, text)
	return path
}

// TestTruncationsWhileStopped: each truncation is counted once, also those
// that are seen only by the copies that they left.
func TestTruncationsWhileStopped(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("the lines of life 0\n")
	o := quick(Options{Paths: []string{path}, Begin: Start})
	l := start(t, one(t, o), collectors.Position{})
	l.wants("the lines of life 0\n")
	l.stop()
	seen := l.end()
	want := "the lines of life 0\n"
	for i := range 3 {
		for k := i; k > 0; k-- {
			rename(t, fmt.Sprintf("%s.%d", path, k), fmt.Sprintf("%s.%d", path, k+1))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path+".1", string(data))
		w.write("nobody sees this\n")
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("the lines of life %d\n", i+1)
		w.write(text)
		want += text
	}
	again := start(t, one(t, o), seen)
	again.wants(want[len("the lines of life 0\n"):])
	if n := again.skipped(SkippedTruncated); n != 3 {
		t.Errorf("truncated %d times, want 3: %v", n, again.taken.skipped)
	}
	// The same from the middle of a copy: what comes after it is still known.
	third := start(t, one(t, o), again.at(1))
	third.wants("the lines of life 2\nthe lines of life 3\n")
	if n := third.skipped(SkippedTruncated); n != 1 {
		t.Errorf("truncated %d times, want 1: %v", n, third.taken.skipped)
	}
}

func TestLostGeneration(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("generation one\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	l.wants("generation one\n")
	l.stop()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	keep := w.f // keeps the inode from being used again
	defer func() { _ = keep.Close() }()
	w.f = nil
	w.reopen()
	w.write("generation two\n")
	shift(t, path)
	w.reopen()
	w.write("generation three\n")
	again := start(t, l.s, l.end())
	again.wants("generation two\ngeneration three\n")
	if again.skipped(SkippedLost) != 1 || again.at(0).Offset != 15 {
		t.Errorf("skipped %v, at %+v", again.taken.skipped, again.at(0))
	}
	// An origin of another program's making is no reason to stop.
	bad := start(t, l.s, collectors.Position{Offset: 99, Line: 3, Origin: []byte("nonsense")})
	bad.wants("generation three\n")
	if bad.skipped(SkippedLost) != 1 || bad.at(0).Offset != 99 || bad.at(0).Line != 3 {
		t.Errorf("skipped %v, at %+v", bad.taken.skipped, bad.at(0))
	}
}

// TestDamagedRotation meets a compressed rotation that breaks off.
func TestDamagedRotation(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("first line of the first file\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	l.wants("first line of the first file\n")
	l.stop()
	for _, broken := range []string{"\x1f\x8b\x08 nonsense", "\x1f\x8b\x08"} {
		shift(t, path)
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shift(t, path)
	rename(t, path+".1", path+".1.gz")
	rename(t, path+".2", path+".2.gz")
	w.reopen()
	w.write("last\n")
	again := start(t, l.s, l.end())
	again.wants("last\n")
	if n := again.skipped(SkippedDamaged); n != 2 {
		t.Errorf("%d damaged, want 2", n)
	}
}

func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "now.log")
	target := func(i int) string { return filepath.Join(dir, fmt.Sprintf("app-2026110%d.log", i)) }
	point := func(i int) {
		if err := os.Symlink(target(i), path+".new"); err != nil {
			t.Fatal(err)
		}
		rename(t, path+".new", path)
	}
	write(t, target(1), "day one\n")
	point(1)
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	l.wants("day one\n")
	write(t, target(2), "day two\n")
	point(2)
	l.wants("day one\nday two\n")
	l.stop()
	newWriter(t, target(2)).write("still two\n")
	write(t, target(3), "day three\n")
	write(t, target(4), "day four\n")
	point(4)
	again := start(t, l.s, l.end())
	again.wants("still two\nday three\nday four\n")
	if len(again.taken.skipped) > 0 {
		t.Errorf("skipped %v", again.taken.skipped)
	}
}

func TestFailing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "x.log")
	write(t, filepath.Join(dir, "sub"), "a file where a directory should be")
	l := start(t, one(t, quick(Options{Paths: []string{path}})), collectors.Position{})
	l.state(collectors.Failing)
	if err := os.Remove(filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	l.state(collectors.Gone)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	l.until("a directory", func(_ *taken, last collectors.Item) bool {
		return last.State == collectors.Failing && strings.Contains(last.Err.Error(), "is a directory; name the files in it")
	})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, "back\n")
	l.wants("back\n")
	l.state(collectors.Idle)
}

// TestClockJumps: the wall clock is set back and ahead while logs are rotated.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-365 * 24 * time.Hour, -time.Hour, time.Hour, 365 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			path := logPath(t)
			w := newWriter(t, path)
			var off atomic.Int64
			o := quick(Options{Paths: []string{path}, Begin: Start})
			// Without the steady clock that Go keeps beside, which a restart loses.
			o.Now = func() time.Time { return time.Now().Round(0).Add(time.Duration(off.Load())) }
			l := start(t, one(t, o), collectors.Position{})
			want := ""
			write := func(text string) {
				w.write(text)
				want += text
			}
			write("a line before the clock jumps\n")
			l.wants(want)
			for i := range 4 {
				shift(t, path)
				if i%2 == 0 {
					off.Add(int64(jump))
				}
				write(fmt.Sprintf("late line %d in the old file\n", i))
				l.wants(want)
				w.reopen()
				write(fmt.Sprintf("line %d in the new file\n", i))
				l.wants(want)
			}
			l.state(collectors.Idle)
			position := l.end()
			l.stop()
			off.Add(int64(jump))
			shift(t, path)
			write("while stopped, in the old file\n")
			w.reopen()
			write("and in the new one\n")
			again := start(t, one(t, o), position)
			again.wants("while stopped, in the old file\nand in the new one\n")
			if n := len(l.taken.skipped) + len(again.taken.skipped); n != 0 {
				t.Errorf("skipped %v, %v", l.taken.skipped, again.taken.skipped)
			}
		})
	}
}

// TestFileSystemGoesAway: the folder is not there for a while, as when it is
// mounted over the network. What was read is not read again, and what was
// written elsewhere meanwhile is.
func TestFileSystemGoesAway(t *testing.T) {
	root := t.TempDir()
	dir, away := filepath.Join(root, "mounted"), filepath.Join(root, "away")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.log")
	w := newWriter(t, path)
	want := ""
	write := func(text string) {
		w.write(text)
		want += text
	}
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	write("a line before it goes away\n")
	l.wants(want)
	for i := range 3 {
		rename(t, dir, away)
		write(fmt.Sprintf("line %d, written while it was away\n", i))
		l.state(collectors.Gone)
		rename(t, away, dir)
		if i == 1 {
			shift(t, path)
			w.reopen()
		}
		write(fmt.Sprintf("line %d, written after it\n", i))
		l.wants(want)
		l.state(collectors.Idle)
	}
	// The same over a restart that finds nothing.
	position := l.end()
	l.stop()
	rename(t, dir, away)
	again := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), position)
	again.state(collectors.Gone)
	begin := len(want)
	write("written before it came back\n")
	rename(t, away, dir)
	again.wants(want[begin:])
	if len(again.taken.skipped)+len(l.taken.skipped) > 0 {
		t.Errorf("skipped %v, %v", l.taken.skipped, again.taken.skipped)
	}
}

// TestInodeReuse: a new file often gets the inode that one had which was
// deleted a moment ago. It is told by its content.
func TestInodeReuse(t *testing.T) {
	for name, next := range map[string]string{
		"shorter": "another\n",
		"as long": "THE FIRST FILE, WHICH IS READ TO ITS END\n",
		"longer":  "the second file, which is longer than the first\nand has another line\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := logPath(t)
			const first = "the first file, which is read to its end\n"
			write(t, path, first)
			o := quick(Options{Paths: []string{path}, Begin: Start})
			l := start(t, one(t, o), collectors.Position{})
			l.wants(first)
			position := l.end()
			l.stop()
			look := func() identity {
				fi, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				return identify(fi)
			}
			old, now := look(), identity{}
			reused := false
			for try := 0; try < 200 && !reused; try++ {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				write(t, path, next)
				now = look()
				reused = now == old
			}
			if !reused {
				// Not every file system does so: what was saved says that it did.
				g, rest, err := decodeOrigin(position.Origin)
				if err != nil {
					t.Fatal(err)
				}
				g.id = now
				position.Origin = g.appendOrigin(nil, rest)
			}
			again := start(t, one(t, o), position)
			again.wants(next)
			if n := again.skipped(SkippedTruncated) + again.skipped(SkippedLost); n != 1 {
				t.Errorf("skipped %v, want one file that nobody can say of whether it was read", again.taken.skipped)
			}
			t.Logf("inode reused by the file system: %v", reused)
		})
	}
}

// TestThousandsOfFiles: one glob, thousands of logs, some of which are written,
// and few open files.
func TestThousandsOfFiles(t *testing.T) {
	const files, most = 2000, 50
	dir := t.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("tenant-%04d.log", i)) }
	for i := range files {
		write(t, path(i), fmt.Sprintf("first line of %d\n", i))
	}
	o := quick(Options{Paths: []string{filepath.Join(dir, "*.log")}, Begin: Start, MaxOpenFiles: most})
	o.Poll, o.Rescan = 500*time.Millisecond, 200*time.Millisecond
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[string]string{}
	count := 0
	all.Go(func() {
		_ = c.Watch(ctx, func(s collectors.Source) {
			all.Go(func() {
				_ = s.Run(ctx, collectors.Position{}, func(it collectors.Item) error {
					if it.Block != nil && it.Block.Release != nil {
						mu.Lock()
						got[s.Name()] += string(it.Block.Data)
						count += strings.Count(string(it.Block.Data), "\n")
						mu.Unlock()
						it.Block.Release()
					}
					return nil
				})
			})
		}, func() {})
	})
	wait := func(lines int) {
		t.Helper()
		for deadline := time.Now().Add(6 * patience); ; time.Sleep(time.Millisecond) {
			mu.Lock()
			n := count
			mu.Unlock()
			if n >= lines {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d lines of %d", n, lines)
			}
		}
	}
	wait(files)
	for deadline := time.Now().Add(6 * patience); c.open.Load() > most+1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d files are open while all are idle", c.open.Load())
		}
	}
	lines := files
	for i := 0; i < files; i += 7 {
		newWriter(t, path(i)).write("second line\n")
		lines++
	}
	for i := range 20 { // that were not there at the start
		write(t, path(files+i), fmt.Sprintf("first line of %d\n", files+i))
		lines++
	}
	wait(lines)
	cancel()
	all.Wait()
	for i := range files + 20 {
		want := fmt.Sprintf("first line of %d\n", i)
		if i < files && i%7 == 0 {
			want += "second line\n"
		}
		if got[path(i)] != want {
			t.Errorf("%s: %q, want %q", path(i), got[path(i)], want)
		}
	}
	if c.open.Load() != 0 {
		t.Errorf("%d files are open after the end", c.open.Load())
	}
}

func TestLongLineBoundedMemory(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak uint64
	w.write("a\n")
	chunk := strings.Repeat("x", 1<<20)
	for range 64 {
		w.write(chunk)
		runtime.GC() // what counts is what is held, not what waits for the collector
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
	}
	w.write("\nb\n")
	l.wantsSkip("a\nb\n")
	runtime.GC()
	runtime.ReadMemStats(&now)
	if peak = max(peak, now.HeapAlloc); peak > before.HeapAlloc+32<<20 {
		t.Errorf("heap grew from %d to %d", before.HeapAlloc, peak)
	}
	if n := l.skipped(SkippedTooLong); n != 1 {
		t.Errorf("%d lines too long, want 1", n)
	}
	if p := l.at(1); p.Offset != 2+64<<20+1 || p.Line != 2 {
		t.Errorf("position %+v", p)
	}
}

// wantsSkip is wants for text with holes in its offsets.
func (l *live) wantsSkip(text string) {
	l.t.Helper()
	l.until("text", func(k *taken, _ collectors.Item) bool { return k.text() == text })
}

func TestColdFiles(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	opts := quick(Options{Paths: []string{path}, Begin: Start})
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	c.opts.MaxOpenFiles = 0 // every idle file is closed
	var s collectors.Source
	if err := c.Watch(t.Context(), func(found collectors.Source) { s = found }, func() {}); err != nil {
		t.Fatal(err)
	}
	l := start(t, s, collectors.Position{})
	want := ""
	for i := range 5 {
		text := fmt.Sprintf("line %d of a cold file\nunfinished, ", i)
		w.write(text)
		want += text
		l.wants(strings.TrimSuffix(want, "unfinished, "))
		l.until("the file to be closed", func(*taken, collectors.Item) bool { return c.open.Load() == 0 })
		if i == 2 {
			shift(t, path)
			w.write("late\n")
			want += "late\n"
			w.reopen()
		}
	}
	w.write("end\n")
	l.wants(want + "end\n")
	l.stop()
	if c.open.Load() != 0 || len(l.taken.skipped) > 0 {
		t.Errorf("%d open, skipped %v", c.open.Load(), l.taken.skipped)
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
