package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"gatewatch/api"
	"gatewatch/config"

	"github.com/spf13/cobra"
)

// client is what commands need that talk to a running gatewatch.
type client struct {
	app   *app
	out   outputFormat
	path  string // of the configuration
	url   string
	token string // path of the file that holds it
}

func (cl *client) flags(c *cobra.Command) {
	outputFlag(c, &cl.out)
	configFlag(c, &cl.path)
	c.Flags().StringVar(&cl.url, "url", "", "`address` of the running gatewatch (default: api.socket or api.listen of the configuration)")
	c.Flags().StringVar(&cl.token, "token-file", "", "`file` with the token of the running gatewatch (default: api.token, or "+tokenEnv+")")
	_ = c.MarkFlagFilename("token-file") // fails only for a flag that does not exist
}

// byFlag adds --by: who asks.
func (cl *client) byFlag(c *cobra.Command, by *string) {
	name := "unknown"
	for _, variable := range [...]string{"SUDO_USER", "USER", "LOGNAME"} {
		if v, _ := cl.app.env(variable); v != "" {
			name = v
			break
		}
	}
	c.Flags().StringVar(by, "by", name, "`name` of who asks for it")
}

// tokenEnv is the variable for a token that no configuration knows.
const tokenEnv = "GATEWATCH_API_TOKEN"

// target is a daemon and how to reach it.
type target struct {
	base      string // URL
	transport *http.Transport
	token     string
}

// target finds the daemon: the address of the command line, else the socket of
// the configuration where there is one now, else the address that it listens on.
func (cl *client) target() (*target, error) {
	t := &target{transport: &http.Transport{}}
	c := &config.Config{}
	if cl.url == "" || cl.token == "" {
		// With an address of its own, a command needs no configuration.
		read, err := config.LoadForReading(cl.path, cl.app.env)
		switch {
		case err == nil:
			c = read
		case cl.url == "" || cl.path != "":
			return nil, &exitError{code: exitUsage, err: err, hint: "or name the running gatewatch with --url"}
		}
	}
	address := cl.url
	if address == "" {
		address = c.API.Listen
		if info, err := os.Stat(c.API.Socket); c.API.Socket != "" && err == nil && info.Mode()&fs.ModeSocket != 0 {
			address = "unix:" + c.API.Socket
		}
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		t.base = "http://localhost"
		t.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return t, nil
	}
	var err error
	if t.base, err = baseURL(address); err != nil {
		return nil, err
	}
	t.token, err = cl.readToken(c)
	return t, err
}

func baseURL(address string) (string, error) {
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		return strings.TrimSuffix(address, "/"), nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", usage("--url is %q; write http://127.0.0.1:9377 or unix:/path/to/socket", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// readToken returns the token, "" where there is none. One of the
// configuration goes to nobody but the daemon of the configuration.
func (cl *client) readToken(c *config.Config) (string, error) {
	switch fromEnv, _ := cl.app.env(tokenEnv); {
	case cl.token != "":
		b, err := os.ReadFile(cl.token)
		if err != nil {
			return "", &exitError{code: exitUsage, err: fmt.Errorf("read the token: %w", err)}
		}
		return strings.TrimSpace(string(b)), nil
	case fromEnv != "":
		return fromEnv, nil
	case cl.url == "" && c.API.Token.IsSet():
		token, err := c.API.Token.Read()
		if err != nil {
			return "", &exitError{code: exitUsage, err: fmt.Errorf("api.token: %w", err), hint: "or name a file with --token-file"}
		}
		return token, nil
	}
	return "", nil
}

// statusError is an answer that is no success.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("gatewatch answered %d: %s", e.code, e.message)
}

const (
	clientTimeout = 30 * time.Second
	maxAnswer     = 1 << 30
)

// get asks for something. dst takes the answer.
func (cl *client) get(ctx context.Context, path string, q url.Values, dst any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return cl.ask(ctx, http.MethodGet, path, nil, dst)
}

// post asks for something to be done.
func (cl *client) post(ctx context.Context, path string, body, dst any) error {
	return cl.ask(ctx, http.MethodPost, path, body, dst)
}

func (cl *client) ask(ctx context.Context, method, path string, body, dst any) error {
	to, err := cl.target()
	if err != nil {
		return err
	}
	defer to.transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, to.base+path, send)
	if err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("address of the running gatewatch: %w", err)}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if to.token != "" {
		req.Header.Set("Authorization", "Bearer "+to.token)
	}
	resp, err := (&http.Client{Transport: to.transport, CheckRedirect: noRedirects}).Do(req)
	if err != nil {
		return fmt.Errorf("ask the running gatewatch: %w; is it running, and is this its api.listen?", unwrapURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		var e api.Error
		if json.Unmarshal(answer, &e) != nil || e.Error == "" {
			e.Error = http.StatusText(resp.StatusCode)
		}
		return &statusError{resp.StatusCode, e.Error}
	}
	if err := json.Unmarshal(answer, dst); err != nil {
		return fmt.Errorf("read the answer: %w; is this a gatewatch?", err)
	}
	return nil
}

// noRedirects keeps a token from being carried to another server.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// unwrapURL drops the method and address that package http repeats.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return cmp.Or(e.Err, err)
	}
	return err
}
