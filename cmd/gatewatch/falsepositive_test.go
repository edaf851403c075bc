package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/config"
	"gatewatch/rules/sigma"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

const fpRules = `
title: Failed login
id: 11111111-0000-4000-8000-000000000001
logsource: {category: webserver}
detection:
  sel: {http.response.status_code: 401}
  condition: sel
level: low
---
title: Many failed logins
id: 11111111-0000-4000-8000-000000000002
correlation:
  type: event_count
  rules: [11111111-0000-4000-8000-000000000001]
  group-by: [client.address]
  timespan: 5m
  condition: {gte: 3}
level: high
`

func fpConfig(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(fpRules), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Default(dir)
	c.Rules.Builtin, c.Rules.Paths = false, []string{dir}
	return c
}

func fpIncident() *alerting.Incident {
	at := time.Date(2026, 10, 10, 13, 55, 36, 0, time.UTC)
	return &alerting.Incident{
		ID: "0123456789abcdef", Subject: "client", Count: 4, FirstSeen: at, LastSeen: at.Add(time.Minute),
		Rule:   alerting.RuleRef{ID: "11111111-0000-4000-8000-000000000002", Title: "Many failed logins"},
		Rules:  []alerting.RuleCount{{ID: "11111111-0000-4000-8000-000000000002"}},
		Group:  map[string]string{"client.address": "203.0.113.7"},
		Routes: []string{"/login", "/a*b"}, RoutesTotal: 2,
		Evidence: []alerting.Evidence{{Text: "203.0.113.7 \"POST /login\"\x1b[2J\nfilter: {rules: any}\u202e"}, {Text: ""}},
	}
}

func TestPropose(t *testing.T) {
	c := fpConfig(t)
	now := time.Date(2026, 10, 11, 0, 0, 0, 0, time.UTC)
	got, err := propose(fpIncident(), c, fpOptions{by: "ann", comment: "our \"scanner\"\nid: x"}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := `title: "No attack: Many failed logins (incident 01234567)"
id: ` + filterID("0123456789abcdef") + `
description: "our \"scanner\"\nid: x"
author: "ann"
date: 2026-10-11
# 4 requests from 2026-10-10 13:55:36 UTC to 2026-10-10 13:56:36 UTC. Some of them:
#   "203.0.113.7 \"POST /login\"\x1b[2J\nfilter: {rules: any}\u202e"
filter:
  rules:
    - "11111111-0000-4000-8000-000000000001" # "Failed login"
  known:
    client.address: "203.0.113.7"
    http.route:
      - "/a\\*b"
      - "/login"
  condition: not known
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := checkFilter(c, got); err != nil {
		t.Errorf("want it to load, got %v", err)
	}
	f := func(what string, change func(*alerting.Incident), want string) {
		t.Helper()
		i := fpIncident()
		change(i)
		got, err := propose(i, c, fpOptions{by: "ann"}, now)
		if err != nil {
			got = []byte(err.Error())
		} else if err := checkFilter(c, got); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !strings.Contains(string(got), want) {
			t.Errorf("%s: want %s in:\n%s", what, want, got)
		}
	}
	f("a network", func(i *alerting.Incident) { i.Group["client.address"] = "2001:db8::/64" }, `client.address|cidr: "2001:db8::/64"`)
	f("a population", func(i *alerting.Incident) {
		i.Subject, i.Group = "population", map[string]string{"http.route": "/login", "shop_user": "x"}
	}, "  known:\n    http.route: \"/login\"\n  condition")
	f("many routes", func(i *alerting.Incident) { i.RoutesTotal = 99 }, "  known:\n    client.address: \"203.0.113.7\"\n  condition")
	f("an account", func(i *alerting.Incident) { i.Group = map[string]string{"auth.account": "b\\o?b\xff"} }, `auth.account: "b\\\\o\\?b\ufffd"`)
	f("an overflow", func(i *alerting.Incident) { i.Subject = "overflow" }, "nothing to leave out")
	f("other rules", func(i *alerting.Incident) { i.Rules[0].ID = "x" }, "are not in this configuration")
	f("nothing in common", func(i *alerting.Incident) { i.Group, i.Routes = nil, nil }, "would leave out everything")
}

func TestFilterTarget(t *testing.T) {
	c := fpConfig(t)
	dir := c.Rules.Paths[0]
	f := func(file, want string) {
		t.Helper()
		got, err := filterTarget(c, file, "abc")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: want %s, got %s", file, want, got)
		}
	}
	f(filepath.Join(dir, "x.yml"), filepath.Join(dir, "x.yml"))
	f(dir, filepath.Join(dir, "filter-abc.yml"))
	f(filepath.Join(dir, "rules.yml"), "is there already")
	f(filepath.Join(dir, "x.test.yml"), "not in .test.yml")
	f(filepath.Join(dir, "x.txt"), "ends in .yml")
	f(filepath.Join(t.TempDir(), "x.yml"), "does not read; write a file in "+dir)
	c.Rules.Paths = []string{filepath.Join(dir, "rules.yml")}
	f(filepath.Join(dir, "x.yml"), "reads no folder of rules")
}

func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.yml")
	if err := writeNew(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, []byte("two")); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("want a file kept, got %v", err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "one" {
		t.Errorf("got %s, %v", got, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("want nothing left beside it, got %v", list)
	}
	if err := writeNew(filepath.Join(dir, "none", "x.yml"), nil); err == nil {
		t.Error("want an error for a folder that there is not")
	}
}

// FuzzProposal: whatever a request held, the filter says just that, and the
// rest of the document is ours.
func FuzzProposal(f *testing.F) {
	f.Add("bob", "/login")
	f.Add("a\"\nb: c\x1b[0m\u202e\U000e0001", "*?\\")
	f.Fuzz(func(t *testing.T, account, route string) {
		text := []byte("a: " + yamlText(account) + "\nb: # " + yamlText(route) + "\n  - " + yamlText(sigmaText(route)) + "\n")
		var got struct {
			A string
			B []string
		}
		if err := yaml.Load(text, &got, yaml.WithKnownFields()); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got.A != strings.ToValidUTF8(account, "\uFFFD") || len(got.B) != 1 {
			t.Errorf("want %q, got %q", account, got.A)
		}
		for _, c := range text {
			if c != '\n' && (c < 0x20 || c > 0x7e) {
				t.Errorf("byte %x in %q", c, text)
			}
		}
		if account == "" {
			return
		}
		filter := "title: x\nfilter:\n  rules: any\n  known: {auth.account: " + yamlText(sigmaText(account)) + "}\n  condition: not known\n"
		if _, problems := sigma.Parse([]sigma.Document{{File: "x", Data: []byte(filter)}}); len(problems) > 0 && problems[0].Severity == sigma.Refused {
			t.Errorf("%s: %v", filter, problems[0])
		}
	})
}
