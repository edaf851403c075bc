package pipeline

// runQueue holds the runs of a lane that wait for the merge, oldest first. A
// sparse log has a run for every record, so taking one must not move the others.
type runQueue struct {
	buf  []run
	head int
}

func (q *runQueue) len() int { return len(q.buf) - q.head }

// front returns the oldest run; there must be one.
func (q *runQueue) front() *run { return &q.buf[q.head] }

// back returns the newest run, nil when there is none.
func (q *runQueue) back() *run {
	if q.len() == 0 {
		return nil
	}
	return &q.buf[len(q.buf)-1]
}

func (q *runQueue) push(r run) { q.buf = append(q.buf, r) }

// pop removes the oldest run and returns it.
func (q *runQueue) pop() run {
	r := q.buf[q.head]
	q.buf[q.head] = run{}
	q.head++
	switch n := q.len(); {
	case n == 0:
		q.buf, q.head = q.buf[:0], 0
	case q.head >= n: // at least half of it is used up: moving costs no more than what was taken
		copy(q.buf, q.buf[q.head:])
		clear(q.buf[n:])
		q.buf, q.head = q.buf[:n], 0
	}
	return r
}

func (q *runQueue) clear() {
	clear(q.buf)
	q.buf, q.head = q.buf[:0], 0
}
