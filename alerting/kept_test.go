package alerting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keeper is a receiver for people that keeps one message an incident.
type keeper struct{ *fakeReceiver }

func (keeper) Keeps() bool { return true }
func (keeper) Folds() bool { return true }

// TestKept: what a receiver asks to keep comes back with later notifications,
// after a restart too, and goes with the receiver.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		var mu sync.Mutex
		var got []string
		result := func(Notification) Result { return Result{} }
		answer := func(_ context.Context, n Notification) Result {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %q", n.Key, n.Kept))
			return result(n)
		}
		expect := func(want ...string) {
			t.Helper()
			time.Sleep(time.Hour)
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, want) {
				t.Errorf("want %q, got %q", want, got)
			}
			got = nil
		}
		w := &fakeReceiver{name: "w", answer: answer}
		b := testOutbox(t, s, nil, w)
		stop := start(t, b)
		result = func(n Notification) Result {
			if n.Kept == nil { // it arrived, and something after it failed
				return Result{Err: errors.New("429"), Retry: true, Reason: ReasonRateLimited, Keep: []byte("ts 1")}
			}
			return Result{}
		}
		give(t, b, s, revision("a", 1))
		expect(`a/1 ""`, `a/1 "ts 1"`)
		result = func(n Notification) Result { return Result{Keep: []byte("ts 2 of " + n.Incident)} }
		give(t, b, s, revision("a", 2), revision("b", 1))
		time.Sleep(time.Hour)
		mu.Lock()
		slices.Sort(got)
		mu.Unlock()
		expect(`a/2 "ts 1"`, `b/1 ""`)
		stop()
		if s.size() != 2 {
			t.Errorf("want one note an incident in the store, got %d entries", s.size())
		}

		b = testOutbox(t, s, nil, w)
		if err := b.Load(s.scan); err != nil {
			t.Fatal(err)
		}
		stop = start(t, b)
		result = func(Notification) Result { return Result{Keep: bytes.Repeat([]byte("x"), maxKeep+1)} }
		give(t, b, s, revision("a", 3))
		expect(`a/3 "ts 2 of a"`)
		give(t, b, s, revision("a", 4)) // too much was not kept, what there was stays
		expect(`a/4 "ts 2 of a"`)
		other := &fakeReceiver{name: "o", store: s, answer: accept}
		if err := b.SetTargets([]Target{{Receiver: other}}); err != nil {
			t.Fatal(err)
		}
		give(t, b, s, revision("c", 1))
		time.Sleep(time.Hour)
		stop()
		if s.size() != 0 {
			t.Errorf("the notes of a receiver that is gone stay: %d", s.size())
		}
	})
}

// TestKeptOfADigest: each incident of a digest remembers what was kept of it.
// Who keeps a message an incident has only new ones folded.
func TestKeptOfADigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		var mu sync.Mutex
		kept := map[string]string{}
		causes := map[string]Cause{}
		up := true
		answer := func(_ context.Context, n Notification) Result {
			mu.Lock()
			defer mu.Unlock()
			if !up {
				return Result{Err: errors.New("503"), Retry: true, Reason: ReasonRateLimited}
			}
			kept[n.Key], causes[n.Key] = string(n.Kept), n.Cause
			return Result{Keep: []byte("at " + n.Incident)}
		}
		w := &fakeReceiver{name: "w", store: s, answer: answer}
		b := testOutbox(t, s, func(o *OutboxOptions) { o.Targets = []Target{{Receiver: keeper{w}}} })
		stop := start(t, b)
		give(t, b, s, inGroup("old", 1, ""))
		time.Sleep(time.Hour)
		mu.Lock()
		up = false
		mu.Unlock()
		for i := range 30 {
			give(t, b, s, inGroup(fmt.Sprintf("i%02d", i), 1, ""))
		}
		r := inGroup("old", 2, "")
		r.To = []Addressee{{"w", CauseResolved, ""}}
		give(t, b, s, r)
		time.Sleep(time.Minute)
		mu.Lock()
		up = true
		mu.Unlock()
		time.Sleep(3 * time.Hour)
		mu.Lock()
		if kept["old/2"] != "at old" {
			t.Errorf("what had a message was not told by itself: %v", causes)
		}
		mu.Unlock()
		r = inGroup("i07", 2, "")
		give(t, b, s, r)
		time.Sleep(time.Hour)
		mu.Lock()
		if !strings.HasPrefix(kept["i07/2"], "at digest-") {
			t.Errorf("of a digest was kept %q", kept["i07/2"])
		}
		mu.Unlock()
		stop()
	})
}

func TestNotesAreBounded(t *testing.T) {
	ns := newNotes()
	values := map[string][]byte{}
	apply := func(ops []StoreOp) {
		for _, op := range ops {
			if op.Value == nil {
				delete(values, string(op.Key))
			} else {
				values[string(op.Key)] = op.Value
			}
		}
	}
	for i := range maxNotes + 10 {
		apply(ns.set(&note{"w", fmt.Sprint(i), int64(i + 1), []byte("x")}))
	}
	if len(values) != maxNotes || ns.get("w", "9") != nil || ns.get("w", "10") == nil {
		t.Errorf("%d notes are kept", len(values))
	}
	for key, value := range values {
		n, err := decodeNote([]byte(key), value)
		if err != nil || n.receiver != "w" || string(n.value) != "x" || string(n.key()) != key {
			t.Fatalf("%q: %+v, %v", key, n, err)
		}
		break
	}
	// Found in any order, the newest counts.
	ns = newNotes()
	apply(ns.set(&note{"w", "a", 7, []byte("new")}))
	ops := ns.set(&note{"w", "a", 3, []byte("old")})
	if string(ns.get("w", "a")) != "new" || len(ops) != 1 || ops[0].Value != nil {
		t.Errorf("got %q and %v", ns.get("w", "a"), ops)
	}
	for _, bad := range []string{notePrefix, notePrefix + "w\x00a\x00", notePrefix + "w\x00\x0012345678", notePrefix + "\x00a\x0012345678", notePrefix + "w12345678"} {
		if _, err := decodeNote([]byte(bad), []byte{noteVersion}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := decodeNote([]byte(notePrefix+"w\x00a\x0012345678"), []byte{99}); err == nil {
		t.Error("an unknown version was taken")
	}
}

func FuzzDecodeNote(f *testing.F) {
	f.Add(append([]byte(notePrefix), "w\x00a\x0012345678"...), []byte{noteVersion, 'x'})
	f.Add([]byte(notePrefix), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if !isNote(key) {
			return
		}
		n, err := decodeNote(key, value)
		if err != nil {
			return
		}
		if !bytes.Equal(n.key(), key) || !bytes.Equal(n.op().Value, value) {
			t.Errorf("%q and %q became %q and %q", key, value, n.key(), n.op().Value)
		}
	})
}
