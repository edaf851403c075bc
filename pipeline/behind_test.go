package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/pipeline/traffictest"
	"gatewatch/rules/sigma"
)

// failedLogin is a line of one client whose login failed.
func failedLogin(at time.Time, client string) string {
	return fmt.Sprintf("%s - someone [%s] \"POST /api/login HTTP/1.1\" 401 12 \"-\" \"agent\"\n", client, at.UTC().Format("02/Jan/2006:15:04:05 -0700"))
}

// poll calls done until it is true.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !done(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in time", what)
		}
	}
}

func (l *live) incidents(t *testing.T) []*alerting.Incident {
	t.Helper()
	out, err := l.p.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l *live) events() (n int64) {
	for _, s := range l.p.Status().Sources {
		n += s.Events
	}
	return n
}

func (l *live) idle() (n int) {
	for _, s := range l.p.Status().Sources {
		if s.State == collectors.Idle {
			n++
		}
	}
	return n
}

type appender struct {
	t    *testing.T
	file *os.File
}

func newAppender(t *testing.T, path string) *appender {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &appender{t, f}
}

func (a *appender) add(lines ...string) {
	a.t.Helper()
	if _, err := a.file.WriteString(strings.Join(lines, "")); err != nil {
		a.t.Fatal(err)
	}
}

// TestBehindTheMerge: with a short merge_wait a source that writes late comes
// behind. It is counted, lifted or late, and marks what it touches.
func TestBehindTheMerge(t *testing.T) {
	dir := t.TempDir()
	a, b := newAppender(t, filepath.Join(dir, "a.log")), newAppender(t, filepath.Join(dir, "b.log"))
	l := startLive(t, dir, Options{Workers: 2}) // with the default of merge_wait
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	b.add(failedLogin(at.Add(-time.Hour), "192.0.2.9"), failedLogin(at.Add(-time.Hour), "192.0.2.9"))
	for i := range 10 {
		a.add(failedLogin(at.Add(time.Duration(i)*time.Second), "192.0.2.1"))
	}
	poll(t, "the first source is judged", func() bool { return l.p.Status().MergedTime.Equal(at.Add(9 * time.Second)) })
	// b's clock is an hour behind: 5 s before merged time is lifted, 39 s is late and enters no window.
	b.add(failedLogin(at.Add(4*time.Second), "192.0.2.1"), failedLogin(at.Add(5*time.Second), "192.0.2.1"))
	poll(t, "what came behind is counted", func() bool { return behind(l) >= 2 })
	b.add(failedLogin(at.Add(-30*time.Second), "192.0.2.1"))
	poll(t, "the late one too", func() bool { return behind(l) >= 3 })
	if n, late := behind(l), l.p.Status().Windows.Late; n != 3 || late == 0 {
		t.Errorf("%d records behind the merge, %d hits of late ones; want 3 and some", n, late)
	}
	poll(t, "the incident has all twelve", func() bool {
		for _, i := range l.incidents(t) {
			if i.Group["client.address"] == "192.0.2.1" && i.Count == 12 {
				return i.Order == "approximate"
			}
		}
		return false
	})
	l.stop()
	if err := <-l.done; err != nil {
		t.Error(err)
	}
	if err := l.db.Close(); err != nil {
		t.Error(err)
	}
}

func behind(l *live) (n int64) {
	for _, s := range l.p.Status().Sources {
		n += s.Behind
	}
	return n
}

// TestTwoQuietSources: two live sources that write now and then, at the time
// that they stamp, do not come behind each other.
func TestTwoQuietSources(t *testing.T) {
	dir := t.TempDir()
	files := []*appender{newAppender(t, filepath.Join(dir, "a.log")), newAppender(t, filepath.Join(dir, "b.log"))}
	l := startLive(t, dir, Options{Workers: 2, MergeWait: 200 * time.Millisecond})
	l.awaitSeen(t, 2)
	const n = 16
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		files[i%2].add(failedLogin(time.Now(), "192.0.2.1"))
		<-tick.C
	}
	poll(t, "all is judged", func() bool {
		for _, i := range l.incidents(t) {
			if ruleCount([]*alerting.Incident{i}, "11111111-0000-4000-8000-000000000001") >= n-1 {
				return true
			}
		}
		return false
	})
	if got := behind(l); got != 0 {
		t.Errorf("%d of %d records came behind the merge", got, n)
	}
	l.close(t)
}

// TestIdleResolves: while all sources are silent, incidents resolve as the wall
// clock goes on; what belongs to one opens it again.
func TestIdleResolves(t *testing.T) {
	dir := t.TempDir()
	a := newAppender(t, filepath.Join(dir, "a.log"))
	var ahead atomic.Int64
	l := startLive(t, dir, Options{Workers: 1, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for i := range 6 {
		a.add(failedLogin(at.Add(time.Duration(i)*time.Second), "192.0.2.1"))
	}
	state := func() string {
		for _, i := range l.incidents(t) {
			if i.Group["client.address"] == "192.0.2.1" {
				return i.ID + " " + i.State
			}
		}
		return ""
	}
	poll(t, "an incident opens", func() bool { return strings.HasSuffix(state(), alerting.StateOpen) })
	open := state()
	ahead.Store(int64(59 * time.Minute))
	checkpoint := l.p.Status().Checkpoint
	poll(t, "a checkpoint within the hour", func() bool { return l.p.Status().Checkpoint.After(checkpoint.Add(58 * time.Minute)) })
	if got := state(); got != open {
		t.Fatalf("%s within the hour, want it still open", got)
	}
	ahead.Store(int64(3 * time.Hour))
	poll(t, "it resolves", func() bool { return strings.HasSuffix(state(), alerting.StateResolved) })
	// A file says by the real clock since when it is idle: with ours three hours ahead the incident would be over again at
	// the next checkpoint, before anybody may have seen it open.
	ahead.Store(0)
	a.add(failedLogin(at.Add(7*time.Second), "192.0.2.1"))
	poll(t, "the same opens again", func() bool { return state() == open })
	l.close(t)
}

// TestFailingSourceHolds: a source that answers with an error holds the others
// for merge_hold and no longer, and says that it does.
func TestFailingSourceHolds(t *testing.T) {
	dir := t.TempDir()
	a, b := newAppender(t, filepath.Join(dir, "a.log")), newAppender(t, filepath.Join(dir, "b.log"))
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	a.add(failedLogin(at, "192.0.2.1"), failedLogin(at, "192.0.2.1"))
	b.add(failedLogin(at, "192.0.2.2"), failedLogin(at, "192.0.2.2"))
	var ahead atomic.Int64
	l := startLive(t, dir, Options{Workers: 1, MergeWait: time.Hour, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	l.awaitSeen(t, 2)
	if err := os.Rename(filepath.Join(dir, "b.log"), filepath.Join(dir, "b.log.1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "b.log"), 0o700); err != nil { // a directory cannot be read
		t.Fatal(err)
	}
	poll(t, "the source fails", func() bool { return len(l.p.Status().NotReady) > 0 })
	for i := range 8 {
		a.add(failedLogin(at.Add(time.Duration(i+1)*time.Second), "192.0.2.1"))
	}
	poll(t, "the other is read", func() bool { return l.events() == 12 })
	ahead.Store(int64(4 * time.Minute))
	checkpoint := l.p.Status().Checkpoint
	poll(t, "a checkpoint within the hold", func() bool { return l.p.Status().Checkpoint.After(checkpoint) })
	if got := l.p.Status().MergedTime; got.After(at) {
		t.Fatalf("judged up to %v while a source could not be read", got)
	}
	ahead.Store(int64(6 * time.Minute))
	poll(t, "the hold ends", func() bool { return l.p.Status().MergedTime.Equal(at.Add(8 * time.Second)) })
	l.close(t)
}

// TestReload: a reload keeps the windows of rules that stay the same, applies
// new ones, and decodes again what was read but not judged.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	a := newAppender(t, filepath.Join(dir, "a.log"))
	l := startLive(t, dir, Options{Workers: 2, MergeWait: time.Minute})
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	second := 0
	fail := func(n int) {
		for range n {
			a.add(failedLogin(at.Add(time.Duration(second)*time.Second), "192.0.2.1"))
			second++
		}
	}
	fail(4)
	poll(t, "four lines are read", func() bool { return l.events() == 4 && l.idle() == 1 })
	const more = `
---
title: Any failed login
id: 11111111-0000-4000-8000-0000000000ff
logsource: {category: webserver}
detection:
  selection: {auth.outcome: failure}
  condition: selection
level: low
`
	set, problems := sigma.Parse([]sigma.Document{{File: "rules.yml", Data: []byte(traffictest.Rules + more)}})
	index, faults := set.Compile(sigma.CompileOptions{})
	if len(problems)+len(faults) > 0 {
		t.Fatal(problems, faults)
	}
	if err := l.p.Reload(t.Context(), Reload{Index: index}); err != nil {
		t.Fatal(err)
	}
	fail(2)
	poll(t, "the sixth login fires", func() bool { return ruleCount(l.incidents(t), "11111111-0000-4000-8000-000000000001") == 6 })
	// The last line before the reload was held for its successor and is decoded again under the new rules.
	if n := ruleCount(l.incidents(t), "11111111-0000-4000-8000-0000000000ff"); n < 2 || n > 6 {
		t.Errorf("the new rule counted %d, want the 2 lines after the reload and what waited then", n)
	}
	l.close(t)
	l = startLive(t, dir, Options{Workers: 1, MergeWait: time.Minute})
	fail(1)
	poll(t, "after a restart under the old rules", func() bool { return ruleCount(l.incidents(t), "11111111-0000-4000-8000-000000000001") == 7 })
	l.close(t)
}

func ruleCount(incidents []*alerting.Incident, id string) int64 {
	for _, i := range incidents {
		for _, r := range i.Rules {
			if r.ID == id {
				return r.Count
			}
		}
	}
	return 0
}
