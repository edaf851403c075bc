package api

import (
	"encoding/json"
	"errors"
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

// body makes a request one with JSON.
func body(text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json")
		r.Body = http.NoBody
		if text != "" {
			r.Body = readCloser{strings.NewReader(text)}
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// socket is a path for a Unix socket; t.TempDir may be too long for one.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "gw.sock")
}

func TestActions(t *testing.T) {
	b := &backend{incidents: []*alerting.Incident{incident("a", "traffic", alerting.StateOpen, observation.High, 20)}}
	s := start(t, b, "unix:"+socket(t))
	f := func(path, text string, code int, want string) {
		t.Helper()
		if a := ask(t, s, "POST", path, body(text)); a.Code != code || !strings.Contains(a.Body, want) {
			t.Errorf("%s %s: want %d %s, got %+v", path, text, code, want, a)
		}
	}
	for _, what := range []string{"acknowledge", "resolve", "false-positive"} {
		path := "/api/v1/incidents/a/" + what
		b.err = nil
		f(path, `{"by":"ann","comment":"ours"}`, 200, `"id":"a"`)
		f("/api/v1/incidents/b/"+what, `{"by":"ann"}`, 404, "none with this id")
		f(path, ``, 400, "the body is empty")
		f(path, `{"by":"ann"} {}`, 400, "something follows the object")
		f(path, `{"who":"ann"}`, 400, `unknown field`)
		f(path, `{"by":"`+strings.Repeat("a", maxBody)+`"}`, 413, "larger than 262144 bytes")
		if a := ask(t, s, "POST", path, nil); a.Code != 415 {
			t.Errorf("want JSON asked for, got %+v", a)
		}
		b.err = alerting.ErrConflict
		f(path, `{"by":"ann"}`, 409, "too late")
		b.err = alerting.ErrInvalid
		f(path, `{"by":"ann"}`, 400, "not possible")
		b.err = errors.New("stopping")
		f(path, `{"by":"ann"}`, 503, "could not be saved: stopping")
	}
	want := alerting.Act{Incident: "a", Action: alerting.ActionFalsePositive, By: "ann", Comment: "ours"}
	found := false
	for _, a := range b.acts {
		found = found || a == want
	}
	if !found {
		t.Errorf("want %+v among %+v", want, b.acts)
	}
}

func TestSilences(t *testing.T) {
	b := &backend{
		incidents: []*alerting.Incident{incident("a", "traffic", alerting.StateOpen, observation.High, 20)},
		silences: []alerting.Silence{
			{ID: "x", State: alerting.SilenceActive, Matchers: []alerting.Matcher{}}, {ID: "y", State: alerting.SilenceExpired, Matchers: []alerting.Matcher{}},
		},
	}
	s := startWith(t, Options{Listen: "unix:" + socket(t), Backend: b, CheckLabel: func(name string) error {
		if name == "lvel" {
			return errors.New("did you mean level?")
		}
		return nil
	}})
	add := func(text string, code int, want string) {
		t.Helper()
		if a := ask(t, s, "POST", "/api/v1/silences", body(text)); a.Code != code || !strings.Contains(a.Body, want) {
			t.Errorf("%s: want %d %s, got %+v", text, code, want, a)
		}
	}
	add(`{"matchers":["level<=high","family=traffic,rule=~\"a.*\""],"author":"ann","comment":"c","duration":"1d12h"}`, 201,
		`"matchers":["level\u003c=\"high\"","family=\"traffic\"","rule=~\"a.*\""]`)
	add(`{"incident":"a","author":"ann","start":"2026-05-02T00:00:00Z","end":"2026-05-03T00:00:00Z"}`, 201, `"end":"2026-05-03T00:00:00Z"`)
	add(`{"matchers":["level=high"],"author":"ann"}`, 400, "write either end or duration")
	add(`{"matchers":["level=high"],"author":"ann","duration":"1h","end":"2026-05-03T00:00:00Z"}`, 400, "write either end or duration")
	add(`{"author":"ann","duration":"1h"}`, 400, "write either matchers or incident")
	add(`{"matchers":["level"],"author":"ann","duration":"1h"}`, 400, "matchers[0]: column 6")
	add(`{"matchers":["lvel=high"],"author":"ann","duration":"1h"}`, 400, "did you mean level?")
	add(`{"matchers":["level=high"],"author":"ann","duration":"soon"}`, 400, `duration: \"soon\" is no duration`)
	add(`{"incident":"zzz","author":"ann","duration":"1h"}`, 404, "none with this id")
	add(`{"incident":"a","author":"`+strings.Repeat("a", maxBody)+`"}`, 413, "")
	if a := ask(t, s, "POST", "/api/v1/silences", nil); a.Code != 415 {
		t.Errorf("want JSON asked for, got %+v", a)
	}
	first, second := b.added[0], b.added[1]
	if !first.Start.Equal(now) || first.End.Sub(now) != 36*time.Hour || first.Author != "ann" || first.Comment != "c" {
		t.Errorf("by matchers: %+v", first)
	}
	var ms []string
	for _, m := range second.Matchers {
		ms = append(ms, m.String())
	}
	if diff := cmp.Diff([]string{`client.address="192.0.2.1"`, `level<="high"`}, ms); diff != "" {
		t.Errorf("by incident (-want +got):\n%s", diff)
	}

	get := func(path string, want ...string) {
		t.Helper()
		a := ask(t, s, "GET", path, nil)
		var list SilenceList
		if err := json.Unmarshal([]byte(a.Body), &list); err != nil || a.Code != 200 {
			t.Fatalf("%s: %+v", path, a)
		}
		var ids []string
		for _, x := range list.Silences {
			ids = append(ids, x.ID)
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	get("/api/v1/silences", "x", "y")
	get("/api/v1/silences?state=active", "x")
	get("/api/v1/silences?state=pending")
	if a := ask(t, s, "GET", "/api/v1/silences/y", nil); a.Code != 200 || !strings.Contains(a.Body, `"id":"y"`) {
		t.Errorf("one silence: %+v", a)
	}

	expire := func(id, text string, code int) {
		t.Helper()
		if a := ask(t, s, "POST", "/api/v1/silences/"+id+"/expire", body(text)); a.Code != code {
			t.Errorf("expire %s: want %d, got %+v", id, code, a)
		}
	}
	expire("x", `{"by":"bob"}`, 200)
	expire("z", `{"by":"bob"}`, 404)
	expire("x", `{`, 400)
	expire("x", `{"by":"`+strings.Repeat("a", maxBody)+`"}`, 413)
	if a := ask(t, s, "POST", "/api/v1/silences/x/expire", nil); a.Code != 415 {
		t.Errorf("want JSON asked for, got %+v", a)
	}
	b.err = alerting.ErrConflict
	expire("x", `{"by":"bob"}`, 409)
	b.err = errors.New("stopping")
	expire("x", `{"by":"bob"}`, 503)
	add(`{"matchers":["level=high"],"author":"ann","duration":"1h"}`, 503, "could not be saved")
	b.err = nil
}

// changes are all requests that change something or need to be allowed.
var changes = []struct{ method, path string }{
	{"POST", "/api/v1/incidents/a/acknowledge"},
	{"POST", "/api/v1/incidents/a/resolve"},
	{"POST", "/api/v1/incidents/a/false-positive"},
	{"POST", "/api/v1/silences"},
	{"POST", "/api/v1/silences/x/expire"},
}

var reads = []struct{ method, path string }{
	{"GET", "/api/v1/status"},
	{"GET", "/api/v1/incidents"},
	{"GET", "/api/v1/incidents/a"},
	{"GET", "/api/v1/silences"},
	{"GET", "/api/v1/silences/x"},
	{"POST", "/-/reload"},
}

func TestWhoMayDoWhat(t *testing.T) {
	b := &backend{
		incidents: []*alerting.Incident{incident("a", "traffic", alerting.StateOpen, observation.High, 20)},
		silences:  []alerting.Silence{{ID: "x", State: alerting.SilenceActive, Matchers: []alerting.Matcher{}}},
	}
	show := func(header string) func(*http.Request) {
		return func(r *http.Request) {
			body(`{"by":"ann"}`)(r)
			if header != "" {
				r.Header.Set("Authorization", header)
			}
		}
	}
	const denied, forbidden, done = 401, 403, 0 // done is anything else
	f := func(s *Server, method, path, header string, want int) {
		t.Helper()
		got := ask(t, s, method, path, show(header)).Code
		if want == done && (got == denied || got == forbidden) || want != done && got != want {
			t.Errorf("%s %s with %q: want %d, got %d", method, path, header, want, got)
		}
	}
	open := startWith(t, Options{Listen: "127.0.0.1:0", Backend: b})
	closed := startWith(t, Options{Listen: "127.0.0.1:0", Backend: b, Token: token("s3cret-s3cret-s3cret")})
	local := startWith(t, Options{Listen: "unix:" + socket(t), Backend: b, Token: token("s3cret-s3cret-s3cret")})
	for _, c := range changes {
		f(open, c.method, c.path, "", forbidden)
		f(open, c.method, c.path, "Bearer anything", forbidden)
	}
	for _, c := range reads {
		f(open, c.method, c.path, "", done)
	}
	for _, c := range append(changes, reads...) {
		f(closed, c.method, c.path, "", denied)
		f(closed, c.method, c.path, "Bearer s3cret", denied)
		f(closed, c.method, c.path, "Basic s3cret-s3cret-s3cret", denied)
		f(closed, c.method, c.path, "s3cret-s3cret-s3cret", denied)
		f(closed, c.method, c.path, "Bearer s3cret-s3cret-s3cret", done)
		f(closed, c.method, c.path, "bearer s3cret-s3cret-s3cret", done)
		f(local, c.method, c.path, "", done)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/openapi.yaml"} {
		f(closed, "GET", path, "", done)
	}
	broken := startWith(t, Options{Listen: "127.0.0.1:0", Backend: b, Token: token("")})
	if a := ask(t, broken, "GET", "/api/v1/incidents", nil); a.Code != 503 || !strings.Contains(a.Body, "cannot be read") {
		t.Errorf("want a token that cannot be read to keep everybody out, got %+v", a)
	}
	for _, c := range []string{"/api/v1/incidents/a/resolve", "/-/reload"} {
		a := ask(t, local, "POST", c, func(r *http.Request) {
			body(`{"by":"x"}`)(r)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		})
		if a.Code != 403 {
			t.Errorf("want a page of another origin refused, got %+v", a)
		}
	}
}

func TestHosts(t *testing.T) {
	b := &backend{status: Status{Ready: true}}
	f := func(s *Server, host string, want int) {
		t.Helper()
		if a := ask(t, s, "GET", "/healthz", func(r *http.Request) { r.Host = host }); a.Code != want {
			t.Errorf("Host %q: want %d, got %+v", host, want, a)
		}
	}
	open := startWith(t, Options{Listen: "0.0.0.0:0", Backend: b, Hosts: []string{"gw.example.com"}})
	f(open, "10.0.0.7:9377", 200)
	f(open, "[2001:db8::1]", 200)
	f(open, "gw.example.com:9377", 200)
	f(open, "GW.example.com", 200)
	f(open, "localhost", 200)
	f(open, "evil.example", 421)
	f(open, "gw.example.com.evil.example", 421)
	f(open, "10.0.0.7.evil.example", 421)
	local := startWith(t, Options{Listen: "127.0.0.1:0", Backend: b, Hosts: []string{"gw.example.com"}})
	f(local, "gw.example.com", 200)
	f(local, "10.0.0.7:9377", 421)
}

func TestTwoListeners(t *testing.T) {
	b := &backend{incidents: []*alerting.Incident{incident("a", "traffic", alerting.StateOpen, observation.High, 20)}}
	path := socket(t)
	s := startWith(t, Options{Listen: "127.0.0.1:0", Socket: path, Backend: b})
	local := &Server{ends: s.ends[1:]}
	if a := ask(t, local, "POST", "/api/v1/incidents/a/resolve", body(`{"by":"ann"}`)); a.Code != 200 {
		t.Errorf("by the socket: %+v", a)
	}
	if a := ask(t, s, "GET", "/api/v1/incidents/a", nil); a.Code != 200 {
		t.Errorf("by the network: %+v", a)
	}
	if _, err := New(Options{Listen: "127.0.0.1:0", Socket: path, Backend: b}); err == nil {
		t.Error("want an error for a socket that is taken")
	}
}

func TestParseDuration(t *testing.T) {
	f := func(text string, want time.Duration, ok bool) {
		t.Helper()
		got, err := ParseDuration(text)
		if got != want || (err == nil) != ok {
			t.Errorf("%s: want %s, got %s, %v", text, want, got, err)
		}
	}
	f("30m", 30*time.Minute, true)
	f("3d", 72*time.Hour, true)
	f("1w2d3h4m", 9*24*time.Hour+3*time.Hour+4*time.Minute, true)
	f("", 0, false)
	f("0d", 0, false)
	f("-1h", 0, false)
	f("1d-1h", 0, false)
	f("d", 0, false)
	f("5", 0, false)
	f("99999999d", 0, false)
	f("9999w9999w9999w", 0, false)
	f("9999d2000000h", 0, false)
}

func FuzzParseDuration(f *testing.F) {
	f.Add("1d12h")
	f.Add("w")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d <= 0 {
			t.Errorf("%q is %s", text, d)
		}
	})
}
