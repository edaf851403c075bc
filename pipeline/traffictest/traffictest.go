// Package traffictest makes access logs with attacks in them from a seed, and
// compares what was found in them. It is for tests: of the pipeline in one
// process, and of the program under kill.
package traffictest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
)

// Rules are the rules that the logs are judged by: counts, distinct values, a
// population, a correlation over correlations, one that is true of few, and a
// plain detection.
const Rules = `
title: A login failed
name: login_failed
logsource: {category: webserver}
detection:
  selection: {auth.login: 'true', auth.outcome: failure}
  condition: selection
level: informational
---
title: Failed logins of one client
id: 11111111-0000-4000-8000-000000000001
name: client_fails
correlation:
  type: event_count
  rules: [login_failed]
  group-by: [client.address]
  timespan: 2m
  condition: {gte: 6}
level: medium
gatewatch: {family: credential}
---
title: Accounts tried by one client
id: 11111111-0000-4000-8000-000000000002
correlation:
  type: value_count
  rules: [login_failed]
  group-by: [client.address]
  timespan: 5m
  condition: {field: auth.account, gte: 5}
level: high
gatewatch: {family: credential}
---
title: One account tried often
id: 11111111-0000-4000-8000-000000000003
correlation:
  type: event_count
  rules: [login_failed]
  group-by: [auth.account]
  timespan: 3m
  condition: {gte: 8}
level: medium
gatewatch: {family: credential}
---
title: A login route under attack
id: 11111111-0000-4000-8000-000000000004
correlation:
  type: event_count
  rules: [login_failed]
  group-by: [http.route]
  timespan: 10m
  condition: {gte: 60}
level: low
gatewatch: {family: credential}
---
title: Several clients attack one route
id: 11111111-0000-4000-8000-000000000005
correlation:
  type: value_count
  rules: [client_fails]
  group-by: [http.route]
  timespan: 1h
  condition: {field: client.address, gte: 3}
level: high
generate: true
gatewatch: {family: credential}
---
title: A page was not found
name: not_found
logsource: {category: webserver}
detection:
  selection: {sc-status: 404}
  condition: selection
level: informational
---
title: Paths probed by one client
id: 11111111-0000-4000-8000-000000000006
correlation:
  type: value_count
  rules: [not_found]
  group-by: [client.address]
  timespan: 1m
  condition: {field: url.path, gte: 10}
level: medium
gatewatch: {family: web-attack}
---
title: A query with SQL in it
id: 11111111-0000-4000-8000-000000000007
logsource: {category: webserver}
detection:
  selection: {cs-uri-query|contains: 'union select'}
  condition: selection
level: medium
gatewatch: {family: web-attack, resolve_after: 20m}
---
title: Any request
name: any_request
logsource: {category: webserver}
detection:
  selection: {http.request.method|exists: true}
  condition: selection
level: informational
---
title: Flood of one client
id: 11111111-0000-4000-8000-000000000008
correlation:
  type: event_count
  rules: [any_request]
  group-by: [client.address]
  timespan: 10s
  condition: {gte: 25}
level: medium
gatewatch: {family: traffic}
`

// Line is one line of a log and the file that it goes to.
type Line struct {
	At   int64 // Unix seconds, as stamped
	File int
	Text string // without its line end
}

// Options choose what a log is like.
type Options struct {
	Seed  uint64
	Lines int
	// Files is 1 or more; writers differ in speed a hundredfold.
	Files int
	// Disorder lets lines be up to five seconds out of order, and puts bad
	// stamps in: a first line and a pair a year ahead.
	Disorder bool
	// Clients is how many honest clients there are, at most 30,000; 40 if 0.
	Clients int
}

// start is the time of the first line: long enough ago for a stamp that is a
// year ahead to be in the past.
var start = time.Date(2024, 3, 10, 9, 0, 0, 0, time.UTC).Unix()

// Make returns the lines of a log in the order in which they are written.
func Make(o Options) []Line {
	r := rand.New(rand.NewPCG(o.Seed, 11))
	if o.Clients == 0 {
		o.Clients = 40
	}
	g := generator{r: r, o: o, now: start}
	attacks := g.attacks()
	for len(g.lines) < o.Lines {
		switch {
		case len(g.lines) == o.Lines/2:
			g.now += 2 * 3600 // a quiet gap
		case r.IntN(3) == 0:
			g.now += int64(r.IntN(4))
		}
		if a := attacks[r.IntN(len(attacks))]; r.IntN(3) > 0 && len(g.lines) >= a.from && len(g.lines) < a.to {
			a.write()
			continue
		}
		g.honest()
	}
	if o.Disorder {
		g.disorder()
	}
	return g.lines
}

type generator struct {
	r     *rand.Rand
	o     Options
	now   int64
	lines []Line
	n     int
}

type attack struct {
	from, to int // share of the log in lines
	write    func()
}

// fileOf spreads clients over files so that their writers differ in speed
// about a hundred to ten to one.
func (g *generator) fileOf(client string) int {
	third, second := client == "192.0.2.15", client == "203.0.113.21" || client == "192.0.2.14"
	var high, low int
	if n, err := fmt.Sscanf(client, "198.51.%d.%d", &high, &low); n == 2 && err == nil {
		i := (high-100)*250 + low - 1
		third, second = i%100 == 0, i%10 == 2
	}
	switch {
	case third && g.o.Files > 2:
		return 2
	case second && g.o.Files > 1:
		return 1
	}
	return 0
}

func (g *generator) add(client, user, method, target string, status int) {
	at := time.Unix(g.now, 0).UTC().Format("02/Jan/2006:15:04:05 -0700")
	text := fmt.Sprintf(`%s - %s [%s] "%s %s HTTP/1.1" %d %d "-" "agent/%d"`, client, user, at, method, target, status, 100+g.r.IntN(900), g.r.IntN(3))
	g.lines = append(g.lines, Line{At: g.now, File: g.fileOf(client), Text: text})
}

func (g *generator) honest() {
	i := g.r.IntN(g.o.Clients)
	c := fmt.Sprintf("198.51.%d.%d", 100+i/250, 1+i%250)
	switch g.r.IntN(10) {
	case 0:
		g.add(c, "-", "GET", fmt.Sprintf("/missing/%d", g.r.IntN(5)), 404)
	case 1:
		status := 200
		if g.r.IntN(6) == 0 {
			status = 401
		}
		g.add(c, fmt.Sprintf("user%d", g.r.IntN(30)), "POST", "/api/login", status)
	default:
		g.add(c, "-", "GET", fmt.Sprintf("/api/v1/items/%d?page=%d", g.r.IntN(1000), g.r.IntN(9)), 200)
	}
}

// attacks are campaigns over parts of the log, several at once.
func (g *generator) attacks() []attack {
	n := g.o.Lines
	stuffer := func(client string) func() {
		return func() {
			g.n++
			g.add(client, fmt.Sprintf("victim%d", g.n), "POST", "/api/login", 401)
		}
	}
	out := []attack{
		{n / 10, n / 5, stuffer("203.0.113.7")},
		{n / 3, n / 2, func() { g.add(fmt.Sprintf("203.0.113.%d", 20+g.r.IntN(12)), "boss", "POST", "/api/login", 401) }},
		{n / 8, n / 3, func() { g.n++; g.add("203.0.113.40", "-", "GET", fmt.Sprintf("/admin/%d.php", g.n), 404) }},
		{n / 5, n * 4 / 5, func() {
			g.add(fmt.Sprintf("203.0.113.%d", 50+g.r.IntN(3)), "-", "GET", "/api/search?q=1+union+select+2", 200)
		}},
		{n * 3 / 5, n * 4 / 5, func() {
			for range 12 {
				g.add("203.0.113.60", "-", "GET", "/api/v1/items/1", 200)
			}
		}},
		{n * 7 / 10, n, func() {
			g.add(fmt.Sprintf("2001:db8:0:%d::%x", g.r.IntN(2), 1+g.r.IntN(300)), "-", "POST", "/api/login", 401)
		}},
	}
	for i := range 6 {
		out = append(out, attack{n / 2, n * 9 / 10, stuffer(fmt.Sprintf("192.0.2.%d", 10+i))})
	}
	return out
}

// disorder moves lines by up to five seconds and makes three stamps bad.
func (g *generator) disorder() {
	for i := range g.lines {
		if g.r.IntN(4) == 0 {
			j := min(len(g.lines)-1, i+g.r.IntN(12))
			if d := g.lines[j].At - g.lines[i].At; d <= 5 && d >= -5 {
				g.lines[i], g.lines[j] = g.lines[j], g.lines[i]
			}
		}
	}
	g.yearAhead(0)
	// The pair goes into the last file that has lines, near the end: from there
	// on that source's clock is a year ahead.
	file := g.o.Files - 1
	at := -1
	begin := len(g.lines) * 9 / 10
	if g.o.Files > 1 {
		begin = len(g.lines) * 7 / 10 // the slow writer's last lines are few
	}
	for i := begin; i < len(g.lines); i++ {
		if g.lines[i].File != file {
			continue
		}
		if at >= 0 {
			g.yearAhead(at)
			g.yearAhead(i)
			return
		}
		at = i
	}
}

func (g *generator) yearAhead(i int) {
	l := &g.lines[i]
	old := time.Unix(l.At, 0).UTC()
	l.At = old.AddDate(1, 0, 0).Unix()
	const layout = "02/Jan/2006:15:04:05"
	l.Text = strings.Replace(l.Text, old.Format(layout), time.Unix(l.At, 0).UTC().Format(layout), 1)
}

// Split returns the content of each file.
func Split(lines []Line, files int) []string {
	b := make([]strings.Builder, files)
	for _, l := range lines {
		b[l.File].WriteString(l.Text)
		b[l.File].WriteByte('\n')
	}
	out := make([]string, files)
	for i := range b {
		out[i] = b[i].String()
	}
	return out
}

// Summary is what is promised to be the same of an incident, however its
// records were read.
type Summary struct {
	ID, Family, Parent, Level string
	Rules                     []alerting.RuleCount
	Group                     map[string]string
	Sources, Accounts, Routes []string
	First, Detected, Last     time.Time
	Count                     int64
}

// Summarize keeps what is promised, ordered by first_seen and id. What
// gatewatch says of itself is left out: it follows the wall clock.
func Summarize(incidents []*alerting.Incident) []Summary {
	out := make([]Summary, 0, len(incidents))
	for _, i := range incidents {
		if i.Family == "gatewatch" {
			continue
		}
		out = append(out, Summary{
			ID: i.ID, Family: i.Family, Parent: i.Parent, Level: i.Level.String(), Rules: i.Rules, Group: i.Group,
			Sources: i.Sources, Accounts: i.Accounts, Routes: i.Routes,
			First: i.FirstSeen, Detected: i.DetectedAt, Last: i.LastSeen, Count: i.Count,
		})
	}
	slices.SortFunc(out, func(a, b Summary) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Decode reads incidents as the program prints them, one JSON object a line.
func Decode(jsonl string) ([]*alerting.Incident, error) {
	var out []*alerting.Incident
	for line := range strings.Lines(jsonl) {
		i := new(alerting.Incident)
		if err := json.Unmarshal([]byte(line), i); err != nil {
			return nil, fmt.Errorf("%.80q: %w", line, err)
		}
		out = append(out, i)
	}
	return out, nil
}
