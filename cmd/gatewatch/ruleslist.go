package main

import (
	"context"
	"strings"

	"gatewatch/api"
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

// listedRule is one line of rules list -o jsonl.
type listedRule struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Level  string   `json:"level"`
	Kind   string   `json:"kind"` // detection, correlation or filter
	Status string   `json:"status,omitempty"`
	Family string   `json:"family,omitempty"`
	Tags   []string `json:"tags"`
	File   string   `json:"file"`
	Line   int      `json:"line"`
	// Alerting says that the rule opens incidents by itself.
	Alerting bool `json:"alerting"`
	Disabled bool `json:"disabled,omitempty"`
	// Shadow says that the rule is only watched: its incidents are told to nobody.
	Shadow bool          `json:"shadow,omitempty"`
	Tuned  []tunedChange `json:"tuned,omitempty"` // what the configuration made different
	// Live is what the rule did in the running daemon, for --live.
	Live *api.RuleWindow `json:"live,omitempty"`
}

// tunedChange is one setting that the configuration changed.
type tunedChange struct {
	Setting string `json:"setting"`
	From    string `json:"from"`
	To      string `json:"to"`
	File    string `json:"file"`
	Line    int    `json:"line"`
}

func newRulesList(a *app) *cobra.Command {
	var (
		rulePaths []string
		live      bool
	)
	cl := &client{app: a}
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the rules that the configuration loads",
		Long: "List prints the rules that the configuration loads, as they are after its tuning.\n" +
			"A rule of kind silent opens no incident by itself; it feeds correlations. One of\n" +
			"kind shadow is only watched: with --live, the running gatewatch says what it would\n" +
			"have done.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.rulesList(c.Context(), cl, live, rulePaths)
		},
	}
	cl.flags(c)
	rulesFlag(c, &rulePaths)
	c.Flags().BoolVar(&live, "live", false, "ask the running gatewatch what each rule did since its start")
	return c
}

func (a *app) rulesList(ctx context.Context, cl *client, live bool, rulePaths []string) error {
	c, err := a.readConfig(cl.path, rulePaths)
	if err != nil {
		return err
	}
	set, err := loadRules(c)
	if err != nil {
		return failed(err)
	}
	a.warnRules(set)
	list := listRules(set)
	if live {
		var status api.Status
		if err := cl.get(ctx, "/api/v1/status", nil, &status); err != nil {
			return failed(err)
		}
		addLive(list, status.Rules.Windows)
	}
	if cl.out == formatJSONL {
		return failed(writeLines(a.stdout, list))
	}
	var rows [][]string
	for i := range list {
		rows = append(rows, list[i].row(live))
	}
	columns := []column{{title: "LEVEL", max: 8}, {title: "KIND", max: 11}}
	if live {
		columns = append(columns, column{title: "FIRED", max: 9, right: true}, column{title: "INCIDENTS", max: 9, right: true}, column{title: "NOT TOLD", max: 8, right: true})
	}
	if !live { // with the numbers there is no room for both, and titles are what people know
		columns = append(columns, column{title: "ID", max: 36})
	}
	columns = append(columns, column{title: "TITLE"})
	return failed(writeTable(a.stdout, columns, rows))
}

// addLive adds what a running gatewatch says. A rule that it does not know was
// changed since its last reload.
func addLive(list []listedRule, windows []api.RuleWindow) {
	byID := make(map[string]*api.RuleWindow, len(windows))
	for i := range windows {
		byID[windows[i].ID] = &windows[i]
	}
	for i := range list {
		list[i].Live = byID[list[i].ID]
	}
}

func (r *listedRule) row(live bool) []string {
	kind := r.Kind
	switch {
	case r.Disabled:
		kind = "disabled"
	case r.Shadow && r.Alerting:
		kind = "shadow"
	case !r.Alerting && r.Kind == sigma.Detection.String():
		kind = "silent" // only feeds correlations
	}
	title := escape(r.Title)
	if len(r.Tuned) > 0 {
		var settings []string
		for _, t := range r.Tuned {
			settings = append(settings, t.Setting)
		}
		// In front, as a long title is cut at its end.
		title = "(tuned: " + strings.Join(settings, ", ") + ") " + title
	}
	cells := []string{shortLevel(r.Level), kind}
	if live {
		switch l := r.Live; {
		case l == nil:
			cells = append(cells, "", "", "")
		case l.Shadow:
			cells = append(cells, thousands(int64(l.Firings)), thousands(int64(l.Incidents)), thousands(int64(l.Untold)))
		default:
			cells = append(cells, thousands(int64(l.Firings)), thousands(int64(l.Incidents)), "")
		}
	}
	if !live {
		cells = append(cells, escape(r.ID))
	}
	return append(cells, title)
}

func listRules(set *ruleSet) []listedRule {
	alerting := map[string]bool{}
	for _, r := range set.index.Plan().Rules {
		alerting[r.ID] = alerting[r.ID] || r.Alerting
	}
	loaded := map[string]*sigma.Rule{}
	for _, r := range set.index.Rules() {
		loaded[r.ID] = r
	}
	var out []listedRule
	for _, r := range set.all {
		now := loaded[r.ID]
		if now == nil {
			now = r
		}
		l := listedRule{
			ID: r.ID, Title: r.Title, Level: now.Level.String(), Kind: r.Kind.String(), Status: r.Status, Family: r.Family, Tags: r.Tags,
			File: r.File, Line: r.Line, Alerting: loaded[r.ID] != nil && alerting[r.ID], Disabled: loaded[r.ID] == nil, Shadow: now.Shadow,
		}
		for _, t := range set.index.Tuned(r.ID) {
			l.Tuned = append(l.Tuned, tunedChange{t.Setting, t.From, t.To, t.File, t.Line})
		}
		if l.Tags == nil {
			l.Tags = []string{}
		}
		out = append(out, l)
	}
	return out
}

// shortLevel keeps the level column narrow.
func shortLevel(level string) string {
	if level == "informational" {
		return "info"
	}
	return level
}
