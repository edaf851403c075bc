package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

// maxBody bounds what a template makes, in bytes.
const maxBody = 1 << 20

// Data is what a template of a body sees.
type Data struct {
	Key      string         // "incident id/revision", the same for each attempt
	Cause    alerting.Cause // why this is sent, such as "opened" or "resolved"
	Made     time.Time
	Incident alerting.Incident
	Summary  summary.Summary // the incident in words
}

// Template is a body in the language of text/template over [Data]. Clients chose
// most of the texts in an incident, so each value goes through the function of the
// place where it lands: json, html, slack, markdown, csv, yaml or text; cut
// bounds one first. It may be used by many goroutines.
type Template struct{ t *template.Template }

// ParseTemplate reads a template and tries it with made-up incidents. A template
// that is to give JSON, by its content type, has to give valid JSON, and the same
// structure, also where values hold quotes, backslashes and line breaks. Errors
// say where in the template, and what to write instead.
func ParseTemplate(text, contentType string) (*Template, error) {
	t, err := template.New("body").Option("missingkey=error").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	out := &Template{t}
	if contentType != "" {
		if _, _, err := mime.ParseMediaType(contentType); err != nil {
			return nil, fmt.Errorf("content_type is none such as application/json: %w", err)
		}
	}
	return out, out.try(contentType == "" || isJSON(contentType))
}

// isJSON reports whether a content type is JSON.
func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// functions are those that a template has beside the ones of text/template.
func functions() template.FuncMap {
	text := func(f func(string, int) string) func(any) string {
		return func(v any) string { return f(plain(v), 0) }
	}
	return template.FuncMap{
		// json takes anything; a text becomes a string with its quotes.
		"json": func(v any) (string, error) {
			if s, ok := v.(string); ok {
				return escape.JSON(s, 0), nil
			}
			b, err := json.Marshal(v)
			return string(b), err
		},
		"html":     text(escape.HTML),
		"slack":    text(escape.Slack),
		"markdown": text(escape.Markdown),
		"csv":      text(escape.CSV),
		"yaml":     text(escape.YAML),
		"text":     text(escape.Text),
		// cut bounds a text to about n bytes, and says what is missing.
		"cut":   func(n int, v any) string { return escape.Text(plain(v), max(n, 1)) },
		"upper": func(v any) string { return strings.ToUpper(plain(v)) },
		"lower": func(v any) string { return strings.ToLower(plain(v)) },
		"join":  func(sep string, list []string) string { return strings.Join(list, sep) },
		"first": func(n int, list []string) []string { return list[:min(max(n, 0), len(list))] },
		"default": func(otherwise, v any) any {
			if r := reflect.ValueOf(v); !r.IsValid() || r.IsZero() {
				return otherwise
			}
			return v
		},
		"time": func(layout string, t time.Time) string { return t.UTC().Format(layout) },
		"unix": func(t time.Time) int64 { return t.Unix() },
	}
}

// plain is how a template prints a value.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case fmt.Stringer:
		return v.String()
	case []string:
		return strings.Join(v, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// render makes the body of one notification.
func (t *Template) render(n alerting.Notification) ([]byte, error) {
	d := Data{Key: n.Key, Cause: n.Cause, Made: n.Made.UTC()}
	if err := json.Unmarshal(n.Payload, &d.Incident); err != nil {
		return nil, fmt.Errorf("read the incident: %w", err)
	}
	return t.execute(d)
}

func (t *Template) execute(d Data) ([]byte, error) {
	d.Summary = summary.Of(&d.Incident, d.Cause)
	var w bounded
	if err := t.t.Execute(&w, d); err != nil {
		if errors.Is(err, errTooLarge) {
			return nil, fmt.Errorf("body: %w", errTooLarge)
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return w.b.Bytes(), nil
}

var errTooLarge = fmt.Errorf("the template makes more than %d bytes", maxBody)

// bounded is a buffer that a template without end cannot fill the memory with.
type bounded struct{ b bytes.Buffer }

func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > maxBody {
		return 0, errTooLarge
	}
	return w.b.Write(p)
}

// try renders made-up incidents: with every field, with as few as there may
// be, and with hostile values.
func (t *Template) try(wantJSON bool) error {
	var shapes []string
	for _, sample := range []struct{ name, value string }{
		{"", "plain"},
		{" whose texts hold quotes, backslashes and line breaks", "\"x\\y\n\u2028</script>'{{.}},\"a\":[1"},
	} {
		for _, full := range []bool{true, false} {
			out, err := t.execute(Sample(sample.value, full))
			if err != nil {
				return err
			}
			if !wantJSON {
				continue
			}
			shape, err := jsonShape(out)
			if err != nil {
				return fmt.Errorf("for an incident%s the template gives no valid JSON (%w): %.200q; put each value through json, as in {{json .Incident.Rule.Title}}", sample.name, err, out)
			}
			shapes = append(shapes, shape)
		}
	}
	if wantJSON && (shapes[0] != shapes[2] || shapes[1] != shapes[3]) {
		return errors.New("values of the incident change the structure of the JSON; put each value through json, as in {{json .Incident.Rule.Title}}")
	}
	return nil
}

// Sample returns an incident to try a template with, with the value wherever a
// client has a say: of all fields, or of those alone that are always there.
func Sample(value string, full bool) Data {
	at := time.Date(2026, 11, 19, 6, 20, 0, 0, time.UTC)
	end := at.Add(18 * time.Minute)
	inc := alerting.Incident{
		ID: "0123456789abcdef", Family: "credential", State: alerting.StateOpen, Subject: "client",
		Rule:  alerting.RuleRef{ID: "a3ec2b91-5a9b-4c43-8e0f-0a3c9ad1a001", Title: "Flood of failed logins from one client", Level: observation.High, Tags: []string{"attack.t1110"}},
		Group: map[string]string{}, FirstSeen: at, DetectedAt: at, LastSeen: end, Count: 1486, Level: observation.High, Revision: 1,
	}
	inc.Rules = []alerting.RuleCount{{ID: inc.Rule.ID, Title: inc.Rule.Title, Level: inc.Level, Count: inc.Count, DetectedAt: at}}
	if full {
		inc.State, inc.ResolvedAt = alerting.StateResolved, &end
		inc.Group["client.address"] = value
		inc.Sources, inc.Accounts, inc.Routes, inc.Principals = []string{value}, []string{value, value}, []string{value}, []string{value}
		inc.SourcesTotal, inc.AccountsTotal, inc.RoutesTotal, inc.PrincipalsTotal = 1, 2, 1, 1
		inc.Methods, inc.Statuses = []string{value}, []alerting.StatusCount{{Status: 401, Count: 1486}}
		inc.Evidence = []alerting.Evidence{{Line: 12, File: "/var/log/nginx/access.log", Text: value}}
		inc.Limits, inc.Message, inc.Parent = []string{"request and response bodies are not in the log"}, value, "fedcba9876543210"
	}
	return Data{Key: inc.ID + "/1", Cause: alerting.CauseOpened, Made: at, Incident: inc}
}

// jsonShape returns the structure of a JSON document: keys and kinds, without
// texts and numbers.
func jsonShape(text []byte) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("something follows it")
	}
	var b strings.Builder
	writeShape(&b, v)
	return b.String(), nil
}

func writeShape(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		// Keys may be values of the incident, such as those of group; how many
		// there are does not change.
		for _, k := range slices.Sorted(maps.Keys(v)) {
			writeShape(b, v[k])
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for _, e := range v {
			writeShape(b, e)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case string:
		b.WriteByte('s')
	default:
		b.WriteByte('v')
	}
}
