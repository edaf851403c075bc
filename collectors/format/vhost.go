package format

import "gatewatch/event"

// fitsVhost takes Debian's vhost_combined, Apache's vhost_common, and lines
// with the host between time and request.
func fitsVhost(_ *Decoder, p *parts, _ *event.Event) bool {
	return (p.vhost || p.host) && p.tail == "" && p.mid == ""
}
