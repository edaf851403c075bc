package ruletest

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// part reads one text with how it is repeated. repeat and start may be nil.
func (r *reader) part(log, repeat, start *yaml.Node, begin time.Time) Part {
	p := Part{Start: begin, Times: 1}
	var ok bool
	if p.Log, ok = r.text(log, "log"); ok && strings.TrimSpace(p.Log) == "" {
		r.fault(log, "write the lines under log: |", "the log has no line")
	}
	if start != nil {
		p.Start = r.time(start, "start", begin)
	}
	if repeat == nil {
		return p
	}
	var times, every *yaml.Node
	before := len(r.problems)
	r.fields(repeat, "repeat", map[string]func(*yaml.Node){
		"times": func(n *yaml.Node) { times = n },
		"every": func(n *yaml.Node) { every = n },
	})
	if len(r.problems) > before {
		return p
	}
	if times == nil || every == nil {
		r.fault(repeat, "write {times: 40, every: 5s}", "repeat needs times and every")
		return p
	}
	if n, ok := r.number(times, "times", maxTimes); ok {
		p.Times = int(n)
	}
	text, ok := r.text(every, "every")
	if !ok {
		return p
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		r.fault(every, "write a number and a unit, such as 500ms, 5s, 2m or 1h", "%q is no duration", text)
	case d < 0:
		r.fault(every, "let time go forward", "every must not be negative")
	case d > maxSpan/time.Duration(p.Times):
		r.fault(repeat, "repeat less often", "the repeated lines span more than five years")
	default:
		p.Every = d
	}
	return p
}

// text reads one value of any type as it is written.
func (r *reader) text(n *yaml.Node, key string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		r.fault(n, "write one value after it", "%s must be a text", key)
		return "", false
	}
	return n.Value, true
}

func (r *reader) number(n *yaml.Node, key string, most int64) (int64, bool) {
	text, ok := r.text(n, key)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 1 || v > most {
		r.fault(n, "write a number from 1 to "+strconv.FormatInt(most, 10), "%s is %q", key, text)
		return 0, false
	}
	return v, true
}

// time reads a moment, or reports it and returns otherwise. Years are bounded
// so that no arithmetic with them runs over.
func (r *reader) time(n *yaml.Node, key string, otherwise time.Time) time.Time {
	text, ok := r.text(n, key)
	if !ok {
		return otherwise
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1971 || t.Year() > 2199 {
		r.fault(n, "write it like 2026-11-23T10:00:00Z, with a year from 1971 to 2199", "%s is %q", key, text)
		return otherwise
	}
	return t.UTC()
}

func (r *reader) expect(n *yaml.Node, c *Case) {
	if n.Kind == yaml.ScalarNode && n.Value == "none" {
		return
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fault(n, "write none, or a list of incidents", "expect must say which incidents are opened")
		return
	}
	for _, k := range n.Content {
		c.Expect = append(c.Expect, r.expected(k))
	}
}

func (r *reader) expected(n *yaml.Node) Expected {
	x := Expected{Line: n.Line}
	before := len(r.problems)
	r.fields(n, "an expected incident", map[string]func(*yaml.Node){
		"rule":        func(n *yaml.Node) { x.Rule = r.word(n, "rule") },
		"level":       func(n *yaml.Node) { x.Level = r.level(n) },
		"family":      func(n *yaml.Node) { x.Family = r.word(n, "family") },
		"group":       func(n *yaml.Node) { x.Group = r.group(n) },
		"rules":       func(n *yaml.Node) { x.Rules = r.words(n, "rules", "titles or ids", "[One rule, Another rule]") },
		"count":       func(n *yaml.Node) { x.Count, _ = r.number(n, "count", 1_000_000_000) },
		"first_seen":  func(n *yaml.Node) { x.FirstSeen = r.time(n, "first_seen", time.Time{}) },
		"detected_at": func(n *yaml.Node) { x.DetectedAt = r.time(n, "detected_at", time.Time{}) },
		"last_seen":   func(n *yaml.Node) { x.LastSeen = r.time(n, "last_seen", time.Time{}) },
		"sources":     func(n *yaml.Node) { x.Sources = r.sources(n) },
		"accounts":    func(n *yaml.Node) { x.Accounts = r.words(n, "accounts", "names", "[anna, ben]") },
		"shadow":      func(n *yaml.Node) { x.Shadow = r.yesNo(n, "shadow") },
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 && len(r.problems) == before {
		r.fault(n, "name at least its rule", "an expected incident without keys would be any incident")
	}
	return x
}

// word is a text that is not empty: an empty one would not be compared.
func (r *reader) word(n *yaml.Node, key string) string {
	s, ok := r.text(n, key)
	if ok && s == "" {
		r.fault(n, "write one value after it", "%s is empty", key)
	}
	return s
}

func (r *reader) level(n *yaml.Node) *observation.Level {
	text, ok := r.text(n, "level")
	if !ok {
		return nil
	}
	l := new(observation.Level)
	if err := l.UnmarshalText([]byte(text)); err != nil {
		r.fault(n, "write informational, low, medium, high or critical", "%q is no level", text)
		return nil
	}
	return l
}

// words reads a list of texts, none of them empty.
func (r *reader) words(n *yaml.Node, key, what, example string) []string {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fault(n, "write them as "+example, "%s must be a list of %s", key, what)
		return nil
	}
	out := make([]string, 0, len(n.Content))
	for _, k := range n.Content {
		out = append(out, r.word(k, key))
	}
	return out
}

// sources reads a list of addresses, which may be empty: none are listed.
func (r *reader) sources(n *yaml.Node) []string {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return []string{}
	}
	return r.words(n, "sources", "addresses", "[203.0.113.7, 2001:db8::1]")
}

func (r *reader) yesNo(n *yaml.Node, key string) *bool {
	text, ok := r.text(n, key)
	if !ok {
		return nil
	}
	if text != "true" && text != "false" {
		r.fault(n, "write true or false", "%s is %q", key, text)
		return nil
	}
	yes := text == "true"
	return &yes
}

func (r *reader) group(n *yaml.Node) map[string]string {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.fault(n, "write it like {client.address: 203.0.113.7}", "group must be a map of fields and values")
		return nil
	}
	out := map[string]string{}
	for _, kv := range pairs(n) {
		name := kv.key.Value
		if _, known := event.Lookup(name); !known {
			hint := didYouMean(name, event.FieldNames())
			if hint == "" {
				hint = "write a field of events, such as client.address"
			}
			r.fault(kv.key, hint, "there is no field %q", name)
		}
		out[name] = r.word(kv.value, name)
	}
	return out
}
