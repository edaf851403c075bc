package sigma

import (
	"strings"
	"testing"
)

// TestExplain: what made a rule match is found in the form in which it was,
// cut around it.
func TestExplain(t *testing.T) {
	set, problems := Parse([]Document{{File: "a.yml", Data: []byte(`
title: one
logsource: {category: webserver}
detection:
  sel:
    cs-uri-query|contains: [nothing, 'union select']
    sc-bytes|gte: 10
    cs-user-agent|re: 'ev[i1]l'
    cs-referer|contains|fieldref: cs-host
  filter: {cs-method: [POST, PUT]}
  condition: sel and not filter
level: low
`)}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	x, _ := set.Compile(CompileOptions{})
	m := x.NewMatcher()
	ev := request("GET", "/?a="+strings.Repeat("x", 4000)+"union+select"+strings.Repeat("y", 4000), 200, strings.Repeat("é", 300)+"ev1l")
	ev.BodySize, ev.Host, ev.Referer = 12, "shop.example", "https://shop.example/"
	got, ok := m.Explain(ev, x.Rules()[0])
	if !ok || !got.Holds {
		t.Fatalf("%+v", got)
	}
	var told []string
	for _, leaf := range got.Because(10) {
		if leaf.Selection != "sel" || len(leaf.In) > maxValue+6 {
			t.Errorf("%+v", leaf)
		}
		told = append(told, leaf.Key+" "+leaf.Matched)
		switch leaf.Key {
		case "cs-uri-query|contains":
			if !strings.HasPrefix(leaf.In, "...xxxxxxxxxxxxxxxxunion selectyy") {
				t.Errorf("in %q", leaf.In)
			}
		case "cs-user-agent|re":
			if !strings.HasSuffix(leaf.In, "éev1l") {
				t.Errorf("in %q", leaf.In)
			}
		}
	}
	want := "cs-uri-query|contains union select, sc-bytes|gte 10, cs-user-agent|re ev[i1]l, cs-referer|contains|fieldref the value of cs-host"
	if strings.Join(told, ", ") != want {
		t.Errorf("because of %s", strings.Join(told, ", "))
	}
	if len(got.Because(2)) != 2 {
		t.Error("more than asked for")
	}
	if _, ok := m.Explain(ev, &Rule{}); ok {
		t.Error("a rule that is not in the index is explained")
	}
}
