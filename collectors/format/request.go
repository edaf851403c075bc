package format

import (
	"strings"

	"gatewatch/event"
)

// request undoes the escaping of a request line. A lone "-" means that there
// was none, as Apache writes for a connection that timed out.
func (d *Decoder) request(s string) string {
	if s == "-" {
		return ""
	}
	if d.escaped && strings.IndexByte(s, '\\') >= 0 {
		return d.unescape(s)
	}
	return s
}

// readRequest splits a request line into method, target and protocol. The
// target may hold blanks: it lies between the first and the last. Of a broken
// line as much is told apart as can be; where nothing can, Target is all of it.
func readRequest(raw string, ev *event.Event) {
	first := strings.IndexByte(raw, ' ')
	last := strings.LastIndexByte(raw, ' ')
	version, versioned := "", false
	if last > 0 {
		version, versioned = httpVersion(raw[last+1:])
	}
	if first > 0 {
		if m := knownMethod(raw[:first]); m != "" {
			ev.Method = m
			switch {
			case versioned && last > first:
				ev.Protocol = version
				splitTarget(raw[first+1:last], ev)
			default:
				ev.Malformed = event.MalformedNoVersion
				splitTarget(raw[first+1:], ev)
			}
			return
		}
	}
	ev.Target = raw
	switch {
	case raw == "":
		ev.Malformed = event.MalformedEmpty
	case isTLS(raw):
		ev.Malformed = event.MalformedTLS
	case isBinary(raw):
		ev.Malformed = event.MalformedBinary
	case versioned && last > first:
		ev.Protocol = version
		setMethod(raw[:first], ev)
		splitTarget(raw[first+1:last], ev)
	case knownMethod(raw) != "":
		ev.Method = knownMethod(raw)
		ev.Malformed = event.MalformedNoVersion
	default:
		ev.Malformed = event.MalformedMethod
		ev.Method = other
		if first > 0 && first <= maxMethod {
			ev.MethodOriginal = raw[:first]
		}
	}
}

const (
	other     = "_OTHER"
	maxMethod = 32
)

// setMethod fills the method from a word of its own. Words in capitals that
// are not known are methods of some extension, others are none.
func setMethod(s string, ev *event.Event) {
	if ev.Method = knownMethod(s); ev.Method != "" {
		return
	}
	ev.Method, ev.MethodOriginal = other, s
	if len(s) > maxMethod {
		ev.Malformed = event.MalformedMethod
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			ev.Malformed = event.MalformedMethod
		}
	}
}

// knownMethod returns the registered method that s spells, or "".
func knownMethod(s string) string {
	switch s {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "HEAD":
		return "HEAD"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	case "PATCH":
		return "PATCH"
	case "CONNECT", "TRACE", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH",
		"ACL", "BIND", "UNBIND", "REBIND", "CHECKIN", "CHECKOUT", "UNCHECKOUT", "VERSION-CONTROL", "MERGE", "UPDATE", "LABEL",
		"BASELINE-CONTROL", "MKACTIVITY", "MKWORKSPACE", "MKCALENDAR", "MKREDIRECTREF", "UPDATEREDIRECTREF", "ORDERPATCH", "LINK", "UNLINK":
		return s
	default:
		return ""
	}
}

// httpVersion reads "HTTP/1.1" to "1.1" and "HTTP/2.0" to "2".
func httpVersion(s string) (string, bool) {
	if len(s) == 8 && s[:5] == "HTTP/" && s[6] == '.' && s[5]-'0' <= 9 && s[7]-'0' <= 9 {
		if s[7] == '0' && s[5] >= '2' {
			return s[5:6], true
		}
		return s[5:], true
	}
	if len(s) == 6 && s[:5] == "HTTP/" && s[5]-'0' <= 9 {
		return s[5:], true
	}
	return "", false
}

// splitTarget fills Target, Path and Query, and for "http://host/path", which
// proxies are sent and servers answer too, Scheme and Host: Target is then
// what a server makes of it.
func splitTarget(target string, ev *event.Event) {
	ev.Target = target
	if target == "" {
		return
	}
	if target[0] != '/' {
		target = absolute(target, ev)
		ev.Target = target
	}
	if q := strings.IndexByte(target, '?'); q >= 0 {
		ev.Path, ev.Query = target[:q], target[q+1:]
		if q == 0 {
			ev.Path = "/"
		}
		return
	}
	ev.Path = target
}

func absolute(target string, ev *event.Event) string {
	// API Gateway logs the method twice: "GET GET /pets HTTP/1.1".
	if n := len(ev.Method); n > 0 && len(target) > n+1 && target[n] == ' ' && target[n+1] == '/' && target[:n] == ev.Method {
		return target[n+1:]
	}
	i := strings.Index(target, "://")
	if i < 2 || i > 5 {
		return target
	}
	for k := range i {
		if c := target[k] | 0x20; c < 'a' || c > 'z' {
			return target
		}
	}
	rest := target[i+3:]
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	ev.Scheme = target[:i]
	if ev.Host == "" {
		authority := rest[:end]
		ev.Host = hostOnly(authority[strings.LastIndexByte(authority, '@')+1:])
	}
	if end == len(rest) {
		return "/"
	}
	return rest[end:]
}

// isTLS recognises the start of a TLS or SSLv2 handshake on a plain port.
func isTLS(s string) bool {
	if len(s) >= 2 && s[0] == 0x16 && s[1] == 3 {
		return true
	}
	return len(s) >= 4 && s[0]&0x80 != 0 && s[2] == 1 && s[3] <= 3
}

// isBinary reports whether s has bytes that no request line of text has.
func isBinary(s string) bool {
	for i := range min(len(s), 256) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return true
		}
	}
	return false
}
