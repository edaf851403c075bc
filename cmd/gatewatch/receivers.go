package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"gatewatch/alerting"
	"gatewatch/alerting/alertmanager"
	"gatewatch/alerting/command"
	"gatewatch/alerting/email"
	"gatewatch/alerting/file"
	"gatewatch/alerting/kafka"
	"gatewatch/alerting/pagerduty"
	"gatewatch/alerting/slack"
	"gatewatch/alerting/syslog"
	"gatewatch/alerting/teams"
	"gatewatch/alerting/webhook"
	"gatewatch/config"
)

// newReceiver makes the receiver of one entry of the configuration. It
// acquires nothing that a later closeTargets would not give back, so that
// check may call it too. Its errors name the receiver and are free of secrets.
func newReceiver(r config.Receiver, logger *slog.Logger) (alerting.Receiver, error) {
	version := readVersion().Version
	switch s := r.Settings.(type) {
	case *config.Webhook:
		return webhook.New(s.Options(r.Name, version))
	case *config.Alertmanager:
		return alertmanager.New(s.Options(r.Name, version))
	case *config.Email:
		o := s.Options(r.Name)
		o.Logger = logger
		return email.New(o)
	case *config.Exec:
		return command.New(s.Options(r.Name))
	case *config.File:
		return file.New(s.Options(r.Name))
	case *config.KafkaReceiver:
		return kafka.New(s.Options(r.Name, version, os.LookupEnv))
	case *config.PagerDuty:
		return pagerduty.New(s.Options(r.Name, version))
	case *config.Slack:
		o := s.Options(r.Name, version)
		o.Logger = logger
		return slack.New(o)
	case *config.Syslog:
		return syslog.New(s.Options(r.Name))
	case *config.Teams:
		return teams.New(s.Options(r.Name, version))
	}
	return nil, fmt.Errorf("receiver %s: this gatewatch has no receivers of type %s", r.Name, r.Type)
}

// targets makes the receivers of a configuration. A secret file that cannot
// be read now is an error: a receiver that can never send should be known at
// once. All mistakes are told.
func targets(c *config.Config, logger *slog.Logger) ([]alerting.Target, error) {
	var out []alerting.Target
	var faults []error
	for _, r := range c.Receivers {
		to, err := newReceiver(r, logger)
		if err != nil {
			faults = append(faults, fmt.Errorf("receivers: %w", err))
			continue
		}
		target := alerting.Target{Receiver: to, MinLevel: r.Level}
		if r.Type == "slack" {
			// A channel takes about one message a second: what waits meanwhile
			// can be folded, what is under way cannot.
			target.Concurrency = 1
		}
		out = append(out, target)
	}
	if len(faults) > 0 {
		closeTargets(out)
		return nil, configError(errors.Join(faults...))
	}
	return out, nil
}

// slackReceivers are those of the targets that are channels of Slack.
func slackReceivers(list []alerting.Target) []*slack.Receiver {
	var out []*slack.Receiver
	for _, t := range list {
		if r, ok := t.Receiver.(*slack.Receiver); ok {
			out = append(out, r)
		}
	}
	return out
}

// closeTargets lets go of what receivers hold: connections, files. An attempt
// that is under way ends first or fails in a way that is tried again.
func closeTargets(list []alerting.Target) {
	for _, t := range list {
		if c, ok := t.Receiver.(interface{ Close() }); ok {
			c.Close()
		}
	}
}
