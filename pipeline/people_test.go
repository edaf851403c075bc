package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
	"gatewatch/storage"
)

// listener is a receiver that remembers what it was told.
type listener struct {
	name string
	mu   sync.Mutex
	told []alerting.Notification
}

func (l *listener) Name() string { return l.name }

func (l *listener) Notify(_ context.Context, n alerting.Notification) alerting.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, n)
	return alerting.Result{}
}

// await polls until it was told something with the cause.
func (l *listener) await(t *testing.T, c alerting.Cause) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // polled
		l.mu.Lock()
		for _, n := range l.told {
			if n.Cause == c {
				l.mu.Unlock()
				return
			}
		}
		l.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("%s was never told %s", l.name, c)
		}
	}
}

// saved is the book as a process that starts now would find it.
func saved(t *testing.T, dir string) *alerting.Book {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(path, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p, err := New(Options{Index: testIndex(t), DB: db, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	return p.stage.book
}

// TestWhatPeopleDoIsSavedBeforeItIsAnswered takes a copy of the state file
// right after each answer: what was answered is in it.
func TestWhatPeopleDoIsSavedBeforeItIsAnswered(t *testing.T) {
	dir := t.TempDir()
	ops := &listener{name: "ops"}
	l := startLive(t, dir, Options{
		// Cuts come for what people do alone.
		Checkpoint: time.Hour,
		Outbox:     alerting.OutboxOptions{Targets: []alerting.Target{{Receiver: ops}}},
		Notices:    []Notice{{Kind: "state_damaged", Title: "State file was damaged", Level: observation.High}},
	})
	defer l.close(t)
	ops.await(t, alerting.CauseOpened)
	all, err := l.p.Incidents(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("want one incident, got %v, %v", all, err)
	}
	id := all[0].ID

	i, err := l.p.Act(t.Context(), alerting.Act{Incident: id, Action: alerting.ActionAcknowledge, By: "ann"})
	if err != nil || i.State != alerting.StateAcknowledged || i.Revision != 2 {
		t.Fatalf("want it acknowledged, got %+v, %v", i, err)
	}
	if got := saved(t, dir).Incident(id); got.State != alerting.StateAcknowledged || got.Revision != 2 || got.Acknowledged.By != "ann" {
		t.Errorf("want that saved, got %+v", got)
	}
	ops.await(t, alerting.CauseAcknowledged)

	now := time.Now()
	s, err := alerting.SilenceFor(i, "ann", "known", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = l.p.Silence(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := saved(t, dir).Silences(now); len(got) != 1 || got[0].ID != s.ID {
		t.Errorf("want the silence saved, got %+v", got)
	}
	ops.await(t, alerting.CauseSilenced)
	if s, err = l.p.Expire(t.Context(), s.ID, "bob"); err != nil || s.State != alerting.SilenceExpired {
		t.Errorf("want it expired, got %+v, %v", s, err)
	}
	if got := saved(t, dir).Silences(time.Now()); len(got) != 1 || got[0].ExpiredBy != "bob" {
		t.Errorf("want its end saved, got %+v", got)
	}
	ops.await(t, alerting.CauseUnsilenced)
	if got, err := l.p.Silences(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("want the silence listed, got %v, %v", got, err)
	}
	if _, err = l.p.Act(t.Context(), alerting.Act{Incident: id, Action: alerting.ActionFalsePositive, By: "ann"}); err != nil {
		t.Error(err)
	}
	if got := saved(t, dir).Incident(id); got.State != alerting.StateResolved || !got.FalsePositive {
		t.Errorf("want that saved, got %+v", got)
	}
	ops.await(t, alerting.CauseFalsePositive)

	if _, err = l.p.Act(t.Context(), alerting.Act{Incident: "none", Action: alerting.ActionResolve, By: "ann"}); !errors.Is(err, alerting.ErrNotFound) {
		t.Errorf("want it said that there is none, got %v", err)
	}
}

// TestNothingIsAnsweredAfterTheEnd: what can no longer be saved is refused.
func TestNothingIsAnsweredAfterTheEnd(t *testing.T) {
	l := startLive(t, t.TempDir(), Options{Notices: []Notice{{Kind: "x", Title: "x", Level: observation.High}}})
	all, err := l.p.Incidents(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("want one incident, got %v, %v", all, err)
	}
	l.close(t)
	if _, err := l.p.Act(t.Context(), alerting.Act{Incident: all[0].ID, Action: alerting.ActionResolve, By: "ann"}); err == nil {
		t.Error("want an error")
	}
}
