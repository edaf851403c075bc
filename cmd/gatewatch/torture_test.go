package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatewatch/collectors/file"
)

var (
	tortureRotations = flag.Int("torture.rotations", 24, "how many rotations TestTorture waits for at least, in each way to watch files")
	tortureKills     = flag.Int("torture.kills", 4, "how often TestTorture kills the program, in each way to watch files")
	tortureRate      = flag.Int("torture.rate", 20_000, "lines that are written in a second")
)

// leastBlock is from how many lines on a block is counted: so many that no
// address has nearly all of them, or it would be taken for the culprit.
const leastBlock = 50

const tortureRules = `
title: A line of a block
name: line
logsource: {category: webserver}
detection: {selection: {http.request.method: GET}, condition: selection}
level: informational
---
title: Lines of a block
id: 22222222-0000-4000-8000-000000000001
correlation: {type: event_count, rules: [line], group-by: [user_agent.original], timespan: 6h, condition: {gte: 50}}
level: low
gatewatch: {family: block}
---
title: Lines of an address
id: 22222222-0000-4000-8000-000000000002
correlation: {type: event_count, rules: [line], group-by: [client.address], timespan: 6h, condition: {gte: 1}}
level: low
gatewatch: {family: address}
---
title: Lines of a life
id: 22222222-0000-4000-8000-000000000003
correlation: {type: event_count, rules: [line], group-by: [http.request.header.referer], timespan: 6h, condition: {gte: 50}}
level: low
gatewatch: {family: life}
`

// TestTorture has another process write numbered lines to logs that are
// rotated in every way there is, while the real program is killed at random
// and started again. Each line is counted twice, by its block and by its
// address, and those of copytruncate once more by the life of the file that
// they are in: none may be lost and none doubled but those that copytruncate
// hid, and each rotation that may have hidden some is counted and said.
func TestTorture(t *testing.T) {
	if dir := os.Getenv("GATEWATCH_TORTURE_WRITER"); dir != "" {
		if err := tortureWriter(dir, *tortureRate, filepath.Join(filepath.Dir(dir), "api.sock")); err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // without a word of the testing package on its output
	}
	if testing.Short() {
		t.Skip("kills the program many times")
	}
	binary := filepath.Join(t.TempDir(), "gatewatch")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for i, watch := range []string{"poll", "inotify"} {
		t.Run(watch, func(t *testing.T) {
			o := &tortured{crash: crash{t: t, binary: binary, dir: t.TempDir()}, rng: rand.New(rand.NewPCG(3, uint64(i))), told: map[string]int64{}}
			o.run(watch)
		})
	}
}

type tortured struct {
	crash
	rng  *rand.Rand
	told map[string]int64 // truncations in place by log, as all lives said
	said []string         // all that the lives said, for when something is wrong
}

// truncations takes down of how many truncations one life of the program said
// that lines may be lost.
func (o *tortured) truncations(p *exec.Cmd) map[string]int64 {
	n := map[string]int64{}
	o.said = append(o.said, p.Stderr.(*bytes.Buffer).String())
	for line := range strings.SplitSeq(p.Stderr.(*bytes.Buffer).String(), "\n") {
		if strings.Contains(line, "truncated in place") || strings.Contains(line, "reason="+file.SkippedTruncated) {
			for _, name := range tortureLogs {
				if strings.Contains(line, "/"+name+".log") {
					n[name]++
				}
			}
		}
	}
	for name, k := range n {
		o.told[name] += k
	}
	return n
}

func (o *tortured) run(watch string) {
	t := o.t
	var p *exec.Cmd
	defer func() {
		if t.Failed() {
			if p != nil && p.ProcessState == nil { // the test broke off: this life has not been asked yet
				_ = p.Process.Kill()
				_ = p.Wait()
				o.truncations(p)
			}
			for life, text := range o.said {
				t.Logf("life %d said\n%s", life, text)
			}
		}
	}()
	logs := filepath.Join(o.dir, "logs")
	o.check(os.Mkdir(logs, 0o700))
	o.socket = filepath.Join(o.dir, "api.sock")
	o.config = filepath.Join(o.dir, "gatewatch.yaml")
	o.check(os.WriteFile(filepath.Join(o.dir, "rules.yml"), []byte(tortureRules), 0o600))
	var sources strings.Builder
	for _, name := range tortureLogs {
		fmt.Fprintf(&sources, "  - {files: [logs/%s.log], begin: start, format: combined, lateness: 1h, poll: 20ms, linger: 300ms, watch: %s}\n", name, watch)
	}
	o.check(os.WriteFile(o.config, fmt.Appendf(nil, `
sources:
%s
rules: {builtin: false, paths: [rules.yml]}
state: {path: state.db, checkpoint: 200ms}
api: {listen: %q}
log: {level: warn}
`, sources.String(), "unix:"+o.socket), 0o600))

	// The program has seen the logs before they are rotated for the first time:
	// what was rotated before gatewatch came is not its matter.
	for _, name := range tortureLogs {
		path := filepath.Join(logs, name+".log")
		if name == "symlink" {
			target := filepath.Join(logs, "app-2026-11-01T00-00-00.log")
			o.check(os.WriteFile(target, nil, 0o600))
			o.check(os.Symlink(target, path))
			continue
		}
		o.check(os.WriteFile(path, nil, 0o600))
	}
	p = o.start("", 0)
	o.poll("the logs are seen", func() (bool, string) {
		s, err := o.status()
		return err == nil && len(s.Sources) == len(tortureLogs) && s.Checkpoint.Total > 4, fmt.Sprint(err)
	})

	writer := exec.Command(os.Args[0], "-test.run=^TestTorture$", "-torture.rate", strconv.Itoa(*tortureRate))
	writer.Env = append(os.Environ(), "GATEWATCH_TORTURE_WRITER="+logs)
	writer.Stderr = new(bytes.Buffer)
	in, err := writer.StdinPipe()
	o.check(err)
	out, err := writer.StdoutPipe()
	o.check(err)
	begun := time.Now()
	o.check(writer.Start())
	var rotations atomic.Int64
	type report struct {
		logs map[string]written
		err  error
	}
	told := make(chan report, 1)
	go func() {
		logs, err := readWriter(out, func() { rotations.Add(1) })
		told <- report{logs, err}
	}()

	kills := 0
	for deadline := time.Now().Add(15 * time.Minute); kills < *tortureKills || rotations.Load() < int64(*tortureRotations); {
		if time.Now().After(deadline) {
			t.Fatalf("only %d rotations and %d kills so far", rotations.Load(), kills)
		}
		ended := make(chan error, 1)
		go func() { ended <- p.Wait() }()
		select {
		case err := <-ended:
			t.Fatalf("the program ended by itself: %v\n%s", err, p.Stderr)
		case r := <-told:
			t.Fatalf("the writer ended: %v\n%s", r.err, writer.Stderr)
		case <-time.After(time.Duration(100+o.rng.IntN(1400)) * time.Millisecond):
		}
		o.check(p.Process.Kill())
		if err := <-ended; err == nil {
			t.Fatal("the program ended well though it was killed")
		}
		kills++
		o.truncations(p)
		p = o.start("", 0)
	}
	took := time.Since(begun)
	o.check(in.Close())
	r := <-told
	o.check(r.err)
	o.check(writer.Wait())

	o.awaitTortured(r.logs, logs)
	o.judgeTortured(r.logs, logs)
	last, err := o.status()
	o.check(err)
	var lines int64
	for _, w := range r.logs {
		lines += w.Lines
	}
	t.Logf("%s: %d kills, %d rotations, %d lines at %.0f a second", watch, kills, rotations.Load(), lines, float64(lines)/took.Seconds())
	o.check(p.Process.Signal(syscall.SIGTERM))
	if err := p.Wait(); err != nil {
		t.Errorf("the last run did not stop cleanly: %v\n%s", err, p.Stderr)
	}
	// The counter is what was said, and no less than what happened. A kill may
	// come between saying and saving: then the next life says it again, of up to
	// three rotations that came at once.
	said := o.truncations(p)
	for _, x := range last.Sources {
		name := strings.TrimSuffix(filepath.Base(x.Name), ".log")
		if x.Skipped[file.SkippedTruncated] != said[name] {
			t.Errorf("%s: the last life counted %v and said %d truncations", name, x.Skipped, said[name])
		}
	}
	for _, name := range tortureLogs {
		w := r.logs[name]
		switch n := o.told[name]; {
		case name == "delete": // it is emptied in place too, once all of it was read
		case name != "copytruncate" && n != 0:
			t.Errorf("%s: %d truncations were told, and it has none", name, n)
		case n < int64(w.Hiding) || n > int64(w.Rotations+3*kills):
			t.Errorf("%s: %d truncations were told; of %d rotations %d hid lines, and there were %d kills", name, n, w.Rotations, w.Hiding, kills)
		}
	}
	t.Logf("%d rotations by copytruncate, %d of them hid lines, %d truncations were told", r.logs["copytruncate"].Rotations, r.logs["copytruncate"].Hiding, o.told["copytruncate"])
}

// awaitTortured polls until all that was written is judged. What copytruncate
// hid makes offsets of its log fall short; there it waits until nothing moves.
func (o *tortured) awaitTortured(logs map[string]written, dir string) {
	var last int64
	var still time.Time
	settled := false
	defer func() {
		if !settled {
			o.judgeTortured(logs, dir) // which lines it is that are not there
		}
	}()
	o.poll("everything is read", func() (bool, string) {
		s, err := o.status()
		if err != nil {
			return false, err.Error()
		}
		done, sum, state := len(s.Sources) == len(tortureLogs), int64(0), ""
		for _, x := range s.Sources {
			name := strings.TrimSuffix(filepath.Base(x.Name), ".log")
			state += fmt.Sprintf("\n%s %s: %d of %d bytes, skipped %v", name, x.State, x.Offset, logs[name].Bytes, x.Skipped)
			done = done && (x.Offset == logs[name].Bytes || name == "copytruncate")
			sum += x.Offset
		}
		if sum != last {
			last, still = sum, time.Now()
		}
		settled = done && time.Since(still) > 2*time.Second
		return settled, state
	})
}

// judgeTortured compares what was counted with what was written.
func (o *tortured) judgeTortured(logs map[string]written, dir string) {
	t := o.t
	blocks, addresses, lives := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for _, i := range o.list() {
		if i.Group["client.address"] == "*" || i.Group["user_agent.original"] == "*" || i.Group["http.request.header.referer"] == "*" {
			t.Fatalf("there were more groups than incidents can be told apart: %v", i.Group)
		}
		for _, r := range i.Rules {
			switch r.Title {
			case "Lines of a block":
				blocks[i.Group["user_agent.original"]] += r.Count
			case "Lines of an address":
				addresses[i.Group["client.address"]] += r.Count
			case "Lines of a life":
				lives[i.Group["http.request.header.referer"]] += r.Count
			}
		}
	}
	for number, name := range tortureLogs {
		w := logs[name]
		if w.Lines == 0 || w.Rotations == 0 {
			t.Errorf("%s: %d lines, %d rotations", name, w.Lines, w.Rotations)
		}
		for b := int64(0); b*blockLines < w.Lines; b++ {
			key := fmt.Sprintf("%s-%d", name, b)
			want := min(blockLines, w.Lines-b*blockLines)
			if want < leastBlock {
				continue // too few for the rule; addresses count them
			}
			least := want
			if w.Visible != nil {
				least = w.Visible[key]
			}
			if got := blocks[key]; got < least || got > want {
				t.Errorf("%s: %d lines were counted, %d written, %d to be seen", key, got, want, least)
			}
		}
		hidden := map[int64]int64{} // lines by address
		for _, l := range w.Lives {
			for n := l.Hidden; n < l.End; n++ {
				hidden[n%numberClients]++
			}
		}
		var missing, hid int64
		for a := range int64(numberClients) {
			want := (w.Lines - a + numberClients - 1) / numberClients
			key := fmt.Sprintf("10.%d.0.%d", number, a)
			got := addresses[key]
			if got < want-hidden[a] || got > want {
				t.Errorf("%s, %s: %d lines were counted, %d written, %d of them hidden", name, key, got, want, hidden[a])
			}
			missing += want - got
			hid += hidden[a]
		}
		o.judgeLives(name, w, lives)
		t.Logf("%s: %d lines, %d rotations, %d lines were hidden by copytruncate, %d are missing", name, w.Lines, w.Rotations, hid, missing)
	}
}

// judgeLives compares what was counted of each life of a log: all that its copy
// holds must be there. Where one is wrong, all are told.
func (o *tortured) judgeLives(name string, w written, lives map[string]int64) {
	bad := false
	var all strings.Builder
	for i, l := range w.Lives {
		got := lives[lifeTag(name, i)]
		wrong := l.Hidden-l.First >= leastBlock && got < l.Hidden-l.First || got > l.End-l.First
		if bad = bad || wrong; wrong {
			o.t.Errorf("%s: of lines %d to %d %d were counted; %d are in the copy, %d came after it", name, l.First, l.End-1, got, l.Hidden-l.First, l.End-l.Hidden)
		}
		fmt.Fprintf(&all, "\nlife %d to %s: lines %d to %d, hidden from %d on, %d counted", i, l.Ended.Format("15:04:05.000"), l.First, l.End-1, l.Hidden, got)
	}
	if bad {
		o.t.Logf("%s:%s", name, all.String())
	}
}
