package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gatewatch/alerting"
	"gatewatch/api"

	"github.com/spf13/cobra"
)

func newIncidents(a *app) *cobra.Command {
	return group("incidents", "The incidents of a running gatewatch",
		newIncidentsList(a), newIncidentsShow(a),
		newIncidentsAct(a, alerting.ActionAcknowledge), newIncidentsAct(a, alerting.ActionResolve), newFalsePositive(a))
}

// incidentStates are what --state may be.
var incidentStates = [...]string{alerting.StateOpen, alerting.StateAcknowledged, alerting.StateSilenced, api.StateUnresolved, alerting.StateResolved}

func newIncidentsList(a *app) *cobra.Command {
	cl := &client{app: a}
	var (
		least         level
		state, family string
		limit         int
		shadow        bool
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
				if !slices.Contains(incidentStates[:], state) {
					return usage("--state is %q; write open, acknowledged, silenced, unresolved or resolved", state)
				}
				q.Set("state", state)
			}
			if family != "" {
				q.Set("family", family)
			}
			if limit != 0 {
				q.Set("limit", strconv.Itoa(limit))
			}
			if shadow {
				q.Set("shadow", "true")
			}
			return cl.list(c.Context(), q)
		},
	}
	cl.flags(c)
	levelFlag(c, &least, "level", "the least level to print")
	c.Flags().StringVar(&state, "state", "", "only incidents in this `state`: open, acknowledged, silenced, resolved, or unresolved for all but these")
	c.Flags().StringVar(&family, "family", "", "only incidents of this `family`")
	c.Flags().IntVar(&limit, "limit", 0, "only the newest `n`")
	shadowFlag(c, &shadow)
	complete(c, "state", incidentStates[:]...)
	return c
}

func shadowFlag(c *cobra.Command, shadow *bool) {
	c.Flags().BoolVar(shadow, "shadow", false, "what rules that are only watched would have opened, instead")
}

// needID is the check of arguments of a command about incidents.
func needID(what string, many bool) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 || len(args) > 1 && !many {
			return fmt.Errorf("%s needs one id, as 'gatewatch %s list' prints them", c.CommandPath(), what)
		}
		return nil
	}
}

func newIncidentsShow(a *app) *cobra.Command {
	cl := &client{app: a}
	var shadow bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Print one incident",
		Long:  "Show prints one incident with its evidence. The beginning of an id is enough where it is unique.",
		Args:  needID("incidents", false),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := cl.find(c.Context(), args[0], shadow)
			if err != nil {
				return failed(err)
			}
			return failed(cl.print(raw))
		},
	}
	cl.flags(c)
	shadowFlag(c, &shadow)
	return c
}

// newIncidentsAct is the command of an action that needs nothing but an id.
func newIncidentsAct(a *app, kind alerting.ActionKind) *cobra.Command {
	cl := &client{app: a}
	var by, comment string
	c := &cobra.Command{Args: needID("incidents", true)}
	done := "resolved"
	switch kind {
	case alerting.ActionAcknowledge:
		done = "acknowledged"
		c.Use, c.Aliases, c.Short = "ack ID...", []string{"acknowledge"}, "Say that somebody has taken incidents on"
		c.Long = "Ack says that somebody has taken incidents on. They are not told again until their level rises."
	default:
		c.Use, c.Short = "resolve ID...", "Say that incidents are over"
		c.Long = "Resolve says that incidents are over. They open again when a rule fires for them once more, or when they\n" +
			"still grow a while later."
	}
	c.RunE = func(c *cobra.Command, ids []string) error {
		for _, id := range ids {
			i, raw, err := cl.act(c.Context(), id, kind, by, comment)
			if err != nil {
				return failed(err)
			}
			if err := cl.say(raw, "incident %s is %s: %s", i.ID, done, i.Rule.Title); err != nil {
				return failed(err)
			}
		}
		return nil
	}
	cl.flags(c)
	cl.byFlag(c, &by)
	c.Flags().StringVar(&comment, "comment", "", "`why`, for the others")
	return c
}

// act asks for an action on the incident whose id begins so.
func (cl *client) act(ctx context.Context, id string, kind alerting.ActionKind, by, comment string) (*alerting.Incident, json.RawMessage, error) {
	raw, err := cl.find(ctx, id, false)
	if err != nil {
		return nil, nil, err
	}
	var i alerting.Incident
	if err := json.Unmarshal(raw, &i); err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	path := "/api/v1/incidents/" + url.PathEscape(i.ID) + "/" + strings.ReplaceAll(string(kind), "_", "-")
	if err := cl.post(ctx, path, api.ActionRequest{By: by, Comment: comment}, &raw); err != nil {
		return nil, nil, err
	}
	i = alerting.Incident{}
	if err := json.Unmarshal(raw, &i); err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return &i, raw, nil
}

// say prints what was done, or the answer itself for programs.
func (cl *client) say(raw json.RawMessage, format string, args ...any) error {
	if cl.out == formatJSONL {
		return writeLines(cl.app.stdout, []json.RawMessage{raw})
	}
	_, err := fmt.Fprintln(cl.app.stdout, escape(fmt.Sprintf(format, args...)))
	return err
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

func (cl *client) print(raw json.RawMessage) error {
	if cl.out == formatJSONL {
		return writeLines(cl.app.stdout, []json.RawMessage{raw})
	}
	var i alerting.Incident
	if err := json.Unmarshal(raw, &i); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return printIncident(cl.app.stdout, &i)
}

// find returns the incident with the id, or the only one whose id begins so.
func (cl *client) find(ctx context.Context, id string, shadow bool) (json.RawMessage, error) {
	q := url.Values{}
	if shadow {
		q.Set("shadow", "true")
	}
	var raw json.RawMessage
	err := cl.get(ctx, "/api/v1/incidents/"+url.PathEscape(id), q, &raw)
	if status, ok := errors.AsType[*statusError](err); ok && status.code == http.StatusNotFound {
		return cl.byPrefix(ctx, id, q)
	}
	return raw, err
}

func (cl *client) byPrefix(ctx context.Context, prefix string, q url.Values) (json.RawMessage, error) {
	raw, err := cl.fetchAll(ctx, q)
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
