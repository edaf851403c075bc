package pipeline

import (
	"gatewatch/collectors"
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
