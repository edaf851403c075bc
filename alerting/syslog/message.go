package syslog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

const (
	// Limits of RFC 5424, section 6.
	maxHostname, maxAppName, maxMsgID = 255, 48, 32

	maxParam = 256
	maxSaid  = 1024
)

// severity is that of RFC 5424 for a level.
func severity(l observation.Level) int {
	switch {
	case l >= observation.Critical:
		return 2 // critical
	case l >= observation.High:
		return 3 // error
	case l >= observation.Medium:
		return 4 // warning
	case l >= observation.Low:
		return 5 // notice
	default:
		return 6 // informational
	}
}

// format returns the whole message, without its frame, in at most c.MaxSize
// bytes.
func (c *Config) format(n alerting.Notification) ([]byte, error) {
	var inc alerting.Incident
	if err := json.Unmarshal(n.Payload, &inc); err != nil {
		return nil, fmt.Errorf("read the incident: %w", err)
	}
	head := fmt.Appendf(nil, "<%d>1 %s %s %s %s %s ", facilities[c.Facility]*8+severity(inc.Level),
		n.Made.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), escape.SyslogToken(c.Hostname, maxHostname),
		escape.SyslogToken(c.AppName, maxAppName), "-", escape.SyslogToken(string(n.Cause), maxMsgID))
	head = append(head, c.structured(&inc, n)...)
	head = append(head, ' ')
	if c.JSON {
		return c.appendJSON(head, &inc, n)
	}
	return append(head, said(&inc, n.Cause, min(maxSaid, c.MaxSize-len(head)))...), nil
}

// said is the incident in one line. What is not ASCII begins with a byte order mark, as the RFC
// wants it.
func said(inc *alerting.Incident, cause alerting.Cause, limit int) string {
	s := summary.Of(inc, cause)
	parts := []string{s.Headline, s.News, s.Line}
	for _, e := range s.Entries {
		parts = append(parts, e.Headline+": "+e.Line)
	}
	text := escape.Text(strings.Join(nonEmpty(parts), ". "), max(limit-3, 1))
	for i := range len(text) {
		if text[i] >= 0x80 {
			return "\ufeff" + text
		}
	}
	return text
}

func nonEmpty(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// structured is the element that programs read.
func (c *Config) structured(inc *alerting.Incident, n alerting.Notification) string {
	var b strings.Builder
	b.WriteString("[gatewatch@" + strconv.Itoa(c.Enterprise))
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, ` %s="%s"`, name, escape.SyslogParam(value, maxParam))
		}
	}
	add("key", n.Key)
	add("incident", inc.ID)
	add("cause", string(n.Cause))
	add("level", inc.Level.String())
	add("state", inc.State)
	add("family", inc.Family)
	add("rule", inc.Rule.ID)
	add("count", strconv.FormatInt(inc.Count, 10))
	add("firstSeen", stamp(inc.FirstSeen))
	add("lastSeen", stamp(inc.LastSeen))
	add("client", inc.Group["client.address"])
	add("account", inc.Group["auth.account"])
	add("principal", inc.Group["principal"])
	add("parent", inc.Parent)
	if inc.Test {
		add("test", "true")
	}
	b.WriteByte(']')
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// body is the message in JSON.
type body struct {
	Key   string             `json:"key"`
	Cause alerting.Cause     `json:"cause"`
	Data  *alerting.Incident `json:"data"`
	// Shortened says that lists were left out for want of room.
	Shortened bool `json:"shortened,omitempty"`
}

// appendJSON appends the incident, with as much of its lists as there is room
// for. JSON that is cut would be no JSON.
func (c *Config) appendJSON(head []byte, inc *alerting.Incident, n alerting.Notification) ([]byte, error) {
	b := body{Key: n.Key, Cause: n.Cause, Data: inc}
	for step := range 4 {
		switch step {
		case 1:
			b.Shortened, inc.Evidence, inc.Digest = true, inc.Evidence[:min(1, len(inc.Evidence))], inc.Digest[:min(10, len(inc.Digest))]
		case 2:
			inc.Evidence, inc.Digest, inc.Limits, inc.Children, inc.Actions = nil, nil, nil, nil, nil
			for _, list := range []*[]string{&inc.Sources, &inc.Accounts, &inc.Routes, &inc.Principals} {
				*list = (*list)[:min(3, len(*list))]
			}
		case 3:
			b.Data = &alerting.Incident{
				ID: inc.ID, Family: inc.Family, Rule: inc.Rule, State: inc.State, Count: inc.Count, Level: inc.Level,
				FirstSeen: inc.FirstSeen, DetectedAt: inc.DetectedAt, LastSeen: inc.LastSeen, Revision: inc.Revision,
			}
		}
		text, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		text = escape.InertJSON(text)
		if len(head)+len(text) <= c.MaxSize || step == 3 {
			return append(head, text...), nil
		}
	}
	return head, nil
}
