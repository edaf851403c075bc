package lines

import (
	"bytes"
	"io"
)

// keepCarry is the largest carry memory that is kept once it is empty.
const keepCarry = 64 << 10

// Cutter reads a stream forward and cuts it into blocks of whole lines. Lines
// longer than the limit are passed over and counted; memory stays bounded by
// one block, or by one line where a line is longer than a block. It is not
// safe for concurrent use.
type Cutter struct {
	// TooLong counts the lines that were passed over. The owner may reset it.
	TooLong int64

	src      io.ReaderAt // only ever asked for the byte after the last one it gave
	pool     *Pool
	maxLine  int
	off      int64  // of the first byte not yet handed out
	line     int64  // lines before off
	carry    []byte // bytes from off on that were read already, less than a line
	more     bool   // carry may hold whole lines: cut it before reading on
	skipping bool   // off is inside a line that is too long
}

// NewCutter returns a cutter that begins at offset off of src, with line lines
// before it. maxLine is the longest line without its line feed, in bytes.
func NewCutter(src io.ReaderAt, pool *Pool, maxLine int, off, line int64) *Cutter {
	return &Cutter{src: src, pool: pool, maxLine: maxLine, off: off, line: line}
}

// Offset returns the offset of the first byte that was not handed out.
func (c *Cutter) Offset() int64 { return c.off }

// Line returns the number of lines before Offset.
func (c *Cutter) Line() int64 { return c.line }

// Read returns the offset of the first byte that was not read.
func (c *Cutter) Read() int64 { return c.off + int64(len(c.carry)) }

// Pending returns how many bytes of an unfinished line were read.
func (c *Cutter) Pending() int { return len(c.carry) }

// Skipping reports whether Offset is inside a line that is too long.
func (c *Cutter) Skipping() bool { return c.skipping }

// SkipRest says that the offset where c begins is inside a line that is too
// long: what is left of it is passed over, and the line counted.
func (c *Cutter) SkipRest() { c.skipping = true }

// Next returns the next block of whole lines with Offset and Line set; Line is
// the 1-based number of its first line. It returns nil and nil where it read
// on without completing a line (call it again), and nil and io.EOF where no
// whole line is there now; it may be called again when there is more.
func (c *Cutter) Next() (*Buffer, error) {
	have := len(c.carry)
	size := max(c.pool.size, have)
	if have >= c.pool.size && !c.more {
		size = min(2*have, max(c.maxLine+1, have+1))
	}
	b := c.pool.get(size)
	copy(b.mem, c.carry)
	data := b.mem[:have]
	if !c.more {
		n, err := c.src.ReadAt(b.mem[have:size], c.off+int64(have))
		if n == 0 {
			b.Free()
			if err == nil {
				err = io.ErrNoProgress
			}
			return nil, err
		}
		data = b.mem[:have+n]
	}
	c.more = false
	if c.skipping {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			c.off += int64(len(data))
			c.keep(nil)
			b.Free()
			return nil, nil
		}
		c.endSkip(end + 1)
		// What follows the long line may be whole lines: move them to the front.
		data = b.mem[:copy(b.mem, data[end+1:])]
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	if over := c.overlong(data); over == 0 {
		c.passOver(data)
		b.Free()
		return nil, nil
	} else if over > 0 {
		end, c.more = over, true
	}
	c.keep(data[end:])
	if end == 0 {
		b.Free()
		return nil, nil
	}
	return c.out(b, data[:end]), nil
}

// overlong returns where the first line over the limit begins in data, or -1.
// An unfinished line counts once it is over the limit already.
func (c *Cutter) overlong(data []byte) int {
	for at := 0; len(data)-at > c.maxLine; {
		// The farthest line feed within reach: cheaper than looking at each line.
		step := bytes.LastIndexByte(data[at:at+c.maxLine+1], '\n')
		if step < 0 {
			return at
		}
		at += step + 1
	}
	return -1
}

// passOver drops the line over the limit at the start of data.
func (c *Cutter) passOver(data []byte) {
	first := bytes.IndexByte(data, '\n') + 1
	if first == 0 {
		c.skipping = true
		c.off += int64(len(data))
		c.keep(nil)
		return
	}
	c.endSkip(first)
	c.keep(data[first:])
	c.more = true
}

// endSkip ends a line over the limit whose last n bytes are at off.
func (c *Cutter) endSkip(n int) {
	c.skipping = false
	c.off += int64(n)
	c.line++
	c.TooLong++
	c.carry = c.carry[:0]
}

// keep remembers what was read beyond the last whole line.
func (c *Cutter) keep(rest []byte) {
	if len(rest) == 0 && cap(c.carry) > keepCarry {
		c.carry = nil
		return
	}
	c.carry = append(c.carry[:0], rest...)
}

// out fills in the block for data, which lies in b and begins at off.
func (c *Cutter) out(b *Buffer, data []byte) *Buffer {
	b.Block.Data = data
	b.Block.Offset = c.off
	b.Block.Line = c.line + 1
	b.Block.Release = b.release
	c.off += int64(len(data))
	c.line += int64(bytes.Count(data, []byte{'\n'}))
	return b
}

// Last returns the unfinished line at the end of the stream as a block, or nil
// if there is none. Only for a stream that will not grow any more.
func (c *Cutter) Last() *Buffer {
	if c.skipping {
		c.endSkip(0)
		return nil
	}
	if len(c.carry) == 0 {
		return nil
	}
	b := c.pool.get(len(c.carry))
	n := copy(b.mem, c.carry)
	c.carry = c.carry[:0]
	c.out(b, b.mem[:n])
	c.line++
	return b
}
