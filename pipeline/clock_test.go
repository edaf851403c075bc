package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
)

// stamped is what became of one record.
type stamped struct {
	Offset, Window int64
	Late, Behind   bool
	Dropped        bool // no rule sees it
}

// TestClock goes through every way in which a stamp is judged. Times are
// seconds after a base; lateness is 10 s.
func TestClock(t *testing.T) {
	const base = int64(1_700_000_000)
	const year = 365 * 86400
	tests := []struct {
		name    string
		times   []int64
		wall    int64 // after base; 0 for a replay
		release int   // after so many records the held one is released
		end     bool  // the held one is released at the end
		want    []stamped
		clock   int64 // after base
	}{
		{name: "the first record waits for the second", times: []int64{0}, want: nil},
		{name: "the first record alone counts at the end", times: []int64{0}, end: true, want: []stamped{{0, 0, false, false, false}}},
		{name: "in order", times: []int64{0, 1, 1, 5}, want: []stamped{{0, 0, false, false, false}, {1, 1, false, false, false}, {2, 1, false, false, false}, {3, 5, false, false, false}}, clock: 5},
		{name: "ten seconds behind are lifted", times: []int64{0, 20, 10}, want: []stamped{{0, 0, false, false, false}, {1, 20, false, false, false}, {2, 20, false, false, false}}, clock: 20},
		{name: "eleven seconds behind are late", times: []int64{0, 20, 9}, want: []stamped{{0, 0, false, false, false}, {1, 20, false, false, false}, {2, 20, true, false, false}}, clock: 20},
		{name: "an hour ahead is believed", times: []int64{0, 0, 3600}, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 3600, false, false, false}}, clock: 3600},
		{name: "more waits for the next", times: []int64{0, 0, 3601}, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}}, clock: 0},
		{name: "and is confirmed by it", times: []int64{0, 0, 3601, 3591}, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 3601, false, false, false}, {3, 3601, false, false, false}}, clock: 3601},
		{name: "or contradicted", times: []int64{0, 0, 3601, 3590}, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 0, true, false, false}, {3, 3590, false, false, false}}, clock: 3590},
		{name: "a first stamp a year ahead", times: []int64{year, 0, 1}, want: []stamped{{0, 0, true, false, false}, {1, 0, false, false, false}, {2, 1, false, false, false}}, clock: 1},
		{name: "a pair a year ahead moves the clock", times: []int64{0, 0, year, year, 1}, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, year, false, false, false}, {3, year, false, false, false}, {4, year, true, false, false}}, clock: year},
		{name: "live: a stamp far ahead of the wall clock is bad at once", times: []int64{0, 0, year, 1}, wall: 10, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 0, true, false, false}, {3, 1, false, false, false}}, clock: 1},
		{name: "live: a pair too", times: []int64{0, 0, year, year, 1}, wall: 10, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 0, true, false, false}, {3, 0, true, false, false}, {4, 1, false, false, false}}, clock: 1},
		{name: "live: one that comes while another is held", times: []int64{0, 0, 4000, year, 4001}, wall: 5000, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 4000, false, false, false}, {3, 4000, true, false, false}, {4, 4001, false, false, false}}, clock: 4001},
		{name: "live: first records far ahead never move the clock", times: []int64{year, year, 3, 4}, wall: 10, want: []stamped{{0, -base, true, false, true}, {1, 3, true, false, false}, {2, 3, false, false, false}, {3, 4, false, false, false}}, clock: 4},
		{name: "live: nor at the end", times: []int64{year}, wall: 10, end: true, want: []stamped{{0, -base, true, false, true}}, clock: -base},
		{name: "live: taken without a word and contradicted", times: []int64{0, 0, 4000, 5}, wall: 5000, release: 3, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 4000, false, false, false}, {3, 4000, true, true, false}}, clock: 4000},
		{name: "live: taken without a word and not contradicted", times: []int64{0, 0, 4000, 4001, 5}, wall: 5000, release: 3, want: []stamped{{0, 0, false, false, false}, {1, 0, false, false, false}, {2, 4000, false, false, false}, {3, 4001, false, false, false}, {4, 4001, true, false, false}}, clock: 4001},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := clock{lateness: 10}
			w := &work{batch: new(observation.Batch)}
			var got []stamped
			emit := func(w *work, index int) {
				r := w.batch.Records[index]
				got = append(got, stamped{int64(index), r.Window - base, r.Late, r.Behind, r.Count == 0})
			}
			wall := int64(0)
			if tt.wall != 0 {
				wall = base + tt.wall
			}
			for i, at := range tt.times {
				w.batch.Records = append(w.batch.Records, observation.Record{Time: base + at, Count: 1})
				c.stamp(w, i, wall, emit)
				if tt.release == i+1 {
					c.release(wall, emit)
				}
			}
			if tt.end {
				c.release(wall, emit)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if len(got) > 0 && c.now != base+tt.clock {
				t.Errorf("the clock is at %d, want %d", c.now-base, tt.clock)
			}
		})
	}
}
