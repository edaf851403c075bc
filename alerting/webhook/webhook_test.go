package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
)

func note() alerting.Notification {
	return alerting.Notification{
		Key: "0123456789abcdef/3", Incident: "0123456789abcdef", Revision: 3, Cause: alerting.CauseGrew,
		Made: time.Unix(1_700_000_000, 0), Payload: []byte(`{"id":"0123456789abcdef","revision":3}`),
	}
}

func receiver(t *testing.T, address string, change func(*Config)) *Receiver {
	t.Helper()
	c := Config{Name: "ops", URL: alerting.Secret(address), Version: "1.2.3"}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// serve starts a server that is closed at the end, without its complaints.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestRequest(t *testing.T) {
	type got struct {
		Method, Path, ID, Agent, Type, Auth string
		Body                                string
	}
	raw := []byte("raw secret")
	decoded := []byte("decoded secret bytes")
	var seen got
	var signatures, timestamp string
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		signatures, timestamp = r.Header.Get("Webhook-Signature"), r.Header.Get("Webhook-Timestamp")
		seen = got{
			r.Method, r.URL.RequestURI(), r.Header.Get("webhook-id"), r.UserAgent(),
			r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(b),
		}
	})
	r := receiver(t, s.URL+"/hook?token=abc", func(c *Config) {
		c.Secrets = []Secret{alerting.Secret(raw), alerting.Secret("whsec_" + base64.StdEncoding.EncodeToString(decoded))}
		c.Headers = map[string]Secret{"Authorization": alerting.Secret("Bearer x")}
	})
	before := time.Now().Unix()
	if res := r.Notify(t.Context(), note()); res.Err != nil || res.Reason != alerting.ReasonOK {
		t.Fatalf("got %+v", res)
	}
	want := got{
		"POST", "/hook?token=abc", "0123456789abcdef/3", "gatewatch/1.2.3", "application/json", "Bearer x",
		`{"type":"incident.updated","timestamp":"2023-11-14T22:13:20Z","cause":"grew","data":{"id":"0123456789abcdef","revision":3}}`,
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if n, err := strconv.ParseInt(timestamp, 10, 64); err != nil || n < before || n > time.Now().Unix() {
		t.Errorf("want the time of the attempt, got %q", timestamp)
	}
	var wantSigned []string
	for _, key := range [][]byte{raw, decoded} {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", seen.ID, timestamp, seen.Body)
		wantSigned = append(wantSigned, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if diff := cmp.Diff(strings.Join(wantSigned, " "), signatures); diff != "" {
		t.Errorf("signatures (-want +got):\n%s", diff)
	}
}

// TestSignatureExample is the example of the Standard Webhooks specification.
func TestSignatureExample(t *testing.T) {
	key, err := signingKey("whsec_plJ3nmyCDGBKInavdOK15jsl")
	if err != nil {
		t.Fatal(err)
	}
	got := sign([][]byte{key}, "msg_loFOjxBNrRLzqYUf", "1731705121", []byte(`{"event_type":"ping","data":{"success":true}}`))
	if want := "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

func TestEveryStatus(t *testing.T) {
	var status int
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Location", "http://elsewhere.example/secret-path-of-theirs")
		w.WriteHeader(status)
	})
	r := receiver(t, s.URL, nil)
	ran := 0
	for status = 200; status < 600; status++ {
		if status == http.StatusSwitchingProtocols {
			continue
		}
		ran++
		res := r.Notify(t.Context(), note())
		wantOK, wantRetry, wantReason, wantAfter := false, false, alerting.ReasonClientError, time.Duration(0)
		switch {
		case status < 300:
			wantOK, wantReason = true, alerting.ReasonOK
		case status < 400:
			wantReason = alerting.ReasonRedirect
		case status == 429:
			wantRetry, wantReason, wantAfter = true, alerting.ReasonRateLimited, 7*time.Second
		case status == 408, status == 425:
			wantRetry, wantAfter = true, 7*time.Second
		case status >= 500:
			wantRetry, wantReason, wantAfter = true, alerting.ReasonServerError, 7*time.Second
		}
		if (res.Err == nil) != wantOK || res.Retry != wantRetry || res.Reason != wantReason || res.After != wantAfter {
			t.Errorf("%d: got %+v", status, res)
		}
		if !wantOK && !strings.Contains(res.Err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: want the status in %q", status, res.Err)
		}
	}
	if ran != 400 {
		t.Errorf("want 400 statuses tried, got %d", ran)
	}
}

func TestRedirectIsSaidClearly(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/token-of-theirs", http.StatusTemporaryRedirect)
	})
	res := receiver(t, s.URL, nil).Notify(t.Context(), note())
	if res.Retry || res.Reason != alerting.ReasonRedirect {
		t.Errorf("got %+v", res)
	}
	text := res.Err.Error()
	if !strings.Contains(text, elsewhere.URL) || !strings.Contains(text, "not followed") || strings.Contains(text, "token-of-theirs") {
		t.Errorf("got %q", text)
	}
}

func TestTroubleOnTheWay(t *testing.T) {
	f := func(name string, s *httptest.Server, change func(*Config), want alerting.Reason, wantText string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := receiver(t, s.URL, func(c *Config) {
				c.Timeout = receivertest.Timeout
				if change != nil {
					change(c)
				}
			})
			begin := time.Now()
			res := r.Notify(t.Context(), note())
			if res.Err == nil || !res.Retry || res.Reason != want {
				t.Fatalf("want %s to be tried again, got %+v", want, res)
			}
			if !strings.Contains(res.Err.Error(), wantText) || !strings.Contains(res.Err.Error(), "webhook ops") {
				t.Errorf("want %q in %q", wantText, res.Err)
			}
			if took := time.Since(begin); took > 10*receivertest.Timeout {
				t.Errorf("took %s", took)
			}
		})
	}
	over := make(chan struct{})
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) }) // before the server's own Close
	f("hang", hang, nil, alerting.ReasonTimeout, "no answer within 2s")

	closed := serve(t, nil)
	closed.Close()
	f("refused", closed, nil, alerting.ReasonConnection, "refused")

	reset := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	})
	f("reset", reset, nil, alerting.ReasonConnection, "")

	garbage := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
		_ = c.Close()
	})
	f("no HTTP", garbage, nil, alerting.ReasonOther, "malformed HTTP")

	header := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("x", 1<<20))
	})
	f("huge header", header, nil, alerting.ReasonOther, "")

	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	f("unknown authority", secure, nil, alerting.ReasonTLS, "certificate")

	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	f("no TLS where it should be", plain, func(c *Config) {
		c.URL = alerting.Secret(strings.Replace(plain.URL, "http:", "https:", 1))
	}, alerting.ReasonOther, "")
}

func TestOwnAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := receiver(t, s.URL, func(c *Config) { c.TLS.CAFile = path })
	if res := r.Notify(t.Context(), note()); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestAnswersThatNeverEnd(t *testing.T) {
	stream := func(status int) *httptest.Server {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			for i := 0; r.Context().Err() == nil && i < 1<<16; i++ {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		})
	}
	slow := func(status int) *httptest.Server {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
	}
	f := func(name string, s *httptest.Server, wantOK bool) {
		t.Helper()
		r := receiver(t, s.URL, func(c *Config) { c.Timeout = 500 * time.Millisecond })
		begin := time.Now()
		res := r.Notify(t.Context(), note())
		if (res.Err == nil) != wantOK {
			t.Errorf("%s: got %+v", name, res)
		}
		if res.Err != nil && len(res.Err.Error()) > 2000 {
			t.Errorf("%s: the error has %d bytes", name, len(res.Err.Error()))
		}
		if took := time.Since(begin); took > 10*receivertest.Timeout {
			t.Errorf("%s: took %s", name, took)
		}
	}
	f("huge success", stream(200), true)
	f("huge failure", stream(500), false)
	f("slow success", slow(202), true)
	f("slow failure", slow(503), false)
}

func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	res := receiver(t, s.URL, nil).Notify(ctx, note())
	if !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("got %+v", res)
	}
}

func TestSecretsStayInside(t *testing.T) {
	secrets := []string{"pa55word", "user-name", "t0ken-in-query", "path-token-0123456789", "s1gning-key", "header-t0ken"}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		// An endpoint that repeats all it was told.
		fmt.Fprintf(w, "%s %s", r.URL, strings.Repeat("x", 120))
		for _, v := range r.Header {
			fmt.Fprint(w, v)
		}
	})
	closed := serve(t, nil)
	closed.Close()
	for _, base := range []string{s.URL, closed.URL, "http://no-such-host.invalid"} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("http://user-name:pa55word@%s/path-token-0123456789/x?key=t0ken-in-query", u.Host)
		r := receiver(t, address, func(c *Config) {
			c.Secrets = []Secret{alerting.Secret("s1gning-key")}
			c.Headers = map[string]Secret{"Authorization": alerting.Secret("Bearer header-t0ken")}
			c.Timeout = 2 * time.Second
		})
		res := r.Notify(t.Context(), note())
		if res.Err == nil {
			t.Fatal("want an error")
		}
		for _, secret := range secrets {
			if strings.Contains(res.Err.Error(), secret) || strings.Contains(fmt.Sprintf("%#v", res.Err), secret) {
				t.Errorf("%s is in %q", secret, res.Err)
			}
		}
		if !strings.Contains(res.Err.Error(), u.Host) {
			t.Errorf("want the host in %q", res.Err)
		}
	}
}

// rotating is a secret whose file changes.
type rotating struct{ values []string }

func (r *rotating) Read() (string, error) {
	v := r.values[0]
	if len(r.values) > 1 {
		r.values = r.values[1:]
	}
	if v == "" {
		return "", os.ErrNotExist
	}
	return v, nil
}

func TestSecretsAreReadEachTime(t *testing.T) {
	var got []string
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Get("X-Key")) })
	r := receiver(t, s.URL, func(c *Config) {
		c.Headers = map[string]Secret{"X-Key": &rotating{[]string{"new", "one", "", "two"}}}
	})
	for _, want := range []alerting.Reason{alerting.ReasonOK, alerting.ReasonInvalid, alerting.ReasonOK} {
		if res := r.Notify(t.Context(), note()); res.Reason != want || res.Err != nil && !res.Retry {
			t.Errorf("want %s, got %+v", want, res)
		}
	}
	if diff := cmp.Diff([]string{"one", "two"}, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestBadConfiguration(t *testing.T) {
	f := func(name, want string, c Config) {
		t.Helper()
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: want %q without the secret, got %v", name, want, err)
		}
	}
	good := alerting.Secret("https://example.com/x")
	header := func(name, value string) Config {
		return Config{Name: "ops", URL: good, Headers: map[string]Secret{name: alerting.Secret(value)}}
	}
	f("no name", "no name", Config{URL: good})
	f("no url", "no url", Config{Name: "ops"})
	f("relative", "https://host/path", Config{Name: "ops", URL: alerting.Secret("/hidden")})
	f("scheme", "https://host/path", Config{Name: "ops", URL: alerting.Secret("ftp://hidden/")})
	f("control characters", "https://host/path", Config{Name: "ops", URL: alerting.Secret("https://x/\x01hidden")})
	f("base64", "base64", Config{Name: "ops", URL: good, Secrets: []Secret{alerting.Secret("whsec_hidden!")}})
	f("empty secret", "empty", Config{Name: "ops", URL: good, Secrets: []Secret{alerting.Secret("")}})
	f("no CA file", "ca_file", Config{Name: "ops", URL: good, TLS: endpoint.TLS{CAFile: "/no/such/file"}})
	f("CA file without PEM", "PEM", Config{Name: "ops", URL: good, TLS: endpoint.TLS{CAFile: "webhook_test.go"}})
	f("proxy", "proxy", Config{Name: "ops", URL: good, Proxy: alerting.Secret("hidden")})
	f("header name", "valid name", header("A b", "x"))
	f("header value", "control", header("A", "hidden\r\nB: c"))
	f("our header", "set by gatewatch", header("webhook-id", "x"))
}

func TestProxyIsUsedOnlyWhenSaid(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var via string
	proxy := serve(t, func(_ http.ResponseWriter, r *http.Request) { via = r.URL.String() })
	r := receiver(t, "http://hook.invalid/x", func(c *Config) { c.Proxy = alerting.Secret(proxy.URL) })
	if res := r.Notify(t.Context(), note()); res.Err != nil {
		t.Fatal(res.Err)
	}
	if via != "http://hook.invalid/x" {
		t.Errorf("want the request to go through the proxy, got %q", via)
	}
}

// jsonText is what is left of a text that went through JSON.
func jsonText(t *testing.T, s string) (out string) {
	t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPayloadIsJSONWhateverIsInIt(t *testing.T) {
	var got struct {
		Data alerting.Incident `json:"data"`
	}
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	})
	r := receiver(t, s.URL, nil)
	texts := []string{"</script>\u2028\x00\xff\"\\\n" + strings.Repeat("A", 100)}
	for _, p := range hostile.Payloads(t) {
		texts = append(texts, p.Text)
	}
	for _, text := range texts {
		got.Data = alerting.Incident{}
		inc := receivertest.Hostile(text)
		if res := r.Notify(t.Context(), receivertest.Note(t, inc, alerting.CauseGrew)); res.Err != nil {
			t.Fatal(res.Err)
		}
		if want := strings.ToValidUTF8(text, "\uFFFD"); len(got.Data.Sources) != 1 || got.Data.Sources[0] != want && got.Data.Sources[0] != jsonText(t, text) {
			t.Errorf("want %q, got %q", want, got.Data.Sources)
		}
	}
}
