package config

import (
	"gatewatch/alerting/pagerduty"
	"gatewatch/detectors/observation"

	"go.yaml.in/yaml/v4"
)

// PagerDuty is a receiver that is a service of PagerDuty.
type PagerDuty struct {
	HTTP
	RoutingKey Secret
	Source     string                       // "" for the default
	Severities map[observation.Level]string // by level; the rest have their defaults
}

// Options returns the options of pagerduty.New for a receiver of that name.
func (p *PagerDuty) Options(name, version string) pagerduty.Config {
	return pagerduty.Config{
		Name: name, RoutingKey: p.RoutingKey, URL: orNil(p.URL), Headers: p.headers(), Timeout: p.Timeout, TLS: p.TLS.Files(),
		Proxy: p.proxy(), Version: version, Source: p.Source, Severities: p.Severities,
	}
}

func readPagerDuty(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	p := &PagerDuty{}
	m := d.mapping(n, name)
	m.secret("routing_key", &p.RoutingKey)
	d.http(m, n, &p.HTTP, "")
	m.text("source", &p.Source)
	m.pairs("severity", func(k, v *yaml.Node, key, value string) {
		var level observation.Level
		if err := level.UnmarshalText([]byte(key)); err != nil {
			d.fail(k, "%s: %s", m.path("severity"), err)
			return
		}
		switch value {
		case "critical", "error", "warning", "info":
		default:
			d.fail(v, "%s.%s is %s; write critical, error, warning or info", m.path("severity"), key, quote(value))
			return
		}
		if p.Severities == nil {
			p.Severities = map[observation.Level]string{}
		}
		p.Severities[level] = value
	})
	m.done()
	if !p.RoutingKey.IsSet() && len(d.problems) == before {
		d.fail(n, "%s has no routing_key; write routing_key: ${PAGERDUTY_KEY}, the integration key of a service", name)
	}
	return p
}
