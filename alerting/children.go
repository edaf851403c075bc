package alerting

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
)

// maxChildren bounds the children that a parent lists. All are counted.
const maxChildren = 100

// breadth orders subjects by how many parties they can stand for: children
// are narrower than their parent. 0 is neither child nor parent.
func (k SubjectKind) breadth() int {
	switch k {
	case SubjectClient:
		return 1
	case SubjectPrincipal, SubjectAccount:
		return 2
	case SubjectPopulation:
		return 3
	default:
		return 0
	}
}

// made is how much of inc's count came from a narrower subject, as far as inc
// counts its members one by one; some is false where it made nothing.
func (inc *incident) made(s *subject) (n int64, some bool) {
	var t *tally
	_, identity, _ := strings.Cut(s.key, "\x00")
	switch s.kind {
	case SubjectClient:
		t = &inc.sources
		if len(identity) == 8 { // a /64
			for i := range t.entries {
				if e := &t.entries[i]; strings.HasPrefix(e.key, identity) {
					n, some = n+e.n, true
				}
			}
			return n, some || t.bitten
		}
		if a, ok := netip.AddrFromSlice([]byte(identity)); ok {
			whole := a.As16()
			identity = string(whole[:])
		}
	case SubjectPrincipal:
		t = &inc.principals
	case SubjectAccount:
		t = &inc.accounts
	default:
		return 0, false
	}
	if i, ok := t.find(identity); ok {
		return t.entries[i].n, true
	}
	return 0, t.bitten // one of more than are counted made little
}

// decide settles, once, between an incident that has just opened (or come to
// another family) and the open incidents of its family. An incident that made
// less than a quarter of a wider one is its child; the loud ones stand.
func (b *Book) decide(inc *incident) {
	if inc.subject.kind.breadth() > 1 && inc.parent == "" {
		b.gather(inc)
	}
	if inc.subject.kind.breadth() > 0 && inc.parent == "" {
		b.seekParent(inc)
	}
}

// gather looks for the children of a wide incident that has just opened.
func (b *Book) gather(parent *incident) {
	if b.countsFirings(parent) && !b.crowded(parent) {
		return
	}
	var quiet []*incident
	total := parent.childCount
	for _, c := range b.live {
		if b.quietIn(c, parent) {
			quiet = append(quiet, c)
			total += c.count()
		}
	}
	for _, c := range quiet {
		if c.count()*4 < max(total, parent.count()) {
			b.adopt(parent, c)
		}
	}
}

// seekParent looks for the parent of an incident that has just opened.
func (b *Book) seekParent(inc *incident) {
	var best *incident
	b.wide = slices.DeleteFunc(b.wide, func(p *incident) bool { return p.closed })
	for _, p := range b.wide {
		if p.parent == "" && b.countsFirings(p) {
			if b.quietIn(inc, p) && b.crowded(p) {
				b.gather(p)
			}
			if inc.parent != "" {
				return
			}
			continue
		}
		if p.parent != "" || !b.quietIn(inc, p) || inc.count()*4 >= max(p.childCount+inc.count(), p.count()) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(p.subject.kind.breadth(), best.subject.kind.breadth()), cmp.Compare(p.count(), best.count())) > 0 {
			best = p
		}
	}
	if best != nil {
		b.adopt(best, inc)
	}
}

// quietIn reports whether c may become a child of p: it is about a narrower
// subject, which made less than a quarter of p.
func (b *Book) quietIn(c, p *incident) bool {
	breadth := c.subject.kind.breadth()
	if breadth == 0 || breadth >= p.subject.kind.breadth() || c.closed || c.parent != "" || c.loud || c.family != p.family {
		return false
	}
	n, some := p.made(&c.subject)
	return some && n*4 < p.count()
}

// countsFirings reports whether the count of a wide incident is one of firings:
// each stands for a party and not for a request, and cannot be compared with the
// requests that an incident about one party counts.
func (b *Book) countsFirings(p *incident) bool {
	at, ok := b.rules[p.main.id]
	return ok && b.plan.Rules[at].Depth > 1
}

// Of an incident that counts firings, members that have an incident of their
// own are loud, and stand, while they are few: fewer than fewLoud, or than one in
// loudShare of all its members. When they are more, that is how this campaign
// works, and they are its children.
const (
	fewLoud   = 5
	loudShare = 20
)

// crowded reports whether so many members of p have incidents of their own
// that none of them is remarkable.
func (b *Book) crowded(p *incident) bool {
	n := p.childTotal
	for _, c := range b.live {
		if b.quietIn(c, p) {
			n++
		}
	}
	return n >= fewLoud && n*loudShare >= p.sources.total()
}

// meet decides between a wide incident that grew by an observation and the
// incidents about those who made it, where these opened in the same second:
// when they did, theirs was not yet counted.
func (b *Book) meet(wide *incident, items []observation.Item) {
	if wide.subject.kind.breadth() < 2 || wide.parent != "" {
		return
	}
	for i := range items {
		c := &items[i].Card
		if items[i].Aside {
			continue
		}
		if c.Client.IsValid() {
			b.seekAnew(b.subjectOfClient(b.clientOf(c.Client)).key)
		}
		if c.Principal != "" {
			b.seekAnew(newSubject(SubjectPrincipal, c.Principal).key)
		}
		if c.Account != "" {
			b.seekAnew(newSubject(SubjectAccount, c.Account).key)
		}
	}
}

func (b *Book) seekAnew(subject string) {
	if inc := b.bySubj[subject]; inc != nil && inc.parent == "" && inc.opened == b.openedAt {
		b.seekParent(inc)
	}
}

func (b *Book) adopt(parent, child *incident) {
	child.parent = parent.id
	parent.childTotal++
	parent.childCount += child.count()
	if len(parent.children) < maxChildren {
		parent.children = append(parent.children, child.id)
	}
	b.touch(child)
	b.touch(parent)
	b.raiseParent(child)
	if child.childTotal == 0 {
		return
	}
	// A family has two generations: the child's own children are its parent's.
	for _, c := range b.live {
		if c.parent == child.id {
			b.adopt(parent, c)
		}
	}
	child.children, child.childTotal, child.childCount = nil, 0, 0
}

// outgrow lets a child stand that has become the greater part of what its
// parent and all the children of that made: it is a campaign of its own. It
// stands as long as it is open.
func (b *Book) outgrow(child *incident, grown int64) {
	p := b.byID[child.parent]
	if p == nil {
		return
	}
	p.childCount += grown
	if n := child.count(); n*2 <= max(p.childCount, p.count()) {
		return
	}
	p.childCount -= child.count()
	p.childTotal--
	if at := slices.Index(p.children, child.id); at >= 0 {
		p.children = slices.Delete(p.children, at, at+1)
	}
	child.parent, child.loud = "", true
	b.touch(child)
	b.touch(p)
}

// raiseParent gives a parent the level of its child, where that is higher and
// the parent is not resolved for good or by hand.
func (b *Book) raiseParent(child *incident) {
	p := b.byID[child.parent]
	if p == nil || p.closed || p.hand != nil || p.level() >= child.level() {
		return
	}
	p.childLevel = child.level()
	b.touch(p)
}

// bySeq orders incidents by opening, for results that must not depend on the
// order in which changes were noted.
func bySeq(a, b *incident) int { return cmp.Compare(a.seq, b.seq) }
