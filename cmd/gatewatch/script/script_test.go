// Package script holds the end-to-end scripts of the command line: they run
// the real program and look at what it prints and how it ends.
package script

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewatch/api/openapitest"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the scripts compare with")

// readProgram reads every source file that the program is made of. "go test"
// notes which files a test reads: so it does not answer from its cache when the
// program, which the scripts build, has changed.
func readProgram(t *testing.T) {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".yml", ".mod"}, filepath.Ext(path)) {
			return err
		}
		n++
		_, err = os.ReadFile(path)
		return err
	})
	if err != nil || n < 100 {
		t.Fatalf("read %d files of the program: %v", n, err)
	}
}

// TestScripts builds gatewatch and runs every script of testdata against it.
func TestScripts(t *testing.T) {
	readProgram(t)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("want 10 scripts or more, got %d (%v)", len(files), err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "gatewatch"), "..").CombinedOutput(); err != nil {
		t.Fatalf("build gatewatch: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", dir+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"hook":   scriptHook,
			"holds":  scriptHolds,
			"clock":  scriptClock(),
			"code":   scriptCode,
			"await":  scriptAwait,
			"post":   scriptPost,
			"flip":   scriptFlip,
			"signal": scriptSignal,
		},
	})
}

// scriptCode is "code N program args...": the program has to end with exit
// code N. stdout and stderr can be looked at after it.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("want exit code %d, got %d", want, got)
	}
}

// scriptAwait is "await socket path text": it asks the API on a Unix socket
// until the answer holds the text.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: await socket path text")
	}
	last := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		body, err := ask(ts.MkAbs(args[0]), http.MethodGet, args[1])
		if err == nil && strings.Contains(body, args[2]) {
			return
		}
		last = fmt.Sprintf("%v %s", err, body)
	}
	ts.Fatalf("%s never answered with %q; at last: %s", args[1], args[2], last)
}

// scriptPost is "post socket path": its answer can be looked at as stdout.
func scriptPost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: post socket path")
	}
	body, err := ask(ts.MkAbs(args[0]), http.MethodPost, args[1])
	ts.Check(err)
	_, err = io.WriteString(ts.Stdout(), body)
	ts.Check(err)
}

// scriptSignal is "signal TERM": it sends a signal to every program in the
// background.
func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal TERM|INT|HUP")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

// scriptFlip is "flip file": it damages every page of a file but the first bytes.
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip file")
	}
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	for i := 64; i < len(data); i += 97 {
		data[i] ^= 0x5a
	}
	ts.Check(os.WriteFile(name, data, 0o600))
}

// ask asks the API on a Unix socket, and holds the answer against the document
// that the API itself serves.
func ask(socket, method, path string) (string, error) {
	status, kind, body, err := request(socket, method, path)
	if err != nil {
		return "", err
	}
	_, _, text, err := request(socket, http.MethodGet, "/api/v1/openapi.yaml")
	if err != nil {
		return "", err
	}
	doc, err := openapitest.New([]byte(text))
	if err != nil {
		return "", err
	}
	bare, _, _ := strings.Cut(path, "?")
	return body, doc.Check(method, bare, status, kind, []byte(body))
}

func request(socket, method, path string) (status int, kind, body string, err error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		return 0, "", "", err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b), err
}
