// Package lint looks through Sigma rules for what is wrong with them: what the
// parser refuses, what can never match, what costs more than it should, what
// another rule does already, and what people who read an incident will miss.
//
// [Run] takes documents and returns a [Report]. Each [Finding] has its place,
// a severity, the name of its check and what to write instead. A comment in
// the rule file can silence a warning or note, with a reason. docs/rule-lint.md
// describes the checks.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"gatewatch/rules/sigma"
)

// Severity says how much a finding matters.
type Severity uint8

// The severities, least first.
const (
	Info    Severity = iota + 1 // a habit, or an advice
	Warning                     // probably not what was meant, or dear
	Error                       // the rule is refused, or can never fire
)

// String returns the word used in output.
func (s Severity) String() string { return [...]string{"", "info", "warning", "error"}[s] }

// ParseSeverity reads the word used in output.
func ParseSeverity(s string) (Severity, bool) {
	for v := Info; v <= Error; v++ {
		if v.String() == s {
			return v, true
		}
	}
	return 0, false
}

// Finding is one fault of a rule. Line and Column are 1-based. No text of it
// has control characters, except Text, which is as the rule has it.
type Finding struct {
	File         string
	Line, Column int
	Severity     Severity
	Check        string // its name, see Checks
	Rule         string // id, name or title, "" where none is known
	Text         string // the offending text
	Message      string // what is wrong
	Hint         string // what to write instead
}

// String returns "file:line:column: severity: message; hint [check]".
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Severity, f.Message)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	fmt.Fprintf(&b, " [%s]", f.Check)
	return b.String()
}

// Options say against what rules are checked.
type Options struct {
	// Context are documents that rules may refer to and are compared with.
	// Nothing is found in them. One of which an id or name is also among the
	// rules that are checked is left out, with all of its file.
	Context []sigma.Document
	// Compile is as for loading the rules.
	Compile sigma.CompileOptions
}

// Report is what was found.
type Report struct {
	Findings []Finding // in the order of files and places
	Rules    int       // documents, those that are refused too
	Ignored  int       // findings that a comment silences
}

// Count returns how many findings have the severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Worst returns the highest severity found, 0 for none.
func (r *Report) Worst() Severity {
	worst := Severity(0)
	for i := range r.Findings {
		worst = max(worst, r.Findings[i].Severity)
	}
	return worst
}

// Run checks documents. It is safe for concurrent use; documents are not
// changed.
func Run(docs []sigma.Document, o Options) *Report {
	l := newLinter(docs, o)
	for _, d := range l.docs {
		l.header(d)
		if c, ok := l.conditionOf(d.rule); ok {
			l.values(d, c)
			l.condition(d, c)
		}
		switch d.rule.Kind {
		case sigma.Correlation:
			l.correlation(d)
		case sigma.Filter:
			l.filter(d)
		}
	}
	l.titles()
	l.shadows()
	return l.report(docs)
}

// linter holds the rules of one run and what was found in them.
type linter struct {
	o        Options
	set      *sigma.Set
	docs     []*document              // those to check that load
	all      []*document              // with those of the context
	trees    map[string]map[int]*tree // by file and line
	found    []Finding
	seen     map[Finding]bool
	alerting map[*sigma.Rule]bool        // opens incidents by itself
	now      map[*sigma.Rule]*sigma.Rule // what tunings and lists made of it; nil for one that is disabled
	fedTo    map[*sigma.Rule][]*sigma.Rule
}

func newLinter(docs []sigma.Document, o Options) *linter {
	l := &linter{
		o: o, trees: map[string]map[int]*tree{}, seen: map[Finding]bool{},
		alerting: map[*sigma.Rule]bool{}, now: map[*sigma.Rule]*sigma.Rule{}, fedTo: map[*sigma.Rule][]*sigma.Rule{},
	}
	given := map[string]bool{}
	for i := range docs {
		given[docs[i].File] = true
	}
	every := slices.Concat(docs, l.context(docs))
	for i := range every {
		roots, _ := sigma.Trees(every[i])
		at := map[int]*tree{}
		for _, root := range roots {
			at[max(root.Line, 1)] = newTree(root)
		}
		l.trees[every[i].File] = at
	}
	set, problems := sigma.Parse(every)
	index, more := set.Compile(o.Compile)
	l.set = set
	for _, p := range append(problems, more...) {
		if given[p.File] || p.Tuning {
			l.problem(p)
		}
	}
	l.relate(index)
	for _, r := range set.Rules() {
		d := &document{rule: r, tree: l.trees[r.File][r.Line]}
		if d.tree == nil {
			continue
		}
		l.all = append(l.all, d)
		if given[r.File] {
			l.docs = append(l.docs, d)
		}
	}
	return l
}

// context returns the documents of the context of which no id or name is among
// those to check. It warns of rules that have the id of another one there: where
// both are loaded, one is refused.
func (l *linter) context(docs []sigma.Document) []sigma.Document {
	taken := map[string]Finding{}
	files, texts := map[string]bool{}, map[string]bool{}
	each := func(d sigma.Document, do func(n *yaml.Node)) {
		roots, _ := sigma.Trees(d)
		for _, root := range roots {
			for _, key := range []string{"id", "name"} {
				if n := under(root, key); n != nil && n.Value != "" {
					do(n)
				}
			}
		}
	}
	for i := range docs {
		files[docs[i].File], texts[string(docs[i].Data)] = true, true
		each(docs[i], func(n *yaml.Node) {
			taken[n.Value] = Finding{File: docs[i].File, Line: n.Line, Column: n.Column, Rule: n.Value, Text: n.Value}
		})
	}
	var out []sigma.Document
	for i := range l.o.Context {
		o := &l.o.Context[i]
		free := !files[o.File]
		each(*o, func(n *yaml.Node) {
			f, clash := taken[n.Value]
			if free = free && !clash; !clash || files[o.File] || texts[string(o.Data)] {
				return
			}
			f.Severity, f.Check = Warning, "same-id"
			f.Message = printable(fmt.Sprintf("the document at %s:%d has %s too; where both are loaded, one is refused", o.File, n.Line, quote(n.Value)))
			f.Hint = "give it another one, or do not load the other file"
			l.found = append(l.found, f)
		})
		if free {
			out = append(out, *o)
		}
	}
	return out
}

// relate works out which rules open incidents by themselves and which feed
// which.
func (l *linter) relate(index *sigma.Index) {
	byID := map[string]bool{}
	plan := index.Plan()
	for i := range plan.Rules {
		if plan.Rules[i].Alerting {
			byID[plan.Rules[i].ID] = true
		}
	}
	tuned := map[string]*sigma.Rule{}
	for _, r := range index.Rules() {
		tuned[r.ID] = r
	}
	for _, r := range l.set.Rules() {
		l.now[r] = tuned[r.ID]
		l.alerting[r] = byID[r.ID] && l.now[r] != nil
		if c, ok := r.Counted(); ok {
			for _, from := range c.Inputs {
				l.fedTo[from] = append(l.fedTo[from], r)
			}
		}
	}
}

// off reports whether the rule is disabled.
func (l *linter) off(r *sigma.Rule) bool { return l.now[r] == nil }

// rule returns the rule as it is compiled, or as it is written where it is not.
func (l *linter) rule(r *sigma.Rule) *sigma.Rule {
	if now := l.now[r]; now != nil {
		return now
	}
	return r
}

// conditionOf is what a detection or filter says, with the lists of the
// configuration. It is false where one is missing.
func (l *linter) conditionOf(r *sigma.Rule) (sigma.Condition, bool) { return l.rule(r).Condition() }

// counted is what a correlation says, as tuned.
func (l *linter) counted(r *sigma.Rule) sigma.Counted {
	c, _ := l.rule(r).Counted()
	return c
}

// add enters a finding once.
func (l *linter) add(d *document, check string, severity Severity, line, column int, text, hint, format string, args ...any) {
	f := Finding{
		File: d.rule.File, Line: max(line, 1), Column: max(column, 1), Severity: severity, Check: check, Rule: d.rule.ID,
		Text: text, Message: printable(fmt.Sprintf(format, args...)), Hint: printable(hint),
	}
	if !l.seen[f] {
		l.seen[f] = true
		l.found = append(l.found, f)
	}
}

// report applies the comments that silence findings and puts all in order.
func (l *linter) report(docs []sigma.Document) *Report {
	r := &Report{}
	for i := range docs {
		for _, t := range l.trees[docs[i].File] {
			if t.root.Kind != yaml.ScalarNode || t.root.Value != "" {
				r.Rules++
			}
		}
		var own []Finding
		l.found = slices.DeleteFunc(l.found, func(f Finding) bool {
			if f.File != docs[i].File {
				return false
			}
			own = append(own, f)
			return true
		})
		kept, ignored := applyIgnores(docs[i], own)
		r.Findings = append(r.Findings, kept...)
		r.Ignored += ignored
	}
	r.Findings = append(r.Findings, l.found...) // of no rule file: tunings
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Message, b.Message))
	})
	return r
}

// printable replaces control characters: names of a rule file stand in
// messages that end on terminals.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// quote puts a text in quotes, and nothing else: messages show it as the rule
// has it.
func quote(s string) string { return `"` + short(s) + `"` }

// short keeps a message readable when the offending text is huge.
func short(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
