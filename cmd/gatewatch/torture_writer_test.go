package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"gatewatch/api"
)

const (
	// blockLines is how many numbered lines of a log share a user agent, by
	// which they are counted.
	blockLines = 5000
	// numberClients is how many addresses the lines of a log come from, by which
	// they are counted once more. Whoever loses one line and doubles another
	// would have to hit the same block and the same address.
	numberClients = 97
)

// written is what the writer process tells of one log at its end.
type written struct {
	Lines, Bytes int64
	Rotations    int
	Hiding       int              // copytruncate: rotations that hid lines from every reader
	Visible      map[string]int64 // copytruncate: lines by block that a reader could have seen
	Lives        []life           // copytruncate
}

// life is what was in a log from one truncation to the next: the lines from
// First on, of which no reader need have seen those from Hidden to End, that
// were written after the copy.
type life struct {
	First, Hidden, End int64
	Ended              time.Time
}

// lifeTag is the referer of the lines of a life, by which they are counted too.
func lifeTag(name string, n int) string { return fmt.Sprintf("%s-life-%d", name, n) }

// tortureWriter is the other process of TestTorture: it writes numbered lines
// to a log in each style until its input ends, and prints a line at each
// rotation and what it wrote at the end.
func tortureWriter(dir string, rate int, socket string) error {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var styles []*style
	for i, run := range []func(*style){(*style).workers, (*style).gzipped, (*style).zstandard, (*style).copied, (*style).deleted, (*style).linked} {
		name := tortureLogs[i]
		styles = append(styles, &style{
			dir: dir, name: name, path: filepath.Join(dir, name+".log"), number: i, socket: socket, run: run,
			rng: rand.New(rand.NewPCG(7, uint64(i))), stop: stop, rate: float64(rate) / float64(len(tortureLogs)), begun: time.Now(),
		})
	}
	var wg sync.WaitGroup
	for _, s := range styles {
		wg.Go(func() { s.run(s) })
	}
	wg.Wait()
	out := map[string]written{}
	for _, s := range styles {
		out[s.name] = written{Lines: s.n, Bytes: s.bytes.Load(), Rotations: s.rotations, Hiding: s.hiding, Visible: s.visible, Lives: s.lives}
	}
	b, err := json.Marshal(out)
	fmt.Printf("%s\n", b)
	return err
}

// tortureLogs are the names of the logs, each for its way to rotate.
var tortureLogs = [...]string{"workers", "gzip", "zstd", "copytruncate", "delete", "symlink"}

// style writes one log.
type style struct {
	dir, name, path string
	number          int
	socket          string
	run             func(*style)
	rng             *rand.Rand
	stop            <-chan struct{}
	rate            float64 // lines a second
	begun           time.Time

	n         int64 // lines
	bytes     atomic.Int64
	rotations int
	hiding    int
	visible   map[string]int64
	lives     []life
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (s *style) open() *os.File { return openAppend(s.path) }

func openAppend(path string) *os.File {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
	return f
}

// lines makes the next n lines.
func (s *style) lines(n int) []byte {
	var b bytes.Buffer
	now, referer := time.Now().UTC().Format("02/Jan/2006:15:04:05 -0700"), "-"
	if s.visible != nil {
		referer = lifeTag(s.name, len(s.lives))
	}
	for range n {
		fmt.Fprintf(&b, "10.%d.0.%d - - [%s] \"GET /n/%09d HTTP/1.1\" 200 12 \"%s\" \"%s-%d\"\n",
			s.number, s.n%numberClients, now, s.n, referer, s.name, s.n/blockLines)
		s.n++
	}
	return b.Bytes()
}

// due is how many lines are to be written to keep the rate.
func (s *style) due() int {
	return max(1, int(s.rate*time.Since(s.begun).Seconds()-float64(s.n)))
}

func (s *style) write(f *os.File, b []byte) {
	_, err := f.Write(b)
	must(err)
	s.bytes.Add(int64(len(b)))
}

// loop calls tick 200 times a second, and rotate now and then, until the end.
func (s *style) loop(tick, rotate func()) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	next := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		if time.Now().After(next) {
			next = time.Now().Add(time.Duration(300+s.rng.IntN(1500)) * time.Millisecond)
			times := 1
			if s.rng.IntN(5) == 0 {
				times = 3 // within one look of the reader
			}
			for range times {
				rotate()
				s.rotations++
				fmt.Println("rotated", s.name)
				tick()
			}
		}
		tick()
	}
}

// shift makes room for path.1.
func (s *style) shift() {
	for i := s.rotations + 2; i > 0; i-- {
		for _, ext := range []string{"", ".gz", ".zst"} {
			_ = os.Rename(fmt.Sprintf("%s.%d%s", s.path, i, ext), fmt.Sprintf("%s.%d%s", s.path, i+1, ext))
		}
	}
}

// workers is a server with four processes that buffer their lines. Each opens
// the new file when it comes to it: at once, or seconds after the rotation.
func (s *style) workers() {
	type worker struct {
		f      *os.File
		buf    []byte
		reopen time.Time
	}
	w := make([]worker, 4)
	for i := range w {
		w[i].f = s.open()
	}
	flush := func(x *worker) {
		if len(x.buf) > 0 {
			s.write(x.f, x.buf)
			x.buf = nil
		}
	}
	s.loop(func() {
		for i := range w {
			x := &w[i]
			if !x.reopen.IsZero() && time.Now().After(x.reopen) {
				flush(x)
				_ = x.f.Close()
				x.f, x.reopen = s.open(), time.Time{}
			}
		}
		x := &w[s.rng.IntN(len(w))]
		if x.buf = append(x.buf, s.lines(s.due())...); len(x.buf) > 8<<10 {
			flush(x)
		}
	}, func() {
		s.shift()
		must(os.Rename(s.path, s.path+".1"))
		for i := range w {
			if w[i].reopen = time.Now(); s.rng.IntN(3) == 0 {
				w[i].reopen = time.Now().Add(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
			}
		}
		for i := range w { // the master opens the new file for all, so that it is there
			if !w[i].reopen.After(time.Now()) {
				flush(&w[i])
				_ = w[i].f.Close()
				w[i].f, w[i].reopen = s.open(), time.Time{}
			}
		}
		_ = s.open().Close()
	})
	for i := range w {
		flush(&w[i])
	}
}

// gzipped compresses one rotation later, as delaycompress does.
func (s *style) gzipped() {
	f := s.open()
	s.loop(func() { s.halves(f) }, func() {
		s.shift()
		must(os.Rename(s.path, s.path+".1"))
		_ = f.Close()
		f = s.open()
		if s.rotations > 0 {
			compress(s.path+".2", ".gz")
		}
	})
}

// zstandard compresses at once.
func (s *style) zstandard() {
	f := s.open()
	s.loop(func() { s.halves(f) }, func() {
		s.shift()
		must(os.Rename(s.path, s.path+".1"))
		_ = f.Close()
		f = s.open()
		compress(s.path+".1", ".zst")
	})
}

// halves writes lines in two calls, the first of which ends inside a line.
func (s *style) halves(f *os.File) {
	b := s.lines(s.due())
	half := s.rng.IntN(len(b))
	s.write(f, b[:half])
	s.write(f, b[half:])
}

// compress does what gzip and zstd do: a new file beside the old one, with its
// time, and then the old one goes.
func compress(path, ext string) {
	data, err := os.ReadFile(path)
	must(err)
	fi, err := os.Stat(path)
	must(err)
	var out bytes.Buffer
	if ext == ".gz" {
		z := gzip.NewWriter(&out)
		_, err = z.Write(data)
		must(err)
		must(z.Close())
	} else {
		z, err := zstd.NewWriter(&out)
		must(err)
		_, err = z.Write(data)
		must(err)
		must(z.Close())
	}
	f := openAppend(path + ext)
	b := out.Bytes()
	_, err = f.Write(b[:len(b)/2]) // a reader may see it half written
	must(err)
	_, err = f.Write(b[len(b)/2:])
	must(err)
	must(f.Close())
	must(os.Chtimes(path+ext, fi.ModTime(), fi.ModTime()))
	must(os.Remove(path))
}

// copied copies and truncates, with lines in between that no copy holds. It
// buffers as many servers do, so that what is in the file ends inside a line;
// only when it is copied, and when it is truncated, does it end with one.
func (s *style) copied() {
	f := s.open()
	s.visible = map[string]int64{}
	see := func(data []byte) {
		for line := range bytes.SplitSeq(data, []byte{'\n'}) {
			if at := bytes.LastIndexByte(line, ' '); at >= 0 {
				s.visible[string(bytes.Trim(line[at+1:], `"`))]++
			}
		}
	}
	var buf []byte
	flush := func() {
		s.write(f, buf)
		buf = nil
	}
	var first int64
	end := func(hidden int64) {
		s.lives = append(s.lives, life{First: first, Hidden: hidden, End: s.n, Ended: time.Now()})
		first = s.n
	}
	s.write(f, s.lines(1)) // nobody can tell a truncation of what was always empty
	s.loop(func() {
		buf = append(buf, s.lines(s.due())...)
		n := len(buf) - s.rng.IntN(min(len(buf), 60))
		s.write(f, buf[:n])
		buf = append([]byte(nil), buf[n:]...)
	}, func() {
		flush()
		s.shift()
		data, err := os.ReadFile(s.path)
		must(err)
		must(os.WriteFile(s.path+".1", data, 0o600))
		see(data)
		hidden := s.n
		if s.rng.IntN(2) == 0 {
			s.write(f, s.lines(s.rng.IntN(20)+1))
			s.hiding++
		}
		must(os.Truncate(s.path, 0))
		end(hidden)
	})
	flush()
	end(s.n)
	data, err := os.ReadFile(s.path)
	must(err)
	see(data)
}

// deleted deletes the file, or empties it, once gatewatch has committed all of
// it: somebody who does so before loses lines to every reader.
func (s *style) deleted() {
	f := s.open()
	s.loop(func() { s.write(f, s.lines(s.due())) }, func() {
		if !s.committed() {
			return
		}
		if s.rng.IntN(2) == 0 {
			must(f.Truncate(0))
			return
		}
		must(os.Remove(s.path))
		_ = f.Close()
		f = s.open()
	})
}

// committed waits until the daemon has all that was written in committed state.
func (s *style) committed() bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket)
	}, DisableKeepAlives: true}}
	var began time.Time
	commits := int64(-1)
	for {
		select {
		case <-s.stop:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		var now api.Status
		res, err := client.Get("http://localhost/api/v1/status")
		if err != nil {
			continue
		}
		err = json.NewDecoder(res.Body).Decode(&now)
		_ = res.Body.Close()
		if err != nil {
			continue
		}
		if !now.StartedAt.Equal(began) {
			began, commits = now.StartedAt, -1 // another life
		}
		for _, x := range now.Sources {
			if x.Name == s.path && x.Offset == s.bytes.Load() && commits < 0 {
				commits = now.Checkpoint.Total
			}
		}
		if commits >= 0 && now.Checkpoint.Total >= commits+2 {
			return true
		}
	}
}

// linked leads a symbolic link to a new file; an old process goes on with the
// one before for a while.
func (s *style) linked() {
	target := func() string {
		return filepath.Join(s.dir, fmt.Sprintf("app-2026-11-01T%02d-%02d-%02d.log", s.rotations/3600, s.rotations/60%60, s.rotations%60))
	}
	var f, old *os.File
	var until time.Time
	lead := func() {
		f = openAppend(target())
		must(os.Symlink(target(), s.path+".new"))
		must(os.Rename(s.path+".new", s.path))
	}
	lead()
	s.rotations++
	s.loop(func() {
		to := f
		if time.Now().Before(until) && s.rng.IntN(3) == 0 {
			to = old
		}
		s.write(to, s.lines(s.due()))
	}, func() {
		old, until = f, time.Now().Add(time.Duration(s.rng.IntN(2000))*time.Millisecond)
		lead()
	})
}

// readWriter takes what the writer process prints.
func readWriter(r io.Reader, rotated func()) (map[string]written, error) {
	out := map[string]written{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte("rotated ")) {
			rotated()
			continue
		}
		var m map[string]written
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("the writer says %.300q: %w", lines.Text(), err)
		}
		maps.Copy(out, m)
	}
	return out, lines.Err()
}
