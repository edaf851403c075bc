package format

import (
	"strings"

	"gatewatch/event"
)

// fitsAPISIX takes a host before the request, the request time before the
// referrer, and after the agent the upstream with the request id in quotes.
func fitsAPISIX(d *Decoder, p *parts, ev *event.Event) bool {
	if !p.host || !p.agents || p.mid == "" {
		return false
	}
	ns, ok := seconds(p.mid)
	if !ok {
		return false
	}
	ev.Duration = ns
	if i := strings.IndexByte(p.tail, '"'); i > 0 {
		_, rest, ok := cutQuoted(p.tail[i-1:])
		if id, _, found := cutQuoted(rest); ok && found {
			ev.RequestID = d.text(id)
		}
	}
	return true
}
