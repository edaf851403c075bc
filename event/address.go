package event

import (
	"net/netip"
	"strings"
)

// ParseAddr reads an address in any spelling that access logs use, and
// reports whether it is one: "192.0.2.1", "192.0.2.1:80", "::1", "[::1]:80",
// "[::1]", "2001:db8::1:58430" (the part after the last colon is a port where
// the whole is no address), with a zone ("fe80::1%eth0", which is dropped),
// with blanks around it, and "::ffff:192.0.2.1", which becomes IPv4. Words
// such as "unknown", "_hidden" and "unix:" are no addresses. It allocates
// nothing.
func ParseAddr(s string) (netip.Addr, bool) {
	if a, n := parse4(s); n == len(s) && n > 0 {
		return a, true
	}
	return parseAny(s)
}

// parse4 reads a dotted quad at the start of s and returns its length, or 0.
func parse4(s string) (netip.Addr, int) {
	var b [4]byte
	i := 0
	for part := range 4 {
		if part > 0 {
			if i >= len(s) || s[i] != '.' {
				return netip.Addr{}, 0
			}
			i++
		}
		start, v := i, 0
		for i < len(s) && i-start < 4 && s[i]-'0' <= 9 {
			v = v*10 + int(s[i]-'0')
			i++
		}
		// A leading zero is octal to some readers and decimal to others: no address.
		if i == start || v > 255 || (s[start] == '0' && i-start > 1) {
			return netip.Addr{}, 0
		}
		b[part] = byte(v)
	}
	return netip.AddrFrom4(b), i
}

func parseAny(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 2 || len(s) > 128 {
		return netip.Addr{}, false
	}
	if a, n := parse4(s); n > 0 {
		if n == len(s) || s[n] == ':' && isPort(s[n+1:]) {
			return a, true
		}
		return netip.Addr{}, false
	}
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		if rest := s[end+1:]; rest != "" && (rest[0] != ':' || !isPort(rest[1:])) {
			return netip.Addr{}, false
		}
		return parse6(s[1:end])
	}
	if a, ok := parse6(s); ok {
		return a, true
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 && isPort(s[i+1:]) {
		return parse6(s[:i])
	}
	return netip.Addr{}, false
}

func parse6(s string) (netip.Addr, bool) {
	if i := strings.IndexByte(s, '%'); i >= 0 {
		s = s[:i]
	}
	if !couldBe6(s) {
		// ParseAddr's error allocates; most garbage ends here.
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// couldBe6 keeps out most of what is no IPv6 address.
func couldBe6(s string) bool {
	colons := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':':
			colons++
		case c-'0' <= 9, c|0x20 >= 'a' && c|0x20 <= 'f', c == '.':
		default:
			return false
		}
	}
	return colons >= 2 && colons <= 8
}

func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return true
}

// addrSet answers whether an address is in a list of prefixes. It is
// immutable. Prefixes become sorted ranges, so a lookup is a binary search.
type addrSet struct{ ranges []addrRange }

type addrRange struct{ from, to netip.Addr }

func newAddrSet(prefixes []netip.Prefix) addrSet {
	var s addrSet
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		p = p.Masked()
		s.ranges = append(s.ranges, addrRange{p.Addr(), lastAddr(p)})
	}
	sortRanges(s.ranges)
	// Prefixes nest or are apart, so a range that begins inside another ends inside it.
	kept := s.ranges[:0]
	for _, r := range s.ranges {
		if n := len(kept); n > 0 && r.to.Compare(kept[n-1].to) <= 0 {
			continue
		}
		kept = append(kept, r)
	}
	s.ranges = kept
	return s
}

func (s *addrSet) contains(a netip.Addr) bool {
	lo, hi := 0, len(s.ranges)
	for lo < hi {
		mid := (lo + hi) / 2
		if s.ranges[mid].to.Less(a) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.ranges) && s.ranges[lo].from.Compare(a) <= 0
}
