package sigma

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// TestShapes: a matcher that knows the shapes of many events, their agents, and what detections
// give together finds and gives what one does that works all out, with the built-in rules.
func TestShapes(t *testing.T) {
	x := builtinIndex(t)
	r := rand.New(rand.NewPCG(7, 7))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	known, plain := x.NewMatcher(), x.NewMatcher()
	agents := map[int]*event.Agent{}
	var a, b observation.Batch
	events, found, several := 0, 0, 0
	for range 150 {
		for i := range x.dets {
			ev := makeEvent(r, x.dets[i].cond, r.IntN(2) == 0, 3)
			if ev == nil {
				continue
			}
			if r.IntN(2) == 0 {
				ev.User, ev.UserVerified = pick("", "bob", "ann"), r.IntN(2) == 0
				ev.ConsumerID, ev.KeyID, ev.ForwardedFor = pick("", "", "shop"), pick("", "", "k1"), pick("", "", "203.0.113.9, 10.0.0.1")
				ev.Action, ev.ClientClass = event.Action(r.IntN(4)), event.ClientClass(r.IntN(6))
				ev.Client = netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(3))})
			}
			switch r.IntN(8) {
			case 0:
				ev.Status = []int32{0, -1, 1000, 7000}[r.IntN(4)]
			case 1:
				ev.BodySize, ev.Client = -1, netip.Addr{}
			case 2:
				ev.Method, ev.MethodOriginal = "_OTHER", "BREW"
			case 3:
				ev.Account, ev.ObjectID = pick("", "bob", "eve"), pick("", "7", "8", "a-b")
				ev.Outcome, ev.Malformed = event.Outcome(r.IntN(5)), event.Malformed(r.IntN(7))
			}
			if n := r.IntN(40); n < 30 && ev.UserAgent != "" { // places in the deriver's memory change hands
				if a := agents[n]; a == nil || a.Text != ev.UserAgent {
					agents[n] = &event.Agent{Text: ev.UserAgent, Number: n}
				}
				ev.Agent = agents[n]
			}
			plain.find(ev)
			want := fmt.Sprint(plain.matched)
			if r.IntN(5) == 0 { // as whoever explains an event does
				known.find(ev)
			}
			for range 2 { // the second time all of it is known
				known.match(ev)
				if got := fmt.Sprint(known.matched); got != want {
					t.Fatalf("detections %v, want %v, of %+v", got, want, *ev)
				}
			}
			events, found = events+1, found+len(plain.matched)
			all := append([]uint32(nil), plain.matched...)
			if a.Reset(); events%7 == 0 {
				b.Reset()
			}
			from := len(b.Obs)
			plain.begin()
			plain.missed, plain.values = plain.missed[:0], plain.values[:0]
			plain.emitSeveral(all, ev, &a)
			known.begin()
			known.observe(all, ev, &b)
			if !known.emissionOf(all).plain {
				several++
			}
			if diff := cmp.Diff(told(&a, a.Obs), told(&b, b.Obs[from:])); diff != "" {
				t.Fatalf("observations (-slow +quick) %s\n%+v", diff, *ev)
			}
			sortIDs(plain.missed)
			sortIDs(known.missed)
			if diff := cmp.Diff(append([]uint32{}, plain.missed...), append([]uint32{}, known.missed...)); diff != "" {
				t.Fatalf("missed (-slow +quick) %s\n%+v", diff, *ev)
			}
		}
	}
	t.Logf("%d events, %d detections, %d not plain", events, found, several)
	if events < 5000 || found < events/2 || several == events {
		t.Errorf("%d events with %d detections, %d not plain, say too little", events, found, several)
	}
}

// told is observations with their hits in words.
func told(b *observation.Batch, obs []observation.Observation) []string {
	out := []string{}
	for i := range obs {
		o := obs[i]
		hits := fmt.Sprint(b.HitsOf(&o))
		o.First = 0
		out = append(out, fmt.Sprintf("%+v %s", o, hits))
	}
	return out
}
