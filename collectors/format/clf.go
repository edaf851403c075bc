package format

import (
	"strings"

	"gatewatch/event"
)

// parts is what readCLF leaves for the formats of the family to look at.
type parts struct {
	vhost  bool   // a virtual host stood before the address
	host   bool   // a host stood between time and request
	agents bool   // referrer and user agent are there
	mid    string // a number between size and referrer
	tail   string // all that follows, with its leading blank
}

// maxTries bounds the search for the end of a part that hostile text imitates.
const maxTries = 8

// readCLF reads the common log format and its many relatives:
//
//	[vhost] address ident user [time] [host] "request" status size ["referrer" "agent"] tail
func (d *Decoder) readCLF(s string, ev *event.Event) fault {
	p := &d.parts
	*p = parts{}
	open, end, f := d.findTime(s, ev)
	if f.reason != "" {
		return f
	}
	if !d.prefix(s[:open], p, ev) && !d.wrapped(s[:open], p, ev) {
		return fault{reason: reasonPrefix}
	}
	at := end + 2 // the blank, and the quote or the host's first byte
	if s[end+1] != '"' {
		n := strings.IndexByte(s[at:], ' ')
		p.host = true
		ev.Host = hostOnly(d.text(s[end+1 : at+n]))
		at += n + 2
	}
	from := at
	for range maxTries {
		quote := closing(s, from)
		if quote < 0 {
			break
		}
		if rest, ok := d.statusAndSize(s[quote+1:], ev); ok {
			readRequest(d.request(s[at:quote]), ev)
			d.agents(rest, p, ev)
			return d.choose(p, ev)
		}
		// A quote that was not escaped: the request goes on.
		from = quote + 1
	}
	if from == at {
		// The line ends inside the request.
		readRequest(d.request(s[at:]), ev)
		ev.Malformed = event.MalformedTruncated
		return d.choose(p, ev)
	}
	return fault{reason: reasonStatus, column: from}
}

// choose finds the format that the parts belong to. A tail that no format
// knows is passed over.
func (d *Decoder) choose(p *parts, ev *event.Event) fault {
	for range 2 {
		if d.named != nil {
			if d.named.fits(d, p, ev) {
				ev.Format = d.named.name
				return fault{}
			}
		} else {
			for i := range table {
				if r := &table[i]; !r.json && !r.only && r.fits(d, p, ev) {
					ev.Format = r.name
					return fault{}
				}
			}
		}
		if p.tail == "" && p.mid == "" {
			break
		}
		p.tail, p.mid = "", ""
	}
	return fault{reason: reasonOther}
}

// findTime finds the time in brackets: the last thing before the first bare
// quote, or before one word and that quote. Servers escape quotes in what a
// client chooses, so no user name, however many brackets and times it holds,
// moves it. A logger that escapes nothing is read from the left.
func (d *Decoder) findTime(s string, ev *event.Event) (open, end int, f fault) {
	if q := closing(s, 0); q > 2 && s[q-1] == ' ' {
		if open, ok := d.timeBefore(s, q-1, ev); ok {
			return open, q - 1, fault{}
		}
		if at := strings.LastIndexByte(s[:q-1], ' '); at > 0 && at+1 < q-1 {
			if open, ok := d.timeBefore(s, at, ev); ok {
				return open, at, fault{}
			}
		}
	}
	return d.firstTime(s, ev)
}

// timeBefore reads the time whose closing bracket stands right before end.
func (d *Decoder) timeBefore(s string, end int, ev *event.Event) (open int, ok bool) {
	if s[end-1] != ']' {
		return 0, false
	}
	at := end
	for range 2 { // a zone name may stand in brackets of its own
		from := max(0, end-82)
		i := strings.LastIndexByte(s[from:at], '[')
		if i < 0 {
			return 0, false
		}
		at = from + i
		if ns, n := d.clock.bracketed(s[at+1:]); n > 0 && at+1+n == end {
			ev.Time = ns
			return at, true
		}
	}
	return 0, false
}

// firstTime finds the first time that a bare quote follows, or a single word
// and one.
func (d *Decoder) firstTime(s string, ev *event.Event) (open, end int, f fault) {
	f = fault{reason: reasonShape}
	at := 0
	for range maxTries {
		i := strings.IndexByte(s[at:], '[')
		if i < 0 {
			break
		}
		open = at + i
		at = open + 1
		ns, n := d.clock.bracketed(s[at:])
		if n == 0 {
			if f.reason == reasonShape {
				f = fault{reason: reasonTime, column: open}
			}
			continue
		}
		end = at + n // the blank after the bracket
		if end+1 >= len(s) || s[end] != ' ' {
			continue
		}
		if s[end+1] == '"' {
			ev.Time = ns
			return open, end, fault{}
		}
		if n := strings.IndexByte(s[end+1:], ' '); n > 0 && end+n+2 < len(s) && s[end+n+2] == '"' && s[end+1] != '[' {
			ev.Time = ns
			return open, end, fault{}
		}
	}
	return 0, 0, f
}

// prefix reads what stands before the time: address, ident and user, where
// ident and user may be missing and the user may hold blanks.
func (d *Decoder) prefix(s string, p *parts, ev *event.Event) bool {
	first, rest := cutToken(s)
	if addr, ok := event.ParseAddr(first); ok {
		ev.Peer, ev.PeerText = addr, first
		if rest == " - - " {
			return true
		}
		next, more := cutToken(rest)
		switch {
		case !strings.HasPrefix(more, " - "):
		case hasPort(next) && strings.IndexByte(first, ':') > 0 && !d.isClient(first, next):
			// address:port vhost:port ident user
			p.vhost = true
			ev.Host = hostOnly(next)
			rest = more
		case d.isClient(first, next):
			// The client asked for a virtual host that looks like an address:
			// its own is the one that the server wrote behind it.
			p.vhost = true
			ev.Host = hostOnly(first)
			ev.Peer, _ = event.ParseAddr(next)
			ev.PeerText, rest = next, more
		}
		d.user(rest, ev)
		return true
	}
	second, more := cutToken(rest)
	switch addr, ok := event.ParseAddr(second); {
	case ok && first != "" && (isHost(first) || first[len(first)-1] != ':'):
		// A virtual host may be any word, as clients choose it. A colon at its
		// end is a program's name that syslog wrote.
		p.vhost = true
		ev.Host = hostOnly(d.text(first))
		ev.Peer, ev.PeerText = addr, second
		d.user(more, ev)
		return true
	case second == "-" && (isHost(first) || first == "unix:"):
		// Apache with HostnameLookups, or no address at all.
		ev.PeerText = d.text(first)
		d.user(rest, ev)
		return true
	case hasPort(first) && isHost(first) && isHost(second) && strings.HasPrefix(more, " - "):
		p.vhost = true
		ev.Host = hostOnly(first)
		ev.PeerText = second
		d.user(more, ev)
		return true
	}
	return false
}

// isClient reports whether of two words before the ident the second is the
// client's address although the first can be read as one too.
func (d *Decoder) isClient(first, second string) bool {
	if d.named != nil && d.named.name != "vhost_combined" {
		return false
	}
	_, ok := event.ParseAddr(second)
	return ok && (bareAddr(second) || bareAddr(first))
}

// bareAddr reports whether an address is written without a port.
func bareAddr(s string) bool {
	return strings.HasSuffix(s, "]") || s[0] != '[' && strings.Count(s, ":") != 1
}

// user reads " ident user " and leaves ident out.
func (d *Decoder) user(s string, ev *event.Event) {
	_, rest := cutToken(s)
	if len(rest) > 2 {
		ev.User = d.text(rest[1 : len(rest)-1])
	}
}

// statusAndSize reads ` 200 1234` after the request and returns what follows.
func (d *Decoder) statusAndSize(s string, ev *event.Event) (string, bool) {
	switch {
	case len(s) >= 4 && s[0] == ' ' && s[1]-'0' <= 9 && s[2]-'0' <= 9 && s[3]-'0' <= 9 && (len(s) == 4 || s[4] == ' '):
		ev.Status = int32(s[1]-'0')*100 + int32(s[2]-'0')*10 + int32(s[3]-'0')
		s = s[4:]
	case len(s) >= 2 && s[0] == ' ' && s[1] == '-' && (len(s) == 2 || s[2] == ' '):
		s = s[2:]
	default:
		return s, false
	}
	if len(s) < 2 {
		return "", true
	}
	i, n := 1, int64(0)
	for i < len(s) && s[i]-'0' <= 9 && i < 19 {
		n = n*10 + int64(s[i]-'0')
		i++
	}
	switch {
	case i > 1 && (i == len(s) || s[i] == ' '):
		ev.BodySize = n
		return s[i:], true
	case s[1] == '-' && (len(s) == 2 || s[2] == ' '):
		return s[2:], true
	default:
		return s, true // no size; what follows is left to the tail
	}
}

// agents reads the referrer and the user agent and leaves the rest as tail.
func (d *Decoder) agents(s string, p *parts, ev *event.Event) {
	p.tail = s
	if len(s) > 2 && s[1] != '"' {
		token, rest := cutToken(s)
		if len(rest) < 2 || rest[1] != '"' || token == "" || token[0]-'0' > 9 {
			return
		}
		p.mid, s = token, rest
	}
	referer, rest, ok := cutQuoted(s)
	if !ok || len(rest) < 2 || rest[1] != '"' {
		p.mid = ""
		return
	}
	agent, tail, ok := cutQuoted(rest)
	if !ok {
		agent, tail = rest[2:], "" // the line was cut
	}
	p.agents, p.tail = true, tail
	ev.Referer, ev.UserAgent = d.text(referer), d.text(agent)
}

// closing returns the index of the first quote at or after from that is not
// escaped, or -1.
func closing(s string, from int) int {
	for {
		i := strings.IndexByte(s[from:], '"')
		if i < 0 {
			return -1
		}
		i += from
		n := i
		for n > from && s[n-1] == '\\' {
			n--
		}
		if (i-n)%2 == 0 {
			return i
		}
		from = i + 1
	}
}

// cutQuoted cuts ` "value"` off s. The closing quote stands before a blank or
// at the end, which gets over quotes that were not escaped.
func cutQuoted(s string) (value, rest string, ok bool) {
	if len(s) < 3 || s[0] != ' ' || s[1] != '"' {
		return "", s, false
	}
	from := 2
	for range maxTries {
		i := closing(s, from)
		if i < 0 {
			break
		}
		if i+1 == len(s) || s[i+1] == ' ' {
			return s[2:i], s[i+1:], true
		}
		from = i + 1
	}
	return "", s, false
}

// cutToken cuts one word with the blank before it off s.
func cutToken(s string) (token, rest string) {
	if s != "" && s[0] == ' ' {
		s = s[1:]
	}
	if i := strings.IndexByte(s, ' '); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// isHost reports whether s can be a host name with or without a port.
func isHost(s string) bool {
	if s == "" || len(s) > 260 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c-'0' <= 9 || c == '.' || c == '-' || c == '_' || c == '*' {
			continue
		}
		return c == ':' && i > 0 && hasPort(s) && strings.IndexByte(s[i+1:], ':') < 0
	}
	return true
}

func hasPort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || i == len(s)-1 || len(s)-i > 6 {
		return false
	}
	_, ok := number(s[i+1:])
	return ok
}

// hostOnly drops the port of a host.
func hostOnly(s string) string {
	if s != "" && s[len(s)-1] != ']' && hasPort(s) {
		if i := strings.LastIndexByte(s, ':'); strings.IndexByte(s[:i], ':') < 0 || s[0] == '[' {
			return s[:i]
		}
	}
	return s
}
