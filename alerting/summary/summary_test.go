package summary

import (
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	inc := receivertest.Incident("203.0.113.7")
	inc.Routes, inc.RoutesTotal = []string{"/login"}, 1
	inc.Evidence = inc.Evidence[:1]
	want := Summary{
		Headline: "HIGH: Flood of failed logins from one client: 203.0.113.7",
		Title:    "Flood of failed logins from one client", Who: "203.0.113.7", News: "New",
		Line: "1,486 requests in 18 min, 211 accounts, POST /login, mostly status 401",
		Facts: []Fact{
			{"Client", []string{"203.0.113.7"}, 0},
			{"Requests", []string{"1,486 (status 401 × 1,480, 200 × 6)"}, 0},
			{"Routes", []string{"POST /login"}, 0},
			{"Accounts", []string{"203.0.113.7", "ann", "bob"}, 208},
			{"Principals", []string{"203.0.113.7"}, 0},
			{"First seen", []string{"2026-11-19 06:20:00 UTC"}, 0},
			{"Last seen", []string{"2026-11-19 06:38:00 UTC"}, 0},
			{"Also", []string{"Attack tool by its user agent"}, 0},
			{"Known as", []string{"ATT&CK T1110", "OWASP API2:2023"}, 0},
			{"Incident", []string{"654adc8f559de823"}, 0},
		},
		Evidence: []Evidence{{"/var/log/nginx/access.log:12", "203.0.113.7"}},
		Notes:    []string{"totals of accounts are estimates", "request and response bodies are not in the log"},
	}
	if diff := cmp.Diff(want, Of(&inc, alerting.CauseOpened)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if got := want.Facts[3].Text(); got != "203.0.113.7, ann, bob and 208 more" {
		t.Errorf("text %q", got)
	}
}

func TestNews(t *testing.T) {
	until := time.Date(2026, 11, 19, 8, 0, 0, 0, time.UTC)
	f := func(cause alerting.Cause, change func(*alerting.Incident), want string) {
		t.Helper()
		inc := receivertest.Incident("x")
		if change != nil {
			change(&inc)
		}
		if got := Of(&inc, cause).News; got != want {
			t.Errorf("%s: want %q, got %q", cause, want, got)
		}
	}
	acted := func(kind alerting.ActionKind, comment string) func(*alerting.Incident) {
		return func(inc *alerting.Incident) {
			inc.Actions = []alerting.Action{{Action: alerting.ActionAcknowledge, By: "zoe"}, {Action: kind, By: "ann", Comment: comment}}
		}
	}
	f(alerting.CauseOpened, nil, "New")
	f(alerting.CauseLevel, nil, "Level is now high")
	f(alerting.CauseGrew, nil, "It goes on")
	f(alerting.CauseRepeat, nil, "Still open")
	f(alerting.CauseReopened, nil, "It has begun again")
	f(alerting.CauseResolved, nil, "Resolved: it has stopped after 18 min")
	f(alerting.CauseResolved, acted(alerting.ActionResolve, ""), "Resolved by ann")
	f(alerting.CauseAcknowledged, acted(alerting.ActionAcknowledge, "looking"), "Acknowledged by ann: looking")
	f(alerting.CauseFalsePositive, acted(alerting.ActionFalsePositive, ""), "Marked as a false positive by ann")
	f(alerting.CauseSilenced, func(inc *alerting.Incident) { inc.SilencedUntil = &until }, "Silenced until 2026-11-19 08:00:00 UTC")
	f(alerting.CauseSilenced, nil, "Silenced")
	f(alerting.CauseUnsilenced, nil, "No longer silenced, and still open")
	f(alerting.CauseParent, func(inc *alerting.Incident) { inc.Parent = "p" }, "Belongs to incident p, which tells of it from now on")
	f(alerting.CauseParent, nil, "Stands alone again")
	f(alerting.CauseTest, nil, "This is a test. Nothing has happened")
	f(alerting.CauseDigest, nil, "Several incidents at once")
	f("other", nil, "")
}

func TestWho(t *testing.T) {
	f := func(want string, inc alerting.Incident) {
		t.Helper()
		if got := Who(&inc); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	}
	group := func(pairs ...string) alerting.Incident {
		inc := alerting.Incident{Group: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			inc.Group[pairs[i]] = pairs[i+1]
		}
		return inc
	}
	f("203.0.113.7", group("client.address", "203.0.113.7"))
	f("account ann", group("auth.account", "ann"))
	f("principal k", group("principal", "k"))
	f("/login", group("http.route", "/login"))
	f("many others", group("client.address", "*"))
	f("203.0.113.7, host a", group("client.address", "203.0.113.7", "server.address", "a"))
	f("203.0.113.7, agent curl/8", group("client.address", "203.0.113.7", "user_agent.original", "curl/8"))
	f("203.0.113.7, gateway.pop x", group("client.address", "203.0.113.7", "gateway.pop", "x"))
	f("1,200 sources", alerting.Incident{SourcesTotal: 1200})
	f("203.0.113.7", alerting.Incident{Sources: []string{"203.0.113.7"}, SourcesTotal: 1})
	f("", alerting.Incident{})
	f("", alerting.Incident{Message: "state was damaged", Group: map[string]string{"kind": "x"}})
}

func TestDigest(t *testing.T) {
	at := time.Date(2026, 11, 19, 6, 20, 0, 0, time.UTC)
	inc := alerting.Incident{Rule: alerting.RuleRef{Title: "2 incidents"}, Level: observation.High, Digest: []alerting.DigestEntry{
		{ID: "a", Title: "Flood", Level: observation.High, State: alerting.StateOpen, Group: map[string]string{"client.address": "192.0.2.1"}, Count: 1, FirstSeen: at, LastSeen: at},
		{ID: "b", Title: "Scan", Level: observation.Low, State: alerting.StateResolved, Count: 2000, FirstSeen: at, LastSeen: at.Add(time.Hour)},
	}}
	got := Of(&inc, alerting.CauseDigest)
	want := []Entry{{"HIGH: Flood: 192.0.2.1", "1 request", "a"}, {"LOW: Scan", "2,000 requests in 1 h, resolved", "b"}}
	if diff := cmp.Diff(want, got.Entries); diff != "" || got.Facts != nil || got.Headline != "HIGH: 2 incidents" {
		t.Errorf("%q (-want +got):\n%s", got.Headline, diff)
	}
}

func TestOfGatewatchItself(t *testing.T) {
	inc := alerting.Incident{Rule: alerting.RuleRef{Title: "State file was damaged"}, Level: observation.High, Message: "It is now x.", Subject: "gatewatch"}
	got := Of(&inc, alerting.CauseOpened)
	if got.Headline != "HIGH: State file was damaged" || got.Line != "It is now x." {
		t.Errorf("got %+v", got)
	}
}

func TestHedges(t *testing.T) {
	inc := receivertest.Incident("x")
	inc.Order, inc.LateOnly, inc.Limits = "approximate", true, nil
	got := Of(&inc, alerting.CauseOpened)
	if !strings.HasPrefix(got.Line, "about 1,486 requests") || len(got.Notes) != 3 {
		t.Errorf("got %q, %q", got.Line, got.Notes)
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := Number(n); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 s", 45 * time.Second: "45 s", 60 * time.Second: "1 min", 90 * time.Second: "1 min 30 s", 18*time.Minute + 20*time.Second: "18 min",
		time.Hour: "1 h", 72 * time.Minute: "1 h 12 min", 76 * time.Hour: "3 d 4 h", 48 * time.Hour: "2 d",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%s: want %s, got %s", d, want, got)
		}
	}
}
