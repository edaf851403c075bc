package config

import (
	"gatewatch/alerting/teams"

	"go.yaml.in/yaml/v4"
)

// Teams is a receiver that is a channel of Microsoft Teams.
type Teams struct{ HTTP }

// Options returns the options of teams.New for a receiver of that name.
func (t *Teams) Options(name, version string) teams.Config {
	return teams.Config{
		Name: name, URL: t.URL, Headers: t.headers(), Timeout: t.Timeout, TLS: t.TLS.Files(), Proxy: t.proxy(), Version: version,
	}
}

func readTeams(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	t := &Teams{}
	m := d.mapping(n, name)
	d.http(m, n, &t.HTTP, "${TEAMS_URL}")
	m.done()
	return t
}
