package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/detectors/observation"
	"gatewatch/rules/sigma"
)

func TestTuning(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "partners.txt"), []byte("192.0.2.1 # the first\n\n# none\n192.0.2.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("gatewatch.yaml", dir, []byte(`rules:
  lists:
    scanners: [192.0.2.0/28, "2001:db8::/32"]
    partners: {file: partners.txt}
    nobody: []
    none:
  tune:
    - rules: [a, b]
      threshold: 12.5
      level: high
    - tags: [attack.t1110]
      timespan: 1h30m
      group_by: [client.prefix, http.route]
    - titles: ["Sur*"]
      enabled: false
      shadow: true
  filters:
    - title: One
      filter:
        rules: any
        a: {c-ip: 192.0.2.1}
        condition: not a
      description: |
        text
        - more
    -
      title: Two
      filter:
        rules: [x]
        b: {c-ip: 192.0.2.2}
        condition: not b
state: {path: x.db}
`), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	high, twelve, yes, no := observation.High, 12.5, true, false
	want := []sigma.Tuning{
		{Rules: []string{"a", "b"}, Threshold: &twelve, Level: &high, File: "gatewatch.yaml", Line: 8, Column: 7},
		{Tags: []string{"attack.t1110"}, Timespan: 90 * time.Minute, GroupBy: []string{"client.prefix", "http.route"}, File: "gatewatch.yaml", Line: 11, Column: 7},
		{Titles: []string{"Sur*"}, Enabled: &no, Shadow: &yes, File: "gatewatch.yaml", Line: 14, Column: 7},
	}
	if d := cmp.Diff(want, c.Rules.Tune); d != "" {
		t.Errorf("tune (-want +got):\n%s", d)
	}
	lists := map[string][]string{"scanners": {"192.0.2.0/28", "2001:db8::/32"}, "partners": {"192.0.2.1", "192.0.2.2"}, "nobody": {}, "none": {}}
	if d := cmp.Diff(lists, c.Rules.Lists); d != "" {
		t.Errorf("lists (-want +got):\n%s", d)
	}
	set, problems := sigma.Parse(c.Rules.Filters)
	for _, p := range problems {
		if p.Severity == sigma.Refused {
			t.Error(p.Error())
		}
	}
	var got []string
	for _, r := range set.Rules() {
		got = append(got, r.Title, r.File)
		if r.Title == "Two" && r.Line != 27 || r.Title == "One" && r.Line != 18 {
			t.Errorf("filter %s stands on line %d", r.Title, r.Line)
		}
	}
	if d := cmp.Diff([]string{"One", "gatewatch.yaml", "Two", "gatewatch.yaml"}, got); d != "" {
		t.Error(d)
	}
}

func TestTuningMistakes(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{"rules: {tune: [{level: high}]}", `1:16: rules.tune[0] names no rule`},
		{"rules: {tune: [{rules: [a]}]}", `rules.tune[0] changes nothing`},
		{"rules: {tune: [{rules: [a], level: loud}]}", `rules.tune[0].level: "loud" is no level`},
		{"rules: {tune: [{rules: [a], threshold: many}]}", `rules.tune[0].threshold is "many"; write a number`},
		{"rules: {tune: [{rules: [a], threshold: -1}]}", `write a number of 0 or more`},
		{"rules: {tune: [{rules: [a], group-by: [x]}]}", `did you mean group_by`},
		{"rules: {tune: [{rules: [a], shadow: maybe}]}", `write true or false`},
		{"rules: {lists: {a b: [x]}}", `write letters, digits, _ and - only`},
		{"rules: {lists: {a: {file: nowhere.txt}}}", `cannot be read`},
		{"rules: {lists: {a: {files: x}}}", `did you mean file`},
		{"rules: {lists: {a: x}}", `has to be a list`},
		{"rules:\n  filters:\n    - {title: x, filter: {rules: any}}", `has to stand on lines of its own`},
		{"rules:\n  filters:\n    - title: x\n", `3:7: rules.filters[0] has no key filter`},
		{"rules:\n  filters:\n    - x\n", `has to be a Sigma filter document`},
	} {
		_, err := Parse("gatewatch.yaml", t.TempDir(), []byte(x.text), testEnv)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s\n got %v\nwant %s", x.text, err, x.want)
		}
	}
}
