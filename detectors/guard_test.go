package detectors

import (
	"fmt"
	"net/netip"
	"testing"

	"gatewatch/detectors/observation"
)

// waiting is a plan whose second rule counts only while the first is true.
func waiting(cond observation.Rule, more ...observation.Rule) *observation.Plan {
	cond.ID, cond.Timespan, cond.Depth, cond.Alerting = "cond", 10, 1, true
	inside := observation.Rule{ID: "inside", Type: observation.EventCount, Timespan: 10, Bounds: gte(1), Depth: 1, Alerting: true, Guard: observation.Guard{While: []uint32{0}}}
	return &observation.Plan{
		Kinds: []observation.Kind{observation.NewKind([]string{"client.address"}, []bool{true})},
		Rules: append([]observation.Rule{cond, inside}, more...),
	}
}

func gte(n float64) []observation.Bound { return []observation.Bound{{Op: observation.Gte, Value: n}} }

// say lets an engine judge hits of one client and returns what it finds.
func say(e *Engine, plan *observation.Plan, c netip.Addr, at int64, status int32, hits ...observation.Hit) string {
	var b observation.Batch
	var out Findings
	observeOne(&b, &plan.Kinds[0], c, at, false, hits)
	b.Records[0].Card.Status = status
	b.Records[0].Card.Sum()
	e.Apply(Run{Batch: &b, To: 1}, &out)
	text := ""
	for _, f := range out.List {
		text += fmt.Sprintf(" %d:%s/%t/%d", at, plan.Rules[f.Rule].ID, f.Fired, f.Number)
	}
	return text
}

// TestWaitingUndisturbed: looking for a condition that is over leaves the same behind whether or not
// the engine was written and read in between.
func TestWaitingUndisturbed(t *testing.T) {
	plan := waiting(observation.Rule{Type: observation.EventCount, Bounds: gte(6)},
		observation.Rule{ID: "slow", Type: observation.EventCount, Timespan: 100_000, Bounds: gte(4), Depth: 1, Alerting: true})
	slotOf := func(c netip.Addr) int {
		return observation.Slot(plan.Kinds[0].Hash(observation.AppendAddr(nil, c, false)))
	}
	var clients []netip.Addr // of one slot, so that they push each other out
	for i := 1; len(clients) < 2; i++ {
		if slotOf(address(i)) == slotOf(address(1)) {
			clients = append(clients, address(i))
		}
	}
	hit := func(rule uint32) observation.Hit { return observation.Hit{Rule: rule, N: 1} }
	run := func(disturb bool) string {
		e, said := New(plan, Options{Keys: 100, Entries: 8, Track: true}), ""
		for i := range int64(3) {
			said += say(e, plan, clients[1], 100+i, 200, hit(2))
		}
		for i := range int64(5) {
			said += say(e, plan, clients[0], 200+i, 200, hit(0))
		}
		if disturb {
			e = reborn(t, e, plan)
		}
		said += say(e, plan, clients[0], 300, 200, hit(1), hit(2))
		said += say(e, plan, clients[1], 320, 200, hit(2))
		return said + fmt.Sprintf(", %d entries", e.Stats().Entries)
	}
	if calm, disturbed := run(false), run(true); calm != disturbed {
		t.Errorf("undisturbed %s\ndisturbed %s", calm, disturbed)
	}
}

// TestWaitingForExpiry: what becomes true because something expires is waited for like what becomes true
// by a hit.
func TestWaitingForExpiry(t *testing.T) {
	plan := waiting(observation.Rule{Type: observation.ValueSum, ValueField: "x", Bounds: gte(5)})
	e, c := New(plan, Options{}), address(1)
	say(e, plan, c, 100, 200, observation.Hit{Rule: 0, N: 1, Number: -4})
	say(e, plan, c, 105, 200, observation.Hit{Rule: 0, N: 1, Number: 7})
	if got := say(e, plan, c, 111, 200, observation.Hit{Rule: 1, N: 1}); got == "" {
		t.Error("a sum that is reached as a number below zero expires is not waited for")
	}

	plan = waiting(observation.Rule{Type: observation.IDWalk, Walk: &observation.Walk{Missing: 1}, Bounds: gte(2)})
	for _, disturb := range []bool{false, true} {
		e := New(plan, Options{Track: true})
		for i, status := range []int32{404, 200, 404, 404} {
			id := fmt.Sprint(100 * i)
			say(e, plan, c, 100+3*int64(i), status, observation.Hit{Rule: 0, N: 1, Value: id, Hash: observation.HashValue(id)})
		}
		if disturb {
			e = reborn(t, e, plan)
		}
		said := ""
		for at := int64(110); at < 118; at++ {
			said += say(e, plan, c, at, 200, observation.Hit{Rule: 1, N: 1})
		}
		if said == "" {
			t.Errorf("ids that are all missing, as one that was not expires, are not waited for; disturbed %t", disturb)
		}
	}
}
