package main

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"gatewatch/alerting"
	"gatewatch/collectors/kafka/kafkatest"
	"gatewatch/pipeline/traffictest"
)

// groupRules are rules that follow the key of the topic, the client's address, and one
// that does not. The first tells of each request, so that the incidents of a
// client have as many requests together as were judged of it.
const groupRules = `
title: Any request
id: 22222222-0000-4000-8000-000000000001
name: any_request
logsource: {category: webserver}
detection:
  selection: {http.request.method|exists: true}
  condition: selection
level: low
gatewatch: {family: traffic}
---
title: A login failed
name: login_failed
logsource: {category: webserver}
detection:
  selection: {auth.login: 'true', auth.outcome: failure}
  condition: selection
level: informational
---
title: Failed logins of one client
id: 22222222-0000-4000-8000-000000000002
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
id: 22222222-0000-4000-8000-000000000003
correlation:
  type: value_count
  rules: [login_failed]
  group-by: [client.address]
  timespan: 5m
  condition: {field: auth.account, gte: 5}
level: high
gatewatch: {family: credential}
---
title: Failed logins under one key
id: 22222222-0000-4000-8000-000000000004
correlation:
  type: event_count
  rules: [login_failed]
  group-by: [messaging.kafka.message.key]
  timespan: 1m
  condition: {gte: 10}
level: medium
gatewatch: {family: automation}
---
title: One account tried often
id: 22222222-0000-4000-8000-000000000005
correlation:
  type: event_count
  rules: [login_failed]
  group-by: [auth.account]
  timespan: 3m
  condition: {gte: 8}
level: medium
gatewatch: {family: credential}
`

// TestKafkaGroup runs three programs in one group over one topic while
// messages come. They stop in order and are killed, go and come back, and the
// partitions go with them. Each request is counted by one of them and once, and
// rules that follow the key of the topic find what a program finds that is alone.
func TestKafkaGroup(t *testing.T) { kafkaGroup(t, kafkatest.Start(t, kafkatest.Options{})) }

func TestKafkaGroupReal(t *testing.T) { kafkaGroup(t, kafkatest.Real(t)) }

const (
	groupPartitions = 6
	regularRequests = 1200                                   // in an era
	anyRequest      = "22222222-0000-4000-8000-000000000001" // the id of that rule
)

// fleet is several programs with one group.
type fleet struct {
	*testing.T
	k            *kafkatest.Cluster
	binary       string
	topic, group string
	members      [3]*kafkaRun
	running      [3]*exec.Cmd

	ends  map[int]int64    // of the topic, as far as it was written
	wrote map[string]int64 // requests by client
	era   int              // of event time: windows of one do not reach into the next
	last  time.Time        // of the era
	born  time.Time
}

func kafkaGroup(t *testing.T, k *kafkatest.Cluster) {
	if testing.Short() || raceEnabled {
		t.Skip("runs the program, which is not built with the race detector")
	}
	t.Parallel() // it waits for most of its time
	f := newFleet(t, k)

	// Whoever is alone has all.
	f.start(0)
	f.awaitShares(6, 0, 0)
	f.write(f.lines(true))
	f.awaitJudged()

	// Three share them.
	f.start(1)
	f.start(2)
	f.awaitShares(2, 2, 2)
	f.write(f.lines(true))
	f.awaitJudged()

	// One leaves while messages come, and one comes back.
	lines := f.lines(true)
	f.write(lines[:len(lines)/2])
	f.awaitBegun(1)
	f.stop(1)
	f.write(lines[len(lines)/2:])
	f.awaitShares(3, 0, 3)
	f.awaitJudged()
	lines = f.lines(true)
	f.write(lines[:len(lines)/2])
	f.awaitBegun(0)
	f.start(1)
	f.write(lines[len(lines)/2:])
	f.awaitShares(2, 2, 2)
	f.awaitJudged()

	// One is killed and stays away; when it comes back, others have read on.
	f.kill(2)
	f.awaitShares(3, 3, 0)
	f.write(f.lines(true))
	f.awaitJudged()
	f.start(2)
	f.awaitShares(2, 2, 2)
	f.write(f.lines(true))
	f.awaitJudged()
	calm := maps.Clone(f.wrote)

	// One is killed while it works, and is back at once.
	lines = f.lines(false)
	f.write(lines[:len(lines)/2])
	f.awaitBegun(0)
	f.kill(0)
	f.start(0)
	f.write(lines[len(lines)/2:])
	f.awaitShares(2, 2, 2)
	f.awaitJudged()

	f.judgeCounts(calm)
	f.judgeRules(0, 1, 4, 5)
	f.judgeStretch(1)
	f.judgeStretch(5)
	f.judgeWarning()
	for i := range f.members {
		f.stop(i)
	}
}

func newFleet(t *testing.T, k *kafkatest.Cluster) *fleet {
	binary := filepath.Join(t.TempDir(), "gatewatch")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f := &fleet{T: t, k: k, binary: binary, topic: k.Topic(groupPartitions), ends: map[int]int64{}, wrote: map[string]int64{}, born: time.Now()}
	f.group = "group-of-" + f.topic
	for i := range f.members {
		c := &kafkaRun{crash: crash{t: t, binary: binary, dir: t.TempDir()}, k: k, topic: f.topic}
		c.socket, c.config = filepath.Join(c.dir, "api.sock"), filepath.Join(c.dir, "gatewatch.yaml")
		c.check(os.WriteFile(filepath.Join(c.dir, "rules.yml"), []byte(groupRules), 0o600))
		c.check(os.WriteFile(c.config, fmt.Appendf(nil, `
sources:
  - kafka:
      brokers: ["%s"]
      topics: [%q]
      group: %q
      keyed_by: [client.address]
      begin: first
      session: 6s
      rebalance: 10s
      refresh: 1s
rules: {builtin: false, paths: [rules.yml]}
merge: {wait: 1m}
state: {path: state.db, checkpoint: 100ms}
api: {listen: %q}
log: {level: info}
`, strings.Join(k.Brokers(), `", "`), f.topic, f.group, "unix:"+c.socket), 0o600))
		f.members[i] = c
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for i, c := range f.members {
			for life := range c.lives {
				b, _ := os.ReadFile(filepath.Join(c.dir, fmt.Sprintf("life%d.log", life+1)))
				t.Logf("member %d, life %d:\n%s", i, life+1, b)
			}
		}
	})
	return f
}

func (f *fleet) start(i int) { f.running[i] = f.members[i].start("", 0) }

func (f *fleet) stop(i int) {
	f.Helper()
	p := f.running[i]
	f.running[i] = nil
	f.members[i].check(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		f.Fatalf("member %d did not stop cleanly: %v", i, err)
	}
}

func (f *fleet) kill(i int) {
	f.Helper()
	p := f.running[i]
	f.running[i] = nil
	f.members[i].check(p.Process.Kill())
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		f.Fatalf("member %d ended by itself: %v", i, err)
	}
}

// keyed is one request.
type keyed struct {
	client string
	at     time.Time
	text   string
}

// written is when the messages of an era were, as they say.
func (f *fleet) written(era int) time.Time {
	return f.born.Add(time.Duration(era-12) * 30 * time.Minute).Truncate(time.Second)
}

func partitionOf(client string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(client))
	return int(h.Sum32() % groupPartitions)
}

// attackers are two clients in each partition that nobody has seen before.
func attackers(era int) []string {
	var out []string
	for i, left := 1, 2*groupPartitions; left > 0; i++ {
		client := fmt.Sprintf("10.%d.%d.%d", era+1, i/250, i%250+1)
		same := 0
		for _, other := range out {
			if partitionOf(other) == partitionOf(client) {
				same++
			}
		}
		if same < 2 {
			out = append(out, client)
			left--
		}
	}
	return out
}

// lines are an era of requests: of its attackers, and, on request, of clients
// that are there in every era. It begins hours after the one before. The attackers come
// more than an hour later, as whoever was given a partition does not know what
// others saw of it just before, and says so of all that a window may hold with it.
func (f *fleet) lines(regulars bool) []keyed {
	begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).Add(time.Duration(f.era) * 6 * time.Hour)
	var out []keyed
	add := func(client string, after int, account, request string, status int) {
		at := begin.Add(time.Duration(after) * time.Second)
		out = append(out, keyed{client, at, requestLine(client, account, at, request, status)})
	}
	for n, client := range attackers(f.era) {
		for i := range 30 + n { // 30 logins within a minute or two, of ever more accounts or of one
			account := "boss-of-" + client
			if n%2 == 0 {
				account = fmt.Sprintf("victim%d", i)
			}
			add(client, 7500+20*n+(2+n%3)*i, account, "POST /api/login", 401)
		}
	}
	if regulars {
		for i := range regularRequests {
			add(fmt.Sprintf("192.0.2.%d", 1+i*7%60), 6*i, "-", fmt.Sprintf("GET /api/v1/items/%d", i%9), 200)
		}
	}
	slices.SortStableFunc(out, func(a, b keyed) int { return a.at.Compare(b.at) })
	f.era++
	f.last = out[len(out)-1].at
	return out
}

// endings is how many records end an era in each partition.
const endings = 2

// awaitJudged ends an era and polls until all of it is committed in Kafka, which it is
// after it is durable.
func (f *fleet) awaitJudged() {
	f.Helper()
	// No partition waits for another that has nothing more: see tail. This comes when all
	// have their owners, as a partition that moves is waited for anew.
	var out []keyed
	at := f.last.Add(time.Minute)
	for p := range groupPartitions {
		i := 1
		for partitionOf(ending(i)) != p {
			i++
		}
		for range endings {
			out = append(out, keyed{ending(i), at, requestLine(ending(i), "-", at, "GET /end", 200)})
		}
	}
	want := maps.Clone(f.ends)
	f.write(out)
	f.members[0].poll("all is judged", func() (bool, string) {
		got := f.k.Committed(f.group)[f.topic]
		for p, end := range want {
			if got[p] < end {
				return false, fmt.Sprintf("want %v, have %v", want, got)
			}
		}
		return true, ""
	})
}

func ending(i int) string { return fmt.Sprintf("198.51.100.%d", i) }

func isRegular(client string) bool { return strings.HasPrefix(client, "192.0.2.") }

// isEnding reports whether a client is one of those that end an era.
func isEnding(client string) bool { return strings.HasPrefix(client, "198.51.100.") }

func requestLine(client, account string, at time.Time, request string, status int) string {
	return fmt.Sprintf(`%s - %s [%s] "%s HTTP/1.1" %d 100 "-" "agent/1"`, client, account, at.Format("02/Jan/2006:15:04:05 -0700"), request, status)
}

func (f *fleet) write(lines []keyed) {
	var out []kafkatest.Record
	for _, l := range lines {
		p := partitionOf(l.client)
		out = append(out, kafkatest.Record{Topic: f.topic, Partition: p, Key: []byte(l.client), Value: []byte(l.text), Time: f.written(f.era - 1)})
		f.ends[p]++
		f.wrote[l.client]++
	}
	f.k.Produce(out...)
}

// awaitShares polls until the members have so many partitions each, which the group
// says without saying whose they are: members know that of themselves.
func (f *fleet) awaitShares(want ...int) {
	f.Helper()
	f.members[0].poll(fmt.Sprintf("shares of %v", want), func() (bool, string) {
		got := make([]int, len(want))
		for i := range f.members {
			got[i] = len(f.has(i))
		}
		return slices.Equal(got, want), fmt.Sprint(got)
	})
}

// has returns the partitions of a member, by its own word.
func (f *fleet) has(i int) (out []int) {
	if f.running[i] == nil {
		return nil
	}
	s, err := f.members[i].status()
	if err != nil {
		return nil
	}
	for _, x := range s.Sources {
		var p int
		if _, err := fmt.Sscanf(x.Name, "kafka:"+f.topic+"/%d", &p); err == nil && (x.State == "reading" || x.State == "idle") {
			out = append(out, p)
		}
	}
	return out
}

// awaitBegun polls until a member has committed something that it read since
// the last write.
func (f *fleet) awaitBegun(i int) {
	f.Helper()
	mine := f.has(i)
	before := f.k.Committed(f.group)[f.topic]
	f.members[i].poll("some of the records are judged", func() (bool, string) {
		now := f.k.Committed(f.group)[f.topic]
		return slices.ContainsFunc(mine, func(p int) bool { return now[p] > before[p] }), fmt.Sprintf("%v, then %v", before, now)
	})
}

// subject is the client that an incident is about, in rules that follow the key.
func subject(group map[string]string) string {
	return cmp.Or(group["client.address"], group["messaging.kafka.message.key"])
}

// judgeCounts asks that what was written while nobody was killed at work was counted
// once, and that the rest was not lost.
func (f *fleet) judgeCounts(calm map[string]int64) {
	got := map[string]int64{}
	by := map[string]map[int]bool{}
	for i, c := range f.members {
		for _, x := range c.list() {
			client := x.Group["client.address"]
			for _, r := range x.Rules {
				if r.ID == anyRequest {
					got[client] += r.Count
				}
			}
			if by[client] == nil {
				by[client] = map[int]bool{}
			}
			by[client][i] = true
		}
	}
	var sum, twice, went int64
	for client, want := range f.wrote {
		if isEnding(client) {
			continue
		}
		sum += want
		_, exact := calm[client]
		switch n := got[client]; {
		case n == want:
		case n > want && !exact:
			twice += n - want
		default:
			f.Errorf("%s was counted %d times, and is there %d times", client, n, want)
		}
		if len(by[client]) > 1 {
			went++
		}
	}
	if went < 20 {
		f.Errorf("only %d clients were counted by several members: partitions did not move", went)
	}
	f.Logf("%d requests, %d clients were counted by several members in turn, %d requests twice after a kill at work", sum, went, twice)
}

// about keeps incidents of the attackers of some eras.
func about(incidents []*alerting.Incident, eras ...int) (out []traffictest.Summary) {
	wanted := map[string]bool{}
	for _, era := range eras {
		for _, client := range attackers(era) {
			wanted[client] = true
		}
	}
	for _, x := range traffictest.Summarize(incidents) {
		if wanted[subject(x.Group)] {
			out = append(out, x)
		}
	}
	return out
}

// all are the incidents of all members.
func (f *fleet) all() (out []*alerting.Incident) {
	for _, c := range f.members {
		out = append(out, c.list()...)
	}
	return out
}

// judgeRules asks that the members together found what a replay does of the
// attackers of eras in which no partition moved.
func (f *fleet) judgeRules(calm ...int) {
	want := about(f.members[0].replayTopic(), calm...)
	for i, c := range f.members {
		if n := len(about(c.list(), calm...)); n < 2*2*len(f.members)-4 {
			f.Errorf("member %d found %d incidents only", i, n)
		}
	}
	if len(want) < 2*groupPartitions*len(calm) {
		f.Errorf("one alone finds %d incidents only", len(want))
	}
	all := f.all()
	if d := gocmp.Diff(want, about(all, calm...)); d != "" {
		f.Errorf("three find others than one alone (-one +three):\n%.6000s", d)
	}
	for _, x := range all {
		if x.Order != "" && len(about([]*alerting.Incident{x}, calm...)) > 0 {
			f.Errorf("%s of %s is marked %s", x.ID, subject(x.Group), x.Order)
		}
	}
	f.Logf("%d incidents of rules that follow the key, as of one alone", len(want))
}

// judgeStretch asks that a replay of the messages of one era finds in them what the
// members did, reads no others, and leaves the group as it is.
func (f *fleet) judgeStretch(era int) {
	group, committed := f.k.Group(f.group), f.k.Committed(f.group)
	got := f.members[1].replayTopic("--from", f.written(era).UTC().Format(time.RFC3339), "--to", f.written(era+1).UTC().Format(time.RFC3339))
	if d := gocmp.Diff(about(f.all(), era), about(got, era)); d != "" {
		f.Errorf("a replay of era %d differs (-run +replay):\n%.6000s", era, d)
	}
	var requests, others int64
	for _, x := range got {
		if len(about([]*alerting.Incident{x}, era)) == 0 && !isRegular(subject(x.Group)) && !isEnding(subject(x.Group)) {
			others++
		}
		for _, r := range x.Rules {
			if r.ID == anyRequest && isRegular(subject(x.Group)) {
				requests += r.Count
			}
		}
	}
	if requests != regularRequests || others > 0 {
		f.Errorf("a replay of era %d reads %d requests of regulars, want %d, and has %d incidents of others", era, requests, regularRequests, others)
	}
	if d := gocmp.Diff(group, f.k.Group(f.group)) + gocmp.Diff(committed, f.k.Committed(f.group)); d != "" {
		f.Errorf("a replay changed the group:\n%s", d)
	}
}

// judgeWarning asks that each member named the rule that is not exact, and no other.
func (f *fleet) judgeWarning() {
	for i, c := range f.members {
		var found string
		for line := range strings.Lines(c.log()) {
			if strings.Contains(line, "other instances read a part of the topic") {
				found = line
			}
		}
		if !strings.Contains(found, "One account tried often") || strings.Contains(found, "of one client") || strings.Contains(found, "under one key") {
			f.Errorf("member %d warned: %q", i, found)
		}
	}
}
