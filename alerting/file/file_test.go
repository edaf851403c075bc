package file

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"

	"github.com/google/go-cmp/cmp"
)

func receiver(t *testing.T, path string, change func(*Config)) *Receiver {
	t.Helper()
	c := Config{Name: "log", Path: path}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// lines reads the file as those behind it do: each line is JSON.
func lines(t *testing.T, path string) []line {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []line
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v in %.200q", path, err, s.Text())
		}
		out = append(out, l)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		t.Errorf("%s ends with half a line", path)
	}
	return out
}

func keys(t *testing.T, path string) []string {
	var out []string
	for _, l := range lines(t, path) {
		out = append(out, l.Key)
	}
	return out
}

func note(t *testing.T, i int) alerting.Notification {
	inc := receivertest.Incident("203.0.113.7")
	inc.ID = fmt.Sprintf("%016x", i)
	return receivertest.Note(t, inc, alerting.CauseOpened)
}

func send(t *testing.T, r *Receiver, n alerting.Notification) {
	t.Helper()
	if res := r.Notify(t.Context(), n); res.Err != nil || res.Reason != alerting.ReasonOK {
		t.Fatalf("got %+v", res)
	}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	r := receiver(t, path, nil)
	send(t, r, note(t, 1))
	send(t, r, note(t, 2))
	got := lines(t, path)
	if len(got) != 2 || got[1].Key != "0000000000000002/1" || got[0].Type != "incident.updated" || got[0].Cause != "opened" {
		t.Errorf("got %+v", got)
	}
	var inc alerting.Incident
	if err := json.Unmarshal(got[0].Data, &inc); err != nil || inc.Count != 1486 {
		t.Errorf("incident %+v, %v", inc, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	one, err := json.Marshal(note(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	r := receiver(t, path, func(c *Config) { c.MaxSize, c.Keep = int64(len(one)*3), 2 })
	const n = 40
	for i := range n {
		send(t, r, note(t, i))
	}
	var all []string
	for _, p := range []string{path + ".2", path + ".1", path} {
		info, err := os.Stat(p)
		if err != nil || info.Size() > r.c.MaxSize || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		all = append(all, keys(t, p)...)
	}
	if _, err := os.Stat(path + ".3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a third file is kept: %v", err)
	}
	for i, k := range all {
		if want := fmt.Sprintf("%016x/1", n-len(all)+i); k != want {
			t.Errorf("want %s, got %s", want, k)
		}
	}
	if len(all) < 5 {
		t.Errorf("only %d lines are left", len(all))
	}
}

func TestRotationByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	now := time.Date(2026, 11, 19, 7, 0, 0, 0, time.UTC)
	r := receiver(t, path, func(c *Config) { c.MaxAge = 24 * time.Hour })
	r.now = func() time.Time { return now }
	send(t, r, note(t, 1))
	now = now.Add(23 * time.Hour)
	send(t, r, note(t, 2))
	r.Close()
	// A new process learns from the first line when the file began.
	r = receiver(t, path, func(c *Config) { c.MaxAge = 24 * time.Hour })
	now = now.Add(time.Hour)
	r.now = func() time.Time { return now }
	send(t, r, note(t, 3))
	if a, b := keys(t, path+".1"), keys(t, path); len(a) != 2 || len(b) != 1 {
		t.Errorf("got %q and %q", a, b)
	}
}

// TestHalfLines: what a crash left of a line is gone before the next one, and
// what is not ours stays.
func TestHalfLines(t *testing.T) {
	whole := "{\"key\":\"a/1\",\"x\":1}\n"
	for before, want := range map[string]string{
		whole + `{"key":"b/1","type":"inc`: whole,
		whole + `{"k`:                      whole,
		`{"key":"a/1"`:                     "",
		whole + "somebody else's":          whole + "somebody else's\n",
		"# no JSON at all":                 "# no JSON at all\n",
		whole:                              whole,
		"":                                 "",
	} {
		path := filepath.Join(t.TempDir(), "incidents.jsonl")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		send(t, receiver(t, path, nil), note(t, 7))
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(string(got), want)
		if !ok || !strings.HasPrefix(rest, `{"key":"0000000000000007/1",`) || strings.Count(rest, "\n") != 1 {
			t.Errorf("%q became %.100q", before, got)
		}
	}
}

// TestRepeats: a revision whose first attempt was written is not written again,
// also when the file was rotated meanwhile.
func TestRepeats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	r := receiver(t, path, nil)
	send(t, r, note(t, 1))
	again := note(t, 1)
	again.Repeat = true
	send(t, r, again)
	other := note(t, 2)
	other.Repeat = true
	send(t, r, other)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send(t, r, again)
	third := note(t, 3)
	send(t, r, third)
	if diff := cmp.Diff([]string{"0000000000000001/1", "0000000000000002/1"}, keys(t, path+".1")); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0000000000000003/1"}, keys(t, path)); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
}

// TestTwoWriters: the receivers before and after a reload write to one file, and
// both rotate it.
func TestTwoWriters(t *testing.T) {
	for name, size := range map[string]int64{"one file": 1 << 20, "rotated": 16 << 10} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "incidents.jsonl")
			var wg sync.WaitGroup
			const each, keep = 50, 100
			for w := range 2 {
				r := receiver(t, path, func(c *Config) { c.MaxSize, c.Keep, c.NoSync = size, keep, true })
				for part := range 2 {
					wg.Go(func() {
						for i := range each {
							if res := r.Notify(t.Context(), note(t, w*1000+part*100+i)); res.Err != nil {
								t.Error(res.Err)
							}
						}
					})
				}
			}
			wg.Wait()
			files, err := filepath.Glob(path + "*")
			if err != nil || (len(files) > 5) != (name == "rotated") || len(files) > keep {
				t.Fatalf("%d files, %v", len(files), err)
			}
			seen := map[string]bool{}
			for _, f := range files {
				for _, k := range keys(t, f) {
					if seen[k] {
						t.Errorf("%s is there twice", k)
					}
					seen[k] = true
				}
			}
			if len(seen) != 4*each {
				t.Errorf("%d lines, want %d", len(seen), 4*each)
			}
		})
	}
}

// TestAnotherIsWriting: half a line is taken away only when nobody is writing it.
func TestAnotherIsWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	other, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	write := func(s string) {
		t.Helper()
		if _, err := other.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := lock(other, 0, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	write(`{"key":"a/1",`)
	r := receiver(t, path, nil)
	r.wait = 0
	if res := r.Notify(t.Context(), note(t, 1)); res.Err == nil || !res.Retry || !strings.Contains(res.Err.Error(), "another program") {
		t.Errorf("while another writes: %+v", res)
	}
	write("\"x\":1}\n")
	unlock()
	send(t, r, note(t, 1))
	// That one dies within its next line.
	write(`{"key":"b/1",`)
	send(t, r, note(t, 2))
	if diff := cmp.Diff([]string{"a/1", "0000000000000001/1", "0000000000000002/1"}, keys(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCloseWhileLocked: nobody waits for another program's lock when the receiver is closed.
func TestCloseWhileLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	other, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	unlock, err := lock(other, 0, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	r := receiver(t, path, nil)
	r.wait = time.Hour
	results := make(chan alerting.Result, 3)
	for i := range cap(results) {
		n := note(t, i)
		go func() { results <- r.Notify(t.Context(), n) }()
	}
	r.Close()
	for range cap(results) {
		if res := <-results; res.Err == nil || !res.Retry {
			t.Errorf("got %+v", res)
		}
	}
	unlock()
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	res := receiver(t, "/dev/full", nil).Notify(t.Context(), note(t, 1))
	if res.Err == nil || !res.Retry || !errors.Is(res.Err, syscall.ENOSPC) {
		t.Errorf("got %+v", res)
	}
}

func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0) // both ends: opening does not wait
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	r := receiver(t, path, nil)
	send(t, r, note(t, 1))
	text, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil || !strings.HasPrefix(text, prefix) {
		t.Errorf("got %.100q, %v", text, err)
	}
}

func TestTrouble(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 {
		path := filepath.Join(dir, "closed")
		if err := os.WriteFile(path, nil, 0o400); err != nil {
			t.Fatal(err)
		}
		if res := receiver(t, path, nil).Notify(t.Context(), note(t, 1)); res.Err == nil || !res.Retry {
			t.Errorf("no permission: got %+v", res)
		}
	}
	r := receiver(t, filepath.Join(dir, "x"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := r.Notify(ctx, note(t, 1)); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("stopped: got %+v", res)
	}
	r.Close()
	if res := r.Notify(t.Context(), note(t, 1)); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("closed: got %+v", res)
	}
	for want, c := range map[string]Config{
		"no name":        {Path: "x"},
		"no path":        {Name: "x"},
		"does not exist": {Name: "x", Path: "/no/such/folder/x"},
		"is a folder":    {Name: "x", Path: dir},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestHostile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "incidents.jsonl")
	r := receiver(t, path, func(c *Config) { c.NoSync = true })
	payloads := hostile.Payloads(t)
	for _, p := range payloads {
		send(t, r, receivertest.Note(t, receivertest.Hostile(p.Text), alerting.CauseOpened))
	}
	got := lines(t, path)
	if len(got) != len(payloads) {
		t.Fatalf("%d lines of %d", len(got), len(payloads))
	}
	for i, p := range payloads {
		var inc alerting.Incident
		if err := json.Unmarshal(got[i].Data, &inc); err != nil {
			t.Fatal(err)
		}
		if p.For != "bytes" && inc.Sources[0] != p.Text {
			t.Errorf("%.100q came as %.100q", p.Text, inc.Sources[0])
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.ReplaceAll(string(data), "\n", "") {
		if !unicode.IsPrint(c) {
			t.Fatalf("%U is in the file", c)
		}
	}
}
