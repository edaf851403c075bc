package slack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/alerting/slack/fakeslack"
)

// newHang is a server that never answers, until over is closed.
func newHang(t testing.TB, over chan struct{}) string {
	return receivertest.Server(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}).URL + "/api/"
}

// takeHook reads a post as an incoming webhook does.
func takeHook(t testing.TB, r *http.Request) (*fakeslack.Message, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var m fakeslack.Message
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	return &m, fakeslack.CheckMessage(&m)
}

func hook(t testing.TB, address string) *Receiver {
	t.Helper()
	r, err := New(Config{Name: "team", WebhookURL: alerting.Secret(address), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r.posts = newPace(0, 1)
	t.Cleanup(r.Close)
	return r
}

func TestHook(t *testing.T) {
	var got []*fakeslack.Message
	s := receivertest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		m, err := takeHook(t, r)
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		got = append(got, m)
		_, _ = io.WriteString(w, "ok")
	})
	r := hook(t, s.URL)
	if r.Keeps() || !r.Folds() {
		t.Error("an incoming webhook posts, and people read it")
	}
	inc := receivertest.Incident("203.0.113.7")
	for _, cause := range []alerting.Cause{alerting.CauseOpened, alerting.CauseResolved, alerting.CauseTest} {
		if res := r.Notify(t.Context(), receivertest.Note(t, inc, cause)); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if len(got) != 3 || !strings.Contains(got[0].Reading(), "/var/log/nginx/access.log:12") || strings.Contains(got[0].Reading(), "access.log:15") {
		t.Errorf("%d posts, the first %s", len(got), got[0].Reading())
	}
	for _, p := range hostile.Payloads(t) {
		if res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Hostile(p.Text), alerting.CauseGrew)); res.Err != nil {
			t.Fatalf("%.100q: %v", p.Text, res.Err)
		}
	}
}

func TestHookTrouble(t *testing.T) {
	receivertest.HTTP(t, func(t testing.TB, address, caFile string) alerting.Receiver {
		r, err := New(Config{
			Name: "team", WebhookURL: alerting.Secret(address + "/services/T0/B0/s3cret-of-the-webhook"),
			Timeout: receivertest.Timeout, TLS: endpoint.TLS{CAFile: caFile},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}, func(w http.ResponseWriter, r *http.Request) {
		if _, err := takeHook(t, r); err != nil {
			t.Error(err)
		}
	}, "s3cret-of-the-webhook")
}

func TestHookErrors(t *testing.T) {
	n := receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened)
	for code, want := range map[string]string{
		"no_service": "make a new one", "channel_not_found": "make a new webhook", "channel_is_archived": "archived", "action_prohibited": "does not let", "something": "something",
	} {
		s := receivertest.Server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, code)
		})
		if res := hook(t, s.URL).Notify(t.Context(), n); res.Retry || res.Err == nil || !strings.Contains(res.Err.Error(), want) {
			t.Errorf("%s: %+v", code, res)
		}
	}
	calls := 0
	s := receivertest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "invalid_blocks")
			return
		}
		m, err := takeHook(t, r)
		if err != nil || len(m.Blocks) > 0 {
			t.Errorf("%v, %s", err, m.Blocks)
		}
	})
	if res := hook(t, s.URL).Notify(t.Context(), n); res.Err != nil || calls != 2 {
		t.Errorf("blocks refused: %+v after %d calls", res, calls)
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Second, 3)
		began := time.Now()
		for i := range 10 {
			if _, err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := time.Duration(max(0, i-2)) * time.Second; time.Since(began) != want {
				t.Errorf("call %d came after %s, want %s", i, time.Since(began), want)
			}
		}
		time.Sleep(time.Hour)
		began = time.Now()
		for range 3 {
			_, _ = p.wait(t.Context())
		}
		if time.Since(began) != 0 {
			t.Error("after a rest three may go at once")
		}
		p.hold(30 * time.Second)
		p.hold(time.Second) // the longer holds
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if late, err := p.wait(ctx); !errors.Is(err, errNotYet) || late != 30*time.Second || time.Since(began) != 0 {
			t.Errorf("got %s, %v after %s", late, err, time.Since(began))
		}
		stopped, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if _, err := p.wait(stopped); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := p.wait(t.Context()); err != nil || time.Since(began) < 30*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}
