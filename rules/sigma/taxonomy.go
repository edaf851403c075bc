package sigma

import (
	"slices"
	"strings"

	"gatewatch/event"
)

// source is where a leaf takes its value from: an event field, or a view that
// only Sigma's taxonomies have.
type source uint8

// The views. Sources below them are event fields of the same number.
const (
	srcURL       source = iota + 200 // the target, and scheme://host/target where the host is known
	srcExtension                     // what follows the last dot of the path's last segment
	srcVersion                       // "HTTP/1.1"
	srcMethod                        // the method as logged
	srcTimestamp                     // the event's time in RFC 3339, whole seconds of UTC
	srcDate                          // its date, "2026-11-03"
	srcClock                         // its time of day, "23:59:59"

	// Parts of the time, which are numbers.
	srcMinute
	srcHour
	srcDay
	srcWeek // of ISO 8601
	srcMonth
	srcYear
)

func fieldSource(f event.Field) source { return source(f) }

// field returns the event field closest to the source; ok is false where
// there is none, so that nothing can be grouped by it.
func (s source) field() (f event.Field, ok bool) {
	switch s {
	case srcURL:
		return event.FieldTarget, true
	case srcVersion:
		return event.FieldProtocol, true
	case srcMethod:
		return event.FieldMethod, true
	default:
		if s >= srcURL {
			return event.FieldNone, false
		}
		return event.Field(s), true
	}
}

func (s source) kind() event.Kind {
	if s >= srcMinute {
		return event.KindNumber
	}
	if s >= srcURL {
		return event.KindText
	}
	return event.Field(s).Kind()
}

func (s source) String() string {
	switch s {
	case srcURL:
		return "url.full"
	case srcExtension:
		return "url.extension"
	case srcVersion:
		return "cs-version"
	case srcMethod:
		return "cs-method"
	case srcTimestamp, srcDate, srcClock:
		return [...]string{"timestamp", "date", "time"}[s-srcTimestamp]
	case srcMinute, srcHour, srcDay, srcWeek, srcMonth, srcYear:
		return [...]string{"minute", "hour", "day", "week", "month", "year"}[s-srcMinute]
	default:
		return event.Field(s).String()
	}
}

// needs returns the event fields that the source is made of.
func (s source) needs() event.FieldSet {
	var set event.FieldSet
	switch s {
	case srcURL:
		return set.Add(event.FieldTarget).Add(event.FieldHost).Add(event.FieldScheme)
	case srcExtension:
		return set.Add(event.FieldPath)
	case srcVersion:
		return set.Add(event.FieldProtocol)
	case srcMethod:
		return set.Add(event.FieldMethod).Add(event.FieldMethodOriginal)
	default:
		if s >= srcURL {
			return set // an event always has a time
		}
		return set.Add(event.Field(s))
	}
}

// taxonomy tells which Sigma field names a document may use.
type taxonomy uint8

const (
	taxWebserver taxonomy = iota + 1
	taxProxy
)

// taxonomyNames maps Sigma's field names, without punctuation and in lower
// case, to sources. Both taxonomies spell the same thing in several ways, and
// published rules mix them.
var taxonomyNames = func() map[string]source {
	out := map[string]source{}
	name := func(src source, names ...string) {
		for _, n := range names {
			out[n] = src
		}
	}
	name(fieldSource(event.FieldClient), "cip", "srcip", "clientip", "sourceip")
	name(fieldSource(event.FieldUser), "csusername", "cusername")
	name(srcMethod, "csmethod", "cmethod")
	name(fieldSource(event.FieldPath), "csuristem", "curistem", "csurlstem")
	name(fieldSource(event.FieldTarget), "csuriquery", "curiquery", "csurlquery")
	name(srcURL, "csuri", "curi", "curl", "csurl") // the target alone in rules for web servers
	name(srcExtension, "curiextension", "csuriextension")
	name(fieldSource(event.FieldStatus), "scstatus")
	name(fieldSource(event.FieldBodySize), "scbytes")
	name(fieldSource(event.FieldRequestSize), "csbytes")
	name(fieldSource(event.FieldDurationMS), "timetaken", "timetakenms")
	name(srcVersion, "csversion", "cversion")
	name(fieldSource(event.FieldHost), "cshost", "chost")
	name(fieldSource(event.FieldUserAgent), "csuseragent", "cuseragent")
	name(fieldSource(event.FieldReferer), "csreferer", "csreferrer", "creferer", "creferrer")
	return out
}()

// viewNames maps the exact names of views to sources.
var viewNames = map[string]source{
	"url.full": srcURL, "url.extension": srcExtension,
	"timestamp": srcTimestamp, "@timestamp": srcTimestamp, "event.time": srcTimestamp, "date": srcDate, "time": srcClock,
}

// sigmaNames are the taxonomies' names in their usual spelling, for messages.
func sigmaNames() []string {
	return []string{
		"c-ip", "src_ip", "cs-username", "cs-method", "cs-uri-stem", "c-uri-stem", "cs-uri-query", "c-uri-query",
		"cs-uri", "c-uri", "c-uri-extension", "sc-status", "sc-bytes", "cs-bytes", "time-taken", "cs-version",
		"cs-host", "cs-user-agent", "c-useragent", "cs-referer", "cs-referrer", "url.full", "url.extension",
		"timestamp", "date", "time",
	}
}

// absentName says why a field that Sigma knows is not to be had here.
func absentName(squeezedName string) string {
	switch squeezedName {
	case "cscookie", "ccookie":
		return "access logs seldom carry cookies, and gatewatch stores none"
	case "postbody", "csbody", "cspostbody", "requestbody", "body", "scbody", "responsebody":
		return "access logs have no bodies"
	case "dstip", "destinationip", "sip", "dstport", "sport", "rdns":
		return "the server's own address and names are not part of an event"
	case "ssitename", "scomputername", "cwin32status", "scwin32status", "scsubstatus", "srcport", "cport":
		return "this field of IIS and proxy logs is not part of an event"
	default:
		return ""
	}
}

// squeeze lowers a name and drops its punctuation: "cs(User-Agent)" and
// "cs-user-agent" are the same.
func squeeze(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c == '-', c == '_', c == '(', c == ')', c == ' ':
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// lookupSource finds a field by its OpenTelemetry name or by a Sigma name.
func lookupSource(name string, tax taxonomy) (source, bool) {
	if f, ok := event.Lookup(name); ok {
		return fieldSource(f), true
	}
	if src, ok := viewNames[name]; ok {
		return src, true
	}
	src, ok := taxonomyNames[squeeze(name)]
	if src == srcURL && tax != taxProxy {
		src = fieldSource(event.FieldTarget)
	}
	return src, ok
}

// unknownField reports a field that no event has.
func unknownField(p *problems, where place, name string) {
	if why := absentName(squeeze(name)); why != "" {
		p.refuse(where, name, "remove what asks for it, or rewrite the rule over a field that "+
			"gatewatch has (see the field table in docs/rules.md)", "the field %q is not available: %s", name, why)
		return
	}
	names := append(event.FieldNames(), sigmaNames()...)
	p.refuse(where, name, didYouMean(name, names, "see the field table in docs/rules.md"), "unknown field %q", name)
}

// logsource is the part of a rule that says which logs it is for.
type logsource struct {
	category, product, service string
	where                      place
}

// apply decides whether a rule for this log source applies to access logs and
// which names it may use. why is "" if it does.
func (l *logsource) apply() (tax taxonomy, why string) {
	own := func(s string) bool { return s == "" || slices.Contains([]string{"gateway", "api", "gatewatch"}, s) }
	switch strings.ToLower(l.category) {
	case "webserver":
		return taxWebserver, ""
	case "proxy":
		return taxProxy, ""
	case "", "gateway", "api":
		if own(strings.ToLower(l.product)) && own(strings.ToLower(l.service)) {
			return taxWebserver, ""
		}
	}
	return 0, "does not apply to access logs"
}

func (l *logsource) String() string {
	var parts []string
	for _, kv := range [][2]string{{"category", l.category}, {"product", l.product}, {"service", l.service}} {
		if kv[1] != "" {
			parts = append(parts, kv[0]+": "+kv[1])
		}
	}
	return strings.Join(parts, ", ")
}

// covers reports whether a filter for log source l reaches rules of o.
func (l *logsource) covers(o *logsource) bool {
	same := func(a, b string) bool { return a == "" || strings.EqualFold(a, b) }
	return same(l.category, o.category) && same(l.product, o.product) && same(l.service, o.service)
}
