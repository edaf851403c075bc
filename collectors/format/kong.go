package format

import (
	"strings"

	"gatewatch/event"
)

func fitsKong(d *Decoder, p *parts, ev *event.Event) bool {
	const name = ` kong_request_id:`
	if !p.agents || !strings.HasPrefix(p.tail, name) {
		return false
	}
	id, _, ok := cutQuoted(p.tail[len(name):])
	if ok {
		ev.RequestID = d.text(id)
	}
	return ok
}
