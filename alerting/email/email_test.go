package email

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http/httptest"
	"net/mail"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	user     = "gatewatch"
	password = "pa55word-of-the-mailbox"
)

// server is an SMTP server as far as a client that sends mail can tell.
type server struct {
	address string
	tls     *tls.Config       // for STARTTLS; nil when it does not know it
	auth    string            // the ways it offers; "" for no login needed
	answers map[string]string // by command, instead of the usual
	hang    string            // the command to which it never answers

	mu    sync.Mutex
	mails []string // as received, with the dots taken out
	rcpts [][]string
	over  chan struct{}
}

func serve(t testing.TB, s *server, implicit *tls.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.over = l.Addr().String(), make(chan struct{})
	if implicit != nil {
		l = tls.NewListener(l, implicit)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				s.session(c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		close(s.over)
		_ = l.Close()
		wg.Wait()
	})
	return s
}

func (s *server) session(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = fmt.Fprintf(c, "%s\r\n", text) }
	usual := func(command, text string) bool {
		if s.hang == command {
			<-s.over
		}
		if other, ok := s.answers[command]; ok {
			if other == "" {
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = c.Close()
				return false
			}
			say(other)
			return other[0] == '2' || other[0] == '3'
		}
		say(text)
		return true
	}
	if !usual("greeting", "220 mx.example ESMTP") {
		return
	}
	secure, in := false, s.auth == ""
	if _, ok := c.(*tls.Conn); ok {
		secure = true
	}
	var rcpts []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch verb = strings.ToUpper(verb); verb {
		case "EHLO":
			text := "250-mx.example\r\n250-8BITMIME\r\n"
			if s.tls != nil && !secure {
				text += "250-STARTTLS\r\n"
			}
			if s.auth != "" {
				text += "250-AUTH " + s.auth + "\r\n"
			}
			usual(verb, text+"250 SIZE 10000000")
		case "STARTTLS":
			if !usual(verb, "220 go on") {
				continue
			}
			t := tls.Server(c, s.tls)
			if t.Handshake() != nil {
				return
			}
			c, r, secure = t, bufio.NewReader(t), true
		case "AUTH":
			in = s.login(rest, r, say)
			if in {
				usual(verb, "235 welcome")
			} else {
				say("535 5.7.8 no, " + rest)
			}
		case "MAIL":
			if !in {
				say("530 5.7.0 log in first")
				continue
			}
			rcpts = nil
			usual(verb, "250 fine")
		case "RCPT":
			address := strings.Trim(strings.TrimPrefix(rest, "TO:"), "<>")
			if other, ok := s.answers[address]; ok {
				say(other)
				continue
			}
			if usual(verb, "250 fine") {
				rcpts = append(rcpts, address)
			}
		case "DATA":
			if !usual(verb, "354 go on") {
				continue
			}
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			if usual("end", "250 2.0.0 queued") {
				s.mu.Lock()
				s.mails, s.rcpts = append(s.mails, b.String()), append(s.rcpts, rcpts)
				s.mu.Unlock()
			}
		case "QUIT":
			say("221 bye")
			return
		case "*":
			say("501 cancelled")
		default:
			say("500 what?")
		}
	}
}

func (s *server) login(rest string, r *bufio.Reader, say func(string)) bool {
	ask := func(text string) string {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(text)))
		line, _ := r.ReadString('\n')
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(b)
	}
	way, first, _ := strings.Cut(rest, " ")
	switch way {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(first)
		return string(b) == "\x00"+user+"\x00"+password
	case "LOGIN":
		return ask("Username:") == user && ask("Password:") == password
	case "CRAM-MD5":
		const challenge = "<1@mx.example>"
		mac := hmac.New(md5.New, []byte(password))
		mac.Write([]byte(challenge))
		return ask(challenge) == user+" "+hex.EncodeToString(mac.Sum(nil))
	}
	return false
}

func receiver(t testing.TB, s *server, change func(*Config)) *Receiver {
	t.Helper()
	c := Config{
		Name: "mail", Server: s.address, TLS: None, From: "gatewatch <gatewatch@example.com>", To: []string{"Ops <ops@example.com>", "sec@example.com"},
		Hello: "gw1.example.com", Timeout: 5 * time.Second,
	}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func login(c *Config) { c.Username, c.Password = user, alerting.Secret(password) }

// read takes a mail apart as mail programs do.
func read(t *testing.T, raw string) (h mail.Header, text, page string) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSuffix(raw, "\r\n"), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %d has %d bytes or odd ones: %.100q", i, len(line), line)
		}
		for _, c := range []byte(line) {
			if c >= 0x7f || c < ' ' && c != '\t' {
				t.Errorf("line %d is not plain ASCII: %.100q", i, line)
				break
			}
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var got []string
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p) // multipart decodes quoted-printable
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Header.Get("Content-Type"), strings.ReplaceAll(string(b), "\r\n", "\n"))
	}
	if len(got) != 4 || got[0] != "text/plain; charset=utf-8" || got[2] != "text/html; charset=utf-8" {
		t.Fatalf("%d parts: %.200q", len(got)/2, got)
	}
	return m.Header, got[1], got[3]
}

func TestMail(t *testing.T) {
	s := serve(t, &server{}, nil)
	r := receiver(t, s, nil)
	inc := receivertest.Incident("203.0.113.7")
	inc.Evidence[0].Text = `203.0.113.7 - - [19/Nov/2026:06:20:00 +0000] "POST /login HTTP/1.1" 401 25 "-" "python-requests/2.32"`
	n := receivertest.Note(t, inc, alerting.CauseOpened)
	if res := r.Notify(t.Context(), n); res.Err != nil || res.Reason != alerting.ReasonOK {
		t.Fatalf("got %+v", res)
	}
	h, text, page := read(t, s.mails[0])
	want := map[string]string{
		"From": `"gatewatch" <gatewatch@example.com>`, "To": `"Ops" <ops@example.com>, <sec@example.com>`,
		"Subject": "HIGH: Flood of failed logins from one client: 203.0.113.7", "Date": "Thu, 19 Nov 2026 06:38:01 +0000",
		"Message-Id": "<654adc8f559de823.1.incident.gatewatch@example.com>", "In-Reply-To": "<654adc8f559de823.incident.gatewatch@example.com>",
		"References": "<654adc8f559de823.incident.gatewatch@example.com>", "Auto-Submitted": "auto-generated", "Importance": "high",
	}
	for name, value := range want {
		if h.Get(name) != value {
			t.Errorf("%s: want %q, got %q", name, value, h.Get(name))
		}
	}
	if diff := cmp.Diff([][]string{{"ops@example.com", "sec@example.com"}}, s.rcpts); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	for name, got := range map[string]string{"testdata/mail.txt": text, "testdata/mail.html": page} {
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// The same revision is the same mail, to the letter.
	if res := r.Notify(t.Context(), n); res.Err != nil || s.mails[0] != s.mails[1] {
		t.Errorf("the second attempt differs: %+v", res)
	}
	inc.State, inc.Revision = alerting.StateResolved, 2
	if res := r.Notify(t.Context(), receivertest.Note(t, inc, alerting.CauseResolved)); res.Err != nil {
		t.Fatal(res.Err)
	}
	h, text, _ = read(t, s.mails[2])
	if !strings.HasPrefix(h.Get("Subject"), "Resolved: HIGH") || h.Get("References") != want["References"] || h.Get("Message-Id") == want["Message-Id"] ||
		!strings.Contains(text, "Resolved: it has stopped after 18 min.") {
		t.Errorf("header %v, text %q", h, text)
	}
}

func TestProtection(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS()
	t.Cleanup(pair.Close)
	config := &tls.Config{Certificates: pair.TLS.Certificates, MinVersion: tls.VersionTLS12}
	trust := endpoint.TLS{CAFile: receivertest.CAFile(t, pair)}
	n := receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened)
	for _, way := range []string{"PLAIN LOGIN", "LOGIN", "CRAM-MD5", "XOAUTH2 PLAIN"} {
		s := serve(t, &server{tls: config, auth: way}, nil)
		r := receiver(t, s, func(c *Config) { login(c); c.TLS, c.Certs = StartTLS, trust })
		if res := r.Notify(t.Context(), n); res.Err != nil || len(s.mails) != 1 {
			t.Errorf("%s by STARTTLS: got %+v", way, res)
		}
		s = serve(t, &server{auth: way}, config)
		r = receiver(t, s, func(c *Config) { login(c); c.TLS, c.Certs = Implicit, trust })
		if res := r.Notify(t.Context(), n); res.Err != nil || len(s.mails) != 1 {
			t.Errorf("%s by implicit TLS: got %+v", way, res)
		}
	}
	s := serve(t, &server{tls: config}, nil)
	res := receiver(t, s, func(c *Config) { c.TLS = StartTLS }).Notify(t.Context(), n)
	if !res.Retry || res.Reason != alerting.ReasonTLS || !strings.Contains(res.Err.Error(), "certificate") {
		t.Errorf("an authority that is not known: got %+v", res)
	}
	s = serve(t, &server{}, nil)
	res = receiver(t, s, func(c *Config) { c.TLS = StartTLS }).Notify(t.Context(), n)
	if res.Retry || res.Err == nil || !strings.Contains(res.Err.Error(), "does not know it") || len(s.mails) != 0 {
		t.Errorf("no STARTTLS: got %+v", res)
	}
	// The password does not leave the machine without TLS: a name that is not
	// this machine's, though the fake is.
	s = serve(t, &server{auth: "PLAIN"}, nil)
	r := receiver(t, s, login)
	r.host = "mail.example.com"
	res = r.Notify(t.Context(), n)
	if res.Retry || res.Err == nil || !strings.Contains(res.Err.Error(), "not protected") {
		t.Errorf("a password without TLS: got %+v", res)
	}
	s = serve(t, &server{auth: "XOAUTH2 NTLM"}, nil)
	res = receiver(t, s, login).Notify(t.Context(), n)
	if res.Retry || res.Err == nil || !strings.Contains(res.Err.Error(), "gatewatch knows PLAIN") {
		t.Errorf("only ways that we do not know: got %+v", res)
	}
}

func TestAnswers(t *testing.T) {
	f := func(command, answer string, retry bool, reason alerting.Reason, want string) {
		t.Helper()
		s := serve(t, &server{auth: "PLAIN", answers: map[string]string{command: answer}}, nil)
		res := receiver(t, s, login).Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
		if res.Err == nil || res.Retry != retry || res.Reason != reason || !strings.Contains(res.Err.Error(), want) {
			t.Errorf("%s, %s: got %+v", command, answer, res)
			return
		}
		if strings.Contains(res.Err.Error(), password) || strings.Contains(res.Err.Error(), base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))) {
			t.Errorf("%s: the password is in %q", command, res.Err)
		}
		if len(s.mails) != 0 {
			t.Errorf("%s: a mail was taken", command)
		}
	}
	f("greeting", "554 5.7.1 go away", false, alerting.ReasonClientError, "greeting")
	f("greeting", "421 busy", true, alerting.ReasonRateLimited, "busy")
	f("greeting", "", true, alerting.ReasonConnection, "127.0.0.1")
	f("greeting", "SSH-2.0-OpenSSH", true, alerting.ReasonConnection, "greeting")
	f("AUTH", "535 5.7.8 no, "+password, false, alerting.ReasonClientError, "login at 127.0.0.1")
	f("AUTH", "454 4.7.0 later", true, alerting.ReasonRateLimited, "later")
	f("MAIL", "550 5.1.0 sender unknown", false, alerting.ReasonClientError, "MAIL FROM")
	f("RCPT", "450 4.7.1 greylisted", true, alerting.ReasonRateLimited, "RCPT TO")
	f("RCPT", "550 5.1.1 nobody", false, alerting.ReasonClientError, "550")
	f("DATA", "451 4.3.0 disk full", true, alerting.ReasonRateLimited, "DATA")
	f("end", "554 5.7.1 spam", false, alerting.ReasonClientError, "spam")
	f("end", "452 4.3.1 later", true, alerting.ReasonRateLimited, "send")
	f("end", "", true, alerting.ReasonConnection, "send")
	f("EHLO", "250-"+strings.Repeat("x", 1<<20)+"\r\n250 x", true, alerting.ReasonOther, "more than it should")
}

// TestOneRecipientRefused: the others get their mail, and the log says it.
func TestOneRecipientRefused(t *testing.T) {
	var logged bytes.Buffer
	s := serve(t, &server{answers: map[string]string{"ops@example.com": "550 5.1.1 no such user"}}, nil)
	r := receiver(t, s, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	if res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened)); res.Err != nil {
		t.Fatal(res.Err)
	}
	if diff := cmp.Diff([][]string{{"sec@example.com"}}, s.rcpts); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if !strings.Contains(logged.String(), "recipient=ops@example.com") {
		t.Errorf("log: %s", logged.String())
	}
	s = serve(t, &server{answers: map[string]string{"ops@example.com": "550 no such user", "sec@example.com": "450 later"}}, nil)
	res := receiver(t, s, nil).Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if !res.Retry {
		t.Errorf("one for good, one for now: got %+v", res)
	}
}

func TestSlow(t *testing.T) {
	for _, command := range []string{"greeting", "EHLO", "MAIL", "DATA", "end"} {
		s := serve(t, &server{hang: command}, nil)
		r := receiver(t, s, func(c *Config) { c.Timeout = 200 * time.Millisecond })
		begin := time.Now()
		res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
		if !res.Retry || res.Reason != alerting.ReasonTimeout || !strings.Contains(res.Err.Error(), "200ms") || time.Since(begin) > 3*time.Second {
			t.Errorf("%s: got %+v after %s", command, res, time.Since(begin))
		}
	}
	s := serve(t, &server{hang: "DATA"}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	res := receiver(t, s, nil).Notify(ctx, receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("stopped: got %+v", res)
	}
	closed := serve(t, &server{}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.address = l.Addr().String()
	_ = l.Close()
	res = receiver(t, closed, nil).Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if !res.Retry || res.Reason != alerting.ReasonConnection {
		t.Errorf("refused: got %+v", res)
	}
}

var headerNames = regexp.MustCompile(`^(From|To|Subject|Date|Message-Id|In-Reply-To|References|Auto-Submitted|X-Auto-Response-Suppress|X-Gatewatch-Incident|Importance|Mime-Version|Content-Type)$`)

// TestHostile: no header but ours, no part but ours, no markup but ours.
func TestHostile(t *testing.T) {
	from, to := &mail.Address{Address: "gw@example.com"}, []*mail.Address{{Address: "ops@example.com"}}
	tags := func(page string) int {
		d := xml.NewDecoder(strings.NewReader(page))
		d.Strict = false
		d.AutoClose = []string{"meta", "br"}
		d.Entity = xml.HTMLEntity
		n := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				return n
			}
			if err != nil {
				t.Fatalf("%v in %.3000s", err, page)
			}
			if _, ok := token.(xml.StartElement); ok {
				n++
			}
		}
	}
	// The number of elements is that of a harmless text, whatever the text.
	harmless := receivertest.Hostile("harmless")
	raw, err := message(from, to, &harmless, receivertest.Note(t, harmless, alerting.CauseGrew))
	if err != nil {
		t.Fatal(err)
	}
	_, wantText, page := read(t, string(raw))
	want := tags(page)
	for _, p := range hostile.Payloads(t) {
		if p.Text == "" {
			continue
		}
		inc := receivertest.Hostile(p.Text)
		n := receivertest.Note(t, inc, alerting.CauseGrew)
		if err := json.Unmarshal(n.Payload, &inc); err != nil {
			t.Fatal(err)
		}
		raw, err := message(from, to, &inc, n)
		if err != nil {
			t.Fatal(err)
		}
		h, text, page := read(t, string(raw))
		for name, values := range h {
			if !headerNames.MatchString(name) || len(values) != 1 {
				t.Errorf("%.100q: header %s: %q", p.Text, name, values)
			}
		}
		if got := tags(page); got != want {
			t.Errorf("%.100q: %d elements, want %d", p.Text, got, want)
		}
		if got, want := strings.Count(text, "\n"), strings.Count(wantText, "\n"); got != want {
			t.Errorf("%.100q: %d lines of text, want %d", p.Text, got, want)
		}
		for _, c := range strings.ReplaceAll(text+page, "\n", "") {
			if !unicode.IsPrint(c) || unicode.In(c, unicode.Mn, unicode.Me) {
				t.Errorf("%.100q: %U is in the mail", p.Text, c)
				break
			}
		}
		if len(raw) > 200<<10 {
			t.Errorf("%.100q: %d bytes", p.Text, len(raw))
		}
	}
}

func TestDigest(t *testing.T) {
	inc := alerting.Incident{ID: "d", Rule: alerting.RuleRef{Title: "120 incidents"}, State: alerting.StateOpen}
	for i := range 120 {
		inc.Digest = append(inc.Digest, alerting.DigestEntry{ID: fmt.Sprint(i), Title: "Flood", Group: map[string]string{"client.address": fmt.Sprintf("192.0.2.%d", i)}, Count: 3})
	}
	s := serve(t, &server{}, nil)
	if res := receiver(t, s, nil).Notify(t.Context(), receivertest.Note(t, inc, alerting.CauseDigest)); res.Err != nil {
		t.Fatal(res.Err)
	}
	_, text, page := read(t, s.mails[0])
	if !strings.Contains(text, "192.0.2.99") || !strings.Contains(text, "and 20 more") || !strings.Contains(page, "and 20 more") {
		t.Error(text)
	}
}

func TestBadConfiguration(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Config{Name: "mail", Server: "mail.example.com:587", From: "a@b.example", To: []string{"c@d.example"}}
		change(&c)
		_, err := New(c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	f("", func(*Config) {})
	f("no name", func(c *Config) { c.Name = "" })
	f("host:port", func(c *Config) { c.Server = "mail.example.com" })
	f("starttls, implicit or none", func(c *Config) { c.TLS = "yes" })
	f("from", func(c *Config) { c.From = "nobody" })
	f("nobody", func(c *Config) { c.To = nil })
	f("to", func(c *Config) { c.To = []string{"a@b.example\r\nRCPT TO:<x@y>"} })
	f("not all servers", func(c *Config) { c.To = []string{"ünï@b.example"} })
	f("go together", func(c *Config) { c.Username = "x" })
	f("ca_file", func(c *Config) { c.Certs.CAFile = "/no/such/file" })
	r, err := New(Config{Name: "mail", Server: "mail.example.com:465", From: "a@b.example", To: []string{"c@d.example"}})
	if err != nil || r.c.TLS != Implicit || r.c.Hello == "" || r.Keeps() || !r.Folds() || r.Name() != "mail" {
		t.Errorf("defaults: %+v, %v", r, err)
	}
}
