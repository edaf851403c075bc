package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatewatch/collectors"
)

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
