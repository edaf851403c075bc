package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/slack"
	"gatewatch/api"
	"gatewatch/api/metrics"
	"gatewatch/config"
	"gatewatch/detectors/observation"
	"gatewatch/pipeline"
	"gatewatch/rules/sigma"
	"gatewatch/storage"
)

// daemon is a running gatewatch as the API sees it.
type daemon struct {
	app     *app
	path    string   // of the configuration as given
	rules   []string // of the command line
	started time.Time
	logger  *slog.Logger
	counts  *alerting.Metrics

	db       *storage.DB
	pipeline *pipeline.Pipeline
	server   *api.Server
	buttons  *slack.Buttons
	setAside string
	sharing  sharing

	commits    atomic.Int64
	lastCommit atomic.Int64 // nanoseconds

	reloading sync.Mutex // one reload at a time

	mu     sync.Mutex // guards the fields below
	config *config.Config
	set    *ruleSet
	to     []alerting.Target
	last   api.Reload
}

var (
	_ api.Backend     = (*daemon)(nil)
	_ metrics.Backend = (*daemon)(nil)
)

// Incidents returns copies of all incidents.
func (d *daemon) Incidents(ctx context.Context) ([]*alerting.Incident, error) {
	return d.pipeline.Incidents(ctx)
}

// ShadowIncidents returns those of rules that are only watched.
func (d *daemon) ShadowIncidents(ctx context.Context) ([]*alerting.Incident, error) {
	return d.pipeline.ShadowIncidents(ctx)
}

// Act does to an incident what somebody asks for.
func (d *daemon) Act(ctx context.Context, a alerting.Act) (*alerting.Incident, error) {
	i, err := d.pipeline.Act(ctx, a)
	if err == nil {
		d.logger.Info("incident was acted on", "id", i.ID, "action", string(a.Action), "by", a.By)
	}
	return i, err
}

// Silence adds a silence.
func (d *daemon) Silence(ctx context.Context, s alerting.Silence) (alerting.Silence, error) {
	s, err := d.pipeline.Silence(ctx, s)
	if err == nil {
		d.logger.Info("silence was added", "id", s.ID, "by", s.Author, "end", s.End)
	}
	return s, err
}

// Expire ends a silence.
func (d *daemon) Expire(ctx context.Context, id, by string) (alerting.Silence, error) {
	s, err := d.pipeline.Expire(ctx, id, by)
	if err == nil {
		d.logger.Info("silence was ended", "id", s.ID, "by", by)
	}
	return s, err
}

// Silences returns all silences that are kept.
func (d *daemon) Silences(ctx context.Context) ([]alerting.Silence, error) {
	return d.pipeline.Silences(ctx)
}

// Counts returns what alerting counted.
func (d *daemon) Counts() alerting.Counts { return d.counts.Counts() }

// reloads serves SIGHUP.
func (d *daemon) reloads(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			_ = d.Reload(ctx) // Reload logs it; the old configuration stays
		}
	}
}

// Reload reads configuration and rules again and applies them at one place
// of the merged order. After an error everything is as before.
func (d *daemon) Reload(ctx context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	set, err := d.tryReload(ctx)
	if err != nil && ctx.Err() != nil {
		return err // the program stops; nothing was refused
	}
	at := d.app.now()
	d.mu.Lock()
	d.last.At, d.last.OK, d.last.Error = &at, err == nil, ""
	d.last.Total++
	if err != nil {
		d.last.Failed++
		d.last.Error = err.Error()
	}
	d.mu.Unlock()
	if err != nil {
		d.logger.Error("reload was refused, the old configuration stays", "error", err)
		return err
	}
	d.logger.Info("configuration was reloaded", "rules", len(set.index.Rules()))
	return nil
}

func (d *daemon) tryReload(ctx context.Context) (*ruleSet, error) {
	c, err := d.app.loadConfig(d.path, d.rules)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	old := d.config
	d.mu.Unlock()
	if fixed := keepFixed(old, c); len(fixed) > 0 {
		d.logger.Warn("some settings change only at a restart", "settings", strings.Join(fixed, " "))
	}
	set, err := loadRules(c)
	if err != nil {
		return nil, err
	}
	var refused []error
	for _, p := range set.problems {
		if p.Severity == sigma.Refused {
			refused = append(refused, p)
		}
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("%s: %w", count(len(refused), "rule problem", "rule problems"), errors.Join(refused...))
	}
	to, err := targets(c, d.logger)
	if err != nil {
		return nil, err
	}
	routing, err := c.Routing(to)
	if err == nil {
		err = d.pipeline.Reload(ctx, pipeline.Reload{Index: set.index, Derive: c.Derive(), Targets: to, Routing: routing})
	}
	if err != nil {
		closeTargets(to)
		return nil, err
	}
	d.mu.Lock()
	before := d.to
	d.config, d.set, d.to = c, set, to
	d.mu.Unlock()
	d.buttons.SetReceivers(slackReceivers(to))
	closeTargets(before)
	d.sharing.reloaded(set.index.Plan())
	return set, nil
}

// rulesNow is the plan of the rules in force.
func (d *daemon) rulesNow() *observation.Plan {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set.index.Plan()
}

// closeReceivers gives back what the receivers hold, once nothing is sent any
// more.
func (d *daemon) closeReceivers() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	closeTargets(d.to)
	d.to = nil
	return nil
}

// keepFixed puts back what a reload does not change, and returns the names of
// those sections that differed.
func keepFixed(old, now *config.Config) []string {
	var names []string
	keep := func(name string, same bool) {
		if !same {
			names = append(names, name)
		}
	}
	keep("sources", reflect.DeepEqual(old.Sources, now.Sources))
	keep("ipv6_group", old.IPv6Group == now.IPv6Group)
	keep("merge", old.Merge == now.Merge)
	keep("state", old.State == now.State)
	incidents := old.Incidents
	// Routes have them, and routes can change.
	incidents.GroupInterval, incidents.RepeatInterval = now.Incidents.GroupInterval, now.Incidents.RepeatInterval
	keep("incidents", incidents == now.Incidents)
	keep("api", reflect.DeepEqual(old.API, now.API))
	keep("log", old.Log == now.Log)
	keep("masking", reflect.DeepEqual(old.Masking, now.Masking))
	now.Sources, now.IPv6Group, now.Merge, now.State = old.Sources, old.IPv6Group, old.Merge, old.State
	now.Incidents, now.API, now.Log, now.Masking = incidents, old.API, old.Log, old.Masking
	return names
}
