package ruletest

import "gatewatch/rules/sigma"

// Silent returns the titles of the rules that open incidents by themselves and
// do so in no case, in the order of the rules.
func Silent(index *sigma.Index, results []Result) []string {
	fired := map[string]bool{}
	for i := range results {
		for _, g := range results[i].Incidents {
			for _, r := range g.Rules {
				fired[r.ID] = true
			}
		}
	}
	var out []string
	plan := index.Plan()
	for i := range plan.Rules {
		if r := &plan.Rules[i]; r.Alerting && !fired[r.ID] {
			out = append(out, r.Title)
		}
	}
	return out
}
