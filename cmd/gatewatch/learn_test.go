package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/config"
	"gatewatch/detectors/observation"
	"gatewatch/pipeline/learn"
	"gatewatch/rules/sigma"
)

// gatewatch runs a command line and returns what it printed.
func gatewatch(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, now: time.Now, env: func(string) (string, bool) { return "", false }}
	code = a.run(t.Context(), args)
	if code == exitUsage || code == exitFailed {
		t.Logf("gatewatch %s: %s", strings.Join(args, " "), errs.String())
	}
	return out.String(), code
}

// honestDay is a day of a shop: people behind an office address who mistype, a
// form that answers 200 to everything, a partner that pulls fast every three hours, a
// probe, and articles with names.
func honestDay(w io.Writer) {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	say := func(at time.Time, client, request string, status, size int, agent string) {
		lines = append(lines, line{at, fmt.Sprintf("%s - - [%s] %q %d %d \"-\" %q", client, at.Format("02/Jan/2006:15:04:05 -0700"), request+" HTTP/1.1", status, size, agent)})
	}
	login := func(at time.Time, client, agent string) {
		for r.IntN(8) == 0 {
			say(at, client, "POST /login", 200, 1800+r.IntN(30), agent)
			at = at.Add(6 * time.Second)
		}
		say(at, client, "POST /login", 200, 5200+r.IntN(900), agent)
		for k := range 6 {
			say(at.Add(time.Duration(2+20*k)*time.Second), client, "GET /blog/"+story(r.IntN(400)), 200, 9000, agent)
		}
	}
	for i := range 1500 { // people at home
		login(at.Add(time.Duration(r.IntN(86400))*time.Second), fmt.Sprintf("198.51.%d.%d", 100+i%4, 1+i%250), fmt.Sprintf("Mozilla/5.0 (home %d)", i%40))
	}
	for i := range 700 { // an office: half of them at nine
		when := at.Add(9*time.Hour + time.Duration(r.IntN(480))*time.Second)
		if i%2 == 0 {
			when = at.Add(time.Duration(r.IntN(86000)) * time.Second)
		}
		login(when, "192.0.2.77", fmt.Sprintf("Mozilla/5.0 (office %d)", i%60))
	}
	for visit := range 8 {
		for k := range 1500 {
			say(at.Add(time.Duration(3*visit)*time.Hour+time.Duration(k*40)*time.Millisecond), "192.0.2.88", fmt.Sprintf("GET /api/v1/orders/%d", 500000+visit*1500+k), 200, 700, "partner-sync/3.2")
		}
	}
	for k := range 2880 {
		say(at.Add(time.Duration(k*30)*time.Second), "192.0.2.99", "GET /healthz", 200, 2, "kube-probe/1.31")
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, l.text)
	}
}

// story is the name of an article; no syntax tells that it is a value.
func story(i int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return "on-" + string(letters[i%26]) + string(letters[i/26%26]) + "-and-" + string(letters[i*7%26])
}

// attack is an hour of stuffing and word lists between the honest lines.
func attack(w io.Writer) {
	at := time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC)
	for i := range 3600 {
		stamp := at.Add(time.Duration(i) * time.Second).Format("02/Jan/2006:15:04:05 -0700")
		_, _ = fmt.Fprintf(w, "203.0.113.9 - - [%s] \"POST /login HTTP/1.1\" 200 1815 \"-\" \"curl/8\"\n", stamp)
		_, _ = fmt.Fprintf(w, "203.0.113.10 - - [%s] \"GET /blog/%s HTTP/1.1\" 404 90 \"-\" \"Mozilla/5.0 (compatible; Goodbot/1.0)\"\n", stamp, story(i))
		_, _ = fmt.Fprintf(w, "203.0.113.11 - - [%s] \"GET /api/v1/orders/%d HTTP/1.1\" 200 700 \"-\" \"partner-sync/3.3\"\n", stamp, 700000+i)
		for range 60 * (i / 3400) {
			_, _ = fmt.Fprintf(w, "203.0.113.12 - - [%s] \"GET /api/v1/orders/1 HTTP/1.1\" 200 700 \"-\" \"load/1\"\n", stamp)
		}
	}
}

func honestLog(t *testing.T, more ...func(io.Writer)) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	honestDay(&b)
	path := filepath.Join(dir, "access.log")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, m := range more {
		var b bytes.Buffer
		m(&b)
		// A rotation of the same log would be put before it as a whole.
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("attack%d.log", i)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "*.log")
}

// partnerRanges is the file in which the partner publishes its addresses.
func partnerRanges(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "partner.json")
	if err := os.WriteFile(path, []byte(`{"prefixes": [{"ipv4Prefix": "192.0.2.88/32"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func loud(t *testing.T, args ...string) (out []string) {
	t.Helper()
	text, code := gatewatch(t, append([]string{"replay", "-q", "-o", "jsonl"}, args...)...)
	if code != exitOK {
		t.Fatalf("replay ended with %d", code)
	}
	for line := range strings.Lines(text) {
		var i alerting.Incident
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatal(err)
		}
		if i.Level >= observation.Medium {
			out = append(out, i.Rule.Title+" "+i.Group["client.address"])
		}
	}
	return out
}

// TestLearnQuiet learns of honest traffic for which the built-in numbers are too
// low: with what was learned, nobody is woken.
func TestLearnQuiet(t *testing.T) {
	log := honestLog(t)
	before := loud(t, log)
	if len(before) == 0 {
		t.Fatal("the built-in rules are quiet on this log; it shows nothing")
	}
	path := filepath.Join(t.TempDir(), "learned.yaml")
	if _, code := gatewatch(t, "learn", "-q", "-o", path, "--ranges", "partner-sync="+partnerRanges(t), log); code != exitOK {
		t.Fatalf("learn ended with %d", code)
	}
	if _, code := gatewatch(t, "check", "-c", path); code != exitOK {
		t.Fatalf("check of what was learned ended with %d", code)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`- "/blog/{slug}"`, `{method: "POST", path: "^/login/?$", success: "200", failure: "200,400,401,403,422,429", failure_size: "1800-1829"}`,
		"Known monitor: kube-probe/1.31", "Known partner, export or indexer: partner-sync", "threshold: ",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("what was learned lacks %q:\n%s", want, data)
		}
	}
	if after := loud(t, "-c", path, log); len(after) > 0 {
		t.Errorf("before: %q; with what was learned there should be nothing at medium or above, got %q:\n%s", before, after, data)
	}
}

// TestLearnPoisoned has attacks in the log that is learned from. They stay
// attacks, and nobody of them becomes known.
func TestLearnPoisoned(t *testing.T) {
	log := honestLog(t, attack)
	path := filepath.Join(t.TempDir(), "learned.yaml")
	if _, code := gatewatch(t, "learn", "-q", "-o", path, "--ranges", "partner-sync="+partnerRanges(t), log); code != exitOK {
		t.Fatalf("learn ended with %d", code)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inactive := regexp.MustCompile(`(?m)^ *#.*$`)
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "203.0.113.") && (!strings.HasPrefix(strings.TrimSpace(line), "#") || strings.Contains(line, `"203.0.113.`)) {
			t.Errorf("an attacker is proposed: %s", line)
		}
	}
	if strings.Contains(inactive.ReplaceAllString(string(data), ""), "203.0.113") {
		t.Error("an attacker became part of the configuration")
	}
	for _, config := range []string{path, uncommented(t, path)} {
		var who []string
		for _, i := range loud(t, "-c", config, log) {
			who = append(who, i[strings.LastIndexByte(i, ' ')+1:])
		}
		slices.Sort(who)
		if got := strings.Join(slices.Compact(who), " "); got != "203.0.113.10 203.0.113.12 203.0.113.9" {
			t.Errorf("%s: want incidents of the attackers alone, got %s", filepath.Base(config), got)
		}
	}
}

// uncommented takes all proposals of a learned configuration.
func uncommented(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "uncommented.yaml")
	if err := os.WriteFile(out, uncomment(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

var proposal = regexp.MustCompile(`(?m)^(?:(    )# (- |  |#)|(  )# (- |#))`)

func uncomment(data []byte) []byte { return proposal.ReplaceAll(data, []byte("$1$3$2$4")) }

// TestLearnWorkers: the same whatever the number of workers, from several files
// and from standard input.
func TestLearnWorkers(t *testing.T) {
	log := honestLog(t, attack)
	want, code := gatewatch(t, "learn", "-q", "--workers", "1", log)
	if code != exitOK || !strings.Contains(want, "rules:") {
		t.Fatalf("learn ended with %d:\n%s", code, want)
	}
	got, _ := gatewatch(t, "learn", "-q", "--workers", "7", log)
	if got != want {
		t.Errorf("seven workers learn something else:\n%s\n\nand one:\n%s", got, want)
	}
}

// FuzzLearned: whatever the log holds, the output is a configuration that
// loads, with its proposals taken or not.
func FuzzLearned(f *testing.F) {
	for _, s := range []string{"", "a", "x: y\n- z", "\"'`#%{}[]&*!|>@", "${HOME} $$ ${", "\x00\x1b[31m\u202e\xff", "*?\\", "---\nrules: []", "%known%", "{a}{b}"} {
		f.Add(s, s, s)
	}
	docs, err := builtinRules()
	if err != nil {
		f.Fatal(err)
	}
	set, _ := sigma.Parse(docs)
	f.Fuzz(func(t *testing.T, agent, path, name string) {
		c := learn.NewClients(0, 400, &learn.Suspects{})
		cl := netip.MustParsePrefix("192.0.2.1/32")
		survey, logins := learn.NewSurvey(), learn.NewLogins()
		for i := range int64(400) {
			fact := learn.Fact{
				Time: i, Client: cl, Addr: cl.Addr(), Peer: cl.Addr(), Method: "GET", Route: "/" + path, Path: "/" + path, Agent: agent + "kube-probe",
				AgentID: 7, Who: name, Account: name, Status: 200, Size: 10, Format: name,
			}
			c.Add(&fact)
			survey.Add(&fact)
			fact.Method, fact.Login, fact.Failed = "POST", true, i%2 == 0
			fact.Status = 200 + 201*int32(i%2)
			logins.Add(&fact)
		}
		r := learn.Result{
			Logs: []string{path}, Requests: 400, Lines: 400, Formats: survey.Formats, Coverage: survey.Coverage(), Risks: survey.Risks(),
			Routes:  []learn.Route{{Pattern: "/" + strings.ReplaceAll(strings.Map(noBrace, path), "?", "") + "x/{slug}", Values: 3, Examples: []string{path, name}}},
			Logins:  logins.Learned(),
			Tunings: []learn.Tuning{{Rule: learn.RuleName{ID: name + "x", Title: name}, Quiet: 3, Threshold: 2, Most: 2, Who: agent, Why: "is honest"}},
			Ranges:  learn.Ranges{"bot": {cl}}, Counting: []learn.RuleName{{ID: "897db101-7df4-4a4b-ad02-cd7cb4c75208"}, {Name: "object_missing"}},
		}
		r.Known, r.Pretenders = learn.FindKnown(c, &learn.Suspects{}, r.Ranges)
		if len(r.Known) == 0 {
			t.Fatal("the probe is not known")
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{b.Bytes(), uncomment(b.Bytes())} {
			c, err := config.Parse("learned.yaml", "/", data, func(string) (string, bool) { return "", false })
			if err != nil {
				t.Fatalf("not a configuration: %v\n%s", err, data)
			}
			if len(c.Rules.Tune) != 1 || c.Rules.Tune[0].Rules[0] != strings.ToValidUTF8(name, "\uFFFD")+"x" && !strings.Contains(name, "\uFFFD") {
				t.Fatalf("want the rule %q tuned, got %+v", name, c.Rules.Tune)
			}
			all, problems := sigma.Parse(append(slices.Clip(docs), c.Rules.Filters...))
			_, more := all.Compile(sigma.CompileOptions{Lists: c.Rules.Lists})
			for _, p := range append(problems, more...) {
				if p.Severity == sigma.Refused {
					t.Fatalf("refused: %v\n%s", p, data)
				}
			}
			if n := len(all.Rules()) - len(set.Rules()); n != len(c.Rules.Filters) {
				t.Fatalf("want %d filters, got %d", len(c.Rules.Filters), n)
			}
		}
	})
}

// noBrace takes out what means something in the template of a route.
func noBrace(r rune) rune {
	if strings.ContainsRune("{}#", r) {
		return -1
	}
	return r
}

func FuzzRanges(f *testing.F) {
	f.Add([]byte(`{"creationTime": "2026-11-01", "prefixes": [{"ipv4Prefix": "192.0.2.0/27"}, {"ipv6Prefix": "2001:db8::/64"}]}`))
	f.Add([]byte(`{"prefixes": [{"ipv4Prefix": "0.0.0.0/0"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseRanges(data)
		if err == nil && len(list) == 0 {
			t.Error("no prefixes and no error")
		}
		for _, p := range list {
			if p.Addr().Is4() && p.Bits() < 8 || p != p.Masked() {
				t.Errorf("%s should have been refused", p)
			}
		}
	})
}
