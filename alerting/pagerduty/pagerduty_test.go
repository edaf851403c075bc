package pagerduty

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

const routingKey = "0123456789abcdef0123456789abcdef"

// fake answers as the Events API v2 does.
type fake struct {
	events []event
	status map[string]string // of alerts, by dedup_key
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var e event
	var faults []string
	if err := json.Unmarshal(b, &e); err != nil {
		faults = append(faults, err.Error())
	}
	if e.RoutingKey != routingKey {
		faults = append(faults, "'routing_key' is invalid")
	}
	if !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.Action) {
		faults = append(faults, "'event_action' is invalid")
	}
	if len(e.Key) > 255 || len(b) > 512<<10 {
		faults = append(faults, "too long")
	}
	if e.Action == "trigger" && (e.Payload == nil || e.Payload.Summary == "" || e.Payload.Source == "" ||
		utf8.RuneCountInString(e.Payload.Summary) > 1024 || !slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity)) {
		faults = append(faults, "'payload' is invalid")
	}
	if faults != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": faults})
		return
	}
	f.events = append(f.events, e)
	switch {
	case e.Action == "trigger" && f.status[e.Key] != "acknowledged":
		f.status[e.Key] = "triggered"
	case e.Action == "acknowledge" && f.status[e.Key] != "":
		f.status[e.Key] = "acknowledged"
	case e.Action == "resolve":
		delete(f.status, e.Key)
	}
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "success", "message": "Event processed", "dedup_key": e.Key})
}

func newFake(t *testing.T) (*fake, *Receiver) {
	f := &fake{status: map[string]string{}}
	r, err := New(Config{
		Name: "pd", RoutingKey: alerting.Secret(routingKey), URL: alerting.Secret(receivertest.Server(t, f.ServeHTTP).URL),
		Severities: map[observation.Level]string{observation.Low: "warning"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return f, r
}

func TestLife(t *testing.T) {
	f, r := newFake(t)
	inc := receivertest.Incident("203.0.113.7")
	step := func(cause alerting.Cause, want string, change func()) {
		t.Helper()
		change()
		inc.Revision++
		if res := r.Notify(t.Context(), receivertest.Note(t, inc, cause)); res.Err != nil {
			t.Fatal(res.Err)
		}
		if got := f.status[inc.ID]; got != want {
			t.Errorf("%s: want the alert %q, got %q", cause, want, got)
		}
	}
	step(alerting.CauseOpened, "triggered", func() {})
	e := f.events[0]
	if e.Key != inc.ID || e.Payload.Severity != "error" || e.Payload.Group != "credential" || e.Payload.Timestamp != "2026-11-19T06:38:01Z" ||
		e.Payload.Summary != "HIGH: Flood of failed logins from one client: 203.0.113.7" {
		t.Errorf("got %+v, %+v", e, e.Payload)
	}
	want := "1,486 requests in 18 min, 211 accounts, POST 203.0.113.7, mostly status 401"
	if diff := cmp.Diff(want, e.Payload.Details["what"]); diff != "" {
		t.Errorf("what (-want +got):\n%s", diff)
	}
	step(alerting.CauseGrew, "triggered", func() { inc.Count++ })
	step(alerting.CauseAcknowledged, "acknowledged", func() { inc.State = alerting.StateAcknowledged })
	step(alerting.CauseGrew, "acknowledged", func() { inc.Count++ })
	step(alerting.CauseResolved, "", func() { inc.State = alerting.StateResolved })
	step(alerting.CauseReopened, "triggered", func() { inc.State = alerting.StateOpen })
	step(alerting.CauseSilenced, "acknowledged", func() { inc.State = alerting.StateSilenced })
	step(alerting.CauseFalsePositive, "", func() { inc.State, inc.FalsePositive = alerting.StateOpen, true })
	step(alerting.CauseReopened, "triggered", func() { inc.FalsePositive = false })
	step(alerting.CauseParent, "", func() { inc.Parent = "feedfeedfeedfeed" })
	step(alerting.CauseTest, "", func() { inc.Parent, inc.Test = "", true })
	if n := len(f.events); f.events[n-2].Action != "trigger" || f.events[n-1].Action != "resolve" {
		t.Error("a test is not triggered and resolved")
	}
}

func TestSeverities(t *testing.T) {
	f, r := newFake(t)
	var got []string
	for _, l := range []observation.Level{observation.Informational, observation.Low, observation.Medium, observation.High, observation.Critical} {
		inc := receivertest.Incident("x")
		inc.Level = l
		if res := r.Notify(t.Context(), receivertest.Note(t, inc, alerting.CauseOpened)); res.Err != nil {
			t.Fatal(res.Err)
		}
		got = append(got, f.events[len(f.events)-1].Payload.Severity)
	}
	if diff := cmp.Diff([]string{"info", "warning", "warning", "error", "critical"}, got); diff != "" {
		t.Errorf("severities (-want +got):\n%s", diff)
	}
}

func TestRefusalIsExplained(t *testing.T) {
	f, r := newFake(t)
	_ = f
	r.c.RoutingKey = alerting.Secret("another-key-of-somebody-else")
	res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if res.Err == nil || res.Retry || !strings.Contains(res.Err.Error(), "'routing_key' is invalid") {
		t.Errorf("got %+v", res)
	}
}

func TestHostile(t *testing.T) {
	f, r := newFake(t)
	for _, p := range hostile.Payloads(t) {
		inc := receivertest.Hostile(p.Text)
		if res := r.Notify(t.Context(), receivertest.Note(t, inc, alerting.CauseOpened)); res.Err != nil {
			t.Fatalf("%.100q: %v", p.Text, res.Err)
		}
		b, err := json.Marshal(f.events[len(f.events)-1])
		if err != nil {
			t.Fatal(err)
		}
		var check func(v any)
		check = func(v any) {
			switch v := v.(type) {
			case string:
				if strings.ContainsAny(v, "<>&`\x1b\r\n\u202e") || strings.Contains(v, "://") {
					t.Errorf("%.100q came as %.200q", p.Text, v)
				}
			case map[string]any:
				for _, e := range v {
					check(e)
				}
			case []any:
				for _, e := range v {
					check(e)
				}
			}
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		check(v)
		if len(b) > 64<<10 {
			t.Errorf("%.100q: %d bytes", p.Text, len(b))
		}
	}
}

func TestTrouble(t *testing.T) {
	receivertest.HTTP(t, func(t testing.TB, address, caFile string) alerting.Receiver {
		r, err := New(Config{
			Name: "pd", RoutingKey: alerting.Secret(routingKey), URL: alerting.Secret(address),
			Timeout: receivertest.Timeout, TLS: endpoint.TLS{CAFile: caFile},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}, (&fake{status: map[string]string{}}).ServeHTTP, routingKey)
}

func TestBadConfiguration(t *testing.T) {
	for want, c := range map[string]Config{
		"no name":        {RoutingKey: alerting.Secret("x")},
		"no routing_key": {Name: "pd"},
		"holds blanks":   {Name: "pd", RoutingKey: alerting.Secret("a b")},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if r, err := New(Config{Name: "pd", RoutingKey: alerting.Secret("x")}); err != nil || r.Name() != "pd" || !r.Keeps() || r.Folds() {
		t.Errorf("got %v", err)
	}
}
