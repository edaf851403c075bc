package config

import (
	"time"

	"gatewatch/alerting/alertmanager"

	"go.yaml.in/yaml/v4"
)

// Alertmanager is a receiver that is an Alertmanager.
type Alertmanager struct {
	HTTP
	AlertName    string // "" for the default
	Labels       map[string]string
	ExpireAfter  time.Duration
	GeneratorURL string
}

// Options returns the options of alertmanager.New for a receiver of that name.
func (a *Alertmanager) Options(name, version string) alertmanager.Config {
	return alertmanager.Config{
		Name: name, URL: a.URL, Headers: a.headers(), Timeout: a.Timeout, TLS: a.TLS.Files(), Proxy: a.proxy(), Version: version,
		AlertName: a.AlertName, Labels: a.Labels, ExpireAfter: a.ExpireAfter, GeneratorURL: a.GeneratorURL,
	}
}

func readAlertmanager(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	a := &Alertmanager{ExpireAfter: 48 * time.Hour}
	m := d.mapping(n, name)
	d.http(m, n, &a.HTTP, "http://alertmanager:9093")
	m.text("alertname", &a.AlertName)
	m.duration("expire_after", &a.ExpireAfter, 10*time.Minute, forever)
	if at := m.text("generator_url", &a.GeneratorURL); at != nil {
		if err := parseURL(a.GeneratorURL); err != nil {
			d.fail(at, "%s: %s", m.path("generator_url"), err)
		}
	}
	m.pairs("labels", func(k, v *yaml.Node, key, value string) {
		switch {
		case key != alertmanager.LabelName(key):
			d.fail(k, "%s: %s is no name of a label; write %s", m.path("labels"), quote(key), alertmanager.LabelName(key))
		case value == "":
			d.fail(v, "%s.%s is empty; write a value or remove it", m.path("labels"), key)
		default:
			if a.Labels == nil {
				a.Labels = map[string]string{}
			}
			a.Labels[key] = value
		}
	})
	m.done()
	return a
}
