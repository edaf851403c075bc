package pipeline

import (
	"sync"
	"sync/atomic"
	"time"

	"gatewatch/collectors"
)

// lane is one source on its way through the merge. The merge goroutine owns
// it but for the inbox.
type lane struct {
	source  collectors.Source
	name    string
	order   string               // what ranks are given by: the name, but for queues
	queue   collectors.Queue     // the source where it is one, else nil
	tells   collectors.Committer // the source where it is one, else nil
	input   int                  // index into Options.Inputs
	id      uint32               // number of the source in references, stable over restarts
	rejects bool                 // what cannot be read is put aside
	rank    int32                // order of the name among lanes

	inbox inbox

	clock    clock
	works    []*work  // decoded or being decoded, not all judged yet
	runs     runQueue // have their window times, wait for the merge
	state    collectors.State
	since    time.Time // of Idle and Failing: when it began
	look     time.Time // of Idle: the last look that found nothing
	err      error
	ended    bool // Run returned
	position collectors.Position
	posClock int64 // clock at position
	posSet   bool
	dirty    bool   // position moved since the last cut
	note     []byte // kept beside the position, as last saved
	gap      gapState
	parked   []func(collectors.Position) // waits for the next cut, see takeBack
	status   laneStatus
}

// run is a stretch of records of one block with the same window time: what
// the merge passes at once. A cut falls between runs only.
type run struct {
	work     *work
	from, to int
	window   int64 // seconds
	clock    int64 // the source's clock after the run
}

// laneStatus is what Status reads while the lane moves.
type laneStatus struct {
	state   atomic.Uint32
	turn    atomic.Uint32 // how often offsets began anew
	offset  atomic.Int64
	line    atomic.Int64
	clock   atomic.Int64
	lastErr atomic.Pointer[string]
	lines   atomic.Int64
	events  atomic.Int64
	late    atomic.Int64
	behind  atomic.Int64
	mu      sync.Mutex
	unread  map[string]int64
	skipped map[string]int64
	formats map[string]int64
}

// inbox takes items from the source's goroutine. It is bounded by credits:
// a source that is far ahead of the merge blocks in emit.
type inbox struct {
	mu      sync.Mutex
	items   []*work
	credits chan struct{}
}

// laneDepth is how many blocks of one source may be on their way. Two are
// needed so that a held record can have its word from the next block.
const laneDepth = 4

func newLane(src collectors.Source, input int, lateness time.Duration) *lane {
	l := &lane{source: src, name: src.Name(), order: src.Name(), input: input}
	l.queue, _ = src.(collectors.Queue)
	l.tells, _ = src.(collectors.Committer)
	if l.queue != nil {
		l.order = l.queue.Rank()
	}
	l.clock.lateness = seconds(lateness)
	l.inbox.credits = make(chan struct{}, laneDepth)
	l.status.unread = map[string]int64{}
	l.status.skipped = map[string]int64{}
	l.status.formats = map[string]int64{}
	return l
}

func (b *inbox) push(w *work) {
	b.mu.Lock()
	b.items = append(b.items, w)
	b.mu.Unlock()
}

// pushState takes a change of state. One that nobody has looked at yet is
// replaced by the next, so a source may repeat itself as often as it likes.
func (b *inbox) pushState(w *work) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.items); n > 0 && b.items[n-1].plain() && w.plain() {
		if last := b.items[n-1]; !last.ended && last.item.State == w.item.State {
			b.items[n-1] = w
			return
		}
	}
	b.items = append(b.items, w)
}

// plain reports whether an item is a change of state and nothing else.
func (w *work) plain() bool {
	return w.item.Block == nil && w.item.Skipped == nil && w.item.Rejects == nil && w.item.Park == nil
}

// head returns the oldest item without taking it, nil when there is none.
func (b *inbox) head() *work {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		return nil
	}
	return b.items[0]
}

func (b *inbox) drop() {
	b.mu.Lock()
	copy(b.items, b.items[1:])
	b.items[len(b.items)-1] = nil
	b.items = b.items[:len(b.items)-1]
	b.mu.Unlock()
}

// gone reports whether the lane will bring nothing more that the merge should
// wait for, given what was taken from its inbox.
func (l *lane) gone() bool { return l.ended || l.state == collectors.Gone }

// emit gives a record that has its window time to the merge.
func (l *lane) emit(w *work, index int) {
	r := &w.batch.Records[index]
	if last := l.runs.back(); last != nil && last.work == w && last.to == index && last.window == r.Window {
		last.to++
		return
	}
	l.runs.push(run{work: w, from: index, to: index + 1, window: r.Window, clock: l.clock.now})
}
