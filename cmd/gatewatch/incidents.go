package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/api"
	"gatewatch/config"

	"github.com/spf13/cobra"
)

func newIncidents(a *app) *cobra.Command {
	return group("incidents", "The incidents of a running gatewatch", newIncidentsList(a), newIncidentsShow(a))
}

// client is what both subcommands need to reach the daemon.
type client struct {
	app  *app
	out  outputFormat
	path string // of the configuration
	url  string
}

func (cl *client) flags(c *cobra.Command) {
	outputFlag(c, &cl.out)
	configFlag(c, &cl.path)
	c.Flags().StringVar(&cl.url, "url", "", "`address` of the running gatewatch (default: api.listen of the configuration)")
}

func newIncidentsList(a *app) *cobra.Command {
	cl := &client{app: a}
	var (
		least         level
		state, family string
		limit         int
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the incidents, by the time they were first seen",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			if least.set {
				q.Set("level", least.String())
			}
			if state != "" {
				if state != alerting.StateOpen && state != alerting.StateResolved {
					return usage("--state is %q; write open or resolved", state)
				}
				q.Set("state", state)
			}
			if family != "" {
				q.Set("family", family)
			}
			if limit != 0 {
				q.Set("limit", strconv.Itoa(limit))
			}
			return cl.list(c.Context(), q)
		},
	}
	cl.flags(c)
	levelFlag(c, &least, "level", "the least level to print")
	c.Flags().StringVar(&state, "state", "", "only incidents in this `state`: open or resolved")
	c.Flags().StringVar(&family, "family", "", "only incidents of this `family`")
	c.Flags().IntVar(&limit, "limit", 0, "only the newest `n`")
	complete(c, "state", alerting.StateOpen, alerting.StateResolved)
	return c
}

func newIncidentsShow(a *app) *cobra.Command {
	cl := &client{app: a}
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Print one incident",
		Long:  "Show prints one incident with its evidence. The beginning of an id is enough where it is unique.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s needs one id, as 'gatewatch incidents list' prints them", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return cl.show(c.Context(), args[0]) },
	}
	cl.flags(c)
	return c
}

func (cl *client) list(ctx context.Context, q url.Values) error {
	raw, err := cl.fetchAll(ctx, q)
	if err != nil {
		return failed(err)
	}
	if cl.out == formatJSONL {
		return failed(writeLines(cl.app.stdout, raw))
	}
	list, err := decodeIncidents(raw)
	if err != nil {
		return failed(err)
	}
	return failed(printIncidents(cl.app.stdout, list, true))
}

func (cl *client) show(ctx context.Context, id string) error {
	var raw json.RawMessage
	err := cl.get(ctx, "/api/v1/incidents/"+url.PathEscape(id), nil, &raw)
	if status, ok := errors.AsType[*statusError](err); ok && status.code == http.StatusNotFound {
		raw, err = cl.byPrefix(ctx, id)
	}
	if err != nil {
		return failed(err)
	}
	if cl.out == formatJSONL {
		return failed(writeLines(cl.app.stdout, []json.RawMessage{raw}))
	}
	var i alerting.Incident
	if err := json.Unmarshal(raw, &i); err != nil {
		return failed(fmt.Errorf("read the answer: %w", err))
	}
	return failed(printIncident(cl.app.stdout, &i))
}

func (cl *client) byPrefix(ctx context.Context, prefix string) (json.RawMessage, error) {
	raw, err := cl.fetchAll(ctx, nil)
	if err != nil {
		return nil, err
	}
	list, err := decodeIncidents(raw)
	if err != nil {
		return nil, err
	}
	found := -1
	for n, i := range list {
		if !strings.HasPrefix(i.ID, prefix) {
			continue
		}
		if found >= 0 {
			return nil, fmt.Errorf("more than one incident has an id that begins with %q; write more of it", prefix)
		}
		found = n
	}
	if found < 0 {
		return nil, fmt.Errorf("there is no incident %q; gatewatch incidents list prints all", prefix)
	}
	return raw[found], nil
}

func (cl *client) fetchAll(ctx context.Context, q url.Values) ([]json.RawMessage, error) {
	var answer struct {
		Incidents []json.RawMessage `json:"incidents"`
	}
	if err := cl.get(ctx, "/api/v1/incidents", q, &answer); err != nil {
		return nil, err
	}
	return answer.Incidents, nil
}

func decodeIncidents(raw []json.RawMessage) ([]*alerting.Incident, error) {
	out := make([]*alerting.Incident, len(raw))
	for i := range raw {
		out[i] = new(alerting.Incident)
		if err := json.Unmarshal(raw[i], out[i]); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
	}
	return out, nil
}

// statusError is an answer other than 200.
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

func (cl *client) get(ctx context.Context, path string, q url.Values, dst any) error {
	base, transport, err := cl.target()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	address := base + path
	if len(q) > 0 {
		address += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("address of the running gatewatch: %w", err)}
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("ask the running gatewatch: %w; is it running, and is this its api.listen?", unwrapURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e api.Error
		if json.Unmarshal(body, &e) != nil || e.Error == "" {
			e.Error = http.StatusText(resp.StatusCode)
		}
		return &statusError{resp.StatusCode, e.Error}
	}
	if err := json.Unmarshal(body, dst); err != nil {
		return fmt.Errorf("read the answer: %w; is this a gatewatch?", err)
	}
	return nil
}

// target returns the base URL of the daemon and how to reach it.
func (cl *client) target() (string, *http.Transport, error) {
	transport := &http.Transport{}
	address := cl.url
	if address == "" {
		c, err := config.LoadForReading(cl.path, cl.app.env)
		if err != nil {
			return "", nil, &exitError{code: exitUsage, err: err, hint: "or name the running gatewatch with --url"}
		}
		address = c.API.Listen
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return "http://localhost", transport, nil
	}
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		return strings.TrimSuffix(address, "/"), transport, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, usage("--url is %q; write http://127.0.0.1:9377 or unix:/path/to/socket", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port), transport, nil
}

// unwrapURL drops the method and address that package http repeats.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return cmp.Or(e.Err, err)
	}
	return err
}
