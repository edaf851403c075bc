package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"gatewatch/collectors/kafka/kafkatest"
)

var kafkaHours = flag.Int("kafka.hours", 3, "how many hours of 48,000 messages TestKafkaSpeedReal reads")

// TestKafkaSpeedReal reads the same topic by a bare reader of kafka-go, which only
// counts, and by the program with all built-in rules, and says how many messages
// each gets done in a second of CPU time. The broker is another process. A replay of a file
// with the same lines tells what of it is detection: what a topic costs beyond that must
// stay near what a bare reader takes.
func TestKafkaSpeedReal(t *testing.T) {
	k := kafkatest.Real(t)
	binary := filepath.Join(t.TempDir(), "gatewatch")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	lines := hours(t, *kafkaHours)
	file := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(file, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	replay := func(what string) time.Duration {
		cmd := exec.Command(binary, "replay", "-q", "-o", "jsonl", what)
		cmd.Dir, cmd.Stderr = t.TempDir(), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(out, []byte("\n")); n < 10 {
			t.Errorf("%d incidents only", n)
		}
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	fromFile := replay(file)
	for _, codec := range []kafkatest.Codec{kafkatest.None, kafkatest.LZ4} {
		const partitions = 4
		topic := k.Topic(partitions)
		const atOnce = 50_000
		for from := 0; from < len(lines); from += atOnce {
			var out []kafkatest.Record
			for i, l := range lines[from:min(from+atOnce, len(lines))] {
				out = append(out, kafkatest.Record{Topic: topic, Partition: i % partitions, Value: l})
			}
			k.ProduceWith(codec, out...)
		}
		bare := bareReader(t, k, topic)
		ours := replay("kafka://" + k.Brokers()[0] + "/" + topic)
		rate := func(d time.Duration) float64 { return float64(len(lines)) / d.Seconds() }
		t.Logf("codec %v, %d messages: a bare reader %.0f messages a CPU second, gatewatch %.0f, which is %.0f %%, and %.0f from a file",
			codec, len(lines), rate(bare), rate(ours), 100*rate(ours)/rate(bare), rate(fromFile))
		// Twice the reader, and a second for what a busy machine adds.
		if beyond := ours - fromFile; beyond > 2*bare+time.Second {
			t.Errorf("codec %v: a topic takes %v beyond a file, a bare reader all in all %v", codec, beyond, bare)
		}
	}
}

// bareReader counts the messages of a topic and returns the CPU time that took.
func bareReader(t *testing.T, k *kafkatest.Cluster, topic string) time.Duration {
	t.Helper()
	ends := k.Ends(topic)
	before := cpuTime(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	done := make(chan error, len(ends))
	for p, end := range ends {
		go func() {
			r := kafkago.NewReader(kafkago.ReaderConfig{
				Brokers: k.Brokers(), Topic: topic, Partition: p, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 500 * time.Millisecond,
			})
			defer func() { _ = r.Close() }()
			for range end {
				if _, err := r.ReadMessage(ctx); err != nil {
					done <- fmt.Errorf("partition %d: %w", p, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range ends {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return cpuTime(t) - before
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var clf = regexp.MustCompile(`\[([^]]+)\]`)

// hours returns the lines of the example log, again and again, each time an hour
// later.
func hours(t *testing.T, n int) [][]byte {
	t.Helper()
	f, err := os.Open("../../testdata/attack-hour.log.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	const layout = "02/Jan/2006:15:04:05 -0700"
	var first [][]byte
	for s := bufio.NewScanner(z); s.Scan(); {
		first = append(first, bytes.Clone(s.Bytes()))
	}
	out := make([][]byte, 0, n*len(first))
	for hour := range n {
		for _, l := range first {
			at := clf.FindSubmatchIndex(l)
			when, err := time.Parse(layout, string(l[at[2]:at[3]]))
			if err != nil {
				t.Fatal(err)
			}
			line := append([]byte(nil), l[:at[2]]...)
			line = when.Add(time.Duration(hour)*time.Hour).AppendFormat(line, layout)
			out = append(out, append(line, l[at[3]:]...))
		}
	}
	return out
}
