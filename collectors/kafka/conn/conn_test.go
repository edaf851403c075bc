package conn_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type secret string

func (s secret) Read() (string, error) { return string(s), nil }

// configFor is what a user would write to come in that way.
func configFor(a kafkatest.Access) conn.Config {
	c := conn.Config{Brokers: a.Brokers, Timeout: 5 * time.Second}
	if a.CAFile != "" {
		c.TLS = &conn.TLS{CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile}
	}
	if a.Mechanism != "" {
		c.SASL = &conn.SASL{Mechanism: a.Mechanism, Username: a.User, Password: secret(a.Password)}
	}
	return c
}

func cluster(t *testing.T, c conn.Config) *conn.Cluster {
	t.Helper()
	out, err := conn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// talk asks a broker something over a connection of kafka.Client and over one
// of a consumer group's dialer.
func talk(t *testing.T, c *conn.Cluster) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	transport := c.Transport()
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: c.Addr(), Transport: transport}
	if _, err := client.Metadata(ctx, &kafka.MetadataRequest{}); err != nil {
		return err
	}
	k, err := c.Dialer().DialContext(ctx, "tcp", c.Brokers()[0])
	if err != nil {
		return err
	}
	if err := k.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = k.Brokers()
	return errors.Join(err, k.Close())
}

func waysIn(t *testing.T, of func(t *testing.T, w kafkatest.Way) *kafkatest.Cluster) {
	ways := kafkatest.Ways()
	ran := 0
	for _, w := range ways {
		t.Run(w.String(), func(t *testing.T) {
			k := of(t, w)
			good := k.Access(w)
			if err := talk(t, cluster(t, configFor(good))); err != nil {
				t.Fatalf("comes in as configured: %v", err)
			}
			if w.Mechanism != "" {
				bad := configFor(good)
				bad.SASL.Password = secret("wrong")
				err := refusal(t, bad, conn.ReasonLogin)
				if e, ok := errors.AsType[*conn.LoginError](err); !ok || e.Mechanism != w.Mechanism {
					t.Errorf("wrong password: got %v, want a LoginError by %s", err, w.Mechanism)
				}
				if strings.Contains(err.Error(), "wrong") {
					t.Errorf("the error shows the password: %v", err)
				}
			}
			if w.TLS || w.ClientCert {
				bad := configFor(good)
				bad.TLS = &conn.TLS{}
				if err := refusal(t, bad, conn.ReasonTLS); !errors.As(err, new(x509.UnknownAuthorityError)) {
					t.Errorf("unknown authority: got %v", err)
				}
			}
			ran++
		})
	}
	if ran != len(ways) && !t.Failed() {
		t.Errorf("ran %d of %d ways", ran, len(ways))
	}
}

func refusal(t *testing.T, c conn.Config, reason string) error {
	t.Helper()
	nc, err := cluster(t, c).Dial(t.Context(), "tcp", c.Brokers[0])
	if err == nil {
		_ = nc.Close()
		t.Fatal("came in")
	}
	if got := conn.Reason(err); got != reason {
		t.Errorf("reason of %q is %s, want %s", err, got, reason)
	}
	return err
}

func TestWaysIn(t *testing.T) {
	waysIn(t, func(t *testing.T, w kafkatest.Way) *kafkatest.Cluster {
		t.Helper()
		return kafkatest.Start(t, kafkatest.Options{Way: w})
	})
}

func TestWaysInReal(t *testing.T) {
	k := kafkatest.Real(t)
	waysIn(t, func(t *testing.T, _ kafkatest.Way) *kafkatest.Cluster { t.Helper(); return k.For(t) })
}

func TestUnknownMechanism(t *testing.T) {
	k := kafkatest.Start(t, kafkatest.Options{Way: kafkatest.Way{Mechanism: kafkatest.Plain}})
	c := configFor(k.Access(kafkatest.Way{Mechanism: kafkatest.Plain}))
	c.TLS = nil
	c.SASL = &conn.SASL{Mechanism: conn.SCRAM256, Username: "nobody", Password: secret("x")}
	if err := refusal(t, c, conn.ReasonLogin); !strings.Contains(err.Error(), conn.SCRAM256) {
		t.Errorf("got %v", err)
	}
}

// TestHang asks that a broker which takes connections and says nothing holds
// nobody longer than configured.
func TestHang(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	ca := kafkatest.NewCertificates(t)
	for name, c := range map[string]conn.Config{
		"login": {SASL: &conn.SASL{Mechanism: conn.Plain, Username: "a", Password: secret("b")}},
		"tls":   {TLS: &conn.TLS{CAFile: ca.CAFile}},
	} {
		t.Run(name, func(t *testing.T) {
			c.Brokers, c.Timeout = []string{l.Addr().String()}, 50*time.Millisecond
			_ = refusal(t, c, conn.ReasonTimeout)
			// Stopping does not wait for the limit.
			c.Timeout = time.Hour
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := cluster(t, c).Dial(ctx, "tcp", c.Brokers[0]); err == nil {
				t.Error("came in")
			}
		})
	}
}

func TestAway(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_ = refusal(t, conn.Config{Brokers: []string{l.Addr().String()}}, conn.ReasonUnreachable)
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pem")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := []string{"kafka:9092"}
	for name, f := range map[string]struct {
		c    conn.Config
		want string
	}{
		"no broker":    {conn.Config{}, "there is no broker"},
		"url":          {conn.Config{Brokers: []string{"kafka://x:1"}}, "no address"},
		"port":         {conn.Config{Brokers: []string{"x:0"}}, "no address"},
		"two colons":   {conn.Config{Brokers: []string{"x:1:2"}}, "no address"},
		"no ca":        {conn.Config{Brokers: one, TLS: &conn.TLS{CAFile: filepath.Join(dir, "none")}}, "certificate authority"},
		"bad ca":       {conn.Config{Brokers: one, TLS: &conn.TLS{CAFile: text}}, "no PEM"},
		"half a pair":  {conn.Config{Brokers: one, TLS: &conn.TLS{CertFile: text}}, "both"},
		"mechanism":    {conn.Config{Brokers: one, SASL: &conn.SASL{Mechanism: "GSSAPI"}}, "no way to log in"},
		"no password":  {conn.Config{Brokers: one, SASL: &conn.SASL{Mechanism: conn.Plain, Username: "a"}}, "username and password"},
		"plain bearer": {conn.Config{Brokers: one, SASL: &conn.SASL{Mechanism: conn.OAuthBearer, OAuth: &conn.OAuth{Token: secret("t")}}}, "add tls"},
		"no token":     {conn.Config{Brokers: one, TLS: &conn.TLS{}, SASL: &conn.SASL{Mechanism: conn.OAuthBearer}}, "token"},
		"http token": {conn.Config{Brokers: one, TLS: &conn.TLS{}, SASL: &conn.SASL{
			Mechanism: conn.OAuthBearer, OAuth: &conn.OAuth{TokenURL: "http://idp.example.org/t", ClientID: "a", ClientSecret: secret("b")},
		}}, "https"},
		"half keys": {conn.Config{Brokers: one, TLS: &conn.TLS{}, SASL: &conn.SASL{Mechanism: conn.AWSMSKIAM, AWS: &conn.AWS{AccessKeyID: "a"}}}, "both"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := conn.New(f.c); err == nil || !strings.Contains(err.Error(), f.want) {
				t.Errorf("got %v, want it to contain %q", err, f.want)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"kafka": "kafka:9092", "kafka:1": "kafka:1", "10.0.0.1": "10.0.0.1:9092", "::1": "[::1]:9092", "[::1]:7": "[::1]:7",
	} {
		if got, err := conn.Address(in); got != want || err != nil {
			t.Errorf("%s: got %q and %v, want %q", in, got, err, want)
		}
	}
}

func TestReason(t *testing.T) {
	for want, err := range map[string]error{
		conn.ReasonUnknownTopic:  kafka.UnknownTopicOrPartition,
		conn.ReasonNotAuthorized: kafka.GroupAuthorizationFailed,
		conn.ReasonNoLeader:      kafka.NotLeaderForPartition,
		conn.ReasonCoordinator:   kafka.IllegalGeneration,
		conn.ReasonTooLarge:      kafka.MessageSizeTooLarge,
		conn.ReasonTimeout:       context.DeadlineExceeded,
		conn.ReasonUnreachable:   io.ErrUnexpectedEOF,
		conn.ReasonOther:         errors.New("?"),
	} {
		if got := conn.Reason(err); got != want {
			t.Errorf("reason of %v is %s, want %s", err, got, want)
		}
	}
}
