package kafka

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"gatewatch/alerting"
	"gatewatch/alerting/ocsf"
)

// message is what is written for one notification: the same for each attempt.
type message struct {
	key, value []byte
	headers    []kafka.Header
	at         time.Time
}

// overhead is what a broker counts beside key, value and headers: those of a
// record and of the batch that it is alone in.
const overhead = 128

// The values of the header ce_type.
const (
	typeIncident = "incident.updated"
	typeFinding  = "ocsf.detection_finding"
)

// message renders n in the receiver's format, no larger than it may be. Its
// headers are those of CloudEvents 1.0 in Kafka's binary mode.
func (r *Receiver) message(n alerting.Notification) (*message, error) {
	m := &message{key: []byte(n.Incident), at: n.Made.UTC()}
	kind := typeIncident
	if r.c.Format == OCSF {
		kind = typeFinding
	}
	room := r.c.MaxMessage - overhead - len(m.key)
	for _, h := range [...]struct{ name, value string }{
		{"ce_specversion", "1.0"},
		{"ce_id", n.Key},
		{"ce_source", "gatewatch"},
		{"ce_type", kind},
		{"ce_subject", n.Incident},
		{"ce_time", m.at.Format(time.RFC3339Nano)},
		{"content-type", "application/json"},
	} {
		m.headers = append(m.headers, kafka.Header{Key: h.name, Value: []byte(h.value)})
		room -= len(h.name) + len(h.value) + 4
	}
	var err error
	m.value, err = r.value(n, room)
	return m, err
}

// body is the JSON form.
type body struct {
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Cause     alerting.Cause  `json:"cause,omitempty"`
	Data      json.RawMessage `json:"data"`
}

// value renders the incident within room bytes. What is too large is shortened
// step by step, and says so.
func (r *Receiver) value(n alerting.Notification, room int) ([]byte, error) {
	if r.c.Format == JSON {
		v, err := json.Marshal(body{typeIncident, n.Made.UTC(), n.Cause, n.Payload})
		if err != nil || len(v) <= room {
			return v, err
		}
	}
	for step := 0; ; step++ {
		var inc alerting.Incident
		if err := json.Unmarshal(n.Payload, &inc); err != nil {
			return nil, fmt.Errorf("read the incident: %w", err)
		}
		if step > 0 {
			shorten(&inc, step, r.c.MaxMessage)
		}
		v, err := r.render(&inc, n)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		if len(v) <= room {
			return v, nil
		}
		if step == steps {
			return nil, fmt.Errorf("the incident has %d bytes without its lists and evidence, more than the %d of max_message", len(v), r.c.MaxMessage)
		}
	}
}

func (r *Receiver) render(inc *alerting.Incident, n alerting.Notification) ([]byte, error) {
	if r.c.Format == OCSF {
		return json.Marshal(ocsf.Of(inc, ocsf.Context{Key: n.Key, Cause: n.Cause, Made: n.Made, Version: r.c.Version}))
	}
	data, err := json.Marshal(inc)
	if err != nil {
		return nil, err
	}
	return json.Marshal(body{typeIncident, n.Made.UTC(), n.Cause, data})
}

// steps is how many times shorten can take more away.
const steps = 4

// shorten takes from an incident what is longest and matters least. Totals stay
// what they are.
func shorten(inc *alerting.Incident, step, limit int) {
	text := [...]int{0, 256, 128, 0, 0}[step]
	list := [...]int{0, 25, 10, 3, 0}[step]
	inc.Limits = append(inc.Limits, fmt.Sprintf("shortened to fit a message of %d bytes: lists and evidence are not whole, totals are", limit))
	if text == 0 {
		inc.Evidence = []alerting.Evidence{}
	}
	for i := range inc.Evidence {
		inc.Evidence[i].Text = cut(inc.Evidence[i].Text, text)
	}
	for _, l := range []*[]string{&inc.Sources, &inc.Accounts, &inc.Routes, &inc.Principals, &inc.Methods, &inc.Children} {
		*l = (*l)[:min(list, len(*l))]
		for i, s := range *l {
			(*l)[i] = cut(s, 256)
		}
	}
	inc.Statuses = inc.Statuses[:min(list, len(inc.Statuses))]
	inc.Rules = inc.Rules[:min(list, len(inc.Rules))]
	inc.SilencedBy = inc.SilencedBy[:min(list, len(inc.SilencedBy))]
	inc.InhibitedBy = inc.InhibitedBy[:min(list, len(inc.InhibitedBy))]
	inc.Digest = inc.Digest[:min(list, len(inc.Digest))]
	inc.Actions = inc.Actions[len(inc.Actions)-min(list, len(inc.Actions)):] // the latest
	if step < 3 {
		return
	}
	for name, value := range inc.Group {
		inc.Group[name] = cut(value, 128)
	}
	inc.Message = cut(inc.Message, 512)
	inc.Rule.Title = cut(inc.Rule.Title, 256)
	inc.Rule.Tags = inc.Rule.Tags[:min(5, len(inc.Rule.Tags))]
}

// cut bounds a text to about n bytes, between two characters, with a mark.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n]) + fmt.Sprintf("... %d bytes more", len(s)-n)
}
