package alerting

import (
	"cmp"
	"slices"

	"gatewatch/detectors/observation"
)

// maxChildren bounds the children that a parent lists. All are counted.
const maxChildren = 100

// standsAside reports whether incidents of this kind are neither children nor
// parents.
func (k SubjectKind) standsAside() bool { return k == SubjectOverflow || k == SubjectGatewatch }

// decide settles, once, between an incident that has just opened (or come to
// another family) and the open incidents of its family: one that made less
// than a quarter of the count of a population becomes its child, the loud
// ones stand. Who has a parent keeps it.
func (b *Book) decide(inc *incident) {
	switch {
	case inc.subject.kind.standsAside():
	case inc.subject.kind == SubjectPopulation:
		for _, c := range b.live {
			if c.closed || c.parent != "" || c.family != inc.family ||
				c.subject.kind == SubjectPopulation || c.subject.kind.standsAside() {
				continue
			}
			if c.count()*4 < inc.count() {
				b.adopt(inc, c)
			}
		}
	case inc.parent == "":
		var best *incident
		for _, p := range b.populations(inc.family) {
			if best == nil || p.count() > best.count() {
				best = p
			}
		}
		if best != nil && inc.count()*4 < best.count() {
			b.adopt(best, inc)
		}
	}
}

// populations returns the open population incidents of a family, oldest first.
func (b *Book) populations(family string) []*incident {
	b.crowds = slices.DeleteFunc(b.crowds, func(p *incident) bool { return p.closed })
	var out []*incident
	for _, p := range b.crowds {
		if p.family == family {
			out = append(out, p)
		}
	}
	return out
}

func (b *Book) adopt(parent, child *incident) {
	child.parent = parent.id
	parent.childTotal++
	if len(parent.children) < maxChildren {
		parent.children = append(parent.children, child.id)
	}
	b.touch(child)
	b.touch(parent)
	b.raiseParent(child)
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

// Own opens, or repeats, an incident of gatewatch's own, such as a state file
// that was set aside. kind is a short word in snake_case that names the
// trouble, one incident a kind; at is the wall clock in Unix seconds. Text is
// for people and must be free of secrets. These incidents stand outside the
// promise that a replay gives what a live run gave.
func (b *Book) Own(kind, title, text string, level observation.Level, at int64) {
	const family = "gatewatch"
	s := newSubject(SubjectGatewatch, kind, pair{family, kind})
	inc := b.bySubj[s.key]
	opened := inc == nil
	if opened {
		inc = b.open(s, family, at)
		inc.lateOnly = false
	}
	rule := observation.Rule{ID: family + "." + kind, Title: title, Level: level, Family: family}
	inc.ruleOf(&rule, at).count++
	inc.first, inc.last, inc.end = min(inc.first, at), max(inc.last, at), max(inc.end, at)
	inc.message = cutText(text, maxLine)
	b.revive(inc, inc.find(rule.ID), true)
	b.touch(inc)
	b.settle(inc, opened)
}

// bySeq orders incidents by opening, for results that must not depend on the
// order in which changes were noted.
func bySeq(a, b *incident) int { return cmp.Compare(a.seq, b.seq) }
