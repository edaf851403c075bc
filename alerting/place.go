package alerting

import (
	"cmp"
	"slices"

	"gatewatch/detectors/observation"
)

// incidentFor finds the open incident of whom f accuses, or opens one.
func (b *Book) incidentFor(f *observation.Finding, rule *observation.Rule) (inc *incident, opened bool) {
	family := cmp.Or(rule.Family, rule.ID)
	if !f.Fired {
		if inc := b.holderOfLost(f, rule); inc != nil {
			return inc, false
		}
	}
	s := b.subjectOf(f, family)
	if inc := b.bySubj[s.key]; inc != nil {
		return inc, false
	}
	if b.openIn[family] < b.o.MaxOpen {
		return b.open(s, family, f.Key.Time), true
	}
	o := newSubject(SubjectOverflow, family)
	inc = b.bySubj[o.key]
	if inc == nil {
		inc, opened = b.open(o, family, f.Key.Time), true
	}
	inc.subjects.add(s.key, 1, maxDistinct, &b.tracked)
	for _, p := range s.group {
		if !slices.ContainsFunc(inc.subject.group, func(q pair) bool { return q.Name == p.Name }) {
			inc.subject.group = append(inc.subject.group, pair{p.Name, "*"})
		}
	}
	b.o.Metrics.overflow(family)
	return inc, opened
}

// holderOfLost finds the incident of a window that grows but is not held by
// any, because a limit bit: that of the observation's client or principal, if
// the rule is already part of it. Without this, windows that an incident holds
// by its share of their observations would open incidents of their own.
func (b *Book) holderOfLost(f *observation.Finding, rule *observation.Rule) *incident {
	if len(f.Items) == 0 {
		return nil
	}
	c := &f.Items[len(f.Items)-1].Card
	var subjects []subject
	if c.Client.IsValid() {
		subjects = append(subjects, b.subjectOfClient(b.clientOf(c.Client)))
	}
	if c.Principal != "" {
		subjects = append(subjects, newSubject(SubjectPrincipal, c.Principal))
	}
	for _, s := range subjects {
		if inc := b.bySubj[s.key]; inc != nil && inc.find(rule.ID) != nil {
			return inc
		}
	}
	return nil
}

func (b *Book) open(s subject, family string, at int64) *incident {
	b.seq++
	inc := &incident{
		id: incidentID(s.key, at), seq: b.seq, subject: s, family: family,
		opened: at, first: maxTime, last: minTime, end: at, lateOnly: true,
	}
	if old := b.byID[inc.id]; old != nil {
		// Only for incidents of our own, whose time is the wall clock.
		b.forget(old)
	}
	b.byID[inc.id] = inc
	b.bySubj[s.key] = inc
	b.live = append(b.live, inc)
	if s.kind.breadth() > 1 {
		b.wide = append(b.wide, inc)
	}
	if s.kind.breadth() > 0 { // others go by the wall clock
		b.openedAt = max(b.openedAt, at)
	}
	if s.kind != SubjectOverflow {
		b.openIn[family]++
	}
	return inc
}

// sweep drops the oldest resolved incidents beyond the limit, and the holes
// in the list of live ones.
func (b *Book) sweep() {
	for len(b.closed)-b.dropped > b.o.MaxKept {
		if inc := b.closed[b.dropped]; inc != nil && b.byID[inc.id] == inc {
			b.forget(inc)
			b.o.Metrics.droppedResolved()
		}
		b.closed[b.dropped] = nil
		b.dropped++
	}
	if b.dropped > b.o.MaxKept {
		b.closed = slices.Delete(b.closed, 0, b.dropped)
		b.dropped = 0
	}
	if len(b.live) > 2*len(b.bySubj)+16 {
		b.live = slices.DeleteFunc(b.live, func(i *incident) bool { return i.closed })
	}
}

func (b *Book) forget(inc *incident) {
	delete(b.byID, inc.id)
	delete(b.waiting, inc.id)
	b.inhibitor.remove(inc)
	inc.forgotten = true
	if inc.stored {
		b.deleted = append(b.deleted, inc.id)
	}
	// In a replay nobody takes these lists.
	if b.forgotten++; b.forgotten > len(b.byID)+1024 {
		b.forgotten = 0
		gone := func(i *incident) bool { return i.forgotten }
		b.dirty = slices.DeleteFunc(b.dirty, gone)
		b.pending = slices.DeleteFunc(b.pending, gone)
		b.wanting = slices.DeleteFunc(b.wanting, gone)
	}
}
