package sigma

import (
	"cmp"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
)

// link resolves the names by which documents refer to each other. Documents
// whose names lead nowhere are refused, and then those that refer to them.
func (s *Set) link() []Problem {
	var all []Problem
	for {
		refused := map[*Rule]bool{}
		for _, r := range s.rules {
			p := &problems{rule: r.ID}
			switch r.Kind {
			case Correlation:
				s.linkCorrelation(r, p)
			case Filter:
				s.linkFilter(r, p)
			}
			if p.refused {
				refused[r] = true
				all = append(all, p.list...)
			}
		}
		if len(refused) == 0 {
			for _, r := range s.rules {
				if r.Kind == Correlation && !refused[r] {
					all = append(all, s.cycles(r, refused)...)
				}
			}
		}
		if len(refused) == 0 {
			break
		}
		s.drop(refused)
	}
	// Warnings of what stays, now that no name can be lost any more.
	for _, r := range s.rules {
		if r.Kind == Filter {
			p := &problems{rule: r.ID}
			s.linkFilter(r, p)
			all = append(all, p.list...)
		}
	}
	return all
}

func (s *Set) drop(refused map[*Rule]bool) {
	for r := range refused {
		for _, key := range []string{r.ID, r.Name} {
			if key != "" && s.byName[key] == r {
				delete(s.byName, key)
				s.lost[key] = r.where
			}
		}
	}
	s.rules = slices.DeleteFunc(slices.Clone(s.rules), func(r *Rule) bool { return refused[r] })
}

// find resolves a reference or reports that it leads nowhere.
func (s *Set) find(name ref, sev Severity, p *problems) *Rule {
	if r := s.byName[name.name]; r != nil {
		return r
	}
	if o, ok := s.lost[name.name]; ok {
		p.add(sev, name.where, name.name, "mend that rule first", "the rule %q is refused itself, see %s:%d", name.name, o.file, o.line)
		return nil
	}
	names := make([]string, 0, len(s.byName))
	for n := range s.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	p.add(sev, name.where, name.name, didYouMean(name.name, names, "load the rule too, or correct the id or name"), "there is no rule %q", name.name)
	return nil
}

func (s *Set) linkCorrelation(r *Rule, p *problems) {
	c := r.corr
	c.inputs, c.steps = nil, nil
	kinds := map[DocumentKind]int{}
	for _, name := range c.rules {
		in := s.find(name, Refused, p)
		switch {
		case in == nil:
		case in.Kind == Filter:
			p.refuse(name.where, name.name, "name a detection or a correlation", "%q is a filter", name.name)
		case !slices.Contains(c.inputs, in):
			c.inputs = append(c.inputs, in)
			if c.typ.Steps() {
				c.steps = append(c.steps, in)
			}
			kinds[in.Kind]++
		case c.typ == observation.TemporalOrdered:
			p.refuse(name.where, name.name, "name each rule once; a copy of it under another name can stand for the second time",
				"%q stands twice in the order of a %s: it is a rule that was named before", name.name, c.typ)
		}
	}
	if kinds[Detection] > 0 && kinds[Correlation] > 0 && !c.typ.Steps() {
		p.refuse(c.where, "", "wrap the detections in an event_count of their own with gte: 1",
			"%s takes detections or correlations, not both: it would count matches and firings as if they were the same", c.typeName())
	}
	s.linkGuard(r, p)
	slices.SortFunc(c.inputs, func(a, b *Rule) int { return cmp.Compare(a.order, b.order) })
	for _, a := range c.aliases {
		for _, f := range a.fields {
			in := s.byName[f.rule.name]
			if in == nil || !slices.Contains(c.inputs, in) {
				p.refuse(f.rule.where, f.rule.name, "name one of the correlation's rules", "the alias maps %q, which is not one of rules", f.rule.name)
			}
		}
	}
}

func (s *Set) linkFilter(r *Rule, p *problems) {
	for _, name := range r.only.rules {
		in := s.find(name, Warning, p)
		if in != nil && in.Kind != Detection {
			p.refuse(name.where, name.name, "name the detections that it is made of", "a filter applies to detections, %q is a %s", name.name, in.Kind)
		}
	}
}

// cycles refuses every correlation on a cycle through r.
func (s *Set) cycles(r *Rule, refused map[*Rule]bool) []Problem {
	var path []*Rule
	done := map[*Rule]bool{}
	var walk func(*Rule) []*Rule
	walk = func(at *Rule) []*Rule {
		if i := slices.Index(path, at); i >= 0 {
			return slices.Clone(path[i:])
		}
		if at.Kind != Correlation || done[at] || refused[at] {
			return nil
		}
		path = append(path, at)
		defer func() { path = path[:len(path)-1] }()
		for _, in := range at.corr.inputs {
			if c := walk(in); c != nil {
				return c
			}
		}
		done[at] = true
		return nil
	}
	loop := walk(r)
	if loop == nil {
		return nil
	}
	var names []string
	for _, l := range loop {
		names = append(names, l.ID)
	}
	p := &problems{}
	for _, l := range loop {
		refused[l] = true
		p.rule = l.ID
		p.refuse(l.corr.where, strings.Join(names, " "), "remove one of the references",
			"the correlations refer to each other in a circle: %s", strings.Join(append(names, names[0]), " -> "))
	}
	return p.list
}
