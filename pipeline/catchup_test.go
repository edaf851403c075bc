package pipeline

import (
	"testing"
	"time"
)

func TestCatchUp(t *testing.T) {
	c := newCatchUps()[0]
	now := time.Unix(1_000_000, 0)
	const mib = 1 << 20
	// look is a second in which so much was judged, after which so much is left.
	offset := int64(0)
	look := func(read, left int64) (*CatchUp, string) {
		now = now.Add(time.Second)
		offset += read
		return c.look(now, []SourceStatus{
			{Name: "a", Offset: offset, Unread: left},
			{Name: "topic", Queue: true, Lag: 1e9, Unread: -1}, // another unit
			{Name: "not looked at", Unread: -1},
		})
	}
	if s, say := look(0, 15*mib); s != nil || say != "" {
		t.Errorf("little to read: %+v, %q", s, say)
	}
	s, say := look(0, 1000*mib)
	if s == nil || say != "begun" || s.Left != 1000*mib || s.Read != 0 || s.Remaining >= 0 {
		t.Fatalf("behind: %+v, %q", s, say)
	}
	said := 0
	for i := range int64(20) {
		if s, say = look(20*mib, 1000*mib-(i+1)*10*mib); say == "under way" { // half as much is written meanwhile
			said++
		}
	}
	if said != 2 || s.Read != 400*mib || s.Left != 800*mib || s.PerSecond != 20*mib || s.Remaining != 80*time.Second {
		t.Errorf("said %d times: %+v", said, s)
	}
	if share := s.Share(); share < 0.33 || share > 0.34 {
		t.Errorf("share %g", share)
	}
	for range 40 {
		s, _ = look(20*mib, 800*mib)
	}
	if s.Remaining >= 0 {
		t.Errorf("as much is written as is read, but %v remain", s.Remaining)
	}
	if s, say = look(799*mib, mib/2); say != "done" || s.Share() < 0.99 {
		t.Errorf("done: %+v, %q", s, say)
	}
	if s, say = look(0, 2*mib); s != nil || say != "" {
		t.Errorf("after it: %+v, %q", s, say)
	}
	// A source that comes later has not been read by this.
	s, _ = c.look(now.Add(time.Second), []SourceStatus{{Name: "b", Offset: 1 << 40, Unread: 20 * mib}})
	if s == nil || s.Read != 0 {
		t.Errorf("another source: %+v", s)
	}
}
