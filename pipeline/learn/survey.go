package learn

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"gatewatch/event"
)

// lastHop returns the rightmost address of X-Forwarded-For: what the peer itself
// says of its client. The others are what somebody else wrote.
func lastHop(forwarded string) (a netip.Addr) {
	if forwarded == "" {
		return a
	}
	i := strings.LastIndexByte(forwarded, ',')
	a, _ = event.ParseAddr(strings.TrimSpace(forwarded[i+1:]))
	return a
}

// Survey is what a log holds, whoever sent it: its span, its fields, and the
// peers that speak for others. It belongs to one goroutine.
type Survey struct {
	First, Last int64 // Unix seconds; 0 where nothing was read
	Requests    int64
	Formats     map[string]int64
	peers       map[netip.Addr]*peer
	present     [presences]int64
	logins      int64
	named       int64 // logins with the name tried
	sized       int64 // logins with the size of their answer
	objects     int64 // requests with an id in the route
	MorePeers   bool  // there were more peers than are told apart
}

// peer is one end of connections.
type peer struct {
	requests, forwarded int64
	private             int64 // hops that are no public addresses
	repeats             int64 // hops that were seen before
	hops                map[netip.Addr]bool
}

// Bounds of a survey.
const (
	maxPeers = 16384
	maxHops  = 256 // told apart of one peer
)

// NewSurvey returns an empty survey.
func NewSurvey() *Survey {
	return &Survey{Formats: map[string]int64{}, peers: map[netip.Addr]*peer{}}
}

// Add takes in a request.
func (s *Survey) Add(f *Fact) {
	s.Requests++
	if s.First == 0 || f.Time < s.First {
		s.First = f.Time
	}
	s.Last = max(s.Last, f.Time)
	s.Formats[f.Format]++
	for i := range s.present {
		if f.Present&(1<<i) != 0 {
			s.present[i]++
		}
	}
	if f.Login {
		s.logins++
		if f.Account != "" {
			s.named++
		}
		if f.Size >= 0 {
			s.sized++
		}
	}
	if f.Object != 0 {
		s.objects++
	}
	if !f.Hop.IsValid() || !f.Peer.IsValid() {
		if p := s.peers[f.Peer]; p != nil {
			p.requests++
		}
		return
	}
	p := s.peers[f.Peer]
	if p == nil {
		if len(s.peers) >= maxPeers {
			s.MorePeers = true
			return
		}
		p = &peer{hops: map[netip.Addr]bool{}}
		s.peers[f.Peer] = p
	}
	p.requests++
	p.forwarded++
	if !isPublic(f.Hop) {
		p.private++
	}
	if p.hops[f.Hop] {
		p.repeats++
	} else if len(p.hops) < maxHops {
		p.hops[f.Hop] = true
	}
}

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}

// sharedSpace is the address space between carriers and their customers (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// share is how much of the requests tell a field, from 0 to 1.
func (s *Survey) share(p presence) float64 {
	if s.Requests == 0 {
		return 0
	}
	bit := 0
	for p>>bit != 1 {
		bit++
	}
	return float64(s.present[bit]) / float64(s.Requests)
}

// Proxy is a peer that says X-Forwarded-For for many clients.
type Proxy struct {
	Peer     netip.Addr
	Requests int64
	Clients  int // different ones, up to 256
	// Ours says that the peer has an address that nobody on the internet can have,
	// so that nobody on the internet can have written the header for it.
	Ours bool
	// Inside says that most of the clients have private addresses: an office or
	// another network behind one address.
	Inside bool
}

// Proxies returns the peers that look like proxies, most requests first: nearly
// all their requests carry the header, for many clients who come again. A
// client that makes up an address for every request is not one.
func (s *Survey) Proxies() []Proxy {
	const (
		leastClients = 8
		leastShare   = 0.95
	)
	var out []Proxy
	for _, a := range slices.SortedFunc(maps.Keys(s.peers), netip.Addr.Compare) {
		p := s.peers[a]
		if len(p.hops) < leastClients || float64(p.forwarded) < leastShare*float64(p.requests) || p.repeats < p.forwarded/2 {
			continue
		}
		out = append(out, Proxy{
			Peer: a, Requests: p.requests, Clients: len(p.hops), Ours: !isPublic(a), Inside: 2*p.private > p.forwarded,
		})
	}
	slices.SortStableFunc(out, func(a, b Proxy) int { return cmp.Compare(b.Requests, a.Requests) })
	return out
}

// Trusted returns the networks of those proxies whose word can be taken without
// asking anybody: the addresses themselves, or the /24 or /64 of four and more.
func Trusted(proxies []Proxy) []netip.Prefix {
	near := map[netip.Prefix][]netip.Addr{}
	for _, p := range proxies {
		if !p.Ours || p.Inside {
			continue
		}
		net := around(p.Peer)
		near[net] = append(near[net], p.Peer)
	}
	var out []netip.Prefix
	for net, list := range near {
		if len(list) >= 4 {
			out = append(out, net)
			continue
		}
		for _, a := range list {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	slices.SortFunc(out, comparePrefix)
	return out
}

// around is the network that an address shares with its neighbours.
func around(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked()
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
