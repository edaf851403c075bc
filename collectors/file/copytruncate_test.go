package file

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gatewatch/collectors"
)

// TestOvertaken: an empty file that is filled, copied and emptied before its
// first line is read has had a life of its own, which is in the copy.
func TestOvertaken(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	pos := beginning(t, path)
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
