// Package alertmanager sends incidents to an Alertmanager by its API v2, as
// alerts that start, change and end, for those who route by its tree.
//
// Alertmanager knows an alert by its labels. Those of an incident may change
// while it lives, as its level may rise; the alert with the earlier labels is
// then ended together with the start of the new one.
package alertmanager

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
)

const (
	path       = "/api/v2/alerts"
	maxLabel   = 256
	maxSummary = 512
	maxText    = 8 << 10
)

// Config is the configuration. Name and URL are required.
type Config struct {
	Name string
	// URL is that of Alertmanager, without /api. It may carry a password.
	URL           endpoint.Secret
	Headers       map[string]endpoint.Secret
	Timeout       time.Duration
	TLS           endpoint.TLS
	Proxy         endpoint.Secret
	MaxRetryAfter time.Duration
	Version       string

	// AlertName is the label alertname. Default "GatewatchIncident".
	AlertName string
	// Labels are added to each alert and win over our own.
	Labels map[string]string
	// ExpireAfter is how long an alert stays when nothing more is heard of it.
	// Default 48 h, which is longer than any incident is silent before it is
	// resolved.
	ExpireAfter time.Duration
	// GeneratorURL is where the link of an alert leads, "" for nowhere.
	GeneratorURL string
}

// Receiver sends to one Alertmanager. It may be used by many goroutines.
type Receiver struct {
	c      Config
	client *endpoint.Client
	now    func() time.Time
}

var _ alerting.Traits = (*Receiver)(nil)

// New checks the configuration, reading each secret once. Its errors name the
// field that is wrong, never its value.
func New(c Config) (*Receiver, error) {
	c.AlertName = cmp.Or(c.AlertName, "GatewatchIncident")
	c.ExpireAfter = cmp.Or(c.ExpireAfter, 48*time.Hour)
	client, err := endpoint.New(endpoint.Options{
		Kind: "alertmanager", Name: c.Name, URL: c.URL, Headers: c.Headers, Timeout: c.Timeout, TLS: c.TLS, Proxy: c.Proxy,
		MaxRetryAfter: c.MaxRetryAfter, Version: c.Version,
	})
	if err != nil {
		return nil, err
	}
	for name := range c.Labels {
		if name != LabelName(name) {
			return nil, fmt.Errorf("alertmanager %s: label %q is no name of a label; write %s", c.Name, name, LabelName(name))
		}
	}
	return &Receiver{c, client, time.Now}, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that an alert stands for an incident and changes with it.
func (*Receiver) Keeps() bool { return true }

// Folds says that Alertmanager groups by itself.
func (*Receiver) Folds() bool { return false }

// Close lets go of idle connections.
func (r *Receiver) Close() { r.client.Close() }

// alert is one alert of the API.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Notify posts the alert of an incident, and the end of those that it had with
// other labels.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	var inc alerting.Incident
	if err := json.Unmarshal(n.Payload, &inc); err != nil {
		return alerting.Result{Err: fmt.Errorf("alertmanager %s: read the incident: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	now := r.now().UTC()
	current := r.alert(&inc, n.Cause, now)
	alerts := []alert{current}
	if n.Revision > 1 {
		alerts = append(alerts, r.earlier(ctx, inc.ID, current.Labels, now)...)
	}
	payload, err := json.Marshal(alerts)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("alertmanager %s: encode: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	return r.client.Do(ctx, endpoint.Call{Path: path, ContentType: "application/json", Body: payload})
}

// earlier returns the ends of alerts of the incident whose labels are no longer
// right. Where Alertmanager cannot be asked, they end by themselves.
func (r *Receiver) earlier(ctx context.Context, id string, labels map[string]string, now time.Time) []alert {
	answer, res := r.client.Fetch(ctx, endpoint.Call{
		Method: "GET", Path: path, Query: url.Values{"filter": {fmt.Sprintf("incident=%q", id)}},
	})
	var found []alert
	if res.Err != nil || json.Unmarshal(answer, &found) != nil {
		return nil
	}
	var out []alert
	for _, a := range found {
		// The answer is not trusted to be to our question.
		if a.Labels["incident"] != id || a.Labels["alertname"] != labels["alertname"] || maps.Equal(a.Labels, labels) || !a.EndsAt.After(now) {
			continue
		}
		out = append(out, alert{Labels: a.Labels, StartsAt: earliest(a.StartsAt, now), EndsAt: now})
	}
	return out
}

func (r *Receiver) alert(inc *alerting.Incident, cause alerting.Cause, now time.Time) alert {
	out := alert{
		Labels: r.labels(inc), Annotations: annotations(inc, cause), StartsAt: earliest(inc.DetectedAt, now),
		EndsAt: now.Add(r.c.ExpireAfter), GeneratorURL: r.c.GeneratorURL,
	}
	switch {
	case inc.Test:
		out.EndsAt = now.Add(time.Minute)
	case inc.State == alerting.StateResolved, inc.Parent != "" && cause == alerting.CauseParent, inc.FalsePositive:
		out.EndsAt = now
	}
	return out
}

// earliest keeps the start of an alert before its end.
func earliest(t, now time.Time) time.Time {
	if t.IsZero() || t.After(now) {
		return now
	}
	return t.UTC()
}

func (r *Receiver) labels(inc *alerting.Incident) map[string]string {
	out := map[string]string{}
	for name, value := range inc.Group {
		out[LabelName(name)] = escape.Relay(value, maxLabel)
	}
	maps.Copy(out, map[string]string{
		"alertname": r.c.AlertName, "incident": inc.ID, "severity": inc.Level.String(),
		"family": escape.Relay(inc.Family, maxLabel), "rule": escape.Relay(inc.Rule.ID, maxLabel),
	})
	if inc.Test {
		out["test"] = "true"
	}
	maps.Copy(out, r.c.Labels)
	for name, value := range out {
		if value == "" {
			delete(out, name) // Alertmanager takes an empty label for none
		}
	}
	return out
}

// LabelName makes the name of a field one of a label: client.address becomes
// client_address.
func LabelName(s string) string {
	name := []byte(s)
	for i, c := range name {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			name[i] = '_'
		}
	}
	return cmp.Or(string(name), "_")
}

func annotations(inc *alerting.Incident, cause alerting.Cause) map[string]string {
	s := summary.Of(inc, cause)
	lines := []string{s.Line}
	for _, f := range s.Facts {
		lines = append(lines, f.Name+": "+f.Text())
	}
	for _, note := range s.Notes {
		lines = append(lines, "Note: "+note)
	}
	for _, e := range s.Entries {
		lines = append(lines, e.Headline+": "+e.Line)
	}
	out := map[string]string{
		"summary":     escape.Relay(s.Headline, maxSummary),
		"news":        escape.Relay(s.News, maxSummary),
		"description": relayLines(lines),
		"state":       inc.State,
	}
	var evidence []string
	for _, e := range s.Evidence {
		evidence = append(evidence, e.Place+" "+e.Text)
	}
	if len(evidence) > 0 {
		out["evidence"] = relayLines(evidence)
	}
	return out
}

func relayLines(lines []string) string {
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	for i, l := range lines {
		lines[i] = escape.Relay(l, maxText/max(len(lines), 8))
	}
	return strings.Join(lines, "\n")
}
