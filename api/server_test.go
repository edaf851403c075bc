package api

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

// doc is what every answer of every test is held against.
var doc = newDocument()

// TestMain fails when an answer is described that no test saw, where all tests ran.
func TestMain(m *testing.M) {
	code := m.Run()
	all := true
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list"} {
		all = all && flag.Lookup(name).Value.String() == ""
	}
	if code == 0 && all {
		for _, answer := range doc.Unseen() {
			fmt.Println("openapi.yaml describes an answer that no test saw:", answer)
			code = 1
		}
	}
	os.Exit(code)
}

// backend is a Backend of fixed answers.
type backend struct {
	incidents []*alerting.Incident
	shadow    []*alerting.Incident
	silences  []alerting.Silence
	status    Status
	reload    error
	err       error
	acts      []alerting.Act
	added     []alerting.Silence
}

func (b *backend) Incidents(context.Context) ([]*alerting.Incident, error) { return b.incidents, b.err }
func (b *backend) Status() Status                                          { return b.status }
func (b *backend) Reload(context.Context) error                            { return b.reload }

func (b *backend) ShadowIncidents(context.Context) ([]*alerting.Incident, error) {
	return b.shadow, b.err
}

func (b *backend) Act(_ context.Context, a alerting.Act) (*alerting.Incident, error) {
	b.acts = append(b.acts, a)
	for _, i := range b.incidents {
		if i.ID == a.Incident {
			return i, b.err
		}
	}
	return nil, fmt.Errorf("incident %s: %w", a.Incident, alerting.ErrNotFound)
}

func (b *backend) Silence(_ context.Context, s alerting.Silence) (alerting.Silence, error) {
	b.added = append(b.added, s)
	s.ID, s.State = "s1", alerting.SilenceActive
	return s, b.err
}

func (b *backend) Expire(_ context.Context, id, by string) (alerting.Silence, error) {
	for _, s := range b.silences {
		if s.ID == id {
			s.ExpiredBy = by
			return s, b.err
		}
	}
	return alerting.Silence{}, fmt.Errorf("silence %s: %w", id, alerting.ErrNotFound)
}

func (b *backend) Silences(context.Context) ([]alerting.Silence, error) { return b.silences, b.err }

// token is a fixed one.
type token string

func (t token) Read() (string, error) {
	if t == "" {
		return "", errors.New("no such file")
	}
	return string(t), nil
}

// start runs a server for the test.
func start(t *testing.T, b Backend, listen string) *Server {
	t.Helper()
	return startWith(t, Options{Listen: listen, Backend: b})
}

// now is the wall clock of the tests.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func startWith(t *testing.T, o Options) *Server {
	t.Helper()
	o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "gatewatch_up 1\n") })
	o.Now = func() time.Time { return now }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run did not return within five seconds")
		}
	})
	return s
}

type answer struct {
	Code int
	Body string
}

// ask asks and holds the answer against the document.
func ask(t *testing.T, s *Server, method, path string, change func(*http.Request)) answer {
	t.Helper()
	base, transport := "http://"+s.Addr(), &http.Transport{}
	if socket, ok := strings.CutPrefix(s.Addr(), "unix:"); ok {
		base = "http://gatewatch"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	bare, _, _ := strings.Cut(path, "?")
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge { // not ours
		if err := doc.Check(method, bare, resp.StatusCode, resp.Header.Get("Content-Type"), body); err != nil {
			t.Errorf("the answer and openapi.yaml do not agree: %v", err)
		}
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("the answer has a CORS header")
	}
	return answer{resp.StatusCode, strings.TrimSpace(string(body))}
}

func incident(id, family, state string, level observation.Level, first int64) *alerting.Incident {
	return &alerting.Incident{
		ID: id, Family: family, State: state, Level: level, FirstSeen: time.Unix(first, 0).UTC(), Subject: "client",
		Rule: alerting.RuleRef{Tags: []string{}}, Rules: []alerting.RuleCount{}, Group: map[string]string{"client.address": "192.0.2.1"},
		Sources: []string{}, Accounts: []string{}, Routes: []string{}, Evidence: []alerting.Evidence{{Line: 1}}, Principals: []string{},
		Methods: []string{}, Statuses: []alerting.StatusCount{{Status: 401, Count: 3}},
		Acknowledged: &alerting.Action{Action: alerting.ActionAcknowledge, By: "ann"}, SilencedUntil: &now,
		Actions: []alerting.Action{{Action: alerting.ActionFalsePositive, By: "ann", Comment: "ours"}},
	}
}

func TestAnswers(t *testing.T) {
	b := &backend{
		incidents: []*alerting.Incident{
			incident("c", "traffic", alerting.StateOpen, observation.High, 20),
			incident("b", "credential", alerting.StateResolved, observation.Low, 20),
			incident("a", "credential", alerting.StateOpen, observation.Medium, 30),
		},
		shadow: []*alerting.Incident{incident("d", "traffic", alerting.StateOpen, observation.High, 20)},
		status: Status{
			Ready: false, Reasons: []string{"no checkpoint yet"},
			Sources:   []Source{{State: "idle", Formats: map[string]int64{"json": 1}}, {State: "gone"}},
			Receivers: []Receiver{{Attempts: map[string]int64{"ok": 1}}, {}}, Rules: Rules{Windows: []RuleWindow{{ID: "x"}}},
		},
	}
	s := start(t, b, "127.0.0.1:0")

	f := func(method, path string, code int, body string) {
		t.Helper()
		if diff := cmp.Diff(answer{code, body}, ask(t, s, method, path, nil)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", method, path, diff)
		}
	}
	f("GET", "/healthz", 200, `{"status":"ok"}`)
	f("GET", "/readyz", 503, `{"ready":false,"reasons":["no checkpoint yet"]}`)
	f("GET", "/metrics", 200, "gatewatch_up 1")
	f("POST", "/-/reload", 200, `{"status":"reloaded"}`)
	f("GET", "/-/reload", 405, `{"error":"use POST"}`)
	f("DELETE", "/api/v1/incidents", 405, `{"error":"use GET"}`)
	f("POST", "/api/v1/incidents/a", 405, `{"error":"use GET"}`)
	f("PUT", "/api/v1/silences", 405, `{"error":"use GET or POST"}`)
	f("GET", "/nothing", 404, `{"error":"there is nothing here; /api/v1/openapi.yaml says what there is"}`)
	f("GET", "/api/v1/incidents/a?shadow=true", 404, `{"error":"there is no incident with this id"}`)
	f("GET", "/api/v1/incidents/a?shadow=1", 400, `{"error":"shadow is \"1\"; write true or false"}`)
	f("GET", "/api/v1/silences/zzz", 404, `{"error":"there is no silence with this id"}`)
	f("GET", "/api/v1/silences?state=quiet", 400, `{"error":"state is \"quiet\"; write active, pending or expired"}`)
	f("GET", "/api/v1/incidents/zzz", 404, `{"error":"there is no incident with this id"}`)
	f("GET", "/api/v1/incidents?states=open", 400, `{"error":"there is no parameter \"states\"; there is state, family, level, limit, shadow"}`)
	f("GET", "/api/v1/incidents?state=closed", 400, `{"error":"state is \"closed\"; write open, acknowledged, silenced, unresolved or resolved"}`)
	f("GET", "/api/v1/incidents?level=loud", 400, `{"error":"\"loud\" is no level; write informational, low, medium, high or critical"}`)
	f("GET", "/api/v1/incidents?limit=0", 400, `{"error":"limit is \"0\"; write a number from 1 to 1000000"}`)
	f("GET", "/api/v1/incidents?limit=1&limit=2", 400, `{"error":"\"limit\" is there 2 times; write it once"}`)

	g := func(query string, total int, ids ...string) {
		t.Helper()
		a := ask(t, s, "GET", "/api/v1/incidents"+query, nil)
		var list IncidentList
		if err := json.Unmarshal([]byte(a.Body), &list); err != nil {
			t.Fatalf("%s: %v in %s", query, err, a.Body)
		}
		var got []string
		for _, i := range list.Incidents {
			got = append(got, i.ID)
		}
		if diff := cmp.Diff(ids, got); diff != "" || list.Total != total {
			t.Errorf("%s: total %d, ids (-want +got):\n%s", query, list.Total, diff)
		}
	}
	g("", 3, "b", "c", "a")
	g("?state=open", 2, "c", "a")
	g("?state=unresolved", 2, "c", "a")
	g("?state=acknowledged", 0)
	g("?shadow=true", 1, "d")
	g("?level=medium&family=credential", 1, "a")
	g("?limit=1", 3, "a")

	if a := ask(t, s, "GET", "/api/v1/incidents/b", nil); a.Code != 200 || !strings.Contains(a.Body, `"id":"b"`) {
		t.Errorf("one incident: %+v", a)
	}
	var status Status
	if a := ask(t, s, "GET", "/api/v1/openapi.yaml", nil); a.Code != 200 || !strings.HasPrefix(a.Body, "openapi: 3") {
		t.Errorf("document: %d", a.Code)
	}
	if a := ask(t, s, "GET", "/api/v1/status", nil); a.Code != 200 || json.Unmarshal([]byte(a.Body), &status) != nil {
		t.Errorf("status: %+v", a)
	}
}

func TestFailures(t *testing.T) {
	b := &backend{err: errors.New("stopping"), reload: errors.New("gatewatch.yaml:1:1: no key \"x\""), status: Status{Ready: true}}
	s := start(t, b, "127.0.0.1:0")
	f := func(method, path string, code int, body string) {
		t.Helper()
		if diff := cmp.Diff(answer{code, body}, ask(t, s, method, path, nil)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", method, path, diff)
		}
	}
	f("GET", "/readyz", 200, `{"ready":true,"reasons":[]}`)
	f("GET", "/api/v1/incidents", 503, `{"error":"incidents could not be read: stopping"}`)
	f("GET", "/api/v1/incidents/a", 503, `{"error":"incidents could not be read: stopping"}`)
	f("GET", "/api/v1/silences", 503, `{"error":"silences could not be read: stopping"}`)
	f("GET", "/api/v1/silences/a", 503, `{"error":"silences could not be read: stopping"}`)
	f("POST", "/-/reload", 422, `{"error":"the configuration was refused, the old one stays: gatewatch.yaml:1:1: no key \"x\""}`)
}

func TestBrowsersAreRefused(t *testing.T) {
	s := start(t, &backend{status: Status{Ready: true}}, "127.0.0.1:0")
	host := func(h string, code int) {
		t.Helper()
		if a := ask(t, s, "GET", "/healthz", func(r *http.Request) { r.Host = h }); a.Code != code {
			t.Errorf("Host %q: want %d, got %+v", h, code, a)
		}
	}
	host("localhost:9377", 200)
	host("LOCALHOST", 200)
	host("127.0.0.9", 200)
	host("[::1]:80", 200)
	host("evil.example", 421)
	host("localhost.evil.example", 421)
	host("10.0.0.1:9377", 421)
	host("127.0.0.1.evil.example:9377", 421)

	origin := func(site, origin string, code int) {
		t.Helper()
		a := ask(t, s, "POST", "/-/reload", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", site)
			r.Header.Set("Origin", origin)
		})
		if a.Code != code {
			t.Errorf("reload from %s, %s: want %d, got %+v", site, origin, code, a)
		}
	}
	origin("cross-site", "https://evil.example", 403)
	origin("same-origin", "http://"+s.Addr(), 200)
}

func TestLargeHeadersAreRefused(t *testing.T) {
	s := start(t, &backend{}, "127.0.0.1:0")
	a := ask(t, s, "GET", "/healthz", func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("a", 64<<10)) })
	if a.Code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("want 431, got %d", a.Code)
	}
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "gw") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "gw.sock")

	// A socket file that nobody answers on, as a killed process leaves it.
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	s := start(t, &backend{status: Status{Ready: true}}, "unix:"+path)
	if want := "unix:" + path; s.Addr() != want {
		t.Errorf("Addr: want %s, got %s", want, s.Addr())
	}
	if a := ask(t, s, "GET", "/readyz", nil); a.Code != 200 || !strings.Contains(a.Body, `"ready":true`) {
		t.Errorf("answer %+v", a)
	}
	if _, err := New(Options{Listen: "unix:" + path, Backend: &backend{}}); err == nil {
		t.Error("a second server on a live socket: want an error")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v", info.Mode())
	}
}

func TestTakenPort(t *testing.T) {
	s := start(t, &backend{}, "127.0.0.1:0")
	if _, err := New(Options{Listen: s.Addr(), Backend: &backend{}}); err == nil || !strings.Contains(err.Error(), s.Addr()+": another program has this port") {
		t.Errorf("want an error that names the address, got %v", err)
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add("state=open&level=high&family=x&limit=5")
	f.Add("limit=-1")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseFilter(raw)
		if err == nil && (got.limit < 0 || got.limit > maxLimit) {
			t.Errorf("limit %d", got.limit)
		}
	})
}
