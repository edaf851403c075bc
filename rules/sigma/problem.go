package sigma

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// Severity says what a problem did to the rule set.
type Severity uint8

// The severities of problems.
const (
	Warning Severity = iota + 1 // the document loads, but may not mean what its author wished
	Refused                     // the document, or the named rule, does not load
)

// String returns the word used in output.
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "refused"
}

// Problem is one fault of a rule document. Line and Column are 1-based and
// count in the file, not in the document of a multi-document file.
type Problem struct {
	File         string
	Line, Column int
	Rule         string // id, name or title of the document, "" where none is known
	Text         string // the offending text, unescaped: quote it before printing
	Message      string // what is wrong
	Hint         string // what to write instead
	Severity     Severity
	// Tuning: the fault is one of a Tuning, and the rule loads without it.
	Tuning bool
}

// Error returns "file:line:column: message; hint". It has no control
// characters, whatever the rule file holds.
func (p Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.What())
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

// maxQuoted is how many characters of an offending text are shown.
const maxQuoted = 60

// What says what is wrong, with the offending text where the message does not
// have it.
func (p Problem) What() string {
	text := strings.TrimSpace(p.Text)
	said := func(word string) bool { return strings.Contains(p.Message, word) }
	if words := strings.Fields(text); said(strconv.Quote(text)) || !slices.ContainsFunc(words, func(w string) bool { return !said(w) }) {
		return p.Message
	}
	if r := []rune(text); len(r) > maxQuoted {
		text = string(r[:maxQuoted]) + "..."
	}
	return p.Message + ", at " + strconv.Quote(text)
}

// place is a position in a rule file.
type place struct {
	file         string
	line, column int
}

func at(file string, n *yaml.Node) place {
	return place{file: file, line: max(n.Line, 1), column: max(n.Column, 1)}
}

// problems collects the faults of one document.
type problems struct {
	rule    string
	tuning  bool
	list    []Problem
	refused bool
}

func (p *problems) add(sev Severity, at place, text, hint, format string, args ...any) {
	if sev == Refused {
		p.refused = true
	}
	p.list = append(p.list, Problem{
		File: at.file, Line: max(at.line, 1), Column: max(at.column, 1), Rule: p.rule, Text: clip(text),
		Message: printable(fmt.Sprintf(format, args...)), Hint: printable(hint), Severity: sev, Tuning: p.tuning,
	})
}

func (p *problems) refuse(at place, text, hint, format string, args ...any) {
	p.add(Refused, at, text, hint, format, args...)
}

func (p *problems) warn(at place, text, hint, format string, args ...any) {
	p.add(Warning, at, text, hint, format, args...)
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

// clip keeps a message readable when the offending text is huge.
func clip(s string) string { return clipTo(s, 120) }

// sortProblems puts problems in the order of files and places.
func sortProblems(list []Problem) {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
}

// nearest returns the names most like the given one, best first, at most
// three and only such that are plausible misspellings.
func nearest(name string, names []string) []string {
	type scored struct {
		name string
		dist int
	}
	limit := max(2, len(name)/3)
	var found []scored
	low := strings.ToLower(name)
	for _, n := range names {
		if d := distance(low, strings.ToLower(n), limit); d <= limit && d < len(low) {
			found = append(found, scored{n, d})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.dist, b.dist), cmp.Compare(a.name, b.name))
	})
	var out []string
	for _, f := range found[:min(3, len(found))] {
		if f.dist <= 2*found[0].dist { // else it is far less likely what was meant
			out = append(out, f.name)
		}
	}
	return out
}

// distance is the number of edits between a and b, or more than limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 64 {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, prev+cost)
		}
	}
	return row[len(b)]
}

// didYouMean makes a hint of near names, or returns otherwise.
func didYouMean(name string, names []string, otherwise string) string {
	if near := nearest(name, names); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return otherwise
}
