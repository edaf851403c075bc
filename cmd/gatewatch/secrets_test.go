package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatewatch/alerting/slack/fakeslack"
	"gatewatch/collectors/kafka/kafkatest"
)

// secretKind is a kind of secret: how one is made, and the key that it is
// given by, "" for those that tell what they are by their form.
type secretKind struct {
	name, key string
	make      func(r *rand.Rand) string
}

func letters(alphabet string, n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
}

func after(prefix string, f func(*rand.Rand) string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return prefix + f(r) }
}

const (
	alnum   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	hexes   = "0123456789abcdef"
	keyboad = alnum + "-._~"
)

func luhn(r *rand.Rand) string {
	d := "4" + letters("0123456789", 14)(r)
	sum := 0
	for i := range d {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return d + string(rune('0'+(10-sum%10)%10))
}

func jwt(r *rand.Rand) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256"}`) + "." + part(fmt.Sprintf(`{"sub":"%d"}`, r.Uint64())) + "." + letters(alnum, 43)(r)
}

// secretKinds are twenty kinds, by name and by form.
func secretKinds() []secretKind {
	word := letters(keyboad, 14)
	return []secretKind{
		{"password", "password", word},
		{"passwd", "passwd", word},
		{"api key", "api_key", letters(hexes, 32)},
		{"api key, another spelling", "X-Api-Key", letters(alnum, 24)},
		{"access token", "access_token", letters(alnum, 40)},
		{"refresh token", "refresh_token", letters(alnum, 40)},
		{"client secret", "client_secret", letters(alnum, 32)},
		{"session cookie", "sessionid", letters(alnum, 26)},
		{"PHP session", "PHPSESSID", letters(hexes, 26)},
		{"authorization code", "code", letters(alnum, 22)},
		{"AWS signature", "X-Amz-Signature", letters(hexes, 64)},
		{"one-time password", "otp", letters("0123456789", 9)},
		{"JSON Web Token", "", jwt},
		{"card number", "", luhn},
		{"AWS key id", "", after("AKIA", letters(upper, 16))},
		{"GitHub token", "", after("ghp_", letters(alnum, 36))},
		{"Slack token", "", after("xoxb-", letters(alnum, 30))},
		{"Stripe key", "", after("sk_live_", letters(alnum, 24))},
		{"Google key", "", after("AIza", letters(alnum+"-_", 35))},
		{"of our own", "x_customer_ref", letters(alnum, 20)}, // masking.names
	}
}

// capture keeps what is sent to it.
type capture struct {
	mu   sync.Mutex
	data bytes.Buffer
	n    int
}

func (c *capture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.data, "%s %v\n%s\n", r.URL, r.Header, b)
	c.n++
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, "ok")
}

const secretsRules = `
title: Paths
name: paths
logsource: {category: webserver}
detection: {selection: {http.request.method: GET}, condition: selection}
level: low
---
title: Many queries of one client
id: 33333333-0000-4000-8000-000000000001
correlation: {type: value_count, rules: [paths], group-by: [client.address], timespan: 1h, condition: {field: url.query, gte: 2}}
level: medium
---
title: One path and agent
id: 33333333-0000-4000-8000-000000000002
correlation: {type: event_count, rules: [paths], group-by: [url.path, user_agent.original], timespan: 1h, condition: {gte: 1}}
level: medium
gatewatch: {family: path}
---
title: A line for people
id: 33333333-0000-4000-8000-000000000003
logsource: {category: webserver}
detection: {selection: {url.path|startswith: /bundle-}, condition: selection}
level: critical
`

// bundles is how many lines writeSecrets writes for the receivers that people
// read: of few incidents, or they would be told in digests without evidence.
const bundles = 32

// TestSecrets sends a hundred secrets of twenty kinds in every place of a
// request through the real program, and searches for them in whatever it
// stores or tells: the state file, its own log, metrics, the answers of the API,
// and all messages.
func TestSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program")
	}
	t.Parallel() // it waits for most of its time
	dir := t.TempDir()
	binary := filepath.Join(dir, "gatewatch")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, mode := range []string{"plain", "hashed", "identities"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			testSecrets(t, binary, mode)
		})
	}
}

func testSecrets(t *testing.T, binary, mode string) {
	c := &crash{t: t, binary: binary, dir: t.TempDir()}
	var inbox capture
	server := httptest.NewServer(&inbox)
	defer server.Close()
	syslog, err := net.Listen("tcp", "127.0.0.1:0")
	c.check(err)
	defer func() { _ = syslog.Close() }()
	var lines capture
	go func() {
		for {
			conn, err := syslog.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }() // as a server does: a sender waits a second for one that does not
				b := make([]byte, 64<<10)
				for {
					n, err := conn.Read(b)
					lines.mu.Lock()
					lines.data.Write(b[:n])
					lines.n++
					lines.mu.Unlock()
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	mails, chat, kafka := newMailbox(t), fakeslack.New(t), kafkatest.Start(t, kafkatest.Options{Topics: map[string]int{"incidents": 1}})
	chat.SetClock(time.Now())
	runs := filepath.Join(c.dir, "runs")
	c.check(os.Mkdir(runs, 0o700))
	masking := "masking: {names: [X-Customer-Ref]"
	if mode != "plain" {
		masking += ", hash_key: 0123456789abcdef0123"
	}
	if mode == "identities" {
		masking += ", identities: true"
	}
	c.socket = filepath.Join(c.dir, "api.sock")
	c.config = filepath.Join(c.dir, "gatewatch.yaml")
	c.check(os.WriteFile(filepath.Join(c.dir, "rules.yml"), []byte(secretsRules), 0o600))
	c.check(os.WriteFile(c.config, fmt.Appendf(nil, `
sources: [{files: ["*.log"], begin: start, poll: 5ms}]
# Each client is told of by itself, not as a part of a campaign.
rules:
  paths: [rules.yml]
  disable: [Many clients send SQL injections, Many clients try to leave the folder, Many clients send script to be put into pages, Many clients send code or commands, Many clients send Log4Shell lookups]
state: {path: state.db, checkpoint: 100ms}
incidents: {group_interval: 1s}
%s}
receivers:
  - {name: hook, webhook: {url: %[2]q}}
  - {name: text, webhook: {url: %[2]q, content_type: text/plain, body: "{{range .Incident.Evidence}}{{text .Text}}{{end}} {{text .Summary.Headline}}"}}
  - {name: chat, slack: {webhook_url: %[2]q}}
  - {name: soc, teams: {url: %[2]q}}
  - {name: am, alertmanager: {url: %[2]q}}
  - {name: pager, pagerduty: {url: %[2]q, routing_key: 0123456789abcdef0123456789abcdef}}
  - {name: siem, syslog: {address: %[3]q, format: json}}
  - {name: log, file: {path: told.jsonl}}
  - {name: bus, kafka: {brokers: [%[5]q], topic: incidents}}
  - {name: mail, level: critical, email: {server: %[6]q, tls: none, from: gatewatch@example.com, to: [ops@example.com]}}
  - {name: bot, level: critical, slack: {token: %[7]q, channel: %[8]q, api_url: %[9]q}}
  - {name: program, level: critical, exec: {command: [/bin/sh, -c, 'cat >"$(mktemp run.XXXXXX)"'], dir: %[10]q}}
allow_exec: true
api: {listen: %[4]q}
log: {level: debug}
`, masking, server.URL, syslog.Addr().String(), "unix:"+c.socket, kafka.Brokers()[0], mails.address,
		fakeslack.BotToken, fakeslack.Channel, chat.URL, runs), 0o600))

	secrets, accounts := writeSecrets(c)
	if out, err := exec.Command(binary, "check", "--config", c.config).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	people := func() map[string]string {
		return map[string]string{"mails": mails.text(t), "Slack": slackText(chat), "Kafka": topicText(kafka, "incidents"), "programs": filesText(c, runs)}
	}
	p := c.start("", 0)
	c.poll("all evidence is told", func() (bool, string) {
		s, err := c.status()
		if err != nil {
			return false, err.Error()
		}
		var pending int64
		for _, r := range s.Receivers {
			pending += r.Pending
		}
		inbox.mu.Lock()
		defer inbox.mu.Unlock()
		lines.mu.Lock()
		defer lines.mu.Unlock()
		return s.Checkpoint.Total > 5 && pending == 0 && inbox.n > 100 && lines.n > 10, fmt.Sprintf("%d pending, %d told", pending, inbox.n)
	})
	places := map[string][]byte{}
	c.poll("people are told of each line", func() (bool, string) {
		for name, text := range people() {
			for n := range bundles {
				if mark := fmt.Sprintf("/bundle-%02d", n); !strings.Contains(text, mark) {
					return false, fmt.Sprintf("%s is not in what was told to %s", mark, name)
				}
			}
		}
		return true, ""
	})
	for name, text := range people() {
		places["messages: "+name] = []byte(text)
	}
	for _, path := range []string{"/metrics", "/api/v1/status", "/api/v1/incidents", "/api/v1/silences", "/readyz"} {
		b, err := c.get(path)
		c.check(err)
		places[path] = b
	}
	incidents := c.list()
	shown, err := exec.Command(binary, "incidents", "show", incidents[0].ID, "--config", c.config).CombinedOutput()
	c.check(err)
	places["incidents show"] = shown
	c.check(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		t.Errorf("the program did not stop cleanly: %v", err)
	}
	places["log"] = p.Stderr.(*bytes.Buffer).Bytes()
	places["messages by HTTP"] = inbox.data.Bytes()
	places["messages to syslog"] = lines.data.Bytes()
	for _, name := range []string{"state.db", "told.jsonl"} {
		places[name], err = os.ReadFile(filepath.Join(c.dir, name))
		c.check(err)
	}

	texts := 0
	for _, i := range incidents {
		for _, e := range i.Evidence {
			if e.Text != "" {
				texts++
			}
		}
	}
	all := 0
	for _, list := range secrets {
		all += len(list)
	}
	if all < 100 || len(secrets) < 20 || texts < 2*all {
		t.Fatalf("%d secrets of %d kinds, %d lines of evidence", all, len(secrets), texts)
	}
	found := map[string]int{}
	for kind, list := range secrets {
		for _, secret := range list {
			for place, data := range places {
				if bytes.Contains(data, []byte(secret)) {
					if found[place+kind]++; found[place+kind] == 1 {
						at := bytes.Index(data, []byte(secret))
						t.Errorf("%s: %q is in it: %q", place, kind, data[max(0, at-100):min(len(data), at+60)])
					}
				}
			}
		}
	}
	for _, own := range []string{fakeslack.BotToken, "0123456789abcdef0123456789abcdef"} {
		for _, place := range []string{"log", "state.db", "/metrics", "/api/v1/status", "/readyz", "incidents show"} {
			if bytes.Contains(places[place], []byte(own)) {
				t.Errorf("%s: a secret of a receiver is in it", place)
			}
		}
	}
	t.Logf("%d lines of evidence, %d places searched", texts, len(places))
	if mode == "hashed" && !regexp.MustCompile(`password=\*\*\*[0-9a-f]{12}`).Match(places["messages by HTTP"]) {
		t.Error("no hash stands for a password")
	}
	if mode != "identities" {
		return
	}
	for _, who := range accounts {
		for place, data := range places {
			if at := bytes.Index(data, []byte(who)); at >= 0 {
				t.Errorf("%s: %s is in it: %q", place, who, data[max(0, at-100):min(len(data), at+60)])
			}
		}
	}
}

// writeSecrets writes logs in which each secret stands in every place of a
// request, beside something that opens an incident. It returns the secrets by
// kind, and the addresses and accounts.
func writeSecrets(c *crash) (secrets map[string][]string, who []string) {
	r := rand.New(rand.NewPCG(5, 6))
	secrets = map[string][]string{}
	var combined, jsonLines strings.Builder
	at := time.Now().Add(-time.Minute).UTC()
	n := 0
	for k, kind := range secretKinds() {
		for range 5 {
			n++
			secret := kind.make(r)
			secrets[kind.name+"\x00"+kind.key] = append(secrets[kind.name+"\x00"+kind.key], secret)
			client, account := fmt.Sprintf("198.51.100.%d", n), fmt.Sprintf("zz-user-%d-%d", k, n)
			who = append(who, client+" ", client+`"`, account)
			pair := secret
			if kind.key != "" {
				pair = kind.key + "=" + secret
			}
			line := func(user, target, referer, agent string) {
				fmt.Fprintf(&combined, "%s - %s [%s] \"GET %s HTTP/1.1\" 200 12 \"%s\" \"%s\"\n",
					client, user, at.Format("02/Jan/2006:15:04:05 -0700"), target, referer, agent)
				fmt.Fprintf(&jsonLines, `{"time":%q,"remote_addr":%q,"remote_user":%q,"request_method":"GET","request_uri":%q,"status":200,"http_referer":%q,"http_user_agent":%q,"http_cookie":%q,"http_authorization":%q}`+"\n",
					at.Format(time.RFC3339), client, user, target, referer, agent, "a=1; "+pair, "Bearer "+secret)
			}
			attack := "/etc/passwd?q=1%27%20OR%201=1--"
			line(account, attack+"&"+pair+"&x=1", "-", "curl/8")
			line(account, "/../../etc/passwd;"+pair, "-", "curl/8")
			line(account, attack+"&n=2", "https://shop.example.com/a?x=1&"+pair, "curl/8")
			line(account, attack+"&n=3", "https://user:"+url.PathEscape(secret)+"@shop.example.com/", "curl "+pair)
			line(account, attack+"&next="+url.QueryEscape("/cb?"+pair), "-", "sqlmap/1.5 "+pair)
		}
	}
	people := bundled(secrets, at)
	c.check(os.WriteFile(filepath.Join(c.dir, "c.log"), []byte(people), 0o600))
	// What no format can read is shown in the log of gatewatch.
	fmt.Fprintf(&combined, "what is this? password=%s and more\n", secrets["password\x00password"][0])
	c.check(os.WriteFile(filepath.Join(c.dir, "a.log"), []byte(combined.String()), 0o600))
	c.check(os.WriteFile(filepath.Join(c.dir, "b.log"), []byte(jsonLines.String()), 0o600))
	return secrets, who
}

// bundled is lines with several secrets each, of four clients: so few incidents
// that people are told of each, with all of its lines.
func bundled(secrets map[string][]string, at time.Time) string {
	var pairs []string
	for _, kind := range slices.Sorted(maps.Keys(secrets)) {
		_, key, _ := strings.Cut(kind, "\x00")
		for _, s := range secrets[kind] {
			if key != "" {
				s = key + "=" + s
			}
			pairs = append(pairs, s)
		}
	}
	var b strings.Builder
	for n := range bundles {
		pair := func(i int) string { return pairs[(4*n+i)%len(pairs)] }
		fmt.Fprintf(&b, "203.0.113.%d - zz-user-%d [%s] \"GET /bundle-%02d?%s&x=1;%s HTTP/1.1\" 200 12 \"https://shop.example.com/?%s\" \"curl/8 %s\"\n",
			1+n/8, n, at.Format("02/Jan/2006:15:04:05 -0700"), n, pair(0), pair(1), pair(2), pair(3))
	}
	return b.String()
}

// filesText is all that is in the files of a folder.
func filesText(c *crash, dir string) string {
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	c.check(err)
	var b strings.Builder
	for _, p := range paths {
		text, err := os.ReadFile(p)
		c.check(err)
		b.Write(text)
	}
	return b.String()
}
