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

type ruleCounter struct{ firings, growth, missing atomic.Uint64 }

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
	Firings   uint64 // times that its condition became true
	Growth    uint64 // observations that came while it was true
	Missing   uint64 // events or firings that lacked a field to group by or to count
}

func (c *ruleCounters) status() []RuleStatus {
	out := make([]RuleStatus, len(c.all))
	for i := range c.all {
		r := &c.plan.Rules[i]
		out[i] = RuleStatus{ID: r.ID, Title: r.Title, Firings: c.all[i].firings.Load(), Growth: c.all[i].growth.Load(), Missing: c.all[i].missing.Load()}
	}
	return out
}
