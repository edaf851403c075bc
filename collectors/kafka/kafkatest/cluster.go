// Package kafkatest gives tests a Kafka cluster: one inside the process, which
// starts in milliseconds and can be told to fail in every way ([Start]), or Apache
// Kafka itself, one broker started by the project's script ([Real]). Both are the
// same [Cluster] to a test, so one suite runs on either.
//
// Only tests import it. Whatever goes wrong in it fails the test that asked.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// The SASL mechanisms by name.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// The account that every way with a mechanism lets in.
const (
	User     = "alice"
	Password = "alice-secret"
)

// patience bounds whatever a test waits for.
const patience = 60 * time.Second

// Way is how a client is let into a cluster. The zero Way is plain text without
// a login.
type Way struct {
	TLS bool
	// ClientCert says that the broker wants a certificate; it implies TLS.
	ClientCert bool
	// Mechanism is Plain, ScramSHA256, ScramSHA512, or "" for no login.
	Mechanism string
}

// Ways lists every way that both kinds of clusters have.
func Ways() []Way {
	return []Way{
		{},
		{TLS: true},
		{TLS: true, ClientCert: true},
		{Mechanism: Plain},
		{Mechanism: ScramSHA256},
		{Mechanism: ScramSHA512},
		{TLS: true, Mechanism: Plain},
		{TLS: true, Mechanism: ScramSHA256},
		{TLS: true, Mechanism: ScramSHA512},
	}
}

// String names the way, fit for the name of a subtest.
func (w Way) String() string {
	var parts []string
	switch {
	case w.ClientCert:
		parts = append(parts, "mutual TLS")
	case w.TLS:
		parts = append(parts, "TLS")
	}
	if w.Mechanism != "" {
		parts = append(parts, w.Mechanism)
	}
	if len(parts) == 0 {
		return "plain text"
	}
	return strings.Join(parts, " ")
}

// Access is what a client needs to come in. The fields are empty where the way
// does not ask for them. A test may change its copy, for a wrong password.
type Access struct {
	Brokers   []string // host:port
	CAFile    string   // set with TLS
	CertFile  string   // set where the broker wants a certificate
	KeyFile   string
	Mechanism string // set with a login
	User      string
	Password  string
}

// Cluster is a Kafka cluster for the length of one test. Its methods fail that
// test when they cannot do what they say; they may be called by many goroutines.
type Cluster struct {
	t testing.TB
	*core
}

// For returns the same cluster for a subtest, which then fails in place of the
// test that started it.
func (c *Cluster) For(t testing.TB) *Cluster { return &Cluster{t, c.core} }

// core is what all views of a cluster share.
type core struct {
	way    Way // of the fake; the real one has all
	certs  *Certificates
	fake   *kfake.Cluster
	gate   *gate
	broker *broker // the real one
	// given is the address of a broker that somebody else runs.
	given string

	mu    sync.Mutex
	admin *kgo.Client
	names int
}

// IsReal reports whether it is Apache Kafka.
func (c *Cluster) IsReal() bool { return c.fake == nil }

// Fake returns the in-process cluster, for [kfake.Cluster.Fault], ControlKey and
// moved leaders. It skips the test on a real one.
func (c *Cluster) Fake() *kfake.Cluster {
	c.t.Helper()
	if c.fake == nil {
		c.t.Skip("this test injects errors, which a real broker does not offer")
	}
	return c.fake
}

// Access returns what a client needs to come in this way. A fake has the one
// way that it was started with.
func (c *Cluster) Access(w Way) Access {
	c.t.Helper()
	var a Access
	switch {
	case c.fake != nil:
		if w != c.way {
			c.t.Fatalf("kafkatest: this cluster is open to %s, not to %s", c.way, w)
		}
		a.Brokers = c.gate.addresses()
	case c.given != "":
		if w != (Way{}) {
			c.t.Skipf("the broker at %s is used in plain text, without a login", c.given)
		}
		a.Brokers = []string{c.given}
	default:
		a.Brokers = []string{c.broker.address(w)}
	}
	if w.TLS || w.ClientCert {
		a.CAFile = c.certs.CAFile
	}
	if w.ClientCert {
		a.CertFile, a.KeyFile = c.certs.CertFile, c.certs.KeyFile
	}
	if w.Mechanism != "" {
		a.Mechanism, a.User, a.Password = w.Mechanism, User, Password
	}
	return a
}

// Brokers returns host:port of the brokers for a client that needs nothing
// else. The cluster has to be open to that.
func (c *Cluster) Brokers() []string {
	c.t.Helper()
	return c.Access(Way{}).Brokers
}

// Client returns a client of another library than the one under test, which
// comes in by the cluster's own way and is closed with the test. Use it for what
// the methods below do not offer.
func (c *Cluster) Client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl := c.client(opts...)
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *Cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	a := c.Access(c.way)
	all := []kgo.Opt{
		kgo.SeedBrokers(a.Brokers...), kgo.ClientID("kafkatest"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(20 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	}
	if c.way.TLS || c.way.ClientCert {
		all = append(all, kgo.DialTLSConfig(c.certs.client()))
	}
	switch a.Mechanism {
	case Plain:
		all = append(all, kgo.SASL(plain.Auth{User: a.User, Pass: a.Password}.AsMechanism()))
	case ScramSHA256:
		all = append(all, kgo.SASL(scram.Auth{User: a.User, Pass: a.Password}.AsSha256Mechanism()))
	case ScramSHA512:
		all = append(all, kgo.SASL(scram.Auth{User: a.User, Pass: a.Password}.AsSha512Mechanism()))
	}
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		c.t.Fatalf("kafkatest: make a client: %v", err)
	}
	return cl
}

// requester returns the client that the methods below share.
func (c *Cluster) requester() *kgo.Client {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.admin == nil {
		// A later version names topics by id where a test only knows names.
		c.admin = c.client(kgo.MaxVersions(kversion.V3_9_0()))
	}
	return c.admin
}

// closeAdmin lets go of the shared client, so that nothing of it outlives the
// cluster.
func (c *Cluster) closeAdmin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.admin != nil {
		c.admin.Close()
		c.admin = nil
	}
}

// ask makes one request of the cluster, bounded in time.
func ask[R kmsg.Response](c *Cluster, req kmsg.Request) (R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var none R
	res, err := c.requester().Request(ctx, req)
	if err != nil {
		return none, err
	}
	r, ok := res.(R)
	if !ok {
		return none, fmt.Errorf("unexpected answer %T", res)
	}
	return r, nil
}

// Await looks again and again until done, and fails the test after a minute.
func (c *Cluster) Await(what string, done func() bool) {
	c.t.Helper()
	if err := poll(patience, done); err != nil {
		c.t.Fatalf("kafkatest: waited a minute for %s", what)
	}
}

var errPatience = errors.New("it took too long")

func poll(limit time.Duration, done func() bool) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-end.C:
			return errPatience
		}
	}
	return nil
}

// Kill takes all brokers away at once: their connections end and new ones are
// refused. A real broker is killed by SIGKILL, with its data intact.
func (c *Cluster) Kill() {
	c.t.Helper()
	switch {
	case c.fake != nil:
		c.gate.shut()
	case c.broker != nil:
		if err := c.broker.kill(); err != nil {
			c.t.Fatalf("kafkatest: kill the broker: %v", err)
		}
	default:
		c.t.Skipf("the broker at %s is not ours to kill", c.given)
	}
}

// Restart brings back what Kill took away, at the same addresses, and returns
// when it can be talked to.
func (c *Cluster) Restart() {
	c.t.Helper()
	switch {
	case c.fake != nil:
		if err := c.gate.open(); err != nil {
			c.t.Fatalf("kafkatest: listen again: %v", err)
		}
	case c.broker != nil:
		if err := c.broker.start(); err != nil {
			c.t.Fatalf("kafkatest: start the broker again: %v", err)
		}
	}
	c.ready()
}

// ready waits until the cluster answers.
func (c *Cluster) ready() {
	c.t.Helper()
	c.Await("the cluster to answer", func() bool {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		res, err := ask[*kmsg.MetadataResponse](c, req)
		return err == nil && len(res.Brokers) > 0
	})
}

// Hang makes the brokers of a fake take connections and requests and answer
// nothing, until Restart.
func (c *Cluster) Hang() {
	c.t.Helper()
	c.Fake()
	c.gate.hang()
}
