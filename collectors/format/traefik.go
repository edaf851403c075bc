package format

import (
	"strings"

	"gatewatch/event"
)

// fitsTraefik takes the request count, the router, the service's URL and the
// duration in milliseconds. Traefik stamps a request when it begins.
func fitsTraefik(_ *Decoder, p *parts, ev *event.Event) bool {
	if !p.agents || !strings.HasSuffix(p.tail, "ms") {
		return false
	}
	count, rest := cutToken(p.tail)
	_, rest, ok := cutQuoted(rest)
	if _, isCount := number(count); !ok || !isCount {
		return false
	}
	_, rest, ok = cutQuoted(rest)
	if !ok {
		return false
	}
	token, rest := cutToken(rest)
	ms, ok := number(strings.TrimSuffix(token, "ms"))
	if !ok || rest != "" || ms > maxDuration/1_000_000 {
		return false
	}
	ev.Duration = ms * 1_000_000
	ev.Time += ev.Duration
	return true
}
