package config

import (
	"errors"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/detectors/observation"
	"gatewatch/event"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files")

// testEnv is the environment of all tests.
func testEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"HOOK":  "https://hook.example/services/T0/s3cret",
		"EMPTY": "",
		"TRICK": "a: [1, ${HOOK}",
		"SIZE":  "64MiB",
	}[name]
	return v, ok
}

// compare lets go-cmp see inside secrets; want comes first.
var compare = cmp.Options{cmp.AllowUnexported(Secret{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()}

func TestParseFull(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("full.yaml", "/etc/gw", data, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Dir: "/etc/gw",
		Sources: []Source{
			{
				Files: []string{"/var/log/nginx/*access.log", "/etc/gw/logs/a.log"}, Exclude: []string{"/var/log/nginx/old*"},
				Format: "auto", Aliases: map[string]string{"my_key": "http.request.method"},
				Lateness: 30 * time.Second, MaxLine: 64 << 10, Poll: 250 * time.Millisecond, Rescan: 10 * time.Second, Linger: 5 * time.Second, Late: 15 * time.Minute,
			},
			{Stdin: true, FromEnd: true, Format: "auto", Lateness: 10 * time.Second, MaxLine: 1 << 20, Poll: 250 * time.Millisecond, Rescan: 10 * time.Second, Linger: 5 * time.Second, Late: 15 * time.Minute},
		},
		TrustedProxies: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"),
		},
		IPv6Group: 128,
		Logins: []Login{{
			Method: "POST", Path: "^/session$",
			Success: []StatusRange{{200, 200}, {302, 302}}, Failure: []StatusRange{{200, 200}, {400, 499}},
			FailureSize: []event.SizeRange{{From: 1200, To: 1300}, {From: 7, To: 7}}, Action: "reset",
		}},
		Routes:    []string{"/shop/{slug}/items/{id}"},
		Rules:     Rules{Builtin: false, Paths: []string{"/etc/gw/rules.d"}, Disable: []string{"Some title"}},
		Merge:     Merge{Wait: time.Minute, Hold: 10 * time.Minute},
		State:     State{Path: "/var/lib/gatewatch/state.db", Budget: 64 << 20, Checkpoint: 2 * time.Second},
		Incidents: Incidents{ResolveAfter: 2 * time.Hour, GroupInterval: time.Minute, RepeatInterval: 24 * time.Hour, Keep: 10},
		Receivers: []Receiver{
			{Name: "ops", Level: observation.Medium, Type: "webhook", Settings: &Webhook{
				HTTP: HTTP{
					URL: Secret{value: "https://hook.example/services/T0/s3cret"}, Timeout: 5 * time.Second,
					Headers: map[string]Secret{"X-Team": {value: "a$b"}, "Authorization": {file: "/run/secrets/auth"}},
				},
				Secret: Secret{file: "/etc/gw/hook.key"},
			}},
		},
		API: API{Listen: "unix:/etc/gw/gw.sock"},
		Log: Log{Level: slog.LevelDebug, Format: "json"},
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestParseEmptyIsDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "merge:\nrules: {}\n", "sources:\n"} {
		got, err := Parse("x.yaml", "/d", []byte(text), testEnv)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(Default("/d"), got, compare); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// TestMistakes holds one file for each mistake, with the errors that it has
// to give beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			ran++
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), "/etc/gw", data, testEnv)
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("want Problems, got %v", err)
			}
			got := problems.Error() + "\n"
			if strings.Contains(got, "s3cret") {
				t.Errorf("the message holds a secret:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	if ran < 20 || ran != len(files) {
		t.Errorf("ran %d cases of %d files", ran, len(files))
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := Load("", testEnv)
	if err != nil {
		t.Fatalf("no file, no path: %v", err)
	}
	if c.Path != "" || c.State.Path != filepath.Join(dir, "gatewatch.db") {
		t.Errorf("defaults have path %q and state %q", c.Path, c.State.Path)
	}
	if _, err := Load("missing.yaml", testEnv); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file that was named: want ErrNotExist, got %v", err)
	}
	if err := os.WriteFile(DefaultPath, []byte("state: {path: s.db}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err = Load("", testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, DefaultPath); c.Path != want || c.State.Path != filepath.Join(dir, "s.db") {
		t.Errorf("found file: path %q, state %q", c.Path, c.State.Path)
	}
	if err := os.WriteFile("big.yaml", make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("big.yaml", testEnv); err == nil || !strings.Contains(err.Error(), "larger than 4MiB") {
		t.Errorf("a file over the limit: got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("a: &a {b: *a}\n"))
	f.Add([]byte("? [x]\n: y\n<<: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", "/d", data, testEnv)
		if (c == nil) == (err == nil) {
			t.Fatalf("want a configuration or an error, got %v and %v", c, err)
		}
		if err == nil {
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("error is no Problems: %v", err)
		}
		for i, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Fatalf("problem without a place: %+v", p)
			}
			if i > 0 && (p.Line < problems[i-1].Line) {
				t.Fatalf("problems out of order: %v", problems)
			}
		}
	})
}

// TestLoadForReading: who only looks needs no secrets of receivers.
func TestLoadForReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatewatch.yaml")
	text := "receivers: [{name: ops, webhook: {url: '${HOOK}'}}]\nipv6_group: 128\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(string) (string, bool) { return "", false }
	if _, err := Load(path, env); err == nil {
		t.Error("Load takes a variable that is not set")
	}
	c, err := LoadForReading(path, env)
	if err != nil {
		t.Fatal(err)
	}
	if c.IPv6Group != 128 || len(c.Receivers) != 0 {
		t.Errorf("want ipv6_group 128 and no receivers, got %d and %d", c.IPv6Group, len(c.Receivers))
	}
}

// TestPrincipal: an order of one's own, nobody but the client, and the default.
func TestPrincipal(t *testing.T) {
	for text, want := range map[string][]event.Field{
		"principal: [session.id, user.name]": {event.FieldSession, event.FieldUser},
		"principal: []":                      {},
		"ipv6_group: 64":                     nil,
	} {
		c, err := Parse("gatewatch.yaml", t.TempDir(), []byte(text+"\n"), testEnv)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Derive().Principals); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// TestTabs: the commonest mistake of YAML has its way out in the message.
func TestTabs(t *testing.T) {
	_, err := Parse("gatewatch.yaml", t.TempDir(), []byte("sources:\n\t- files: [x]\n"), testEnv)
	if err == nil || !strings.Contains(err.Error(), "gatewatch.yaml:2:1: ") || !strings.Contains(err.Error(), "not tabs") {
		t.Errorf("want a word on tabs, got %v", err)
	}
}
