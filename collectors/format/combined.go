package format

import "gatewatch/event"

func fitsCombined(_ *Decoder, p *parts, _ *event.Event) bool {
	return p.agents && p.tail == "" && !p.vhost && !p.host && p.mid == ""
}

func fitsCommon(_ *Decoder, p *parts, _ *event.Event) bool {
	return !p.agents && p.tail == "" && !p.vhost && !p.host
}
