package sigma_test

import (
	"fmt"
	"net/netip"

	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules/sigma"
)

const rules = `
title: Backup file asked for
id: 4d0a3b5e-6f7c-4f0e-9b43-0a6f3f6f3c11
name: backup
logsource: {category: webserver}
detection:
  selection:
    cs-uri-stem|endswith: ['.bak', '.sql', '~']
  filter_status: {sc-status: 404}
  condition: selection and not filter_status
level: medium
---
title: Many backup files asked for
name: backups
correlation:
  type: event_count
  rules: [backup]
  group-by: [client.address]
  timespan: 10m
  condition: {gte: 5}
level: high
---
title: Broken
logsource: {category: webserver}
detection:
  selection: {cs-uri-stam: /x}
  condition: selection
`

// Rules that are at fault are left out and said with their place; all others
// are compiled to one index, from which each goroutine takes a matcher.
func Example() {
	set, problems := sigma.Parse([]sigma.Document{{File: "rules.yml", Data: []byte(rules)}})
	index, more := set.Compile(sigma.CompileOptions{})
	for _, p := range append(problems, more...) {
		fmt.Printf("%s: %v\n", p.Severity, p)
	}

	matcher := index.NewMatcher()
	request := event.Event{
		Time: 1_790_000_000e9, Method: "GET", Target: "/shop/db%2Esql", Path: "/shop/db%2Esql", Status: 200,
		Client: netip.MustParseAddr("203.0.113.7"),
	}
	for _, m := range matcher.Match(&request) {
		fmt.Printf("%s: %s, alone an incident: %v\n", m.Rule.Level, m.Rule.Title, m.Alerting)
	}

	// What the request contributes to windows, for who judges them.
	var batch observation.Batch
	matcher.Observe(&request, &batch)
	for _, o := range batch.Obs {
		kind := index.Plan().Kinds[o.Kind]
		for _, h := range batch.HitsOf(&o) {
			fmt.Printf("%s counts for %v %v\n", index.Plan().Rules[h.Rule].Title, kind.Fields, kind.Values(o.Values))
		}
	}
	// Output:
	// refused: rules.yml:26:15: unknown field "cs-uri-stam"; did you mean cs-uri-stem or c-uri-stem?
	// medium: Backup file asked for, alone an incident: false
	// Many backup files asked for counts for [client.address] [203.0.113.7]
}

// Explain says of each item of a rule whether it holds and what it saw.
func ExampleMatcher_Explain() {
	set, _ := sigma.Parse([]sigma.Document{{File: "rules.yml", Data: []byte(rules)}})
	index, _ := set.Compile(sigma.CompileOptions{})
	matcher := index.NewMatcher()

	request := event.Event{Method: "GET", Target: "/db.sql", Path: "/db.sql", Status: 404}
	test, _ := matcher.Explain(&request, index.Rules()[0])
	fmt.Println("matches:", test.Holds)
	for _, part := range test.Tests {
		fmt.Printf("%s: not=%v holds=%v, %s saw %v\n", part.Selection, part.Not, part.Holds, part.Key, part.Seen)
	}
	// Output:
	// matches: false
	// selection: not=false holds=true, cs-uri-stem|endswith saw [/db.sql]
	// filter_status: not=true holds=false, sc-status saw [404]
}
