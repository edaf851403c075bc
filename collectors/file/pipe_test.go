//go:build unix

package file

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewatch/collectors"
)

// TestPipe reads a named pipe with writers that come and go, and then what
// stands in its place.
func TestPipe(t *testing.T) {
	path := logPath(t)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	s := one(t, quick(Options{Paths: []string{path}}))
	l := start(t, s, collectors.Position{})
	for _, text := range []string{"one\ntwo\n", "three\n"} {
		w := newWriter(t, path)
		w.write(text)
		_ = w.f.Close()
	}
	l.wants("one\ntwo\nthree\n")
	l.state(collectors.Idle)
	checkFetch(t, s, &l.taken)
	l.stop()

	// Another run goes on counting.
	s = one(t, quick(Options{Paths: []string{path}}))
	again := start(t, s, l.end())
	w := newWriter(t, path)
	w.write("four\n")
	again.wants("four\n")
	if p := again.at(0); p.Offset != 14 || p.Line != 3 {
		t.Errorf("went on at %+v", p)
	}
	_ = w.f.Close()
	write(t, path+".new", "five\n")
	rename(t, path+".new", path)
	again.wants("four\nfive\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w = newWriter(t, path)
	w.write("six\n")
	again.wants("four\nfive\nsix\n")
	if len(again.taken.skipped) > 0 {
		t.Errorf("skipped %v", again.taken.skipped)
	}
	if _, err := Replay([]string{path}, ReplayOptions{}); err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Errorf("replay of a pipe: %v", err)
	}
}

// TestNotify has a poll that is much too slow: the system wakes the source.
func TestNotify(t *testing.T) {
	path := logPath(t)
	w := newWriter(t, path)
	o := Options{Paths: []string{path}, Begin: Start, Notify: true, Poll: time.Hour, Linger: time.Millisecond}
	l := start(t, one(t, o), collectors.Position{})
	want := ""
	say := func(w *writer, text string) {
		t.Helper()
		w.write(text)
		want += text
		l.wants(want)
	}
	say(w, "first line\n")
	say(w, "second line\n")
	shift(t, path)
	say(w, "late line\n")
	old := *w
	w.f = nil
	w.reopen()
	say(w, "new line\n")
	say(&old, "later line\n")
	_ = old.f.Close()
	// Behind a symbolic link.
	target := path + "-20261101"
	write(t, target, "behind the link\n")
	want += "behind the link\n"
	if err := os.Symlink(target, path+".link"); err != nil {
		t.Fatal(err)
	}
	rename(t, path+".link", path)
	l.wants(want)
	say(newWriter(t, target), "and more\n")
}
