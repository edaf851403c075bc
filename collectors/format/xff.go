package format

import "gatewatch/event"

func fitsXFF(d *Decoder, p *parts, ev *event.Event) bool {
	value, rest, ok := cutQuoted(p.tail)
	if !p.agents || !ok || rest != "" {
		return false
	}
	ev.ForwardedFor = d.text(value)
	return true
}
