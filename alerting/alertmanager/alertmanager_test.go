package alertmanager

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

// fake is an Alertmanager as far as its API v2 takes and shows alerts.
type fake struct {
	t      *testing.T
	mu     sync.Mutex
	alerts map[string]alert // by labels
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func key(labels map[string]string) string {
	b, _ := json.Marshal(labels) // sorted
	return string(b)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path != "/am/api/v2/alerts" {
		http.Error(w, `{"code":404,"message":"path `+r.URL.Path+` was not found"}`, http.StatusNotFound)
		return
	}
	if r.Method == http.MethodGet {
		filter := r.URL.Query().Get("filter")
		var out []alert
		for _, a := range f.alerts {
			if filter == `incident="`+a.Labels["incident"]+`"` && a.EndsAt.After(time.Now()) {
				out = append(out, a)
			}
		}
		_ = json.NewEncoder(w).Encode(out)
		return
	}
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "unsupported media type", http.StatusUnsupportedMediaType)
		return
	}
	b, _ := io.ReadAll(r.Body)
	var list []alert
	if err := json.Unmarshal(b, &list); err != nil {
		http.Error(w, `"`+err.Error()+`"`, http.StatusBadRequest)
		return
	}
	for _, a := range list {
		// What Alertmanager itself checks.
		bad := len(a.Labels) == 0 || a.StartsAt.IsZero() || a.EndsAt.Before(a.StartsAt)
		for name, value := range a.Labels {
			bad = bad || !labelName.MatchString(name) || !utf8.ValidString(value) || value == ""
		}
		for name, value := range a.Annotations {
			bad = bad || !labelName.MatchString(name) || !utf8.ValidString(value)
		}
		if bad {
			f.t.Errorf("not acceptable: %+v", a)
			http.Error(w, `"bad alert"`, http.StatusBadRequest)
			return
		}
		f.alerts[key(a.Labels)] = a
	}
}

// firing returns the alerts that have not ended.
func (f *fake) firing() []alert {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []alert
	for _, a := range f.alerts {
		if a.EndsAt.After(time.Now()) {
			out = append(out, a)
		}
	}
	return out
}

func newFake(t *testing.T) (*fake, *Receiver) {
	f := &fake{t: t, alerts: map[string]alert{}}
	s := receivertest.Server(t, f.ServeHTTP)
	r, err := New(Config{Name: "am", URL: alerting.Secret(s.URL + "/am"), Labels: map[string]string{"team": "api"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return f, r
}

func send(t *testing.T, r *Receiver, inc alerting.Incident, cause alerting.Cause) {
	t.Helper()
	if res := r.Notify(t.Context(), receivertest.Note(t, inc, cause)); res.Err != nil {
		t.Fatal(res.Err)
	}
}

// TestLife: there is one alert while the incident is open, with its level, and
// none afterwards.
func TestLife(t *testing.T) {
	f, r := newFake(t)
	inc := receivertest.Incident("203.0.113.7")
	inc.Level, inc.Revision = observation.Medium, 1
	send(t, r, inc, alerting.CauseOpened)
	got := f.firing()
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	want := map[string]string{
		"alertname": "GatewatchIncident", "incident": inc.ID, "severity": "medium", "family": "credential",
		"rule": inc.Rule.ID, "client_address": "203.0.113.7", "team": "api",
	}
	if diff := cmp.Diff(want, got[0].Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	a := got[0].Annotations
	if !strings.HasPrefix(a["summary"], "MEDIUM: Flood of failed logins from one client: 203.0.113.7") ||
		!strings.Contains(a["description"], "1,486 requests in 18 min") || strings.Count(a["evidence"], "\n") != 7 {
		t.Errorf("annotations %v", a)
	}
	if !got[0].StartsAt.Equal(inc.DetectedAt) || got[0].EndsAt.Before(time.Now().Add(47*time.Hour)) {
		t.Errorf("from %s to %s", got[0].StartsAt, got[0].EndsAt)
	}
	inc.Level, inc.Revision = observation.Critical, 2
	inc.Rule.ID = "other"
	send(t, r, inc, alerting.CauseLevel)
	if got := f.firing(); len(got) != 1 || got[0].Labels["severity"] != "critical" || got[0].Labels["rule"] != "other" {
		t.Errorf("after the level rose: %+v", got)
	}
	inc.State, inc.ResolvedAt, inc.Revision = alerting.StateResolved, &inc.LastSeen, 3
	send(t, r, inc, alerting.CauseResolved)
	if got := f.firing(); len(got) != 0 {
		t.Errorf("after it was resolved: %+v", got)
	}
	inc.State, inc.ResolvedAt, inc.Revision = alerting.StateOpen, nil, 4
	send(t, r, inc, alerting.CauseReopened)
	if got := f.firing(); len(got) != 1 {
		t.Errorf("after it was reopened: %+v", got)
	}
	inc.Parent, inc.Revision = "feedfeedfeedfeed", 5
	send(t, r, inc, alerting.CauseParent)
	if got := f.firing(); len(got) != 0 {
		t.Errorf("as part of another: %+v", got)
	}
}

func TestStartsInTheFuture(t *testing.T) {
	f, r := newFake(t)
	inc := receivertest.Incident("x")
	inc.DetectedAt = time.Now().Add(time.Hour)
	send(t, r, inc, alerting.CauseOpened)
	if got := f.firing(); len(got) != 1 || got[0].StartsAt.After(time.Now()) {
		t.Errorf("got %+v", got)
	}
	inc = receivertest.Incident("y")
	inc.ID, inc.Test = "feedfeedfeedfeed", true
	send(t, r, inc, alerting.CauseTest)
	for _, a := range f.firing() {
		if a.Labels["incident"] == inc.ID && (a.Labels["test"] != "true" || a.EndsAt.After(time.Now().Add(2*time.Minute))) {
			t.Errorf("test: %+v", a)
		}
	}
}

// TestHostile: nothing that passes through Alertmanager's templates unescaped
// does anything in the chats and mails behind them.
func TestHostile(t *testing.T) {
	f, r := newFake(t)
	for _, p := range hostile.Payloads(t) {
		clear(f.alerts)
		send(t, r, receivertest.Hostile(p.Text), alerting.CauseOpened)
		got := f.firing()
		if len(got) != 1 {
			t.Fatalf("%.100q: %d alerts", p.Text, len(got))
		}
		texts := maps.Clone(got[0].Labels)
		maps.Copy(texts, got[0].Annotations)
		size := 0
		for name, text := range texts {
			size += len(text)
			if strings.ContainsAny(text, "<>&`\x1b\r\u202e") || strings.Contains(text, "://") || !utf8.ValidString(text) {
				t.Errorf("%.100q: %s is %.200q", p.Text, name, text)
			}
		}
		if size > 24<<10 {
			t.Errorf("%.100q: %d bytes", p.Text, size)
		}
	}
}

func TestTrouble(t *testing.T) {
	receivertest.HTTP(t, func(t testing.TB, address, caFile string) alerting.Receiver {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("gatewatch", "pa55word-of-am")
		r, err := New(Config{
			Name: "am", URL: alerting.Secret(u.String()), Timeout: receivertest.Timeout, TLS: endpoint.TLS{CAFile: caFile},
			Headers: map[string]endpoint.Secret{"X-Scope-OrgID": alerting.Secret("t3nant-of-am")},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}, func(http.ResponseWriter, *http.Request) {}, "pa55word-of-am", "t3nant-of-am")
}

func TestBadConfiguration(t *testing.T) {
	if _, err := New(Config{Name: "am", URL: alerting.Secret("https://x/"), Labels: map[string]string{"a.b": "c"}}); err == nil || !strings.Contains(err.Error(), "write a_b") {
		t.Errorf("got %v", err)
	}
}
