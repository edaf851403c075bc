package format

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/event"
)

// TestHold: what is decoded later changes nothing of events that are held, in any format.
func TestHold(t *testing.T) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) < 3 {
		t.Fatalf("want at least 3 fixtures, got %d: %v", len(files), err)
	}
	logs := [][]byte{}
	for _, file := range files {
		in, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, in)
	}
	var names bytes.Buffer
	for i := range 50 {
		fmt.Fprintf(&names, `{"time":"2026-11-23T10:00:00Z","remote_addr":"203.0.113.7","request":"GET /a%d HTTP/1.1","status":200,`+
			`"authorization":"Bearer 0a1b2c3d4e5f%08d","session_id":"5e6f7a8b9c0d%08d","http_user_agent":"a \"%d\" \\ b"}`+"\n", i, i, i*7, i)
	}
	logs = append(logs, names.Bytes())
	lines, hashes := 0, map[string]bool{}
	for _, log := range logs {
		held, single := decoder(t, Options{}), decoder(t, Options{})
		held.Hold = true
		var events []*event.Event
		var text [][]byte
		for line := range bytes.Lines(log) {
			ev := new(event.Event)
			line = bytes.TrimSuffix(line, []byte("\n"))
			if held.Decode(line, ev) == nil {
				events, text = append(events, ev), append(text, line)
			}
		}
		for i, ev := range events {
			var want event.Event
			if err := single.Decode(text[i], &want); err != nil {
				t.Fatal(err)
			}
			for _, name := range event.FieldNames() {
				f, _ := event.Lookup(name)
				a, okA := ev.Text(f)
				b, okB := want.Text(f)
				if a != b || okA != okB {
					t.Errorf("%s of %.100q: held %q, alone %q", name, text[i], a, b)
				}
			}
			hashes[strings.Clone(ev.TokenHash)] = true
			lines++
		}
	}
	if lines < 60 || len(hashes) < 50 {
		t.Errorf("only %d lines with %d tokens", lines, len(hashes))
	}
}
