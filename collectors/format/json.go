package format

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"gatewatch/event"
)

// readJSON reads a line that is one JSON object.
func (d *Decoder) readJSON(s string, ev *event.Event) fault {
	if !d.readObject(s) {
		return fault{reason: reasonJSON, column: min(d.json.i, len(s)-1)}
	}
	v := &d.json.values
	d.jsonRequest(ev)
	status, hasStatus := number(v[slotStatus])
	// Other logs share the stream and have paths, methods and statuses too:
	// only two signs together make a request.
	if (ev.Target == "" || ev.Method == "" && !hasStatus) && (v[slotPeer] == "" || !hasStatus) {
		return fault{reason: reasonAccess}
	}
	ns, ok := d.clock.any(v[slotTime])
	if v[slotTime] == "" && d.Fallback > 0 {
		ns, ok = d.Fallback, true
	}
	if !ok {
		return fault{reason: reasonTime}
	}
	ev.Format = "json"
	ev.Time = ns
	if hasStatus && status < 1000 {
		ev.Status = int32(status)
	}
	if n, ok := number(v[slotRequestSize]); ok {
		ev.RequestSize = n
	}
	if n, ok := number(v[slotBodySize]); ok {
		ev.BodySize = n
	}
	if n, ok := decimal(v[slotDuration], d.json.unit); ok && v[slotDuration] != "" {
		ev.Duration = n
		if d.json.begins {
			ev.Time += n
		}
	}
	if v[slotHost] != "" {
		ev.Host = hostOnly(v[slotHost])
	}
	if v[slotScheme] != "" {
		ev.Scheme = v[slotScheme]
	}
	ev.UserAgent = v[slotAgent]
	ev.Referer = v[slotReferer]
	ev.ForwardedFor = v[slotForwarded]
	ev.RequestID = v[slotRequestID]
	ev.User = v[slotUser]
	ev.ConsumerID = v[slotConsumer]
	ev.KeyID = v[slotKeyID]
	if s := v[slotToken]; s != "" {
		n := len(d.scratch)
		d.scratch = event.HashToken(d.scratch, s)
		ev.TokenHash = d.keep(n)
	}
	if s := v[slotSession]; s != "" {
		n := len(d.scratch)
		d.scratch = event.HashSession(d.scratch, s)
		ev.SessionHash = d.keep(n)
	}
	ev.LoginName = v[slotLogin]
	ev.Route = v[slotRoute]
	if v[slotClient] != "" {
		if a, ok := event.ParseAddr(v[slotClient]); ok {
			ev.Client, ev.ClientSource = a, event.ClientGateway
		}
	}
	if ev.PeerText = v[slotPeer]; ev.PeerText != "" {
		ev.Peer, _ = event.ParseAddr(ev.PeerText)
	}
	return fault{}
}

// jsonRequest fills what the request was, from a request line or from parts.
func (d *Decoder) jsonRequest(ev *event.Event) {
	v := &d.json.values
	line := v[slotRequest]
	if line != "" && line[0] == '/' && strings.IndexByte(line, ' ') < 0 {
		// A key that elsewhere holds the line holds the target here.
		if v[slotTarget] == "" {
			v[slotTarget] = line
		}
		line = ""
	}
	if line != "" && (v[slotMethod] == "" || v[slotTarget] == "" && v[slotPath] == "") && d.json.ranks[slotRequest] <= rankGood {
		readRequest(line, ev)
		return
	}
	if p := v[slotProtocol]; p != "" {
		if version, ok := httpVersion(p); ok {
			ev.Protocol = version
		} else if len(p) <= 8 {
			ev.Protocol = strings.TrimSuffix(p, ".0")
			if ev.Protocol == "1" {
				ev.Protocol = "1.0"
			}
		}
	}
	if v[slotMethod] != "" {
		setMethod(v[slotMethod], ev)
	}
	switch {
	case v[slotTarget] != "":
		splitTarget(v[slotTarget], ev)
	case v[slotPath] != "" && v[slotQuery] != "" && strings.IndexByte(v[slotPath], '?') < 0:
		n := len(d.scratch)
		d.scratch = append(d.scratch, v[slotPath]...)
		if v[slotQuery][0] != '?' {
			d.scratch = append(d.scratch, '?')
		}
		d.scratch = append(d.scratch, v[slotQuery]...)
		splitTarget(d.keep(n), ev)
	case v[slotPath] != "":
		splitTarget(v[slotPath], ev)
	default:
		ev.Malformed = event.MalformedEmpty
	}
}

// runeAt reads the HHHH of a \uHHHH, with the second half of a surrogate pair
// where one follows, and returns how many bytes it took, or 0.
func runeAt(s string) (rune, int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if len(s) >= 10 && s[4] == '\\' && s[5] == 'u' {
			if low, ok := hex4(s[6:]); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return pair, 10
				}
			}
		}
		return utf8.RuneError, 4
	}
	return r, 4
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for i := range 4 {
		h := unhex(s[i])
		if h > 15 {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}

func appendRune(dst []byte, r rune) []byte { return utf8.AppendRune(dst, r) }

func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
