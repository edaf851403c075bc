package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/config"
	"gatewatch/detectors/observation"

	"github.com/spf13/cobra"
)

func newAlert(a *app) *cobra.Command {
	var path, level string
	test := &cobra.Command{
		Use:   "test RECEIVER...",
		Short: "Send a test notification to receivers",
		Long: "Test sends one notification, marked as a test, to each receiver that is named, from this\n" +
			"process: with the configuration as it is on disk, whether a daemon runs or not.",
		Example:           "  gatewatch alert test ops --level critical",
		RunE:              func(c *cobra.Command, names []string) error { return a.alertTest(c.Context(), path, level, names) },
		ValidArgsFunction: a.completeReceivers(&path),
	}
	configFlag(test, &path)
	test.Flags().StringVar(&level, "level", "high", "`level` of the test")
	return group("alert", "Try receivers", test)
}

// completeReceivers offers the names of receivers to the shell.
func (a *app) completeReceivers(path *string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		c, err := a.loadConfig(*path, nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return receiverNames(c), cobra.ShellCompDirectiveNoFileComp
	}
}

func receiverNames(c *config.Config) []string {
	var names []string
	for _, r := range c.Receivers {
		names = append(names, r.Name)
	}
	return names
}

func (a *app) alertTest(ctx context.Context, path, level string, names []string) error {
	var l observation.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--level: %w", err)
	}
	c, err := a.loadConfig(path, nil)
	if err != nil {
		return err
	}
	known := receiverNames(c)
	switch {
	case len(known) == 0:
		return configError(fmt.Errorf("the configuration has no receivers; see docs/receivers.md"))
	case len(names) == 0:
		return fmt.Errorf("name a receiver: %s", strings.Join(known, ", "))
	}
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		if near := config.Nearest(name, known); near != "" {
			return fmt.Errorf("there is no receiver %q; did you mean %s?", name, near)
		}
		return fmt.Errorf("there is no receiver %q; there are %s", name, strings.Join(known, ", "))
	}
	bad := false
	for _, r := range c.Receivers {
		if !slices.Contains(names, r.Name) {
			continue
		}
		began := time.Now()
		if err := a.testReceiver(ctx, r, l); err != nil {
			bad = true
			if _, err := fmt.Fprintf(a.stdout, "%s: failed: %s\n", r.Name, escape(err.Error())); err != nil {
				return failed(err)
			}
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%s: %s took it in %s\n", r.Name, r.Type, time.Since(began).Round(time.Millisecond)); err != nil {
			return failed(err)
		}
	}
	if bad {
		return silent(exitFailed)
	}
	return nil
}

// testReceiver makes one receiver and one attempt.
func (a *app) testReceiver(ctx context.Context, r config.Receiver, level observation.Level) error {
	receiver, err := newReceiver(r, slog.New(slog.NewTextHandler(a.stderr, nil)))
	if err != nil {
		return err
	}
	defer closeTargets([]alerting.Target{{Receiver: receiver}})
	n, err := testNotification(r.Name, level, a.now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Settings.AttemptTimeout()+time.Second)
	defer cancel()
	return receiver.Notify(ctx, n).Err
}

// testNotification is about an incident that never was, with addresses that
// belong to nobody.
func testNotification(receiver string, level observation.Level, now time.Time) (alerting.Notification, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return alerting.Notification{}, err
	}
	now = now.UTC().Truncate(time.Second)
	at := now.Add(-3 * time.Minute)
	const client = "192.0.2.7"
	inc := alerting.Incident{
		ID: hex.EncodeToString(id[:]), Family: "credential", State: alerting.StateOpen, Subject: "client", Test: true, Level: level, Revision: 1,
		Rule:  alerting.RuleRef{ID: "gatewatch-test", Title: "Test of receiver " + receiver, Level: level, Tags: []string{"attack.t1110"}},
		Group: map[string]string{"client.address": client}, Sources: []string{client}, SourcesTotal: 1,
		Routes: []string{"/login"}, RoutesTotal: 1, Methods: []string{"POST"}, Statuses: []alerting.StatusCount{{Status: 401, Count: 42}},
		Accounts: []string{}, Principals: []string{}, FirstSeen: at, DetectedAt: at, LastSeen: now, Count: 42,
		Limits: []string{"nothing of this has happened"},
	}
	inc.Rules = []alerting.RuleCount{{ID: inc.Rule.ID, Title: inc.Rule.Title, Level: level, Count: inc.Count, DetectedAt: at}}
	inc.Evidence = []alerting.Evidence{{
		Line: 1, File: "test.log",
		Text: client + ` - - [` + at.Format("02/Jan/2006:15:04:05 -0700") + `] "POST /login?<test>=*1* HTTP/1.1" 401 25 "-" "gatewatch-test"`,
	}}
	payload, err := json.Marshal(inc)
	if err != nil {
		return alerting.Notification{}, err
	}
	return alerting.Notification{
		Key: inc.ID + "/1", Incident: inc.ID, Revision: 1, Cause: alerting.CauseTest, Made: now, Payload: payload,
	}, nil
}
