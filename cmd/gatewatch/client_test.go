package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTokens: the token of the configuration goes to the daemon of the
// configuration alone, and not along with a redirect.
func TestTokens(t *testing.T) {
	dir := t.TempDir()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		if strings.HasSuffix(r.URL.Path, "/incidents") {
			_, _ = w.Write([]byte(`{"incidents":[]}`))
			return
		}
		http.Redirect(w, r, "/api/v1/incidents", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	listen := strings.TrimPrefix(server.URL, "http://")
	withToken := write("with.yaml", "api: {listen: '"+listen+"', token: config-config-config}\n")
	fromEnv := write("env.yaml", "api: {listen: '"+listen+"', token: '${NOT_SET}'}\n")
	file := write("token", "file-file-file\n")
	run := func(env map[string]string, args ...string) (code int, stderr string) {
		var out, err bytes.Buffer
		a := &app{stdout: &out, stderr: &err, now: time.Now, env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
		got = ""
		code = a.run(context.Background(), args)
		return code, err.String()
	}
	f := func(want string, env map[string]string, args ...string) {
		t.Helper()
		if code, stderr := run(env, append([]string{"incidents", "list"}, args...)...); code != 0 || got != want {
			t.Errorf("%v: want %q, got %q (%d %s)", args, want, got, code, stderr)
		}
	}
	f("Bearer config-config-config", nil, "-c", withToken)
	f("Bearer file-file-file", nil, "-c", withToken, "--token-file", file)
	f("", nil, "-c", withToken, "--url", server.URL)
	f("Bearer file-file-file", nil, "--url", server.URL, "--token-file", file)
	f("", nil, "-c", fromEnv)
	f("Bearer env-env", map[string]string{tokenEnv: "env-env"}, "-c", fromEnv)
	f("Bearer env-env", map[string]string{tokenEnv: "env-env"}, "--url", server.URL)
	if code, stderr := run(nil, "incidents", "list", "-c", withToken, "--token-file", "nowhere"); code != exitUsage || !strings.Contains(stderr, "read the token") {
		t.Errorf("want a missing file told, got %d %s", code, stderr)
	}
	if code, stderr := run(nil, "silences", "list", "-c", withToken); code != exitFailed || !strings.Contains(stderr, "gatewatch answered 307") {
		t.Errorf("want a redirect not followed, got %d %s", code, stderr)
	}
	// The socket comes first where there is one.
	socket := write("both.yaml", "api: {listen: '127.0.0.1:1', socket: none.sock}\n")
	if code, stderr := run(nil, "incidents", "list", "-c", socket); code != exitFailed || !strings.Contains(stderr, "127.0.0.1:1") {
		t.Errorf("want the address without a socket, got %d %s", code, stderr)
	}
}
