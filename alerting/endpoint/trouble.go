package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"gatewatch/alerting"
)

// TLS says whom to trust, and as whom to call, by the paths of PEM files. The
// zero value trusts whom the system trusts and shows no certificate.
type TLS struct {
	CAFile   string // the authorities to trust instead of the system's
	CertFile string // a client certificate, together with KeyFile
	KeyFile  string
}

// Config reads the files and returns a configuration for the server of that
// name, "" where the caller's client sets it. Its errors name the file.
func (t TLS) Config(server string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("cert_file and key_file go together; give both or none")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read cert_file %s and key_file %s: %w", t.CertFile, t.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// RetryAfter reads the header of that name in both its forms, bounded by
// limit; 0 when there is none.
func RetryAfter(value string, now time.Time, limit time.Duration) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		d = time.Duration(min(max(seconds, 0), int64(limit/time.Second)+1)) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), limit)
}

// Classify gives the reason of an error of the network, and its text without
// the address that an HTTP client puts in front. ctx is that of the attempt.
func Classify(ctx context.Context, err error) (alerting.Reason, string) {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err
	}
	var (
		dns     *net.DNSError
		op      *net.OpError
		netErr  net.Error
		alert   tls.AlertError
		record  tls.RecordHeaderError
		certain *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return alerting.ReasonTimeout, context.Cause(ctx).Error()
	case ctx.Err() != nil:
		return alerting.ReasonCanceled, "stopped before an answer came"
	case errors.As(err, &certain), errors.As(err, &alert), errors.As(err, &record):
		return alerting.ReasonTLS, err.Error()
	case errors.As(err, &op) && op.Op == "remote error":
		return alerting.ReasonTLS, err.Error()
	case errors.As(err, &netErr) && netErr.Timeout():
		return alerting.ReasonTimeout, err.Error()
	case errors.As(err, &dns), errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return alerting.ReasonConnection, err.Error()
	default:
		return alerting.ReasonOther, err.Error()
	}
}
