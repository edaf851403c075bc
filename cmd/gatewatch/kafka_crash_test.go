package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/alerting"
	"gatewatch/api"
	"gatewatch/collectors/kafka/kafkatest"
	"gatewatch/pipeline/traffictest"
)

var (
	kafkaLines = flag.Int("kafka.lines", 8_000, "how many lines the program is killed over in TestKafkaCrash")
	kafkaKills = flag.Int("kafka.kills", 4, "how often TestKafkaCrash kills the program")
)

// kafkaPoints are the named places at which the program is killed; the first is
// that between Kafka's acknowledgement of an offset and our record of it.
var kafkaPoints = []string{"offset-committed-not-noted", "read-not-cut", "cut-not-committed", "committed-not-sent"}

// TestKafkaCrash runs the real program over a topic while messages come. It kills
// the program and the brokers again and again and asks that nothing was lost or
// counted twice: the incidents are those of a run that nobody disturbed, of a replay of
// the topic and of a replay of files with the same records.
func TestKafkaCrash(t *testing.T) { kafkaCrash(t, kafkatest.Start(t, kafkatest.Options{})) }

func TestKafkaCrashReal(t *testing.T) { kafkaCrash(t, kafkatest.Real(t)) }

// kafkaRun is the program over one topic.
type kafkaRun struct {
	crash
	k         *kafkatest.Cluster
	topic     string
	incidents string // topic of the sink
	hook      string // where the webhook is
	ends      map[int]int64
	lives     int
}

const kafkaPartitions = 3

// The last record of all waits for a partition that has nothing more until that was idle for merge.wait, and as long again
// each time that the group is made anew. While messages are still being written the wait has to be longer than any pause
// of the writer, or they would come behind the merge. Where all of them are there before the program starts, no wait is too
// short.
const (
	waitWhileWritten = "1m"
	waitAtEnd        = "2s"
)

func kafkaCrash(t *testing.T, k *kafkatest.Cluster) {
	if testing.Short() || raceEnabled {
		t.Skip("kills the program many times, which is not built with the race detector")
	}
	t.Parallel() // it waits for most of its time
	binary := filepath.Join(t.TempDir(), "gatewatch")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	lines := traffictest.Make(traffictest.Options{Seed: 7, Lines: *kafkaLines, Files: kafkaPartitions, Disorder: true, Clients: 2000})
	lines = append(lines, tail(lines)...)

	killed := newKafkaRun(t, binary, k)
	want := killed.replay(lines)
	rest := lines
	r := rand.New(rand.NewPCG(7, 9))
	for kill := range *kafkaKills {
		n := len(rest) / (*kafkaKills - kill)
		killed.incarnation(kill, rest[:n], r)
		rest = rest[n:]
	}
	killed.produce(rest)
	killed.configure(waitAtEnd)
	killed.nextLife()
	p := killed.start("", 0)
	killed.awaitEnd()
	if d := cmp.Diff(want, traffictest.Summarize(killed.list())); d != "" {
		t.Errorf("after %d kills the incidents differ from those of a file replay (-replay +killed):\n%.8000s", *kafkaKills, d)
	}
	for _, i := range killed.list() {
		if i.Order != "" {
			t.Errorf("%s is marked %s", i.ID, i.Order)
		}
	}
	killed.awaitDelivery()
	killed.inbox.judge(t, 10)
	killed.stop(p)
	killed.judgeSink()
	for _, point := range append(kafkaPoints[:1:1], "random") {
		if killed.hits[point] == 0 {
			t.Errorf("no kill fell on %q: %v", point, killed.hits)
		}
	}
	t.Logf("%d messages, kills by point: %v", total(toCounts(killed.ends)), killed.hits)

	if d := cmp.Diff(want, traffictest.Summarize(killed.replayTopic())); d != "" {
		t.Errorf("a replay of the topic finds others than one of files (-files +topic):\n%.8000s", d)
	}

	calm := newKafkaRun(t, binary, k)
	calm.topic, calm.ends = killed.topic, killed.ends
	calm.configure(waitAtEnd)
	p = calm.start("", 0)
	calm.awaitEnd()
	if d := cmp.Diff(want, traffictest.Summarize(calm.list())); d != "" {
		t.Errorf("an undisturbed run differs from a file replay (-replay +run):\n%.8000s", d)
	}
	calm.stop(p)
}

func toCounts(ends map[int]int64) map[string]int64 {
	out := map[string]int64{}
	for p, n := range ends {
		out[fmt.Sprint(p)] = n
	}
	return out
}

// tail ends each partition at the same time, twice, as one stamp far ahead would be
// held: then no partition waits for another.
func tail(lines []traffictest.Line) []traffictest.Line {
	limit := lines[len(lines)/2].At + 180*24*3600 // some stamps are a year ahead
	var last int64
	for _, l := range lines {
		if l.At < limit {
			last = max(last, l.At)
		}
	}
	at := time.Unix(last+60, 0).UTC()
	var out []traffictest.Line
	for i := range 2 * kafkaPartitions {
		out = append(out, traffictest.Line{At: at.Unix(), File: i % kafkaPartitions, Text: fmt.Sprintf(
			`198.51.100.%d - - [%s] "GET /api/v1/items/1 HTTP/1.1" 200 100 "-" "agent/1"`, 200+i, at.Format("02/Jan/2006:15:04:05 -0700"))})
	}
	return out
}

func newKafkaRun(t *testing.T, binary string, k *kafkatest.Cluster) *kafkaRun {
	c := &kafkaRun{crash: crash{t: t, binary: binary, dir: t.TempDir(), files: kafkaPartitions, hits: map[string]int{}}, k: k}
	c.topic, c.incidents, c.ends = k.Topic(kafkaPartitions), k.Topic(2), map[int]int64{}
	c.socket = filepath.Join(c.dir, "api.sock")
	c.config = filepath.Join(c.dir, "gatewatch.yaml")
	c.check(os.WriteFile(filepath.Join(c.dir, "rules.yml"), []byte(traffictest.Rules), 0o600))
	server := httptest.NewServer(&c.inbox)
	t.Cleanup(server.Close)
	c.hook = server.URL
	c.configure(waitWhileWritten)
	return c
}

func (c *kafkaRun) configure(wait string) {
	brokers := `["` + strings.Join(c.k.Brokers(), `", "`) + `"]`
	c.check(os.WriteFile(c.config, fmt.Appendf(nil, `
sources:
  - kafka:
      brokers: %s
      topics: [%q]
      group: %q
      begin: first
      session: 6s
      rebalance: 10s
      refresh: 1s
rules: {builtin: false, paths: [rules.yml]}
merge: {wait: %s}
state: {path: state.db, budget: 1MiB, checkpoint: 100ms}
incidents: {group_interval: 1s}
receivers:
  - name: hook
    webhook: {url: %q, secret: hush, timeout: 5s}
  - name: bus
    kafka: {brokers: %s, topic: %q, compression: zstd}
api: {listen: %q}
log: {level: info}
`, brokers, c.topic, filepath.Base(c.dir)+c.topic, wait, c.hook, brokers, c.incidents, "unix:"+c.socket), 0o600))
}

// produce writes lines, one to four of a partition in a message; one where there are
// very many, as it is messages that are counted then.
func (c *kafkaRun) produce(lines []traffictest.Line) {
	const atOnce = 20_000
	for len(lines) > atOnce {
		c.produce(lines[:atOnce])
		lines = lines[atOnce:]
	}
	var out []kafkatest.Record
	open := map[int]int{} // by partition: its last message, and how many lines that has
	for i, l := range lines {
		if j, ok := open[l.File]; ok {
			out[j].Value = append(append(out[j].Value, '\n'), l.Text...)
			if i%3 == 0 {
				delete(open, l.File)
			}
			continue
		}
		if i%2 == 0 && *kafkaLines < 200_000 {
			open[l.File] = len(out)
		}
		out = append(out, kafkatest.Record{Topic: c.topic, Partition: l.File, Value: []byte(l.Text)})
	}

	if len(out) > 0 {
		c.k.ProduceWith(kafkatest.Codecs()[len(lines)%len(kafkatest.Codecs())], out...)
	}
	for _, r := range out {
		c.ends[r.Partition]++
	}
}

// incarnation runs the program until it is killed, while messages come. In one
// of four the brokers are killed first.
func (c *kafkaRun) incarnation(kill int, lines []traffictest.Line, r *rand.Rand) {
	c.nextLife()
	point := ""
	if kill%4 != 3 {
		point = kafkaPoints[(kill/4*3+kill%4)%len(kafkaPoints)]
	}
	if kill%8 == 0 {
		point = kafkaPoints[0]
	}
	p := c.start(point, 1+r.IntN(3))
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	half := len(lines) / 2
	c.produce(lines[:half])
	if kill%4 == 2 {
		c.k.Kill()
		c.k.Restart()
	}
	c.produce(lines[half:])
	limit := 10 * time.Second
	if point == "" {
		limit = time.Duration(r.IntN(1500)) * time.Millisecond
	}
	var err error
	select {
	case err = <-ended:
	case <-time.After(limit):
		c.check(p.Process.Kill())
		err = <-ended
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		c.t.Fatalf("the program ended by itself: %v\n%s", err, c.log())
	}
	c.note()
	c.judgeLog()
}

// start runs the program, with its log in a file of its own.
func (c *kafkaRun) start(point string, n int) *exec.Cmd {
	c.lives++
	f, err := os.Create(c.logFile())
	c.check(err)
	defer func() { c.check(f.Close()) }() // the program has its own
	p := exec.Command(c.binary, "run", "--config", c.config)
	p.Stderr, p.Env = f, os.Environ()
	if point != "" {
		p.Env = append(p.Env, fmt.Sprintf("GATEWATCH_FAILPOINT=%s:%d", point, n), "GATEWATCH_FAILPOINT_LOG="+filepath.Join(c.dir, "hits"))
	}
	c.check(p.Start())
	c.t.Cleanup(func() { _ = p.Process.Kill() }) // where the test ends early; else it is gone already
	return p
}

func (c *kafkaRun) logFile() string { return filepath.Join(c.dir, fmt.Sprintf("life%d.log", c.lives)) }

// log is what the running program, or the last one, wrote.
func (c *kafkaRun) log() string {
	b, err := os.ReadFile(c.logFile())
	c.check(err)
	return string(b)
}

// judgeLog asks that nothing went on elsewhere or came behind the merge in the life of a
// program that is gone.
func (c *kafkaRun) judgeLog() {
	c.t.Helper()
	log := c.log()
	for _, word := range []string{"behind the merge", "goes on elsewhere", "passed over", "set aside", "other instances read"} {
		if strings.Contains(log, word) {
			c.t.Fatalf("%q is in the log of life %d:\n%s", word, c.lives, log)
		}
	}
}

// awaitEnd polls until all that was produced is in committed state, in Kafka, too.
func (c *kafkaRun) awaitEnd() {
	c.t.Helper()
	var commits int64
	done := func() (bool, string) {
		s, err := c.status()
		if err != nil {
			return false, err.Error()
		}
		left := kafkaPartitions
		for _, x := range s.Sources {
			if x.Behind != 0 {
				c.t.Fatalf("%s: %d records behind the merge", x.Name, x.Behind)
			}
			for p, end := range c.ends {
				if x.Name == fmt.Sprintf("kafka:%s/%d", c.topic, p) && x.Offset == end {
					left--
				}
			}
		}
		commits = s.Checkpoint.Total
		return left == 0, fmt.Sprintf("want %v, have %s\n%s", c.ends, offsets(&s), c.log())
	}
	for begun := time.Now(); ; {
		// A million messages take longer than poll waits, and so does a group that waits for the dead on a busy machine.
		if ok, _ := done(); ok || time.Since(begun) > 2*time.Minute+time.Duration(*kafkaLines/2000)*time.Second {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.poll("everything read", done)
	c.poll("everything committed", func() (bool, string) {
		s, err := c.status()
		if err != nil {
			return false, err.Error()
		}
		return s.Checkpoint.Total >= commits+2, fmt.Sprintf("want %d commits, have %d", commits+2, s.Checkpoint.Total)
	})
	c.poll("Kafka knows", func() (bool, string) {
		got := c.k.Committed(filepath.Base(c.dir) + c.topic)[c.topic]
		return cmp.Equal(got, c.ends), fmt.Sprintf("want %v, have %v", c.ends, got)
	})
}

func offsets(s *api.Status) string {
	var out []string
	for _, x := range s.Sources {
		out = append(out, fmt.Sprintf("%s %s at %d %s", x.Name, x.State, x.Offset, x.Error))
	}
	return strings.Join(out, ", ")
}

func (c *kafkaRun) awaitDelivery() {
	c.poll("last states delivered", func() (bool, string) {
		for _, i := range c.list() {
			if i.Parent == "" && !c.inbox.knows(i) {
				return false, fmt.Sprintf("%s/%d, %s, %d", i.ID, i.Revision, i.State, i.Count)
			}
		}
		return true, ""
	})
}

func (c *kafkaRun) stop(p *exec.Cmd) {
	c.check(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		c.t.Errorf("the last run did not stop cleanly: %v\n%s", err, c.log())
	}
	c.judgeLog()
}

func (c *kafkaRun) replayTopic(args ...string) []*alerting.Incident {
	args = append([]string{"replay", "--config", c.config, "-q", "-o", "jsonl", "kafka:///" + c.topic}, args...)
	out, err := exec.Command(c.binary, args...).Output()
	c.check(err)
	incidents, err := traffictest.Decode(string(out))
	c.check(err)
	return incidents
}

// judgeSink asks that the topic of incidents ends with how each is, and that what was
// written twice is equal.
func (c *kafkaRun) judgeSink() {
	t := c.t
	newest := map[string]*alerting.Incident{}
	seen := map[string]string{}
	again := 0
	for _, r := range c.k.Records(c.incidents) {
		var n struct{ Data *alerting.Incident }
		c.check(json.Unmarshal(r.Value, &n))
		if string(r.Key) != n.Data.ID {
			t.Errorf("a message of %s has the key %s", n.Data.ID, r.Key)
		}
		id := r.Header("ce_id")
		if before, ok := seen[id]; ok {
			again++
			if before != string(r.Value) {
				t.Errorf("%s is there twice and differs", id)
			}
		}
		seen[id] = string(r.Value)
		if had := newest[n.Data.ID]; had == nil || had.Revision <= n.Data.Revision {
			newest[n.Data.ID] = n.Data
		}
	}
	if len(newest) < 10 {
		t.Errorf("the topic has %d incidents", len(newest))
	}
	t.Logf("%d messages of %d incidents in the topic, %d of them written again", len(seen), len(newest), again)
}
