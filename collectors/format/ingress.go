package format

import (
	"strings"

	"gatewatch/event"
)

// fitsIngress takes ingress-nginx's upstreaminfo: combined, then request
// length, request time, [upstream], [alternative], upstream address, length,
// time, status, and the request id.
func fitsIngress(d *Decoder, p *parts, ev *event.Event) bool {
	length, rest := cutToken(p.tail)
	took, rest := cutToken(rest)
	if !p.agents || !strings.HasPrefix(rest, " [") {
		return false
	}
	size, ok := number(length)
	if !ok {
		return false
	}
	ns, ok := seconds(took)
	if !ok {
		return false
	}
	ev.RequestSize, ev.Duration = size, ns
	if i := strings.LastIndexByte(rest, ' '); len(rest)-i-1 >= 16 {
		ev.RequestID = d.text(rest[i+1:])
	}
	return true
}
