package format

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const shared = "../../../shared"

// sharedLines reads the lines of a file in the shared folder, gunzipped, or
// skips the test.
func sharedLines(t testing.TB, name string, limit int) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(shared, name))
	if err != nil {
		t.Skipf("no shared reference data here: %v", err)
	}
	defer func() { _ = f.Close() }()
	var in io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	var lines [][]byte
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<20)
	for len(lines) < limit && sc.Scan() {
		lines = append(lines, bytes.Clone(sc.Bytes()))
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no lines", name)
	}
	return lines
}

func unixText(ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(nil, time.RFC3339Nano)
}

func quote(s string) string { return strconv.Quote(s) }
