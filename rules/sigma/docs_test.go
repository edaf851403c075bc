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
	if len(docs) < 5 {
		t.Fatalf("found only %d examples", len(docs)-1)
	}
	set, problems := Parse([]Document{{File: "rules.md", Data: []byte(strings.Join(docs, "---\n"))}})
	_, more := set.Compile(CompileOptions{})
	for _, p := range append(problems, more...) {
		t.Error(p)
	}
}
