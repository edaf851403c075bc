package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/collectors/kafka/conn"
)

// calm is how long to leave brokers alone that somebody has to do something
// about before an attempt can work.
const calm = 30 * time.Second

// failed says what an attempt that failed means. Its error is free of secrets.
func (r *Receiver) failed(ctx context.Context, err error) alerting.Result {
	res := alerting.Result{Retry: true}
	code, coded := errors.AsType[kafka.Error](err)
	switch kind := conn.Reason(err); {
	case errors.Is(err, errClosed):
		res.Reason = alerting.ReasonCanceled
	case coded && final(code):
		res.Retry = false
		res.Reason = alerting.ReasonClientError
		if kind == conn.ReasonTooLarge {
			res.Reason = alerting.ReasonInvalid
			err = fmt.Errorf("%w; set max_message of this receiver below max.message.bytes of the topic", err)
		}
	case kind == conn.ReasonLogin:
		res.Reason, res.After = alerting.ReasonClientError, calm
	case kind == conn.ReasonNotAuthorized:
		res.Reason, res.After = alerting.ReasonClientError, calm
		err = fmt.Errorf("%w; allow this client to describe the topic and to write to it", err)
	case kind == conn.ReasonUnknownTopic:
		res.Reason, res.After = alerting.ReasonClientError, calm
		err = fmt.Errorf("%w; make the topic, or write its right name", err)
	case code == kafka.InvalidTimestamp:
		// One of the clocks is wrong, or the topic takes no old messages.
		res.Reason, res.After = alerting.ReasonClientError, calm
		err = fmt.Errorf("%w; compare the clocks, and the topic's message.timestamp settings", err)
	case kind == conn.ReasonTLS, alerted(err):
		res.Reason = alerting.ReasonTLS
	case coded && code == throttled:
		res.Reason = alerting.ReasonRateLimited
	case coded && kind != conn.ReasonTimeout:
		res.Reason = alerting.ReasonServerError
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		res.Reason = alerting.ReasonTimeout
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case ctx.Err() != nil:
		res.Reason = alerting.ReasonCanceled
	case kind == conn.ReasonTimeout:
		res.Reason = alerting.ReasonTimeout
	case kind == conn.ReasonUnreachable, errors.Is(err, io.ErrClosedPipe):
		res.Reason = alerting.ReasonConnection
	default:
		res.Reason = alerting.ReasonOther
	}
	res.Err = fmt.Errorf("kafka %s: %s", r.c.Name, r.clean(err.Error()))
	return res
}

// alerted reports whether a broker ended the connection by an alert of TLS. In
// version 1.3 it may do so after the handshake, as where it misses a certificate.
func alerted(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// throttled is what a broker answers that enforces a quota by errors.
const throttled = kafka.ThrottlingQuotaExceeded

// final reports whether a broker would refuse the same message for ever.
func final(code kafka.Error) bool {
	switch code {
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidMessageSize, kafka.InvalidTopic,
		kafka.InvalidRequiredAcks, kafka.UnsupportedVersion, kafka.UnsupportedForMessageFormat,
		kafka.UnsupportedCompressionType, kafka.PolicyViolation, kafka.InvalidRecord, kafka.InvalidRequest:
		return true
	default:
		return false
	}
}

// clean takes the password out of a text that a broker had a hand in, and
// bounds it.
func (r *Receiver) clean(text string) string {
	var s endpoint.Scrubber
	if login := r.c.Cluster.SASL; login != nil && login.Password != nil {
		if password, err := login.Password.Read(); err == nil {
			s.Hide(password)
		}
	}
	return cut(s.Clean(text), 1000)
}
