package config

import (
	"net"
	"strings"
	"time"

	"gatewatch/alerting/syslog"

	"go.yaml.in/yaml/v4"
)

// Syslog is a receiver that takes syslog messages.
type Syslog struct {
	Network    string // "udp", "tcp" or "tls"
	Address    string // host:port
	TLS        TLS
	Timeout    time.Duration
	Facility   string
	Hostname   string // "" for that of this machine
	AppName    string
	Enterprise int
	JSON       bool
	MaxSize    int64 // bytes, 0 for the default
}

// AttemptTimeout returns the timeout of one message.
func (s *Syslog) AttemptTimeout() time.Duration { return s.Timeout }

// Options returns the options of syslog.New for a receiver of that name.
func (s *Syslog) Options(name string) syslog.Config {
	return syslog.Config{
		Name: name, Network: s.Network, Address: s.Address, Certs: s.TLS.Files(), Timeout: s.Timeout, Facility: s.Facility,
		Hostname: s.Hostname, AppName: s.AppName, Enterprise: s.Enterprise, JSON: s.JSON, MaxSize: int(s.MaxSize),
	}
}

func readSyslog(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	s := &Syslog{Network: syslog.TCP, Timeout: 10 * time.Second, Facility: "local0", AppName: "gatewatch", Enterprise: syslog.DefaultEnterprise}
	m := d.mapping(n, name)
	at := m.text("address", &s.Address)
	if at != nil {
		checkAddress(d, at, m.path("address"), s.Address, "siem.example.com:6514")
	}
	m.oneOf("network", &s.Network, syslog.UDP, syslog.TCP, syslog.TLS)
	d.tls(m, n, &s.TLS)
	m.duration("timeout", &s.Timeout, 100*time.Millisecond, 5*time.Minute)
	m.oneOf("facility", &s.Facility, syslog.Facilities()...)
	m.text("hostname", &s.Hostname)
	m.text("app_name", &s.AppName)
	m.integer("enterprise", &s.Enterprise, 1, 1<<31-1)
	format := "text"
	m.oneOf("format", &format, "text", "json")
	s.JSON = format == "json"
	m.size("max_size", &s.MaxSize, 1500, 1<<20)
	m.done()
	if at == nil && len(d.problems) == before {
		d.fail(n, "%s has no address; write address: siem.example.com:6514", name)
	}
	if s.Network != syslog.TLS && s.TLS != (TLS{}) {
		d.fail(n, "%s has certificates but no TLS; write network: tls", name)
	}
	return s
}

// checkAddress reports what is no host:port.
func checkAddress(d *decoder, at *yaml.Node, name, address, example string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || strings.ContainsAny(address, "/ ") {
		d.fail(at, "%s is %s; write host:port, such as %s", name, quote(address), example)
	}
}
