// Package email sends incidents by SMTP, as text and HTML. The mails of an
// incident are one thread; the Message-ID of each is made of the delivery key, so
// that mail servers and programs drop repeats by it.
package email

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"
)

// How the connection is protected.
const (
	StartTLS = "starttls" // by the command of that name, which the server has to know
	Implicit = "implicit" // from the first byte on, as on port 465
	None     = "none"     // not at all; a password is then sent to this machine alone
)

// maxAnswers bounds what is read of a server in one session, in bytes.
const maxAnswers = 256 << 10

// Config is the configuration. Name, Server, From and To are required.
type Config struct {
	Name   string
	Server string // host:port
	// TLS is StartTLS, Implicit or None. Default Implicit on port 465, else
	// StartTLS.
	TLS      string
	Certs    endpoint.TLS
	Username string          // "" to send without login
	Password endpoint.Secret // nil without Username
	From     string          // an address, with a name or without
	To       []string
	// Hello is the name that this machine gives itself. Default its host name.
	Hello   string
	Timeout time.Duration // of one mail. Default 30 s
	Logger  *slog.Logger  // is told of recipients that the server refused; may be nil
}

// Receiver sends by one server. It may be used by many goroutines.
type Receiver struct {
	c    Config
	host string
	from *mail.Address
	to   []*mail.Address
	tls  *tls.Config
}

var _ alerting.Traits = (*Receiver)(nil)

// New checks the configuration, reading the password once. Its errors name the
// field that is wrong, never the password.
func New(c Config) (*Receiver, error) {
	fail := func(format string, args ...any) (*Receiver, error) {
		return nil, fmt.Errorf("email %s: "+format, append([]any{c.Name}, args...)...)
	}
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Name == "" {
		return fail("no name")
	}
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || host == "" || port == "" {
		return fail("server is %q; write host:port, such as mail.example.com:587", c.Server)
	}
	if c.TLS == "" {
		c.TLS = StartTLS
		if port == "465" {
			c.TLS = Implicit
		}
	}
	if c.TLS != StartTLS && c.TLS != Implicit && c.TLS != None {
		return fail("tls is %q; write starttls, implicit or none", c.TLS)
	}
	r := &Receiver{c: c, host: host}
	if r.from, err = address(c.From); err != nil {
		return fail("from: %w", err)
	}
	if len(c.To) == 0 {
		return fail("to names nobody")
	}
	for _, text := range c.To {
		a, err := address(text)
		if err != nil {
			return fail("to: %w", err)
		}
		r.to = append(r.to, a)
	}
	if c.Hello == "" {
		name, _ := os.Hostname()
		r.c.Hello = cmp.Or(escape.SyslogToken(name, 255), "localhost")
	}
	if (c.Username == "") != (c.Password == nil) {
		return fail("username and password go together; give both or none")
	}
	if c.Password != nil {
		if _, err := c.Password.Read(); err != nil {
			return fail("%w", err)
		}
	}
	if c.TLS != None {
		if r.tls, err = c.Certs.Config(host); err != nil {
			return fail("%w", err)
		}
	}
	return r, nil
}

// address reads one that servers without extensions take.
func address(text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no address such as ops@example.com", text)
	}
	for _, c := range []byte(a.Address) {
		if c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return nil, fmt.Errorf("%q has characters that not all servers take", text)
		}
	}
	return a, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that a mail cannot be changed.
func (*Receiver) Keeps() bool { return false }

// Folds says that people read it message by message.
func (*Receiver) Folds() bool { return true }

// Notify sends one mail. An answer of the server that begins with 5 is final;
// one that begins with 4, and trouble with the network, may be tried again.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	var inc alerting.Incident
	if err := json.Unmarshal(n.Payload, &inc); err != nil {
		return alerting.Result{Err: fmt.Errorf("email %s: read the incident: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	text, err := message(r.from, r.to, &inc, n)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("email %s: encode: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	var hidden endpoint.Scrubber
	password := ""
	if r.c.Password != nil {
		if password, err = r.c.Password.Read(); err != nil {
			// A file may be on its way to being replaced.
			return alerting.Result{Err: fmt.Errorf("email %s: %w", r.c.Name, err), Retry: true, Reason: alerting.ReasonInvalid}
		}
		for _, form := range []string{password, r.c.Username + "\x00" + password, "\x00" + r.c.Username + "\x00" + password} {
			hidden.Hide(form)
			hidden.Hide(base64.StdEncoding.EncodeToString([]byte(form)))
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.c.Timeout, fmt.Errorf("not done within %s", r.c.Timeout))
	defer cancel()
	if err := r.send(ctx, password, text); err != nil {
		return r.failed(ctx, err, &hidden)
	}
	return alerting.Result{Reason: alerting.ReasonOK}
}

// step is an error with the step of the session in which it came.
type step struct {
	name string
	err  error
}

func (s *step) Error() string { return s.name + ": " + s.err.Error() }
func (s *step) Unwrap() error { return s.err }

// final is an error that trying again does not mend.
type final struct{ error }

func (r *Receiver) failed(ctx context.Context, err error, hidden *endpoint.Scrubber) alerting.Result {
	res := alerting.Result{Retry: true}
	name := "connect"
	if s, ok := errors.AsType[*step](err); ok {
		name, err = s.name, s.err
	}
	var text string
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		// The server has answered: it did not take the mail.
		res.Reason, res.Retry = alerting.ReasonClientError, false
		if answer.Code/100 == 4 {
			res.Reason, res.Retry = alerting.ReasonRateLimited, true
		}
		text = fmt.Sprintf("the server answered %d %.400q", answer.Code, hidden.Clean(answer.Msg))
	} else if _, ok := errors.AsType[final](err); ok {
		res.Reason, res.Retry, text = alerting.ReasonClientError, false, err.Error()
	} else {
		res.Reason, text = endpoint.Classify(ctx, err)
		text = hidden.Clean(text)
	}
	res.Err = fmt.Errorf("email %s: %s at %s: %s", r.c.Name, name, r.c.Server, text)
	return res
}

// bounded is a connection of which only so much is read.
type bounded struct {
	net.Conn
	left int
}

var errChatty = errors.New("the server says more than it should")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errChatty
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// send holds one session.
func (r *Receiver) send(ctx context.Context, password string, text []byte) error {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", r.c.Server)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var conn net.Conn = &bounded{raw, maxAnswers}
	if r.c.TLS == Implicit {
		secure := tls.Client(conn, r.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return &step{"start TLS", err}
		}
		conn = secure
	}
	c, err := smtp.NewClient(conn, r.host)
	if err != nil {
		return &step{"greeting", err}
	}
	if err := c.Hello(r.c.Hello); err != nil {
		return &step{"EHLO", err}
	}
	if r.c.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return &step{"STARTTLS", final{errors.New("the server does not know it; write tls: implicit or, inside a network of your own, tls: none")}}
		}
		if err := c.StartTLS(r.tls.Clone()); err != nil {
			return &step{"STARTTLS", err}
		}
	}
	if r.c.Username != "" {
		if err := r.login(c, password); err != nil {
			return &step{"login", err}
		}
	}
	if err := c.Mail(r.from.Address); err != nil {
		return &step{"MAIL FROM", err}
	}
	if err := r.recipients(c); err != nil {
		return &step{"RCPT TO", err}
	}
	w, err := c.Data()
	if err != nil {
		return &step{"DATA", err}
	}
	if _, err := io.Copy(w, bytes.NewReader(text)); err != nil {
		return &step{"send", err}
	}
	if err := w.Close(); err != nil {
		return &step{"send", err}
	}
	_ = c.Quit() // the mail is theirs, whatever they answer
	return nil
}

// recipients names all recipients. The mail goes to those that the server
// takes; it is an error if there are none.
func (r *Receiver) recipients(c *smtp.Client) error {
	var refused error
	taken := 0
	for _, a := range r.to {
		err := c.Rcpt(a.Address)
		if err == nil {
			taken++
			continue
		}
		answer, ok := errors.AsType[*textproto.Error](err)
		if !ok {
			return err
		}
		if before, ok := errors.AsType[*textproto.Error](refused); !ok || before.Code/100 == 5 {
			refused = err // one that may be mended wins
		}
		r.c.Logger.Warn("the mail server refused a recipient", slog.String("receiver", r.c.Name),
			slog.String("recipient", a.Address), slog.Int("code", answer.Code), slog.String("answer", answer.Msg))
	}
	if taken == 0 {
		return refused
	}
	return nil
}

// login uses the first way that the server offers and we know.
func (r *Receiver) login(c *smtp.Client, password string) error {
	_, offered := c.Extension("AUTH")
	for way := range strings.FieldsSeq(strings.ToUpper(offered)) {
		switch way {
		case "PLAIN":
			return c.Auth(guarded{smtp.PlainAuth("", r.c.Username, password, r.host)})
		case "LOGIN":
			return c.Auth(guarded{&loginAuth{r.c.Username, password}})
		case "CRAM-MD5":
			return c.Auth(smtp.CRAMMD5Auth(r.c.Username, password))
		}
	}
	return final{fmt.Errorf("the server offers %.100q; gatewatch knows PLAIN, LOGIN and CRAM-MD5", offered)}
}

// guarded sends the password over a protected connection alone, or inside this
// machine.
type guarded struct{ smtp.Auth }

func (g guarded) Start(s *smtp.ServerInfo) (string, []byte, error) {
	if !s.TLS && s.Name != "localhost" && s.Name != "127.0.0.1" && s.Name != "::1" {
		return "", nil, final{errors.New("the connection is not protected by TLS, so the password is not sent; write tls: starttls or implicit")}
	}
	return g.Auth.Start(s)
}

// loginAuth is the LOGIN of old servers.
type loginAuth struct{ username, password string }

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(asked []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch word := strings.ToLower(string(asked)); {
	case strings.HasPrefix(word, "user"):
		return []byte(a.username), nil
	case strings.HasPrefix(word, "pass"):
		return []byte(a.password), nil
	default:
		return nil, final{fmt.Errorf("the server asked %.100q", asked)}
	}
}
