// Package conn opens connections to Kafka brokers, encrypted and logged in as
// configured. The collector and the sink share it, so that both speak every
// kind of login in the same way and say in the same words why one was refused.
//
// Logging in happens here and not in kafka-go: so it has a time limit, the
// broker's own words reach the user, and certificates and passwords that live
// in files are read again for each connection.
package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// Config says how to reach a cluster. It is complete for [New]; the zero value
// of all but Brokers is a plain connection without a login.
type Config struct {
	// Brokers are host:port of some brokers of the cluster; the others are
	// found through them. A host without port gets 9092.
	Brokers []string
	// ClientID names this program to the brokers; default "gatewatch".
	ClientID string
	// Timeout bounds connecting, encrypting and logging in, all together.
	// Default 10 s.
	Timeout time.Duration
	TLS     *TLS  // nil for an unencrypted connection
	SASL    *SASL // nil for no login
}

// Secret is a value that may change at any time, such as one in a file.
type Secret interface {
	Read() (string, error)
}

// The mechanisms of a login.
const (
	Plain       = "PLAIN"
	SCRAM256    = "SCRAM-SHA-256"
	SCRAM512    = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
	AWSMSKIAM   = "AWS_MSK_IAM"
)

// Mechanisms lists all mechanisms.
func Mechanisms() []string { return []string{Plain, SCRAM256, SCRAM512, OAuthBearer, AWSMSKIAM} }

// SASL says how to log in.
type SASL struct {
	Mechanism string // one of Mechanisms
	Username  string // for PLAIN and SCRAM
	Password  Secret // for PLAIN and SCRAM
	OAuth     *OAuth // for OAUTHBEARER
	AWS       *AWS   // for AWS_MSK_IAM; nil takes region and credentials from the surroundings
}

// Cluster opens connections to the brokers of one cluster. It is safe for
// concurrent use and holds nothing open itself.
type Cluster struct {
	cfg       Config
	mechanism sasl.Mechanism // nil for no login
}

const (
	defaultPort    = "9092"
	defaultTimeout = 10 * time.Second
	defaultClient  = "gatewatch"
)

// New checks a configuration. It connects to nothing; files that it names are
// read now, to find mistakes early, and again for each connection. The error
// names every mistake.
func New(cfg Config) (*Cluster, error) {
	cfg.ClientID = cmp.Or(cfg.ClientID, defaultClient)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	var faults []error
	if len(cfg.Brokers) == 0 {
		faults = append(faults, errors.New("there is no broker; write brokers: [host:9092]"))
	}
	brokers := make([]string, len(cfg.Brokers))
	for i, b := range cfg.Brokers {
		var err error
		if brokers[i], err = Address(b); err != nil {
			faults = append(faults, err)
		}
	}
	cfg.Brokers = brokers
	if cfg.TLS != nil {
		if _, err := cfg.TLS.config("broker"); err != nil {
			faults = append(faults, err)
		}
	}
	c := &Cluster{cfg: cfg}
	if cfg.SASL != nil {
		var err error
		if c.mechanism, err = cfg.SASL.mechanism(cfg.Timeout); err != nil {
			faults = append(faults, err)
		}
		if cfg.TLS == nil && (cfg.SASL.Mechanism == OAuthBearer || cfg.SASL.Mechanism == AWSMSKIAM) {
			faults = append(faults, fmt.Errorf("a login by %s would show its token to everybody on the way; add tls: {}", cfg.SASL.Mechanism))
		}
	}
	return c, errors.Join(faults...)
}

// Address completes host:port of a broker.
func Address(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, "/ @\t") {
		return "", fmt.Errorf("broker %q is no address; write host:port such as kafka1.example.org:9092", s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), defaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("broker %q is no address; write host:port such as kafka1.example.org:9092", s)
		}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || host == "" {
		return "", fmt.Errorf("broker %q is no address; write host:port such as kafka1.example.org:9092", s)
	}
	return net.JoinHostPort(host, port), nil
}

// Brokers returns the configured brokers, each with its port.
func (c *Cluster) Brokers() []string { return c.cfg.Brokers }

// ClientID returns the name by which the brokers know this program.
func (c *Cluster) ClientID() string { return c.cfg.ClientID }

// Addr returns the brokers in the form that kafka.Client and kafka.Writer take.
func (c *Cluster) Addr() net.Addr { return kafka.TCP(c.cfg.Brokers...) }

// Dial connects to a broker, encrypts and logs in. It takes at most the
// configured time. The caller closes the connection.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect to broker %s: %w", address, err)
	}
	deadline, _ := ctx.Deadline()
	if err := nc.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	// Nothing below looks at ctx while it waits for the broker.
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	out, err := c.secure(ctx, nc, address)
	if err == nil && !stop() {
		err = fmt.Errorf("log in at broker %s: %w", address, context.Cause(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return out, out.SetDeadline(time.Time{})
}

func (c *Cluster) secure(ctx context.Context, nc net.Conn, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address of a broker: %w", err)
	}
	if c.cfg.TLS != nil {
		tc, err := c.cfg.TLS.config(host)
		if err != nil {
			return nil, err
		}
		secured := tls.Client(nc, tc)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, &TLSError{Broker: address, Err: err}
		}
		nc = secured
	}
	if c.mechanism == nil {
		return nc, c.greet(nc, address)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("port of broker %s: %w", address, err)
	}
	return nc, c.login(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number}), nc, address)
}

// Dialer returns a dialer for kafka.ConsumerGroup. Its connections are logged
// in already.
func (c *Cluster) Dialer() *kafka.Dialer {
	return &kafka.Dialer{ClientID: c.cfg.ClientID, DialFunc: c.Dial, Timeout: c.cfg.Timeout}
}

// Transport returns a transport for kafka.Client and kafka.Writer. Its
// connections are logged in already. The caller closes it with
// CloseIdleConnections.
func (c *Cluster) Transport() *kafka.Transport {
	return &kafka.Transport{
		ClientID: c.cfg.ClientID, Dial: c.Dial, DialTimeout: c.cfg.Timeout,
		IdleTimeout: time.Minute, MetadataTTL: 10 * time.Second,
	}
}
