package sigma

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

const guards = `
title: login
id: login
detection: {s: {auth.login: 'true'}, condition: s}
---
title: other
id: other
detection: {s: {auth.login: 'false'}, condition: s}
---
title: lone
id: lone
correlation: {type: event_count, rules: [login], group-by: [client.address], timespan: 1h, condition: {gte: 2}}
gatewatch: {unless: other}
---
title: any
id: any
correlation: {type: event_count, rules: [login], group-by: [client.address], timespan: 1h, condition: {gte: 3}}
---
title: after
id: after
correlation: {type: event_count, rules: [login], group-by: [client.address], timespan: 1h, condition: {gte: 2}}
gatewatch: {after: other, while: [any, lone]}
---
title: share
id: share
correlation: {type: value_avg, rules: [login], group-by: [client.address], timespan: 1h, condition: {field: auth.failed, gte: 0.8}}
gatewatch: {at_least: 20, newest: 50}
---
title: share of clients
id: clients
correlation: {type: value_avg, rules: [lone], group-by: [http.route], timespan: 1h, condition: {field: auth.failed, gte: 0.8}}
`

func TestGuardPlan(t *testing.T) {
	x := mustCompile(t, guards)
	index := func(id string) uint32 {
		for i := range x.plan.Rules {
			if x.plan.Rules[i].ID == id {
				return uint32(i)
			}
		}
		t.Fatal(id)
		return 0
	}
	if diff := cmp.Diff(observation.Guard{Unless: true}, planned(t, x, "lone").Guard); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(observation.Guard{After: true, While: []uint32{index("any"), index("lone")}}, planned(t, x, "after").Guard); diff != "" {
		t.Error(diff)
	}
	if r := planned(t, x, "share"); r.Least != 20 || r.Newest != 50 || r.Keep() != 50 {
		t.Errorf("share: at least %d, newest %d, keeps %d", r.Least, r.Newest, r.Keep())
	}
	if planned(t, x, "clients").ValueField != "auth.failed" {
		t.Error("the share of firings is not measured")
	}
	// What a guard looks at opens nothing by itself, and no window is shared
	// by rules of which other events count.
	if planned(t, x, "any").Alerting {
		t.Error("a rule that another waits for opens incidents")
	}
	for i := range x.plan.Rules {
		if x.plan.Rules[i].ID == "other" {
			t.Error("a detection that a guard looks for opens incidents")
		}
	}
	if a, b := planned(t, x, "any").Feed, planned(t, x, "lone").Feed; a == b {
		t.Error("rules with other guards share a window")
	}
}

// An event that a guard looks for marks the entity, also where no rule counts it.
func TestGuardMarks(t *testing.T) {
	x := mustCompile(t, guards)
	m := x.NewMatcher()
	for _, c := range []struct {
		login bool
		hits  bool
	}{{true, true}, {false, false}} {
		ev := request("POST", "/login", 401, "ua")
		ev.Login, ev.Outcome = c.login, event.OutcomeFailure
		var b observation.Batch
		m.Observe(ev, &b)
		if len(b.Obs) != 1 || b.Obs[0].Mark == c.login || (b.Obs[0].Count > 0) != c.hits {
			t.Errorf("login %t: %+v", c.login, b.Obs)
		}
	}
}

// Leaving out what a guard looks at leaves out the rule: it would be louder without.
func TestGuardDisabled(t *testing.T) {
	docs := []Document{{File: "r.yml", Data: []byte(guards)}}
	set, problems := Parse(docs)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	x, problems := set.Compile(CompileOptions{Disable: func(r *Rule) bool { return r.ID == "other" }})
	for _, p := range problems {
		if p.Severity != Warning {
			t.Error(p.Error())
		}
	}
	if len(problems) != 2 {
		t.Errorf("%d warnings, want those of lone and after: %v", len(problems), problems)
	}
	for i := range x.plan.Rules {
		if id := x.plan.Rules[i].ID; id == "lone" || id == "after" || id == "clients" {
			t.Errorf("%s is still there", id)
		}
	}
}

// The numbers of outcomes are the same on both sides of the border.
func TestOutcomes(t *testing.T) {
	if observation.OutcomeSuccess != uint8(event.OutcomeSuccess) || observation.OutcomeFailure != uint8(event.OutcomeFailure) {
		t.Error("the outcomes of cards are not those of events")
	}
	for o := event.OutcomeNone; o <= event.OutcomeUnknown; o++ {
		n, ok := o.Failed()
		text, has := observation.CardField(&observation.Card{Outcome: uint8(o)}, "auth.failed")
		if ok != has || ok && text != map[int64]string{0: "0", 1: "1"}[n] {
			t.Errorf("%s: %d %t, %q %t", o, n, ok, text, has)
		}
	}
}
