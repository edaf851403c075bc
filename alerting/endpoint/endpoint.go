// Package endpoint calls HTTP endpoints that may be down, slow or rude. One call
// is one attempt with a deadline; its outcome is classified for the outbox.
// Redirects are never followed, what is read of an answer is bounded, and
// nothing secret leaves the package in an error: neither header values nor any
// part of an address but scheme and host.
//
// The receivers that speak HTTP are built on it.
package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gatewatch/alerting"
)

const (
	// maxAnswer bounds what is read of an answer, and maxShown what of it goes
	// into an error.
	maxAnswer, maxShown = 64 << 10, 200
	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
)

// Secret is a value that is asked for each time it is used, so that a file
// behind it may change. alerting.Secret is one that is always the same.
type Secret interface {
	Read() (string, error)
}

// Options describe an endpoint. Kind, Name and URL are required.
type Options struct {
	// Kind and Name are what errors begin with: the type of the receiver and
	// its name.
	Kind, Name string
	// URL is the address, http or https. It may carry a password or a token.
	URL Secret
	// Headers are added to each request, such as Authorization.
	Headers map[string]Secret
	// Timeout bounds one call with its answer. Default 10 s.
	Timeout time.Duration
	// TLS says whom to trust, and as whom to call.
	TLS TLS
	// Proxy is the URL of an HTTP proxy. Default none; the environment is not
	// asked.
	Proxy Secret
	// MaxRetryAfter bounds the wait that the endpoint may ask for. Default 1 h.
	MaxRetryAfter time.Duration
	// Version is gatewatch's own, for the User-Agent.
	Version string
	// Reserved are further names of headers that the receiver sets itself, in
	// lower case; one that ends with "-" is a prefix.
	Reserved []string
}

// Client calls one endpoint. It may be used by many goroutines.
type Client struct {
	o      Options
	client *http.Client
	now    func() time.Time
}

// New checks the options, reading each secret once. Its errors name the field
// that is wrong, never its value.
func New(o Options) (*Client, error) {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.MaxRetryAfter = cmp.Or(o.MaxRetryAfter, time.Hour)
	o.Version = cmp.Or(o.Version, "dev")
	if o.Name == "" {
		return nil, fmt.Errorf("%s: no name", o.Kind)
	}
	if o.URL == nil {
		return nil, fmt.Errorf("%s %s: no url", o.Kind, o.Name)
	}
	c := &Client{o: o, now: time.Now}
	_, err := c.material()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.Kind, o.Name, err)
	}
	if c.client, err = HTTPClient(o.Timeout, o.TLS, o.Proxy); err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.Kind, o.Name, err)
	}
	return c, nil
}

// HTTPClient returns a client that never follows redirects, unpacks nothing and
// asks the environment for no proxy; proxy is nil for none. timeout bounds
// connecting; the rest is bounded by the context of each request.
func HTTPClient(timeout time.Duration, files TLS, proxy Secret) (*http.Client, error) {
	trust, err := files.Config("")
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // an answer is only looked at, never unpacked
		MaxIdleConns:           4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
	if proxy != nil {
		u, err := parse(proxy, "proxy")
		if err != nil {
			return nil, err
		}
		transport.Proxy = http.ProxyURL(u)
	}
	return &http.Client{
		Transport: transport,
		// A redirect would carry the request, with its secrets, to where nobody
		// meant it to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Name returns the name of the endpoint.
func (c *Client) Name() string { return c.o.Name }

// Close lets go of idle connections. A later call opens new ones.
func (c *Client) Close() { c.client.CloseIdleConnections() }

// Call is one request.
type Call struct {
	Method string // default POST
	// Path is put behind the path of the address.
	Path string
	// Query is added to that of the address.
	Query       url.Values
	ContentType string
	Body        []byte
	// Header is added to the request; what the options say comes first.
	Header map[string]string
	// Hidden are further secrets, which an endpoint might repeat.
	Hidden []string
	// Explain, if not nil, says in words what an answer that is no success
	// means, by its status and the beginning of its body; "" shows the body.
	// What it returns is cleaned of secrets and cut.
	Explain func(status int, body []byte) string
}

// Do makes one attempt. Any 2xx means that the endpoint has it. 408, 425, 429,
// 5xx and whatever comes of the network may be tried again; every other answer
// is final.
func (c *Client) Do(ctx context.Context, call Call) alerting.Result {
	_, res := c.Fetch(ctx, call)
	return res
}

// Fetch is Do that also returns the beginning of the body of a success.
func (c *Client) Fetch(ctx context.Context, call Call) ([]byte, alerting.Result) {
	m, err := c.material()
	if err != nil {
		// A file may be on its way to being replaced.
		return nil, alerting.Result{Err: fmt.Errorf("%s %s: %w", c.o.Kind, c.o.Name, err), Retry: true, Reason: alerting.ReasonInvalid}
	}
	m.hideAll(call.Hidden)
	method := cmp.Or(call.Method, http.MethodPost)
	fail := func(reason alerting.Reason, retry bool, after time.Duration, format string, args ...any) alerting.Result {
		text := m.scrub(fmt.Sprintf(format, args...))
		return alerting.Result{
			Err:   fmt.Errorf("%s %s: %s to %s://%s: %s", c.o.Kind, c.o.Name, strings.ToLower(method), m.url.Scheme, m.url.Host, text),
			Retry: retry, After: after, Reason: reason,
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, fmt.Errorf("no answer within %s", c.o.Timeout))
	defer cancel()
	req, err := c.request(ctx, m, method, call)
	if err != nil {
		return nil, fail(alerting.ReasonInvalid, false, 0, "%v", err)
	}
	res, err := c.client.Do(req)
	if err != nil {
		reason, text := Classify(ctx, err)
		return nil, fail(reason, true, 0, "%s", text)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 == 2 {
		// Read to the end where that is near: it lets the connection be used
		// again. An answer that does not end is a success all the same.
		var body []byte
		if res.ContentLength >= 0 && res.ContentLength <= maxAnswer {
			body, _ = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		}
		return body, alerting.Result{Reason: alerting.ReasonOK}
	}
	return nil, c.refused(res, m, call.Explain, fail)
}

func (c *Client) request(ctx context.Context, m *material, method string, call Call) (*http.Request, error) {
	to := *m.url
	if call.Path != "" {
		to = *m.url.JoinPath(call.Path)
	}
	if len(call.Query) > 0 {
		query := to.Query()
		for name, values := range call.Query {
			query[name] = append(query[name], values...)
		}
		to.RawQuery = query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(call.Body))
	if err != nil {
		return nil, errors.New("the request cannot be made") // its error would repeat the URL
	}
	for name, value := range call.Header {
		req.Header.Set(name, value)
	}
	for name, value := range m.headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "gatewatch/"+c.o.Version)
	}
	if call.ContentType != "" {
		req.Header.Set("Content-Type", call.ContentType)
	}
	return req, nil
}

// failure makes a result of an attempt that failed.
type failure func(reason alerting.Reason, retry bool, after time.Duration, format string, args ...any) alerting.Result

// refused says what an answer other than 2xx means.
func (c *Client) refused(res *http.Response, m *material, explain func(int, []byte) string, fail failure) alerting.Result {
	status := fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if res.StatusCode/100 == 3 {
		return fail(alerting.ReasonRedirect, false, 0,
			"it answered %s%s; redirects are not followed, write the final address into url", status, target(res))
	}
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	text := "it answered " + status
	// Scrubbed before it is cut or quoted: an endpoint may repeat the request.
	if said := explained(explain, res.StatusCode, answer); said != "" {
		text += fmt.Sprintf(": %.*q", 4*maxShown, m.scrub(said))
	} else if len(answer) > 0 {
		text += fmt.Sprintf(": %.*q", maxShown, m.scrub(string(answer)))
	}
	after := RetryAfter(res.Header.Get("Retry-After"), c.now(), c.o.MaxRetryAfter)
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

func explained(explain func(int, []byte) string, status int, answer []byte) string {
	if explain == nil {
		return ""
	}
	return explain(status, answer)
}

// target names the host of a redirect, which unlike the rest of it is no secret.
func target(res *http.Response) string {
	to, err := res.Location()
	if err != nil || to.Host == "" {
		return ""
	}
	return fmt.Sprintf(" with a redirect to %s://%s", to.Scheme, to.Host)
}

// parse reads a URL from a secret. Its errors do not repeat it.
func parse(s Secret, field string) (*url.URL, error) {
	text, err := s.Read()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s is no address of the form https://host/path", field)
	}
	return u, nil
}
