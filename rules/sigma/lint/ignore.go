package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"gatewatch/rules/sigma"
)

// ignore is a comment "# lint-ignore: check reason". It silences findings of
// the line that it stands on, or, on a line of its own, of the next line that
// is no comment.
type ignore struct {
	line, column int // of the comment
	target       int
	check        string
	used         bool
}

// comment finds the words at the end of a line; what stands before decides
// whether it is a line of its own.
var comment = regexp.MustCompile(`(?:^|[ \t])#+[ \t]*lint-ignore:(.*)$`)

// applyIgnores returns the findings of a file that no comment silences, and how
// many were silenced. Comments that do nothing are findings themselves.
func applyIgnores(doc sigma.Document, found []Finding) (kept []Finding, ignored int) {
	ignores, bad := readIgnores(doc)
	for _, f := range found {
		silenced := false
		for i := range ignores {
			if g := &ignores[i]; g.target == f.Line && g.check == f.Check && f.Severity < Error {
				g.used, silenced = true, true
			}
		}
		if silenced {
			ignored++
		} else {
			kept = append(kept, f)
		}
	}
	for i := range ignores {
		g := &ignores[i]
		if g.used {
			continue
		}
		hint := "remove the comment"
		if slices.ContainsFunc(found, func(f Finding) bool { return f.Line == g.target && f.Check == g.check }) {
			hint = "mend the rule: an error cannot be ignored"
		} else if near := nearby(found, g); near > 0 {
			hint = fmt.Sprintf("put it on line %d or right above it, where %s is found", near, g.check)
		}
		bad = append(bad, badIgnore(doc.File, g.line, g.column, g.check, hint, "nothing is ignored here: no %s is found on line %d", g.check, g.target))
	}
	return append(kept, bad...), ignored
}

// nearby returns the line of the one finding of the check in the file, or 0.
func nearby(found []Finding, g *ignore) int {
	line := 0
	for _, f := range found {
		if f.Check != g.check || f.Severity == Error {
			continue
		}
		if line != 0 {
			return 0
		}
		line = f.Line
	}
	return line
}

func badIgnore(file string, line, column int, text, hint, format string, args ...any) Finding {
	return Finding{
		File: file, Line: line, Column: column, Severity: Warning, Check: "bad-ignore", Text: text,
		Message: printable(fmt.Sprintf(format, args...)), Hint: printable(hint),
	}
}

func readIgnores(doc sigma.Document) (out []ignore, bad []Finding) {
	if !bytes.Contains(doc.Data, []byte("lint-ignore:")) {
		return nil, nil
	}
	lines := strings.Split(strings.ReplaceAll(string(doc.Data), "\r\n", "\n"), "\n")
	values := valuesWithIgnore(doc)
	for i, line := range lines {
		m := comment.FindStringSubmatchIndex(line)
		if m == nil || slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, strings.TrimSpace(line[m[0]:])) }) {
			continue
		}
		column := m[0] + strings.IndexByte(line[m[0]:], '#') + 1
		words, reason, _ := strings.Cut(strings.TrimSpace(line[m[2]:m[3]]), " ")
		target := i + 1
		if strings.TrimSpace(line[:column-1]) == "" {
			target = nextLine(lines, i)
		}
		if strings.TrimSpace(reason) == "" {
			bad = append(bad, badIgnore(doc.File, i+1, column, words, "write # lint-ignore: "+orCheck(words)+" and why it is right here", "a finding is not ignored without a reason"))
			continue
		}
		for check := range strings.SplitSeq(words, ",") {
			if !slices.ContainsFunc(Checks(), func(c Check) bool { return c.Name == check }) {
				bad = append(bad, badIgnore(doc.File, i+1, column, check, didYouMean(check, checkNames(), "docs/rule-lint.md lists them"), "there is no check %s", quote(check)))
				continue
			}
			out = append(out, ignore{line: i + 1, column: column, target: target, check: check})
		}
	}
	return out, bad
}

func orCheck(words string) string {
	if words == "" {
		return "the-check"
	}
	return words
}

// nextLine returns the number, from 1, of the first line behind line i that is
// neither blank nor a comment nor the begin of a document.
func nextLine(lines []string, i int) int {
	for k := i + 1; k < len(lines); k++ {
		if s := strings.TrimSpace(lines[k]); s != "" && s[0] != '#' && s != "---" {
			return k + 1
		}
	}
	return i + 1
}

// valuesWithIgnore returns the texts of the file that look as if they had such
// a comment: what stands in them is none.
func valuesWithIgnore(doc sigma.Document) []string {
	var out []string
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "lint-ignore:") {
			out = append(out, n.Value)
		}
		for _, k := range n.Content {
			walk(k)
		}
	}
	roots, _ := sigma.Trees(doc)
	for _, r := range roots {
		walk(r)
	}
	return out
}
