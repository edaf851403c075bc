package config

import (
	"net/mail"
	"time"

	"gatewatch/alerting/email"

	"go.yaml.in/yaml/v4"
)

// Email is a receiver that gets mails.
type Email struct {
	Server   string // host:port
	Security string // "starttls", "implicit", "none", or "" for what the port suggests
	TLS      TLS
	Username string
	Password Secret
	From     string
	To       []string
	Hello    string
	Timeout  time.Duration
}

// AttemptTimeout returns the timeout of one mail.
func (e *Email) AttemptTimeout() time.Duration { return e.Timeout }

// Options returns the options of email.New for a receiver of that name.
func (e *Email) Options(name string) email.Config {
	return email.Config{
		Name: name, Server: e.Server, TLS: e.Security, Certs: e.TLS.Files(), Username: e.Username, Password: orNil(e.Password),
		From: e.From, To: e.To, Hello: e.Hello, Timeout: e.Timeout,
	}
}

func readEmail(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	e := &Email{Timeout: 30 * time.Second}
	m := d.mapping(n, name)
	if at := m.text("server", &e.Server); at != nil {
		checkAddress(d, at, m.path("server"), e.Server, "mail.example.com:587")
	}
	m.oneOf("tls", &e.Security, email.StartTLS, email.Implicit, email.None)
	d.tls(m, n, &e.TLS)
	m.text("username", &e.Username)
	m.secret("password", &e.Password)
	if at := m.text("from", &e.From); at != nil {
		if _, err := mail.ParseAddress(e.From); err != nil {
			d.fail(at, "%s is %s; write an address such as gatewatch@example.com", m.path("from"), quote(e.From))
		}
	}
	m.texts("to", &e.To, nil)
	m.text("hello", &e.Hello)
	m.duration("timeout", &e.Timeout, time.Second, 5*time.Minute)
	m.done()
	if len(d.problems) > before {
		return e
	}
	switch {
	case e.Server == "":
		d.fail(n, "%s has no server; write server: mail.example.com:587", name)
	case e.From == "":
		d.fail(n, "%s has no from; write from: gatewatch@example.com", name)
	case len(e.To) == 0:
		d.fail(n, "%s has no to; write to: [ops@example.com]", name)
	case (e.Username == "") != !e.Password.IsSet():
		d.fail(n, "%s has only one of username and password; give both, or none where the server asks for no login", name)
	}
	return e
}
