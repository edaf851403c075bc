package detectors

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"gatewatch/detectors/observation"
)

// floodPlan is what the built-in rules ask of most requests: a flood rule that
// is always on, failed logins and probed paths by client.
func floodPlan() *observation.Plan {
	gte := func(n float64) []observation.Bound { return []observation.Bound{{Op: observation.Gte, Value: n}} }
	return &observation.Plan{
		Kinds: []observation.Kind{observation.NewKind([]string{"client.address"}, []bool{true})},
		Rules: []observation.Rule{
			{ID: "flood", Type: observation.EventCount, Timespan: 60, Bounds: gte(600), Depth: 1, Alerting: true},
			{ID: "fails", Type: observation.EventCount, Timespan: 3600, Bounds: gte(20), Depth: 1, Alerting: true},
			{ID: "paths", Type: observation.ValueCount, Timespan: 3600, Bounds: gte(20), Depth: 1, Alerting: true},
		},
	}
}

// flood drives an engine request by request.
type flood struct {
	e     *Engine
	plan  *observation.Plan
	batch observation.Batch
	out   Findings
	fired map[netip.Addr]int // requests of a client until it fired
	sent  map[netip.Addr]int
}

func newFlood(budget int64) *flood {
	keys, entries := CapsFor(budget)
	plan := floodPlan()
	return &flood{e: New(plan, Options{Keys: keys, Entries: entries}), plan: plan, fired: map[netip.Addr]int{}, sent: map[netip.Addr]int{}}
}

func (f *flood) request(c netip.Addr, at int64, hits ...observation.Hit) {
	f.batch.Reset()
	observeOne(&f.batch, &f.plan.Kinds[0], c, at, false, hits)
	f.out.Reset()
	f.e.Apply(Run{Batch: &f.batch, To: 1}, &f.out)
	for i := range f.out.List {
		if x := &f.out.List[i]; x.Fired && f.fired[c] == 0 && f.sent[c] > 0 {
			f.fired[c] = f.sent[c] + 1
		}
	}
}

func request() observation.Hit { return observation.Hit{Rule: 0, N: 1} }

func failure() observation.Hit { return observation.Hit{Rule: 1, N: 1} }

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// TestFlood: a budget of 64 MiB, a million addresses with one request each,
// then 300,000 with three each. Slow attackers send a failed login every 24
// seconds, 20 of which within an hour fire.
func TestFlood(t *testing.T) {
	const (
		singles, triples = 1_000_000, 300_000
		threshold        = 20
		every            = 24 // seconds between two requests of a slow attacker: 2.5 a minute
	)
	f := newFlood(64 << 20)
	r := rand.New(rand.NewPCG(1, 2))
	now := int64(1_700_000_000)
	before, middle, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	attack := func(c netip.Addr) {
		f.request(c, now, request(), failure())
		f.sent[c]++
	}
	for range threshold / 2 {
		attack(before)
		now += every
	}
	started := now
	pace := func(i, per int, attackers ...netip.Addr) {
		if i%per != 0 {
			return
		}
		now++
		if (now-started)%every == 0 {
			for _, a := range attackers {
				if f.fired[a] == 0 {
					attack(a)
				}
			}
		}
	}
	// The first wave brings a thousand addresses a second, the second wave
	// twenty times as many requests, so that all its addresses are live at once.
	for i := range singles {
		f.request(address(i), now, request())
		switch {
		case i < singles/2:
			pace(i, 1000, before)
		default:
			pace(i, 1000, before, middle)
		}
	}
	first := f.e.Stats()
	if first.Dropped == 0 {
		t.Error("nothing was dropped from probation by the first wave")
	}
	order := r.Perm(3 * triples)
	for i, n := range order {
		f.request(address(1<<21+n%triples), now, request())
		pace(i, 20_000, before, middle, second)
	}
	for f.fired[second] == 0 && f.sent[second] < 10*threshold {
		attack(second)
		now += every
	}
	st := f.e.Stats()
	for name, a := range map[string]netip.Addr{"under way before the flood": before, "begun in the middle of the million": middle} {
		if late := f.fired[a] - threshold; f.fired[a] == 0 || late > 3 {
			t.Errorf("the attacker %s fired after %d requests, want at most %d", name, f.fired[a], threshold+3)
		} else {
			t.Logf("the attacker %s fired %d requests later than without the flood", name, late)
		}
	}
	if f.fired[second] == 0 && st.EvictedAlive == 0 {
		t.Error("the attacker of the second wave was neither caught nor is an eviction counted")
	}
	t.Logf("the attacker of the second wave fired %d requests later", f.fired[second]-threshold)
	if st.Evicted == 0 || st.EvictedAlive == 0 {
		t.Errorf("no eviction is counted: %+v", st)
	}
	t.Logf("%+v", st)
}

// populate fills an engine with n entities: 70 % with one entry, 25 % with 3,
// 5 % with 20.
func populate(f *flood, n int, now int64) {
	const chunk = 1000
	var hits []observation.Hit
	for i := 0; i < n; {
		f.batch.Reset()
		for range chunk {
			count := 1
			switch i % 20 {
			case 0:
				count = 20
			case 1, 2, 3, 4, 5:
				count = 3
			}
			for j := range count {
				hits = append(hits[:0], request())
				if j%4 == 3 {
					v := fmt.Sprintf("/missing/%d", j)
					hits = append(hits, failure(), observation.Hit{Rule: 2, N: 1, Hash: observation.HashValue(v), Value: v})
				}
				// Apart in time, so that no two entries join.
				observeOne(&f.batch, &f.plan.Kinds[0], address(i), now+int64(j), false, hits)
			}
			i++
		}
		f.out.Reset()
		f.e.Apply(Run{Batch: &f.batch, To: len(f.batch.Records)}, &f.out)
	}
}

// BenchmarkMemory reports the bytes that an entity takes.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		plan := floodPlan()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		f := &flood{e: New(plan, Options{Keys: 1 << 14, Entries: 1 << 16, Track: true}), plan: plan}
		f.e.probationCap = 1 << 14
		populate(f, n, 1_700_000_000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		st := f.e.Stats()
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(st.Entities), "B/entity")
		b.ReportMetric(float64(st.Entities), "entities")
		b.ReportMetric(float64(st.Entries)/float64(st.Entities), "entries/entity")
	}
}

// BenchmarkObserve is one request of one of 50,000 clients.
func BenchmarkObserve(b *testing.B) {
	f := newFlood(256 << 20)
	now := int64(1_700_000_000)
	const clients = 50_000
	for i := range clients {
		f.request(address(i), now, request())
	}
	r := rand.New(rand.NewPCG(3, 4))
	f.batch.Reset()
	for range 100_000 {
		now += int64(r.IntN(500) / 499)
		observeOne(&f.batch, &f.plan.Kinds[0], address(r.IntN(clients)), now, false, []observation.Hit{request()})
	}
	span := now - f.batch.Records[0].Window + 1
	b.ReportAllocs()
	for i := 0; b.Loop(); {
		f.out.Reset()
		f.e.Apply(Run{Batch: &f.batch, From: i, To: i + 1000}, &f.out)
		for j := i; j < i+1000; j++ {
			f.batch.Records[j].Window += span
		}
		i = (i + 1000) % len(f.batch.Records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/obs")
}
