// Package lines cuts a stream of bytes into blocks of whole lines. The file
// and stdin collectors share it, so that line limits, line numbers and buffer
// reuse are the same for both.
package lines

import (
	"sync"
	"sync/atomic"

	"gatewatch/collectors"
)

// Pool hands out block buffers and takes them back when a block is released.
// It is safe for concurrent use.
type Pool struct {
	size int
	free sync.Pool
}

// NewPool returns a pool of buffers of size bytes each.
func NewPool(size int) *Pool {
	return &Pool{size: size}
}

// Buffer is one block with the memory behind it. It belongs to whoever got it
// until Block.Release is called.
type Buffer struct {
	Block collectors.Block

	mem     []byte
	pool    *Pool
	release func() // made once, so that handing out a block allocates nothing
	out     atomic.Bool
}

// get returns a buffer with at least size bytes of memory.
func (p *Pool) get(size int) *Buffer {
	if size > p.size {
		// For a line longer than a block. Such buffers are not kept: one long
		// line must not raise the memory of all blocks after it.
		b := &Buffer{mem: make([]byte, size), pool: p}
		b.release = func() { b.out.Store(false) }
		b.out.Store(true)
		return b
	}
	b, _ := p.free.Get().(*Buffer)
	if b == nil {
		b = &Buffer{mem: make([]byte, p.size), pool: p}
		b.release = b.Free
	}
	b.out.Store(true)
	return b
}

// Free gives the buffer back to its pool, once.
func (b *Buffer) Free() {
	if !b.out.CompareAndSwap(true, false) || len(b.mem) != b.pool.size {
		return
	}
	b.pool.free.Put(b)
}
