package wire

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Pool hands out buffers by size and takes them back. It is safe for
// concurrent use; its zero value is ready.
type Pool struct {
	free [poolClasses]sync.Pool
}

const (
	leastClass  = 12 // 4 KiB
	poolClasses = 14 // up to 32 MiB; longer ones are not kept
)

// Buffer is memory out of a pool, in the hands of as many as have it.
type Buffer struct {
	B    []byte // the whole of it
	pool *Pool
	held atomic.Int32
}

// Get returns a buffer of at least n bytes, held once.
func (p *Pool) Get(n int) *Buffer {
	class := max(bits.Len(uint(max(n, 1)-1))-leastClass, 0)
	if class >= poolClasses {
		b := &Buffer{B: make([]byte, n)}
		b.held.Store(1)
		return b
	}
	b, _ := p.free[class].Get().(*Buffer)
	if b == nil {
		b = &Buffer{B: make([]byte, 1<<(class+leastClass)), pool: p}
	}
	b.held.Store(1)
	return b
}

// Hold says that one more has it and will call Free.
func (b *Buffer) Hold() { b.held.Add(1) }

// Free gives the buffer back to its pool when nobody holds it any more.
func (b *Buffer) Free() {
	if b.held.Add(-1) != 0 || b.pool == nil {
		return
	}
	b.pool.free[bits.Len(uint(len(b.B)-1))-leastClass].Put(b)
}
