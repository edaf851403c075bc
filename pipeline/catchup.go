package pipeline

import (
	"context"
	"log/slog"
	"math"
	"time"

	"gatewatch/collectors"
)

// What CatchUp counts in.
const (
	UnitBytes    = "bytes"    // of files
	UnitMessages = "messages" // of partitions
)

const (
	catchUpLook = time.Second
	// catchUpEvery is the time between two log lines; a long way has fewer.
	catchUpEvery = 10 * time.Second
	// catchUpMost is the longest time between two.
	catchUpMost = 5 * time.Minute
	// catchUpSpan is the time that speeds are taken over.
	catchUpSpan = 30 * time.Second
	// catchUpLeast is how much of it has to have passed.
	catchUpLeast = 3 * time.Second
)

// CatchUp is how far a pipeline has come that has much to read: what was
// written while it was stopped, or faster than it reads.
type CatchUp struct {
	Unit      string    // UnitBytes or UnitMessages
	Since     time.Time // when it was first seen to be behind
	Read      int64     // judged since then
	Left      int64     // not judged yet
	PerSecond float64   // judged lately; 0 where that is not known yet
	// Remaining is how long it will take until nothing is left; negative where
	// that is not known yet, or is never as it grows as fast as it is read.
	Remaining time.Duration
	// EventTime is up to where all sources are judged; zero before the first record.
	EventTime time.Time
}

// Share is how much of the way is done, from 0 to 1.
func (c *CatchUp) Share() float64 {
	if c.Read+c.Left <= 0 {
		return 1
	}
	return float64(c.Read) / float64(c.Read+c.Left)
}

// catchUp measures one unit. All of it belongs to one goroutine.
type catchUp struct {
	unit       string
	begin, end int64 // from how much left on it is behind, and below which it is not
	offsets    map[string]int64
	judged     int64 // of all sources since they were first seen
	points     []catchUpPoint
	since      time.Time // zero while it is not behind
	from       int64     // judged when it began to be behind
	told       time.Time
	toldAfter  time.Duration
}

type catchUpPoint struct {
	at           time.Time
	judged, left int64
}

func newCatchUps() []*catchUp {
	return []*catchUp{
		{unit: UnitBytes, begin: 16 << 20, end: 1 << 20, offsets: map[string]int64{}},
		{unit: UnitMessages, begin: 100_000, end: 5_000, offsets: map[string]int64{}},
	}
}

// look takes in where the sources are and returns how far it is, nil when it is
// not behind; say is what is to be logged now, "" for nothing.
func (c *catchUp) look(now time.Time, sources []SourceStatus) (state *CatchUp, say string) {
	var left int64
	seen := map[string]int64{}
	for i := range sources {
		s := &sources[i]
		n := s.Unread
		if c.unit == UnitMessages {
			n = s.Lag
		}
		if s.Queue != (c.unit == UnitMessages) || n < 0 {
			continue
		}
		left += n
		if old, ok := c.offsets[s.Name]; ok {
			c.judged += max(s.Offset-old, 0)
		}
		seen[s.Name] = s.Offset
	}
	c.offsets = seen
	c.points = append(c.points, catchUpPoint{now, c.judged, left})
	for len(c.points) > 2 && now.Sub(c.points[1].at) >= catchUpSpan {
		c.points = c.points[1:]
	}
	switch {
	case c.since.IsZero() && left < c.begin:
		return nil, ""
	case c.since.IsZero():
		c.since, c.from, c.told, c.toldAfter = now, c.judged, now, catchUpEvery
		c.points = c.points[len(c.points)-1:]
		return c.state(left), "begun"
	case left < c.end:
		state := c.state(left)
		c.since = time.Time{}
		return state, "done"
	}
	if now.Sub(c.told) >= c.toldAfter {
		c.told, c.toldAfter = now, min(max(catchUpEvery, now.Sub(c.since)/5), catchUpMost)
		say = "under way"
	}
	return c.state(left), say
}

func (c *catchUp) state(left int64) *CatchUp {
	s := &CatchUp{Unit: c.unit, Since: c.since, Read: c.judged - c.from, Left: left, Remaining: -1}
	first, last := c.points[0], c.points[len(c.points)-1]
	took := last.at.Sub(first.at).Seconds()
	if took < catchUpLeast.Seconds() {
		return s // too short to tell
	}
	s.PerSecond = float64(last.judged-first.judged) / took
	// What counts is how fast the rest gets less: it is being written to.
	if less := float64(first.left-last.left) / took; less > 0 {
		if seconds := float64(left) / less; seconds < math.MaxInt32 {
			s.Remaining = time.Duration(seconds * float64(time.Second)).Round(time.Second)
		}
	}
	return s
}

// watchCatchUp measures until ctx is done.
func (p *Pipeline) watchCatchUp(ctx context.Context) {
	units := newCatchUps()
	t := time.NewTicker(catchUpLook)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		sources := p.sourceStatus()
		var states []CatchUp
		for _, c := range units {
			state, say := c.look(p.o.Now(), sources)
			if state == nil {
				continue
			}
			if t := p.mergedTime.Load(); t != 0 {
				state.EventTime = time.Unix(t, 0).UTC()
			}
			if say != "" {
				p.o.Logger.Info("catching up", state.attrs(say, p.o.Now())...)
			}
			if !c.since.IsZero() {
				states = append(states, *state)
			}
		}
		p.catchingUp.Store(&states)
	}
}

// attrs is the state for the log.
func (c *CatchUp) attrs(stage string, now time.Time) []any {
	out := []any{
		slog.String("stage", stage),
		slog.Int64("read_"+c.Unit, c.Read), slog.Int64("left_"+c.Unit, c.Left), slog.Int("percent", int(100*c.Share())),
		slog.Duration("since", now.Sub(c.Since).Round(time.Second)),
	}
	if c.PerSecond > 0 {
		out = append(out, slog.Int64(c.Unit+"_per_second", int64(c.PerSecond)))
	}
	if c.Remaining >= 0 {
		out = append(out, slog.Duration("remaining", c.Remaining))
	} else if c.PerSecond > 0 {
		out = append(out, slog.String("remaining", "unknown: as much is written as is read"))
	}
	if !c.EventTime.IsZero() {
		out = append(out, slog.Time("event_time", c.EventTime))
	}
	return out
}

// sourceStatus reads where all sources are.
func (p *Pipeline) sourceStatus() []SourceStatus {
	p.sourceMu.Lock()
	lanes := append([]*lane(nil), p.laneList...)
	p.sourceMu.Unlock()
	out := make([]SourceStatus, 0, len(lanes))
	for _, l := range lanes {
		st := SourceStatus{Name: l.name, State: collectors.State(l.status.state.Load()), Offset: l.status.offset.Load()}
		p.lag(l, &st)
		out = append(out, st)
	}
	return out
}
