package file

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors"
)

// torture drives one log and one reader at random.
type torture struct {
	t    *testing.T
	rng  *rand.Rand
	path string
	w    *writer
	n    int      // lines begun
	open string   // the unfinished line in the current file
	want []string // all finished lines, and unfinished ones of files that ended

	l     *live
	s     collectors.Source
	kept  []record // what runs before this one have taken and made durable
	saved collectors.Position
	slow  bool // the machine was too slow for the lingering to hold
}

const tortureLinger = 400 * time.Millisecond

func (o *torture) line() string {
	o.n++
	return fmt.Sprintf("line %07d %s", o.n, strings.Repeat("x", o.rng.IntN(200)))
}

// write appends lines, in one write or in several, perhaps half a line at last.
func (o *torture) write() {
	var b strings.Builder
	for range o.rng.IntN(40) {
		text := o.line()
		if o.open != "" {
			text = " end" // the rest of the unfinished line
		}
		o.want = append(o.want, o.open+text+"\n")
		o.open = ""
		b.WriteString(text + "\n")
		if o.rng.IntN(8) == 0 {
			o.w.write(b.String())
			b.Reset()
		}
	}
	if o.open == "" && o.rng.IntN(3) == 0 {
		o.open = o.line()
		b.WriteString(o.open)
	}
	o.w.write(b.String())
}

// rotate renames and creates; the writer may use the old file for a while.
func (o *torture) rotate() {
	shift(o.t, o.path)
	begin := time.Now()
	for range o.rng.IntN(3) {
		o.write()
	}
	if o.open != "" {
		o.want = append(o.want, o.open)
		o.open = ""
	}
	o.w.reopen()
	if time.Since(begin) > tortureLinger/4 {
		o.slow = true
	}
	o.write()
}

// stop ends the run and forgets what it has taken since a random record.
func (o *torture) stop() collectors.Position {
	o.l.stop()
	got := o.l.taken.records
	if len(got) == 0 {
		return o.position()
	}
	n := o.rng.IntN(len(got) + 1)
	var p collectors.Position
	switch {
	case n == len(got) || n > 0 && o.rng.IntN(2) == 0:
		p = o.l.at(n - 1)
		p.Offset += int64(len(got[n-1].Text))
		p.Line++
	default:
		p = o.l.at(n)
	}
	o.kept = append(o.kept, got[:n]...)
	o.saved = p
	return p
}

func (o *torture) position() collectors.Position { return o.saved }

func (o *torture) restart(p collectors.Position) {
	// A new source: another process knows nothing of the last one.
	o.s = one(o.t, Options{Paths: []string{o.path}, Begin: Start, Poll: time.Millisecond, Linger: tortureLinger, BlockBytes: 2048, Notify: o.rng.IntN(2) == 0})
	o.l = start(o.t, o.s, p)
}

func (o *torture) check() {
	deadline := time.Now().Add(patience / 2)
	o.l.until("all lines", func(k *taken, _ collectors.Item) bool {
		return len(o.kept)+len(k.records) >= len(o.want) || time.Now().After(deadline)
	})
	o.l.stop()
	all := append(o.kept, o.l.taken.records...)
	var got []string
	for _, r := range all {
		got = append(got, r.Text)
	}
	for i := range min(len(got), len(o.want)) {
		if got[i] != o.want[i] && !o.slow {
			o.t.Fatalf("record %d of %d, %d taken by earlier runs: (-want +got):\n%s", i, len(got), len(o.kept),
				cmp.Diff(o.want[i:min(i+3, len(o.want))], got[i:min(i+3, len(got))]))
		}
	}
	if len(got) != len(o.want) && !o.slow {
		o.t.Fatalf("%d records, want %d", len(got), len(o.want))
	}
	k := taken{records: all}
	k.continuous(o.t)
	if len(o.l.taken.skipped) > 0 && !o.slow {
		o.t.Errorf("skipped %v", o.l.taken.skipped)
	}
	checkFetch(o.t, o.s, &o.l.taken)
	if o.slow {
		o.t.Log("too slow a machine for late writers: this seed says nothing")
	}
}

// TestTorture writes, rotates, compresses and restarts at random: each line
// arrives once, in order, with offsets and numbers that go on.
func TestTorture(t *testing.T) {
	seeds := 8
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			t.Parallel()
			o := &torture{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 1)), path: logPath(t)}
			o.w = newWriter(t, o.path)
			o.want = append(o.want, o.line()+"\n")
			o.w.write(o.want[0])
			o.restart(collectors.Position{})
			// Without any position a run cannot know of rotations before it.
			o.l.until("the first line", func(k *taken, _ collectors.Item) bool { return len(k.records) > 0 })
			o.saved = o.l.at(0)
			rotations, stops := 0, 0
			for range 60 {
				switch o.rng.IntN(6) {
				default:
					o.write()
				case 3:
					if rotations++; rotations < 12 {
						o.rotate()
					}
				case 4:
					p := o.stop()
					stops++
					for range o.rng.IntN(4) {
						if o.rng.IntN(2) == 0 {
							o.write()
						} else if rotations++; rotations < 12 {
							o.rotate()
						}
					}
					if _, err := os.Stat(o.path + ".1"); err == nil && o.rng.IntN(2) == 0 {
						pack(t, o.path+".1")
					}
					o.restart(p)
				case 5:
					if _, err := os.Stat(o.path + ".2"); err == nil {
						pack(t, o.path+".2")
					}
				}
			}
			o.check()
			if rotations == 0 || stops == 0 {
				t.Errorf("%d rotations, %d stops", rotations, stops)
			}
		})
	}
}

// TestWriterProcess lets another process write and rotate in bursts.
func TestWriterProcess(t *testing.T) {
	if path := os.Getenv("GATEWATCH_TEST_WRITER"); path != "" {
		burst(path)
		return
	}
	path := logPath(t)
	newWriter(t, path)
	l := start(t, one(t, Options{Paths: []string{path}, Begin: Start, Poll: 5 * time.Millisecond, Linger: 200 * time.Millisecond}), collectors.Position{})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterProcess$")
	cmd.Env = append(os.Environ(), "GATEWATCH_TEST_WRITER="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("writer: %v\n%s", err, out)
	}
	var want strings.Builder
	for i := range burstLines {
		fmt.Fprintf(&want, "%08d a line of the writer process\n", i)
	}
	l.wants(want.String())
	if len(l.taken.skipped) > 0 {
		t.Errorf("skipped %v", l.taken.skipped)
	}
}

const (
	burstLines  = 24000
	burstRotate = 400 // lines between rotations
)

// burst writes numbered lines and renames and creates the file every few
// milliseconds, sometimes with late lines into the old one.
func burst(path string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	for i := range burstLines {
		if i > 0 && i%burstRotate == 0 {
			for j := 80; j >= 0; j-- {
				from := path
				if j > 0 {
					from = fmt.Sprintf("%s.%d", path, j)
				}
				_ = os.Rename(from, fmt.Sprintf("%s.%d", path, j+1))
			}
		}
		if i%burstRotate == 20 { // late: these twenty are still in the old file
			_, _ = f.Write(b.Bytes())
			b.Reset()
			_ = f.Close()
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
				panic(err)
			}
		}
		fmt.Fprintf(&b, "%08d a line of the writer process\n", i)
		if i%7 == 0 {
			_, _ = f.Write(b.Bytes())
			b.Reset()
		}
	}
	_, _ = f.Write(b.Bytes())
	_ = f.Close()
}

// BenchmarkCatchUp reads an unread live file.
func BenchmarkCatchUp(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.log")
	var text bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintf(&text, "%08d %s\n", i, strings.Repeat("x", 190))
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	benchLive(b, path, int64(text.Len()))
}

// BenchmarkEdge reads small files, all of which is live edge: through tail.
func BenchmarkEdge(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.log")
	text := strings.Repeat(strings.Repeat("x", 199)+"\n", 300)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	benchLive(b, path, int64(len(text)))
}

func benchLive(b *testing.B, path string, size int64) {
	c, err := New(Options{Paths: []string{path}, Begin: Start})
	if err != nil {
		b.Fatal(err)
	}
	var s collectors.Source
	if err := c.Watch(b.Context(), func(f collectors.Source) { s = f }, func() {}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		left := size
		_ = s.Run(b.Context(), collectors.Position{}, func(it collectors.Item) error {
			if it.Block == nil || it.Block.Release == nil {
				return nil
			}
			left -= int64(len(it.Block.Data))
			it.Block.Release()
			if left == 0 {
				return io.EOF // any error ends the run
			}
			return nil
		})
	}
}
