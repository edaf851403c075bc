package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/segmentio/kafka-go"
)

// LoginError says that a broker refused a login, or broke it off.
type LoginError struct {
	Broker    string
	Mechanism string
	Text      string // the broker's words, made printable; may be ""
	Err       error
}

// Error has the broker, the mechanism and the broker's own words.
func (e *LoginError) Error() string {
	s := fmt.Sprintf("log in at broker %s by %s: %v", e.Broker, e.Mechanism, e.Err)
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// TLSError says that a connection could not be encrypted as configured.
type TLSError struct {
	Broker string
	Err    error
}

// Error has the broker and the cause.
func (e *TLSError) Error() string {
	return fmt.Sprintf("encrypt the connection to broker %s: %v", e.Broker, e.Err)
}

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// The reasons of trouble with a cluster: few and fixed, to serve as labels of
// metrics.
const (
	ReasonUnreachable   = "unreachable"
	ReasonTimeout       = "timeout"
	ReasonTLS           = "tls"
	ReasonLogin         = "login_refused"
	ReasonNotAuthorized = "not_authorized"
	ReasonUnknownTopic  = "unknown_topic"
	ReasonNoLeader      = "no_leader"
	ReasonCoordinator   = "coordinator"
	ReasonTooLarge      = "too_large"
	ReasonOther         = "other"
)

// Reasons lists all reasons.
func Reasons() []string {
	return []string{
		ReasonUnreachable, ReasonTimeout, ReasonTLS, ReasonLogin, ReasonNotAuthorized, ReasonUnknownTopic,
		ReasonNoLeader, ReasonCoordinator, ReasonTooLarge, ReasonOther,
	}
}

// Reason tells what kind of trouble an error is, whoever of this package and
// kafka-go made it.
func Reason(err error) string {
	if e, ok := errors.AsType[*LoginError](err); ok {
		if isTimeout(e.Err) {
			return ReasonTimeout
		}
		return ReasonLogin
	}
	if _, ok := errors.AsType[*TLSError](err); ok {
		if isTimeout(err) {
			return ReasonTimeout
		}
		return ReasonTLS
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return ofCode(code)
	}
	if isTimeout(err) {
		return ReasonTimeout
	}
	if _, ok := errors.AsType[*net.OpError](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return ReasonUnreachable
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return ReasonUnreachable
	}
	return ReasonOther
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func ofCode(code kafka.Error) string {
	switch code {
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
		return ReasonLogin
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.TransactionalIDAuthorizationFailed:
		return ReasonNotAuthorized
	case kafka.UnknownTopicOrPartition, kafka.InvalidTopic, unknownTopicID:
		return ReasonUnknownTopic
	case kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.ReplicaNotAvailable, kafka.FencedLeaderEpoch,
		kafka.UnknownLeaderEpoch, kafka.KafkaStorageError:
		return ReasonNoLeader
	case kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup, kafka.GroupLoadInProgress, kafka.RebalanceInProgress,
		kafka.IllegalGeneration, kafka.UnknownMemberId:
		return ReasonCoordinator
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return ReasonTooLarge
	case kafka.RequestTimedOut:
		return ReasonTimeout
	case kafka.NetworkException, kafka.BrokerNotAvailable:
		return ReasonUnreachable
	}
	return ReasonOther
}

// unknownTopicID is what brokers since 2.8 answer for the id of a topic that
// was deleted; kafka-go has no name for it.
const unknownTopicID = kafka.Error(100)
