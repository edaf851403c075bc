package config

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/rules/sigma"
)

// Rules says which rules are loaded and how they are tuned.
type Rules struct {
	Builtin bool
	Paths   []string // absolute files or folders
	Disable []string // ids or titles

	// Lists are the values that %name% stands for in a rule with the modifier expand.
	Lists map[string][]string
	// Tune changes rules without touching their files; later entries win.
	Tune []sigma.Tuning
	// Filters are Sigma filter documents of the file, each padded so that what
	// is said of it has its line and column.
	Filters []sigma.Document
}

func (d *decoder) rules(c *Config, n *yaml.Node) {
	m := d.mapping(n, "rules")
	m.boolean("builtin", &c.Rules.Builtin)
	m.texts("paths", &c.Rules.Paths, nil)
	c.Rules.Paths = joinAll(c.Dir, c.Rules.Paths)
	m.texts("disable", &c.Rules.Disable, nil)
	d.lists(c, m)
	m.list("tune", func(item *yaml.Node, name string) {
		if t, ok := d.tuning(item, name); ok {
			c.Rules.Tune = append(c.Rules.Tune, t)
		}
	})
	m.list("filters", func(item *yaml.Node, name string) {
		if r := resolve(item); r.Kind != yaml.MappingNode {
			d.fail(item, "%s has to be a Sigma filter document, which is a mapping, not %s", name, kindName(r))
			return
		}
		if !slices.ContainsFunc(resolve(item).Content, func(k *yaml.Node) bool { return k.Value == "filter" }) {
			d.fail(item, "%s has no key filter; write a Sigma filter document: title, logsource and filter", name)
			return
		}
		text, ok := d.cutOut(item)
		if !ok {
			d.fail(item, "%s has to stand on lines of its own, without brackets or references around it", name)
			return
		}
		c.Rules.Filters = append(c.Rules.Filters, sigma.Document{File: d.file, Data: text})
	})
	m.done()
}

// Limits of the lists of a configuration.
const (
	maxLists     = 1000
	maxListFile  = 8 << 20
	maxListItems = 200_000
)

// lists reads rules.lists: names with their values, or with the file that holds
// them, one a line.
func (d *decoder) lists(c *Config, top *mapping) {
	n := top.take("lists")
	if n == nil {
		return
	}
	m := d.mapping(n, "rules.lists")
	c.Rules.Lists = map[string][]string{}
	names := make([]string, 0, len(m.keys))
	for name := range m.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > maxLists {
		d.fail(n, "rules.lists has %d lists; at most %d are read", len(names), maxLists)
		return
	}
	for _, name := range names {
		key := m.keys[name][0]
		value := m.take(name)
		if !isListName(name) {
			d.fail(key, "rules.lists has a list named %s; write letters, digits, _ and - only", quote(name))
			continue
		}
		if value == nil {
			c.Rules.Lists[name] = []string{}
			continue
		}
		if resolve(value).Kind == yaml.MappingNode {
			c.Rules.Lists[name] = d.listFile(value, "rules.lists."+name)
			continue
		}
		inner := &mapping{d: d, node: value, name: "rules.lists", keys: map[string][2]*yaml.Node{name: {key, value}}}
		var items []string
		inner.texts(name, &items, nil)
		if items == nil {
			items = []string{} // a list that is known and empty
		}
		if len(items) > maxListItems {
			d.fail(value, "rules.lists.%s has %d values; at most %d are read", name, len(items), maxListItems)
		}
		c.Rules.Lists[name] = items
	}
}

func isListName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return s != "" && strings.Trim(s, allowed) == ""
}

// listFile reads {file: path}: one value a line; # begins a comment.
func (d *decoder) listFile(n *yaml.Node, name string) []string {
	before := len(d.problems)
	m := d.mapping(n, name)
	var path string
	at := m.text("file", &path)
	m.done()
	if len(d.problems) > before {
		return nil
	}
	if at == nil || path == "" {
		d.fail(n, "%s names no file; write a list of values, or file: and a path", name)
		return nil
	}
	path = d.path(path)
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxListFile {
		err = fmt.Errorf("it is larger than %s", formatSize(maxListFile))
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		d.fail(at, "%s: the list %s cannot be read: %s", name, quote(path), err)
		return nil
	}
	out := []string{}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if len(out) > maxListItems {
		d.fail(at, "%s: the list %s has %d values; at most %d are read", name, quote(path), len(out), maxListItems)
		return nil
	}
	return out
}

// tuning reads one entry of rules.tune.
func (d *decoder) tuning(n *yaml.Node, name string) (sigma.Tuning, bool) {
	before := len(d.problems)
	t := sigma.Tuning{File: d.file, Line: n.Line, Column: n.Column}
	m := d.mapping(n, name)
	m.texts("rules", &t.Rules, nil)
	m.texts("tags", &t.Tags, nil)
	m.texts("titles", &t.Titles, nil)
	var level string
	if at := m.text("level", &level); at != nil {
		t.Level = new(observation.Level)
		if err := t.Level.UnmarshalText([]byte(level)); err != nil {
			d.fail(at, "%s.level: %s", name, err)
		}
	}
	var threshold string
	if at := m.text("threshold", &threshold); at != nil {
		v, err := strconv.ParseFloat(threshold, 64)
		if err != nil || v != v || v < 0 || v > 1<<53 {
			d.fail(at, "%s.threshold is %s; write a number of 0 or more", name, quote(threshold))
		}
		t.Threshold = &v
	}
	m.duration("timespan", &t.Timespan, time.Second, 365*day)
	m.texts("group_by", &t.GroupBy, nil)
	t.Enabled = d.flag(m, "enabled")
	t.Shadow = d.flag(m, "shadow")
	m.done()
	if len(d.problems) > before {
		return t, false
	}
	if len(t.Rules)+len(t.Tags)+len(t.Titles) == 0 {
		d.fail(n, "%s names no rule; add rules: [id], tags: [attack.t1110] or titles: [\"Failed logins*\"]", name)
	}
	if t.Level == nil && t.Threshold == nil && t.Timespan == 0 && t.GroupBy == nil && t.Enabled == nil && t.Shadow == nil {
		d.fail(n, "%s changes nothing; add level, threshold, timespan, group_by, enabled or shadow", name)
	}
	return t, len(d.problems) == before
}

// flag is boolean for a setting that may be left as it is.
func (d *decoder) flag(m *mapping, key string) *bool {
	if _, there := m.keys[key]; !there {
		m.known = append(m.known, key)
		return nil
	}
	v := new(bool)
	m.boolean(key, v)
	return v
}

// cutOut returns the text of a node on lines of its own, with blank lines and
// columns in the place of all that stands before it.
func (d *decoder) cutOut(n *yaml.Node) ([]byte, bool) {
	if n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle != 0 || len(n.Content) == 0 {
		return nil, false
	}
	last, next := 0, 0 // the last line of n, and the first one of what comes behind it
	for x := range nodes(n) {
		last = max(last, x.Line)
	}
	for x := range nodes(d.root) {
		if x.Line > last && (next == 0 || x.Line < next) {
			next = x.Line
		}
	}
	lines := strings.SplitAfter(string(d.data), "\n")
	if next == 0 {
		next = len(lines) + 1
	}
	var b strings.Builder
	b.WriteString(strings.Repeat("\n", n.Line-1))
	first := []rune(lines[n.Line-1])
	b.WriteString(strings.Repeat(" ", n.Column-1))
	b.WriteString(string(first[min(n.Column-1, len(first)):]))
	for _, line := range lines[n.Line : next-1] {
		// A dash alone on a line belongs to the next entry.
		if strings.TrimSpace(line) == "-" && strings.IndexByte(line, '-') < n.Column-1 {
			break
		}
		b.WriteString(line)
	}
	return []byte(b.String()), true
}

// nodes goes through a tree; what an alias stands for is not gone into.
func nodes(n *yaml.Node) iter.Seq[*yaml.Node] {
	return func(yield func(*yaml.Node) bool) {
		var walk func(*yaml.Node) bool
		walk = func(n *yaml.Node) bool {
			if !yield(n) {
				return false
			}
			for _, c := range n.Content {
				if !walk(c) {
					return false
				}
			}
			return true
		}
		walk(n)
	}
}
