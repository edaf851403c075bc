// Package syslog sends incidents as messages of RFC 5424: over TCP and TLS, framed
// by octet counting (RFC 6587 and RFC 5425), or over UDP (RFC 5426).
//
// Syslog has no answer that says a message was taken. Over TCP and TLS each message
// has a connection of its own, which is closed on our side after it; a server that
// closes it in turn has read to the end, one that resets it has not. So a message
// that a dying server never read is sent again. A server that keeps the connection
// open is waited for a second and then believed. UDP confirms nothing.
package syslog

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
)

// The networks.
const (
	UDP = "udp"
	TCP = "tcp"
	TLS = "tls"
)

// DefaultEnterprise is the enterprise number behind the @ of structured data.
// It is the one for examples (RFC 5612), since gatewatch has none of its own.
const DefaultEnterprise = 32473

const (
	// linger is how long a server is waited for that does not close.
	linger = time.Second
	// icmpWait is how long an unreachable port has to be told over UDP.
	icmpWait = 50 * time.Millisecond

	minSize = 1500
)

// facilities are those of RFC 5424.
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

// Facilities returns the names of facilities, in order.
func Facilities() []string { return slices.Sorted(maps.Keys(facilities)) }

// Config is the configuration. Name, Network and Address are required.
type Config struct {
	Name    string
	Network string // UDP, TCP or TLS
	Address string // host:port
	Certs   endpoint.TLS
	Timeout time.Duration // of one message. Default 10 s

	Facility   string // default "local0"
	Hostname   string // default that of this machine
	AppName    string // default "gatewatch"
	Enterprise int    // default [DefaultEnterprise]
	// JSON sends the incident as JSON instead of a line for people.
	JSON bool
	// MaxSize bounds a message in bytes, at least 1,500. Default 8,192, and 2,048 over UDP.
	MaxSize int
}

// Receiver sends to one server. It may be used by many goroutines.
type Receiver struct {
	c   Config
	tls *tls.Config
}

var _ alerting.Traits = (*Receiver)(nil)

// New checks the configuration. Its errors name the field that is wrong.
func New(c Config) (*Receiver, error) {
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Facility = cmp.Or(c.Facility, "local0")
	c.AppName = cmp.Or(c.AppName, "gatewatch")
	c.Enterprise = cmp.Or(c.Enterprise, DefaultEnterprise)
	if c.MaxSize == 0 {
		c.MaxSize = 8192
		if c.Network == UDP {
			c.MaxSize = 2048
		}
	}
	if c.Hostname == "" {
		c.Hostname, _ = os.Hostname() // "-" stands for one that is not known
	}
	fail := func(format string, args ...any) (*Receiver, error) {
		return nil, fmt.Errorf("syslog %s: "+format, append([]any{c.Name}, args...)...)
	}
	if c.Name == "" {
		return fail("no name")
	}
	if c.Network != UDP && c.Network != TCP && c.Network != TLS {
		return fail("network is %q; write udp, tcp or tls", c.Network)
	}
	if _, ok := facilities[c.Facility]; !ok {
		return fail("there is no facility %q; write one of %s", c.Facility, strings.Join(Facilities(), ", "))
	}
	if c.MaxSize < minSize {
		return fail("max_size is %d; write %d bytes or more", c.MaxSize, minSize)
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return fail("address is %q; write host:port", c.Address)
	}
	r := &Receiver{c: c}
	if c.Network == TLS {
		if r.tls, err = c.Certs.Config(host); err != nil {
			return fail("%w", err)
		}
	}
	return r, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that programs read it: each incident is a message of its own, with all
// of its data, also in a group.
func (*Receiver) Keeps() bool { return true }

// Folds says that nobody has to be spared many of them.
func (*Receiver) Folds() bool { return false }

// Notify sends one message.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	message, err := r.c.format(n)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("syslog %s: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.c.Timeout, fmt.Errorf("not done within %s", r.c.Timeout))
	defer cancel()
	if err := r.send(ctx, message); err != nil {
		reason, text := endpoint.Classify(ctx, err)
		return alerting.Result{
			Err:   fmt.Errorf("syslog %s: send to %s://%s: %s", r.c.Name, r.c.Network, r.c.Address, text),
			Retry: true, Reason: reason,
		}
	}
	return alerting.Result{Reason: alerting.ReasonOK}
}

func (r *Receiver) send(ctx context.Context, message []byte) error {
	network := TCP
	if r.c.Network == UDP {
		network = UDP
	}
	raw, err := new(net.Dialer).DialContext(ctx, network, r.c.Address)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := raw
	if network == UDP {
		if _, err := conn.Write(message); err != nil {
			return err
		}
		return wait(conn, icmpWait, false)
	}
	if r.tls != nil {
		secure := tls.Client(conn, r.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secure
	}
	frame := append(strconv.AppendInt(nil, int64(len(message)), 10), ' ')
	if _, err := conn.Write(append(frame, message...)); err != nil {
		// A server that refuses our certificate says so and hangs up. What it
		// said, if it can still be read, explains more than a broken pipe.
		if why := wait(conn, icmpWait, true); why != nil {
			return why
		}
		return err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return wait(conn, linger, true)
}

// wait reads what there may be until the server closes, or for a while. The error is
// that of a connection that broke, or of a refused certificate, which TLS
// tells only now.
func wait(conn net.Conn, d time.Duration, stream bool) error {
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	var err error
	if stream {
		_, err = io.Copy(io.Discard, io.LimitReader(conn, 4096))
	} else {
		_, err = conn.Read(make([]byte, 1))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return err
}
