package format

import "gatewatch/event"

const auto = "auto"

// row is one format. A text format says by fits whether a line that was
// split into parts is its own; it may then set what it alone knows.
type row struct {
	name  string
	about string
	json  bool
	only  bool // never chosen by auto, as no line can tell it from another format
	fits  func(d *Decoder, p *parts, ev *event.Event) bool
}

// table lists the formats in the order in which auto tries them.
var table = [...]row{
	{name: "combined", about: "nginx and Apache combined", fits: fitsCombined},
	{name: "common", about: "Apache common", fits: fitsCommon},
	{name: "json", about: "JSON objects with the usual names", json: true},
	{name: "vhost_combined", about: "combined after the virtual host", fits: fitsVhost},
	{name: "combined_xff", about: "combined and X-Forwarded-For, as in nginx's packages", fits: fitsXFF},
	{name: "ingress", about: "ingress-nginx upstreaminfo", fits: fitsIngress},
	{name: "kong", about: "Kong access log", fits: fitsKong},
	{name: "apisix", about: "APISIX access log", fits: fitsAPISIX},
	{name: "traefik", about: "Traefik common log format", fits: fitsTraefik},
	{name: "combined_time", about: "combined and the request time in seconds, with or without X-Forwarded-For", fits: fitsTimed},
	{name: "apache_combined", about: "Apache combined: logs the start; %D or %T at the end gives the duration", only: true, fits: fitsApache},
}

// Names lists the formats that Options.Name may give, "auto" apart.
func Names() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].name
	}
	return names
}
