package event

import (
	"net/netip"
	"sort"
	"strconv"
	"strings"
)

// Field is one entry of the field table.
type Field uint8

// The fields of an event. The comment of each row in the table below is its
// documentation; String gives the name that rules use.
const (
	FieldNone Field = iota
	FieldRaw
	FieldFormat
	FieldMethod
	FieldMethodOriginal
	FieldTarget
	FieldPath
	FieldQuery
	FieldScheme
	FieldHost
	FieldProtocol
	FieldStatus
	FieldRequestSize
	FieldBodySize
	FieldDuration
	FieldDurationMS
	FieldUserAgent
	FieldReferer
	FieldForwardedFor
	FieldRequestID
	FieldPeer
	FieldClient
	FieldClientPrefix
	FieldClientSource
	FieldClientClass
	FieldUser
	FieldUserVerified
	FieldConsumer
	FieldKeyID
	FieldTokenHash
	FieldSession
	FieldMalformed
	FieldMalformedReason
	FieldRoute
	FieldObjectID
	FieldObjectSampled
	FieldPrincipal
	FieldAccount
	FieldLogin
	FieldOutcome
	FieldAuthAction
	FieldAuthFailed
	FieldRefused
	FieldAttackClass
	FieldAttackOutcome
	FieldMessageKey
	FieldDestination
	fieldCount
)

// Kind is the type of a field's values.
type Kind uint8

// The kinds of fields.
const (
	KindText    Kind = iota + 1 // read with Event.Text
	KindNumber                  // read with Event.Number; Event.Text gives decimal digits
	KindAddress                 // read with Event.Address; Event.Text formats it
)

type row struct {
	name string
	kind Kind
}

// table is the one place that names fields.
var table = [fieldCount]row{
	FieldRaw:             {"event.original", KindText},
	FieldFormat:          {"gateway.kind", KindText},
	FieldMethod:          {"http.request.method", KindText},
	FieldMethodOriginal:  {"http.request.method_original", KindText},
	FieldTarget:          {"url.original", KindText},
	FieldPath:            {"url.path", KindText},
	FieldQuery:           {"url.query", KindText},
	FieldScheme:          {"url.scheme", KindText},
	FieldHost:            {"server.address", KindText},
	FieldProtocol:        {"network.protocol.version", KindText},
	FieldStatus:          {"http.response.status_code", KindNumber},
	FieldRequestSize:     {"http.request.size", KindNumber},
	FieldBodySize:        {"http.response.body.size", KindNumber},
	FieldDuration:        {"duration_ns", KindNumber},
	FieldDurationMS:      {"duration_ms", KindNumber}, // the Sigma view's time-taken
	FieldUserAgent:       {"user_agent.original", KindText},
	FieldReferer:         {"http.request.header.referer", KindText},
	FieldForwardedFor:    {"http.request.header.x-forwarded-for", KindText},
	FieldRequestID:       {"http.request.id", KindText},
	FieldPeer:            {"network.peer.address", KindAddress},
	FieldClient:          {"client.address", KindAddress},
	FieldClientPrefix:    {"client.prefix", KindText}, // /24 or /64
	FieldClientSource:    {"client.address_source", KindText},
	FieldClientClass:     {"client.class", KindText}, // none, browser, app, tool, bot or other, by the user agent
	FieldUser:            {"user.name", KindText},
	FieldUserVerified:    {"user.verified", KindText}, // "true" or "false"
	FieldConsumer:        {"api.consumer.id", KindText},
	FieldKeyID:           {"api.key.id", KindText},
	FieldTokenHash:       {"auth.token.hash", KindText},   // never the token itself
	FieldSession:         {"session.id", KindText},        // a hash of it
	FieldMalformed:       {"request.malformed", KindText}, // "true" or "false"
	FieldMalformedReason: {"request.malformed_reason", KindText},
	FieldRoute:           {"http.route", KindText},
	FieldObjectID:        {"api.object_id", KindText},
	FieldObjectSampled:   {"api.object_sampled", KindText}, // "true" for one object id in sixteen, the same ones always
	FieldPrincipal:       {"principal", KindText},          // key, consumer, user, token or session, else the client's address
	FieldAccount:         {"auth.account", KindText},
	FieldLogin:           {"auth.login", KindText}, // "true" or "false"
	FieldOutcome:         {"auth.outcome", KindText},
	FieldAuthAction:      {"auth.action", KindText},             // login, reset or register, of requests with auth.login
	FieldAuthFailed:      {"auth.failed", KindNumber},           // 1 for auth.outcome failure, 0 for success: its mean is a share
	FieldRefused:         {"http.response.refused", KindNumber}, // 1 where the answer says that there is nothing or that it is not allowed, 0 where it serves: its mean is a share
	FieldAttackClass:     {"attack.class", KindText},            // a list: one value has to match
	FieldAttackOutcome:   {"attack.outcome", KindText},          // of a request with an attack.class
	FieldMessageKey:      {"messaging.kafka.message.key", KindText},
	FieldDestination:     {"messaging.destination.name", KindText}, // the topic
}

// String returns the field's name, such as "url.path".
func (f Field) String() string {
	if f == FieldNone || f >= fieldCount {
		return "none"
	}
	return table[f].name
}

// Kind returns the type of f's values.
func (f Field) Kind() Kind { return table[f].kind }

// List reports whether f may have several values, see Event.Texts. Event.Text
// joins them with commas.
func (f Field) List() bool { return f == FieldAttackClass }

// Lookup finds a field by its exact name.
func Lookup(name string) (Field, bool) {
	for f := FieldNone + 1; f < fieldCount; f++ {
		if table[f].name == name {
			return f, true
		}
	}
	return FieldNone, false
}

// FieldNames returns all names in order, for messages and documentation.
func FieldNames() []string {
	names := make([]string, 0, fieldCount-1)
	for f := FieldNone + 1; f < fieldCount; f++ {
		names = append(names, table[f].name)
	}
	sort.Strings(names)
	return names
}

// FieldSet is a set of fields.
type FieldSet uint64

// Add returns s with f.
func (s FieldSet) Add(f Field) FieldSet { return s | 1<<f }

// Has reports whether f is in s.
func (s FieldSet) Has(f Field) bool { return s&(1<<f) != 0 }

// smallNumbers holds the digits of the numbers that logs repeat, statuses
// above all, so that reading one as text allocates nothing.
var smallNumbers = func() (s [1000]string) {
	for i := range s {
		s[i] = strconv.Itoa(i)
	}
	return s
}()

func digits(n int64) string {
	if n >= 0 && n < int64(len(smallNumbers)) {
		return smallNumbers[n]
	}
	return strconv.FormatInt(n, 10)
}

func yes(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// Text returns f as text and whether the event has it. Numbers are given in
// decimal, addresses in their usual form; both may allocate, which the
// matcher avoids by asking for Number and Address.
func (e *Event) Text(f Field) (string, bool) {
	var s string
	switch f {
	case FieldRaw:
		return e.Raw, true
	case FieldFormat:
		s = e.Format
	case FieldMethod:
		s = e.Method
	case FieldMethodOriginal:
		s = e.MethodOriginal
	case FieldTarget:
		s = e.Target
	case FieldPath:
		s = e.Path
	case FieldQuery:
		s = e.Query
	case FieldScheme:
		s = e.Scheme
	case FieldHost:
		s = e.Host
	case FieldProtocol:
		s = e.Protocol
	case FieldUserAgent:
		s = e.UserAgent
	case FieldReferer:
		s = e.Referer
	case FieldForwardedFor:
		s = e.ForwardedFor
	case FieldRequestID:
		s = e.RequestID
	case FieldClientSource:
		return e.ClientSource.String(), true
	case FieldClientClass:
		return e.ClientClass.String(), true
	case FieldUser:
		s = e.User
	case FieldUserVerified:
		return yes(e.UserVerified), e.User != ""
	case FieldConsumer:
		s = e.ConsumerID
	case FieldKeyID:
		s = e.KeyID
	case FieldTokenHash:
		s = e.TokenHash
	case FieldSession:
		s = e.SessionHash
	case FieldMalformed:
		return yes(e.Malformed != Wellformed), true
	case FieldMalformedReason:
		s = e.Malformed.String()
	case FieldRoute:
		s = e.Route
	case FieldObjectID:
		s = e.ObjectID
	case FieldObjectSampled:
		return yes(Sampled(e.ObjectID)), e.ObjectID != ""
	case FieldPrincipal:
		if e.Principal == "" {
			return e.Text(FieldClient)
		}
		s = e.Principal
	case FieldAccount:
		s = e.Account
	case FieldLogin:
		return yes(e.Login), true
	case FieldAuthAction:
		s = e.Action.String()
	case FieldMessageKey:
		s = e.MessageKey
	case FieldDestination:
		s = e.Destination
	case FieldOutcome:
		return e.Outcome.String(), true
	case FieldAttackClass:
		s = strings.Join(e.AttackClass, ",")
	case FieldAttackOutcome:
		if len(e.AttackClass) > 0 {
			s = attackOutcome(e.Status)
		}
	case FieldClientPrefix:
		p := e.Prefix()
		if !p.IsValid() {
			return "", false
		}
		return p.String(), true
	default:
		if a, ok := e.Address(f); ok {
			return a.String(), true
		}
		if n, ok := e.Number(f); ok {
			return digits(n), true
		}
		return "", false
	}
	return s, s != ""
}

// Texts returns the values of a list field. They belong to the event.
func (e *Event) Texts(f Field) []string {
	if f == FieldAttackClass {
		return e.AttackClass
	}
	return nil
}

// Sampled is true of one object id in sixteen, whatever they look like. What has to be
// remembered of each object, such as who asked for it, can be remembered of these alone.
// It is the FNV-1a hash (Fowler, Noll, Vo), mixed so that ids that follow each other differ.
func Sampled(id string) bool {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	h ^= h >> 15
	return h*0x85EBCA6B>>28 == 0
}

// attackOutcome says what the answer tells of an attack: refused, passed by
// without finding what it looked for, answered as any request, or failed at.
func attackOutcome(status int32) string {
	switch {
	case status == 0:
		return ""
	case status == 404 || status == 410 || status == 301 || status == 302 || status == 303 || status == 307 || status == 308:
		return "missed"
	case status >= 400 && status < 500:
		return "blocked"
	case status >= 500:
		return "failed"
	default:
		return "served"
	}
}

// Number returns a KindNumber field and whether the event has it.
func (e *Event) Number(f Field) (int64, bool) {
	switch f {
	case FieldStatus:
		return int64(e.Status), e.Status != 0
	case FieldRequestSize:
		return e.RequestSize, e.RequestSize >= 0
	case FieldBodySize:
		return e.BodySize, e.BodySize >= 0
	case FieldDuration:
		return e.Duration, e.Duration >= 0
	case FieldDurationMS:
		return e.Duration / 1e6, e.Duration >= 0
	case FieldAuthFailed:
		return e.Outcome.Failed()
	case FieldRefused:
		return refused(e.Status)
	default:
		return 0, false
	}
}

// refused is 1 for an answer that refuses what was asked for and 0 for one that serves it. What
// the server could not do, or not now, says nothing of the request.
func refused(status int32) (int64, bool) {
	switch {
	case status >= 200 && status < 400:
		return 0, true
	case status == 400, status == 401, status == 403, status == 404, status == 405, status == 410, status == 501:
		return 1, true
	default:
		return 0, false
	}
}

// Address returns a KindAddress field and whether the event has it.
func (e *Event) Address(f Field) (netip.Addr, bool) {
	switch f {
	case FieldClient:
		return e.Client, e.Client.IsValid()
	case FieldPeer:
		return e.Peer, e.Peer.IsValid()
	default:
		return netip.Addr{}, false
	}
}

// Prefix returns the network of the client that usually has one owner: its
// /24 for IPv4, its /64 for IPv6. It is invalid where the client is.
func (e *Event) Prefix() netip.Prefix {
	if !e.Client.IsValid() {
		return netip.Prefix{}
	}
	bits := 64
	if e.Client.Is4() {
		bits = 24
	}
	p, err := e.Client.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// fillable are the fields that Fill knows.
var fillable = [...]Field{
	FieldHost, FieldScheme, FieldUserAgent, FieldReferer, FieldForwardedFor, FieldRequestID, FieldClient, FieldUser, FieldConsumer,
	FieldKeyID, FieldTokenHash, FieldSession, FieldRoute,
}

// Fillable returns the fields that Fill knows.
func Fillable() []Field { return fillable[:] }

// Fill gives a field a value that stands beside the line, such as in a header
// of its message, where the line itself had none. s is kept as it is, of a token or session a hash. It reports whether
// the field took it: it must be one of Fillable and without a value, and an
// address has to be one.
func (e *Event) Fill(f Field, s string) bool {
	var to *string
	switch f {
	case FieldHost:
		to = &e.Host
	case FieldScheme:
		to = &e.Scheme
	case FieldUserAgent:
		to = &e.UserAgent
	case FieldReferer:
		to = &e.Referer
	case FieldForwardedFor:
		to = &e.ForwardedFor
	case FieldRequestID:
		to = &e.RequestID
	case FieldUser:
		to = &e.User
	case FieldConsumer:
		to = &e.ConsumerID
	case FieldKeyID:
		to = &e.KeyID
	case FieldTokenHash:
		to = &e.TokenHash
		if s != "" && *to == "" {
			s = string(HashToken(nil, s))
		}
	case FieldSession:
		to = &e.SessionHash
		if s != "" && *to == "" {
			s = string(HashSession(nil, s))
		}
	case FieldRoute:
		to = &e.Route
	case FieldClient:
		a, ok := ParseAddr(s)
		if !ok || e.Client.IsValid() {
			return false
		}
		e.Client, e.ClientSource = a, ClientGateway
		return true
	default:
		return false
	}
	if *to != "" || s == "" {
		return false
	}
	*to = s
	return true
}
