// Package teams posts incidents to a channel of Microsoft Teams by the address of
// a workflow ("When a Teams webhook request is received"), as Adaptive Cards. A
// workflow can only post: later revisions of an incident are further messages.
//
// What clients sent stands in text runs alone, which have no markup at all.
package teams

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

const (
	// maxCard is how many bytes Teams takes in one message, with room for what
	// the workflow adds.
	maxCard     = 24 << 10
	maxHeadline = 300
	maxFact     = 500
	maxEvidence = 600
	maxEntries  = 40
)

// Config is the configuration. Name and URL are required.
type Config struct {
	Name          string
	URL           endpoint.Secret // that of the workflow; it is a secret itself
	Headers       map[string]endpoint.Secret
	Timeout       time.Duration
	TLS           endpoint.TLS
	Proxy         endpoint.Secret
	MaxRetryAfter time.Duration
	Version       string
}

// Receiver posts to one channel. It may be used by many goroutines.
type Receiver struct {
	c      Config
	client *endpoint.Client
}

var _ alerting.Traits = (*Receiver)(nil)

// New checks the configuration, reading each secret once. Its errors name the
// field that is wrong, never its value.
func New(c Config) (*Receiver, error) {
	client, err := endpoint.New(endpoint.Options{
		Kind: "teams", Name: c.Name, URL: c.URL, Headers: c.Headers, Timeout: c.Timeout, TLS: c.TLS, Proxy: c.Proxy,
		MaxRetryAfter: c.MaxRetryAfter, Version: c.Version,
	})
	if err != nil {
		return nil, err
	}
	return &Receiver{c, client}, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that a message cannot be changed.
func (*Receiver) Keeps() bool { return false }

// Folds says that people read it message by message.
func (*Receiver) Folds() bool { return true }

// Close lets go of idle connections.
func (r *Receiver) Close() { r.client.Close() }

// Notify posts one card.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	var inc alerting.Incident
	if err := json.Unmarshal(n.Payload, &inc); err != nil {
		return alerting.Result{Err: fmt.Errorf("teams %s: read the incident: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	body, err := message(&inc, n.Cause)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("teams %s: encode: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	return r.client.Do(ctx, endpoint.Call{ContentType: "application/json", Body: body, Explain: explain})
}

// explain reads the error of a workflow.
func explain(_ int, body []byte) string {
	var a struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(body, &a) != nil || a.Error.Message == "" {
		return ""
	}
	return a.Error.Code + ": " + a.Error.Message
}

// object is one object of a card.
type object map[string]any

// message returns the message of a revision, with as many details as fit.
func message(inc *alerting.Incident, cause alerting.Cause) ([]byte, error) {
	s := summary.Of(inc, cause)
	var out []byte
	for _, evidence := range []int{len(s.Evidence), 3, 1, 0} {
		body, err := json.Marshal(object{
			"type": "message",
			"attachments": []object{{
				"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil,
				"content": card(inc, s, min(evidence, len(s.Evidence))),
			}},
		})
		if err != nil {
			return nil, err
		}
		out = body
		if len(body) <= maxCard {
			break
		}
	}
	return out, nil
}

func card(inc *alerting.Incident, s summary.Summary, evidence int) object {
	body := []object{{
		"type": "Container", "style": style(inc), "bleed": true,
		"items": []object{
			text(run(s.Headline, maxHeadline, object{"weight": "Bolder", "size": "Medium"})),
			text(run(s.News, maxHeadline, object{"isSubtle": true})),
		},
	}}
	if s.Line != "" {
		body = append(body, text(run(s.Line, maxFact, nil)))
	}
	for i, e := range s.Entries[:min(maxEntries, len(s.Entries))] {
		if i == maxEntries-1 && len(s.Entries) > maxEntries {
			body = append(body, text(run(fmt.Sprintf("and %d more", len(s.Entries)-i), maxFact, nil)))
			break
		}
		body = append(body, text(run(e.Headline+" ", maxHeadline, object{"weight": "Bolder"}), run(e.Line, maxFact, nil)))
	}
	if len(s.Facts) > 0 {
		body = append(body, table(s.Facts))
	}
	var more []object
	for _, e := range s.Evidence[:evidence] {
		more = append(more,
			text(run(e.Place, maxFact, object{"isSubtle": true, "size": "Small"})),
			text(run(e.Text, maxEvidence, object{"fontType": "Monospace", "size": "Small"})))
	}
	if left := len(s.Evidence) - evidence; left > 0 {
		more = append(more, text(run(fmt.Sprintf("%d more log lines are not shown here for want of room", left), maxFact, object{"isSubtle": true, "size": "Small"})))
	}
	if len(more) > 0 {
		body = append(body, text(run("Log lines", maxFact, object{"weight": "Bolder"})), object{"type": "Container", "items": more})
	}
	for _, note := range s.Notes {
		body = append(body, text(run("Note: "+note, maxFact, object{"isSubtle": true, "size": "Small"})))
	}
	return object{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.5",
		"fallbackText": escape.Markdown(s.Headline, maxHeadline),
		"msteams":      object{"width": "Full"}, "body": body,
	}
}

// table shows facts in two columns. A FactSet would read its values as Markdown.
func table(facts []summary.Fact) object {
	var rows []object
	for _, f := range facts {
		rows = append(rows, object{"type": "TableRow", "cells": []object{
			{"type": "TableCell", "items": []object{text(run(f.Name, maxFact, object{"weight": "Bolder"}))}},
			{"type": "TableCell", "items": []object{text(run(f.Text(), maxFact, nil))}},
		}})
	}
	return object{
		"type": "Table", "showGridLines": false, "firstRowAsHeader": false, "rows": rows,
		"columns": []object{{"width": 1}, {"width": 4}},
	}
}

// text is a block of runs.
func text(runs ...object) object {
	return object{"type": "RichTextBlock", "inlines": runs}
}

func run(s string, limit int, look object) object {
	o := object{"type": "TextRun", "text": escape.Text(s, limit)}
	maps.Copy(o, look)
	return o
}

// style is the colour of the head by level; green is for what is over.
func style(inc *alerting.Incident) string {
	switch {
	case inc.State == alerting.StateResolved:
		return "good"
	case inc.Level >= observation.High:
		return "attention"
	case inc.Level >= observation.Medium:
		return "warning"
	default:
		return "accent"
	}
}
