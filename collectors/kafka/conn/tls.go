package conn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS says whom to trust, and as whom to call, by the paths of PEM files. The
// files are read again for each connection, so they can be renewed at any
// time. The zero value trusts what the system trusts.
type TLS struct {
	CAFile   string
	CertFile string // for mutual TLS, together with KeyFile
	KeyFile  string
	// ServerName is the name that the broker's certificate has to have; ""
	// for the host that was dialled.
	ServerName string
	// Insecure accepts any certificate. Anybody on the way can then read and
	// change everything, logins included.
	Insecure bool
}

// config returns what a handshake with the host takes.
func (t *TLS) config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", t.CAFile)
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return c, nil
	case t.CertFile == "" || t.KeyFile == "":
		return nil, errors.New("a client certificate needs both its certificate and its key file")
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the client certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
