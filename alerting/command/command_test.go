package command

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"

	"github.com/google/go-cmp/cmp"
)

// script writes a program of the shell and returns its path.
func script(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func receiver(t testing.TB, change func(*Config), command ...string) *Receiver {
	t.Helper()
	c := Config{Name: "hook", Command: command, Timeout: 5 * time.Second}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func note(t testing.TB) alerting.Notification {
	return receivertest.Note(t, receivertest.Incident("203.0.113.7"), alerting.CauseOpened)
}

func TestRun(t *testing.T) {
	t.Setenv("GATEWATCH_SECRET_OF_THE_DAEMON", "x")
	out := t.TempDir()
	path := script(t, `cat > "$1/stdin"; env > "$1/env"; pwd > "$1/pwd"; printf '%s|' "$@" > "$1/args"`)
	r := receiver(t, func(c *Config) { c.Env = map[string]endpoint.Secret{"TOKEN": alerting.Secret("t0ken")} }, path, out, "a b", "$(id)", "; rm -rf /")
	n := note(t)
	n.Repeat = true
	if res := r.Notify(t.Context(), n); res.Err != nil || res.Reason != alerting.ReasonOK {
		t.Fatalf("got %+v", res)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var in input
	var inc alerting.Incident
	if err := json.Unmarshal([]byte(read("stdin")), &in); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(in.Data, &inc); err != nil || in.Key != n.Key || in.Cause != "opened" || !in.Repeat || inc.Count != 1486 {
		t.Errorf("got %+v, %v", in, err)
	}
	var env []string
	for line := range strings.Lines(read("env")) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "PWD=") && !strings.HasPrefix(line, "_=") && !strings.HasPrefix(line, "OLDPWD=") && !strings.HasPrefix(line, "SHLVL=") { // of the shell
			env = append(env, line)
		}
	}
	slices.Sort(env)
	want := []string{
		"GATEWATCH_CAUSE=opened", "GATEWATCH_INCIDENT=654adc8f559de823", "GATEWATCH_KEY=654adc8f559de823/1", "GATEWATCH_RECEIVER=hook",
		"GATEWATCH_REPEAT=true", "GATEWATCH_REVISION=1", "LANG=C.UTF-8", "PATH=" + defaultPath, "TOKEN=t0ken",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if got := read("args"); got != out+"|a b|$(id)|; rm -rf /|" {
		t.Errorf("arguments %q", got)
	}
	if got := read("pwd"); got != "/\n" {
		t.Errorf("folder %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	path := script(t, `echo "no: $TOKEN" >&2; exit "$1"`)
	for code, retry := range map[int]bool{1: true, 2: true, 64: false, 65: false, 70: true, 75: true, 78: false, 126: true, 255: true} {
		r := receiver(t, func(c *Config) { c.Env = map[string]endpoint.Secret{"TOKEN": alerting.Secret("t0ken")} }, path, strconv.Itoa(code))
		res := r.Notify(t.Context(), note(t))
		if res.Err == nil || res.Retry != retry || !strings.Contains(res.Err.Error(), "exit status "+strconv.Itoa(code)) ||
			!strings.Contains(res.Err.Error(), `"no: <redacted>\n"`) || strings.Contains(res.Err.Error(), "t0ken") {
			t.Errorf("%d: got %+v", code, res)
		}
	}
	res := receiver(t, nil, script(t, "kill -SEGV $$")).Notify(t.Context(), note(t))
	if !res.Retry || !strings.Contains(res.Err.Error(), "signal") {
		t.Errorf("signal: got %+v", res)
	}
	if res := receiver(t, nil, script(t, "exit 0")).Notify(t.Context(), note(t)); res.Err != nil {
		t.Errorf("input that is not read: got %+v", res)
	}
}

// TestTooLong: the program and what it started are gone when Notify returns,
// also when they do not listen.
func TestTooLong(t *testing.T) {
	for name, text := range map[string]string{
		"polite":   `sleep 60 & echo $! > "$1"; wait`,
		"stubborn": `trap "" TERM; (trap "" TERM; sleep 60; sleep 60) & echo $! > "$1"; while :; do sleep 1; done`,
	} {
		pids := filepath.Join(t.TempDir(), "pid")
		r := receiver(t, func(c *Config) { c.Timeout = 300 * time.Millisecond }, script(t, text), pids)
		begin := time.Now()
		res := r.Notify(t.Context(), note(t))
		if !res.Retry || res.Reason != alerting.ReasonTimeout || !strings.Contains(res.Err.Error(), "300ms") || time.Since(begin) > 4*time.Second {
			t.Errorf("%s: got %+v after %s", name, res, time.Since(begin))
		}
		b, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		gone := false
		for deadline := time.Now().Add(2 * time.Second); !gone && time.Now().Before(deadline); {
			gone = errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid)
		}
		if !gone {
			t.Errorf("%s: a child is left", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if res := receiver(t, nil, script(t, "sleep 60")).Notify(ctx, note(t)); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("stopped: got %+v", res)
	}
}

// zombie reports whether a process is dead and only waits for init.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestOutputWithoutEnd(t *testing.T) {
	res := receiver(t, nil, script(t, `i=0; while [ $i -lt 2000 ]; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >&2; i=$((i+1)); done; exit 1`)).Notify(t.Context(), note(t))
	if res.Err == nil || len(res.Err.Error()) > 1000 {
		t.Errorf("got %d bytes", len(res.Err.Error()))
	}
	// A child that lives on with the pipe in its hands is not waited for.
	begin := time.Now()
	res = receiver(t, nil, script(t, "sleep 3 & exit 0")).Notify(t.Context(), note(t))
	if res.Err != nil || time.Since(begin) > 2500*time.Millisecond {
		t.Errorf("got %+v after %s", res, time.Since(begin))
	}
}

func TestHostile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	r := receiver(t, nil, script(t, `cat > "$1"; env | wc -l > "$1.env"`), out)
	lines := ""
	for i, p := range hostile.Payloads(t) {
		if i%7 != 0 { // a process each: a part of the table will do
			continue
		}
		n := receivertest.Note(t, receivertest.Hostile(p.Text), alerting.CauseOpened)
		n.Incident, n.Key = p.Text[:min(50, len(p.Text))], p.Text[:min(50, len(p.Text))]
		n.Incident, n.Key = strings.ReplaceAll(n.Incident, "\x00", ""), strings.ReplaceAll(n.Key, "\x00", "")
		if res := r.Notify(t.Context(), n); res.Err != nil {
			t.Errorf("%.100q: %v", p.Text, res.Err)
			continue
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var in input
		if err := json.Unmarshal(b, &in); err != nil || strings.Count(string(b), "\n") != 1 {
			t.Errorf("%.100q: %v in %.200q", p.Text, err, b)
		}
		env, err := os.ReadFile(out + ".env")
		if err != nil {
			t.Fatal(err)
		}
		if lines == "" {
			lines = string(env)
		}
		if string(env) != lines {
			t.Errorf("%.100q: the environment has %s lines, not %s", p.Text, env, lines)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Config{Name: "hook", Command: []string{"/bin/sh"}}
		change(&c)
		_, err := New(c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.Command = []string{"sh", "-c", "x"} })
	f("no name", func(c *Config) { c.Name = "" })
	f("no command", func(c *Config) { c.Command = nil })
	f("zero byte", func(c *Config) { c.Command = []string{"/bin/sh", "\x00"} })
	f("is relative", func(c *Config) { c.Command = []string{"./x"} })
	f("no program", func(c *Config) { c.Command = []string{"no-such-program"} })
	f("no program", func(c *Config) { c.Command = []string{"/etc/passwd"} })
	f("no program", func(c *Config) { c.Command = []string{"/bin"} })
	f("no folder", func(c *Config) { c.Dir = "/no/such/folder" })
	f("no variable", func(c *Config) { c.Env = map[string]endpoint.Secret{"a=b": alerting.Secret("x")} })
}
