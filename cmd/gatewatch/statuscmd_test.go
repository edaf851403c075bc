package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/api"
)

func TestPrintStatus(t *testing.T) {
	now := time.Date(2026, 11, 19, 6, 0, 0, 0, time.UTC)
	saved, clock := now.Add(-2*time.Second), now.Add(-90*time.Second)
	s := &api.Status{
		Version: "1.2.3", StartedAt: now.Add(-time.Hour), Reasons: []string{"source b\x1b.log cannot be read"},
		Rules: api.Rules{Loaded: 93}, Checkpoint: api.Checkpoint{Last: &saved, StateBytes: 5 << 20},
		Sources: []api.Source{
			{Name: "a.log", State: "reading", Offset: 123456, Lines: 700, Clock: &clock, Unread: &api.Unread{Bytes: 3 << 19, Seconds: 90}, Generation: 3, Skipped: map[string]int64{"truncated": 1}},
			{Name: "b\x1b.log", State: "failing", Error: "permission denied"},
			{Name: "kafka:t/0", State: "idle", Offset: 7, Lag: &api.Lag{}},
		},
		CatchUp: []api.CatchUp{
			{Unit: "bytes", Since: now.Add(-time.Minute), Read: 3 << 30, Left: 1 << 30, PerSecond: 50 << 20, Seconds: new(20.4), EventTime: &clock},
			{Unit: "messages", Since: now, Left: 123456},
		},
		Receivers: []api.Receiver{{Name: "hook", Pending: 2, Attempts: map[string]int64{"ok": 5, "timeout": 1}}},
	}
	var out bytes.Buffer
	if err := printStatus(&out, s, now); err != nil {
		t.Fatal(err)
	}
	want := `gatewatch 1.2.3, up 1h0m0s
not ready: source b\x1b.log cannot be read
catching up: 75 %, 3 GiB of 4 GiB in 1m0s, 50 MiB a second; done in about 20s, now at 2026-11-19 05:58:30
catching up: 0 %, 0 of 123,456 messages in 0s
rules: 93 loaded, 0 disabled, 0 refused
state: 5 MiB, last checkpoint 2s ago; 0 entities in windows, 0 pushed out while they still counted

SOURCE     STATE    POSITION   UNREAD  BEHIND  FILE  LINES
a.log      reading   123,456  1.5 MiB   1m30s     3    700
b\x1b.log  failing         0        ?       -     -      0
kafka:t/0  idle            7        0      0s     -      0
  a.log: passed over: 1 truncated
  b\x1b.log: cannot be read: permission denied

RECEIVER  WAITING  ACCEPTED  ATTEMPTS
hook            2  never     5 ok, 1 timeout
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("(-want +got):\n%s\n%s", d, out.String())
	}
}
