package alerting

import (
	"slices"
	"testing"
)

// What keeps a mean down is no part of the incident that the mean opens: its
// clients are not listed, it is not counted, and it hides nobody who made the rest.
func TestAside(t *testing.T) {
	p := testPlan()
	b := NewBook(p, BookOptions{})
	f := finding(p, ruleRoute, "/login", true,
		seen{at: t0, client: "203.0.113.1"}, seen{at: t0 + 1, client: "198.51.100.9"}, seen{at: t0 + 2, client: "203.0.113.2"})
	f.Items[1].Aside = true
	b.Apply(f)
	f = finding(p, ruleRoute, "/login", false, seen{at: t0 + 3, client: "198.51.100.10"})
	f.Items[0].Aside = true
	b.Apply(f)
	inc := b.Incidents()[0]
	if want := []string{"203.0.113.1", "203.0.113.2"}; !slices.Equal(inc.Sources, want) || inc.Count != 2 {
		t.Errorf("%d of %v, want 2 of %v", inc.Count, inc.Sources, want)
	}

	b = NewBook(p, BookOptions{})
	f = finding(p, ruleRoute, "/login", true,
		seen{at: t0, client: "203.0.113.1"}, seen{at: t0 + 1, client: "198.51.100.9"}, seen{at: t0 + 2, client: "203.0.113.1"})
	f.Items[1].Aside = true
	b.Apply(f)
	if inc := b.Incidents()[0]; inc.Subject != "client" || inc.Group["client.address"] != "203.0.113.1" {
		t.Errorf("it accuses %s %v, want the client that made all of it", inc.Subject, inc.Group)
	}
}
