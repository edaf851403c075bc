package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are an authority with a certificate for a server on loopback and
// one for a client, as PEM files that last as long as the test.
type Certificates struct {
	CAFile            string
	CertFile, KeyFile string // the client's

	pool   *x509.CertPool
	served tls.Certificate
	shown  tls.Certificate
}

// NewCertificates makes new ones, of an authority that nobody else trusts.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	dir := t.TempDir()
	ca := issue(t, "kafkatest authority", nil)
	server, client := issue(t, "localhost", ca), issue(t, User, ca)
	c := &Certificates{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key"),
		pool: x509.NewCertPool(),
	}
	c.pool.AddCert(ca.certificate)
	write(t, c.CAFile, ca.pem)
	write(t, c.CertFile, client.pem)
	write(t, c.KeyFile, client.key)
	c.served, c.shown = server.pair(t), client.pair(t)
	return c
}

// server is the configuration of a broker.
func (c *Certificates) server(wantClient bool) *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.served}, ClientCAs: c.pool}
	if wantClient {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf
}

// client is the configuration of a client that has everything.
func (c *Certificates) client() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.shown}, RootCAs: c.pool}
}

type issued struct {
	certificate *x509.Certificate
	private     *ecdsa.PrivateKey
	pem, key    []byte
}

func (i *issued) pair(t testing.TB) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(i.pem, i.key)
	if err != nil {
		t.Fatalf("kafkatest: certificate: %v", err)
	}
	return pair
}

// issue makes a certificate for the name, signed by the authority, or of an
// authority where there is none.
func issue(t testing.TB, name string, ca *issued) *issued {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Fatalf("kafkatest: make a certificate for %s: %v", name, err)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	fail(err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := template, private
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
	} else {
		parent, signer = ca.certificate, ca.private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	fail(err)
	certificate, err := x509.ParseCertificate(der)
	fail(err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	fail(err)
	return &issued{
		certificate: certificate, private: private,
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
}
