// Package webhook sends incidents to an HTTP endpoint as JSON, signed in the
// form of Standard Webhooks. The header webhook-id is "incident id/revision":
// it never changes between attempts, so an endpoint drops repeats by it.
//
// Nothing secret leaves the package in an error: neither the signing secrets,
// nor header values, nor any part of the URL but scheme and host.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
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

const (
	// maxSnippet bounds what is read of an answer that is no success, and
	// maxShown what of it goes into an error.
	maxSnippet, maxShown = 4096, 200
	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
)

// Secret is a value that is asked for each time it is used, so that a file
// behind it may change. alerting.Secret is one that is always the same.
type Secret interface {
	Read() (string, error)
}

// Config is a webhook's configuration. Name and URL are required.
type Config struct {
	Name string
	// URL is where to post, http or https. It may carry a password or a token.
	URL Secret
	// Secrets sign each request: one, or several while a new one is rolled
	// out. Each is "whsec_" and base64, or any other text, which is then the
	// key itself. Without any, requests are not signed.
	Secrets []Secret
	// Headers are added to each request, such as Authorization.
	Headers map[string]Secret
	// Timeout bounds one request with its answer. Default 10 s.
	Timeout time.Duration
	// CAFile is a PEM file with the authorities to trust instead of the
	// system's. It is read by New.
	CAFile string
	// Proxy is the URL of an HTTP proxy. Default none; the environment is not
	// asked.
	Proxy Secret
	// MaxRetryAfter bounds the wait that the endpoint may ask for. Default 1 h.
	MaxRetryAfter time.Duration
	// Version is gatewatch's own, for the User-Agent.
	Version string
}

// Receiver posts notifications to one endpoint. It may be used by many
// goroutines.
type Receiver struct {
	c      Config
	client *http.Client
	now    func() time.Time
}

var _ alerting.Receiver = (*Receiver)(nil)

// New checks the configuration, reading each secret once, and returns a
// receiver. Its errors name the field that is wrong, never its value.
func New(c Config) (*Receiver, error) {
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.MaxRetryAfter = cmp.Or(c.MaxRetryAfter, time.Hour)
	c.Version = cmp.Or(c.Version, "dev")
	if c.Name == "" {
		return nil, errors.New("webhook: no name")
	}
	if c.URL == nil {
		return nil, fmt.Errorf("webhook %s: no url", c.Name)
	}
	r := &Receiver{c: c, now: time.Now}
	if _, err := r.material(); err != nil {
		return nil, fmt.Errorf("webhook %s: %w", c.Name, err)
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: c.Timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    c.Timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // an answer is only looked at, never unpacked
		MaxIdleConns:           4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("webhook %s: read ca_file: %w", c.Name, err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("webhook %s: ca_file %s holds no certificate in PEM form", c.Name, c.CAFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if c.Proxy != nil {
		proxy, err := parse(c.Proxy, "proxy")
		if err != nil {
			return nil, fmt.Errorf("webhook %s: %w", c.Name, err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	r.client = &http.Client{
		Transport: transport,
		// A redirect would carry the request, with its signature and headers,
		// to where nobody meant it to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return r, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Close lets go of idle connections. A later Notify opens new ones.
func (r *Receiver) Close() { r.client.CloseIdleConnections() }

// body is what is posted. It is the same for each attempt.
type body struct {
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Cause     alerting.Cause  `json:"cause,omitempty"`
	Data      json.RawMessage `json:"data"`
}

// Notify posts n once. Any 2xx means that the endpoint has it. 408, 425, 429,
// 5xx and whatever comes of the network may be tried again; every other answer
// is final.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	m, err := r.material()
	if err != nil {
		// A file may be on its way to being replaced.
		return alerting.Result{Err: fmt.Errorf("webhook %s: %w", r.c.Name, err), Retry: true, Reason: alerting.ReasonInvalid}
	}
	fail := func(reason alerting.Reason, retry bool, after time.Duration, format string, args ...any) alerting.Result {
		text := m.scrub(fmt.Sprintf(format, args...))
		return alerting.Result{
			Err:   fmt.Errorf("webhook %s: post to %s://%s: %s", r.c.Name, m.url.Scheme, m.url.Host, text),
			Retry: retry, After: after, Reason: reason,
		}
	}
	payload, err := json.Marshal(body{"incident.updated", n.Made.UTC(), n.Cause, n.Payload})
	if err != nil {
		return fail(alerting.ReasonInvalid, false, 0, "encode: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.c.Timeout, fmt.Errorf("no answer within %s", r.c.Timeout))
	defer cancel()
	req, err := r.request(ctx, m, n.Key, payload)
	if err != nil {
		return fail(alerting.ReasonInvalid, false, 0, "%v", err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		reason, text := classify(ctx, err)
		return fail(reason, true, 0, "%s", text)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 == 2 {
		if res.ContentLength >= 0 && res.ContentLength <= maxSnippet {
			_, _ = io.Copy(io.Discard, res.Body) // lets the connection be used again
		}
		return alerting.Result{Reason: alerting.ReasonOK}
	}
	return r.refused(res, m, fail)
}

// request makes the signed request.
func (r *Receiver) request(ctx context.Context, m *material, key string, payload []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, errors.New("the request cannot be made") // its error would repeat the URL
	}
	for name, value := range m.headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "gatewatch/"+r.c.Version)
	}
	req.Header.Set("Content-Type", "application/json")
	timestamp := strconv.FormatInt(r.now().Unix(), 10)
	req.Header.Set("Webhook-Id", key)
	req.Header.Set("Webhook-Timestamp", timestamp)
	if s := sign(m.keys, key, timestamp, payload); s != "" {
		req.Header.Set("Webhook-Signature", s)
	}
	return req, nil
}

// refused says what an answer other than 2xx means.
func (r *Receiver) refused(res *http.Response, m *material, fail func(alerting.Reason, bool, time.Duration, string, ...any) alerting.Result) alerting.Result {
	status := fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if res.StatusCode/100 == 3 {
		return fail(alerting.ReasonRedirect, false, 0,
			"it answered %s%s; redirects are not followed, write the final address into url", status, target(res))
	}
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxSnippet))
	text := "it answered " + status
	if len(answer) > 0 {
		// Scrubbed before it is cut or quoted: an endpoint may repeat the request.
		text += fmt.Sprintf(": %.*q", maxShown, m.scrub(string(answer)))
	}
	after := retryAfter(res.Header.Get("Retry-After"), r.now(), r.c.MaxRetryAfter)
	switch {
	case res.StatusCode == http.StatusTooManyRequests:
		return fail(alerting.ReasonRateLimited, true, after, "%s", text)
	case res.StatusCode == http.StatusRequestTimeout || res.StatusCode == http.StatusTooEarly:
		return fail(alerting.ReasonClientError, true, after, "%s", text)
	case res.StatusCode >= 500:
		return fail(alerting.ReasonServerError, true, after, "%s", text)
	default:
		return fail(alerting.ReasonClientError, false, 0, "%s", text)
	}
}

// target names the host of a redirect, which unlike the rest of it is no secret.
func target(res *http.Response) string {
	to, err := res.Location()
	if err != nil || to.Host == "" {
		return ""
	}
	return fmt.Sprintf(" with a redirect to %s://%s", to.Scheme, to.Host)
}

// retryAfter reads the header in both its forms; 0 when there is none.
func retryAfter(value string, now time.Time, limit time.Duration) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		d = time.Duration(min(max(seconds, 0), int64(limit/time.Second)+1)) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), limit)
}

// classify gives the reason of an error of the client, and its text without
// the URL that the client puts in front.
func classify(ctx context.Context, err error) (alerting.Reason, string) {
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
	case errors.As(err, &dns), errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return alerting.ReasonConnection, err.Error()
	default:
		return alerting.ReasonOther, err.Error()
	}
}
