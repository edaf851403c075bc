package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
	_ "time/tzdata" // mute times name places, and a container may have no zone files

	"gatewatch/alerting"
	"gatewatch/alerting/slack"
	"gatewatch/api"
	"gatewatch/api/metrics"
	"gatewatch/collectors"
	"gatewatch/collectors/file"
	"gatewatch/config"
	"gatewatch/detectors/observation"
	"gatewatch/pipeline"
	"gatewatch/rules/sigma"
	"gatewatch/storage"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// stopTimeout is how long the daemon may take to stop.
const stopTimeout = 4500 * time.Millisecond

var errSlowStop = fmt.Errorf("stopping took longer than %s; the next start goes on from the last checkpoint", stopTimeout)

func newRun(a *app) *cobra.Command {
	var (
		path      string
		rulePaths []string
	)
	c := &cobra.Command{
		Use:   "run",
		Short: "Watch the configured logs until stopped",
		Long: "Run follows the configured logs, keeps its state in one file and sends incidents to\n" +
			"the receivers. SIGHUP reloads rules, identity and receivers; SIGTERM stops.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return failed(a.daemon(c.Context(), path, rulePaths))
		},
	}
	configFlag(c, &path)
	rulesFlag(c, &rulePaths)
	return c
}

// daemon runs until ctx is done.
func (a *app) daemon(ctx context.Context, path string, rulePaths []string) (err error) {
	hangups, ignore := a.hangups() // from now on SIGHUP does not end the process
	defer ignore()
	c, err := a.loadConfig(path, rulePaths)
	if err != nil {
		return err
	}
	d := &daemon{app: a, path: path, rules: rulePaths, config: c, counts: alerting.NewMetrics(), started: a.now()}
	d.logger = newLogger(a, c.Log)
	d.sharing.logger = d.logger
	var stop stack
	defer func() {
		// What hangs would hang again while it is closed; the process ends anyway.
		if !errors.Is(err, errSlowStop) {
			err = errors.Join(err, stop.run())
		}
	}()
	if err := d.open(&stop); err != nil {
		return err
	}
	return d.run(ctx, hangups)
}

func newLogger(a *app, o config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: o.Level}
	if o.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}

// open makes everything that run needs. What it acquires is on the stack,
// also when it fails.
func (d *daemon) open(stop *stack) error {
	set, err := loadRules(d.config)
	if err != nil {
		return err
	}
	d.logRules(set)
	d.set = set
	to, err := targets(d.config, d.logger)
	if err != nil {
		return err
	}
	d.to = to
	stop.push("close the receivers", d.closeReceivers)
	routing, err := d.config.Routing(to)
	if err != nil {
		return err
	}
	inputs, err := d.inputs(stop)
	if err != nil {
		return err
	}
	mask, err := d.config.Masker()
	if err != nil {
		return configError(err)
	}
	options := pipeline.Options{
		Mask:   mask,
		Inputs: inputs, Derive: d.config.Derive(), Index: set.index, Book: d.config.Book(), Live: true,
		MergeWait: d.config.Merge.Wait, MergeHold: d.config.Merge.Hold,
		Budget: d.config.State.Budget, Checkpoint: d.config.State.Checkpoint,
		Outbox:  alerting.OutboxOptions{Targets: to, Metrics: d.counts, AttemptTimeout: attemptTimeout(d.config)},
		Routing: routing,
		Now:     d.app.now, Logger: d.logger, Hook: d.app.hook, Observe: d.observe,
	}
	options.Book.Metrics = d.counts
	if err := d.openState(options, stop); err != nil {
		return err
	}
	d.buttons = slack.NewButtons(d.pipeline, d.logger, slackReceivers(to))
	o := api.Options{
		Listen: d.config.API.Listen, Socket: d.config.API.Socket, Hosts: d.config.API.Hosts, Backend: d,
		Metrics: metrics.NewHandler(d), CheckLabel: config.CheckLabel, Now: d.app.now, Logger: d.logger,
	}
	if d.config.API.Token.IsSet() {
		o.Token = d.config.API.Token
	}
	d.server, err = api.New(o)
	if err != nil {
		return err
	}
	stop.push("close the api", d.server.Close)
	return nil
}

// attemptTimeout leaves each receiver the time that it asks for.
func attemptTimeout(c *config.Config) time.Duration {
	longest := 30 * time.Second
	for _, r := range c.Receivers {
		longest = max(longest, r.Settings.AttemptTimeout()+time.Second)
	}
	return longest
}

// openState opens the state file and loads it into a pipeline. A damaged file
// is set aside once: that is loud in the log, in the metrics, and as an
// incident.
func (d *daemon) openState(o pipeline.Options, stop *stack) error {
	path := d.config.State.Path
	err := d.tryState(o, path)
	if damaged, ok := errors.AsType[*storage.DamagedError](err); ok {
		moved, asideErr := storage.SetAside(path)
		if asideErr != nil {
			return errors.Join(err, asideErr)
		}
		d.logger.Error("the state file is damaged and was set aside; detection begins anew", "error", damaged, "moved_to", moved)
		d.setAside = moved
		o.Notices = append(o.Notices, pipeline.Notice{
			Kind: "state_damaged", Title: "State file was damaged", Level: observation.High,
			Text: fmt.Sprintf("The state file was damaged and is now %s. Windows, open incidents and unsent notifications in it are lost.", moved),
		})
		err = d.tryState(o, path)
	}
	if err != nil {
		return err
	}
	stop.push("close the state file", d.db.Close)
	return nil
}

func (d *daemon) tryState(o pipeline.Options, path string) error {
	db, err := storage.Open(path, storage.Options{Logger: d.logger})
	if errors.Is(err, storage.ErrLocked) {
		return fmt.Errorf("%w; stop that one first, or give this one its own state.path", err)
	}
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder %s of the state file does not exist; make it so that this user can write to it, or set state.path", dir)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("open the state: %w; this user has to be able to write the file and its folder, or set state.path", err)
	}
	if err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	o.DB = db
	d.pipeline, err = pipeline.New(o)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	d.db = db
	return nil
}

// inputs makes the collectors. What they need to be closed goes on the stack.
func (d *daemon) inputs(stop *stack) ([]pipeline.Input, error) {
	var out []pipeline.Input
	for i := range d.config.Sources {
		s := &d.config.Sources[i]
		collector, err := d.collector(s, stop)
		if err != nil {
			return nil, configError(fmt.Errorf("sources[%d]: %w", i, err))
		}
		out = append(out, pipeline.Input{Collector: collector, Format: s.FormatOptions(), Lateness: s.Lateness, Messages: s.Messages(), SilentAfter: s.SilentAfter})
	}
	return out, nil
}

func (d *daemon) collector(s *config.Source, stop *stack) (collectors.Collector, error) {
	switch {
	case s.Stdin:
		return fixed{d.app.stdinSource(int(s.MaxLine))}, nil
	case s.Kafka != nil:
		return d.kafkaCollector(s, stop)
	}
	o := s.FileOptions()
	o.Now, o.Logger, o.Hook = d.app.now, d.logger, d.app.hook
	return file.New(o)
}

// run works until ctx is done, then stops within stopTimeout.
func (d *daemon) run(ctx context.Context, hangups <-chan os.Signal) error {
	d.warnOpen()
	for _, text := range advice(d.config) {
		d.logger.Warn("the configuration may not do what was wished", "problem", text)
	}
	done := make(chan error, 1)
	go func() {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return d.pipeline.Run(ctx) })
		g.Go(func() error { return d.server.Run(ctx) })
		g.Go(func() error { return d.buttons.Run(ctx) })
		g.Go(func() error { return d.reloads(ctx, hangups) })
		done <- g.Wait()
	}()
	d.logger.Info("gatewatch is running", "config", cmp.Or(d.config.Path, noFile), "version", readVersion().Version, "api", d.server.Addr(),
		"state", d.config.State.Path, "rules", len(d.set.index.Rules()), "receivers", len(d.config.Receivers))
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		d.logger.Info("stopping")
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case err = <-done:
		case <-timer.C:
			return errSlowStop
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	d.logger.Info("stopped")
	return nil
}

// warnOpen says that others can reach the API.
func (d *daemon) warnOpen() {
	host, _, err := net.SplitHostPort(d.server.Addr())
	if err != nil {
		return // a Unix socket
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsLoopback() && !d.config.API.Token.IsSet() {
		d.logger.Warn("the api can be read from other machines without a token; set api.token", "listen", d.server.Addr())
	}
}

// logRules says which rules were left out, and why.
func (d *daemon) logRules(set *ruleSet) {
	for _, p := range set.problems {
		switch {
		case p.Severity != sigma.Refused:
			d.logger.Warn("rule may not mean what its author wished", "problem", p.Error())
		case p.Tuning:
			d.logger.Error("tuning has no effect", "problem", p.Error())
		default:
			d.logger.Error("rule is left out", "problem", p.Error())
		}
	}
}

// stack is what has to be undone, last first.
type stack struct {
	steps []step
}

type step struct {
	name string
	undo func() error
}

func (s *stack) push(name string, undo func() error) {
	s.steps = append(s.steps, step{name, undo})
}

func (s *stack) run() error {
	var errs []error
	for _, step := range slices.Backward(s.steps) {
		if err := step.undo(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	return errors.Join(errs...)
}
