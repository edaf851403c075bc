package sigma

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatewatch/collectors/format"
	"gatewatch/detectors/injection"
	"gatewatch/event"
)

// shared is where what the tests of several projects use is, where it is there.
func shared() string {
	if s := os.Getenv("GATEWATCH_SHARED"); s != "" {
		return s
	}
	return "../../../shared"
}

// sources of the campaigns in the log of the bench; all others are ordinary.
var campaigns = []string{"198.51.100.7 ", "203.0.113.44 ", "192.0.2.99 ", "45.155.205."}

// benchLog writes a log as the bench of the speed has it and returns its
// ordinary lines. The tool that makes it is not in a clone.
func benchLog(t *testing.T, lines string) []byte {
	t.Helper()
	tool, err := filepath.Abs(filepath.Join(shared(), "bench", "loggen"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		t.Skip("the tool that makes the log is not here: ", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", "-n", lines, "-combined", path, "-json", filepath.Join(dir, "access.json"))
	cmd.Dir = tool
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making the log: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var ordinary []byte
	for line := range bytes.Lines(data) {
		if !slices.ContainsFunc(campaigns, func(s string) bool { return strings.HasPrefix(string(line), s) }) {
			ordinary = append(ordinary, line...)
		}
	}
	return ordinary
}

// TestSparing: of ordinary lines fewer than one in a hundred makes libinjection
// or a regular expression of the built-in rules run.
func TestSparing(t *testing.T) {
	t.Run("a few", func(t *testing.T) {
		data, err := os.ReadFile("testdata/bench.log.gz")
		if err != nil {
			t.Fatal(err)
		}
		countDeep(t, unzip(t, data), 1500)
	})
	t.Run("many", func(t *testing.T) {
		if testing.Short() {
			t.Skip("makes and reads 200,000 lines")
		}
		countDeep(t, benchLog(t, "200000"), 190_000)
	})
}

func countDeep(t *testing.T, log []byte, least int) {
	t.Helper()
	x := builtinIndex(t)
	if len(x.regexes) == 0 {
		t.Fatal("the built-in rules have no regular expression, which this is to count")
	}
	m := x.NewMatcher()
	dec, err := format.New(format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := injection.New()
	libraryLines, eitherLines := 0, 0
	deep := false
	der, err := event.NewDeriver(event.DeriveOptions{Classify: func() func(*event.Event, []string) []string {
		return func(ev *event.Event, classes []string) []string {
			before := a.Stats().Deep
			set := a.Analyze(&injection.Request{Path: ev.Path, Query: ev.Query, Agent: ev.UserAgent, Referer: ev.Referer, Host: ev.Host})
			deep = a.Stats().Deep > before
			return set.Append(classes)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	sc := bufio.NewScanner(bytes.NewReader(log))
	for sc.Scan() {
		var ev event.Event
		if err := dec.Decode(bytes.Clone(sc.Bytes()), &ev); err != nil {
			t.Fatalf("%s: %v", sc.Bytes(), err)
		}
		lines++
		deep = false
		der.Derive(&ev, x.Needs())
		before := m.regexEvents
		m.find(&ev)
		if deep {
			libraryLines++
		}
		if deep || m.regexEvents > before {
			eitherLines++
		}
	}
	if lines < least {
		t.Fatalf("%d lines, want %d", lines, least)
	}
	s := a.Stats()
	if s.Requests != uint64(lines) {
		t.Errorf("%d of %d lines went through the search for injection", s.Requests, lines)
	}
	t.Logf("%d lines: libinjection on %d, regular expressions on %d, either on %d; %d had text that was looked at closely", lines, libraryLines, m.regexEvents, eitherLines, s.Suspects)
	if eitherLines*100 >= lines {
		t.Errorf("libinjection ran on %d and regular expressions on %d of %d ordinary lines, a hundredth or more", libraryLines, m.regexEvents, lines)
	}
	// The count counts: a line that needs both is seen.
	var ev event.Event
	if err := dec.Decode([]byte(`203.0.113.9 - - [10/Mar/2026:09:00:00 +0000] "GET /.env?_method=DELETE&q=select+%27a%27+from+the+list HTTP/1.1" 404 1 "-" "-"`), &ev); err != nil {
		t.Fatal(err)
	}
	before, regexes := a.Stats().Deep, m.regexEvents
	der.Derive(&ev, x.Needs())
	m.find(&ev)
	if a.Stats().Deep == before || m.regexEvents == regexes {
		t.Errorf("nothing was counted for a line that needs both: libinjection %v, regular expressions %v", a.Stats().Deep != before, m.regexEvents != regexes)
	}
}

func unzip(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
