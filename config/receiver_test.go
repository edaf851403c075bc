package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

// TestReceivers reads one receiver of each type, with every key.
func TestReceivers(t *testing.T) {
	data, err := os.ReadFile("testdata/receivers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("receivers.yaml", "/etc/gw", data, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	hook := Secret{value: "https://hook.example/services/T0/s3cret"}
	want := []Receiver{
		{Name: "hook", Type: "webhook", Settings: &Webhook{
			HTTP: HTTP{
				URL: Secret{value: "https://hook.example/x"}, Timeout: 10 * time.Second, Proxy: Secret{value: "http://proxy.example:3128"},
				TLS: TLS{CAFile: "/etc/gw/ca.pem", CertFile: "/etc/tls/cert.pem", KeyFile: "/etc/tls/key.pem"},
			},
			Method: "PUT", ContentType: "application/json", Body: `{"text": {{json .Summary.Headline}}}`,
		}},
		{Name: "am", Type: "alertmanager", Settings: &Alertmanager{
			HTTP:      HTTP{URL: Secret{value: "http://am.example:9093"}, Timeout: 10 * time.Second, Headers: map[string]Secret{"X-Scope-OrgID": {value: "tenant"}}},
			AlertName: "ApiAttack", Labels: map[string]string{"team": "api"}, ExpireAfter: 12 * time.Hour, GeneratorURL: "https://gatewatch.example/",
		}},
		{Name: "mail", Level: observation.High, Type: "email", Settings: &Email{
			Server: "mail.example.com:465", Security: "implicit", Username: "gatewatch", Password: Secret{file: "/run/secrets/mail"},
			From: "gatewatch <gatewatch@example.com>", To: []string{"ops@example.com", "Sec <sec@example.com>"}, Hello: "gw1.example.com", Timeout: time.Minute,
		}},
		{Name: "script", Type: "exec", Settings: &Exec{
			Command: []string{"/usr/local/bin/notify", "--fast"}, Dir: "/etc/gw/work", Timeout: 5 * time.Second,
			Env: map[string]Secret{"TOKEN": hook, "KEY": {file: "/etc/gw/key.txt"}},
		}},
		{Name: "log", Type: "file", Settings: &File{Path: "/etc/gw/incidents.jsonl", MaxSize: 1 << 20, MaxAge: 24 * time.Hour, Keep: 30}},
		{Name: "pd", Type: "pagerduty", Settings: &PagerDuty{
			HTTP: HTTP{Timeout: 10 * time.Second}, RoutingKey: hook, Source: "shop",
			Severities: map[observation.Level]string{observation.Low: "warning", observation.Medium: "critical"},
		}},
		{Name: "chat", Type: "slack", Settings: &Slack{
			Token: Secret{value: "xoxb-1"}, Channel: "C0123ABCDEF", AppToken: Secret{file: "/etc/gw/app.txt"}, Users: []string{"U0ANN", "W0BOB"},
			APIURL: "https://slack-gov.com/api/", Timeout: 30 * time.Second, Proxy: Secret{value: "http://proxy.example:3128"},
		}},
		{Name: "siem", Type: "syslog", Settings: &Syslog{
			Network: "tls", Address: "siem.example.com:6514", TLS: TLS{CAFile: "/etc/gw/ca.pem"}, Timeout: 10 * time.Second, Facility: "auth",
			Hostname: "gw1", AppName: "gw", Enterprise: 4711, JSON: true, MaxSize: 16 << 10,
		}},
		{Name: "team", Type: "teams", Settings: &Teams{HTTP{URL: hook, Timeout: 20 * time.Second}}},
	}
	if diff := cmp.Diff(want, c.Receivers[:len(want)], compare); diff != "" {
		t.Errorf("receivers (-want +got):\n%s", diff)
	}
	types := map[string]bool{}
	for _, r := range c.Receivers {
		types[r.Type] = true
		if d := r.Settings.AttemptTimeout(); d < time.Second || d > 5*time.Minute {
			t.Errorf("%s: attempt timeout %s", r.Name, d)
		}
	}
	for _, rt := range receiverTypes() {
		if !types[rt.key] {
			t.Errorf("the file has no receiver of type %s", rt.key)
		}
	}
}

// TestReceiverExamples: what a message tells to write is right.
func TestReceiverExamples(t *testing.T) {
	env := func(name string) (string, bool) {
		if strings.HasSuffix(name, "_URL") {
			return "https://host.example/x", true
		}
		return "t0ken", true
	}
	for _, rt := range receiverTypes() {
		text := "allow_exec: true\nreceivers:\n  - name: a\n    " + rt.key + ": " + rt.example + "\n"
		if _, err := Parse("x.yaml", "/d", []byte(text), env); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTemplateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "body.tmpl")
	if err := os.WriteFile(path, []byte(`{"text": {{json .Key}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "receivers: [{name: a, webhook: {url: 'https://x.example/', body_file: body.tmpl}}]\n"
	c, err := Parse("x.yaml", dir, []byte(text), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Receivers[0].Settings.(*Webhook).Body; got != `{"text": {{json .Key}}}` {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(path, []byte("{\n{{.Kye}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Parse("x.yaml", dir, []byte(text), testEnv)
	if err == nil || !strings.Contains(err.Error(), "body_file body.tmpl: body:2:2") {
		t.Errorf("got %v", err)
	}
	_, err = Parse("x.yaml", t.TempDir(), []byte(text), testEnv)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
