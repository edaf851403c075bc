package ruletest

import (
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// Problem is one fault of a test file. Line and Column are 1-based.
type Problem struct {
	File         string
	Line, Column int
	Message      string // what is wrong
	Hint         string // what to write instead; may be empty
}

// Error returns "file:line:column: message; hint", without control characters.
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return printable(s)
}

// printable replaces what could move a terminal's cursor or hide text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// clip keeps a message readable when the text in it is long.
func clip(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// didYouMean makes a hint of the name that is most like the given one.
func didYouMean(word string, names []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(n)); d < least && d < len(n) {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is the number of edits between a and b.
func distance(a, b string) int {
	if len(a) > 128 || len(b) > 128 {
		return max(len(a), len(b)) // names are short; do not spend time on a long one
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, replace)
		}
	}
	return row[len(b)]
}

// reader collects the faults of one file.
type reader struct {
	file     string
	problems []Problem
	nodes    int
}

func (r *reader) fault(n *yaml.Node, hint, format string, args ...any) {
	if len(r.problems) == maxProblems {
		return
	}
	r.problems = append(r.problems, Problem{
		File: r.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Message: clip(fmt.Sprintf(format, args...)), Hint: hint,
	})
}
