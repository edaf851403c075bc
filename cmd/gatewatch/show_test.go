package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

func sample() []*alerting.Incident {
	at := time.Date(2026, 10, 9, 8, 7, 6, 0, time.UTC)
	return []*alerting.Incident{
		{
			ID: "aaaaaaaaaaaaaaaa", Rule: alerting.RuleRef{Title: "Sources all over try passwords", Level: observation.Critical}, Level: observation.Critical,
			FirstSeen: at, Count: 1234567, SourcesTotal: 4000, Sources: []string{"203.0.113.1"}, Routes: []string{"/login", "/a/b"}, Order: "approximate",
		},
		{
			ID: "bbbbbbbbbbbbbbbb", Rule: alerting.RuleRef{Title: "A rule\x1b[2J\u202e of somebody", Level: observation.Low}, Level: observation.Informational,
			FirstSeen: at.Add(time.Hour), Count: 1, Group: map[string]string{"client.address": "2001:db8:1234:5678::/64", "http.route": "/\x07"},
			Routes: []string{"/\x9b31m\n" + strings.Repeat("long", 50)},
		},
		{
			ID: "cccccccccccccccc", Parent: "aaaaaaaaaaaaaaaa", Rule: alerting.RuleRef{Title: "One of them", Level: observation.High}, Level: observation.High,
			FirstSeen: at.Add(2 * time.Hour), Count: 7, Group: map[string]string{"client.address": "203.0.113.1"},
		},
	}
}

func TestPrintIncidents(t *testing.T) {
	f := func(ids bool, want string) {
		t.Helper()
		var b strings.Builder
		if err := printIncidents(&b, sample(), ids); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
			t.Errorf("table (-want +got):\n%s", diff)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > tableWidth {
				t.Errorf("%d characters wide: %s", n, line)
			}
		}
	}
	f(false, wantTable)
	f(true, wantTableWithIDs)
}

func TestPrintStates(t *testing.T) {
	list := sample()
	list[0].State, list[1].State, list[2].State, list[2].FalsePositive = alerting.StateAcknowledged, alerting.StateOpen, alerting.StateResolved, true
	var b strings.Builder
	if err := printIncidents(&b, list, true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimPrefix(wantTableWithStates, "\n"), b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

const wantTableWithStates = `
ID        FIRST SEEN    LEVEL     STATE    TITLE                          WHO                   COUNT
aaaaaaaa  Oct  9 08:07  critical  acked    Sources all over try passwor…  4000 sources       ~1234567
cccccccc  Oct  9 10:07  high      false +  └ One of them                  203.0.113.1               7
bbbbbbbb  Oct  9 09:07  info      open     A rule\x1b[2J\u{202e} of som…  2001:db8:1234:56…         1
`

const wantTable = `
FIRST SEEN       LEVEL     TITLE                           WHO                     COUNT  ROUTES
Oct  9 08:07:06  critical  Sources all over try passwords  4000 sources         ~1234567  /login /a…
Oct  9 10:07:06  high      └ One of them                   203.0.113.1                 7
Oct  9 09:07:06  info      A rule\x1b[2J\u{202e} of some…  2001:db8:1234:5678…         1  /\x9b31m\…
`

const wantTableWithIDs = `
ID        FIRST SEEN       LEVEL     TITLE                              WHO                    COUNT
aaaaaaaa  Oct  9 08:07:06  critical  Sources all over try passwords     4000 sources        ~1234567
cccccccc  Oct  9 10:07:06  high      └ One of them                      203.0.113.1                7
bbbbbbbb  Oct  9 09:07:06  info      A rule\x1b[2J\u{202e} of somebody  2001:db8:1234:567…         1
`

func TestPrintIncidentEscapes(t *testing.T) {
	i := sample()[1]
	i.Message = "a\x1b]0;x\x07"
	i.Sources = []string{"\x1b[1m"}
	i.Evidence = []alerting.Evidence{{File: "a\nb", Line: 3, Text: "GET /\x1b[31m\u202e\r\n"}}
	i.Limits = []string{"\x00"}
	var b strings.Builder
	if err := printIncident(&b, i); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U in:\n%q", r, b.String())
		}
	}
	for _, want := range []string{"a\\nb:3\n    GET /\\x1b[31m\\u{202e}\\r\\n\n", "level           informational\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// TestPrintIncidentHostile shows each text of the table to a terminal, wherever a
// client has a say.
func TestPrintIncidentHostile(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "testdata", "hostile.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	payloads := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var p struct{ Text, Hex string }
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(p.Hex)
		if err != nil {
			t.Fatal(err)
		}
		payloads++
		v := p.Text + string(raw)
		i := sample()[1]
		i.Message, i.Sources, i.Accounts, i.Entered, i.Routes, i.Principals, i.Basis = v, []string{v}, []string{v}, []string{v}, []string{v}, []string{v}, []string{v}
		i.Group = map[string]string{"client.address": v, "user_agent.original": v}
		i.Evidence = []alerting.Evidence{{File: v, Line: 3, Text: v}}
		i.Actions = []alerting.Action{{Action: alerting.ActionAcknowledge, By: v, Comment: v}}
		i.Acknowledged = &i.Actions[0]
		var b strings.Builder
		if err := errors.Join(printIncident(&b, i), printIncidents(&b, []*alerting.Incident{i}, true)); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%U in:\n%q", r, b.String())
			}
		}
	}
	if payloads < 200 {
		t.Errorf("only %d payloads", payloads)
	}
}

func TestSome(t *testing.T) {
	f := func(n int, total int64, want string) {
		t.Helper()
		values := make([]string, n)
		for i := range values {
			values[i] = "v"
		}
		if got := some(values, total); got != want {
			t.Errorf("some(%d of %d): want %q, got %q", n, total, want, got)
		}
	}
	f(0, 0, "")
	f(2, 2, "v v")
	f(2, 5, "v v and 3 more")
	f(10, 10, "v v v v v v v v and 2 more")
}

func TestThousands(t *testing.T) {
	f := func(n int64, want string) {
		t.Helper()
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d): want %s, got %s", n, want, got)
		}
	}
	f(0, "0")
	f(999, "999")
	f(1000, "1,000")
	f(1234567, "1,234,567")
}
