// Package event defines the decoded request that every later stage speaks of,
// and the table of its fields.
//
// An [Event] is filled by a decoder in collectors/format, completed by a
// [Deriver], matched by rules/sigma, and forgotten: it never crosses to the
// stateful half. The package is a leaf; it imports no other package of
// gatewatch. Names are those of the OpenTelemetry HTTP semantic conventions
// where they exist.
package event

import "net/netip"

// Event is one request as one log line told it.
//
// Strings are views into the line, into a decoder's scratch memory or into a
// cache. They are valid until the decoder that made them is called again, so
// whoever keeps one clones it. An Event belongs to one goroutine.
//
// Absent text is "", an absent status is 0, an absent size or duration is -1.
type Event struct {
	Raw    string // the whole line without its line end
	Format string // name of the format that read the line, such as "combined"

	Time int64 // end of the request where the format allows it, in Unix nanoseconds

	Method         string // upper case and known, else "_OTHER"
	MethodOriginal string // as logged, only where Method is "_OTHER"
	Target         string // the whole request target: path, "?" and query, undecoded
	Path           string // undecoded
	Query          string // undecoded, without "?"
	Scheme         string
	Host           string // the virtual host or the Host header
	Protocol       string // "1.1", "2", ...

	Status       int32
	RequestSize  int64 // bytes
	BodySize     int64 // bytes of the response body
	Duration     int64 // nanoseconds
	UserAgent    string
	Referer      string
	ForwardedFor string // X-Forwarded-For as logged
	RequestID    string

	PeerText     string     // the TCP peer as logged
	Peer         netip.Addr // the TCP peer; invalid where the log has a host name or nothing
	Client       netip.Addr // the peer, or what trusted proxies said of it
	ClientSource ClientSource

	User         string // name in the log's user field; for Basic an attempted name
	UserVerified bool   // true where the gateway vouches for User
	ConsumerID   string // consumer or application, as the gateway names it
	KeyID        string // id or hash of an API key, never the key
	TokenHash    string // of the Authorization header where it is logged, see HashToken
	SessionHash  string // of a session's id, see HashSession
	LoginName    string // the name tried in a login, where the log has it

	Malformed Malformed // why the request line is no request, or Wellformed

	// Of the message that the line came in; empty for lines of files.
	MessageKey  string
	Destination string // the topic

	// Filled by Deriver.Derive.
	Route       string // template such as "/api/v1/users/{id}"; "" for a malformed request
	ObjectID    string // the value in the route's last slot
	Principal   string // who acts, see DeriveOptions.Principals; "" where it is the client's address, which Text gives
	Account     string // the account that a login was tried for
	Login       bool   // the request is a login attempt, in the wide sense of Action
	Action      Action // which kind of attempt
	Outcome     Outcome
	AttackClass []string // kinds of attack found in the request, see DeriveOptions.Classify; not to be kept
	Agent       *Agent   // of UserAgent, where it came before; else nil
	ClientClass ClientClass
	ClientGroup netip.Prefix // the address itself for IPv4, its /64 for IPv6
}

// Reset makes e an event of which nothing is known.
func (e *Event) Reset() {
	*e = Event{RequestSize: -1, BodySize: -1, Duration: -1, AttackClass: e.AttackClass[:0]}
}

// ClientSource says where Event.Client comes from.
type ClientSource uint8

// The sources of a client address.
const (
	ClientNone      ClientSource = iota // the log has no address
	ClientPeer                          // the TCP peer
	ClientForwarded                     // X-Forwarded-For, said by a trusted proxy
	ClientGateway                       // the gateway worked it out and logged it
)

// String returns the name used in explain output.
func (s ClientSource) String() string {
	return [...]string{"none", "peer", "xff_trusted", "gateway"}[s]
}

// Malformed says why a request line could not be split into method, target
// and protocol. Such a request stays an event: it is a signal.
type Malformed uint8

// The ways in which a request line is broken.
const (
	Wellformed Malformed = iota
	MalformedTLS
	MalformedBinary
	MalformedEmpty
	MalformedNoVersion
	MalformedMethod
	MalformedTruncated
)

// String returns the name used in request.malformed_reason, "" for Wellformed.
func (m Malformed) String() string {
	return [...]string{"", "tls", "binary", "empty", "no_version", "bad_method", "truncated"}[m]
}

// Outcome is how an attempt to authenticate ended.
type Outcome uint8

// The outcomes of auth.outcome.
const (
	OutcomeNone    Outcome = iota // no attempt
	OutcomeSuccess                // let in
	OutcomeFailure                // wrong or missing credentials
	OutcomeDenied                 // known, but not allowed
	OutcomeUnknown                // an attempt whose end the log does not tell
)

// String returns the name used in auth.outcome.
func (o Outcome) String() string {
	return [...]string{"none", "success", "failure", "denied", "unknown"}[o]
}

// Failed gives the outcome as a number whose mean is the share of failures: 1
// for a failure, 0 for a success. Others have none.
func (o Outcome) Failed() (n int64, ok bool) {
	switch o {
	case OutcomeFailure:
		return 1, true
	case OutcomeSuccess:
		return 0, true
	default:
		return 0, false
	}
}

// Action is what a request with Event.Login asks for.
type Action uint8

// The values of auth.action.
const (
	ActionNone     Action = iota
	ActionLogin           // to be let in with a password, a code or a grant
	ActionReset           // a new password
	ActionRegister        // an account
)

// String returns the name used in auth.action, "" for ActionNone.
func (a Action) String() string {
	return [...]string{"", "login", "reset", "register"}[a]
}

// ParseAction reads the name of an action; "" is ActionLogin.
func ParseAction(s string) (Action, bool) {
	switch s {
	case "", "login":
		return ActionLogin, true
	case "reset":
		return ActionReset, true
	case "register":
		return ActionRegister, true
	default:
		return ActionNone, false
	}
}
