// Package pagerduty sends incidents to PagerDuty by its Events API v2: one alert
// an incident, which is triggered, acknowledged and resolved with it. The key by
// which PagerDuty drops repeats (dedup_key) is the incident's id.
package pagerduty

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

// DefaultURL is where events go in the service region of the United States.
const DefaultURL = "https://events.pagerduty.com/v2/enqueue"

const (
	maxSummary = 1024 // of PagerDuty
	maxDetail  = 1024
	maxList    = 64
)

// Config is the configuration. Name and RoutingKey are required.
type Config struct {
	Name string
	// RoutingKey is the integration key of a service or a ruleset.
	RoutingKey endpoint.Secret
	// URL is where events go. Default [DefaultURL].
	URL           endpoint.Secret
	Headers       map[string]endpoint.Secret
	Timeout       time.Duration
	TLS           endpoint.TLS
	Proxy         endpoint.Secret
	MaxRetryAfter time.Duration
	Version       string
	// Source is the machine or service that events are said to come from.
	// Default "gatewatch".
	Source string
	// Severities are PagerDuty's words for levels: critical, error, warning or info. What is not
	// in it has its default, see [Severity].
	Severities map[observation.Level]string
}

// Severity is PagerDuty's word for a level where the configuration has none.
func Severity(l observation.Level) string {
	switch {
	case l >= observation.Critical:
		return "critical"
	case l >= observation.High:
		return "error"
	case l >= observation.Medium:
		return "warning"
	default:
		return "info"
	}
}

// Receiver sends to one service. It may be used by many goroutines.
type Receiver struct {
	c      Config
	client *endpoint.Client
}

var _ alerting.Traits = (*Receiver)(nil)

// New checks the configuration, reading each secret once. Its errors name the
// field that is wrong, never its value.
func New(c Config) (*Receiver, error) {
	c.Source = cmp.Or(c.Source, "gatewatch")
	if c.URL == nil {
		c.URL = alerting.Secret(DefaultURL)
	}
	client, err := endpoint.New(endpoint.Options{
		Kind: "pagerduty", Name: c.Name, URL: c.URL, Headers: c.Headers, Timeout: c.Timeout, TLS: c.TLS, Proxy: c.Proxy,
		MaxRetryAfter: c.MaxRetryAfter, Version: c.Version,
	})
	if err != nil {
		return nil, err
	}
	if c.RoutingKey == nil {
		return nil, fmt.Errorf("pagerduty %s: no routing_key", c.Name)
	}
	r := &Receiver{c, client}
	if _, err := r.key(); err != nil {
		return nil, fmt.Errorf("pagerduty %s: %w", c.Name, err)
	}
	return r, nil
}

func (r *Receiver) key() (string, error) {
	key, err := r.c.RoutingKey.Read()
	if err != nil {
		return "", err
	}
	if key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", errors.New("routing_key is empty or holds blanks; write the integration key of a service, of 32 letters and digits")
	}
	return key, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that an alert stands for an incident and changes with it.
func (*Receiver) Keeps() bool { return true }

// Folds says that each incident is an alert of its own: a digest could not be
// acknowledged or resolved.
func (*Receiver) Folds() bool { return false }

// Close lets go of idle connections.
func (r *Receiver) Close() { r.client.Close() }

// event is one event of the API.
type event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action"`
	Key        string   `json:"dedup_key"`
	Payload    *payload `json:"payload,omitempty"`
	Client     string   `json:"client,omitempty"`
}

type payload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp string         `json:"timestamp"`
	Component string         `json:"component,omitempty"`
	Group     string         `json:"group,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details"`
}

// Notify sends the event that brings the alert to where the incident is. A test
// is triggered and resolved at once.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	var inc alerting.Incident
	if err := json.Unmarshal(n.Payload, &inc); err != nil {
		return alerting.Result{Err: fmt.Errorf("pagerduty %s: read the incident: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	key, err := r.key()
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("pagerduty %s: %w", r.c.Name, err), Retry: true, Reason: alerting.ReasonInvalid}
	}
	res := r.send(ctx, r.event(&inc, n, action(&inc, n.Cause), key))
	if inc.Test && res.Err == nil {
		return r.send(ctx, r.event(&inc, n, "resolve", key))
	}
	return res
}

// action is what is to become of the alert.
func action(inc *alerting.Incident, cause alerting.Cause) string {
	switch {
	case inc.State == alerting.StateResolved, inc.FalsePositive, inc.Parent != "" && cause == alerting.CauseParent:
		return "resolve"
	case inc.State == alerting.StateAcknowledged, inc.State == alerting.StateSilenced:
		return "acknowledge"
	default:
		return "trigger"
	}
}

func (r *Receiver) send(ctx context.Context, e event) alerting.Result {
	body, err := json.Marshal(e)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("pagerduty %s: encode: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	return r.client.Do(ctx, endpoint.Call{ContentType: "application/json", Body: body, Hidden: []string{e.RoutingKey}, Explain: explain})
}

// explain reads the answer of the API to an event that it refuses.
func explain(_ int, body []byte) string {
	var a struct {
		Status, Message string
		Errors          []string
	}
	if json.Unmarshal(body, &a) != nil || a.Message == "" {
		return ""
	}
	return strings.Join(append([]string{a.Status, a.Message}, a.Errors...), ": ")
}

func (r *Receiver) event(inc *alerting.Incident, n alerting.Notification, action, key string) event {
	e := event{RoutingKey: key, Action: action, Key: inc.ID, Client: "gatewatch"}
	s := summary.Of(inc, n.Cause)
	details := map[string]any{"news": escape.Relay(s.News, maxDetail), "what": escape.Relay(s.Line, maxDetail), "incident": inc.ID, "state": inc.State}
	for _, f := range s.Facts {
		details[strings.ToLower(f.Name)] = escape.Relay(f.Text(), maxDetail)
	}
	list := func(name string, texts []string) {
		if len(texts) > 0 {
			details[name] = texts
		}
	}
	var evidence, notes, entries []string
	for _, l := range s.Evidence {
		evidence = append(evidence, escape.Relay(l.Place+" "+l.Text, maxDetail))
	}
	for _, note := range s.Notes {
		notes = append(notes, escape.Relay(note, maxDetail))
	}
	for _, d := range s.Entries[:min(maxList, len(s.Entries))] {
		entries = append(entries, escape.Relay(d.Headline+": "+d.Line, maxDetail))
	}
	list("evidence", evidence)
	list("notes", notes)
	list("incidents", entries)
	severity := r.c.Severities[inc.Level]
	e.Payload = &payload{
		Summary: escape.Relay(s.Headline, maxSummary), Source: r.c.Source, Severity: cmp.Or(severity, Severity(inc.Level)),
		Timestamp: n.Made.UTC().Format(time.RFC3339Nano), Component: escape.Relay(strings.Join(inc.Routes[:min(1, len(inc.Routes))], ""), maxDetail),
		Group: escape.Relay(inc.Family, maxDetail), Class: escape.Relay(inc.Rule.Title, maxDetail), Details: details,
	}
	return e
}
