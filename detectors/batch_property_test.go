package detectors

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// state is all that an engine keeps of entities, windows, entries and baselines, in an order of its own.
func (e *Engine) state(t *testing.T) string {
	t.Helper()
	var all []string
	for _, s := range e.slots {
		if s == nil {
			continue
		}
		for _, l := range []*list{&s.probation, &s.main} {
			for id := l.head; id != 0; id = e.entities.at(id).next {
				ent := e.entities.at(id)
				out := fmt.Sprintf("kind %d %q place %d touched %d marked %d", ent.kind, e.entityValues(ent), ent.place, ent.touched, ent.marked)
				var windows []string
				for wid := ent.windows; wid != 0; wid = e.window(wid).next {
					windows = append(windows, e.windowState(t, wid, ent))
				}
				slices.Sort(windows)
				all = append(all, out+strings.Join(windows, ""))
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (e *Engine) windowState(t *testing.T, wid uint32, ent *entity) string {
	t.Helper()
	w := e.window(wid)
	r := &e.rules[w.rule]
	out := fmt.Sprintf("\n  rule %d total %d fired %b lost %d", w.rule, w.total, w.fired, w.lost)
	members := map[memberAddr]bool{}
	for id := w.head; id != 0; id = e.nodes.at(id).next {
		nd := e.nodes.at(id)
		out += fmt.Sprintf("\n    %d %d:%d+%d counted %b %s %s", nd.time, nd.offset, nd.line, nd.length, nd.counted, e.clientOf(ent, nd), e.cards.entries[nd.card].value.Route)
		if r.Type != observation.RateAnomaly {
			out += fmt.Sprint(" ", r.typ.size(nd))
			continue
		}
		x := e.senders.at(nd.what)
		if members[x.client] || x.node != id || x.window != wid || e.member(wid, x.client) != x {
			t.Errorf("rule %d of %q: %v is there twice, or is not found", w.rule, e.entityValues(ent), x.client.addr())
		}
		members[x.client] = true
		out += fmt.Sprintf(" %v at %d first %d usual %g", x.events, x.at, x.first, x.usual)
		if x.sums != 0 {
			out += fmt.Sprint(" ", *e.sums.at(x.sums))
		}
	}
	if r.Type == observation.RateAnomaly && w.side != 0 {
		b := *e.baselines.at(w.side)
		b.days = [7]uint32{} // numbers of places
		out += fmt.Sprintf("\n    %+v", b)
	}
	return out
}

// add puts a record into a batch, as apply does. With meet all routes have one hash, as
// somebody can make them have who looks for such names.
func (rec *rateRecord) add(b *observation.Batch, plan *observation.Plan, meet bool) {
	or := observation.Record{Time: rec.at, Window: rec.at, Offset: int64(len(b.Records)), Line: rec.at - 1_700_000_000, Length: 10, First: uint32(len(b.Obs))}
	or.Card = observation.Card{Client: oracleClient(rec.client), Route: rec.route, Method: "GET", Status: 200}
	or.Card.Sum()
	for kind := range plan.Kinds {
		var values []byte
		switch kind {
		case 1:
			values = observation.AppendText(nil, rec.route)
		case 2:
			values = observation.AppendAddr(nil, oracleClient(rec.client), false)
		}
		o := observation.Observation{Kind: uint16(kind), Hash: plan.Kinds[kind].Hash(values), Values: b.KeepBytes(values), First: uint32(len(b.Hits))}
		if kind == 1 && meet {
			o.Hash = 0x7777_7777_7777_7777
		}
		for i := range plan.Rules {
			if int(plan.Rules[i].Kind) == kind {
				b.Hits = append(b.Hits, observation.Hit{Rule: uint32(i), N: rec.n, Number: rec.bytes})
				o.Count++
			}
		}
		if o.Count > 0 {
			b.Obs = append(b.Obs, o)
			or.Count++
		}
	}
	b.Records = append(b.Records, or)
}

// TestBatches: what is found and kept does not depend on how many records come at once,
// and a cut that is written while records are judged holds what was there when it began.
func TestBatches(t *testing.T) {
	n := 24
	if testing.Short() || raceEnabled {
		n = 4
	}
	met, cuts := 0, 0
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 77))
		plan := ratePlan(r)
		for i := range 2 {
			plan.Rules = append(plan.Rules, observation.Rule{
				ID: fmt.Sprint("c", i), Type: observation.EventCount, Kind: 2, Timespan: int64(5 + r.IntN(30)), Alerting: true, Depth: 1, Feed: "count",
				Bounds: []observation.Bound{{Op: observation.Gte, Value: float64(2 + r.IntN(6))}},
			})
		}
		opts := Options{Track: true}
		if r.IntN(2) == 0 {
			opts.Keys, opts.Entries = 8+r.IntN(8), 40
		}
		meet := r.IntN(3) == 0
		if meet {
			met++
		}
		single, batches := New(plan, opts), New(plan, opts)
		stream := rateStream(r)
		for len(stream) > 0 {
			size := min(1+r.IntN(200), len(stream))
			part := stream[:size]
			stream = stream[size:]
			cutting := r.IntN(3) == 0
			var want string
			if cutting {
				cuts++
				want = single.state(t)
				batches.BeginCut(1, func(int) bool { return true })
				for range r.IntN(20) {
					batches.EncodeSome(1)
				}
			}
			var one, all Findings
			var whole observation.Batch
			for i := range part {
				var b observation.Batch
				part[i].add(&b, plan, meet)
				b.Records[0].Offset = int64(i)
				single.Apply(Run{Batch: &b, To: 1}, &one)
				part[i].add(&whole, plan, meet)
			}
			batches.Apply(Run{Batch: &whole, To: len(whole.Records)}, &all)
			one.Sort()
			all.Sort()
			if a, b := findingsText(&one), findingsText(&all); a != b {
				t.Fatalf("seed %d: findings (-one at a time +%d at once):\n%s", seed, size, cmp.Diff(a, b))
			}
			if cutting {
				disk := map[int][][]byte{}
				for _, s := range batches.EndCut() {
					disk[s.Slot] = s.Chunks
				}
				if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(fromDisk(t, disk, plan, opts).state(t), "\n")); diff != "" {
					t.Fatalf("seed %d: a cut (-what was there when it began +what it holds):\n%s", seed, diff)
				}
			}
			if diff := cmp.Diff(strings.Split(single.state(t), "\n"), strings.Split(batches.state(t), "\n")); diff != "" {
				t.Fatalf("seed %d: state (-one at a time +%d at once):\n%s", seed, size, diff)
			}
		}
	}
	if met == 0 || cuts < n {
		t.Errorf("%d streams with hashes that meet, %d cuts", met, cuts)
	}
}
