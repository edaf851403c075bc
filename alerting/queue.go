package alerting

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// queue holds what waits for one receiver: at most one message an incident,
// and a newer one behind it while it is flying. The outbox's mutex guards it.
type queue struct {
	name       string
	target     Target
	byIncident map[string]*message // ready, flying or parked
	ready      messageHeap
	parked     []*message // oldest first
	bytes      int

	flying   int
	failures int       // in a row, of the receiver as a whole
	paused   time.Time // nothing is sent before
	running  bool
	gone     bool // the receiver was removed
	full     bool // a limit bit, and it was said
	wake     chan struct{}
}

func newQueue(name string) *queue {
	return &queue{name: name, byIncident: map[string]*message{}, wake: make(chan struct{}, 1)}
}

// poke wakes the queue's dispatcher.
func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) push(m *message) {
	q.byIncident[m.Incident] = m
	q.bytes += len(m.payload)
	heap.Push(&q.ready, m)
}

// remove takes out a message that is ready or parked.
func (q *queue) remove(m *message) {
	if m.index >= 0 {
		heap.Remove(&q.ready, m.index)
	}
	if m.Parked {
		q.parked = slices.DeleteFunc(q.parked, func(p *message) bool { return p == m })
	}
	delete(q.byIncident, m.Incident)
	q.bytes -= len(m.payload)
}

// land takes out a message that was flying, and lets the newer one behind it
// take its place. It returns that one.
func (q *queue) land(m *message) *message {
	delete(q.byIncident, m.Incident)
	q.bytes -= len(m.payload)
	n := m.newer
	if n != nil {
		q.bytes -= len(n.payload)
		q.push(n)
	}
	return n
}

// waiting is how many messages are to be sent.
func (q *queue) waiting() int { return len(q.byIncident) - len(q.parked) }

// unpark makes what was refused ready again.
func (q *queue) unpark() {
	for _, m := range q.parked {
		m.Parked = false
		heap.Push(&q.ready, m)
	}
	q.parked = nil
}

// all returns every message of the queue, oldest first.
func (q *queue) all() []*message {
	var out []*message
	for _, m := range q.byIncident {
		out = append(out, m)
		if m.newer != nil {
			out = append(out, m.newer)
		}
	}
	slices.SortFunc(out, func(x, y *message) int { return cmp.Compare(x.Seq, y.Seq) })
	return out
}

// pick takes the next message to send. If there is none now, it returns how
// long to wait at most; 0 means until woken.
func (q *queue) pick(now time.Time) (m *message, wait time.Duration) {
	limit := q.target.Concurrency
	if q.failures > 0 {
		limit = 1 // ask a troubled receiver with one message at a time
	}
	if q.flying >= limit || len(q.ready) == 0 {
		return nil, 0
	}
	at := q.ready[0].notBefore
	if q.paused.After(at) {
		at = q.paused
	}
	if at.After(now) {
		return nil, at.Sub(now)
	}
	m = heap.Pop(&q.ready).(*message)
	m.flying = true
	q.flying++
	return m, 0
}
