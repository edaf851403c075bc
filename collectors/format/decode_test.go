package format

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"gatewatch/event"
)

// count decodes lines and counts formats, and reasons with a minus before them.
func count(t *testing.T, lines [][]byte) map[string]int {
	t.Helper()
	d := decoder(t, Options{})
	got := map[string]int{}
	var ev event.Event
	for _, line := range lines {
		err := d.Decode(line, &ev)
		var fault *LineError
		switch {
		case err == nil:
			got[ev.Format]++
		case errors.As(err, &fault):
			got["-"+fault.Reason]++
		}
	}
	return got
}

func TestSharedSamples(t *testing.T) {
	f := func(name string, want map[string]int) {
		t.Helper()
		got := count(t, sharedLines(t, "samples/"+name+".log", 1000))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	type n = map[string]int
	f("nginx_combined", n{"combined": 5, "vhost_combined": 3, "-bad_time": 1})
	f("nginx_main_xff", n{"combined_xff": 6})
	f("nginx_ingress", n{"ingress": 7})
	f("nginx_json", n{"json": 6, "-bad_time": 1})
	f("apache_common", n{"common": 5})
	f("apache_malformed", n{"combined": 11})
	f("apache_vhost_combined", n{"vhost_combined": 3})
	f("kong_access", n{"kong": 5})
	f("apisix_access", n{"apisix": 4})
	f("aws_apigw_rest_clf.rendered", n{"common": 3})
	f("kong_file_log", n{"json": 3})
	f("apisix_file_logger", n{"json": 7})
}

func TestSharedCorpora(t *testing.T) {
	f := func(name string, want map[string]int) {
		t.Helper()
		if diff := cmp.Diff(want, count(t, sharedLines(t, "corpora/"+name, 40000))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	type n = map[string]int
	f("range/stretched_public_access_combined.log.gz", n{"combined": 40000})
	f("range/stretched_public_access.json.log.gz", n{"json": 40000})
	f("logs/elastic-apache.log.gz", n{"combined": 10000})
	f("logs/basjes-hackers.log.gz", n{"combined": 3456})
	f("logs/acunetix.log.gz", n{"combined": 6539})
	f("logs/w3af.log.gz", n{"combined": 3996})
}

// TestSharedRangeAgrees: the same request in both logs gives the same event.
func TestSharedRangeAgrees(t *testing.T) {
	text := sharedLines(t, "corpora/range/stretched_public_access_combined.log.gz", 40000)
	object := sharedLines(t, "corpora/range/stretched_public_access.json.log.gz", 40000)
	a, b := decoder(t, Options{}), decoder(t, Options{})
	var x, y event.Event
	for i := range text {
		if err := errors.Join(a.Decode(text[i], &x), b.Decode(object[i], &y)); err != nil {
			t.Fatal(err)
		}
		if x.Malformed != event.Wellformed || y.Malformed != event.Wellformed {
			continue // the object does not have the request line
		}
		got := []any{x.Time / 1e9, x.Method, x.Target, x.Path, x.Query, x.Protocol, x.Status, x.BodySize, x.Referer, x.UserAgent, x.Peer}
		want := []any{y.Time / 1e9, y.Method, y.Target, y.Path, y.Query, y.Protocol, y.Status, y.BodySize, y.Referer, y.UserAgent, y.Peer}
		if !slices.Equal(want, got) {
			t.Fatalf("line %d:\nwant %v\ngot  %v\n%s\n%s", i+1, want, got, text[i], object[i])
		}
	}
}

// TestFixtures decodes every file in testdata and compares with the golden
// listing beside it.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) < 3 {
		t.Fatalf("want at least 3 fixtures, got %d: %v", len(files), err)
	}
	for _, file := range files {
		in, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(file, ".log") + ".golden"
		var out bytes.Buffer
		d := decoder(t, Options{})
		var ev event.Event
		for line := range bytes.Lines(in) {
			list(&out, d.Decode(bytes.TrimSuffix(line, []byte("\n")), &ev), &ev)
		}
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func list(out *bytes.Buffer, err error, ev *event.Event) {
	if err != nil {
		out.WriteString("error: " + err.Error() + "\n\n")
		return
	}
	out.WriteString(ev.Format + " " + string(unixText(ev.Time)) + "\n")
	for _, name := range event.FieldNames() {
		f, _ := event.Lookup(name)
		switch f {
		case event.FieldRaw, event.FieldFormat, event.FieldLogin, event.FieldOutcome, event.FieldMalformed, event.FieldUserVerified, event.FieldClientSource,
			event.FieldClientClass, event.FieldObjectSampled, event.FieldRefused: // worked out by a Deriver
			continue
		}
		if v, ok := ev.Text(f); ok {
			out.WriteString("  " + name + " = " + quote(v) + "\n")
		}
	}
	out.WriteString("\n")
}

func TestDetect(t *testing.T) {
	lines := [][]byte{
		[]byte(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 12 "-" "x"`),
		[]byte(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 12 "-" "x"`),
		[]byte(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 12 "-" "x" "-"`),
		[]byte(``), []byte(`# note`), []byte(`junk`),
	}
	if diff := cmp.Diff([]Guess{{"combined", 0.5, 2}, {"combined_xff", 0.25, 1}}, Detect(lines)); diff != "" {
		t.Errorf("guesses (-want +got):\n%s", diff)
	}
	if got := Detect(nil); got != nil {
		t.Errorf("no lines: want nil, got %v", got)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d := decoder(t, Options{})
	lines := [][]byte{
		[]byte(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET /a?b HTTP/1.1" 200 12 "-" "x"`),
		[]byte(`2001:db8::1 - \x22bob\x22 [19/Nov/2026:06:00:03 +0000] "GET /\xFF HTTP/1.1" 200 12 "-" "\"x\"" "1.1.1.1"`),
		[]byte(`{"time":"2026-11-19T06:00:02Z","http":{"request":{"method":"GET"}},"url":{"path":"/a","query":"b\"c"},"ip":["192.0.2.1","192.0.2.2"],"status":200}`),
	}
	var ev event.Event
	if n := testing.AllocsPerRun(200, func() {
		for _, line := range lines {
			if err := d.Decode(line, &ev); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("want no allocation, got %v a run", n)
	}
}

// checkDecode holds what must be true of any line.
func checkDecode(t *testing.T, warm *Decoder, line []byte) {
	t.Helper()
	before := bytes.Clone(line)
	var ev event.Event
	_ = warm.Decode(line, &ev) // so that the next time every cache knows it
	err := warm.Decode(line, &ev)
	if !bytes.Equal(before, line) {
		t.Fatalf("%q was changed to %q", before, line)
	}
	var fault *LineError
	if err != nil && !errors.Is(err, ErrBlank) {
		if !errors.As(err, &fault) || !slices.Contains(Reasons(), fault.Reason) || fault.Column < 1 || fault.Column > max(len(line), 1) {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if ev.Status < 0 || ev.Status > 999 || ev.BodySize < -1 || ev.RequestSize < -1 || ev.Duration < -1 {
		t.Fatalf("%q: status %d, sizes %d %d, duration %d", line, ev.Status, ev.BodySize, ev.RequestSize, ev.Duration)
	}
	total := 0
	for _, name := range event.FieldNames() {
		f, _ := event.Lookup(name)
		if s, ok := ev.Text(f); ok && f.Kind() == event.KindText && f != event.FieldRaw {
			total += len(strings.Clone(s)) // reads every byte
		}
	}
	if total > 8*len(line)+512 {
		t.Fatalf("%q gives %d bytes of text", line, total)
	}
	// A decoder that read other lines before gives what a fresh one gives.
	fresh, ferr := New(Options{})
	if ferr != nil {
		t.Fatal(ferr)
	}
	var again event.Event
	err2 := fresh.Decode(before, &again)
	if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
		t.Fatalf("%q: %v, then %v", line, err, err2)
	}
	if ev.Raw != again.Raw || unsafe.StringData(ev.Raw) == unsafe.StringData(again.Raw) && ev.Raw != "" {
		t.Fatalf("%q: raw %q, then %q", line, ev.Raw, again.Raw)
	}
	if diff := cmp.Diff(again, ev, addrs); diff != "" {
		t.Fatalf("%q (-fresh +warm):\n%s", line, diff)
	}
}

// TestDecodeIsLinear repeats what sends a careless search to the end of the
// line again and again.
func TestDecodeIsLinear(t *testing.T) {
	const head = `192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "`
	d := decoder(t, Options{})
	var ev event.Event
	for _, start := range []string{"", `{"time":1,"a":`, `{"time":1,"xff":[`, `{"a":"`, `192.0.2.1 - - `, head, head + `GET / HTTP/1.1" 200 1 "`, head + `GET / HTTP/1.1" 200 1 "" "" `} {
		for _, unit := range []string{"[", `"`, `\`, `\"`, `"a",`, `{"a":`, `"\u0041",`, `" `, ": ", `" "`, `"x":1,`} {
			began := time.Now()
			_ = d.Decode([]byte(start+strings.Repeat(unit, 1<<18/len(unit))), &ev)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s and 256 KiB of %q take %v", start, unit, took)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`192.0.2.1 - bob x [19/Nov/2026:06:00:02 +0000] "GET http://h/a?b HTTP/1.1" 200 12 "-" "\x22\"" "1.1.1.1" 0.123`,
		`v:80 ::1 - - [2026-11-19T07:00:02.25+01:00[Europe/Berlin]] h "PUT" - - 1.2 "a" "b" c "d" "e"`,
		`"192.0.2.1 - - [31/Dec/1969:23:59:60 -1800] "" 000 -"`,
		"\xef\xbb\xbf{\"time\":1795068002,\"request\":\"\\u0016\\x03\",\"a\":{\"b\":[{},\"\"]},\"t\":,\"status\":-}\r",
		`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/2" 200 1 "" "" 1 "r" "u" 3ms`,
		`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "\"\\`,
		`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000]  " `,
		`1.2.3.4:5 192.0.2.1:6 - - [x] [19/Nov/2026:06:00:02 +0000] [::1] "GET / HTTP/2" 200 1`,
		"\r",
	} {
		f.Add([]byte(s))
	}
	warm := decoder(f, Options{})
	f.Fuzz(func(t *testing.T, line []byte) { checkDecode(t, warm, line) })
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`"status":200,"path":"/a"`, `"http":{"request":{"method":"GET"}}`, `"ip":["1.1.1.1","x"],"status":"9"`, `"uri":"\ud83d\ude00\x41","args":"?"`,
		`"request":"GET / HTTP/1.1","msec":1.5`, `"@timestamp":"2026-11-19T06:00:02.1Z","status":,`,
	} {
		f.Add([]byte(s))
	}
	warm := decoder(f, Options{})
	f.Fuzz(func(t *testing.T, members []byte) {
		checkDecode(t, warm, slices.Concat([]byte(`{"time":1795068002,"ip":"192.0.2.1","status":1,`), members, []byte(`}`)))
	})
}
