package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// backend is a Backend of fixed answers.
type backend struct {
	incidents []*alerting.Incident
	status    Status
	reload    error
	err       error
}

func (b *backend) Incidents(context.Context) ([]*alerting.Incident, error) { return b.incidents, b.err }
func (b *backend) Status() Status                                          { return b.status }
func (b *backend) Reload(context.Context) error                            { return b.reload }

// start runs a server for the test and returns its base URL.
func start(t *testing.T, b Backend, listen string) *Server {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "gatewatch_up 1\n") })
	s, err := New(Options{Listen: listen, Backend: b, Metrics: metrics})
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

func ask(t *testing.T, s *Server, method, path string, change func(*http.Request)) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("the answer has a CORS header")
	}
	return answer{resp.StatusCode, strings.TrimSpace(string(body))}
}

func incident(id, family, state string, level observation.Level, first int64) *alerting.Incident {
	return &alerting.Incident{ID: id, Family: family, State: state, Level: level, FirstSeen: time.Unix(first, 0).UTC()}
}

func TestAnswers(t *testing.T) {
	b := &backend{
		incidents: []*alerting.Incident{
			incident("c", "traffic", alerting.StateOpen, observation.High, 20),
			incident("b", "credential", alerting.StateResolved, observation.Low, 20),
			incident("a", "credential", alerting.StateOpen, observation.Medium, 30),
		},
		status: Status{Ready: false, Reasons: []string{"no checkpoint yet"}},
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
	f("GET", "/nothing", 404, `{"error":"there is nothing here; see /healthz, /readyz, /metrics, /api/v1/status and /api/v1/incidents"}`)
	f("GET", "/api/v1/incidents/zzz", 404, `{"error":"there is no incident with this id"}`)
	f("GET", "/api/v1/incidents?states=open", 400, `{"error":"there is no parameter \"states\"; there are state, level, family and limit"}`)
	f("GET", "/api/v1/incidents?state=closed", 400, `{"error":"state is \"closed\"; write open or resolved"}`)
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
		got := make([]string, 0, len(list.Incidents))
		for _, i := range list.Incidents {
			got = append(got, i.ID)
		}
		if diff := cmp.Diff(ids, got); diff != "" || list.Total != total {
			t.Errorf("%s: total %d, ids (-want +got):\n%s", query, list.Total, diff)
		}
	}
	g("", 3, "b", "c", "a")
	g("?state=open", 2, "c", "a")
	g("?level=medium&family=credential", 1, "a")
	g("?limit=1", 3, "a")

	if a := ask(t, s, "GET", "/api/v1/incidents/b", nil); a.Code != 200 || !strings.Contains(a.Body, `"id":"b"`) {
		t.Errorf("one incident: %+v", a)
	}
	var status Status
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
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://gatewatch/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || !bytes.Contains(body, []byte(`"ready":true`)) {
		t.Errorf("answer %d %s", resp.StatusCode, body)
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
