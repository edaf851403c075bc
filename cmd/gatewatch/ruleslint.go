package main

import (
	"fmt"
	"slices"
	"strings"

	"gatewatch/rules/sigma"
	"gatewatch/rules/sigma/lint"

	"github.com/spf13/cobra"
)

// lintFinding is one line of rules lint -o jsonl.
type lintFinding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"` // error, warning or info
	Check    string `json:"check"`
	Rule     string `json:"rule,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Text     string `json:"text,omitempty"` // the offending text
}

// severity is a flag value.
type severity struct {
	value lint.Severity
	least lint.Severity
}

// String, Set and Type make severity a flag value.
func (s *severity) String() string {
	if s.value == 0 {
		return ""
	}
	return s.value.String()
}

// Set reads the value.
func (s *severity) Set(text string) error {
	v, ok := lint.ParseSeverity(text)
	if !ok || v < s.least {
		return fmt.Errorf("write %s", strings.Join(severities(s.least), " or "))
	}
	s.value = v
	return nil
}

// Type is shown in the usage.
func (s *severity) Type() string { return "severity" }

func severities(least lint.Severity) []string {
	var out []string
	for v := least; v <= lint.Error; v++ {
		out = append(out, v.String())
	}
	return out
}

func newRulesLint(a *app) *cobra.Command {
	var (
		out        outputFormat
		configPath string
		failOn     = severity{lint.Error, lint.Warning}
		show       = severity{lint.Info, lint.Info}
	)
	c := &cobra.Command{
		Use:   "lint [PATH...]",
		Short: "Look through rules for faults and bad habits",
		Long: "Lint checks rules: what is refused, what can never match, what costs more than it\n" +
			"should, what another rule does already, what people will miss. A PATH is a rule file or\n" +
			"a folder. Without one the built-in rules are checked or, with --config, the rules that it\n" +
			"loads. Rules may refer to the built-in ones and to those of --config.\n\n" +
			"A warning is silenced by a comment on its line or above it:\n" +
			"  # lint-ignore: CHECK and why it is right here",
		Example: "  gatewatch rules lint /etc/gatewatch/rules\n" +
			"  gatewatch rules lint --fail-on warning my-rules shop.yml",
		RunE: func(_ *cobra.Command, args []string) error {
			return failed(a.rulesLint(out, configPath, failOn.value, show.value, args))
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	outputFlag(c, &out)
	configFlag(c, &configPath)
	c.Flags().Lookup("config").Usage = "configuration `file` whose rules and settings the rules live with"
	c.Flags().Var(&failOn, "fail-on", "end with 1 when a fault of this severity was found, or a worse one")
	c.Flags().Var(&show, "severity", "the least severity to print")
	complete(c, "fail-on", severities(lint.Warning)...)
	complete(c, "severity", severities(lint.Info)...)
	return c
}

func (a *app) rulesLint(out outputFormat, configPath string, failOn, show lint.Severity, paths []string) error {
	docs, o, err := a.lintInput(configPath, paths)
	if err != nil {
		return err
	}
	report := lint.Run(docs, o)
	if report.Rules == 0 && len(report.Findings) == 0 {
		where := "the built-in rules"
		if len(paths) > 0 {
			where = strings.Join(paths, ", ")
		}
		return fmt.Errorf("%s: there are no rules; they stand in files named *.yml or *.yaml", where)
	}
	if err := a.printLint(out, report, show, len(docs)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if report.Worst() >= failOn {
		return silent(exitFailed)
	}
	return nil
}

// lintInput reads the rules to check, and those that they live with.
func (a *app) lintInput(configPath string, paths []string) ([]sigma.Document, lint.Options, error) {
	var o lint.Options
	var err error
	if configPath == "" {
		o.Context, err = builtinRules()
	} else {
		c, fault := a.readConfig(configPath, nil)
		if fault != nil {
			return nil, o, fault
		}
		o.Compile = compileOptions(c)
		o.Compile.Disable, o.Compile.Tune = newDisabled(c.Rules.Disable).match, c.Rules.Tune
		o.Context, err = ruleDocuments(c)
	}
	if err != nil {
		return nil, o, err
	}
	if len(paths) == 0 {
		docs := o.Context
		o.Context = nil
		return docs, o, nil
	}
	var docs []sigma.Document
	for _, p := range paths {
		list, err := readRules(p)
		if err != nil {
			return nil, o, err
		}
		for _, d := range list {
			if !slices.ContainsFunc(docs, func(o sigma.Document) bool { return o.File == d.File }) {
				docs = append(docs, d)
			}
		}
	}
	return docs, o, nil
}

func (a *app) printLint(out outputFormat, report *lint.Report, show lint.Severity, files int) error {
	var list []lintFinding
	var text strings.Builder
	hidden := 0
	for i := range report.Findings {
		f := &report.Findings[i]
		if f.Severity < show {
			hidden++
			continue
		}
		text.WriteString(escape(f.String()) + "\n")
		list = append(list, lintFinding{
			File: f.File, Line: f.Line, Column: f.Column, Severity: f.Severity.String(), Check: f.Check, Rule: f.Rule,
			Message: f.Message, Hint: f.Hint, Text: f.Text,
		})
	}
	if out == formatJSONL {
		return writeLines(a.stdout, list)
	}
	if text.Len() > 0 {
		text.WriteByte('\n')
	}
	text.WriteString(lintSummary(report, files, hidden) + "\n")
	_, err := fmt.Fprint(a.stdout, text.String())
	return err
}

func lintSummary(report *lint.Report, files, hidden int) string {
	what := fmt.Sprintf("%s, %s, %d info", plural(report.Count(lint.Error), "error"), plural(report.Count(lint.Warning), "warning"), report.Count(lint.Info))
	if len(report.Findings) == 0 {
		what = "no faults"
	}
	what += fmt.Sprintf(" in %s of %s", plural(report.Rules, "rule"), plural(files, "file"))
	if hidden > 0 {
		what += fmt.Sprintf("; %d not shown", hidden)
	}
	if report.Ignored > 0 {
		what += fmt.Sprintf("; %d ignored by comments", report.Ignored)
	}
	return what
}
