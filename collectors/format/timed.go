package format

import (
	"strings"

	"gatewatch/event"
)

// fitsTimed takes the request time at the end of a combined line, bare
// ("0.123") or named ("rt=0.123 uct=..."), after X-Forwarded-For where that
// is there. What follows is ignored.
func fitsTimed(d *Decoder, p *parts, ev *event.Event) bool {
	if !p.agents {
		return false
	}
	xff, tail, ok := cutQuoted(p.tail)
	if !ok {
		xff, tail = "", p.tail
	}
	token, _ := cutToken(tail)
	for _, name := range [...]string{"rt=", "request_time="} {
		if strings.HasPrefix(token, name) {
			token = strings.Trim(token[len(name):], `"`)
			break
		}
	}
	if strings.IndexByte(token, '.') < 0 {
		return false // a whole number may be anything
	}
	ns, ok := seconds(token)
	if !ok {
		return false
	}
	ev.Duration = ns
	ev.ForwardedFor = d.text(xff)
	return true
}
