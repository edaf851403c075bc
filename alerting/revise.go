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

	// What people did, see Incident.Actions for who.
	CauseAcknowledged  Cause = "acknowledged"
	CauseSilenced      Cause = "silenced"
	CauseUnsilenced    Cause = "unsilenced" // no silence holds any more, and it is still open
	CauseFalsePositive Cause = "false_positive"

	// CauseDigest is of a notification about several incidents. Its payload is
	// an Incident that stands for them: see Incident.Digest.
	CauseDigest Cause = "digest"
	// CauseTest is of a notification that somebody asked for to see whether
	// it arrives. Its payload is an Incident that never was, with Test set.
	CauseTest Cause = "test"
)

// Revision is a state of an incident that receivers are to be told.
type Revision struct {
	Incident *Incident
	Number   int64 // from 1, by incident
	// Cause is what changed, or repeat where nothing did and only some receivers
	// are told now.
	Cause Cause
	At    time.Time // wall clock
	// To is who is told. nil is everybody at whose level the incident is.
	To []Addressee
}

// Addressee is a receiver that is told of a revision.
type Addressee struct {
	Receiver string
	Cause    Cause // as this receiver sees it: what it is told first, opened
	// Group, where it is not "", is shared by what is told at once to the same
	// receiver and may be folded into a digest.
	Group string
}

// facts are what a revision tells that is worth another one when it changes.
type facts struct {
	Level         observation.Level
	Parent        string `json:",omitempty"`
	Resolved      bool   `json:",omitempty"`
	FalsePositive bool   `json:",omitempty"`
	Acknowledged  bool   `json:",omitempty"`
	Silenced      bool   `json:",omitempty"`
	Count, End    int64
	Children      int64 `json:",omitempty"`
}

func (inc *incident) facts() facts {
	return facts{
		Level: inc.level(), Parent: inc.parent, Resolved: inc.resolved(), FalsePositive: inc.falsePositive,
		Acknowledged: inc.acknowledged() != nil, Silenced: len(inc.silencedBy) > 0,
		Count: inc.count(), End: inc.end, Children: inc.childTotal,
	}
}

// change is what happened since old; "" when at most something was counted.
func (f *facts) change(old *facts, hidden bool) Cause {
	switch {
	case f.FalsePositive && !old.FalsePositive:
		return CauseFalsePositive
	case f.Resolved && !old.Resolved:
		return CauseResolved
	case !f.Resolved && old.Resolved:
		return CauseReopened
	case f.Parent != old.Parent:
		return CauseParent
	case f.Level != old.Level && !hidden:
		return CauseLevel
	case f.Resolved:
		return ""
	case f.Acknowledged && !old.Acknowledged:
		return CauseAcknowledged
	case hidden:
		return ""
	case f.Silenced && !old.Silenced:
		return CauseSilenced
	case !f.Silenced && old.Silenced:
		return CauseUnsilenced
	}
	return ""
}

// grew reports whether something was counted since old.
func (f *facts) grew(old *facts) bool {
	return f.Count != old.Count || f.End != old.End || f.Children != old.Children
}

// told is the newest revision of an incident.
type told struct {
	facts
	revision int64
	at       time.Time // of the last one that told a change
}

// SetRouting says who is told of what from the next Revise on. What a receiver
// was told that is gone is forgotten.
func (b *Book) SetRouting(r *Routing) {
	b.routing = r
	b.inhibitor = inhibitor{}
	for _, inc := range b.byID {
		inc.dests, inc.inhibits = nil, nil
		for name := range inc.sent {
			if r == nil {
				continue
			}
			if _, ok := r.Receivers[name]; !ok {
				delete(inc.sent, name)
				b.save(inc)
			}
		}
		b.reconsider(inc)
	}
}

// sweepEvery is after how many revisions groups are swept.
const sweepEvery = 64

// Revise makes the revisions that are due at the wall time now, oldest
// incident first. The pipeline calls it at each cut, after the evidence texts
// are set and before Changes, so that what was told is part of the same commit
// as the outbox entries. It is not called in a replay.
func (b *Book) Revise(now time.Time) []Revision {
	b.pass++
	// Growth that had to wait, groups and repeats come due without a change.
	for _, inc := range b.waiting {
		if !now.Before(inc.wake) {
			b.reconsider(inc)
		}
	}
	all := b.refreshSilences(now)
	if now.Before(b.revised) { // the clock was set back
		all = true
		b.groups.setBack(now)
	}
	b.revised = now
	// Whoever inhibits has to be known before those that it inhibits are told.
	for _, inc := range b.pending {
		if b.index(inc) {
			all = true
		}
	}
	if all {
		for _, inc := range b.live {
			b.reconsider(inc)
		}
		for _, inc := range b.waiting {
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
	if b.pass%sweepEvery == 0 {
		b.groups.sweep(now)
	}
	return out
}

func (b *Book) reconsider(inc *incident) {
	if !inc.pending && !inc.forgotten {
		inc.pending = true
		b.pending = append(b.pending, inc)
	}
}

// wait makes Revise look at the incident again at t, at the latest.
func (b *Book) wait(inc *incident, t time.Time) {
	if _, ok := b.waiting[inc.id]; !ok || t.Before(inc.wake) {
		inc.wake = t
		b.waiting[inc.id] = inc
	}
}

func (b *Book) revise(inc *incident, now time.Time) (Revision, bool) {
	delete(b.waiting, inc.id)
	if inc.told.at.After(now) {
		inc.told.at = now // the wall clock was set back
	}
	b.silence(inc)
	b.inhibit(inc)
	if b.textless(inc, now) {
		return Revision{}, false
	}
	f := inc.facts()
	cause := b.cause(inc, &f, now)
	if b.routing == nil {
		if cause == "" {
			return Revision{}, false
		}
		if !f.Resolved {
			b.wait(inc, now.Add(b.o.RepeatInterval))
		}
		return b.number(inc, f, cause, now), true
	}
	if cause != "" {
		inc.told.at = now
	}
	due := b.deliveries(inc, &f, cause, now)
	if inc.closed {
		inc.dests = nil // it is looked at rarely from now on
	}
	if cause == "" && len(due) == 0 {
		return Revision{}, false
	}
	again := slices.ContainsFunc(due, func(d delivery) bool { return d.sent.revision == inc.told.revision })
	var r Revision
	switch {
	case cause != "":
		r = b.number(inc, f, cause, now)
	case f != inc.told.facts:
		r = b.number(inc, f, CauseGrew, now)
	case again:
		r = b.number(inc, f, CauseRepeat, now)
	default:
		// What others were told already is news to these.
		r = Revision{Incident: b.snapshot(inc), Number: inc.told.revision, Cause: CauseRepeat, At: now}
	}
	r.To = make([]Addressee, 0, len(due))
	for _, d := range due {
		*d.sent = sentTo{facts: f, revision: r.Number, at: now}
		r.To = append(r.To, Addressee{d.receiver, d.cause, d.fold()})
		if !f.Resolved {
			b.wait(inc, now.Add(d.route.RepeatInterval))
		}
	}
	b.save(inc)
	return r, true
}

// textless reports whether nobody is to be told of the incident yet, as the
// texts of its evidence are on their way: a burst opens more incidents than one
// cut reads lines for, and what was told without its lines stays so.
func (b *Book) textless(inc *incident, now time.Time) bool {
	if b.o.TextWait <= 0 || inc.told.revision > 0 || !inc.evidence.incomplete() {
		return false
	}
	if inc.unread.IsZero() || inc.unread.After(now) {
		inc.unread = now
	}
	at := inc.unread.Add(b.o.TextWait)
	if !now.Before(at) {
		return false
	}
	b.wait(inc, at)
	return true
}

// number makes the next revision.
func (b *Book) number(inc *incident, f facts, cause Cause, now time.Time) Revision {
	inc.told.revision++
	inc.told.facts, inc.told.at = f, now
	inc.shown = nil
	b.save(inc)
	return Revision{Incident: b.snapshot(inc), Number: inc.told.revision, Cause: cause, At: now}
}

// cause is why the incident has a new revision now, whoever is told; "" when
// it has none.
func (b *Book) cause(inc *incident, f *facts, now time.Time) Cause {
	t := &inc.told
	hidden := b.hidden(inc)
	if t.revision == 0 {
		if hidden {
			return ""
		}
		return CauseOpened
	}
	if c := f.change(&t.facts, hidden); c != "" {
		return c
	}
	if f.Resolved || hidden || f.Silenced || b.routing != nil {
		// With a routing, growth and repeats are due by receiver.
		return ""
	}
	age := now.Sub(t.at)
	if f.grew(&t.facts) {
		if age >= b.o.GroupInterval {
			return CauseGrew
		}
		b.wait(inc, t.at.Add(b.o.GroupInterval))
	}
	if f.Acknowledged {
		return ""
	}
	if age >= b.o.RepeatInterval {
		return CauseRepeat
	}
	b.wait(inc, t.at.Add(b.o.RepeatInterval))
	return ""
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
