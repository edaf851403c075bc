package alerting

import (
	"context"
	"time"
)

// Notification is one revision of an incident for one receiver.
type Notification struct {
	Key      string // "incident id/revision": the same for every attempt
	Incident string
	Revision int64
	Cause    Cause
	Made     time.Time // when the revision was made
	Payload  []byte    // the incident as JSON, see Incident
	// Repeat says that an earlier attempt may have reached the receiver.
	Repeat bool
	// Kept is what the latest [Result] about this incident asked to keep, nil
	// for nothing.
	Kept []byte
}

// Reason is how an attempt ended, as a metric label.
type Reason string

// The reasons.
const (
	ReasonOK          Reason = "ok"
	ReasonTimeout     Reason = "timeout"
	ReasonConnection  Reason = "connection" // refused, reset, no such host
	ReasonTLS         Reason = "tls"
	ReasonRedirect    Reason = "redirect"
	ReasonRateLimited Reason = "rate_limited"
	ReasonClientError Reason = "client_error"
	ReasonServerError Reason = "server_error"
	ReasonInvalid     Reason = "invalid" // the notification could not be made into a request
	ReasonCanceled    Reason = "canceled"
	ReasonOther       Reason = "other"
)

// Result is the outcome of an attempt. The zero Err means that the receiver
// has it.
type Result struct {
	Err    error
	Retry  bool          // trying again may help
	After  time.Duration // the receiver asked to wait this long
	Reason Reason
	// Keep, if not nil, is given back with later notifications about the same
	// incident, or about one of a digest, also after a restart: it is committed with the
	// outcome, also that of a failed attempt. At most 512 bytes; more is not kept. It
	// may be lost, so a receiver has another way to find out, or does without.
	Keep []byte
}

// Receiver takes notifications. Notify may be called by several goroutines,
// for different incidents, and more than once for one key. Errors are free
// of secrets. It returns soon after ctx is done.
type Receiver interface {
	Name() string
	Notify(ctx context.Context, n Notification) Result
}

// Traits is a [Receiver] that says how several incidents are to be told to it.
// A receiver without it gets the incidents of a group of a route with group_by
// as one digest, and all others one by one, however many they are.
type Traits interface {
	Receiver
	// Keeps says that it keeps one message (ticket, page) an incident and
	// changes that. It gets incidents one by one also in a group, and the growth
	// of acknowledged ones, since a change disturbs nobody.
	Keeps() bool
	// Folds says that people read it message by message: where very many
	// incidents wait for it, it gets digests of them instead, see CauseDigest.
	Folds() bool
}

// StoreOp is one change of durable state: a nil Value deletes the key.
type StoreOp struct {
	Bucket     string
	Key, Value []byte
}

// certain reports whether an attempt that ended so has not reached the receiver
// in a way that it acted on.
func (r Reason) certain() bool {
	switch r {
	case ReasonTimeout, ReasonConnection, ReasonServerError, ReasonCanceled, ReasonOther:
		return false
	default:
		return true
	}
}

// Store commits changes durably, all or none, before it returns. It may be
// called by several goroutines.
type Store interface {
	Commit(ops []StoreOp) error
}

// The buckets that alerting uses.
const (
	BucketIncidents = "incidents"
	BucketSilences  = "silences"
	BucketGroups    = "groups"
	BucketShadow    = "shadow"
	BucketOutbox    = "outbox"
)
