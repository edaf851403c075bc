package pipeline

import (
	"bytes"
	"context"
	"time"

	"gatewatch/collectors"
)

const (
	// maxRejects and maxRejectBytes bound what waits for the next checkpoint to
	// be put aside, for one input.
	maxRejects     = 10_000
	maxRejectBytes = 8 << 20
	// putAsideWithin bounds how long a checkpoint waits for that.
	putAsideWithin = 3 * time.Second
)

// rejected is what could not be read since the last cut, by input.
type rejected map[int]*rejectList

type rejectList struct {
	list  []collectors.Reject
	bytes int
	lost  int64 // for which there was no room
}

func (l *rejectList) add(r collectors.Reject) {
	if len(l.list) >= maxRejects || l.bytes+len(r.Value) > maxRejectBytes {
		l.lost++
		return
	}
	l.list = append(l.list, r)
	l.bytes += len(r.Value)
}

// reject takes over what the item brings for the dead letters.
func (m *merger) reject(l *lane, w *work) {
	if len(w.tally.rejects.list)+len(w.item.Rejects) == 0 && w.tally.rejects.lost == 0 || !l.rejects {
		return
	}
	if m.rejects == nil {
		m.rejects = rejected{}
	}
	all := m.rejects[l.input]
	if all == nil {
		all = &rejectList{}
		m.rejects[l.input] = all
	}
	for _, list := range [][]collectors.Reject{w.item.Rejects, w.tally.rejects.list} {
		for _, r := range list {
			r.Source = l.name
			all.add(r)
		}
	}
	all.lost += w.tally.rejects.lost
}

// wantsRejects reports whether an input puts aside what could not be read.
// That is done before a checkpoint, so without one it is not done.
func (p *Pipeline) wantsRejects(input int) bool {
	if p.o.DB == nil {
		return false
	}
	d, ok := p.o.Inputs[input].Collector.(collectors.DeadLetterer)
	return ok && d.DeadLetters()
}

// putAside is called by the writer before the commit that passes the rejects.
func (p *Pipeline) putAside(ctx context.Context, all rejected) {
	for input, l := range all {
		d, ok := p.o.Inputs[input].Collector.(collectors.DeadLetterer)
		if !ok {
			continue
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), putAsideWithin)
		lost := int64(d.PutAside(within, l.list))
		cancel()
		p.letters.Add(int64(len(l.list)) - lost)
		p.lostLetters.Add(lost + l.lost)
	}
}

// keepReject is the tally's side: one line that could not be read.
func (t *tally) keepReject(w *work, offset int64, m *collectors.Message, reason string, line []byte) {
	if !w.lane.rejects || reason == "" {
		return
	}
	if len(t.rejects.list) >= maxRejects || t.rejects.bytes+len(line) > maxRejectBytes {
		t.rejects.lost++
		return
	}
	t.rejects.add(collectors.Reject{
		Offset: offset, Reason: reason, Time: m.Time, Key: bytes.Clone(m.Key), Value: bytes.Clone(line),
	})
}
