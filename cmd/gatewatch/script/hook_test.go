package script

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptHook is "hook urlfile log [hang]": it serves a webhook until the end
// of the script and writes its address to urlfile. Each request is a line of
// log: its webhook-id, whether it was signed, and its body. With hang it never
// answers.
func scriptHook(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: hook urlfile log [hang]")
	}
	var mu sync.Mutex
	done := make(chan struct{})
	logFile := ts.MkAbs(args[1])
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		signed := r.Header.Get("Webhook-Signature") != ""
		mu.Lock()
		f, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, _ = fmt.Fprintf(f, "%s signed=%t %s\n", r.Header.Get("Webhook-Id"), signed, strings.ReplaceAll(string(body), "\n", " "))
			_ = f.Close()
		}
		mu.Unlock()
		if len(args) == 3 {
			select {
			case <-done:
			case <-r.Context().Done():
			}
		}
	}))
	ts.Defer(func() {
		close(done)
		server.Close()
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(server.URL+"/hook?token=s3cret\n"), 0o600))
}

// scriptHolds is "holds file text": it waits until the file holds the text.
func scriptHolds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: holds file text")
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(data), args[1]) {
			return
		}
	}
	ts.Fatalf("%s never held %q", args[0], args[1])
}

// scriptClock returns the command "clock [limit]": without a limit it starts
// a watch, with one it fails when more time than that has passed.
func scriptClock() func(ts *testscript.TestScript, neg bool, args []string) {
	var mu sync.Mutex
	begun := map[string]time.Time{} // by script
	return func(ts *testscript.TestScript, neg bool, args []string) {
		mu.Lock()
		defer mu.Unlock()
		if len(args) == 0 {
			begun[ts.Name()] = time.Now()
			return
		}
		limit, err := time.ParseDuration(args[0])
		ts.Check(err)
		if took := time.Since(begun[ts.Name()]); neg || took > limit {
			ts.Fatalf("took %s, more than %s", took, limit)
		}
	}
}
