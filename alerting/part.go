package alerting

import (
	"slices"

	"gatewatch/detectors/observation"
)

// fieldAgent, grouped by beside a client, tells the part of a shared address
// that misbehaves from the rest of it.
const fieldAgent = "user_agent.original"

// partOf returns the agent that a finding about a client speaks of, or none.
func (b *Book) partOf(f *observation.Finding) (pair, bool) {
	kind := &b.plan.Kinds[f.Kind]
	at := slices.Index(kind.Fields, fieldAgent)
	if at < 0 || !slices.Contains(kind.Fields, fieldClient) {
		return pair{}, false
	}
	texts := kind.Values(f.Values)
	if texts == nil {
		return pair{}, false
	}
	return pair{fieldAgent, groupText(texts[at])}, true
}

// narrow keeps an incident about a client to the part that its findings speak
// of: an incident that opens with one names it, and another part takes the
// name away again, for then it is the whole client.
func (b *Book) narrow(inc *incident, f *observation.Finding, opened bool) {
	if inc.subject.kind != SubjectClient {
		return
	}
	part, has := b.partOf(f)
	if !has {
		return
	}
	at := slices.IndexFunc(inc.subject.group, func(p pair) bool { return p.Name == fieldAgent })
	switch {
	case at < 0 && opened:
		inc.subject.group = append(slices.Clip(inc.subject.group), part)
	case at >= 0 && inc.subject.group[at] != part:
		inc.subject.group = slices.Delete(slices.Clone(inc.subject.group), at, at+1)
	}
}

// beside reports whether a finding of the whole client says nothing of the
// part that the incident is about: its observations may be those of others
// behind the same address, whom the incident does not name.
func (b *Book) beside(inc *incident, f *observation.Finding) bool {
	if inc.subject.kind != SubjectClient || b.plan.Rules[f.Rule].Family != inc.family {
		return false
	}
	if !slices.ContainsFunc(inc.subject.group, func(p pair) bool { return p.Name == fieldAgent }) {
		return false
	}
	_, has := b.partOf(f)
	return !has && len(b.plan.Kinds[f.Kind].Fields) == 1
}

// maxEntered bounds the accounts that an incident lists as entered.
const maxEntered = 100

// enter notes the accounts that were entered: a rule that looks for what
// happens while another is true found their good logins.
func (inc *incident) enter(rule *observation.Rule, c *observation.Card) {
	if len(rule.Guard.While) == 0 || c.Outcome != observation.OutcomeSuccess || c.Account == "" || len(inc.entered) >= maxEntered {
		return
	}
	if name := groupText(c.Account); !slices.Contains(inc.entered, name) {
		inc.entered = append(inc.entered, name)
	}
}
