package pipeline

import (
	"sync/atomic"

	"gatewatch/detectors/observation"
	"gatewatch/rules/sigma"
)

// ruleCounters count what each window rule of a plan did. They are added to by
// the decoding goroutines and the findings goroutine and read by Status.
type ruleCounters struct {
	plan *observation.Plan
	all  []ruleCounter // by rule of the plan
}

type ruleCounter struct{ firings, growth, missing, incidents, untold atomic.Uint64 }

// newRuleCounters goes on from the counters of the plan before: a rule is
// known again by its id.
func newRuleCounters(plan *observation.Plan, before *ruleCounters) *ruleCounters {
	c := &ruleCounters{plan: plan, all: make([]ruleCounter, len(plan.Rules))}
	if before == nil {
		return c
	}
	old := map[string]*ruleCounter{}
	for i := range before.all {
		old[before.plan.Rules[i].ID] = &before.all[i]
	}
	for i := range c.all {
		if o := old[plan.Rules[i].ID]; o != nil {
			c.all[i].firings.Store(o.firings.Load())
			c.all[i].growth.Store(o.growth.Load())
			c.all[i].missing.Store(o.missing.Load())
			c.all[i].incidents.Store(o.incidents.Load())
			c.all[i].untold.Store(o.untold.Load())
		}
	}
	return c
}

// found counts a finding.
func (c *ruleCounters) found(f *observation.Finding) {
	if f.Fired {
		c.all[f.Rule].firings.Add(1)
	} else {
		c.all[f.Rule].growth.Add(1)
	}
}

// joined counts an incident that the rule became part of.
func (c *ruleCounters) joined(rule uint32) { c.all[rule].incidents.Add(1) }

// untold counts a notification that was not sent, as the rule that leads the
// incident is only watched. A rule that is gone counts nothing.
func (c *ruleCounters) untold(id string) {
	for i := range c.all {
		if c.plan.Rules[i].ID == id {
			c.all[i].untold.Add(1)
			return
		}
	}
}

// takeMissing moves a matcher's counters here.
func (c *ruleCounters) takeMissing(m *sigma.Matcher) {
	missing := m.Missing()
	for i, n := range missing {
		if n > 0 {
			c.all[i].missing.Add(n)
			missing[i] = 0
		}
	}
}

// RuleStatus is what a window rule did since the start of the process.
type RuleStatus struct {
	ID, Title string
	Shadow    bool   // only watched: its incidents are told to nobody
	Firings   uint64 // times that its condition became true
	Incidents uint64 // incidents that it opened or became part of
	Untold    uint64 // notifications that there would have been, were it not only watched
	Growth    uint64 // observations that came while it was true
	Missing   uint64 // events or firings that lacked a field to group by or to count
}

func (c *ruleCounters) status() []RuleStatus {
	out := make([]RuleStatus, len(c.all))
	for i := range c.all {
		r := &c.plan.Rules[i]
		n := &c.all[i]
		out[i] = RuleStatus{
			ID: r.ID, Title: r.Title, Shadow: r.Shadow, Firings: n.firings.Load(), Growth: n.growth.Load(), Missing: n.missing.Load(),
			Incidents: n.incidents.Load(), Untold: n.untold.Load(),
		}
	}
	return out
}
