package main

import (
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

// listedRule is one line of rules list -o jsonl.
type listedRule struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Level  string   `json:"level"`
	Kind   string   `json:"kind"` // detection, correlation or filter
	Family string   `json:"family,omitempty"`
	Tags   []string `json:"tags"`
	File   string   `json:"file"`
	Line   int      `json:"line"`
	// Alerting says that the rule opens incidents by itself.
	Alerting bool `json:"alerting"`
	Disabled bool `json:"disabled,omitempty"`
}

func newRules(a *app) *cobra.Command {
	return group("rules", "The rule set", newRulesList(a), newRulesTest(a))
}

func newRulesList(a *app) *cobra.Command {
	var (
		out       outputFormat
		path      string
		rulePaths []string
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the rules that the configuration loads",
		Long: "List prints the rules that the configuration loads. A rule of kind silent opens no\n" +
			"incident by itself; it feeds correlations.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.rulesList(out, path, rulePaths)
		},
	}
	outputFlag(c, &out)
	configFlag(c, &path)
	rulesFlag(c, &rulePaths)
	return c
}

func (a *app) rulesList(out outputFormat, path string, rulePaths []string) error {
	c, err := a.readConfig(path, rulePaths)
	if err != nil {
		return err
	}
	set, err := loadRules(c)
	if err != nil {
		return failed(err)
	}
	a.warnRules(set)
	list := listRules(set)
	if out == formatJSONL {
		return failed(writeLines(a.stdout, list))
	}
	var rows [][]string
	for _, r := range list {
		kind := r.Kind
		switch {
		case r.Disabled:
			kind = "disabled"
		case !r.Alerting && r.Kind == sigma.Detection.String():
			kind = "silent" // only feeds correlations
		}
		rows = append(rows, []string{shortLevel(r.Level), kind, escape(r.ID), escape(r.Title)})
	}
	columns := []column{{title: "LEVEL", max: 8}, {title: "KIND", max: 11}, {title: "ID", max: 36}, {title: "TITLE"}}
	return failed(writeTable(a.stdout, columns, rows))
}

func listRules(set *ruleSet) []listedRule {
	alerting := map[string]bool{}
	for _, r := range set.index.Plan().Rules {
		alerting[r.ID] = alerting[r.ID] || r.Alerting
	}
	loaded := map[*sigma.Rule]bool{}
	for _, r := range set.index.Rules() {
		loaded[r] = true
	}
	var out []listedRule
	for _, r := range set.all {
		l := listedRule{
			ID: r.ID, Title: r.Title, Level: r.Level.String(), Kind: r.Kind.String(), Family: r.Family, Tags: r.Tags,
			File: r.File, Line: r.Line, Alerting: loaded[r] && alerting[r.ID], Disabled: !loaded[r],
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
