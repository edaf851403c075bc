package detectors

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"gatewatch/detectors/observation"
)

var baselineSeeds = flag.Int("baseline.seeds", 1, "seeds that the simulated weeks of baselines are run with")

const (
	simStart = 1_700_438_400 // Monday, 20 November 2023, 00:00 UTC
	simWeek  = 7 * 24 * 3600
)

// simulated is traffic of a site over weeks: more by day than by night, less
// at weekends, growing, noisy beyond chance, with a holiday and a deploy.
type simulated struct {
	rate  float64 // a minute, mean over the first week
	noise float64 // scatter beyond chance, of slow swings
	r     *rand.Rand
	swing float64
	extra func(at int64) float64 // what an attack multiplies with, nil for none
	scale float64
}

// shape is the mean of a minute by what users do.
func (s *simulated) shape(at int64) float64 {
	day, hour := (at-simStart)/86400, float64((at-simStart)%86400)/3600
	x := 0.25 + 1.5*math.Pow(math.Max(0, math.Sin((hour-5)/18*math.Pi)), 1.5) // night, and a long day
	if day%7 >= 5 {
		x *= 0.55
	}
	x *= math.Exp(0.04 * float64(at-simStart) / simWeek) // 4 % more each week
	if day == 31 {
		x *= 0.5 // a holiday, on a Thursday
	}
	switch deploy := at - (simStart + 38*86400 + 10*3600); {
	case 0 <= deploy && deploy < 120:
		x *= 0.1
	case 120 <= deploy && deploy < 360:
		x *= 1.4 // who failed tries again
	}
	return x
}

// minute is how many requests come in one.
func (s *simulated) minute(at int64) int {
	if s.scale == 0 {
		for i := range int64(7 * 24) {
			s.scale += s.shape(simStart+i*3600) / (7 * 24)
		}
	}
	s.swing = 0.9*s.swing + math.Sqrt(1-0.81)*s.noise*s.r.NormFloat64()
	mean := s.rate * s.shape(at) / s.scale * math.Exp(s.swing-s.noise*s.noise/2)
	if s.extra != nil {
		mean *= s.extra(at)
	}
	return poisson(s.r, mean)
}

func poisson(r *rand.Rand, mean float64) int {
	if mean > 200 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n, p := -1, 1.0
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= r.Float64()
	}
	return n
}

// simRule is a baseline of all requests that is more easily alarmed than those built in.
func simRule(up, down bool) observation.Rule {
	factor, score := 1.3, 4.0
	if down {
		factor, score = 1.6, 5 // a holiday has half of the usual
	}
	return observation.Rule{
		ID: "sim", Type: observation.RateAnomaly, Timespan: 300, Alerting: true, Depth: 1, Feed: "all",
		Baseline: observation.Baseline{Up: up, Down: down, Factor: factor, Score: score, Least: 20, Seasonal: true},
	}
}

// sim feeds simulated counts to an engine.
type sim struct {
	*simulated
	plan  *observation.Plan
	e     *Engine
	batch observation.Batch
	out   Findings
	// Of the firings: times, and whether they were in a cold start.
	fired []int64
	cold  []bool
}

func newSim(s *simulated, rules ...observation.Rule) *sim {
	plan := &observation.Plan{Kinds: []observation.Kind{observation.NewKind(nil, nil)}, Rules: rules}
	return &sim{simulated: s, plan: plan, e: New(plan, Options{})}
}

func (s *sim) run(from, to int64) {
	for at := from; at < to; at += 60 {
		s.feed(at, s.minute(at))
	}
}

// feed gives n requests of a minute to the engine: at most ten a record, so
// that they come from several clients.
func (s *sim) feed(at int64, n int) {
	s.out.Reset()
	s.e.Advance(at, &s.out)
	s.batch.Reset()
	each := max(1, n/10)
	for i := 0; n > 0; i++ {
		take := min(n, each)
		n -= take
		client := netip.AddrFrom4([4]byte{10, 0, byte(s.r.IntN(2)), byte(s.r.IntN(256))})
		observeCrowd(&s.batch, s.plan, client, at+int64(i)*5%60, uint32(take))
	}
	s.e.Apply(Run{Batch: &s.batch, To: len(s.batch.Records)}, &s.out)
	for _, f := range s.out.List {
		if f.Fired {
			s.fired = append(s.fired, f.Key.Time)
			s.cold = append(s.cold, f.Cold)
		}
	}
}

// observeCrowd adds a record of the one entity that there is without a group.
func observeCrowd(b *observation.Batch, plan *observation.Plan, client netip.Addr, at int64, n uint32) {
	rec := observation.Record{Time: at, Window: at, First: uint32(len(b.Obs)), Count: 1, Offset: int64(len(b.Records)) * 100}
	rec.Card = observation.Card{Client: client, Route: "/", Method: "GET", Status: 200}
	rec.Card.Sum()
	b.Obs = append(b.Obs, observation.Observation{Hash: plan.Kinds[0].Hash(nil), First: uint32(len(b.Hits)), Count: uint32(len(plan.Rules))})
	for i := range plan.Rules {
		b.Hits = append(b.Hits, observation.Hit{Rule: uint32(i), N: n})
	}
	b.Records = append(b.Records, rec)
}

// incidents counts firings that are more than an hour from the one before:
// as many incidents would be opened.
func incidents(times []int64) (n int) {
	last := int64(math.MinInt64)
	for _, t := range times {
		if t-last > 3600 || last == math.MinInt64 {
			n++
		}
		last = t
	}
	return n
}

// expected is what the baseline has for a bucket that begins at a time.
func (s *sim) expected(at int64) float64 {
	for i := range s.e.slots {
		for id := s.e.slots[i].main.head; id != 0; {
			ent := s.e.entities.at(id)
			w := s.e.window(ent.windows)
			m := s.e.model(view{s: s.e.slots[i], ent: ent, w: w, r: &s.e.rules[0]})
			mid, _, _, _ := m.predict(at)
			return mid
		}
	}
	return math.NaN()
}

// TestSeasonalBaselines: eight simulated weeks of traffic at several rates give
// at most one false incident a month for each baseline, of those that look for
// more and of those that look for less as well.
func TestSeasonalBaselines(t *testing.T) {
	weeks := int64(8)
	if testing.Short() || raceEnabled {
		weeks = 2
	}
	for _, rate := range []float64{0.1, 1, 10, 1000} {
		for _, down := range []bool{false, true} {
			total := 0
			for seed := range *baselineSeeds {
				s := newSim(&simulated{rate: rate, noise: 0.1, r: rand.New(rand.NewPCG(uint64(seed), 11))}, simRule(true, down))
				s.run(simStart, simStart+weeks*simWeek)
				n := incidents(s.fired)
				total += n
				if n > 2 { // eight weeks are less than two months
					t.Errorf("%v a minute, seed %d, down %t: %d false incidents in %d weeks, at %v", rate, seed, down, n, weeks, hours(s.fired))
				}
			}
			t.Logf("%v requests a minute, down too: %t: %d false incidents in %d times %d weeks", rate, down, total, *baselineSeeds, weeks)
		}
	}
}

func hours(times []int64) (out []string) {
	for _, at := range times {
		out = append(out, fmt.Sprintf("day %d %.1fh", (at-simStart)/86400, float64((at-simStart)%86400)/3600))
	}
	return out
}

// TestBaselineFinds: after some weeks a doubling for a quarter of an hour and a
// slow ramp to three times as much are found, and the baseline is then where
// it was.
func TestBaselineFinds(t *testing.T) {
	attack := int64(simStart + 4*simWeek + 2*86400 + 13*3600) // a Wednesday
	weeks := attack - simStart
	if testing.Short() || raceEnabled {
		attack -= 2 * simWeek
	}
	for _, c := range []struct {
		name  string
		rate  float64
		extra func(at int64) float64
		until int64
	}{
		{"doubling", 10, func(at int64) float64 {
			if attack+120 <= at && at < attack+120+900 {
				return 2
			}
			return 1
		}, 900},
		{"ramp", 10, func(at int64) float64 {
			if x := float64(at-attack) / 7200; 0 <= x && x < 1 {
				return 1 + 2*x
			}
			return 1
		}, 7200},
		{"flood", 1000, func(at int64) float64 {
			if attack <= at && at < attack+3600 {
				return 8
			}
			return 1
		}, 3600},
	} {
		found, sum := 0, 0.0
		for seed := range *baselineSeeds {
			seed := uint64(seed)
			s := newSim(&simulated{rate: c.rate, noise: 0.1, r: rand.New(rand.NewPCG(seed, 12)), extra: c.extra}, simRule(true, false))
			s.run(simStart, attack)
			s.fired = nil
			was := s.expected(attack + simWeek)
			s.run(attack, attack+c.until+600)
			if len(s.fired) > 0 {
				found++
				sum += float64(s.fired[0] - attack)
			}
			s.run(attack+c.until+600, attack+86400)
			calm := newSim(&simulated{rate: c.rate, noise: 0.1, r: rand.New(rand.NewPCG(seed, 12))}, simRule(true, false))
			if *baselineSeeds == 1 {
				calm.run(simStart, attack+86400)
				got, want := s.expected(attack+simWeek), calm.expected(attack+simWeek)
				if math.Abs(got-want) > 0.1*want {
					t.Errorf("%s: the next week %v is expected where it would be %v without the attack, and was %v before", c.name, got, want, was)
				}
			}
		}
		t.Logf("%s at %v a minute: found in %d of %d, after %.0f s on average (%d weeks learned)", c.name, c.rate, found, *baselineSeeds, sum/float64(max(found, 1)), weeks/simWeek)
		if found < *baselineSeeds {
			t.Errorf("%s: found in %d of %d seeds", c.name, found, *baselineSeeds)
		}
	}
}
