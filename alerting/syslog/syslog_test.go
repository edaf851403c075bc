package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

// parsed is a message as RFC 5424 reads it.
type parsed struct {
	PRI                                 int
	Time, Host, App, Proc, ID, SD, Said string
	Params                              map[string]string
}

var header = regexp.MustCompile(`^<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) (.*)$`)

func parse(message string) (parsed, error) {
	m := header.FindStringSubmatch(message)
	if m == nil {
		return parsed{}, fmt.Errorf("no header in %.200q", message)
	}
	p := parsed{Time: m[2], Host: m[3], App: m[4], Proc: m[5], ID: m[6], Params: map[string]string{}}
	p.PRI, _ = strconv.Atoi(m[1])
	if _, err := time.Parse(time.RFC3339Nano, p.Time); err != nil || p.PRI > 191 {
		return p, fmt.Errorf("time %q, PRI %d", p.Time, p.PRI)
	}
	rest, ok := strings.CutPrefix(m[7], "[")
	if !ok {
		return p, errors.New("no structured data")
	}
	p.SD, rest, _ = strings.Cut(rest, " ")
	for {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok || len(name) > 32 || strings.ContainsAny(name, " =]\"") {
			return p, fmt.Errorf("name %q", name)
		}
		var value strings.Builder
		i := 0
		for ; i < len(after) && after[i] != '"'; i++ {
			switch c := after[i]; {
			case c == ']':
				return p, errors.New("a bare bracket")
			case c == '\\' && i+1 < len(after) && strings.IndexByte(`"\]`, after[i+1]) >= 0:
				i++
				value.WriteByte(after[i])
			default:
				value.WriteByte(c)
			}
		}
		p.Params[name] = value.String()
		rest = after[i+1:]
		if end, ok := strings.CutPrefix(rest, "] "); ok {
			p.Said = end
			return p, nil
		}
		if rest, ok = strings.CutPrefix(rest, " "); !ok {
			return p, fmt.Errorf("after a value: %.20q", rest)
		}
	}
}

// server takes frames by octet counting, as rsyslog and syslog-ng do.
type server struct {
	mu       sync.Mutex
	messages []string
	l        net.Listener
	wg       sync.WaitGroup
}

func listen(t testing.TB, config *tls.Config, serve func(s *server, c net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	s := &server{l: l}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(s, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.wg.Wait()
	})
	return s
}

func take(s *server, c net.Conn) {
	r := bufio.NewReader(c)
	for {
		size, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, " "))
		if err != nil || n > 1<<20 {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		s.mu.Lock()
		s.messages = append(s.messages, string(b))
		s.mu.Unlock()
	}
}

func (s *server) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

func receiver(t testing.TB, network, address string, change func(*Config)) *Receiver {
	t.Helper()
	c := Config{Name: "siem", Network: network, Address: address, Hostname: "gw1", Timeout: 2 * time.Second}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(t *testing.T, r *Receiver, inc alerting.Incident, cause alerting.Cause) {
	t.Helper()
	if res := r.Notify(t.Context(), receivertest.Note(t, inc, cause)); res.Err != nil || res.Reason != alerting.ReasonOK {
		t.Fatalf("got %+v", res)
	}
}

func TestMessage(t *testing.T) {
	s := listen(t, nil, take)
	r := receiver(t, TCP, s.l.Addr().String(), nil)
	send(t, r, receivertest.Incident("203.0.113.7"), alerting.CauseOpened)
	got := s.all()
	want := `<131>1 2026-11-19T06:38:01.000000Z gw1 gatewatch - opened [gatewatch@32473 key="654adc8f559de823/1" incident="654adc8f559de823" ` +
		`cause="opened" level="high" state="open" family="credential" rule="a3ec2b91-5a9b-4c43-8e0f-0a3c9ad1a001" count="1486" ` +
		`firstSeen="2026-11-19T06:20:00Z" lastSeen="2026-11-19T06:38:00Z" client="203.0.113.7"] ` +
		`HIGH: Flood of failed logins from one client: 203.0.113.7. New. 1,486 requests in 18 min, 211 accounts, POST 203.0.113.7, mostly status 401`
	if diff := cmp.Diff([]string{want}, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestPriorities(t *testing.T) {
	for level, want := range map[observation.Level]int{
		observation.Critical: 34, observation.High: 35, observation.Medium: 36, observation.Low: 37, observation.Informational: 38,
	} {
		c := receiver(t, TCP, "127.0.0.1:1", func(c *Config) { c.Facility = "auth" }).c
		inc := receivertest.Incident("x")
		inc.Level = level
		message, err := c.format(receivertest.Note(t, inc, alerting.CauseGrew))
		if err != nil {
			t.Fatal(err)
		}
		if p, err := parse(string(message)); err != nil || p.PRI != want {
			t.Errorf("%s: want %d, got %+v, %v", level, want, p, err)
		}
	}
}

func TestTLS(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS()
	t.Cleanup(pair.Close)
	ca := receivertest.CAFile(t, pair)
	s := listen(t, &tls.Config{Certificates: pair.TLS.Certificates, MinVersion: tls.VersionTLS12}, take)
	_, port, err := net.SplitHostPort(s.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := receiver(t, TLS, "127.0.0.1:"+port, func(c *Config) { c.Certs = endpoint.TLS{CAFile: ca} })
	send(t, r, receivertest.Incident("x"), alerting.CauseOpened)
	if got := s.all(); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	n := receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened)
	if res := receiver(t, TLS, s.l.Addr().String(), nil).Notify(t.Context(), n); !res.Retry || res.Reason != alerting.ReasonTLS {
		t.Errorf("an authority that is not known: got %+v", res)
	}
	picky := listen(t, &tls.Config{Certificates: pair.TLS.Certificates, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert}, take)
	r = receiver(t, TLS, picky.l.Addr().String(), func(c *Config) { c.Certs = endpoint.TLS{CAFile: ca} })
	if res := r.Notify(t.Context(), n); !res.Retry || res.Reason != alerting.ReasonTLS && res.Reason != alerting.ReasonConnection || len(picky.all()) != 0 {
		t.Errorf("without the certificate that is asked for: got %+v", res)
	}
	plain := listen(t, nil, take)
	if res := receiver(t, TLS, plain.l.Addr().String(), nil).Notify(t.Context(), n); res.Err == nil || !res.Retry {
		t.Errorf("a server without TLS: got %+v", res)
	}
}

func TestUDP(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := receiver(t, UDP, c.LocalAddr().String(), nil)
	send(t, r, receivertest.Incident(strings.Repeat("<x>", 2000)), alerting.CauseOpened)
	b := make([]byte, 1<<16)
	n, _, err := c.ReadFrom(b)
	if err != nil || n > 2048 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if _, err := parse(string(b[:n])); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if res.Err == nil || !res.Retry || res.Reason != alerting.ReasonConnection {
		t.Errorf("a port without a server: got %+v", res)
	}
}

// TestServersThatDie: what the server did not read is known not to be
// delivered; what it keeps open is believed.
func TestServersThatDie(t *testing.T) {
	n := receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened)
	reset := listen(t, nil, func(_ *server, c net.Conn) {
		_, _ = c.Read(make([]byte, 10))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	if res := receiver(t, TCP, reset.l.Addr().String(), nil).Notify(t.Context(), n); res.Err == nil || !res.Retry || res.Reason != alerting.ReasonConnection {
		t.Errorf("reset: got %+v", res)
	}
	over := make(chan struct{})
	open := listen(t, nil, func(s *server, c net.Conn) {
		take(s, c)
		<-over
	})
	t.Cleanup(func() { close(over) })
	if res := receiver(t, TCP, open.l.Addr().String(), nil).Notify(t.Context(), n); res.Err != nil || len(open.all()) != 1 {
		t.Errorf("kept open: got %+v", res)
	}
	gone := listen(t, nil, take)
	_ = gone.l.Close()
	if res := receiver(t, TCP, gone.l.Addr().String(), nil).Notify(t.Context(), n); !res.Retry || res.Reason != alerting.ReasonConnection {
		t.Errorf("refused: got %+v", res)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := receiver(t, TCP, open.l.Addr().String(), nil).Notify(ctx, n); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("stopped: got %+v", res)
	}
}

// TestHandshakeThatHangs: a server that says nothing costs the timeout.
func TestHandshakeThatHangs(t *testing.T) {
	over := make(chan struct{})
	s := listen(t, nil, func(*server, net.Conn) { <-over })
	t.Cleanup(func() { close(over) })
	r := receiver(t, TLS, s.l.Addr().String(), func(c *Config) { c.Timeout = 200 * time.Millisecond })
	res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if !res.Retry || res.Reason != alerting.ReasonTimeout || !strings.Contains(res.Err.Error(), "200ms") {
		t.Errorf("got %+v", res)
	}
}

func TestHostile(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		c := receiver(t, TCP, "127.0.0.1:1", func(c *Config) { c.JSON = asJSON }).c
		for _, p := range hostile.Payloads(t) {
			n := receivertest.Note(t, receivertest.Hostile(p.Text), alerting.CauseGrew)
			message, err := c.format(n)
			if err != nil {
				t.Fatal(err)
			}
			if len(message) > c.MaxSize {
				t.Errorf("%.100q: %d bytes", p.Text, len(message))
			}
			got, err := parse(string(message))
			if err != nil {
				t.Errorf("%.100q: %v", p.Text, err)
				continue
			}
			for _, r := range string(message) {
				if r != '\ufeff' && (!unicode.IsPrint(r) || unicode.In(r, unicode.Mn, unicode.Me)) {
					t.Errorf("%.100q: %U is in the message", p.Text, r)
				}
			}
			if got.Params["incident"] != "654adc8f559de823" || len(got.Params) > 16 {
				t.Errorf("%.100q: parameters %v", p.Text, got.Params)
			}
			if !asJSON {
				continue
			}
			var b body
			if err := json.Unmarshal([]byte(got.Said), &b); err != nil || b.Data.ID != "654adc8f559de823" || b.Key != n.Key {
				t.Errorf("%.100q: %v in %.200q", p.Text, err, got.Said)
			}
			var want alerting.Incident
			if err := json.Unmarshal(n.Payload, &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, b.Data); !b.Shortened && diff != "" {
				t.Errorf("%.100q (-want +got):\n%s", p.Text, diff)
			}
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Config{Name: "siem", Network: TCP, Address: "127.0.0.1:514"}
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	f("no name", func(c *Config) { c.Name = "" })
	f("udp, tcp or tls", func(c *Config) { c.Network = "unix" })
	f("host:port", func(c *Config) { c.Address = "127.0.0.1" })
	f("host:port", func(c *Config) { c.Address = ":514" })
	f("local7", func(c *Config) { c.Facility = "local8" })
	f("max_size", func(c *Config) { c.MaxSize = 100 })
	f("ca_file", func(c *Config) { c.Network, c.Certs = TLS, endpoint.TLS{CAFile: "/no/such/file"} })
	f("go together", func(c *Config) { c.Network, c.Certs = TLS, endpoint.TLS{CertFile: "x"} })
	if host, _ := os.Hostname(); host != "" {
		if r := receiver(t, TCP, "x:1", func(c *Config) { c.Hostname = "" }); r.c.Hostname != host {
			t.Errorf("host name %q", r.c.Hostname)
		}
	}
}
