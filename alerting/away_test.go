package alerting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRefusedIsAskedAgain: what a receiver refuses is tried again, ever more
// rarely.
func TestRefusedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		begin := time.Now()
		var at []time.Duration
		b := testOutbox(t, s, nil, &fakeReceiver{name: "w", answer: func(context.Context, Notification) Result {
			at = append(at, time.Since(begin).Truncate(time.Hour))
			return Result{Err: errors.New("404"), Reason: ReasonClientError}
		}})
		stop := start(t, b)
		give(t, b, s, revision("a", 1))
		time.Sleep(100 * time.Hour)
		stop()
		if diff := cmp.Diff([]time.Duration{0, 1 * time.Hour, 3 * time.Hour, 7 * time.Hour, 15 * time.Hour, 31 * time.Hour, 55 * time.Hour, 79 * time.Hour}, at); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

// TestReceiverAwayForADay: a day of every trouble that a receiver can have,
// with a restart in the middle. Nothing is lost, nothing comes out of order, and
// its return is no flood.
func TestReceiverAwayForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		begin := time.Now()
		const incidents = 400
		troubles := []Result{
			{Err: errors.New("429"), Retry: true, After: 10 * time.Minute, Reason: ReasonRateLimited},
			{Err: errors.New("500"), Retry: true, Reason: ReasonServerError},
			{Err: errors.New("no answer"), Retry: true, Reason: ReasonTimeout},
			{Err: errors.New("307"), Reason: ReasonRedirect},
			{Err: errors.New("an answer of 10 MB"), Retry: true, Reason: ReasonOther},
			{Err: errors.New("certificate"), Retry: true, Reason: ReasonTLS},
		}
		var mu sync.Mutex
		asked, accepted := 0, 0
		newest := map[string]map[string]int64{"people": {}, "program": {}}
		notify := func(name string) func(context.Context, Notification) Result {
			return func(ctx context.Context, n Notification) Result {
				since := time.Since(begin)
				if since < 24*time.Hour {
					mu.Lock()
					asked++
					mu.Unlock()
					trouble := troubles[int(since/(4*time.Hour))]
					if trouble.Reason == ReasonTimeout {
						<-ctx.Done()
					}
					return trouble
				}
				mu.Lock()
				defer mu.Unlock()
				accepted++
				for _, e := range entriesOf(t, n) {
					if e.Revision <= newest[name][e.ID] {
						t.Errorf("%s was told of %s/%d after %d", name, e.ID, e.Revision, newest[name][e.ID])
					}
					newest[name][e.ID] = e.Revision
				}
				return Result{}
			}
		}
		people := &fakeReceiver{name: "people", store: s, answer: notify("people")}
		program := &fakeReceiver{name: "program", store: s, answer: notify("program")}
		targets := []Target{{Receiver: folder{people}}, {Receiver: program}}
		b := testOutbox(t, s, func(o *OutboxOptions) { o.Targets = targets })
		stop := start(t, b)
		want, most := map[string]int64{}, 0
		for hour := range 24 {
			var rs []Revision
			for i := range incidents {
				if (i+hour)%3 == 0 {
					id := fmt.Sprintf("i%03d", i)
					want[id]++
					r := inGroup(id, want[id], "")
					r.To = []Addressee{{"people", CauseGrew, ""}, {"program", CauseGrew, ""}}
					rs = append(rs, r)
				}
			}
			give(t, b, s, rs...)
			if hour == 11 {
				stop()
				s = s.again()
				people.store, program.store = s, s
				b = testOutbox(t, s, func(o *OutboxOptions) { o.Targets = targets })
				if err := b.Load(s.scan); err != nil {
					t.Fatal(err)
				}
				stop = start(t, b)
			}
			time.Sleep(time.Hour)
			most = max(most, s.size())
		}
		time.Sleep(26 * time.Hour) // what was refused for its redirect waits for a day at most
		stop()
		for _, name := range []string{"people", "program"} {
			if diff := cmp.Diff(want, newest[name]); diff != "" {
				t.Errorf("%s: want the newest of everything (-want +got):\n%s", name, diff)
			}
		}
		if s.size() != 0 {
			t.Errorf("want nothing left, got %d", s.size())
		}
		// One for each incident to the program, some digests to people.
		if accepted > incidents+100 {
			t.Errorf("want no flood, got %d notifications of %d incidents", accepted, incidents)
		}
		if most > 5*incidents {
			t.Errorf("want the state bounded, got %d entries", most)
		}
		t.Logf("asked %d times in a day, then %d notifications of %d incidents to two receivers; at most %d entries stored", asked, accepted, incidents, most)
	})
}

func entriesOf(t *testing.T, n Notification) []DigestEntry {
	var out []DigestEntry
	for _, key := range slices.Sorted(slices.Values(splitDigest(describe(n)))) {
		var e DigestEntry
		if _, err := fmt.Sscanf(key, "%4s/%d", &e.ID, &e.Revision); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		out = append(out, e)
	}
	return out
}
