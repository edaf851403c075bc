package alerting

import (
	"maps"
	"slices"
	"strings"
)

// sourceKey is a rule of inhibition with the values of its equal labels.
type sourceKey struct {
	rule   int
	values string
}

// inhibitor knows which open incidents inhibit others.
type inhibitor struct {
	sources map[sourceKey]map[*incident]bool // true where it matches the target side too
}

// maxInhibitors bounds the incidents that are named as inhibiting one.
const maxInhibitors = 10

func (r *InhibitRule) values(v *labelView) string {
	var b strings.Builder
	for _, name := range r.Equal {
		b.WriteString(v.value(name) + "\x00")
	}
	return b.String()
}

// remove takes an incident out of the index.
func (x *inhibitor) remove(inc *incident) {
	for _, k := range inc.inhibits {
		delete(x.sources[k], inc)
		if len(x.sources[k]) == 0 {
			delete(x.sources, k)
		}
	}
	inc.inhibits = nil
}

// index brings the index up to date with the incident, and reports whether
// others may be inhibited by now, or not be any more.
func (b *Book) index(inc *incident) bool {
	if b.routing == nil || len(b.routing.Inhibit) == 0 {
		return false
	}
	var keys []sourceKey
	both := map[sourceKey]bool{}
	if !inc.resolved() && !inc.forgotten {
		v := b.labels(inc)
		for i := range b.routing.Inhibit {
			r := &b.routing.Inhibit[i]
			if matchesAll(r.Source, v) {
				k := sourceKey{i, r.values(v)}
				keys = append(keys, k)
				both[k] = matchesAll(r.Target, v)
			}
		}
	}
	changed := !slices.Equal(keys, inc.inhibits)
	for _, k := range keys {
		was, there := b.inhibitor.sources[k][inc]
		changed = changed || !there || was != both[k]
	}
	if !changed {
		return false
	}
	b.inhibitor.remove(inc)
	if b.inhibitor.sources == nil {
		b.inhibitor.sources = map[sourceKey]map[*incident]bool{}
	}
	for _, k := range keys {
		if b.inhibitor.sources[k] == nil {
			b.inhibitor.sources[k] = map[*incident]bool{}
		}
		b.inhibitor.sources[k][inc] = both[k]
	}
	inc.inhibits = keys
	return true
}

// inhibit notes for whose sake the incident is not told now.
func (b *Book) inhibit(inc *incident) {
	var ids []string
	if !inc.resolved() {
		by := b.inhibitorsOf(inc)
		for _, x := range by[:min(len(by), maxInhibitors)] {
			ids = append(ids, x.id)
		}
	}
	if !slices.Equal(ids, inc.inhibitedBy) {
		inc.inhibitedBy = ids
		inc.shown = nil
	}
}

// inhibitorsOf returns the open incidents that inhibit this one, oldest first.
func (b *Book) inhibitorsOf(inc *incident) []*incident {
	if len(b.inhibitor.sources) == 0 {
		return nil
	}
	by := map[*incident]bool{}
	v := b.labels(inc)
	for i := range b.routing.Inhibit {
		r := &b.routing.Inhibit[i]
		if !matchesAll(r.Target, v) {
			continue
		}
		sided := matchesAll(r.Source, v)
		for x, both := range b.inhibitor.sources[sourceKey{i, r.values(v)}] {
			if x != inc && (!sided || !both) {
				by[x] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(by), bySeq)
}
