package alerting

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// partPlan is testPlan with rules that speak of the part of a client, of what
// happens while another rule is true, and of firings.
func partPlan() (p *observation.Plan, part, got, route, gotOfRoute uint32) {
	p = testPlan()
	kind := uint16(len(p.Kinds))
	p.Kinds = append(p.Kinds, observation.NewKind([]string{"client.address", "user_agent.original"}, []bool{true, false}))
	add := func(r observation.Rule, id string) uint32 {
		r.ID, r.Title = id, "Title of "+id
		p.Rules = append(p.Rules, r)
		return uint32(len(p.Rules) - 1)
	}
	part = add(p.Rules[ruleStuff], "part-fails")
	p.Rules[part].Kind = kind
	got = add(p.Rules[part], "part-got-in")
	p.Rules[got].Guard.While = []uint32{part}
	route = add(p.Rules[ruleRoute], "campaign")
	p.Rules[route].Depth = 2
	gotOfRoute = add(p.Rules[route], "campaign-got-in")
	p.Rules[gotOfRoute].Guard.While = []uint32{route}
	return p, part, got, route, gotOfRoute
}

func ofPart(p *observation.Plan, rule uint32, client, agent string, items ...seen) *observation.Finding {
	f := finding(p, ruleStuff, client, true, items...)
	f.Rule, f.Kind = rule, p.Rules[rule].Kind
	values := observation.AppendText(observation.AppendAddr(nil, netip.MustParseAddr(client), false), agent)
	f.Values, f.Hash = string(values), p.Kinds[f.Kind].Hash(values)
	return f
}

// Behind a shared address an incident names the part that misbehaves, and
// nothing that a rule about the whole address counts is said of it.
func TestPartOfASharedAddress(t *testing.T) {
	p, part, got, _, _ := partPlan()
	b := testBook(p, nil)
	const office = "198.51.100.20"
	b.Apply(ofPart(p, part, office, "robot", seen{at: 1, client: office, account: "anna"}, seen{at: 2, client: office, account: "bert"}))
	b.Apply(finding(p, ruleStuff, office, true, seen{at: 1, client: office, account: "anna"}, seen{at: 3, client: office, account: "honest"}))
	f := ofPart(p, got, office, "robot", seen{at: 4, client: office, account: "carl"})
	f.Items[0].Card.Status, f.Items[0].Card.Outcome = 200, observation.OutcomeSuccess
	b.Apply(f)
	inc := only(t, b)
	if diff := cmp.Diff(map[string]string{"client.address": office, "user_agent.original": "robot"}, inc.Group); diff != "" {
		t.Error(diff)
	}
	if want := []string{"anna", "bert", "carl"}; !slices.Equal(slices.Sorted(slices.Values(inc.Accounts)), want) {
		t.Errorf("accounts %v, want %v", inc.Accounts, want)
	}
	if want := []string{"carl"}; !slices.Equal(inc.Entered, want) {
		t.Errorf("entered %v, want %v", inc.Entered, want)
	}
	// It is the same after a restart.
	next := testBook(p, nil)
	ops := b.Changes()
	if err := next.Load(func(f func(key, value []byte) error) error {
		for _, op := range ops {
			if err := f(op.Key, op.Value); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(inc.Entered, only(t, next).Entered); diff != "" {
		t.Error(diff)
	}
	// A second part: now it is the whole address.
	b.Apply(ofPart(p, part, office, "another", seen{at: 5, client: office}, seen{at: 6, client: office}))
	if diff := cmp.Diff(map[string]string{"client.address": office}, only(t, b).Group); diff != "" {
		t.Error(diff)
	}
}

// Who gets in while a campaign lasts is part of it, and raises it.
func TestEnteredInACampaign(t *testing.T) {
	p, _, _, route, got := partPlan()
	p.Rules[route].Level = observation.Medium
	b := testBook(p, nil)
	f := finding(p, ruleRoute, "/login", true, seen{at: 1, client: "203.0.113.1"}, seen{at: 2, client: "203.0.113.2"})
	f.Rule = route
	b.Apply(f)
	f = finding(p, ruleRoute, "/login", true, seen{at: 3, client: "203.0.113.3", account: "anna"})
	f.Rule = got
	f.Items[0].Card.Outcome = observation.OutcomeSuccess
	b.Apply(f)
	inc := only(t, b)
	if inc.Subject != "population" || inc.Level != observation.High || !slices.Equal(inc.Entered, []string{"anna"}) || inc.SourcesTotal != 3 {
		t.Errorf("%s", asJSON(t, inc))
	}
}

// An incident that counts firings counts parties. A member with an incident of
// its own stands while it is one of few; when many have one, that is how the
// campaign works.
func TestLoudMembersOfFirings(t *testing.T) {
	p, _, _, route, _ := partPlan()
	b := testBook(p, nil)
	var members []seen
	for i := range 60 {
		members = append(members, seen{at: int64(i), client: fmt.Sprintf("203.0.113.%d", i)})
	}
	f := finding(p, ruleRoute, "/login", true, members...)
	f.Rule = route
	b.Apply(f)
	standing := func() (n int) {
		for _, inc := range b.Incidents() {
			if inc.Parent == "" && inc.Subject == "client" {
				n++
			}
		}
		return n
	}
	for i := range 4 {
		client := fmt.Sprintf("203.0.113.%d", i)
		b.Apply(finding(p, ruleStuff, client, true, seen{at: 100, client: client, n: 12}))
		if got := standing(); got != i+1 {
			t.Fatalf("%d of %d loud members stand", got, i+1)
		}
	}
	for i := 4; i < 30; i++ {
		client := fmt.Sprintf("203.0.113.%d", i)
		b.Apply(finding(p, ruleStuff, client, true, seen{at: 200, client: client, n: 12}))
	}
	if got := standing(); got != 0 {
		t.Errorf("%d stand of thirty members that are all as loud", got)
	}
	client := "203.0.113.40"
	b.Apply(finding(p, ruleStuff, client, true, seen{at: 300, client: client, n: 5000}))
	if got := standing(); got != 1 {
		t.Errorf("%d stand, want the one that made more than all others together", got)
	}
}
