package sigma

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedRules: the rules in docs/rules.md load without a word.
func TestDocumentedRules(t *testing.T) {
	data, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := []string{`
title: what the examples refer to
name: login_failed
detection: {s: {auth.outcome: failure}, condition: s}
---
title: and this
name: password_spray
correlation: {type: event_count, rules: [login_failed], group-by: [client.address], timespan: 1m, condition: {gte: 5}}
---
title: and that
name: backup_file
detection: {s: {url.path|endswith: .bak}, condition: s}
`}
	for block := range strings.SplitSeq(string(data), "```yaml\n") {
		if text, _, ok := strings.Cut(block, "```"); ok && strings.HasPrefix(text, "title:") {
			docs = append(docs, text)
		}
	}
	if len(docs) < 12 {
		t.Fatalf("found only %d examples", len(docs)-1)
	}
	set, problems := Parse([]Document{{File: "rules.md", Data: []byte(strings.Join(docs, "---\n"))}})
	_, more := set.Compile(CompileOptions{Lists: map[string][]string{"consoles": {"admin", "console*"}, "admin_networks": {"192.0.2.0/24"}}})
	for _, p := range append(problems, more...) {
		t.Error(p)
	}
}

// TestDocumentedWords: each modifier, type and key is in docs/rules.md.
func TestDocumentedWords(t *testing.T) {
	data, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := map[string]bool{}
	for span := range strings.SplitSeq(string(data), "`") {
		for word := range strings.FieldsFuncSeq(span, func(r rune) bool { return strings.ContainsRune(" |\\\n:,{}[]()'#", r) }) {
			quoted[word] = true
		}
	}
	for _, list := range [][]string{
		knownModifiers(), correlationTypes(), correlationKeys(), conditionKeys(), baselineKeys(), walkKeys(), directions(), seasons(), spreads(), orders(),
		statuses(), sigmaNames(),
	} {
		for _, word := range list {
			if !quoted[word] {
				t.Errorf("docs/rules.md does not speak of %s", word)
			}
		}
	}
}
