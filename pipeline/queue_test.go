package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/collectors"
	"gatewatch/event"
	"gatewatch/pipeline/traffictest"
	"gatewatch/storage"
)

// shelf is a queue whose messages are all there. It breaks off at random, as
// if its partition went elsewhere and came back.
type shelf struct {
	t        *testing.T
	number   int32
	messages []collectors.Message
	r        *rand.Rand
	breaks   bool
	jump     func(from collectors.Position) (at int64, gap bool) // where to begin, nil for from
	rejects  []collectors.Reject

	mu      sync.Mutex
	durable []collectors.Position
	note    []byte
	began   []collectors.Position
	parks   int
}

var (
	_ collectors.Queue     = (*shelf)(nil)
	_ collectors.Committer = (*shelf)(nil)
)

func (s *shelf) Name() string              { return fmt.Sprintf("shelf/%d", s.number) }
func (s *shelf) Rank() string              { return fmt.Sprintf("shelf/%05d", s.number) }
func (s *shelf) Place() (string, int32)    { return "shelf", s.number }
func (s *shelf) Lag(n int64) (int64, bool) { return int64(len(s.messages)) - n, true }

func (s *shelf) Fetch(_ context.Context, l []collectors.Lookup) []collectors.Text {
	return make([]collectors.Text, len(l))
}

func (s *shelf) Durable(p collectors.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.durable); n > 0 && s.jump == nil && p.Offset < s.durable[n-1].Offset {
		s.t.Errorf("%s: durable position went back from %d to %d", s.Name(), s.durable[n-1].Offset, p.Offset)
	}
	s.durable = append(s.durable, p)
	s.note = fmt.Appendf(nil, "told of %d", p.Offset)
}

func (s *shelf) Note() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

func (s *shelf) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	s.mu.Lock()
	s.began = append(s.began, from)
	s.mu.Unlock()
	at, gap := from.Offset, false
	if s.jump != nil {
		at, gap = s.jump(from)
	}
	if err := emit(collectors.Item{State: collectors.Reading, At: time.Now(), Rejects: s.rejects}); err != nil {
		return err
	}
	for {
		next, err := s.read(ctx, at, gap, emit)
		if err != nil {
			return err
		}
		gap = false
		if end := collectors.LogicalOffset(int64(len(s.messages))); next < end || s.breaks && s.r.IntN(2) == 0 {
			// Taken away: what was emitted beyond the position it gets is emitted again.
			parked := make(chan collectors.Position, 1)
			s.mu.Lock()
			s.parks++
			s.mu.Unlock()
			if err := emit(collectors.Item{State: collectors.Reading, Park: func(p collectors.Position) { parked <- p }}); err != nil {
				return err
			}
			select {
			case p := <-parked:
				at = p.Offset
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if err := emit(collectors.Item{State: collectors.Gone, At: time.Now()}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

// read emits blocks from a logical offset on, up to the end or a break.
func (s *shelf) read(ctx context.Context, at int64, gap bool, emit func(collectors.Item) error) (int64, error) {
	first, _ := collectors.MessageOffset(at)
	if gap || at == 0 {
		if err := emit(collectors.Item{Block: &collectors.Block{Offset: at, End: at, Gap: gap}}); err != nil {
			return at, err
		}
	}
	for first < int64(len(s.messages)) {
		if ctx.Err() != nil {
			return at, ctx.Err()
		}
		if s.breaks && s.r.IntN(12) == 0 {
			return at, nil
		}
		last := min(first+1+s.r.Int64N(40), int64(len(s.messages)))
		b := &collectors.Block{Messages: s.messages[first:last], Offset: at, End: collectors.LogicalOffset(last)}
		var cancel chan struct{}
		if s.breaks && s.r.IntN(8) == 0 {
			cancel = make(chan struct{})
			close(cancel)
		}
		if err := emit(collectors.Item{Block: b, Cancel: cancel}); errors.Is(err, collectors.ErrCanceled) {
			return at, nil
		} else if err != nil {
			return at, err
		}
		first, at = last, b.End
	}
	return at, nil
}

// shelves puts the lines of a log into messages: one or several lines, as
// text, or as JSON around them.
func shelves(t *testing.T, contents []string, seed uint64) []*shelf {
	t.Helper()
	var out []*shelf
	for i, text := range contents {
		s := &shelf{t: t, number: int32(i), r: rand.New(rand.NewPCG(seed, uint64(i)))}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for len(lines) > 0 {
			n := min(1+s.r.IntN(4), len(lines))
			value := strings.Join(lines[:n], "\n")
			if s.r.IntN(2) == 0 {
				var quoted []string
				for _, l := range lines[:n] {
					quoted = append(quoted, fmt.Sprintf("%q", l))
				}
				value = "[" + strings.Join(quoted, ",") + "]"
				if n == 1 {
					value = `{"log":` + quoted[0] + `}`
				}
			}
			s.messages = append(s.messages, collectors.Message{Offset: int64(len(s.messages)), Value: []byte(value)})
			lines = lines[n:]
		}
		out = append(out, s)
	}
	return out
}

type shelfCollector struct {
	fixed
	mu     sync.Mutex
	aside  []collectors.Reject
	finish int
}

func collectorOf(all []*shelf) *shelfCollector {
	c := &shelfCollector{}
	for _, s := range all {
		c.fixed = append(c.fixed, s)
	}
	return c
}

func (c *shelfCollector) DeadLetters() bool { return true }

func (c *shelfCollector) PutAside(_ context.Context, r []collectors.Reject) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aside = append(c.aside, r...)
	return 0
}

func (c *shelfCollector) Finish(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish++
	return nil
}

func startShelves(t *testing.T, path string, c *shelfCollector, o Options) *live {
	t.Helper()
	db, err := storage.Open(path, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Inputs, o.DB, o.Live = []Input{{Collector: c, Messages: o.messages()}}, db, true
	o.Index = testIndex(t)
	o.Checkpoint = 10 * time.Millisecond
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &live{p: p, db: db, stop: cancel, done: make(chan error, 1)}
	go func() { l.done <- p.Run(ctx) }()
	return l
}

func (o *Options) messages() Messages {
	if len(o.Inputs) == 0 {
		return Messages{}
	}
	return o.Inputs[0].Messages
}

func (l *live) awaitShelves(t *testing.T, all []*shelf) {
	t.Helper()
	poll(t, "all messages judged", func() bool {
		left := len(all)
		for _, st := range l.p.Status().Sources {
			for _, s := range all {
				if st.Name == s.Name() && st.Offset == int64(len(s.messages)) && st.State == collectors.Gone {
					left--
				}
			}
		}
		return left == 0
	})
}

// TestQueueIsReplay: messages give the incidents of the same lines in files,
// however often their partitions go away and come back, and the pipeline stops.
func TestQueueIsReplay(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("partitions=%d/seed=%d", partitions, seed), func(t *testing.T) {
				t.Parallel()
				lines := traffictest.Make(traffictest.Options{Seed: seed, Lines: 3000, Files: partitions, Disorder: true, Clients: 500})
				contents := traffictest.Split(lines, partitions)
				want, _ := replay(t, writeFiles(t, contents), Options{Workers: 2}, 0)
				all := shelves(t, contents, seed)
				for _, s := range all {
					s.breaks = true
				}
				path := filepath.Join(t.TempDir(), "state.db")
				c := collectorOf(all)
				o := Options{Workers: 2, MergeWait: time.Minute}
				l := startShelves(t, path, c, o)
				r := rand.New(rand.NewPCG(seed, 99))
				for range 5 {
					time.Sleep(time.Duration(5+r.IntN(40)) * time.Millisecond) // lets it get somewhere
					l.close(t)
					l = startShelves(t, path, c, o)
				}
				l.awaitShelves(t, all)
				got := l.incidents(t)
				l.close(t)
				if d := cmp.Diff(want, traffictest.Summarize(got)); d != "" {
					t.Errorf("(-files +queue):\n%.6000s", d)
				}
				parks := 0
				for _, s := range all {
					parks += s.parks
					if n := len(s.durable); n == 0 || s.durable[n-1].Offset != collectors.LogicalOffset(int64(len(s.messages))) {
						t.Errorf("%s: the last durable position is not its end: %+v", s.Name(), s.durable[max(n-1, 0):])
					}
					if from := s.began[len(s.began)-1]; from.Offset > 0 && len(from.Note) == 0 {
						t.Errorf("%s: came back without its note: %+v", s.Name(), from)
					}
				}
				if parks < 3 || c.finish != 6 {
					t.Errorf("%d breaks, finished %d times", parks, c.finish)
				}
			})
		}
	}
}

// TestGap: what a source passes over marks the incidents whose windows reach
// over it, and nothing else.
func TestGap(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := &shelf{t: t, r: rand.New(rand.NewPCG(1, 1))}
	add := func(after time.Duration, client string, n int) {
		for i := range n {
			line := failedLogin(at.Add(after+time.Duration(i)*time.Second), client)
			s.messages = append(s.messages, collectors.Message{Offset: int64(len(s.messages)), Value: []byte(line)})
		}
	}
	add(0, "192.0.2.1", 10)             // before the gap
	add(4*time.Minute, "192.0.2.2", 5)  // passed over
	add(5*time.Minute, "192.0.2.3", 10) // right behind it
	add(2*time.Hour, "192.0.2.4", 10)   // when no window reaches over it any more
	path := filepath.Join(t.TempDir(), "state.db")
	all := s.messages
	s.messages = all[:10]
	l := startShelves(t, path, collectorOf([]*shelf{s}), Options{Workers: 1})
	l.awaitShelves(t, []*shelf{s})
	l.close(t)

	next := &shelf{t: t, r: s.r, messages: all[:20]}
	next.jump = func(collectors.Position) (int64, bool) { return collectors.LogicalOffset(15), true }
	l = startShelves(t, path, collectorOf([]*shelf{next}), Options{Workers: 1})
	l.awaitShelves(t, []*shelf{next})
	l.close(t)

	last := &shelf{t: t, r: s.r, messages: all} // goes on as usual
	l = startShelves(t, path, collectorOf([]*shelf{last}), Options{Workers: 1})
	l.awaitShelves(t, []*shelf{last})
	got := map[string]string{}
	for _, i := range l.incidents(t) {
		if c := i.Group["client.address"]; c != "" {
			got[c] = i.Order
		}
	}
	l.close(t)
	want := map[string]string{"192.0.2.1": "", "192.0.2.3": "approximate", "192.0.2.4": ""}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("order of the incidents by client (-want +got):\n%s", d)
	}
}

// TestRecreated: offsets may begin anew; what was read before is not taken for
// what is read now.
func TestRecreated(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	fill := func(s *shelf, from time.Time, n int) {
		for i := range n {
			s.messages = append(s.messages, collectors.Message{Offset: int64(i), Value: []byte(failedLogin(from.Add(time.Duration(i)*time.Second), "192.0.2.1"))})
		}
	}
	path := filepath.Join(t.TempDir(), "state.db")
	old := &shelf{t: t, r: rand.New(rand.NewPCG(1, 1))}
	fill(old, at, 50)
	l := startShelves(t, path, collectorOf([]*shelf{old}), Options{Workers: 1})
	l.awaitShelves(t, []*shelf{old})
	l.close(t)
	fresh := &shelf{t: t, r: old.r, jump: func(collectors.Position) (int64, bool) { return 0, true }}
	fill(fresh, at.Add(time.Minute), 20)
	l = startShelves(t, path, collectorOf([]*shelf{fresh}), Options{Workers: 1})
	l.awaitShelves(t, []*shelf{fresh})
	var n int64
	for _, i := range l.incidents(t) {
		n = max(n, i.Count)
	}
	l.close(t)
	if n != 70 {
		t.Errorf("%d failed logins counted, want 70", n)
	}
}

// TestMessages: what a message brings beside its lines is used where the lines
// lack it, and what cannot be read is put aside with its coordinates.
func TestMessages(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := &shelf{t: t, r: rand.New(rand.NewPCG(1, 1))}
	for i := range 10 { // no time and no client of their own
		s.messages = append(s.messages, collectors.Message{
			Offset: int64(i), Time: at.Add(time.Duration(i) * time.Second).UnixNano(), Key: []byte("k"),
			Value:   []byte(`{"request_method":"POST","request_uri":"/api/login","status":401,"message":"x"}`),
			Headers: []collectors.Header{{Key: []byte("x-client"), Value: []byte("192.0.2.77")}},
		})
	}
	s.messages = append(s.messages,
		collectors.Message{Offset: 10, Key: []byte("k"), Value: []byte("what is this\n" + failedLogin(at.Add(time.Minute), "192.0.2.1") + "and this")},
		collectors.Message{Offset: 11, Value: []byte(strings.Repeat("x", 2000))},
		collectors.Message{Offset: 12, Value: []byte("# a comment")},
	)
	s.rejects = []collectors.Reject{{Offset: 5, Reason: "too_large"}}
	c := collectorOf([]*shelf{s})
	o := Options{Workers: 1, Inputs: []Input{{Messages: Messages{MaxLine: 1000, Headers: map[string]event.Field{"x-client": event.FieldClient}}}}}
	l := startShelves(t, filepath.Join(t.TempDir(), "state.db"), c, o)
	l.awaitShelves(t, []*shelf{s})
	found := false
	for _, i := range l.incidents(t) {
		found = found || i.Group["client.address"] == "192.0.2.77" && i.Count == 10 && i.FirstSeen.Equal(at)
	}
	st := l.p.Status()
	l.close(t)
	if !found {
		t.Error("no incident of the client in the headers, by the times of the messages")
	}
	if want := map[string]int64{"unknown_shape": 2, "too_long": 1}; cmp.Diff(want, st.Sources[0].Unreadable) != "" || st.Sources[0].Lines != 15 {
		t.Errorf("unreadable %v of %d lines, want %v of 15", st.Sources[0].Unreadable, st.Sources[0].Lines, want)
	}
	var got []string
	for _, r := range c.aside {
		m, line := collectors.MessageOffset(r.Offset)
		got = append(got, fmt.Sprintf("%s %d/%d %s %q %q", r.Source, m, line, r.Reason, r.Key, r.Value))
	}
	want := []string{
		`shelf/0 0/5 too_large "" ""`, `shelf/0 10/0 unknown_shape "k" "what is this"`, `shelf/0 10/2 unknown_shape "k" "and this"`, `shelf/0 11/0 too_long "" ""`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("put aside (-want +got):\n%s", d)
	}
}

func FuzzPosition(f *testing.F) {
	l := newLane(&shelf{}, 0, 0)
	l.position = collectors.Position{Offset: 77, Origin: []byte("o")}
	f.Add(encodePosition(l))
	l.note, l.gap.fresh, l.gap.until, l.posSet, l.posClock = []byte("note"), true, 5, true, 9
	f.Add(encodePosition(l))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodePosition(b)
		if err != nil {
			return
		}
		l := newLane(&shelf{}, 0, 0)
		l.position, l.posClock, l.posSet, l.gap, l.note = s.position, s.clock, s.set, s.gap, s.position.Note
		again, err := decodePosition(encodePosition(l))
		if err != nil || cmp.Diff(s, again, cmp.AllowUnexported(savedPosition{}, gapState{})) != "" {
			t.Fatalf("%+v became %+v and %v", s, again, err)
		}
	})
}
