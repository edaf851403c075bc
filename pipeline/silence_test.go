package pipeline

import (
	"strings"
	"testing"
	"time"
)

func TestSilences(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s := silences{inputs: []Input{{}, {SilentAfter: 10 * time.Minute}, {SilentAfter: SilentNever}}, heard: map[string]*heard{}}
	auto, fixed, never := spoke{name: "day1.log"}, spoke{name: "fixed.log", input: 1}, spoke{name: "never.log", input: 2}
	rotated := spoke{name: "day2.log"}
	look := func(after time.Duration) string {
		now = now.Add(after)
		return s.look(now, []spoke{auto, rotated, fixed, never})
	}
	f := func(what, got string, want ...string) {
		t.Helper()
		if len(want) == 0 && got != "" {
			t.Errorf("%s: want nothing, got %q", what, got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: want %q in %q", what, w, got)
			}
		}
	}
	f("at the start", look(0))
	for range 10 {
		auto.lines, fixed.lines = auto.lines+20, fixed.lines+1
		f("all speak", look(5*time.Minute))
	}
	f("fixed, short of it", look(9*time.Minute))
	f("fixed", look(time.Minute), "fixed.log: no line since 2026-11-01T12:50:00Z")
	fixed.lines++
	f("it speaks again", look(time.Minute))
	rotated.lines += 5
	fixed.lines++
	f("the next day's log speaks for its entry", look(time.Hour-12*time.Minute))
	fixed.err = "permission denied"
	got := look(3 * time.Hour)
	f("both", got, "day1.log and others of its entry: no line since", "longest pause before was 59m0s", "fixed.log", "cannot be read: permission denied")
	if strings.Contains(got, "never") {
		t.Errorf("want never.log to be left alone, got %q", got)
	}
	auto.lines++
	f("a pause of three hours is its habit now", look(time.Minute), "fixed.log")
	f("six hours are none", strings.ReplaceAll(look(6*time.Hour), "fixed.log", ""), ": no line")
	if got := look(time.Hour); strings.Contains(got, "day1.log") {
		t.Errorf("want seven hours to be no silence, got %q", got)
	}
	if got := look(3 * time.Hour); !strings.Contains(got, "day1.log") {
		t.Errorf("want ten hours to be one, got %q", got)
	}
	fixed.gone = true
	f("a partition that went elsewhere", strings.Join(strings.Split(look(0), "fixed.log")[1:], ""))

	// Too few lines are no habit.
	s = silences{inputs: []Input{{}}, heard: map[string]*heard{}}
	quiet := spoke{name: "quiet.log"}
	for range 50 {
		quiet.lines++
		now = now.Add(time.Minute)
		f("quiet", s.look(now, []spoke{quiet}))
	}
	f("quiet for days", s.look(now.Add(100*time.Hour), []spoke{quiet}))
}
