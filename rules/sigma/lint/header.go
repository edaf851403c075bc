package lint

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"gatewatch/rules/sigma"
)

const (
	longestTitle = 256 // Sigma's limit
	longTitle    = 110 // what fits on a line
)

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// header checks what all documents have.
func (l *linter) header(d *document) {
	r := d.rule
	at := func(n *yaml.Node) (line, column int) {
		if n == nil {
			return r.Line, 1
		}
		return n.Line, n.Column
	}
	say := func(n *yaml.Node, check string, severity Severity, text, hint, format string, args ...any) {
		line, column := at(n)
		l.add(d, check, severity, line, column, text, hint, format, args...)
	}
	l.title(d, say)
	switch id := r.UUID(); {
	case id == "" && r.Kind == sigma.Filter: // it has no windows and no incidents
	case id == "":
		say(nil, "missing-id", Warning, "", "add id: and a random UUID; without one the rule goes by its name or title, and its windows and incidents are new when that changes", "the document has no id")
	case !uuid.MatchString(id):
		say(d.tree.at("id"), "bad-id", Warning, id, "write a random UUID; two authors never choose the same", "the id is no UUID")
	}
	if r.Kind != sigma.Filter {
		if empty(d.tree.at("level")) {
			say(nil, "missing-level", Warning, "", "add level: informational, low, medium, high or critical", "the rule has no level and is taken for medium")
		}
		if len(r.Tags) == 0 {
			say(nil, "missing-tags", Info, "", "add tags: such as attack.t1190 or owasp.api8-2023; incidents carry them", "the rule has no tags")
		}
		if len(r.FalsePositives) == 0 && l.alerting[r] {
			say(nil, "missing-falsepositives", Info, "", "add falsepositives: and what harmless requests look the same", "the rule does not say what else it finds")
		}
	}
	if strings.TrimSpace(r.Description) == "" {
		say(nil, "missing-description", Info, "", "add description: what it finds, and why that matters", "the document has no description")
	}
	for _, n := range list(d.tree.at("tags")) {
		if hint, why := badTag(n.Value); why != "" {
			say(n, "bad-tag", Warning, n.Value, hint, "the tag %s %s", quote(n.Value), why)
		}
	}
	l.dates(d, say)
}

// sayer adds a finding at a node, or at the begin of the document.
type sayer func(n *yaml.Node, check string, severity Severity, text, hint, format string, args ...any)

func (l *linter) title(d *document, say sayer) {
	title, n := d.rule.Title, d.tree.at("title")
	switch length := utf8.RuneCountInString(title); {
	case length > longestTitle:
		say(n, "bad-title", Warning, title, "shorten it and write the rest in description:", "the title has %d characters, Sigma allows %d", length, longestTitle)
	case length > longTitle:
		say(n, "bad-title", Info, title, "shorten it and write the rest in description:", "the title has %d characters; messages show about %d", length, longTitle)
	}
	if strings.HasSuffix(title, ".") && !strings.HasSuffix(title, "..") {
		say(n, "bad-title", Info, title, "remove it", "the title ends in a full stop")
	}
	for _, word := range []string{"Detects ", "Detect ", "Detection of "} {
		if strings.HasPrefix(title, word) {
			say(n, "bad-title", Info, title, "begin with what is found", "the title begins with %s, which is true of every rule", quote(strings.TrimSpace(word)))
		}
	}
}

// titles reports titles that two documents share: people could not tell their
// incidents apart.
func (l *linter) titles() {
	first := map[string]*document{}
	for _, d := range l.all {
		if l.off(d.rule) {
			continue
		}
		key := strings.ToLower(strings.TrimSpace(d.rule.Title))
		o := first[key]
		if o == nil {
			first[key] = d
			continue
		}
		if !slices.Contains(l.docs, d) {
			d, o = o, d
		}
		if slices.Contains(l.docs, d) {
			n := d.tree.at("title")
			if n == nil {
				n = d.tree.root
			}
			l.add(d, "duplicate-title", Warning, n.Line, n.Column, d.rule.Title, "say in the title how they differ",
				"the document at %s:%d has the same title", o.rule.File, o.rule.Line)
		}
	}
}

func (l *linter) dates(d *document, say sayer) {
	var date, modified time.Time
	for key, to := range map[string]*time.Time{"date": &date, "modified": &modified} {
		n := d.tree.at(key)
		if empty(n) {
			continue
		}
		t, err := time.Parse(time.DateOnly, n.Value)
		if err != nil {
			say(n, "bad-date", Info, n.Value, "write it as 2026-11-23", "%s is no date of the form YYYY-MM-DD", key)
			continue
		}
		*to = t
	}
	if !date.IsZero() && !modified.IsZero() && modified.Before(date) {
		say(d.tree.at("modified"), "bad-date", Info, "", "correct one of them", "the rule was modified before its date")
	}
}

var (
	tagForm   = regexp.MustCompile(`^[a-z0-9_-]+\.[a-z0-9._-]+$`)
	technique = regexp.MustCompile(`^[tgs]\d{4}(\.\d{3})?$`)
	cve       = regexp.MustCompile(`^\d{4}[.-]\d{4,}$`)
	owasp     = regexp.MustCompile(`^(api([1-9]|10)-20(19|23)|a(0[1-9]|10)-20\d\d|llm(0[1-9]|10)(-20\d\d)?)$`)
	carForm   = regexp.MustCompile(`^\d{4}-\d{2}-\d{3}$`)
)

// tagSpaces are the namespaces of Sigma's tags specification, and owasp.
func tagSpaces() []string {
	return []string{"attack", "car", "cve", "d3fend", "detection", "stp", "tlp", "owasp"}
}

// tactics are ATT&CK's, as Sigma spells them.
//
//nolint:misspell // American names
func tactics() []string {
	return []string{
		"initial-access", "execution", "persistence", "privilege-escalation", "defense-evasion", "credential-access", "discovery",
		"lateral-movement", "collection", "exfiltration", "command-and-control", "impact", "resource-development", "reconnaissance",
		"stealth", "defense-impairment",
	}
}

// badTag says what is wrong with a tag, or nothing.
func badTag(tag string) (hint, why string) {
	if !tagForm.MatchString(tag) {
		return "write it as namespace.name in small letters, such as attack.t1190", "has not the form of one"
	}
	space, name, _ := strings.Cut(tag, ".")
	if !slices.Contains(tagSpaces(), space) {
		return didYouMean(space, tagSpaces(), "use one of "+strings.Join(tagSpaces(), ", ")), "is of an unknown namespace"
	}
	plain := strings.ReplaceAll(name, "_", "-")
	switch space {
	case "attack":
		if !technique.MatchString(name) && !slices.Contains(tactics(), plain) {
			return didYouMean(plain, tactics(), "write a technique such as attack.t1110.004, or a tactic such as attack.credential-access"), "is no technique, tactic, group or software of ATT&CK"
		}
	case "cve":
		if !cve.MatchString(name) {
			return "write it as cve.2021-44228", "is no CVE"
		}
	case "tlp":
		if known := []string{"red", "amber", "amber-strict", "green", "clear", "white"}; !slices.Contains(known, name) {
			return "write one of tlp.red, tlp.amber, tlp.amber-strict, tlp.green, tlp.clear", "is no colour of the Traffic Light Protocol"
		}
	case "detection":
		if known := []string{"dfir", "emerging-threats", "threat-hunting"}; !slices.Contains(known, plain) {
			return "write one of detection.dfir, detection.emerging-threats, detection.threat-hunting", "is no kind of detection"
		}
	case "car":
		if !carForm.MatchString(name) {
			return "write it as car.2016-04-005", "is no analytic of CAR"
		}
	case "owasp":
		if !owasp.MatchString(name) {
			return "write it as owasp.api1-2023 or owasp.a03-2021", "is no entry of an OWASP Top 10"
		}
	}
	return "", ""
}
