package lint

import (
	"regexp"

	"go.yaml.in/yaml/v4"

	"gatewatch/rules/sigma"
)

// problem takes over what the parser or compiler says.
func (l *linter) problem(p sigma.Problem) {
	severity := Error
	if p.Severity == sigma.Warning {
		severity = Warning
	}
	check := l.checkOf(p)
	if severity == Warning && check == "redundant-modifier" {
		severity = Info
	}
	f := Finding{
		File: p.File, Line: p.Line, Column: p.Column, Severity: severity, Check: check, Rule: p.Rule, Text: p.Text,
		Message: p.What(), Hint: p.Hint,
	}
	if !l.seen[f] {
		l.seen[f] = true
		l.found = append(l.found, f)
	}
}

// checkOf names the check of a problem: by its message where that is telling,
// else by the part of the document that it is in.
func (l *linter) checkOf(p sigma.Problem) string {
	if p.Tuning {
		return "bad-tuning"
	}
	for _, m := range messages {
		if m.pattern.MatchString(p.Message) {
			return m.check
		}
	}
	switch l.section(p) {
	case "correlation":
		return "bad-correlation"
	case "filter":
		return "bad-filter"
	case "detection":
		return "bad-value"
	case "gatewatch":
		return "bad-key"
	}
	return "bad-document"
}

// section returns the key at the top of the document that a problem is under.
func (l *linter) section(p sigma.Problem) string {
	var in *tree
	for line, t := range l.trees[p.File] {
		if line <= p.Line && (in == nil || line > in.root.Line) {
			in = t
		}
	}
	if in == nil || in.root.Kind != yaml.MappingNode {
		return ""
	}
	key := ""
	for i := 0; i+1 < len(in.root.Content); i += 2 {
		if k := in.root.Content[i]; k.Line < p.Line || k.Line == p.Line && k.Column <= p.Column {
			key = k.Value
		}
	}
	return key
}

type message struct {
	pattern *regexp.Regexp
	check   string
}

// messages maps what the parser says to checks; the first that fits decides. A
// test holds it against the parser's source.
var messages = func() (out []message) {
	for _, m := range [][2]string{
		{`^the condition does not use the selection`, "unused-selection"},
		{`^the modifier all does nothing`, "redundant-modifier"},
		{` stands twice in `, "duplicate-value"},
		{`^this matches every value that is there`, "matches-anything"},
		{`^unknown status|^the rule says of itself`, "bad-status"},
		{`no longer part of Sigma|has dropped$|not part of Sigma`, "not-supported"},
		{`more than \d+ (bytes|documents|values|variants|tests)|deeper than|longer than`, "too-large"},
		{`not valid YAML|cannot be read as YAML|alias points nowhere|^a key must be a word|appears twice, first at line`, "not-yaml"},
		{`^the log source`, "other-logs"},
		{`^unknown field|^the field .* is not available`, "unknown-field"},
		{`modifiers? |cannot be combined|flag of re|after base64|without base64|^null cannot be modified`, "bad-modifier"},
		{`regular expression is not valid`, "bad-regex"},
		{`^unknown key .* (under|in) |^unknown comparison|belongs under condition`, "bad-key"},
		{`^unknown key`, "unknown-key"},
		{`^there is no rule|is refused itself`, "no-such-rule"},
		{`already the id or name`, "same-id"},
		{`a document has one of|^the document has no title`, "bad-document"},
		{`^the condition (is no|names|ends|is empty)|^unexpected .* in the condition|parenthesis|pattern of names|selections? (is|are)|number of selections|the detection has no`, "bad-condition"},
	} {
		out = append(out, message{regexp.MustCompile(m[0]), m[1]})
	}
	return out
}()
