package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/alerting"
	"gatewatch/api"
	"gatewatch/pipeline/traffictest"
)

var kills = flag.Int("crash.kills", 24, "how often TestCrash kills the program, over both cuttings")

// points are the named places at which the program is killed.
var points = []string{"read-not-cut", "cut-not-committed", "committed-not-sent", "attempted-not-sent", "sent-not-marked", "rename-create"}

// TestCrash runs the real program over logs that are being written and
// rotated, kills it again and again, at random and at each named point, and
// asks that nothing was lost, counted twice, or told wrongly.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills the program many times")
	}
	binary := filepath.Join(t.TempDir(), "gatewatch")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	hits := map[string]int{}
	for i, files := range []int{1, 3} {
		t.Run(fmt.Sprintf("files=%d", files), func(t *testing.T) {
			c := &crash{t: t, binary: binary, dir: t.TempDir(), files: files, seed: uint64(40 + i), hits: hits, kills: *kills / 2}
			c.run()
		})
	}
	for _, p := range points {
		if hits[p] == 0 {
			t.Errorf("no kill ever fell on %q", p)
		}
	}
	t.Logf("kills by point: %v", hits)
}

type crash struct {
	t      *testing.T
	binary string
	dir    string
	files  int
	seed   uint64
	kills  int
	hits   map[string]int

	inbox  inbox // of a receiver that is told of each incident
	groups inbox // of one that is told of groups
	config string
	socket string
}

func (c *crash) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *crash) run() {
	t := c.t
	server := httptest.NewServer(&c.inbox)
	defer server.Close()
	groups := httptest.NewServer(&c.groups)
	defer groups.Close()
	logs := filepath.Join(c.dir, "logs")
	c.check(os.Mkdir(logs, 0o700))
	c.socket = filepath.Join(c.dir, "api.sock")
	c.config = filepath.Join(c.dir, "gatewatch.yaml")
	c.check(os.WriteFile(filepath.Join(c.dir, "rules.yml"), []byte(traffictest.Rules), 0o600))
	c.check(os.WriteFile(c.config, fmt.Appendf(nil, `
sources:
  - files: [logs/*.log]
    begin: start
    poll: 5ms
    rescan: 20ms
    linger: 50ms
rules: {builtin: false, paths: [rules.yml]}
merge: {wait: 1m}
state: {path: state.db, budget: 1MiB, checkpoint: 100ms}
incidents: {group_interval: 1s}
receivers:
  - name: hook
    webhook: {url: %q, secret: hush, timeout: 5s}
  - name: groups
    webhook: {url: %q, secret: hush, timeout: 5s}
route:
  receiver: hook
  routes:
    - {receiver: groups, group_by: [family], group_wait: 200ms, group_interval: 1s, continue: true}
    - {receiver: hook}
api: {listen: %q}
log: {level: warn}
`, server.URL, groups.URL, "unix:"+c.socket), 0o600))

	lines := traffictest.Make(traffictest.Options{Seed: c.seed, Lines: 4000, Files: c.files, Disorder: true, Clients: 2000})
	want := c.replay(lines)

	w, err := traffictest.NewWriter(logs, c.seed, c.files)
	c.check(err)
	w.RotateEvery = 150
	r := rand.New(rand.NewPCG(c.seed, 9))
	c.awaitSeen(w)
	for kill := range c.kills {
		n := len(lines) / (c.kills - kill)
		c.incarnation(kill, w, lines[:n], r)
		lines = lines[n:]
	}
	for _, l := range lines {
		c.check(w.Write(l))
	}
	c.nextLife()
	p := c.start("", 0)
	c.check(w.Finish())
	c.awaitEnd(w)
	if d := cmp.Diff(want, traffictest.Summarize(c.list())); d != "" {
		t.Errorf("after %d kills the incidents differ from a replay's (-replay +killed):\n%.8000s", c.kills, d)
	}
	c.awaitDelivery()
	c.inbox.judge(t, 10)
	c.groups.judge(t, 3)
	if c.groups.digests == 0 {
		t.Error("no group was told at once")
	}
	c.check(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		t.Errorf("the last run did not stop cleanly: %v\n%s", err, p.Stderr)
	}
}

func (c *crash) replay(lines []traffictest.Line) []traffictest.Summary {
	dir := c.t.TempDir()
	args := []string{"replay", "--config", c.config, "-q", "-o", "jsonl"}
	for i, text := range traffictest.Split(lines, c.files) {
		path := filepath.Join(dir, fmt.Sprintf("access-%c.log", 'a'+i))
		c.check(os.WriteFile(path, []byte(text), 0o600))
		args = append(args, path)
	}
	out, err := exec.Command(c.binary, args...).Output()
	c.check(err)
	incidents, err := traffictest.Decode(string(out))
	c.check(err)
	if len(incidents) < 10 {
		c.t.Fatalf("the log shows %d incidents only", len(incidents))
	}
	return traffictest.Summarize(incidents)
}

func (c *crash) start(point string, n int) *exec.Cmd {
	p := exec.Command(c.binary, "run", "--config", c.config)
	p.Stderr = new(bytes.Buffer)
	p.Env = os.Environ()
	if point != "" {
		p.Env = append(p.Env, fmt.Sprintf("GATEWATCH_FAILPOINT=%s:%d", point, n), "GATEWATCH_FAILPOINT_LOG="+filepath.Join(c.dir, "hits"))
	}
	c.check(p.Start())
	c.t.Cleanup(func() { _ = p.Process.Kill() }) // where the test ends early; else it is gone already
	return p
}

// incarnation runs the program until it is killed, while lines are written.
// Every other one is killed at a named point, or, when that is not reached
// soon enough, at random like the others.
func (c *crash) incarnation(kill int, w *traffictest.Writer, lines []traffictest.Line, r *rand.Rand) {
	c.nextLife()
	point, n := "", 0
	if kill%4 != 3 {
		point, n = points[(kill/4*3+kill%4)%len(points)], 1+r.IntN(2)
	}
	p := c.start(point, n)
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	limit := time.After(time.Duration(100+r.IntN(400)) * time.Millisecond)
	if point != "" {
		limit = time.After(5 * time.Second)
	}
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for i, idle := 0, 0; ; {
		select {
		case err := <-ended:
			for ; i < len(lines); i++ {
				c.check(w.Write(lines[i]))
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				c.t.Fatalf("the program ended by itself: %v\n%s", err, p.Stderr)
			}
			c.note()
			return
		case <-limit:
			c.check(p.Process.Kill())
			limit = nil
		case <-pace.C:
			for range 10 {
				if i < len(lines) {
					c.check(w.Write(lines[i]))
					i++
				}
			}
			if i == len(lines) && point == "rename-create" && idle%100 == 10 {
				c.check(w.Rotate(r.IntN(c.files)))
			}
			idle++
		}
	}
}

// note takes down at which point the program was killed, if at a named one.
func (c *crash) note() {
	path := filepath.Join(c.dir, "hits")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		c.hits["random"]++
		return
	}
	c.check(err)
	c.check(os.Remove(path))
	c.hits[strings.TrimSpace(string(b))]++
}

func (c *crash) get(path string) ([]byte, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.socket)
	}, DisableKeepAlives: true}}
	res, err := client.Get("http://localhost" + path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(res.Body)
}

func (c *crash) status() (api.Status, error) {
	var s api.Status
	b, err := c.get("/api/v1/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// poll calls done until it is true, and fails after a minute.
func (c *crash) poll(what string, done func() (bool, string)) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	state := ""
	for deadline := time.After(time.Minute); ; {
		ok := false
		if ok, state = done(); ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("%s: not within a minute: %s", what, state)
		}
	}
}

// awaitSeen runs the program until it has committed a position of every file:
// what is written from then on is read, wherever it is moved.
func (c *crash) awaitSeen(w *traffictest.Writer) {
	c.nextLife()
	p := c.start("", 0)
	var seen time.Time
	c.poll("sources seen", func() (bool, string) {
		s, err := c.status()
		if err != nil {
			return false, err.Error()
		}
		idle := 0
		for _, x := range s.Sources {
			if x.State == "idle" {
				idle++
			}
		}
		if idle == len(w.Sizes) && seen.IsZero() {
			seen = time.Now()
		}
		return !seen.IsZero() && s.Checkpoint.Last != nil && s.Checkpoint.Last.After(seen.Add(300*time.Millisecond)), fmt.Sprintf("%+v", s.Sources)
	})
	c.check(p.Process.Kill())
	_ = p.Wait()
}

// awaitEnd polls until all that was written is in committed state. An offset
// moves when the merge lets a record pass, a little before windows and
// incidents know of it; the second commit from then on holds it, as one cut is
// under way at a time.
func (c *crash) awaitEnd(w *traffictest.Writer) {
	var commits int64
	c.poll("everything read", func() (bool, string) {
		s, err := c.status()
		if err != nil {
			return false, err.Error()
		}
		left := 0
		for i, size := range w.Sizes {
			if size > 0 && !slices.ContainsFunc(s.Sources, func(x api.Source) bool {
				if x.Behind != 0 {
					c.t.Fatalf("%s: %d records behind the merge", x.Name, x.Behind)
				}
				return x.Name == w.Path(i) && x.Offset == size && x.State == "gone"
			}) {
				left++
			}
		}
		commits = s.Checkpoint.Total
		return left == 0, fmt.Sprintf("want %v, have %+v", w.Sizes, s.Sources)
	})
	c.poll("everything committed", func() (bool, string) {
		s, err := c.status()
		if err != nil {
			return false, err.Error()
		}
		return s.Checkpoint.Total >= commits+2, fmt.Sprintf("want %d commits, have %d", commits+2, s.Checkpoint.Total)
	})
}

// list reads the incidents as a user would.
func (c *crash) list() []*alerting.Incident {
	out, err := exec.Command(c.binary, "incidents", "list", "--config", c.config, "-o", "jsonl").Output()
	c.check(err)
	incidents, err := traffictest.Decode(string(out))
	c.check(err)
	return incidents
}

// awaitDelivery polls until each receiver knows the last state of every
// incident that is told of by itself.
func (c *crash) awaitDelivery() {
	c.poll("last states delivered", func() (bool, string) {
		for _, i := range c.list() {
			if i.Parent == "" && (!c.inbox.knows(i) || !c.groups.knows(i)) {
				return false, fmt.Sprintf("%s/%d, %s, %d", i.ID, i.Revision, i.State, i.Count)
			}
		}
		return true, ""
	})
}

func (c *crash) nextLife() {
	c.inbox.next()
	c.groups.next()
}

// inbox is the server of a webhook. It notes in which life of the program each
// notification arrived, and what is known of each incident by it.
type inbox struct {
	mu       sync.Mutex
	life     int
	arrivals map[string][]int
	newest   map[string]alerting.DigestEntry
	digests  int
	faults   []string
}

func (b *inbox) next() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life++
}

// knows reports whether the last that arrived of an incident is how it is.
func (b *inbox) knows(i *alerting.Incident) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.newest[i.ID]
	return ok && e.State == i.State && e.Count == i.Count && e.Level == i.Level
}

// take notes what a notification says of its incident, or of those of a digest.
// Nothing newer may have arrived before.
func (b *inbox) take(id string, body []byte) {
	var n struct{ Data alerting.Incident }
	if err := json.Unmarshal(body, &n); err != nil {
		b.faults = append(b.faults, fmt.Sprintf("%s: %v", id, err))
		return
	}
	i := n.Data
	entries := i.Digest
	if len(entries) == 0 {
		entries = []alerting.DigestEntry{{ID: i.ID, Revision: i.Revision, State: i.State, Count: i.Count, Level: i.Level}}
	} else {
		b.digests++
	}
	for _, e := range entries {
		if had := b.newest[e.ID].Revision; had > e.Revision {
			b.faults = append(b.faults, fmt.Sprintf("%s/%d arrived after %d", e.ID, e.Revision, had))
			continue
		}
		b.newest[e.ID] = e
	}
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the program was killed while it sent
	}
	id := r.Header.Get("webhook-id")
	mac := hmac.New(sha256.New, []byte("hush"))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, r.Header.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := r.Header.Get("webhook-signature"); got != want {
		b.faults = append(b.faults, fmt.Sprintf("%s: signature %q", id, got))
	}
	if b.arrivals == nil {
		b.arrivals, b.newest = map[string][]int{}, map[string]alerting.DigestEntry{}
	}
	b.take(id, body)
	b.arrivals[id] = append(b.arrivals[id], b.life)
	w.WriteHeader(http.StatusNoContent)
}

// judge fails where fewer than so many notifications arrived, where one
// arrived twice in one life of the program, or again after a life that cannot
// have ended between its sending and its marking: a kill ends one life, and no
// more than the attempts of a receiver that may be under way at once fall
// between the two.
func (b *inbox) judge(t *testing.T, least int) {
	t.Helper()
	const underWay = 4
	b.mu.Lock()
	defer b.mu.Unlock()
	again := map[int]int{} // by life: revisions that arrived in it and in a later one
	twice := 0
	for key, lives := range b.arrivals {
		if len(slices.Compact(slices.Clone(lives))) != len(lives) {
			t.Errorf("%s arrived twice in one life: %v", key, lives)
		}
		for _, life := range lives[:len(lives)-1] {
			again[life]++
			twice++
		}
	}
	for life, n := range again {
		if n > underWay {
			t.Errorf("%d revisions that arrived in life %d arrived again, want at most %d", n, life, underWay)
		}
	}
	if len(b.arrivals) < least {
		t.Errorf("only %d notifications arrived", len(b.arrivals))
	}
	for _, f := range b.faults {
		t.Error(f)
	}
	t.Logf("%d notifications arrived, %d of them again after a kill; %d stood for several incidents", len(b.arrivals), twice, b.digests)
}
