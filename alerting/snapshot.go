package alerting

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
)

func (inc *incident) resolved() bool { return inc.closed || inc.idle || inc.hand != nil }

func (inc *incident) state() string {
	switch {
	case inc.resolved():
		return StateResolved
	case len(inc.silencedBy) > 0:
		return StateSilenced
	case inc.acknowledged() != nil:
		return StateAcknowledged
	}
	return StateOpen
}

// snapshot returns the public form of an incident. It is kept until the
// incident changes: asking for thousands that are long resolved must not hold
// up the findings.
func (b *Book) snapshot(inc *incident) *Incident {
	if inc.shown == nil {
		inc.shown = b.show(inc)
	}
	return inc.shown
}

func (b *Book) show(inc *incident) *Incident {
	n := b.o.MaxListed
	out := &Incident{
		ID: inc.id, Family: inc.family, Parent: inc.parent, State: inc.state(),
		Group:     make(map[string]string, len(inc.subject.group)),
		FirstSeen: stamp(inc.first), DetectedAt: stamp(inc.detected()), LastSeen: stamp(inc.last),
		Count: inc.count(), Level: inc.level(), Subject: inc.subject.kind.String(),
		Sources:    addresses(inc.sources.top(n)),
		Accounts:   keys(inc.accounts.top(n)),
		Routes:     keys(inc.routes.top(n)),
		Principals: keys(inc.principals.top(n)),
		Methods:    keys(inc.methods.top(n)),
		Statuses:   inc.statuses(n),

		SourcesTotal: inc.sources.total(), AccountsTotal: inc.accounts.total(), RoutesTotal: inc.routes.total(),
		PrincipalsTotal: inc.principals.total(), SubjectsTotal: inc.subjects.total(),
		Children: slices.Sorted(slices.Values(inc.children)), ChildrenTotal: inc.childTotal,
		LateOnly: inc.lateOnly, Message: inc.message, Revision: inc.told.revision,
		Entered: slices.Clone(inc.entered),
	}
	for _, p := range inc.subject.group {
		out.Group[p.Name] = p.Value
	}
	switch {
	case inc.hand != nil:
		at := inc.hand.at.UTC()
		out.ResolvedAt = &at
	case inc.closed:
		at := stamp(inc.closedAt)
		out.ResolvedAt = &at
	case inc.idle:
		at := stamp(inc.dueAt(b))
		out.ResolvedAt = &at
	}
	if inc.approximate {
		out.Order = "approximate"
	}
	b.fillPeople(inc, out)
	b.fillRules(inc, out)
	b.fillEvidence(inc, out)
	for _, rs := range slices.SortedFunc(slices.Values(inc.rules), compareRules) {
		if rs.compared.Span > 0 {
			out.Basis = append(out.Basis, rs.title+": "+rs.compared.text())
		}
		if rs.walked.IDs > 0 {
			out.Basis = append(out.Basis, rs.title+": "+walkedText(&rs.walked))
		}
		if rs.before.Times > 0 {
			out.Basis = append(out.Basis, rs.title+": "+rs.before.text())
		}
	}
	b.fillLimits(inc, out)
	return out
}

// fillPeople says what people did, and why nobody is told.
func (b *Book) fillPeople(inc *incident, out *Incident) {
	if a := inc.acknowledged(); a != nil && !inc.resolved() {
		by := a.action
		out.Acknowledged = &by
	}
	out.FalsePositive = inc.falsePositive
	out.Actions = slices.Clone(inc.actions)
	out.SilencedBy, out.InhibitedBy = slices.Clone(inc.silencedBy), slices.Clone(inc.inhibitedBy)
	if !inc.silencedUntil.IsZero() {
		until := inc.silencedUntil
		out.SilencedUntil = &until
	}
}

func (b *Book) fillRules(inc *incident, out *Incident) {
	sorted := slices.SortedFunc(slices.Values(inc.rules), compareRules)
	out.Rules = make([]RuleCount, 0, len(sorted))
	for _, rs := range sorted {
		out.Rules = append(out.Rules, RuleCount{ID: rs.id, Title: rs.title, Level: rs.level, Count: rs.count, DetectedAt: stamp(rs.detected)})
	}
	if m := inc.main; m != nil {
		out.Rule = RuleRef{ID: m.id, Title: m.title, Level: m.level, Tags: append([]string{}, m.tags...)}
	}
}

func (b *Book) fillEvidence(inc *incident, out *Incident) {
	out.Evidence = []Evidence{}
	inc.evidence.each(func(l *line) {
		file := l.File
		if file == "" {
			file = b.o.SourceName(l.Ref.Source)
		}
		out.Evidence = append(out.Evidence, Evidence{Line: l.Line, File: file, Text: l.Text})
	})
}

// fillLimits says what the log could not show. Only what holds for all of the
// incident's observations is said.
func (b *Book) fillLimits(inc *incident, out *Incident) {
	for _, t := range []struct {
		name string
		of   *tally
	}{
		{"sources_total", &inc.sources},
		{"accounts_total", &inc.accounts},
		{"routes_total", &inc.routes},
		{"principals_total", &inc.principals},
		{"subjects_total", &inc.subjects},
	} {
		if t.of.bitten {
			out.Estimated = append(out.Estimated, t.name)
		}
	}
	if inc.subject.kind == SubjectGatewatch {
		return
	}
	say := func(missing bool, text string) {
		if missing {
			out.Limits = append(out.Limits, text)
		}
	}
	if inc.everybody && inc.sources.total() == 0 {
		say(true, "request and response bodies are not in the log")
		say(inc.approximate, "some records came behind the merge: counts and times may differ from those of a replay")
		return
	}
	say(inc.sources.total() == 0, "the log names no client address for these requests")
	say(inc.accounts.total() == 0, "the log names no account for these requests")
	say(inc.principals.total() == 0, "the log names no key, token or user for these requests: whoever shares an address cannot be told apart")
	say(len(out.Statuses) == 0, "the log has no status for these requests: how they ended is not known")
	say(true, "request and response bodies are not in the log")
	say(inc.approximate, "some records came behind the merge: counts and times may differ from those of a replay")
	say(inc.lateOnly, "all records of this incident came late: their own times are in the evidence")
}

func keys(entries []entry) []string {
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.key)
	}
	return out
}

func addresses(entries []entry) []string {
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		if a, ok := netip.AddrFromSlice([]byte(e.key)); ok {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

// statuses merges those of the rules: what is counted for a status is what the
// rule that saw most of it counted.
func (inc *incident) statuses(n int) []StatusCount {
	var merged tally
	room := budget{limit: math.MaxInt}
	for _, rs := range inc.rules {
		for _, e := range rs.statuses.entries {
			if i, ok := merged.find(e.key); ok {
				merged.entries[i].n = max(merged.entries[i].n, e.n)
				continue
			}
			merged.add(e.key, e.n, math.MaxInt, &room)
		}
	}
	out := []StatusCount{}
	for _, e := range merged.top(n) {
		status, err := strconv.ParseInt(e.key, 10, 32)
		if err == nil {
			out = append(out, StatusCount{Status: int32(status), Count: e.n})
		}
	}
	return out
}
