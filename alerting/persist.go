package alerting

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewatch/detectors/observation"
)

// stored is the part of an incident that is kept as JSON: all but its lists,
// which may be long and follow it in a binary form.
type stored struct {
	ID         string
	Seq        int64
	Kind       SubjectKind
	Subject    []byte // the subject's key; it may hold any bytes
	Group      []pair
	Family     string
	Opened     int64
	First      int64
	Last       int64
	End        int64
	Rules      []storedRule
	Parent     string            `json:",omitempty"`
	Children   []string          `json:",omitempty"`
	ChildTotal int64             `json:",omitempty"`
	ChildCount int64             `json:",omitempty"`
	ChildLevel observation.Level `json:",omitempty"`
	Loud       bool              `json:",omitempty"`
	Approx     bool              `json:",omitempty"`
	LateOnly   bool              `json:",omitempty"`
	Everybody  bool              `json:",omitempty"`
	Message    string            `json:",omitempty"`
	Entered    []string          `json:",omitempty"`
	Idle       bool              `json:",omitempty"`
	Closed     bool              `json:",omitempty"`
	CloseSeq   int64             `json:",omitempty"`
	ClosedAt   int64             `json:",omitempty"`
	Evidence   evidenceLines
	Told       storedTold
	Sent       map[string]storedSent `json:",omitempty"`

	Ack           *storedAck  `json:",omitempty"`
	Hand          *storedHand `json:",omitempty"`
	FalsePositive bool        `json:",omitempty"`
	Actions       []Action    `json:",omitempty"`
}

type evidenceLines struct{ First, Latest []line }

type storedRule struct {
	ID, Title, Family string
	Level             observation.Level
	Tags              []string
	Timespan, Resolve int64
	Count, Detected   int64
	Compared          comparison         `json:",omitzero"`
	Walked            observation.Walked `json:",omitzero"`
	Before            previous           `json:",omitzero"`
}

type storedTold struct {
	facts
	Revision int64
	At       int64 // Unix nanoseconds, 0 never
}

// storedSent is what a receiver was told.
type storedSent struct {
	storedTold
	Since int64 `json:",omitempty"` // Unix nanoseconds
}

type storedAck struct {
	Action Action
	Level  observation.Level
}

type storedHand struct {
	At    int64 // Unix nanoseconds
	Event int64
	Rules []string
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// storedVersion is the first byte of a stored incident.
const storedVersion = 1

// Changes returns what durable state needs so that Load restores the book as
// it is now: one value for each incident that changed since the last call, and
// deletions. The caller commits them, together with the positions and windows
// of the same cut; if that fails, it tries the same changes again.
func (b *Book) Changes() []StoreOp {
	ops := make([]StoreOp, 0, len(b.dirty)+len(b.deleted))
	for _, id := range b.deleted {
		ops = append(ops, StoreOp{Bucket: b.o.Bucket, Key: []byte(id)})
	}
	for _, inc := range b.dirty {
		inc.dirty = false
		if !inc.forgotten {
			inc.stored = true
			ops = append(ops, StoreOp{b.o.Bucket, []byte(inc.id), inc.encode()})
		}
	}
	b.deleted = b.deleted[:0]
	clear(b.dirty)
	b.dirty = b.dirty[:0]
	return append(append(ops, b.silenceChanges()...), b.groups.changes()...)
}

// Load fills an empty book with what earlier Changes stored. scan calls its
// argument with every key and value of the book's bucket, in any
// order; they are not kept. A value that cannot be read is an error.
func (b *Book) Load(scan func(f func(key, value []byte) error) error) error {
	var all []*incident
	err := scan(func(key, value []byte) error {
		inc, err := decodeIncident(value)
		if err != nil {
			return fmt.Errorf("read stored incident %q: %w", key, err)
		}
		if inc.id != string(key) {
			return fmt.Errorf("read stored incident %q: it says that it is %q", key, inc.id)
		}
		if b.byID[inc.id] != nil {
			return fmt.Errorf("read stored incident %q: it is there twice", key)
		}
		b.byID[inc.id] = inc
		all = append(all, inc)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(x, y *incident) int { return cmp.Or(bySeq(x, y), cmp.Compare(x.id, y.id)) })
	for _, inc := range all {
		if err := b.restore(inc); err != nil {
			return err
		}
	}
	slices.SortFunc(b.closed, func(x, y *incident) int {
		return cmp.Or(cmp.Compare(x.closeSeq, y.closeSeq), cmp.Compare(x.id, y.id))
	})
	b.sweep()
	return nil
}

func (b *Book) restore(inc *incident) error {
	b.seq = max(b.seq, inc.seq)
	inc.lead()
	inc.stored = true
	if inc.evidence.incomplete() {
		b.want(inc)
	}
	// Let Revise look at all of them: the end may have come between.
	inc.pending = true
	b.pending = append(b.pending, inc)
	if inc.closed {
		b.closeSeq = max(b.closeSeq, inc.closeSeq)
		b.closed = append(b.closed, inc)
		return nil
	}
	if b.bySubj[inc.subject.key] != nil {
		return fmt.Errorf("read stored incident %q: its subject has two open incidents", inc.id)
	}
	b.bySubj[inc.subject.key] = inc
	b.live = append(b.live, inc)
	if inc.subject.kind.breadth() > 1 {
		b.wide = append(b.wide, inc)
	}
	if inc.subject.kind.breadth() > 0 {
		b.openedAt = max(b.openedAt, inc.opened)
	}
	if inc.subject.kind != SubjectOverflow {
		b.openIn[inc.family]++
	}
	for _, t := range inc.tallies() {
		b.tracked.used += len(t.entries)
	}
	for _, rs := range inc.rules {
		inc.heldCount += len(rs.held)
		b.rehold(inc, rs)
	}
	heap.Push(&b.due, dueEntry{inc.dueAt(b), inc})
	return nil
}

func (inc *incident) encode() []byte {
	s := stored{
		ID: inc.id, Seq: inc.seq, Kind: inc.subject.kind, Subject: []byte(inc.subject.key), Group: inc.subject.group,
		Family: inc.family, Opened: inc.opened, First: inc.first, Last: inc.last, End: inc.end,
		Parent: inc.parent, Children: inc.children, ChildTotal: inc.childTotal,
		ChildCount: inc.childCount, ChildLevel: inc.childLevel, Loud: inc.loud,
		Approx: inc.approximate, LateOnly: inc.lateOnly, Everybody: inc.everybody, Message: inc.message, Entered: inc.entered,
		Idle: inc.idle, Closed: inc.closed, CloseSeq: inc.closeSeq, ClosedAt: inc.closedAt,
		Evidence:      evidenceLines{inc.evidence.first, inc.evidence.latest},
		Told:          storedTold{inc.told.facts, inc.told.revision, nanos(inc.told.at)},
		FalsePositive: inc.falsePositive, Actions: inc.actions,
	}
	for name, to := range inc.sent {
		if s.Sent == nil {
			s.Sent = map[string]storedSent{}
		}
		s.Sent[name] = storedSent{storedTold{to.facts, to.revision, nanos(to.at)}, nanos(to.since)}
	}
	if inc.ack != nil {
		s.Ack = &storedAck{inc.ack.action, inc.ack.level}
	}
	if h := inc.hand; h != nil {
		s.Hand = &storedHand{nanos(h.at), h.event, h.rules}
	}
	for _, rs := range inc.rules {
		s.Rules = append(s.Rules, storedRule{rs.id, rs.title, rs.family, rs.level, rs.tags, rs.timespan, rs.resolve, rs.count, rs.detected, rs.compared, rs.walked, rs.before})
	}
	head, err := json.Marshal(&s)
	if err != nil {
		panic(err) // plain data: cannot happen
	}
	size := len(head) + 256
	for _, t := range inc.tallies() {
		size += 24 * len(t.entries)
	}
	w := writer{b: make([]byte, 0, size)}
	w.b = append(w.b, storedVersion)
	w.bytes(head)
	for _, t := range inc.tallies() {
		w.tally(t)
	}
	for _, rs := range inc.rules {
		w.uint(uint64(len(rs.held)))
		for _, e := range rs.held {
			w.uint(e.hash)
			w.text(e.values)
		}
	}
	return w.b
}

func decodeIncident(value []byte) (*incident, error) {
	if len(value) == 0 || value[0] != storedVersion {
		return nil, errors.New("it has an unknown version")
	}
	r := reader{b: value[1:]}
	var s stored
	if err := json.Unmarshal(r.bytes(), &s); err != nil {
		return nil, err
	}
	if s.ID == "" || s.Kind < SubjectClient || s.Kind > SubjectGatewatch || len(s.Rules) == 0 {
		return nil, errDamaged
	}
	inc := &incident{
		id: s.ID, seq: s.Seq, subject: subject{s.Kind, string(s.Subject), s.Group},
		family: s.Family, opened: s.Opened, first: s.First, last: s.Last, end: s.End,
		parent: s.Parent, children: s.Children, childTotal: s.ChildTotal,
		childCount: s.ChildCount, childLevel: s.ChildLevel, loud: s.Loud,
		approximate: s.Approx, lateOnly: s.LateOnly, everybody: s.Everybody, message: s.Message, entered: s.Entered,
		idle: s.Idle, closed: s.Closed, closeSeq: s.CloseSeq, closedAt: s.ClosedAt,
		evidence:      evidence{s.Evidence.First, s.Evidence.Latest},
		told:          told{s.Told.facts, s.Told.Revision, fromNanos(s.Told.At)},
		falsePositive: s.FalsePositive, actions: s.Actions,
	}
	for name, to := range s.Sent {
		if inc.sent == nil {
			inc.sent = map[string]*sentTo{}
		}
		inc.sent[name] = &sentTo{facts: to.facts, revision: to.Revision, at: fromNanos(to.At), since: fromNanos(to.Since)}
	}
	if a := s.Ack; a != nil {
		inc.ack = &ack{a.Action, a.Level}
	}
	if h := s.Hand; h != nil {
		inc.hand = &handResult{fromNanos(h.At), h.Event, h.Rules}
	}
	for _, sr := range s.Rules {
		rs := &ruleState{
			id: sr.ID, title: sr.Title, family: sr.Family, level: sr.Level, tags: sr.Tags,
			timespan: sr.Timespan, resolve: sr.Resolve, count: sr.Count, detected: sr.Detected, compared: sr.Compared, walked: sr.Walked, before: sr.Before,
		}
		inc.rules = append(inc.rules, rs)
	}
	for _, t := range inc.tallies() {
		r.tally(t)
	}
	for _, rs := range inc.rules {
		for n := r.uint(); n > 0 && !r.bad; n-- {
			rs.held = append(rs.held, heldEntity{r.uint(), string(r.bytes())})
		}
	}
	if r.bad || len(r.b) != 0 {
		return nil, errDamaged
	}
	return inc, nil
}
