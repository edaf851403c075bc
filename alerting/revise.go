package alerting

import (
	"slices"
	"time"

	"gatewatch/detectors/observation"
)

// Cause says why a revision was made.
type Cause string

// The causes of revisions.
const (
	CauseOpened   Cause = "opened"
	CauseLevel    Cause = "level"
	CauseParent   Cause = "parent"
	CauseResolved Cause = "resolved"
	CauseReopened Cause = "reopened"
	CauseGrew     Cause = "grew"
	CauseRepeat   Cause = "repeat"
)

// Revision is a state of an incident that receivers are to be told.
type Revision struct {
	Incident *Incident
	Number   int64 // from 1, by incident
	Cause    Cause
	At       time.Time // wall clock
}

// told is what receivers were last told of an incident.
type told struct {
	revision   int64
	level      observation.Level
	parent     string
	resolved   bool
	count, end int64
	children   int64
	at         time.Time
}

// Revise makes the revisions that are due at the wall time now, oldest
// incident first. The pipeline calls it at each cut, after the evidence texts
// are set and before Changes, so that what was told is part of the same commit
// as the outbox entries. It is not called in a replay.
func (b *Book) Revise(now time.Time) []Revision {
	// Growth that had to wait, and repeats, come due without a change.
	for _, inc := range b.growing {
		b.reconsider(inc)
	}
	if now.Sub(b.scanned) >= time.Minute || now.Before(b.scanned) {
		b.scanned = now
		for _, inc := range b.live {
			b.reconsider(inc)
		}
	}
	slices.SortFunc(b.pending, bySeq)
	var out []Revision
	for _, inc := range b.pending {
		inc.pending = false
		if inc.forgotten {
			continue
		}
		if r, ok := b.revise(inc, now); ok {
			out = append(out, r)
		}
	}
	b.pending = b.pending[:0]
	return out
}

func (b *Book) reconsider(inc *incident) {
	if !inc.pending && !inc.forgotten {
		inc.pending = true
		b.pending = append(b.pending, inc)
	}
}

func (b *Book) revise(inc *incident, now time.Time) (Revision, bool) {
	if inc.told.at.After(now) {
		inc.told.at = now // the wall clock was set back
	}
	cause, ok := b.cause(inc, now)
	if !ok {
		return Revision{}, false
	}
	delete(b.growing, inc.id)
	t := &inc.told
	t.revision++
	t.level, t.parent, t.resolved = inc.level(), inc.parent, inc.state() == StateResolved
	t.count, t.end, t.children, t.at = inc.count(), inc.end, inc.childTotal, now
	inc.shown = nil
	if !inc.dirty {
		inc.dirty = true
		b.dirty = append(b.dirty, inc)
	}
	return Revision{Incident: b.snapshot(inc), Number: t.revision, Cause: cause, At: now}, true
}

// cause is why the incident is to be told now, if it is.
func (b *Book) cause(inc *incident, now time.Time) (Cause, bool) {
	t := &inc.told
	resolved := inc.state() == StateResolved
	if t.revision == 0 {
		if b.hidden(inc) {
			return "", false
		}
		return CauseOpened, true
	}
	switch {
	case resolved && !t.resolved:
		return CauseResolved, true
	case !resolved && t.resolved:
		return CauseReopened, true
	case inc.parent != t.parent:
		return CauseParent, true
	case inc.level() != t.level && !b.hidden(inc):
		return CauseLevel, true
	}
	if resolved || b.hidden(inc) {
		delete(b.growing, inc.id)
		return "", false
	}
	age := now.Sub(t.at)
	if inc.count() != t.count || inc.end != t.end || inc.childTotal != t.children {
		if age >= b.o.GroupInterval {
			return CauseGrew, true
		}
		b.growing[inc.id] = inc
	}
	if age >= b.o.RepeatInterval {
		return CauseRepeat, true
	}
	return "", false
}

// hidden reports whether an incident is told through its parent alone. A
// parent is never below its children while it is open, so only a child that
// rises after its parent was resolved speaks for itself.
func (b *Book) hidden(inc *incident) bool {
	if inc.parent == "" {
		return false
	}
	p := b.byID[inc.parent]
	return p != nil && inc.level() <= p.level()
}
