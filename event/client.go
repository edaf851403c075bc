package event

import (
	"net/netip"
	"slices"
	"strings"
)

// maxHops bounds the walk through X-Forwarded-For: the header is the
// attacker's to fill, and no honest chain of proxies is longer.
const maxHops = 32

// client works out who sent the request: the peer, or, where the peer is a
// trusted proxy, the first address in X-Forwarded-For from the right that is
// none. The left end of the header is never believed, for the client wrote it.
// A hop that is no address ends the walk at the last trusted one.
func (d *Deriver) client(ev *Event) {
	if ev.ClientSource == ClientGateway && ev.Client.IsValid() {
		return
	}
	if !ev.Peer.IsValid() {
		ev.Client, ev.ClientSource = netip.Addr{}, ClientNone
		return
	}
	ev.Client, ev.ClientSource = ev.Peer, ClientPeer
	if ev.ForwardedFor == "" || len(d.trusted.ranges) == 0 || !d.trusted.contains(ev.Peer) {
		return
	}
	rest := ev.ForwardedFor
	for range maxHops {
		i := strings.LastIndexByte(rest, ',')
		hop, ok := ParseAddr(strings.TrimSpace(rest[i+1:]))
		if !ok {
			return
		}
		ev.Client, ev.ClientSource = hop, ClientForwarded
		if i < 0 || !d.trusted.contains(hop) {
			return
		}
		rest = rest[:i]
	}
}

// group is the network that counts as one client.
func (d *Deriver) group(a netip.Addr) netip.Prefix {
	switch {
	case !a.IsValid():
		return netip.Prefix{}
	case a.Is4():
		return netip.PrefixFrom(a, 32)
	case d.whole6:
		return netip.PrefixFrom(a, 128)
	default:
		p, err := a.Prefix(64)
		if err != nil {
			return netip.Prefix{}
		}
		return p
	}
}

func sortRanges(r []addrRange) {
	slices.SortFunc(r, func(a, b addrRange) int {
		if c := a.from.Compare(b.from); c != 0 {
			return c
		}
		return b.to.Compare(a.to)
	})
}

// lastAddr returns the greatest address of a masked prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := range b {
		host := min(max((i+1)*8-bits, 0), 8)
		b[i] |= byte(1<<host - 1)
	}
	a := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		return a.Unmap()
	}
	return a
}
