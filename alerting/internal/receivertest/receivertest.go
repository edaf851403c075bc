// Package receivertest tries receivers with what the world has in store for
// them. It is for tests alone.
package receivertest

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
)

// Incident returns an incident with every field, and value wherever a client
// has a say.
func Incident(value string) alerting.Incident {
	at := time.Date(2026, 11, 19, 6, 20, 0, 0, time.UTC)
	inc := alerting.Incident{
		ID: "654adc8f559de823", Family: "credential", State: alerting.StateOpen, Subject: "client",
		Rule: alerting.RuleRef{
			ID: "a3ec2b91-5a9b-4c43-8e0f-0a3c9ad1a001", Title: "Flood of failed logins from one client",
			Level: observation.High, Tags: []string{"attack.t1110", "owasp.api2-2023"},
		},
		Group: map[string]string{"client.address": value}, FirstSeen: at, DetectedAt: at.Add(time.Minute), LastSeen: at.Add(18 * time.Minute),
		Count: 1486, Level: observation.High, Revision: 1,
		Sources: []string{value}, Accounts: []string{value, "ann", "bob"}, Routes: []string{value}, Principals: []string{value},
		SourcesTotal: 1, AccountsTotal: 211, RoutesTotal: 1, PrincipalsTotal: 1,
		Methods: []string{"POST"}, Statuses: []alerting.StatusCount{{Status: 401, Count: 1480}, {Status: 200, Count: 6}},
		Limits: []string{"request and response bodies are not in the log"}, Estimated: []string{"accounts"},
	}
	inc.Rules = []alerting.RuleCount{
		{ID: inc.Rule.ID, Title: inc.Rule.Title, Level: inc.Level, Count: inc.Count, DetectedAt: inc.DetectedAt},
		{ID: "b", Title: "Attack tool by its user agent", Level: observation.Medium, Count: 12, DetectedAt: at},
	}
	for i := range 8 {
		inc.Evidence = append(inc.Evidence, alerting.Evidence{Line: int64(12 + i), File: "/var/log/nginx/access.log", Text: value})
	}
	return inc
}

// Hostile is Incident with value in what most incidents lack too: what rules group
// by, accounts that were entered, what a baseline saw, what people wrote.
func Hostile(value string) alerting.Incident {
	inc := Incident(value)
	for _, field := range []string{"user_agent.original", "url.path", "server.address"} {
		inc.Group[field] = value
	}
	inc.Entered, inc.Basis = []string{value, "ann"}, []string{value}
	inc.Actions = []alerting.Action{{Action: alerting.ActionAcknowledge, By: value, Comment: value, At: inc.LastSeen}}
	inc.Acknowledged = &inc.Actions[0]
	return inc
}

// Note returns the notification of an incident's revision.
func Note(t testing.TB, inc alerting.Incident, cause alerting.Cause) alerting.Notification {
	t.Helper()
	payload, err := json.Marshal(inc)
	if err != nil {
		t.Fatal(err)
	}
	return alerting.Notification{
		Key: fmt.Sprintf("%s/%d", inc.ID, inc.Revision), Incident: inc.ID, Revision: inc.Revision, Cause: cause,
		Made: inc.LastSeen.Add(time.Second), Payload: payload,
	}
}

// Server starts a server that is closed at the end, without its complaints.
func Server(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// CAFile writes the certificate of a TLS server to a file and returns its path.
func CAFile(t testing.TB, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Timeout is long enough for a handshake on a machine that is busy with other tests.
const Timeout = 2 * time.Second

// Make makes the receiver under test: for an address, trusting the authority
// in caFile where that is not empty, with Timeout.
type Make func(t testing.TB, address, caFile string) alerting.Receiver

// HTTP tries a receiver with servers that misbehave in every way, and with ok,
// which answers as the real one does. hidden are texts that no error may hold;
// the receiver is to have been made with them.
func HTTP(t *testing.T, make Make, ok http.HandlerFunc, hidden ...string) {
	n := Note(t, Incident("203.0.113.7"), alerting.CauseOpened)
	notify := func(t *testing.T, address, caFile string) alerting.Result {
		t.Helper()
		begin := time.Now()
		res := make(t, address, caFile).Notify(t.Context(), n)
		if took := time.Since(begin); took > 10*Timeout {
			t.Errorf("took %s", took)
		}
		if res.Err != nil {
			for _, secret := range hidden {
				if strings.Contains(res.Err.Error(), secret) || strings.Contains(fmt.Sprintf("%#v", res.Err), secret) {
					t.Errorf("%q is in %q", secret, res.Err)
				}
			}
			if len(res.Err.Error()) > 2000 {
				t.Errorf("the error has %d bytes", len(res.Err.Error()))
			}
		}
		return res
	}
	t.Run("statuses", func(t *testing.T) { statuses(t, notify) })
	t.Run("good", func(t *testing.T) {
		if res := notify(t, Server(t, ok).URL, ""); res.Err != nil || res.Reason != alerting.ReasonOK {
			t.Errorf("got %+v", res)
		}
	})
	t.Run("own authority", func(t *testing.T) {
		s := httptest.NewUnstartedServer(ok)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		if res := notify(t, s.URL, CAFile(t, s)); res.Err != nil {
			t.Errorf("got %+v", res)
		}
		if res := notify(t, s.URL, ""); !res.Retry || res.Reason != alerting.ReasonTLS {
			t.Errorf("an authority that is not known: got %+v", res)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		elsewhere := Server(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
		res := notify(t, Server(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/x", http.StatusTemporaryRedirect)
		}).URL, "")
		if res.Err == nil || res.Retry || res.Reason != alerting.ReasonRedirect {
			t.Errorf("got %+v", res)
		}
	})
	t.Run("echo", func(t *testing.T) {
		res := notify(t, Server(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintln(w, r.URL, r.Header)
			_, _ = w.Write(b)
		}).URL, "")
		if res.Err == nil || res.Retry {
			t.Errorf("got %+v", res)
		}
	})
	t.Run("never ends", func(t *testing.T) {
		notify(t, Server(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for i := 0; r.Context().Err() == nil && i < 4096; i++ {
				if _, err := w.Write([]byte(strings.Repeat("x", 4096))); err != nil {
					return
				}
			}
		}).URL, "")
	})
	t.Run("ten megabytes of success", func(t *testing.T) {
		chunk := []byte(strings.Repeat("x", 64<<10))
		address := Server(t, func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil && i < 160; i++ {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}).URL
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res := notify(t, address, "")
		runtime.ReadMemStats(&after)
		if res.Err != nil && res.Reason == alerting.ReasonOK {
			t.Errorf("got %+v", res)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 6<<20 {
			t.Errorf("%d bytes were taken for it", n)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := Server(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
		})
		if res := make(t, s.URL, "").Notify(ctx, n); !res.Retry || res.Reason != alerting.ReasonCanceled {
			t.Errorf("got %+v", res)
		}
	})
	t.Run("trouble", func(t *testing.T) { trouble(t, notify) })
}

func statuses(t *testing.T, notify func(*testing.T, string, string) alerting.Result) {
	for _, status := range []int{200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 425, 429, 500, 501, 502, 503, 504, 529} {
		s := Server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		})
		res := notify(t, s.URL, "")
		want := alerting.Result{Reason: alerting.ReasonClientError}
		switch {
		case status < 300:
			want.Reason = alerting.ReasonOK
		case status == 429:
			want = alerting.Result{Retry: true, After: 7 * time.Second, Reason: alerting.ReasonRateLimited}
		case status == 408, status == 425:
			want.Retry, want.After = true, 7*time.Second
		case status >= 500:
			want = alerting.Result{Retry: true, After: 7 * time.Second, Reason: alerting.ReasonServerError}
		}
		if (res.Err == nil) != (status < 300) || res.Retry != want.Retry || res.After != want.After || res.Reason != want.Reason {
			t.Errorf("%d: got %+v", status, res)
		}
		if res.Err != nil && !strings.Contains(res.Err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: want the status in %q", status, res.Err)
		}
	}
}

// trouble is what ends without an answer that can be read.
func trouble(t *testing.T, notify func(*testing.T, string, string) alerting.Result) {
	raw := func(say string) *httptest.Server {
		return Server(t, func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, say)
			if say == "" {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			_ = c.Close()
		})
	}
	over := make(chan struct{})
	hang := Server(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) }) // before the server's own Close
	closed := Server(t, nil)
	closed.Close()
	plain := Server(t, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		address string
		want    []alerting.Reason
	}{
		"hang":                     {hang.URL, []alerting.Reason{alerting.ReasonTimeout}},
		"refused":                  {closed.URL, []alerting.Reason{alerting.ReasonConnection}},
		"reset":                    {raw("").URL, []alerting.Reason{alerting.ReasonConnection}},
		"no HTTP":                  {raw("SSH-2.0-OpenSSH_9.9\r\n").URL, []alerting.Reason{alerting.ReasonOther, alerting.ReasonConnection}},
		"half an answer":           {raw("HTTP/1.1 500 In").URL, []alerting.Reason{alerting.ReasonConnection, alerting.ReasonOther}},
		"no TLS where it is asked": {strings.Replace(plain.URL, "http:", "https:", 1), []alerting.Reason{alerting.ReasonTLS, alerting.ReasonOther}},
		"no such host":             {"http://no-such-host.invalid", []alerting.Reason{alerting.ReasonConnection, alerting.ReasonTimeout}},
	} {
		t.Run(name, func(t *testing.T) {
			res := notify(t, c.address, "")
			found := false
			for _, r := range c.want {
				found = found || r == res.Reason
			}
			if res.Err == nil || !res.Retry || !found {
				t.Errorf("want %v to be tried again, got %+v", c.want, res)
			}
		})
	}
}
