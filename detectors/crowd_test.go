package detectors

import (
	"math/rand/v2"
	"testing"

	"gatewatch/detectors/observation"
)

// site is a site with one baseline, fed by clients that are numbers.
type site struct {
	e     *Engine
	plan  *observation.Plan
	found []observation.Finding
}

const siteBegins = 1_700_438_400

func newSite(rules ...observation.Rule) *site {
	plan := &observation.Plan{Kinds: []observation.Kind{observation.NewKind(nil, nil)}, Rules: rules}
	return &site{e: New(plan, Options{}), plan: plan}
}

// at lets time pass.
func (s *site) at(t int64) {
	var out Findings
	s.e.Advance(t, &out)
	s.found = append(s.found, out.List...)
}

// send is n requests of a client.
func (s *site) send(t int64, client, n int) {
	s.at(t)
	var b observation.Batch
	var out Findings
	observeCrowd(&b, s.plan, address(client), t, uint32(n))
	s.e.Apply(Run{Batch: &b, To: 1}, &out)
	s.found = append(s.found, out.List...)
}

func baselineRule(id string, length int64, b observation.Baseline) observation.Rule {
	return observation.Rule{ID: id, Type: observation.RateAnomaly, Timespan: length, Alerting: true, Depth: 1, Feed: "all", Baseline: b}
}

// threeDays is a silence rule after three days of thirty clients with two requests a minute each.
func threeDays() (s *site, at int64) {
	s = newSite(baselineRule("silence", 300, observation.Baseline{Down: true, Factor: 5, Score: 5, Least: 20, Seasonal: true, Spread: observation.SpreadAny}))
	at = siteBegins
	for ; at < siteBegins+3*86400; at += 300 {
		for c := range 30 {
			s.send(at+int64(c)*9, c, 10)
		}
	}
	s.found = nil
	return s, at
}

// TestOutageGoesOn: an outage of three hours is one for three hours, also when all clients are forgotten.
func TestOutageGoesOn(t *testing.T) {
	s, at := threeDays()
	for end := at + 3*3600; at < end; at += 300 {
		s.at(at)
	}
	fired := 0
	for i := range s.found {
		if s.found[i].Fired {
			fired++
		}
	}
	if last := s.found[len(s.found)-1]; fired != 1 || last.Key.Time < at-600 {
		t.Errorf("fired %d times, and was told of last %d s before the end", fired, at-last.Key.Time)
	}
}

// TestFallNamesNobody: who sends more than before while all others are gone has no part in that.
func TestFallNamesNobody(t *testing.T) {
	s, at := threeDays()
	for end := at + 900; at < end; at += 300 {
		s.send(at, 1, 32)
	}
	s.at(at)
	if len(s.found) == 0 || !s.found[0].Fired || !s.found[0].Everybody || len(s.found[0].Items) > 0 {
		t.Errorf("found %+v", s.found)
	}
}

// TestMoreOfAllSorts: of all sorts of users as many times more come, and none of them stands out.
func TestMoreOfAllSorts(t *testing.T) {
	more := observation.Baseline{Up: true, Factor: 1.5, Score: 5, Least: 100, Seasonal: true, Spread: observation.SpreadFew}
	even := more
	even.Spread = observation.SpreadEven
	few, crowds, n := 0, 0, 60
	if testing.Short() || raceEnabled {
		n = 10
	}
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 3))
		type sort struct{ arrive, life, rate int }
		var sorts []sort
		for range 1 + r.IntN(2) {
			sorts = append(sorts, sort{3 + r.IntN(10), 1 + r.IntN(6), 3 + r.IntN(20)})
		}
		type user struct{ id, left, rate int }
		var here []user
		s, at, next := newSite(baselineRule("few", 60, more), baselineRule("even", 60, even)), int64(siteBegins), 0
		minute := func(f float64) {
			for _, x := range sorts {
				for range poisson(r, float64(x.arrive)*f) {
					next++
					here = append(here, user{next, x.life, x.rate})
				}
			}
			var stay []user
			for i, u := range here {
				s.send(at+int64(i*59/len(here)), u.id, u.rate)
				if u.left--; u.left > 0 {
					stay = append(stay, u)
				}
			}
			here = stay
			at += 60
		}
		for range 5 * 60 {
			minute(1)
		}
		s.found = nil
		times := 2.2 + 2*r.Float64()
		for range 12 {
			minute(times)
		}
		for i := range s.found {
			switch f := &s.found[i]; {
			case f.Fired && s.plan.Rules[f.Rule].ID == "even":
				crowds++
			case f.Fired && !f.Everybody:
				few++
			}
		}
	}
	t.Logf("%d sites: %d crowds, %d taken for few", n, crowds, few)
	if few > n/30 || crowds < n/2 {
		t.Errorf("%d sites: %d crowds, %d taken for few", n, crowds, few)
	}
}
