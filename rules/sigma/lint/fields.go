package lint

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// closedValues returns all values of a field that has few, or nil.
func closedValues(source string) []string {
	switch source {
	case event.FieldLogin.String(), event.FieldObjectSampled.String(), event.FieldMalformed.String(), event.FieldUserVerified.String():
		return []string{"true", "false"}
	case event.FieldOutcome.String():
		return words(event.OutcomeNone, event.OutcomeUnknown)
	case event.FieldMalformedReason.String():
		return words(event.MalformedTLS, event.MalformedTruncated)
	case event.FieldClientSource.String():
		return words(event.ClientNone, event.ClientGateway)
	case event.FieldClientClass.String():
		return words(event.ClassNone, event.ClassOther)
	case event.FieldMethod.String():
		return methods()
	default:
		return nil
	}
}

func words[T interface {
	~uint8
	String() string
}](first, last T) []string {
	var out []string
	for v := first; v <= last; v++ {
		out = append(out, v.String())
	}
	return out
}

// methods are those that decoders know; all others are _OTHER. A test holds
// the list against collectors/format.
func methods() []string {
	return []string{
		"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL",
		"COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "ACL", "BIND", "UNBIND", "REBIND", "CHECKIN", "CHECKOUT", "UNCHECKOUT",
		"VERSION-CONTROL", "MERGE", "UPDATE", "LABEL", "BASELINE-CONTROL", "MKACTIVITY", "MKWORKSPACE", "MKCALENDAR", "MKREDIRECTREF",
		"UPDATEREDIRECTREF", "ORDERPATCH", "LINK", "UNLINK", "_OTHER",
	}
}

// doubtfulNumber checks a comparison with a number.
func doubtfulNumber(source string, m sigma.Comparison) doubt {
	if m.IsText() && m.Regexp() == nil {
		_, _, pieces := m.Pieces()
		for _, p := range pieces {
			if strings.Trim(p, "0123456789") != "" {
				return doubt{source + " is a number, and digits hold no " + quote(strings.Trim(p, "0123456789")), "write digits and wildcards, such as 4?? or 4*", true}
			}
		}
	}
	if source == event.FieldStatus.String() {
		return doubtfulStatus(m)
	}
	if m.IsText() {
		return doubt{}
	}
	// Below zero nothing is logged.
	if !m.MatchesNumber(0) && !m.MatchesNumber(1<<52) && belowZero(m) {
		return doubt{source + " is never below zero", "write a number of 0 or more", true}
	}
	return doubt{}
}

func belowZero(m sigma.Comparison) bool {
	// A comparison is written with its word: "lt 0".
	f, err := strconv.ParseFloat(m.Written()[strings.LastIndexByte(m.Written(), ' ')+1:], 64)
	return err == nil && f <= 0
}

const (
	firstStatus, lastStatus   = 100, 599
	lowestStatus, mostDigits3 = 0, 999
)

func doubtfulStatus(m sigma.Comparison) doubt {
	any := func(from, to int64) bool {
		for n := from; n <= to; n++ {
			if m.MatchesNumber(n) {
				return true
			}
		}
		return false
	}
	switch {
	case any(firstStatus, lastStatus):
		return doubt{}
	case any(1, mostDigits3):
		return doubt{"statuses lie between 100 and 599", "correct the status", false}
	default:
		return doubt{"a status has three digits", "correct the status", true}
	}
}

func doubtfulAddress(m sigma.Comparison) doubt {
	if !m.IsText() || m.Regexp() != nil {
		return doubt{}
	}
	_, _, pieces := m.Pieces()
	for _, p := range pieces {
		if bad := strings.Trim(p, "0123456789abcdefABCDEF:."); bad != "" {
			return doubt{"an address holds no " + quote(bad), "write an address, one with wildcards such as 10.1.*, or use |cidr for a network", true}
		}
	}
	return doubt{}
}

var (
	queryInPath = regexp.MustCompile(`\?[\w.%\[\]-]*=`)
	encoded     = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	numberSlot  = regexp.MustCompile(`/\d+(/|$)`)
	portAtEnd   = regexp.MustCompile(`[^:]:\d+$`)
)

// longestLine is what servers take of a request line, unless they are told
// otherwise.
const longestLine = 8 << 10

// doubtfulText checks a comparison with a text by what is known of the field.
func doubtfulText(source string, m sigma.Comparison, it *item) doubt {
	if m.Regexp() != nil || !m.IsText() {
		return doubt{}
	}
	first, last, pieces := m.Pieces()
	begin, whole := "", first && last && len(pieces) == 1
	if first {
		begin = pieces[0]
	}
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	if size > longestLine {
		return doubt{"servers take no request line of " + strconv.Itoa(size) + " characters", "keep the part of it that tells", false}
	}
	if d := encodedTwice(source, pieces); d.why != "" {
		return d
	}
	switch source {
	case event.FieldPath.String():
		return doubtfulPath(m, begin, pieces)
	case event.FieldTarget.String():
		if first && !strings.HasPrefix(begin, "/") && !oddTarget(begin) {
			return doubt{"the whole target begins with /, also where a rule writes cs-uri-query", "use |contains, or url.query for what follows the ?", false}
		}
	case event.FieldQuery.String():
		anchored := it != nil && !it.has("contains") && !it.has("endswith")
		if strings.HasPrefix(begin, "?") || anchored && strings.HasPrefix(m.Written(), "?") {
			return doubt{"url.query is what follows the ?", "remove the question mark", false}
		}
	case "url.extension":
		if strings.ContainsAny(strings.Join(pieces, ""), "./") {
			return doubt{"url.extension is what follows the last dot, without it", "write " + strings.TrimLeft(m.Written(), ".*") + " without the dot, or use url.path|endswith", false}
		}
	case event.FieldHost.String():
		if strings.ContainsRune(strings.Join(pieces, ""), '/') {
			return doubt{"server.address is a name or an address alone", "use c-uri in a rule of category proxy for whole URLs", false}
		}
		if last && portAtEnd.MatchString(pieces[len(pieces)-1]) {
			return doubt{"server.address has no port", "remove the port", false}
		}
	case "cs-version":
		return doubtfulVersion(m, whole)
	case event.FieldProtocol.String():
		if strings.Contains(strings.ToUpper(m.Written()), "HTTP") {
			return doubt{"network.protocol.version is the number alone", "write it as 1.1 or 2, or use cs-version", false}
		}
		if whole && (begin == "2.0" || begin == "3.0") {
			return doubt{"versions from 2 on have no minor number", "write " + begin[:1], true}
		}
	case "cs-method":
		if strings.ContainsRune(strings.Join(pieces, ""), ' ') {
			return doubt{"a method ends at the first blank", "remove the blank", true}
		}
	case event.FieldClientPrefix.String():
		return doubtfulPrefix(m, whole, pieces)
	case event.FieldRoute.String():
		if whole && numberSlot.MatchString(begin) {
			return doubt{"numbers are slots in a route, as in /users/{id}", "write {id} for the number, or use url.path", false}
		}
	case event.FieldObjectID.String():
		if strings.ContainsRune(strings.Join(pieces, ""), '/') {
			return doubt{"api.object_id is one segment of the path", "use url.path", false}
		}
	}
	return doubt{}
}

func doubtfulPath(m sigma.Comparison, begin string, pieces []string) doubt {
	if strings.ContainsRune(strings.Join(pieces, ""), '?') || queryInPath.MatchString(m.Written()) {
		return doubt{"a path ends before the query, so it has a ? only where one was encoded", "use cs-uri-query, which is the whole target", false}
	}
	if begin != "" && begin[0] != '/' && begin[0] != '*' && !encoded.MatchString(begin) {
		return doubt{"a path begins with /", "add the /, or use |contains", false}
	}
	return doubt{}
}

// oddTarget reports whether a target can begin so without a slash: as a star,
// an encoded slash, or the host and port of CONNECT.
func oddTarget(begin string) bool {
	if begin == "" || begin[0] == '*' || begin[0] == '%' {
		return true
	}
	host, _, port := strings.Cut(begin, ":")
	return port && host != "" && !strings.ContainsAny(host, "=&?") && !strings.Contains(begin, "://")
}

func doubtfulVersion(m sigma.Comparison, whole bool) doubt {
	if slices.ContainsFunc([]string{"HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"}, m.MatchesText) {
		return doubt{}
	}
	if whole {
		return doubt{"there is no such version in a log", "write one of HTTP/1.0, HTTP/1.1, HTTP/2, HTTP/3", false}
	}
	return doubt{"versions are written as HTTP/1.1 or HTTP/2", "write the begin of one", false}
}

func doubtfulPrefix(m sigma.Comparison, whole bool, pieces []string) doubt {
	for _, p := range pieces {
		if bad := strings.Trim(p, "0123456789abcdefABCDEF:./"); bad != "" {
			return doubt{"client.prefix holds no " + quote(bad), "write a network such as 203.0.113.0/24", true}
		}
	}
	if !whole {
		return doubt{}
	}
	p, err := netip.ParsePrefix(pieces[0])
	switch {
	case err != nil:
		return doubt{"client.prefix is a network", "write it as 203.0.113.0/24 or 2001:db8::/64", true}
	case p.Addr().Is4() && p.Bits() != 24 || !p.Addr().Is4() && p.Bits() != 64:
		return doubt{"client.prefix is the /24 of an IPv4 client and the /64 of an IPv6 one", "use client.address|cidr for other networks", true}
	case p != p.Masked():
		return doubt{"client.prefix is the network, without the host's bits", "write " + p.Masked().String(), true}
	default:
		return doubt{}
	}
}

// encodedTwice recognises texts of which one part is only there as logged and
// another only once decoded.
func encodedTwice(source string, pieces []string) doubt {
	switch source {
	case event.FieldTarget.String(), event.FieldPath.String(), event.FieldQuery.String(), "url.full":
	default:
		return doubt{}
	}
	text := strings.Join(pieces, "\x00")
	if !encoded.MatchString(strings.ReplaceAll(text, "%25", "")) || !strings.ContainsAny(text, " \t\r\n") {
		return doubt{}
	}
	return doubt{
		"it holds a blank, which a target has once decoded, and an encoded character, which it has as logged",
		"write it all decoded, or all encoded with %20 for the blank", false,
	}
}
