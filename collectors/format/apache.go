package format

import (
	"strings"

	"gatewatch/event"
)

// fitsApache takes combined lines of Apache, which stamps a request when it
// begins. One number at the end is the duration, in microseconds (%D) where
// it is whole and in seconds where it has a point; it is added to the time.
// Two numbers are the bytes of mod_logio.
func fitsApache(_ *Decoder, p *parts, ev *event.Event) bool {
	if !p.agents || p.host || p.mid != "" {
		return false
	}
	if p.tail == "" {
		return true
	}
	token, rest := cutToken(p.tail)
	if rest != "" {
		a, okA := number(token)
		token, rest = cutToken(rest)
		_, okB := number(token)
		if okA && okB && rest == "" {
			ev.RequestSize = a
			return true
		}
		return false
	}
	if strings.IndexByte(token, '.') >= 0 {
		ns, ok := seconds(token)
		if !ok {
			return false
		}
		ev.Duration = ns
	} else {
		us, ok := number(token)
		if !ok || us > maxDuration/1000 {
			return false
		}
		ev.Duration = us * 1000
	}
	ev.Time += ev.Duration
	return true
}
