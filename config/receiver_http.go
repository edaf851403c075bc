package config

import (
	"time"

	"gatewatch/alerting/endpoint"

	"go.yaml.in/yaml/v4"
)

// HTTP holds what all receivers that are called by HTTP have in common.
type HTTP struct {
	URL     Secret
	Headers map[string]Secret
	Timeout time.Duration
	TLS     TLS
	Proxy   Secret // may be unset
}

// TLS names the files of certificates, by absolute path.
type TLS struct {
	CAFile   string // whom to trust instead of the system's authorities
	CertFile string // a client certificate
	KeyFile  string
}

// Files returns the settings for those who read the files.
func (t TLS) Files() endpoint.TLS {
	return endpoint.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile}
}

// AttemptTimeout returns the timeout of one request.
func (h *HTTP) AttemptTimeout() time.Duration { return h.Timeout }

// headers returns the headers as receivers take them.
func (h *HTTP) headers() map[string]endpoint.Secret {
	if len(h.Headers) == 0 {
		return nil
	}
	out := map[string]endpoint.Secret{}
	for name, s := range h.Headers {
		out[name] = s
	}
	return out
}

// proxy returns the proxy as receivers take it.
func (h *HTTP) proxy() endpoint.Secret { return orNil(h.Proxy) }

// orNil returns the secret as receivers take one that may be missing.
func orNil(s Secret) endpoint.Secret {
	if !s.IsSet() {
		return nil
	}
	return s
}

// http reads the keys that the section m of a receiver has in common with the
// others. n is the section itself; example is an address for who gave none, ""
// where it has a default.
func (d *decoder) http(m *mapping, n *yaml.Node, h *HTTP, example string) {
	before := len(d.problems)
	h.Timeout = 10 * time.Second
	d.address(m, "url", &h.URL)
	d.address(m, "proxy", &h.Proxy)
	m.duration("timeout", &h.Timeout, 100*time.Millisecond, 5*time.Minute)
	d.tls(m, n, &h.TLS)
	d.headers(m, &h.Headers)
	if !h.URL.IsSet() && example != "" && len(d.problems) == before {
		d.fail(n, "%s has no url; write url: %s, or url_file with the path of a file that holds it", m.name, example)
	}
}

// address reads an address and its twin.
func (d *decoder) address(m *mapping, key string, dst *Secret) {
	at := m.secret(key, dst)
	if at == nil || dst.value == "" {
		return
	}
	if err := parseURL(dst.value); err != nil {
		// The value is not repeated: an address often carries a token.
		d.fail(at, "%s: %s", m.path(key), err)
	}
}

// tls reads the paths of certificates.
func (d *decoder) tls(m *mapping, n *yaml.Node, t *TLS) {
	m.file("ca_file", &t.CAFile)
	m.file("cert_file", &t.CertFile)
	m.file("key_file", &t.KeyFile)
	if (t.CertFile == "") != (t.KeyFile == "") {
		d.fail(n, "%s has only one of cert_file and key_file; give both, the certificate and its key", m.name)
	}
}

// file reads the path of a file.
func (m *mapping) file(key string, dst *string) {
	at := m.text(key, dst)
	if at != nil && *dst == "" {
		m.d.fail(at, "%s is empty; write a path or remove it", m.path(key))
	}
	*dst = m.d.path(*dst)
}
