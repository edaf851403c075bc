package alerting

import (
	"time"

	"gatewatch/detectors/observation"
)

// familyOwn is that of incidents about gatewatch itself.
const familyOwn = "gatewatch"

// lasting is how long an incident stays open whose end somebody will tell.
const lasting = 7 * 24 * time.Hour

// Trouble is something that gatewatch has to say of itself, such as a state
// file that was set aside.
type Trouble struct {
	Kind  string // a short word in snake_case that names it: one incident a kind
	Title string
	Text  string // for people, free of secrets
	Level observation.Level
	// Lasting: it stays open until Book.OwnOver, a week at most. Otherwise it
	// resolves like any other incident.
	Lasting bool
}

// Own opens, or repeats, an incident of gatewatch's own; at is the wall clock
// in Unix seconds. These incidents stand outside the promise that a replay
// gives what a live run gave.
func (b *Book) Own(t Trouble, at int64) {
	s := newSubject(SubjectGatewatch, t.Kind, pair{familyOwn, t.Kind})
	inc := b.bySubj[s.key]
	opened := inc == nil
	if opened {
		inc = b.open(s, familyOwn, at)
		inc.lateOnly = false
	}
	rule := observation.Rule{ID: familyOwn + "." + t.Kind, Title: t.Title, Level: t.Level, Family: familyOwn}
	if t.Lasting {
		rule.ResolveAfter = int64(lasting / time.Second)
	}
	inc.ruleOf(&rule, at).count++
	inc.first, inc.last, inc.end = min(inc.first, at), max(inc.last, at), max(inc.end, at)
	inc.message = cutText(t.Text, maxLine)
	b.revive(inc, inc.find(rule.ID), true)
	b.touch(inc)
	b.settle(inc, opened)
}

// OwnOver resolves the incident of a kind of trouble, if it is open.
func (b *Book) OwnOver(kind, text string, now time.Time) {
	s := newSubject(SubjectGatewatch, kind)
	inc := b.bySubj[s.key]
	if inc == nil || inc.resolved() {
		return
	}
	inc.message = cutText(text, maxLine)
	b.resolveByHand(inc, now.Truncate(time.Millisecond).UTC())
	b.touch(inc)
}
