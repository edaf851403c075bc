package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// inGroup is a revision of an incident that is told to w in a group.
func inGroup(id string, n int64, group string) Revision {
	return Revision{
		Incident: &Incident{
			ID: id, Revision: n, Level: observation.High, State: StateOpen, Family: "credential", Rule: RuleRef{Title: "Title of " + id},
			Group: map[string]string{"http.route": "/login", "client.address": id}, Count: 3,
			FirstSeen: time.Unix(1000+n, 0).UTC(), LastSeen: time.Unix(2000+n, 0).UTC(), DetectedAt: time.Unix(1500+n, 0).UTC(),
		},
		Number: n, Cause: CauseOpened, At: time.Unix(3000, 0).UTC(), To: []Addressee{{"w", CauseOpened, group}},
	}
}

// folder is a receiver for people.
type folder struct{ *fakeReceiver }

func (folder) Keeps() bool { return false }
func (folder) Folds() bool { return true }

// kinds writes what was sent: keys, and of a digest its members.
type kinds struct {
	mu  sync.Mutex
	got []string
}

func (k *kinds) answer(_ context.Context, n Notification) Result {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got = append(k.got, describe(n))
	return Result{}
}

func (k *kinds) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.got
	k.got = nil
	slices.Sort(out)
	return out
}

func describe(n Notification) string {
	var i Incident
	if err := json.Unmarshal(n.Payload, &i); err != nil {
		return err.Error()
	}
	if n.Cause != CauseDigest {
		return n.Key
	}
	var ids []string
	for _, e := range i.Digest {
		ids = append(ids, fmt.Sprintf("%s/%d", e.ID, e.Revision))
	}
	slices.Sort(ids)
	return "digest " + strings.Join(ids, " ")
}

// splitDigest undoes describe.
func splitDigest(line string) []string { return strings.Fields(strings.TrimPrefix(line, "digest ")) }

func TestGroupsAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		k := new(kinds)
		b := testOutbox(t, s, nil, &fakeReceiver{name: "w", answer: k.answer})
		stop := start(t, b)
		give(t, b, s, inGroup("a", 1, "g"), inGroup("b", 1, "g"), inGroup("c", 1, ""), inGroup("d", 1, "h"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"c/1", "d/1", "digest a/1 b/1"}, k.take()); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		give(t, b, s, inGroup("a", 2, "g"))
		synctest.Wait()
		stop()
		if diff := cmp.Diff([]string{"a/2"}, k.take()); diff != "" {
			t.Errorf("one alone is told as it is (-want +got):\n%s", diff)
		}
		c := b.o.Metrics.Counts()
		if s.size() != 0 || c.Digests["w"] != 1 || c.Folded["w"] != 2 || c.Pending["w"] != 0 {
			t.Errorf("want nothing left, got %d, %+v", s.size(), c)
		}
	})
}

func TestWhatADigestSays(t *testing.T) {
	var parts []*message
	for i, id := range []string{"a", "b", "c"} {
		r := inGroup(id, int64(i+1), "g")
		if id == "b" {
			r.Incident.Level, r.Incident.Family = observation.Critical, "traffic"
		}
		payload, err := json.Marshal(r.Incident)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, &message{Receiver: "w", Incident: id, Revision: r.Number, Cause: CauseOpened, payload: payload})
	}
	text, err := compose("digest-1", parts)
	if err != nil {
		t.Fatal(err)
	}
	var got Incident
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	entry := func(id string, n int64, l observation.Level, family string) DigestEntry {
		return DigestEntry{
			ID: id, Revision: n, Cause: CauseOpened, Title: "Title of " + id, Level: l, Family: family, State: StateOpen, Count: 3,
			Group:     map[string]string{"http.route": "/login", "client.address": id},
			FirstSeen: time.Unix(1000+n, 0).UTC(), LastSeen: time.Unix(2000+n, 0).UTC(),
		}
	}
	want := Incident{
		ID: "digest-1", Revision: 1, Subject: "digest", Level: observation.Critical, Family: "several", State: StateOpen, Count: 9,
		Rule:      RuleRef{ID: "gatewatch.digest", Title: "3 incidents at once: 1 critical, 2 high", Level: observation.Critical, Tags: []string{}},
		Group:     map[string]string{"http.route": "/login"},
		FirstSeen: time.Unix(1001, 0).UTC(), DetectedAt: time.Unix(1501, 0).UTC(), LastSeen: time.Unix(2003, 0).UTC(),
		Rules: []RuleCount{}, Sources: []string{}, Accounts: []string{}, Routes: []string{}, Principals: []string{},
		Methods: []string{}, Statuses: []StatusCount{}, Evidence: []Evidence{},
		Digest: []DigestEntry{
			entry("b", 2, observation.Critical, "traffic"), entry("a", 1, observation.High, "credential"), entry("c", 3, observation.High, "credential"),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBurstsAreFoldedForPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		var up atomic.Bool
		k := new(kinds)
		answer := func(ctx context.Context, n Notification) Result {
			if !up.Load() {
				return Result{Err: errors.New("429"), Retry: true, After: time.Hour, Reason: ReasonRateLimited}
			}
			return k.answer(ctx, n)
		}
		people := &fakeReceiver{name: "w", store: s, answer: answer}
		program := &fakeReceiver{name: "p", store: s, answer: answer}
		b := testOutbox(t, s, func(o *OutboxOptions) { o.Targets = []Target{{Receiver: folder{people}}, {Receiver: program}} })
		stop := start(t, b)
		for i := range 250 {
			r := inGroup(fmt.Sprintf("i%03d", i), 1, "")
			r.To = append(r.To, Addressee{"p", CauseOpened, ""})
			give(t, b, s, r)
		}
		time.Sleep(time.Minute)
		up.Store(true)
		time.Sleep(3 * time.Hour)
		stop()
		digests, members, alone := 0, map[string]int{}, 0
		for _, line := range k.take() {
			if rest, ok := strings.CutPrefix(line, "digest "); ok {
				digests++
				for id := range strings.FieldsSeq(rest) {
					members[id]++
				}
				continue
			}
			alone++
			members[line]++
		}
		if digests < 3 || digests > 8 || alone > 250+11 || len(members) != 250 {
			t.Errorf("want a few digests for people and each for programs, got %d digests, %d alone, %d incidents", digests, alone, len(members))
		}
		for id, n := range members {
			if n != 2 {
				t.Errorf("want %s told once to each, got %d", id, n)
			}
		}
		if s.size() != 0 {
			t.Errorf("want nothing left, got %d", s.size())
		}
	})
}

// TestADigestIsNotTakenBack: what may have arrived is told again as it was,
// and what came meanwhile comes after it.
func TestADigestIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		fails := 3
		var got []string
		var mu sync.Mutex
		r := &fakeReceiver{name: "w", answer: func(_ context.Context, n Notification) Result {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s repeat=%t", describe(n), n.Repeat))
			if fails--; fails >= 0 {
				return Result{Err: errors.New("no answer"), Retry: true, Reason: ReasonTimeout}
			}
			return Result{}
		}}
		b := testOutbox(t, s, nil, r)
		stop := start(t, b)
		give(t, b, s, inGroup("a", 1, "g"), inGroup("b", 1, "g"))
		synctest.Wait()
		give(t, b, s, inGroup("a", 2, "g"))
		give(t, b, s, inGroup("a", 3, "g"), inGroup("c", 1, "g"))
		stop()
		// A restart in between changes nothing.
		b = testOutbox(t, s, nil, r)
		if err := b.Load(s.scan); err != nil {
			t.Fatal(err)
		}
		stop = start(t, b)
		time.Sleep(time.Hour)
		stop()
		for i, line := range slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.Contains(s, "b/1") }) {
			if want := fmt.Sprintf("digest a/1 b/1 repeat=%t", i > 0); line != want {
				t.Errorf("want %s, got %s", want, line)
			}
		}
		all := strings.Join(got, "\n")
		if strings.Contains(all, "a/2") || strings.LastIndex(all, "a/3") < strings.LastIndex(all, "a/1 b/1") || !strings.Contains(all, "c/1") {
			t.Errorf("want the newest after the digest, got\n%s", all)
		}
		if s.size() != 0 {
			t.Errorf("want nothing left, got %d", s.size())
		}
	})
}

func TestDigestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemStore()
		b := testOutbox(t, s, func(o *OutboxOptions) { o.MaxPending = 20 }, &fakeReceiver{name: "w", answer: func(context.Context, Notification) Result {
			return Result{Err: errors.New("400"), Reason: ReasonClientError}
		}})
		stop := start(t, b)
		give(t, b, s, inGroup("a", 1, "g"), inGroup("b", 1, "g"))
		synctest.Wait()
		if p := b.Pending(); len(p) != 1 || !p[0].Parked || !strings.HasPrefix(p[0].Incident, "digest-") {
			t.Errorf("want a refused digest kept as it is, got %+v", p)
		}
		give(t, b, s, inGroup("a", 2, ""))
		synctest.Wait()
		if err := b.SetTargets(nil); err != nil {
			t.Fatal(err)
		}
		stop()
		give(t, b, s)
		if n := b.o.Metrics.Counts().Dropped["w"]; n != 3 || s.size() != 0 {
			t.Errorf("want all three told to be dropped, got %d, %d left", n, s.size())
		}
	})
}

// TestOutboxProperties sends random revisions, alone and in groups, to
// receivers that answer as they like, and kills the outbox at random points.
func TestOutboxProperties(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outboxProperties(t, seed) })
		})
	}
}

// judge is the receiving end of a property test.
type judge struct {
	t     *testing.T
	store *memStore
	mu    sync.Mutex
	r     *rand.Rand
	lives int
	asked map[string]int              // by receiver and key
	got   map[string]map[string]int64 // by receiver and incident, the newest that arrived
	said  map[string]string           // by receiver and key, the payload
	seen  map[string][]int            // by receiver and key, the lives in which it arrived
	kind  bool                        // answers yes from now on
}

func (j *judge) notify(receiver string, n Notification) Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	var i Incident
	if err := json.Unmarshal(n.Payload, &i); err != nil {
		j.t.Error(err)
	}
	at := receiver + " " + n.Key
	j.store.mu.Lock()
	tried := j.store.tried[at]
	j.store.mu.Unlock()
	if j.asked[at]++; j.asked[at] > tried {
		j.t.Errorf("%s was asked to take %s before that was committed", receiver, n.Key)
	}
	if said, ok := j.said[at]; ok && said != string(n.Payload) {
		j.t.Errorf("%s got another text under the key %s", receiver, n.Key)
	}
	outcome := j.r.IntN(10)
	if j.kind {
		outcome = 9
	}
	switch {
	case outcome < 2:
		return Result{Err: errors.New("429"), Retry: true, Reason: ReasonRateLimited}
	case outcome < 3:
		return Result{Err: errors.New("refused"), Retry: true, Reason: ReasonConnection}
	}
	j.said[at] = string(n.Payload)
	j.seen[at] = append(j.seen[at], j.lives)
	entries := i.Digest
	if n.Cause != CauseDigest {
		entries = []DigestEntry{{ID: i.ID, Revision: n.Revision}}
	}
	for _, e := range entries {
		if j.got[receiver][e.ID] > e.Revision {
			j.t.Errorf("%s got %s/%d after %d", receiver, e.ID, e.Revision, j.got[receiver][e.ID])
		}
		j.got[receiver][e.ID] = max(j.got[receiver][e.ID], e.Revision)
	}
	if outcome < 4 {
		return Result{Err: errors.New("no answer"), Retry: true, Reason: ReasonTimeout} // it arrived all the same
	}
	return Result{}
}

// again is the store as a next life finds it.
func (s *memStore) again() *memStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &memStore{values: maps.Clone(s.values), journal: s.journal, tried: maps.Clone(s.tried)}
}

type judged struct {
	name         string
	j            *judge
	keeps, folds bool
}

func (r *judged) Name() string                                    { return r.name }
func (r *judged) Keeps() bool                                     { return r.keeps }
func (r *judged) Folds() bool                                     { return r.folds }
func (r *judged) Notify(_ context.Context, n Notification) Result { return r.j.notify(r.name, n) }

func outboxProperties(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	j := &judge{
		t: t, store: newMemStore(), r: rand.New(rand.NewPCG(seed, 6)), got: map[string]map[string]int64{}, said: map[string]string{}, asked: map[string]int{}, seen: map[string][]int{},
	}
	names := []string{"keeper", "people", "program"}
	var targets []Target
	for i, name := range names {
		j.got[name] = map[string]int64{}
		targets = append(targets, Target{Receiver: &judged{name, j, i == 0, i == 1}})
	}
	var b *Outbox
	var stop func()
	begin := func() {
		j.mu.Lock()
		j.lives++
		j.mu.Unlock()
		store := j.store
		countdown := 1 + r.IntN(25)
		var mu sync.Mutex
		b = testOutbox(t, store, func(o *OutboxOptions) {
			o.Targets = targets
			o.Hook = func(string) {
				mu.Lock()
				countdown--
				now := countdown == 0
				mu.Unlock()
				if now {
					store.failWith(errors.New("dead")) // nothing of this life is written any more
				}
			}
		})
		if err := b.Load(store.scan); err != nil {
			t.Fatal(err)
		}
		stop = start(t, b)
	}
	begin()
	newest := map[string]int64{}
	groups := []string{"", "g", "h"}
	for range 60 {
		var rs []Revision
		for range r.IntN(8) {
			id := fmt.Sprintf("i%02d", r.IntN(25))
			if slices.ContainsFunc(rs, func(x Revision) bool { return x.Incident.ID == id }) {
				continue
			}
			newest[id]++
			x := inGroup(id, newest[id], "")
			x.To = nil
			for _, name := range names {
				group := ""
				if name == "program" {
					group = groups[r.IntN(3)]
				}
				x.To = append(x.To, Addressee{name, CauseGrew, group})
			}
			rs = append(rs, x)
		}
		// The pipeline makes the same cut again after a kill.
		for {
			seq, ops, err := b.Stage(rs)
			if err != nil {
				t.Fatal(err)
			}
			if j.store.Commit(ops) == nil {
				b.Committed(seq)
				break
			}
			stop()
			j.store = j.store.again()
			begin()
		}
		time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
	}
	stop()
	j.store = j.store.again()
	j.kind = true
	b = testOutbox(t, j.store, func(o *OutboxOptions) { o.Targets = targets })
	if err := b.Load(j.store.scan); err != nil {
		t.Fatal(err)
	}
	stop = start(t, b)
	time.Sleep(2 * time.Hour)
	stop()
	for _, name := range names {
		if diff := cmp.Diff(newest, j.got[name]); diff != "" {
			t.Errorf("%s: want the newest of everything (-want +got):\n%s", name, diff)
		}
	}
	if j.store.size() != 0 || len(b.Pending()) != 0 {
		t.Errorf("want nothing left, got %d and %v", j.store.size(), b.Pending())
	}
	if j.lives < 2 {
		t.Error("want a kill")
	}
}
