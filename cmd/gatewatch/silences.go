package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/api"

	"github.com/spf13/cobra"
)

func newSilences(a *app) *cobra.Command {
	return group("silences", "The silences of a running gatewatch", newSilencesAdd(a), newSilencesList(a), newSilencesExpire(a))
}

func newSilencesAdd(a *app) *cobra.Command {
	cl := &client{app: a}
	var by, comment, duration, start, end, incident string
	c := &cobra.Command{
		Use:   "add [MATCHER...]",
		Short: "Keep incidents from being told for a while",
		Long: "Add makes a silence. All matchers have to hold, in the form of Alertmanager: level<=high,\n" +
			"client.address=192.0.2.0/28, rule=~\"Many.*\". With --incident the subject of an incident is silenced, as long\n" +
			"as its level does not rise.",
		Example: "  gatewatch silences add client.address=192.0.2.7 --for 8h --comment \"our scanner\"\n" +
			"  gatewatch silences add --incident 4f2a --for 3d",
		RunE: func(c *cobra.Command, matchers []string) error {
			r := api.SilenceRequest{Matchers: matchers, Author: by, Comment: comment, Duration: duration}
			for _, at := range [...]struct {
				flag, text string
				to         **time.Time
			}{{"start", start, &r.Start}, {"end", end, &r.End}} {
				if at.text == "" {
					continue
				}
				t, err := time.Parse(time.RFC3339, at.text)
				if err != nil {
					return usage("--%s is %q; write a time such as 2026-05-01T18:00:00Z", at.flag, at.text)
				}
				*at.to = &t
			}
			switch {
			case (duration == "") == (end == ""):
				return usage("say how long, with either --for or --end")
			case len(matchers) == 0 && incident == "":
				return usage("say what to silence: matchers such as client.address=192.0.2.7, or --incident ID")
			case len(matchers) > 0 && incident != "":
				return usage("matchers and --incident do not go together; keep one")
			}
			if duration != "" {
				if _, err := api.ParseDuration(duration); err != nil {
					return usage("--for: %s", err)
				}
			}
			for _, m := range matchers {
				if _, err := alerting.ParseMatchers(m); err != nil {
					return usage("%s: %s", m, err)
				}
			}
			return failed(cl.addSilence(c.Context(), r, incident))
		},
	}
	cl.flags(c)
	cl.byFlag(c, &by)
	c.Flags().StringVar(&comment, "comment", "", "`why`, for the others")
	c.Flags().StringVar(&duration, "for", "", "how long: a `duration` such as 30m, 8h or 3d")
	c.Flags().StringVar(&start, "start", "", "`time` at which it begins, in RFC 3339 (default now)")
	c.Flags().StringVar(&end, "end", "", "`time` at which it ends, instead of --for")
	c.Flags().StringVar(&incident, "incident", "", "`id` of the incident whose subject is to be silenced")
	return c
}

func (cl *client) addSilence(ctx context.Context, r api.SilenceRequest, incident string) error {
	if incident != "" {
		raw, err := cl.find(ctx, incident, false)
		if err != nil {
			return err
		}
		var i alerting.Incident
		if err := json.Unmarshal(raw, &i); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		r.Incident = i.ID
	}
	var raw json.RawMessage
	if err := cl.post(ctx, "/api/v1/silences", r, &raw); err != nil {
		return err
	}
	var s alerting.Silence
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return cl.say(raw, "silence %s holds from %s to %s for %s", s.ID, moment(s.Start), moment(s.End), matcherText(&s))
}

func newSilencesList(a *app) *cobra.Command {
	cl := &client{app: a}
	var state string
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the silences",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			if state != "" {
				if !slices.Contains([]string{alerting.SilenceActive, alerting.SilencePending, alerting.SilenceExpired}, state) {
					return usage("--state is %q; write active, pending or expired", state)
				}
				q.Set("state", state)
			}
			raw, err := cl.fetchSilences(c.Context(), q)
			if err != nil {
				return failed(err)
			}
			if cl.out == formatJSONL {
				return failed(writeLines(a.stdout, raw))
			}
			return failed(cl.printSilences(raw))
		},
	}
	cl.flags(c)
	c.Flags().StringVar(&state, "state", "", "only silences in this `state`: active, pending or expired")
	complete(c, "state", alerting.SilenceActive, alerting.SilencePending, alerting.SilenceExpired)
	return c
}

func (cl *client) fetchSilences(ctx context.Context, q url.Values) ([]json.RawMessage, error) {
	var answer struct {
		Silences []json.RawMessage `json:"silences"`
	}
	err := cl.get(ctx, "/api/v1/silences", q, &answer)
	return answer.Silences, err
}

func (cl *client) printSilences(raw []json.RawMessage) error {
	if len(raw) == 0 {
		_, err := fmt.Fprintln(cl.app.stdout, "no silences")
		return err
	}
	columns := []column{
		{title: "ID", max: 8}, {title: "STATE", max: 7}, {title: "ENDS", max: len(shortStamp)}, {title: "BY", max: 12}, {title: "MATCHERS"}, {title: "COMMENT"},
	}
	var rows [][]string
	for _, r := range raw {
		var s alerting.Silence
		if err := json.Unmarshal(r, &s); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		rows = append(rows, []string{
			escape(s.ID[:min(len(s.ID), 8)]), escape(s.State), s.End.UTC().Format(shortStamp), escape(s.Author), escape(matcherText(&s)), escape(s.Comment),
		})
	}
	return writeTable(cl.app.stdout, columns, rows)
}

func matcherText(s *alerting.Silence) string {
	var out []string
	for _, m := range s.Matchers {
		out = append(out, m.String())
	}
	return strings.Join(out, ",")
}

func newSilencesExpire(a *app) *cobra.Command {
	cl := &client{app: a}
	var by string
	c := &cobra.Command{
		Use:   "expire ID...",
		Short: "End silences now",
		Long:  "Expire ends silences now. The beginning of an id is enough where it is unique.",
		Args:  needID("silences", true),
		RunE: func(c *cobra.Command, ids []string) error {
			for _, id := range ids {
				if err := cl.expire(c.Context(), id, by); err != nil {
					return failed(err)
				}
			}
			return nil
		},
	}
	cl.flags(c)
	cl.byFlag(c, &by)
	return c
}

func (cl *client) expire(ctx context.Context, id, by string) error {
	expire := func(id string) (json.RawMessage, error) {
		var raw json.RawMessage
		err := cl.post(ctx, "/api/v1/silences/"+url.PathEscape(id)+"/expire", api.ActionRequest{By: by}, &raw)
		return raw, err
	}
	raw, err := expire(id)
	if status, ok := errors.AsType[*statusError](err); ok && status.code == http.StatusNotFound {
		if id, err = cl.silenceByPrefix(ctx, id); err == nil {
			raw, err = expire(id)
		}
	}
	if err != nil {
		return err
	}
	return cl.say(raw, "silence %s has ended", id)
}

func (cl *client) silenceByPrefix(ctx context.Context, prefix string) (string, error) {
	list, err := cl.fetchSilences(ctx, nil)
	if err != nil {
		return "", err
	}
	found := ""
	for _, raw := range list {
		var s alerting.Silence
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		if !strings.HasPrefix(s.ID, prefix) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("more than one silence has an id that begins with %q; write more of it", prefix)
		}
		found = cmp.Or(s.ID, found)
	}
	if found == "" {
		return "", fmt.Errorf("there is no silence %q; gatewatch silences list prints all", prefix)
	}
	return found, nil
}
