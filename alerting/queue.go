package alerting

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// queue holds what waits for one receiver: at most one message an incident,
// and a newer one behind it while that may not be taken back. The outbox's
// mutex guards it.
type queue struct {
	name       string
	target     Target
	folds      bool                // see Traits
	keeps      bool                // see Traits
	byIncident map[string]*message // ready, flying or parked; a digest under each of its members
	behind     map[string]*message // newer than what is there, and waits for it to end
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
	return &queue{name: name, byIncident: map[string]*message{}, behind: map[string]*message{}, wake: make(chan struct{}, 1)}
}

// poke wakes the queue's dispatcher.
func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) push(m *message) {
	q.own(m)
	heap.Push(&q.ready, m)
}

// own enters a message under its incidents.
func (q *queue) own(m *message) {
	for _, x := range m.incidents() {
		q.byIncident[x.Incident] = m
	}
	q.bytes += len(m.payload)
}

// disown is the opposite. What waits behind the message becomes ready.
func (q *queue) disown(m *message) {
	q.bytes -= len(m.payload)
	for _, x := range m.incidents() {
		if q.byIncident[x.Incident] == m {
			delete(q.byIncident, x.Incident)
		}
		if n := q.behind[x.Incident]; n != nil {
			delete(q.behind, x.Incident)
			q.bytes -= len(n.payload)
			q.push(n)
		}
	}
}

// put makes m wait behind what there is of its incident, and returns the
// message whose place it takes there, if any.
func (q *queue) put(m *message) (old *message) {
	old = q.behind[m.Incident]
	if old != nil {
		q.bytes -= len(old.payload)
	}
	q.behind[m.Incident] = m
	q.bytes += len(m.payload)
	return old
}

// remove takes out a message that is ready or parked.
func (q *queue) remove(m *message) {
	if m.index >= 0 {
		heap.Remove(&q.ready, m.index)
	}
	if m.Parked {
		q.parked = slices.DeleteFunc(q.parked, func(p *message) bool { return p == m })
	}
	q.disown(m)
}

// superseded reports whether a newer revision waits behind a message that
// tells of one incident.
func (q *queue) superseded(m *message) bool { return !m.digest() && q.behind[m.Incident] != nil }

// waiting is how many incidents are to be told.
func (q *queue) waiting() int {
	n := len(q.byIncident)
	for _, m := range q.parked {
		n -= len(m.incidents())
	}
	return n
}

// unpark makes what was refused ready again.
func (q *queue) unpark() {
	for _, m := range q.parked {
		m.Parked, m.notBefore = false, time.Time{}
		heap.Push(&q.ready, m)
	}
	q.parked = nil
}

// unparkDue makes what was refused long enough ago ready again, and returns
// when to look next; the zero time where nothing is parked.
func (q *queue) unparkDue(now time.Time) (next time.Time) {
	q.parked = slices.DeleteFunc(q.parked, func(m *message) bool {
		if m.notBefore.After(now) {
			if next.IsZero() || m.notBefore.Before(next) {
				next = m.notBefore
			}
			return false
		}
		m.Parked = false
		heap.Push(&q.ready, m)
		return true
	})
	return next
}

// all returns every message of the queue, oldest first.
func (q *queue) all() []*message {
	var out []*message
	for id, m := range q.byIncident {
		if !m.digest() || m.Members[0].Incident == id {
			out = append(out, m)
		}
	}
	for _, m := range q.behind {
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y *message) int { return cmp.Compare(x.Seq, y.Seq) })
	return out
}

// pick takes the next message to send. If there is none now, it returns how
// long to wait at most; 0 means until woken.
func (q *queue) pick(now time.Time, burst int) (m *message, wait time.Duration) {
	limit := q.target.Concurrency
	if q.failures > 0 {
		limit = 1 // ask a troubled receiver with one message at a time
	}
	next := q.unparkDue(now)
	if q.flying >= limit {
		return nil, 0
	}
	if len(q.ready) == 0 {
		if next.IsZero() {
			return nil, 0
		}
		return nil, next.Sub(now)
	}
	at := q.ready[0].notBefore
	if q.paused.After(at) {
		at = q.paused
	}
	if at.After(now) {
		return nil, at.Sub(now)
	}
	m = heap.Pop(&q.ready).(*message)
	if parts := q.foldable(m, now, burst); len(parts) > 0 {
		m = q.fold(append(parts, m))
	}
	m.flying = true
	q.flying++
	return m, 0
}
