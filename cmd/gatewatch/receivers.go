package main

import (
	"fmt"

	"gatewatch/alerting"
	"gatewatch/alerting/webhook"
	"gatewatch/config"
)

// targets makes the receivers of a configuration. A secret file that cannot
// be read now is an error: a receiver that can never send should be known at
// once.
func targets(c *config.Config) ([]alerting.Target, error) {
	var out []alerting.Target
	for _, r := range c.Receivers {
		hook, err := webhook.New(r.WebhookConfig(readVersion().Version))
		if err != nil {
			return nil, configError(fmt.Errorf("receivers: %w", err))
		}
		out = append(out, alerting.Target{Receiver: hook, MinLevel: r.Level})
	}
	return out, nil
}
