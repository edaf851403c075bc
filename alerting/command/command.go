// Package command runs a program for each notification, with the incident as JSON
// on its standard input. There is no shell, and nothing that a client sent is in an
// argument or in the environment. The program gets a small environment of its own,
// runs in a process group of its own, and is killed with all of it when it takes too
// long.
//
// Exit code 0 means that the program has the notification. 64, 65 and 78 (usage,
// data, configuration, as in sysexits.h) are final; every other is tried again.
package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"
)

const (
	// maxOutput bounds what is kept of a program's standard error, and
	// maxShown what of it goes into an error.
	maxOutput, maxShown = 4096, 400
	// grace is how long a program may take to end when it is asked to.
	grace = time.Second

	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Exit codes that are final, from sysexits.h.
const (
	exitUsage  = 64
	exitData   = 65
	exitConfig = 78
)

// Config is the configuration. Name and Command are required.
type Config struct {
	Name string
	// Command is the program and its arguments. A program without a slash is
	// looked for in Path by New.
	Command []string
	// Dir is where it runs. Default "/".
	Dir string
	// Path is the PATH of the program. Default that of most systems.
	Path string
	// Env is added to its environment. Values may be secret.
	Env map[string]endpoint.Secret
	// Timeout is how long it may run. Default 30 s.
	Timeout time.Duration
}

// Receiver runs one program. It may be used by many goroutines; the outbox
// bounds how many run at once.
type Receiver struct {
	c       Config
	program string
}

var _ alerting.Receiver = (*Receiver)(nil)

// New checks the configuration, reading each secret once, and finds the program.
// It does not run it.
func New(c Config) (*Receiver, error) {
	c.Dir = cmp.Or(c.Dir, "/")
	c.Path = cmp.Or(c.Path, defaultPath)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	fail := func(format string, args ...any) (*Receiver, error) {
		return nil, fmt.Errorf("exec %s: "+format, append([]any{c.Name}, args...)...)
	}
	if c.Name == "" {
		return fail("no name")
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		return fail("no command")
	}
	for _, arg := range c.Command {
		if strings.ContainsRune(arg, 0) {
			return fail("command has an argument with a zero byte")
		}
	}
	r := &Receiver{c: c}
	var err error
	if r.program, err = find(c.Command[0], c.Path); err != nil {
		return fail("%w", err)
	}
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return fail("dir %s is no folder", c.Dir)
	}
	if _, _, err := r.secrets(); err != nil {
		return fail("%w", err)
	}
	return r, nil
}

// find returns the path of a program that this user may run.
func find(name, path string) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for dir := range strings.SplitSeq(path, ":") {
			if strings.HasPrefix(dir, "/") {
				candidates = append(candidates, dir+"/"+name)
			}
		}
	} else if !strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("command %s is relative; write a path that begins with /, or a name alone", name)
	}
	for _, c := range candidates {
		info, err := os.Stat(c)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return c, nil
		}
	}
	return "", fmt.Errorf("there is no program %s that this user may run; write its whole path", name)
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// secrets returns the added environment as it is now, and the scrubber that
// knows its values.
func (r *Receiver) secrets() ([]string, *endpoint.Scrubber, error) {
	var out []string
	hidden := &endpoint.Scrubber{}
	for name, s := range r.c.Env {
		value, err := s.Read()
		if err != nil {
			return nil, nil, err
		}
		if !isName(name) || strings.ContainsRune(value, 0) {
			return nil, nil, fmt.Errorf("env %q is no variable; write letters, digits and _", name)
		}
		out = append(out, name+"="+value)
		hidden.Hide(value)
	}
	slices.Sort(out)
	return out, hidden, nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// input is what the program reads.
type input struct {
	Key       string          `json:"key"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Cause     alerting.Cause  `json:"cause"`
	Repeat    bool            `json:"repeat,omitempty"` // an earlier run may have done it
	Data      json.RawMessage `json:"data"`
}

// Notify runs the program once.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	fail := func(reason alerting.Reason, retry bool, format string, args ...any) alerting.Result {
		return alerting.Result{Err: fmt.Errorf("exec %s: "+format, append([]any{r.c.Name}, args...)...), Retry: retry, Reason: reason}
	}
	text, err := json.Marshal(input{n.Key, "incident.updated", n.Made.UTC(), n.Cause, n.Repeat, n.Payload})
	if err != nil {
		return fail(alerting.ReasonInvalid, false, "encode: %w", err)
	}
	extra, hidden, err := r.secrets()
	if err != nil {
		// A file may be on its way to being replaced.
		return fail(alerting.ReasonInvalid, true, "%w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.c.Timeout, fmt.Errorf("not done within %s, and was killed", r.c.Timeout))
	defer cancel()
	var said head
	c := exec.Command(r.program, r.c.Command[1:]...)
	c.Dir, c.Env = r.c.Dir, append(r.environment(n), extra...)
	c.Stdin, c.Stderr = bytes.NewReader(append(escape.InertJSON(text), '\n')), &said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// What still holds the pipes when the program has ended is not waited for.
	c.WaitDelay = grace
	if err := c.Start(); err != nil {
		return fail(alerting.ReasonInvalid, true, "start %s: %w", r.program, err)
	}
	err = wait(ctx, c)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fail(alerting.ReasonTimeout, true, "%w", context.Cause(ctx))
	case ctx.Err() != nil:
		return fail(alerting.ReasonCanceled, true, "stopped before it had ended")
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && c.ProcessState.Success():
		return alerting.Result{Reason: alerting.ReasonOK}
	}
	ended := c.ProcessState.String()
	if said.b.Len() > 0 {
		ended += fmt.Sprintf(": %.*q", maxShown, hidden.Clean(said.b.String()))
	}
	switch c.ProcessState.ExitCode() {
	case exitUsage, exitData, exitConfig:
		return fail(alerting.ReasonClientError, false, "%s ended with %s", r.program, ended)
	default:
		return fail(alerting.ReasonOther, true, "%s ended with %s", r.program, ended)
	}
}

// wait waits for the program. When ctx is done it asks the whole process group to
// end, and after a while it kills it.
func wait(ctx context.Context, c *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	group := -c.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-done:
		// Others of the group may have stayed.
		_ = syscall.Kill(group, syscall.SIGKILL)
		return err
	case <-timer.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	return <-done
}

// environment is what the program gets without being asked: nothing of
// gatewatch's own, and words of gatewatch about the notification.
func (r *Receiver) environment(n alerting.Notification) []string {
	return []string{
		"PATH=" + r.c.Path, "LANG=C.UTF-8",
		"GATEWATCH_RECEIVER=" + r.c.Name,
		"GATEWATCH_KEY=" + word(n.Key),
		"GATEWATCH_INCIDENT=" + word(n.Incident),
		"GATEWATCH_REVISION=" + strconv.FormatInt(n.Revision, 10),
		"GATEWATCH_CAUSE=" + word(string(n.Cause)),
		"GATEWATCH_REPEAT=" + strconv.FormatBool(n.Repeat),
	}
}

// word keeps a text of ours to what no program could misread.
func word(s string) string { return escape.SyslogToken(s, 200) }

// head keeps the beginning of what is written to it.
type head struct{ b bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.b.Write(p[:min(len(p), maxOutput-h.b.Len())])
	return len(p), nil
}
