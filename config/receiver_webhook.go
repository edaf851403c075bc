package config

import (
	"time"

	"gatewatch/alerting/webhook"

	"go.yaml.in/yaml/v4"
)

// Webhook is a receiver that is called by HTTP.
type Webhook struct {
	URL     Secret
	Secret  Secret // signs the message; may be unset
	Timeout time.Duration
	Headers map[string]Secret
}

// AttemptTimeout returns the timeout of one request.
func (w *Webhook) AttemptTimeout() time.Duration { return w.Timeout }

// Options returns the options of webhook.New for a receiver of that name;
// version is gatewatch's own.
func (w *Webhook) Options(name, version string) webhook.Config {
	c := webhook.Config{Name: name, URL: w.URL, Timeout: w.Timeout, Version: version}
	if w.Secret.IsSet() {
		c.Secrets = []webhook.Secret{w.Secret}
	}
	for name, s := range w.Headers {
		if c.Headers == nil {
			c.Headers = map[string]webhook.Secret{}
		}
		c.Headers[name] = s
	}
	return c
}

func readWebhook(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	w := &Webhook{Timeout: 10 * time.Second}
	m := d.mapping(n, name)
	url := m.secret("url", &w.URL)
	if url != nil && w.URL.value != "" {
		if err := parseURL(w.URL.value); err != nil {
			// The value is not repeated: an address often carries a token.
			d.fail(url, "%s.url: %s", name, err)
		}
	}
	m.secret("secret", &w.Secret)
	m.duration("timeout", &w.Timeout, 100*time.Millisecond, 5*time.Minute)
	d.headers(m, &w.Headers)
	m.done()
	if !w.URL.IsSet() && len(d.problems) == before {
		d.fail(n, "%s has no url; write url: https://host/path, or url_file with the path of a file that holds it", name)
	}
	return w
}
