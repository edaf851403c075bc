// Package webhook sends incidents to an HTTP endpoint: as JSON signed in the
// form of Standard Webhooks, or in a form of one's own by a template. The header
// webhook-id is "incident id/revision": it never changes between attempts, so an
// endpoint drops repeats by it.
//
// Nothing secret leaves the package in an error: neither the signing secrets,
// nor header values, nor any part of the URL but scheme and host.
package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
)

// Secret is a value that is asked for each time it is used.
type Secret = endpoint.Secret

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
	// TLS says whom to trust, and as whom to call.
	TLS endpoint.TLS
	// Proxy is the URL of an HTTP proxy. Default none; the environment is not
	// asked.
	Proxy Secret
	// MaxRetryAfter bounds the wait that the endpoint may ask for. Default 1 h.
	MaxRetryAfter time.Duration
	// Version is gatewatch's own, for the User-Agent.
	Version string

	// Method is POST, PUT or PATCH. Default POST.
	Method string
	// Body is a template of what is sent, see [ParseTemplate]. Default: the
	// incident as JSON with its envelope.
	Body string
	// ContentType is that of Body. Default application/json.
	ContentType string
}

// Receiver posts notifications to one endpoint. It may be used by many
// goroutines.
type Receiver struct {
	c      Config
	body   *Template // nil for the default
	client *endpoint.Client
	now    func() time.Time
}

var _ alerting.Receiver = (*Receiver)(nil)

// New checks the configuration, reading each secret once, and returns a
// receiver. Its errors name the field that is wrong, never its value.
func New(c Config) (*Receiver, error) {
	c.Method = cmp.Or(c.Method, "POST")
	c.ContentType = cmp.Or(c.ContentType, "application/json")
	switch c.Method {
	case "POST", "PUT", "PATCH":
	default:
		return nil, fmt.Errorf("webhook %s: method %s is none that sends a body; write POST, PUT or PATCH", c.Name, c.Method)
	}
	client, err := endpoint.New(endpoint.Options{
		Kind: "webhook", Name: c.Name, URL: c.URL, Headers: c.Headers, Timeout: c.Timeout, TLS: c.TLS, Proxy: c.Proxy,
		MaxRetryAfter: c.MaxRetryAfter, Version: c.Version, Reserved: []string{"webhook-"},
	})
	if err != nil {
		return nil, err
	}
	r := &Receiver{c: c, client: client, now: time.Now}
	if _, _, err := r.keys(); err != nil {
		return nil, fmt.Errorf("webhook %s: %w", c.Name, err)
	}
	if c.Body != "" {
		if r.body, err = ParseTemplate(c.Body, c.ContentType); err != nil {
			return nil, fmt.Errorf("webhook %s: body: %w", c.Name, err)
		}
	}
	return r, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Close lets go of idle connections. A later Notify opens new ones.
func (r *Receiver) Close() { r.client.Close() }

// keys returns what to sign with, as it is now, and the texts that are not to
// be shown.
func (r *Receiver) keys() (keys [][]byte, hidden []string, err error) {
	for _, s := range r.c.Secrets {
		text, err := s.Read()
		if err != nil {
			return nil, nil, err
		}
		key, err := signingKey(text)
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, key)
		hidden = append(hidden, text, strings.TrimPrefix(text, keyPrefix))
	}
	return keys, hidden, nil
}

// body is what is posted without a template. It is the same for each attempt.
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
	keys, hidden, err := r.keys()
	if err != nil {
		// A file may be on its way to being replaced.
		return alerting.Result{Err: fmt.Errorf("webhook %s: %w", r.c.Name, err), Retry: true, Reason: alerting.ReasonInvalid}
	}
	payload, err := r.payload(n)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("webhook %s: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	timestamp := strconv.FormatInt(r.now().Unix(), 10)
	header := map[string]string{"Webhook-Id": n.Key, "Webhook-Timestamp": timestamp}
	if s := sign(keys, n.Key, timestamp, payload); s != "" {
		header["Webhook-Signature"] = s
	}
	return r.client.Do(ctx, endpoint.Call{
		Method: r.c.Method, ContentType: r.c.ContentType, Body: payload, Header: header, Hidden: hidden,
	})
}

func (r *Receiver) payload(n alerting.Notification) ([]byte, error) {
	if r.body == nil {
		payload, err := json.Marshal(body{"incident.updated", n.Made.UTC(), n.Cause, n.Payload})
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return payload, nil
	}
	payload, err := r.body.render(n)
	if err != nil {
		return nil, err
	}
	if isJSON(r.c.ContentType) && !json.Valid(payload) {
		return nil, errors.New("body: for this incident the template gives no valid JSON; put each value through json, as in {{json .Incident.Rule.Title}}")
	}
	return payload, nil
}
