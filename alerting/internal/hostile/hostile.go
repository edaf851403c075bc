// Package hostile reads the table of hostile payloads in testdata, for tests.
package hostile

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Payload is one text that somebody might put into a request.
type Payload struct {
	For  string // the destination that it is aimed at
	Text string // any bytes
}

// Payloads returns the whole table.
func Payloads(t testing.TB) []Payload {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), "testdata", "hostile.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []Payload
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row struct{ For, Text, Hex string }
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("line %d of hostile.jsonl: %v", len(out)+1, err)
		}
		raw, err := hex.DecodeString(row.Hex)
		if err != nil {
			t.Fatalf("line %d of hostile.jsonl: %v", len(out)+1, err)
		}
		out = append(out, Payload{row.For, row.Text + string(raw)})
	}
	if lines.Err() != nil || len(out) < 200 {
		t.Fatalf("read %d payloads, want at least 200: %v", len(out), lines.Err())
	}
	return out
}

// root is the folder of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
