package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/hostile"
)

const chatTemplate = `{
  "text": {{json .Summary.Headline}},
  "fields": [{{range $i, $f := .Summary.Facts}}{{if $i}},{{end}}{"name": {{json $f.Name}}, "value": {{json $f.Text}}}{{end}}],
  "markdown": {{markdown .Summary.Headline | json}},
  "count": {{.Incident.Count}}, "who": {{index .Incident.Group "client.address" | default "nobody" | json}},
  "sources": {{first 3 .Incident.Sources | json}}, "all": {{json .Incident}}, "at": {{time "15:04" .Made | json}}, "unix": {{unix .Made}}
}`

func TestTemplate(t *testing.T) {
	f := func(name, text, contentType, want string) {
		t.Helper()
		_, err := ParseTemplate(text, contentType)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: want an error with %q, got %v", name, want, err)
		}
	}
	f("chat", chatTemplate, "", "")
	f("other JSON", `{"a": {{json .Key}}}`, "application/vnd.example+json; charset=utf-8", "")
	f("text", `{{.Summary.Headline | text}}: {{cut 20 .Summary.Line}}`, "text/plain", "")
	f("functions", `{{html .Key}}{{slack .Cause}}{{csv .Incident.Level}}{{yaml .Incident.Routes}}{{upper .Key}}{{lower .Key}}{{join "," .Incident.Routes}}`, "text/plain", "")
	f("no JSON at all", `hello`, "", "no valid JSON")
	f("two documents", `{}{}`, "", "something follows it")
	f("bare value", `{"text": "{{.Incident.Rule.Title}} {{range .Incident.Accounts}}{{.}}{{end}}"}`, "", "put each value through json")
	f("value that adds a key", `{"a": 1{{range .Incident.Accounts}}, {{json .}}: 1{{end}}}`, "", "")
	f("syntax", "{\n{{.Summary", "", "body:2")
	f("no such field", "{{.Sumary}}", "text/plain", "body:1:2")
	f("no such function", "{{shout .Key}}", "text/plain", `function "shout" not defined`)
	f("content type", "x", "text plain", "content_type")
	f("no end", `{{range $i, $x := .Incident.Rules}}{{end}}{{define "x"}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{template "x" .}}{{end}}{{template "x" .}}`, "text/plain", "more than 1048576 bytes")
}

// TestHostileInTemplates: whatever clients send, the body is the JSON that its
// author meant, and their text is in it as text.
func TestHostileInTemplates(t *testing.T) {
	var body []byte
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { body, _ = io.ReadAll(r.Body) })
	r := receiver(t, s.URL, func(c *Config) { c.Body = chatTemplate })
	for _, p := range hostile.Payloads(t) {
		inc := Sample(p.Text, true).Incident
		payload, err := json.Marshal(inc)
		if err != nil {
			t.Fatal(err)
		}
		n := note()
		n.Payload, body = payload, nil
		if res := r.Notify(t.Context(), n); res.Err != nil {
			t.Errorf("%.100q: %v", p.Text, res.Err)
			continue
		}
		var got struct {
			Who, Text string
			All       alerting.Incident
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Errorf("%.100q: %v", p.Text, err)
		}
		var want alerting.Incident
		if err := json.Unmarshal(payload, &want); err != nil {
			t.Fatal(err)
		}
		if who := want.Group["client.address"]; who != "" && got.Who != who {
			t.Errorf("%.100q came as %.100q", who, got.Who)
		}
	}
}

func TestTemplateRequest(t *testing.T) {
	var method, kind, text string
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		method, kind, text = r.Method, r.Header.Get("Content-Type"), string(b)
	})
	r := receiver(t, s.URL, func(c *Config) {
		c.Method, c.ContentType, c.Body = "PUT", "text/plain; charset=utf-8", "{{.Key}} {{.Cause}} {{.Incident.ID}}"
	})
	if res := r.Notify(t.Context(), note()); res.Err != nil {
		t.Fatal(res.Err)
	}
	if method != "PUT" || kind != "text/plain; charset=utf-8" || text != "0123456789abcdef/3 grew 0123456789abcdef" {
		t.Errorf("got %s %s %q", method, kind, text)
	}
	if _, err := New(Config{Name: "a", URL: alerting.Secret("http://x/"), Method: "GET"}); err == nil || !strings.Contains(err.Error(), "POST, PUT or PATCH") {
		t.Errorf("GET: %v", err)
	}
	if _, err := New(Config{Name: "a", URL: alerting.Secret("http://x/"), Body: "{{"}); err == nil || !strings.Contains(err.Error(), "body") {
		t.Errorf("bad body: %v", err)
	}
}
