package detectors

// arena is a paged store of pointer-free values with a free list. Index 0 is
// never given out. Pages are never moved, so growing copies nothing, and the
// garbage collector has nothing to scan in them.
type arena[T any] struct {
	pages [][]T
	free  []uint32
	next  uint32
	live  int
}

const (
	pageBits = 8
	pageSize = 1 << pageBits
	pageMask = pageSize - 1
)

// alloc returns the index of a zero value.
func (a *arena[T]) alloc() uint32 {
	a.live++
	if n := len(a.free); n > 0 {
		i := a.free[n-1]
		a.free = a.free[:n-1]
		return i
	}
	if a.next == 0 {
		a.next = 1
	}
	i := a.next
	if int(i>>pageBits) == len(a.pages) {
		a.pages = append(a.pages, make([]T, pageSize))
	}
	a.next++
	return i
}

// at returns the value with index i; the pointer stays good until release(i).
func (a *arena[T]) at(i uint32) *T { return &a.pages[i>>pageBits][i&pageMask] }

// release zeroes the value and puts its index on the free list.
func (a *arena[T]) release(i uint32) {
	var zero T
	*a.at(i) = zero
	a.free = append(a.free, i)
	a.live--
}
