package sigma

import (
	"fmt"
	"strings"
	"testing"

	"gatewatch/event"
)

// TestConditions evaluates conditions over the selections a, b, c, ab and _d,
// which hold when the path has their letter, for all sixteen paths.
func TestConditions(t *testing.T) {
	has := func(s, letters string) bool { return strings.Contains(s, letters) }
	for _, c := range []struct {
		condition string
		want      func(p string) bool
	}{
		{"a", func(p string) bool { return has(p, "a") }},
		{"not a", func(p string) bool { return !has(p, "a") }},
		{"not not a", func(p string) bool { return has(p, "a") }},
		{"a and b", func(p string) bool { return has(p, "a") && has(p, "b") }},
		{"a or b and c", func(p string) bool { return has(p, "a") || has(p, "b") && has(p, "c") }},
		{"(a or b) and c", func(p string) bool { return (has(p, "a") || has(p, "b")) && has(p, "c") }},
		{"not a and b", func(p string) bool { return !has(p, "a") && has(p, "b") }},
		{"not (a and b) or c", func(p string) bool { return !has(p, "a") || !has(p, "b") || has(p, "c") }},
		{"a and not b or not c", func(p string) bool { return has(p, "a") && !has(p, "b") || !has(p, "c") }},
		{"A and b", nil},
		{"a AND NOT b", func(p string) bool { return has(p, "a") && !has(p, "b") }},
		{"1 of them", func(p string) bool { return has(p, "a") || has(p, "b") || has(p, "c") }},
		{"any of them", func(p string) bool { return has(p, "a") || has(p, "b") || has(p, "c") }},
		{"all of them", func(p string) bool { return has(p, "a") && has(p, "b") && has(p, "c") }},
		{"2 of them", func(p string) bool { return count(p) >= 2 }},
		{"not 2 of them", func(p string) bool { return count(p) < 2 }},
		{"1 of a*", func(p string) bool { return has(p, "a") }},
		{"1 of *", func(p string) bool { return has(p, "a") || has(p, "b") || has(p, "c") }},
		{"1 of _*", func(p string) bool { return has(p, "d") }},
		{"1 of a* and not _d", func(p string) bool { return has(p, "a") && !has(p, "d") }},
		{"not 1 of a* or c", func(p string) bool { return !has(p, "a") || has(p, "c") }},
		{"[a and b, c]", func(p string) bool { return has(p, "a") && has(p, "b") || has(p, "c") }},
	} {
		cond := c.condition
		yaml := fmt.Sprintf(`
title: t
logsource: {category: webserver}
detection:
  a: {url.path|contains: a}
  b: {url.path|contains: b}
  c: {url.path|contains: c}
  _d: {url.path|contains: d}
  condition: %s
`, cond)
		set, problems := Parse([]Document{{File: "t.yml", Data: []byte(yaml)}})
		refused := len(set.Rules()) == 0
		if refused != (c.want == nil) {
			t.Errorf("%s: refused %v: %v", cond, refused, problems)
			continue
		}
		if refused {
			continue
		}
		x, _ := set.Compile(CompileOptions{})
		m := x.NewMatcher()
		for i := range 16 {
			p := "/"
			for j, l := range []string{"a", "b", "c", "d"} {
				if i>>j&1 == 1 {
					p += l
				}
			}
			got := len(m.Match(&event.Event{Target: p, Path: p})) == 1
			if want := c.want(p); got != want {
				t.Errorf("%s on %s: got %v, want %v", cond, p, got, want)
			}
		}
	}
}

func count(p string) (n int) {
	for _, l := range []string{"a", "b", "c"} {
		if strings.Contains(p, l) {
			n++
		}
	}
	return n
}
