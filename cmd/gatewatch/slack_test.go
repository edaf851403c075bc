package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting/slack/fakeslack"

	"github.com/gorilla/websocket"
)

const slackRules = `title: Failed logins
id: 9d5c1b52-5f0a-4c8e-9a4e-1f0a7c3b0001
name: failed_login
logsource: {category: webserver}
detection:
  sel: {cs-uri-stem: /login, sc-status: 401}
  condition: sel
level: low
---
title: Many failed logins
id: 9d5c1b52-5f0a-4c8e-9a4e-1f0a7c3b0002
level: high
correlation:
  type: event_count
  rules: [failed_login]
  group-by: [client.address]
  timespan: 2s
  condition: {gte: 3}
`

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWholeLifeInSlack runs the daemon on a log that is being attacked, and reads
// the channel as its members do: it opens, is acknowledged by a button, grows, is
// silenced by a button, is over, and begins again; another is over and reopened.
func TestWholeLifeInSlack(t *testing.T) {
	slack := fakeslack.New(t)
	slack.SetClock(time.Now())
	dir := t.TempDir()
	log := filepath.Join(dir, "access.log")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("access.log", "")
	write("rules.yml", slackRules)
	write("gatewatch.yaml", `
sources: [{files: [access.log], begin: start, poll: 5ms}]
rules: {builtin: false, paths: [rules.yml]}
api: {listen: "unix:api.sock"}
incidents: {resolve_after: 5s, group_interval: 1s}
receivers:
  - name: chat
    slack:
      token: ${BOT}
      channel: `+fakeslack.Channel+`
      app_token: ${APP}
      users: [U0ANN]
      api_url: ${SLACK}
`)
	var logged lockedBuffer
	a := &app{
		stdin: strings.NewReader(""), stdout: &logged, stderr: &logged, now: time.Now,
		hangups: func() (<-chan os.Signal, func()) { return nil, func() {} },
		env: func(name string) (string, bool) {
			v, ok := map[string]string{"BOT": fakeslack.BotToken, "APP": fakeslack.AppToken, "SLACK": slack.URL}[name]
			return v, ok
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, []string{"run", "-c", filepath.Join(dir, "gatewatch.yaml")}) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("exit code %d", code)
		}
		for _, secret := range []string{"s3cret", "t1cket"} {
			if strings.Contains(logged.String(), secret) {
				t.Errorf("%s is in the log", secret)
			}
		}
		if t.Failed() {
			t.Log(logged.String())
		}
	})
	var socket *websocket.Conn
	select {
	case socket = <-slack.Sockets:
	case <-time.After(10 * time.Second):
		t.Fatal("the buttons are not connected")
	}
	attack := func(n int) {
		t.Helper()
		f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		for range n {
			_, _ = fmt.Fprintf(f, "192.0.2.7 - - [%s] \"POST /login?next=<!channel> HTTP/1.1\" 401 25 \"-\" \"curl/8 *bold*\"\n", time.Now().UTC().Format("02/Jan/2006:15:04:05 -0700"))
		}
	}
	sees := func(what string, f func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if f() {
				return
			}
		}
		for _, m := range slack.All() {
			t.Logf("%s\n%s", m.Text, m.Reading())
		}
		t.Fatalf("nobody sees that %s", what)
	}
	message := func() fakeslack.Message {
		if top := slack.Top(); len(top) > 0 {
			return top[0]
		}
		return fakeslack.Message{}
	}
	said := func(text string) func() bool {
		return func() bool {
			for _, m := range slack.Replies() {
				if strings.Contains(m.Reading(), text) {
					return true
				}
			}
			return false
		}
	}
	clicked := 0
	press := func(button string) {
		t.Helper()
		clicked++
		id, _, _ := strings.Cut(strings.SplitAfter(message().Reading(), "**Incident**  ")[1], "\n")
		if err := fakeslack.Click(socket, fmt.Sprintf("e%d", clicked), "U0ANN", fakeslack.Channel, button, id, message().TS); err != nil {
			t.Fatal(err)
		}
	}

	attack(4)
	sees("it opens", func() bool {
		return strings.Contains(message().Reading(), "# 🟠 HIGH: Many failed logins\n`192.0.2.7`")
	})
	sees("its log lines", said(`"POST /login?next=<!channel> HTTP/1.1" 401`))
	press("gatewatch_acknowledge")
	sees("it is acknowledged", said("**Acknowledged by ann (Slack U0ANN)**"))
	sees("it in the message", func() bool { return strings.HasPrefix(message().Text, "🟠 Acknowledged: HIGH") })
	if strings.Contains(message().Reading(), "[Acknowledge]") {
		t.Error("the button for what is done is still there")
	}
	attack(2)
	sees("it grows, quietly", func() bool { return strings.Contains(message().Reading(), "6 requests") })
	press("gatewatch_silence_1")
	sees("who silenced it", said("Silenced by ann (Slack U0ANN) until "))
	sees("it is silenced", func() bool { return strings.HasPrefix(message().Text, "🟠 Silenced: HIGH") })
	sees("it is over", func() bool { return strings.HasPrefix(message().Text, "✅ Resolved: HIGH") })
	if strings.Contains(message().Reading(), "[") {
		t.Error("there are buttons on what is over")
	}
	// Silenced, it begins again without a word; another client is told at once.
	attack(4)
	f, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(f)), "\n")
	other := strings.ReplaceAll(strings.Join(lines[len(lines)-4:], "")+"\n", "192.0.2.7", "192.0.2.8")
	again := func() {
		t.Helper()
		out, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = out.WriteString(other)
		_ = out.Close()
	}
	again()
	sees("another", func() bool { return len(slack.Top()) == 2 && strings.Contains(slack.Top()[1].Reading(), "192.0.2.8") })
	second := func(prefix string) func() bool {
		return func() bool { return len(slack.Top()) == 2 && strings.HasPrefix(slack.Top()[1].Text, prefix) }
	}
	sees("that is over too", second("✅ Resolved: HIGH"))
	// More of the same time, written late: it was not over, and its message says so.
	again()
	sees("it is open again", second("🟠 HIGH"))
	sees("why", said("**It has begun again**"))
	for _, w := range slack.Whispers() {
		t.Errorf("a whisper: %s", w.Text)
	}
}
