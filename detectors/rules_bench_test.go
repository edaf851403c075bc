package detectors

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gatewatch/detectors/observation"
)

// manyRules is a plan with rules over five group-by lists, as many for each.
type manyRules struct {
	name string
	each int // rules of a list
	// rule makes rule i of a list.
	rule func(i int) observation.Rule
	// matches is how many of the rules of a list an event counts for, chosen at
	// random; 0 for all.
	matches int
}

func (m manyRules) plan() *observation.Plan {
	p := &observation.Plan{}
	for _, fields := range [][]string{{"client.address"}, {"auth.account"}, {"http.route"}, {"client.address", "http.route"}, {"principal"}} {
		address := make([]bool, len(fields))
		for i, f := range fields {
			address[i] = f == "client.address"
		}
		kind := uint16(len(p.Kinds))
		p.Kinds = append(p.Kinds, observation.NewKind(fields, address))
		for i := range m.each {
			r := m.rule(i)
			r.ID, r.Kind, r.Depth, r.Alerting, r.Type = fmt.Sprint(fields, i), kind, 1, true, observation.EventCount
			p.Rules = append(p.Rules, r)
		}
	}
	return p
}

// events fills a batch with events of 2,000 clients, accounts and principals
// on 20 routes, over half an hour.
func (m manyRules) events(p *observation.Plan, n int) *observation.Batch {
	const each = 2000
	r := rand.New(rand.NewPCG(5, 6))
	shares := p.Shares()
	b := &observation.Batch{}
	for i := range n {
		at := int64(1_700_000_000 + i*1800/n)
		rec := observation.Record{Time: at, Window: at, Offset: int64(i) * 200, Line: int64(i) + 1, First: uint32(len(b.Obs)), Count: uint32(len(p.Kinds))}
		rec.Card = observation.Card{Client: address(r.IntN(each)), Account: fmt.Sprint("user", r.IntN(each)), Route: fmt.Sprint("/api/", r.IntN(20)), Method: "POST", Status: 401}
		rec.Card.Sum()
		b.Records = append(b.Records, rec)
		principal := fmt.Sprint("key", r.IntN(each))
		var chosen []int
		for k := range p.Kinds {
			var values []byte
			for _, f := range p.Kinds[k].Fields {
				switch f {
				case "client.address":
					values = observation.AppendAddr(values, rec.Card.Client, false)
				case "auth.account":
					values = observation.AppendText(values, rec.Card.Account)
				case "http.route":
					values = observation.AppendText(values, rec.Card.Route)
				default:
					values = observation.AppendText(values, principal)
				}
			}
			o := observation.Observation{Kind: uint16(k), Hash: p.Kinds[k].Hash(values), Values: b.KeepBytes(values), First: uint32(len(b.Hits))}
			chosen = chosen[:0]
			for i := range m.each {
				chosen = append(chosen, i)
			}
			if m.matches > 0 {
				chosen = append(chosen[:0], r.IntN(m.each))
			}
			for _, i := range chosen {
				rule := uint32(k*m.each + i)
				if shares[rule].Leader == rule {
					b.Hits = append(b.Hits, observation.Hit{Rule: rule, N: 1})
					o.Count++
				}
			}
			b.Obs = append(b.Obs, o)
		}
	}
	return b
}

var manyRulesCases = []manyRules{
	{name: "5 rules", each: 1, rule: func(int) observation.Rule {
		return observation.Rule{Feed: "f", Timespan: 600, Bounds: atLeast(5000)}
	}},
	{name: "100 bounds", each: 20, rule: func(i int) observation.Rule {
		return observation.Rule{Feed: "f", Timespan: 600, Bounds: atLeast(3100 + 100*i)}
	}},
	{name: "100 bounds and timespans", each: 20, rule: func(i int) observation.Rule {
		return observation.Rule{Feed: "f", Timespan: int64(600 >> (i % 5)), Bounds: atLeast(3100 + 100*i)}
	}},
	{name: "100 bounds low", each: 20, rule: func(i int) observation.Rule {
		return observation.Rule{Feed: "f", Timespan: int64(600 >> (i % 5)), Bounds: atLeast(100 + 10*i)}
	}},
	{name: "100 detections, one matches", each: 20, matches: 1, rule: func(i int) observation.Rule {
		return observation.Rule{Feed: fmt.Sprint("f", i), Timespan: 600, Bounds: atLeast(5000)}
	}},
	{name: "100 detections, all match", each: 20, rule: func(i int) observation.Rule {
		return observation.Rule{Feed: fmt.Sprint("f", i), Timespan: 600, Bounds: atLeast(5000)}
	}},
}

func atLeast(n int) []observation.Bound {
	return []observation.Bound{{Op: observation.Gte, Value: float64(n)}}
}

// BenchmarkRules is an event that counts for rules over five group-by lists:
// five rules, or a hundred.
func BenchmarkRules(b *testing.B) {
	for _, m := range manyRulesCases {
		b.Run(m.name, func(b *testing.B) {
			plan := m.plan()
			batch := m.events(plan, 40_000)
			e := New(plan, Options{})
			var out Findings
			span := int64(1800)
			b.ReportAllocs()
			for i := 0; b.Loop(); {
				out.Reset()
				e.Apply(Run{Batch: batch, From: i, To: i + 1000}, &out)
				for j := i; j < i+1000; j++ {
					batch.Records[j].Window += span
				}
				i = (i + 1000) % len(batch.Records)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
		})
	}
}
