package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"gatewatch/config"
	"gatewatch/rules"
	"gatewatch/rules/sigma"
)

// builtinPrefix marks the files of built-in rules in messages.
const builtinPrefix = "builtin:"

// ruleSet is what the configuration's rules came to.
type ruleSet struct {
	index    *sigma.Index
	all      []*sigma.Rule // every rule that parsed, disabled ones too
	disabled int
	problems []sigma.Problem
}

// refused counts the documents that do not load, and the entries of rules.tune
// that do nothing.
func (s *ruleSet) refused() (rules, tunings int) {
	seen := map[string]bool{}
	for _, p := range s.problems {
		if p.Severity != sigma.Refused {
			continue
		}
		key := p.File + "\x00" + p.Rule
		if p.Rule == "" || p.Tuning {
			key = fmt.Sprintf("%s\x00%d:%d", p.File, p.Line, p.Column)
		}
		switch {
		case seen[key]:
		case p.Tuning:
			tunings++
		default:
			rules++
		}
		seen[key] = true
	}
	return rules, tunings
}

// loadConfig reads the configuration and adds the rule paths of the command
// line, which are relative to the working folder.
func (a *app) loadConfig(path string, rulePaths []string) (*config.Config, error) {
	return a.load(config.Load, path, rulePaths)
}

// readConfig is loadConfig for commands that send nothing: without receivers.
func (a *app) readConfig(path string, rulePaths []string) (*config.Config, error) {
	return a.load(config.LoadForReading, path, rulePaths)
}

func (a *app) load(load func(string, config.Env) (*config.Config, error), path string, rulePaths []string) (*config.Config, error) {
	c, err := load(path, a.env)
	if err != nil {
		return nil, failed(configError(err))
	}
	for _, p := range rulePaths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, failed(fmt.Errorf("find rules %s: %w", p, err))
		}
		c.Rules.Paths = append(c.Rules.Paths, abs)
	}
	return c, nil
}

// configError gives every fault of the configuration the exit code of one.
func configError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: exitUsage, err: err}
}

// ruleDocuments reads the rules of a configuration: the built-in ones, those of
// its paths, and its own filters.
func ruleDocuments(c *config.Config) ([]sigma.Document, error) {
	var docs []sigma.Document
	if c.Rules.Builtin {
		list, err := builtinRules()
		if err != nil {
			return nil, err
		}
		docs = append(docs, list...)
	}
	for _, p := range c.Rules.Paths {
		list, err := readRules(p)
		if err != nil {
			return nil, configError(err)
		}
		docs = append(docs, list...)
	}
	return append(docs, c.Rules.Filters...), nil
}

func builtinRules() ([]sigma.Document, error) {
	list, err := sigma.ReadFS(rules.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the built-in rules: %w", err)
	}
	for i := range list {
		list[i].File = builtinPrefix + list[i].File
	}
	return list, nil
}

// compileOptions returns what the configuration says of all rules, without
// what it changes in some of them.
func compileOptions(c *config.Config) sigma.CompileOptions {
	return sigma.CompileOptions{
		ResolveAfter: c.Incidents.ResolveAfter,
		IPv6Whole:    c.IPv6Group == 128,
		Lists:        c.Rules.Lists,
	}
}

// loadRules reads, checks and compiles the rules of a configuration. Rules
// that cannot be used are left out and listed; the error says what could not
// be read at all.
func loadRules(c *config.Config) (*ruleSet, error) {
	docs, err := ruleDocuments(c)
	if err != nil {
		return nil, err
	}
	set, problems := sigma.Parse(docs)
	out := &ruleSet{all: set.Rules(), problems: problems}
	off := newDisabled(c.Rules.Disable)
	o := compileOptions(c)
	o.Disable, o.Tune = off.match, c.Rules.Tune
	index, more := set.Compile(o)
	out.index, out.problems = index, append(out.problems, more...)
	out.disabled = out.left()
	if unknown := off.unknown(); len(unknown) > 0 {
		return nil, configError(unknownRules(unknown, out.all))
	}
	return out, nil
}

// readRules reads one file or folder.
func readRules(name string) ([]sigma.Document, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the rules %s do not exist; make the file or folder, or take it out of rules.paths or --rules", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	dir, root := name, "."
	if !info.IsDir() {
		dir, root = filepath.Split(name)
	}
	list, err := sigma.ReadFS(os.DirFS(filepath.Clean(dir)), root)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].File = path.Join(filepath.ToSlash(filepath.Clean(dir)), list[i].File)
	}
	return list, nil
}

// disabled is the list of rules to leave out, by id, name or title.
type disabled struct {
	words []string
	used  []bool
}

func newDisabled(words []string) *disabled {
	return &disabled{words: words, used: make([]bool, len(words))}
}

func (d *disabled) match(r *sigma.Rule) bool {
	hit := false
	for i, w := range d.words {
		if w == r.ID || w == r.Title || w == r.Name && w != "" {
			d.used[i], hit = true, true
		}
	}
	return hit
}

func (d *disabled) unknown() []string {
	var out []string
	for i, w := range d.words {
		if !d.used[i] {
			out = append(out, w)
		}
	}
	return out
}

func unknownRules(words []string, all []*sigma.Rule) error {
	var titles []string
	for _, r := range all {
		titles = append(titles, r.Title, r.ID)
	}
	slices.Sort(titles)
	if near := config.Nearest(words[0], titles); near != "" {
		return fmt.Errorf("rules.disable names %q, but there is no such rule; did you mean %q?", words[0], near)
	}
	return fmt.Errorf("rules.disable names %q, but there is no rule with this id or title; gatewatch rules list prints them", words[0])
}

// left counts the rules that are left out because somebody said so.
func (s *ruleSet) left() (n int) {
	in := map[string]bool{}
	for _, r := range s.index.Rules() {
		in[r.ID] = true
	}
	for _, p := range s.problems {
		if p.Severity == sigma.Refused && !p.Tuning {
			in[p.Rule] = true
		}
	}
	for _, r := range s.all {
		if !in[r.ID] {
			n++
		}
	}
	return n
}

// leftOut says what a refused problem cost.
func leftOut(p *sigma.Problem) string {
	if p.Tuning {
		return " (the rule stays as it was written)"
	}
	return " (this rule is left out)"
}

// warnRules prints the problems of rules that did not keep the rest from
// loading.
func (a *app) warnRules(set *ruleSet) {
	for _, p := range set.problems {
		text := p.Error()
		if p.Severity == sigma.Refused {
			text += leftOut(&p)
		}
		_, _ = fmt.Fprintln(a.stderr, escape(text)) // nowhere else to say it
	}
}
