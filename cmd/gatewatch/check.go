package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"gatewatch/config"
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

// problem is one line of check -o jsonl.
type problem struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Severity string `json:"severity"` // error, refused or warning
	Rule     string `json:"rule,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Text     string `json:"text,omitempty"` // the offending text of a rule
}

func (p problem) String() string {
	s := p.Message
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	if p.Severity != "error" {
		s = p.Severity + ": " + s
	}
	if p.File != "" {
		s = fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, s)
	}
	return s
}

func newCheck(a *app) *cobra.Command {
	var (
		out       outputFormat
		path      string
		rulePaths []string
	)
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and the rules, before a reload",
		Long: "Check reads the configuration and all rules as run does and prints every mistake.\n" +
			"It ends with 2 when the configuration is wrong or a rule was refused.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.check(out, path, rulePaths) },
	}
	outputFlag(c, &out)
	configFlag(c, &path)
	rulesFlag(c, &rulePaths)
	return c
}

// rulesFlag adds --rules.
func rulesFlag(c *cobra.Command, paths *[]string) {
	c.Flags().StringSliceVarP(paths, "rules", "r", nil, "more rules: a `path` of a file or folder; may be given several times")
}

func (a *app) check(out outputFormat, path string, rulePaths []string) error {
	var problems []problem
	var set *ruleSet
	c, err := a.loadConfig(path, rulePaths)
	if err == nil {
		to, faults := targets(c, slog.New(slog.DiscardHandler))
		closeTargets(to)
		problems = append(problems, fromError(faults)...)
		problems = append(problems, fromError(a.checkKafka(c))...)
		set, err = loadRules(c)
	}
	problems = append(problems, fromError(err)...)
	bad := len(problems) > 0
	if c != nil {
		for _, text := range advice(c) {
			problems = append(problems, problem{Severity: "warning", Message: text})
		}
	}
	if set != nil {
		for _, text := range sharingAdvice(c, set.index.Plan()) {
			problems = append(problems, problem{Severity: "warning", Message: text})
		}
		for _, p := range set.problems {
			bad = bad || p.Severity == sigma.Refused
			problems = append(problems, problem{
				File: p.File, Line: p.Line, Column: p.Column,
				Severity: p.Severity.String(), Rule: p.Rule, Message: p.What(), Hint: p.Hint, Text: p.Text,
			})
		}
	}
	if err := a.printCheck(out, c, set, problems); err != nil {
		return failed(err)
	}
	if bad {
		return silent(exitUsage)
	}
	return nil
}

func (a *app) printCheck(out outputFormat, c *config.Config, set *ruleSet, problems []problem) error {
	if out == formatJSONL {
		return writeLines(a.stdout, problems)
	}
	for _, p := range problems {
		if _, err := fmt.Fprintln(a.stdout, escape(p.String())); err != nil {
			return err
		}
	}
	if c != nil {
		if _, err := fmt.Fprintf(a.stdout, "configuration: %s; %s, %s\n", escape(cmp.Or(c.Path, noFile)),
			count(len(c.Sources), "source", "sources"), count(len(c.Receivers), "receiver", "receivers")); err != nil {
			return err
		}
		for _, text := range recognise(c) {
			if _, err := fmt.Fprintln(a.stdout, "log: "+escape(text)); err != nil {
				return err
			}
		}
	}
	if set != nil {
		return printRuleCounts(a.stdout, set)
	}
	return nil
}

func printRuleCounts(w io.Writer, set *ruleSet) error {
	refused := "none refused"
	rules, tunings := set.refused()
	if rules > 0 {
		refused = fmt.Sprintf("%d refused", rules)
	}
	if tunings > 0 {
		refused += fmt.Sprintf("; %s without effect", count(tunings, "tuning", "tunings"))
	}
	_, err := fmt.Fprintf(w, "rules: %d loaded, %d disabled, %s\n", len(set.index.Rules()), set.disabled, refused)
	return err
}

// noFile stands where the path of a configuration would.
const noFile = "defaults, no file"

// advice says what is no mistake in a configuration but may surprise: what is
// not there, and may come to be there later.
func advice(c *config.Config) []string {
	var out []string
	for i := range c.Sources {
		s := &c.Sources[i]
		found := s.Stdin || s.Kafka != nil
		for _, pattern := range s.Files {
			matches, _ := filepath.Glob(pattern) // the pattern was checked
			found = found || len(matches) > 0
		}
		if !found {
			out = append(out, fmt.Sprintf("sources[%d]: no file matches %s now; one that appears later is picked up", i, strings.Join(s.Files, ", ")))
		}
	}
	if len(c.Receivers) == 0 {
		out = append(out, "no receivers: nobody is told of incidents; 'gatewatch incidents list' shows them")
	}
	for _, name := range c.Unrouted() {
		out = append(out, fmt.Sprintf("receivers: no route leads to %s, so it is told of nothing", name))
	}
	if dir := filepath.Dir(c.State.Path); !isFolder(dir) {
		out = append(out, fmt.Sprintf("state.path: the folder %s does not exist; make it before run", dir))
	}
	return out
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// fromError spreads an error over the mistakes that it holds.
func fromError(err error) []problem {
	if err == nil {
		return nil
	}
	list, ok := errors.AsType[config.Problems](err)
	if !ok {
		return []problem{{Severity: "error", Message: err.Error()}}
	}
	var out []problem
	for _, p := range list {
		out = append(out, problem{File: p.File, Line: p.Line, Column: p.Column, Severity: "error", Message: p.Message})
	}
	return out
}

// count is "1 source" or "3 sources".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
