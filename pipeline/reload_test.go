package pipeline

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"gatewatch/pipeline/traffictest"
	"gatewatch/rules/sigma"
)

// reloadRules has a rule that never changes, one whose threshold does and one
// whose timespan does.
const reloadRules = `
title: Not found
name: missing
logsource: {category: webserver}
detection:
  selection: {sc-status: 404}
  condition: selection
---
title: Slow
id: slow
correlation: {type: event_count, rules: [missing], group-by: [client.address], timespan: 1d, condition: {gte: %d}}
---
title: Tuned
id: tuned
correlation: {type: event_count, rules: [missing], group-by: [client.address], timespan: 1d, condition: {gte: %d}}
---
title: Values
id: values
correlation: {type: value_count, rules: [missing], group-by: [client.address], timespan: 1d, condition: {field: url.path, gte: %d}}
---
title: Stretched
id: stretched
correlation: {type: event_count, rules: [missing], group-by: [http.route], timespan: %ds, condition: {gte: 100000}}
`

func reloadIndex(t *testing.T, slow, tuned, timespan int) *sigma.Index {
	t.Helper()
	text := strings.Replace(fmt.Sprintf(reloadRules, slow, tuned, tuned, timespan), "100000", "9999", 1)
	set, problems := sigma.Parse([]sigma.Document{{File: "rules.yml", Data: []byte(text)}})
	index, more := set.Compile(sigma.CompileOptions{})
	for _, p := range append(problems, more...) {
		if p.Severity == sigma.Refused {
			t.Fatal(p.Error())
		}
	}
	return index
}

// TestReloadUnderLoad: a hundred reloads while lines come in lose no line and
// no window of a rule that stays the same, and leave nothing behind. A slow
// client whose requests are spread over all of them is found at the request
// at which it would have been without any; so is one whose rule was lowered.
func TestReloadUnderLoad(t *testing.T) {
	const reloads, lines = 100, 60 // lines between two reloads
	dir := t.TempDir()
	w, err := traffictest.NewWriter(dir, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	l := startLive(t, dir, Options{Workers: 2, MergeWait: time.Minute, Index: reloadIndex(t, 2*reloads, 500, 3600)})
	l.awaitSeen(t, 1)
	start := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	n := 0
	write := func(client, target string, status int) time.Time {
		at := start.Add(time.Duration(n) * time.Second)
		n++
		line := fmt.Sprintf(`%s - - [%s] "GET %s HTTP/1.1" %d 10 "-" "test"`, client, at.Format("02/Jan/2006:15:04:05 -0700"), target, status)
		if err := w.Write(traffictest.Line{At: at.Unix(), Text: line}); err != nil {
			t.Fatal(err)
		}
		return at
	}
	var fires time.Time
	var goroutines int
	var heap uint64
	slow := 0
	for i := range reloads {
		for k := range lines {
			write(fmt.Sprintf("198.51.100.%d", k+1), fmt.Sprintf("/page/p%d", i%7), 200)
			if k%30 == 0 && slow < 2*reloads {
				slow++
				if at := write("192.0.2.99", fmt.Sprintf("/gone-%c%c", 'a'+i%26, 'a'+i/26), 404); slow == 2*reloads {
					fires = at
				}
			}
		}
		tuned := 500 + i%3*200
		if i == reloads-1 {
			tuned = 150 // below what the window already holds
			judged := start.Add(time.Duration(n-5) * time.Second)
			poll(t, "nearly all is judged", func() bool { return l.p.Status().MergedTime.After(judged) })
		}
		if err := l.p.Reload(t.Context(), Reload{Index: reloadIndex(t, 2*reloads, tuned, 3600+i)}); err != nil {
			t.Fatal(err)
		}
		if i == 9 {
			goroutines, heap = runtime.NumGoroutine(), liveHeap()
		}
	}
	if g := runtime.NumGoroutine(); g > goroutines+2 {
		t.Errorf("%d goroutines after %d reloads, %d after ten", g, reloads, goroutines)
	}
	if h := liveHeap(); h > heap+8<<20 {
		t.Errorf("%d KiB in use after %d reloads, %d KiB after ten", h>>10, reloads, heap>>10)
	}
	last := write("192.0.2.99", "/gone-zz", 404)
	sizes := map[string]int64{w.Path(0): w.Sizes[0]}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	l.await(t, sizes)
	var events int64
	for _, s := range l.p.Status().Sources {
		events += s.Events
		if s.Late != 0 || s.Behind != 0 || len(s.Unreadable) != 0 {
			t.Errorf("%+v", s)
		}
	}
	if events < int64(n) { // what was not judged yet at a reload is decoded again
		t.Errorf("%d events of %d lines", events, n)
	}
	incidents, err := l.p.Incidents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.close(t)
	if len(incidents) != 1 {
		t.Fatalf("%d incidents, want that of the slow client", len(incidents))
	}
	got := map[string]string{}
	for _, r := range incidents[0].Rules {
		got[r.ID] = fmt.Sprint(r.Count, " at ", r.DetectedAt.UTC().Format(time.TimeOnly))
	}
	want := map[string]string{
		"slow":  fmt.Sprint(2*reloads+1, " at ", fires.Format(time.TimeOnly)),
		"tuned": fmt.Sprint(2*reloads+1, " at ", last.Format(time.TimeOnly)),
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("rule %s: %s, want %s", id, got[id], w)
		}
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
