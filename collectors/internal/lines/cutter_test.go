package lines

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dribble gives at most n bytes a call, strictly in order.
type dribble struct {
	t    *testing.T
	data []byte
	n    int
	next int64
}

func (d *dribble) ReadAt(p []byte, off int64) (int, error) {
	if off != d.next {
		d.t.Errorf("read at %d, want %d", off, d.next)
	}
	if off >= int64(len(d.data)) {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), d.n)], d.data[off:])
	d.next += int64(n)
	return n, nil
}

// line is one line as its receiver sees it.
type line struct {
	Off, Num int64
	Text     string
}

// split is the naive reader that the cutter must agree with.
func split(data []byte, maxLine int) (out []line, tooLong int64) {
	var off, num int64
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		text := end - 1
		if end == 0 {
			end, text = len(data), len(data)
		}
		num++
		if text > maxLine {
			tooLong++
		} else {
			out = append(out, line{off, num, string(data[:end])})
		}
		off += int64(end)
		data = data[end:]
	}
	return out, tooLong
}

// drain collects all lines that c hands out.
func drain(t *testing.T, c *Cutter) (out []line) {
	t.Helper()
	take := func(b *Buffer) {
		off, num := b.Block.Offset, b.Block.Line
		for l := range bytes.SplitAfterSeq(b.Block.Data, []byte("\n")) {
			if len(l) == 0 {
				continue
			}
			out = append(out, line{off, num, string(l)})
			off += int64(len(l))
			num++
		}
		b.Block.Release()
		b.Block.Release() // a second release is harmless
	}
	for {
		b, err := c.Next()
		switch {
		case errors.Is(err, io.EOF):
			if b := c.Last(); b != nil {
				take(b)
			}
			return out
		case err != nil:
			t.Fatal(err)
		case b != nil:
			take(b)
		}
	}
}

func TestCutter(t *testing.T) {
	tests := map[string]string{
		"empty":          "",
		"one":            "a\n",
		"no line feed":   "abc",
		"empty lines":    "\n\n\nx\n\n",
		"unfinished":     "a\nbc",
		"crlf, nul, bad": "a\r\n\x00\x00\n\xff\xfe\n",
		"at the limit":   strings.Repeat("x", 32) + "\n" + strings.Repeat("y", 32),
		"over the limit": "a\n" + strings.Repeat("x", 33) + "\nb\nc\n" + strings.Repeat("y", 500) + "\n" + strings.Repeat("z", 33),
		"long between":   strings.Repeat("ab\n", 40) + strings.Repeat("x", 100) + "\n" + strings.Repeat("cd\n", 40),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			for _, block := range []int{1, 7, 16, 64, 4096} {
				for _, n := range []int{1, 5, 1 << 20} {
					check(t, []byte(data), block, n, 32)
				}
			}
		})
	}
}

func check(t *testing.T, data []byte, block, n, maxLine int) {
	t.Helper()
	want, tooLong := split(data, maxLine)
	c := NewCutter(&dribble{t: t, data: data, n: n}, NewPool(block), maxLine, 0, 0)
	if diff := cmp.Diff(want, drain(t, c)); diff != "" {
		t.Errorf("block %d, read %d (-want +got):\n%s", block, n, diff)
	}
	if c.TooLong != tooLong || c.Offset() != int64(len(data)) {
		t.Errorf("too long %d, offset %d; want %d, %d", c.TooLong, c.Offset(), tooLong, len(data))
	}
}

func FuzzCutter(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), uint8(4), uint8(3), uint8(2))
	f.Add([]byte(strings.Repeat("abc\n", 30)+strings.Repeat("x", 90)+"\n"), uint8(16), uint8(200), uint8(20))
	f.Fuzz(func(t *testing.T, data []byte, block, n, maxLine uint8) {
		check(t, data, int(block)+1, int(n)+1, int(maxLine)+1)
	})
}

// TestLongLineMemory reads a line of 64 MiB: no buffer may come near it.
func TestLongLineMemory(t *testing.T) {
	data := append(append([]byte("a\n"), bytes.Repeat([]byte("x"), 64<<20)...), "\nb\n"...)
	src := bytes.NewReader(data)
	c := NewCutter(src, NewPool(256<<10), 1<<20, 0, 0)
	want := []line{{0, 1, "a\n"}, {int64(len(data)) - 2, 3, "b\n"}}
	if diff := cmp.Diff(want, drain(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.TooLong != 1 || cap(c.carry) > 4<<20 {
		t.Errorf("too long %d, carry %d", c.TooLong, cap(c.carry))
	}
}

func BenchmarkCutter(b *testing.B) {
	data := bytes.Repeat([]byte(strings.Repeat("x", 199)+"\n"), 1<<16)
	pool := NewPool(256 << 10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		c := NewCutter(bytes.NewReader(data), pool, 1<<20, 0, 0)
		for {
			blk, err := c.Next()
			if err != nil {
				break
			}
			if blk != nil {
				blk.Block.Release()
			}
		}
	}
}
