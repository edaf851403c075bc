package main

import (
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/api"
	"gatewatch/pipeline"
)

// Status returns the whole status, for the API and for metrics.
func (d *daemon) Status() api.Status {
	p := d.pipeline.Status()
	counts := d.counts.Counts()
	d.mu.Lock()
	c, set, last := d.config, d.set, d.last
	d.mu.Unlock()

	refused, _ := set.refused()
	s := api.Status{
		Version: readVersion().Version, StartedAt: d.started.UTC(),
		Ready: len(p.NotReady) == 0, Reasons: p.NotReady, MergedTime: optional(p.MergedTime),
		Windows: api.Windows{
			Entities: int64(p.Windows.Entities), Entries: int64(p.Windows.Entries), Probation: int64(p.Windows.Probation),
			BudgetBytes: c.State.Budget, Evicted: int64(p.Windows.Evicted), EvictedAlive: int64(p.Windows.EvictedAlive),
			Dropped: int64(p.Windows.Dropped), Readmitted: int64(p.Windows.Readmitted), Late: int64(p.Windows.Late),
		},
		Checkpoint: api.Checkpoint{
			Last: optional(p.Checkpoint), Total: d.commits.Load(), Duration: time.Duration(d.lastCommit.Load()), StateBytes: p.StateBytes,
		},
		Rules:         api.Rules{Loaded: len(set.index.Rules()), Disabled: set.disabled, Refused: refused},
		Reload:        last,
		StateSetAside: d.setAside,
	}
	for _, l := range p.Sources {
		var lag *api.Lag
		if l.Lag >= 0 {
			lag = &api.Lag{Messages: l.Lag, Seconds: l.LagTime.Seconds()}
		}
		var unread *api.Unread
		if l.Unread >= 0 {
			unread = &api.Unread{Bytes: l.Unread, Seconds: l.LagTime.Seconds()}
		}
		s.Sources = append(s.Sources, api.Source{
			Name: l.Name, State: l.State.String(), Error: l.Error, Offset: l.Offset, Line: l.Line, Clock: optional(l.Clock),
			Lines: l.Lines, Events: l.Events, Formats: l.Formats, Unreadable: l.Unreadable, Skipped: l.Skipped,
			Late: l.Late, Behind: l.Behind, Queue: l.Queue, Lag: lag, Unread: unread, Generation: l.Generation,
		})
	}
	for i := range p.CatchUp {
		s.CatchUp = append(s.CatchUp, catchUpStatus(&p.CatchUp[i]))
	}
	for _, x := range p.Collectors {
		s.Collectors = append(s.Collectors, api.Collector{Name: x.Name, Events: x.Events})
	}
	s.DeadLetters = api.DeadLetters{Stored: p.DeadLetters, Lost: p.DeadLettersLost}
	for _, r := range p.Rules {
		s.Rules.Windows = append(s.Rules.Windows, api.RuleWindow{
			ID: r.ID, Title: r.Title, Shadow: r.Shadow, Incidents: r.Incidents, Untold: r.Untold,
			Firings: r.Firings, Growth: r.Growth, Missing: r.Missing,
		})
	}
	slices.SortFunc(s.Sources, func(a, b api.Source) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range c.Receivers {
		s.Receivers = append(s.Receivers, receiverStatus(r.Name, &counts))
	}
	return s
}

func catchUpStatus(c *pipeline.CatchUp) api.CatchUp {
	out := api.CatchUp{Unit: c.Unit, Since: c.Since.UTC(), Read: c.Read, Left: c.Left, PerSecond: c.PerSecond, EventTime: optional(c.EventTime)}
	if c.Remaining >= 0 {
		s := c.Remaining.Seconds()
		out.Seconds = &s
	}
	return out
}

func receiverStatus(name string, c *alerting.Counts) api.Receiver {
	r := api.Receiver{Name: name, Pending: c.Pending[name], Attempts: map[string]int64{}, LastSuccess: optional(c.LastSuccess[name])}
	for k, n := range c.Attempts {
		if k.Receiver == name {
			r.Attempts[string(k.Reason)] = n
		}
	}
	return r
}

// observe takes the times that the pipeline measures.
func (d *daemon) observe(what string, took time.Duration) {
	if what == "commit" {
		d.commits.Add(1)
		d.lastCommit.Store(int64(took))
	}
}

// optional returns nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
