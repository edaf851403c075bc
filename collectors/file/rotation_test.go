package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/collectors"
)

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

// TestEmptyFileInodeReused: a file that was empty when gatewatch was stopped
// was removed, and another has its inode by now. Writing
// to it stands for that.
func TestEmptyFileInodeReused(t *testing.T) {
	text := func(what string) string { return strings.Repeat(what+"\n", 60) }
	t.Run("the path", func(t *testing.T) {
		path := logPath(t)
		w := newWriter(t, path)
		pos := beginning(t, path)
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
