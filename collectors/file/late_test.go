package file

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"gatewatch/collectors"
)

// sorted waits until exactly these lines were emitted, in whatever order.
func (l *live) sorted(lines ...string) {
	l.t.Helper()
	l.until(fmt.Sprintf("%d lines", len(lines)), func(k *taken, _ collectors.Item) bool { return len(k.records) >= len(lines) })
	l.mu.Lock()
	defer l.mu.Unlock()
	var got []string
	for _, r := range l.taken.records {
		got = append(got, strings.TrimSuffix(r.Text, "\n"))
	}
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		l.t.Fatalf("got %q, want %q", got, lines)
	}
	l.taken.continuous(l.t)
}

// settle waits until the source is idle and all files that were rotated away
// have been left.
func (l *live) settle() {
	l.t.Helper()
	l.state(collectors.Idle)
}

// TestLateWriter has a server that goes on writing to the file that was
// rotated away, long after it was left, while others write the new one.
func TestLateWriter(t *testing.T) {
	path := logPath(t)
	old := newWriter(t, path)
	old.write("old 1\n")
	s := one(t, quick(Options{Paths: []string{path}, Begin: Start}))
	l := start(t, s, collectors.Position{})
	l.wants("old 1\n")
	shift(t, path)
	w := newWriter(t, path)
	w.write("new 1\n")
	l.wants("old 1\nnew 1\n") // the old one was left by now
	old.write("old 2\n")
	l.wants("old 1\nnew 1\nold 2\n")
	w.write("new 2\nnew 3 half")
	l.wants("old 1\nnew 1\nold 2\nnew 2\n")
	old.write("old 3\nold 4\n")
	l.wants("old 1\nnew 1\nold 2\nnew 2\nold 3\nold 4\n")
	w.write(" and whole\n")
	want := "old 1\nnew 1\nold 2\nnew 2\nold 3\nold 4\nnew 3 half and whole\n"
	l.wants(want)
	checkFetch(t, s, &l.taken)

	// From any position another run goes on without loss or double.
	lines := strings.SplitAfter(strings.TrimSuffix(want, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	for n := range lines {
		again := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), l.at(n))
		var rest []string
		for _, line := range lines[n:] {
			rest = append(rest, strings.TrimSuffix(line, "\n"))
		}
		again.sorted(rest...)
		again.settle()
		if len(again.taken.skipped) > 0 {
			t.Errorf("from %d: skipped %v", n, again.taken.skipped)
		}
		again.stop()
	}
	l.settle()
	l.stop()

	// What was written meanwhile, and compressed then, is read as well.
	old.write("old 5\n")
	pack(t, path+".1")
	w.write("new 4\n")
	again := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), l.end())
	again.sorted("old 5", "new 4")
}

// TestBusyLateWriter has two servers that never pause: the new file is not
// kept waiting for the old one to be quiet.
func TestBusyLateWriter(t *testing.T) {
	path := logPath(t)
	old := newWriter(t, path)
	o := quick(Options{Paths: []string{path}, Begin: Start})
	o.Linger = 40 * time.Millisecond
	l := start(t, one(t, o), collectors.Position{})
	old.write("old\n")
	l.wants("old\n")
	shift(t, path)
	w := newWriter(t, path)
	w.write("new\n")
	seen := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.ContainsFunc(l.taken.records, func(r record) bool { return r.Text == "new\n" })
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	n := 1
	for ; !seen(); n++ {
		if time.Now().After(deadline) {
			t.Fatal("the new file is not read")
		}
		old.write("old\n")
		<-tick.C
	}
	want := append(slices.Repeat([]string{"old"}, n), "new")
	l.sorted(want...)
}

// TestLateWriterUnlinked has one that writes to a file that was deleted.
func TestLateWriterUnlinked(t *testing.T) {
	path := logPath(t)
	old := newWriter(t, path)
	o := quick(Options{Paths: []string{path}, Begin: Start, Late: 300 * time.Millisecond})
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	var s collectors.Source
	if err := c.Watch(t.Context(), func(found collectors.Source) { s = found }, func() {}); err != nil {
		t.Fatal(err)
	}
	l := start(t, s, collectors.Position{})
	old.write("old 1\n")
	l.wants("old 1\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, path)
	w.write("new 1\n")
	l.wants("old 1\nnew 1\n")
	old.write("old 2\nold 3")
	l.wants("old 1\nnew 1\nold 2\nold 3") // unfinished, but quiet
	l.until("the old file is closed", func(*taken, collectors.Item) bool { return c.open.Load() == 1 })
	l.stop()
	if n := c.open.Load(); n != 0 {
		t.Errorf("%d files are open after the run", n)
	}
}

// TestZstd follows a log whose rotations zstd compresses while nobody looks.
func TestZstd(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	w.write("a first line of text\n")
	l := start(t, one(t, quick(Options{Paths: []string{path}, Begin: Start})), collectors.Position{})
	l.wants("a first line of text\n")
	l.stop()
	w.write("written while stopped\n")
	shift(t, path)
	w.reopen()
	w.write("of the second file\n")
	shift(t, path)
	for _, name := range []string{path + ".1", path + ".2"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+".zst", z.EncodeAll(data, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	w.reopen()
	w.write("of the third\n")
	again := start(t, l.s, l.end())
	again.wants("written while stopped\nof the second file\nof the third\n")
	checkFetch(t, l.s, &again.taken)

	sources, err := Replay([]string{path + "*"}, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) != 1 || sources[0].Name() != path {
		t.Fatalf("%d sources, the first %s", len(sources), sources[0].Name())
	}
	if k := runReplay(t, sources[0], collectors.Position{}); k.text() != "a first line of text\nwritten while stopped\nof the second file\nof the third\n" {
		t.Errorf("replay gives %q", k.text())
	}
}
