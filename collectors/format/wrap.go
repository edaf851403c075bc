package format

import (
	"strings"

	"gatewatch/event"
)

// wrapped reads a prefix behind what syslog, a container runtime or a logging
// framework put before the line:
//
//	Nov 19 06:00:02 host nginx[77]: ADDRESS - -
//	2026-11-19T06:00:02Z stdout F ADDRESS - -
//	web-1  | ADDRESS - -
//
// The first mark decides, as no client writes anything before its own address.
func (d *Decoder) wrapped(s string, p *parts, ev *event.Event) bool {
	if _, rest := cutToken(s); strings.HasPrefix(rest, " - ") {
		return false // a client by an odd name; behind the ident is a user name, which it chose
	}
	cut := len(s)
	for _, mark := range [...]string{": ", " stdout F ", " stderr F ", " | "} {
		if i := strings.Index(s[:cut], mark); i >= 0 {
			cut = i + len(mark)
		}
	}
	return cut < len(s) && d.prefix(s[cut:], p, ev)
}
