package pipeline

import (
	"bytes"

	"gatewatch/collectors"
	"gatewatch/storage"
)

// takeBack lets go of what l's source emitted and the merge has not let pass,
// and tells the source the position that is left once that is durable. It is how a
// partition leaves for another instance: what that one reads from the position
// on was judged by nobody.
func (m *merger) takeBack(l *lane, tell func(collectors.Position)) {
	m.rewind(l)
	l.gap.carry = false
	for _, w := range l.works {
		if w.passed == 0 {
			m.p.release(l, w)
			continue
		}
		// Some of its records are on their way to the owners; an empty run behind
		// them gives the block back.
		n := len(w.batch.Records)
		m.round.runs = append(m.round.runs, l.roundRun(run{work: w, from: n, to: n, window: m.merged, clock: l.posClock}))
	}
	l.works = nil
	if m.p.o.DB == nil || !m.ready {
		tell(l.position) // nothing is kept, or nothing has passed since the start
		return
	}
	l.parked = append(l.parked, tell)
	m.cuts.wanted = true
}

// lateNotes saves what sources noted of the last checkpoint itself: whom they
// told of it, and who acknowledged it. Nothing else runs any more. Should it fail, the
// notes are those of the checkpoint, which is right too.
func (p *Pipeline) lateNotes() {
	if p.o.DB == nil || !p.o.Live {
		return
	}
	var ops []storage.Op
	for _, l := range p.merge.lanes {
		if l.tells == nil || l.dirty {
			continue
		}
		if note := l.tells.Note(); !bytes.Equal(note, l.note) {
			l.note = note
			ops = append(ops, storage.Op{Bucket: storage.Positions, Key: []byte(l.name), Value: encodePosition(l)})
		}
	}
	if len(ops) == 0 {
		return
	}
	if err := p.o.DB.Commit(ops); err != nil {
		p.o.Logger.Warn("what sources noted last was not saved", "err", err)
	}
}

// told is what a commit makes true for sources.
type told struct {
	durable []durablePosition
	parked  []parkedSource
}

type durablePosition struct {
	source   collectors.Committer
	position collectors.Position
}

type parkedSource struct {
	tell     func(collectors.Position)
	position collectors.Position
}

// tell is called by the writer after the commit.
func (t *told) tell() {
	for _, d := range t.durable {
		d.source.Durable(d.position)
	}
	for _, s := range t.parked {
		s.tell(s.position)
	}
}
