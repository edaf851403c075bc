package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"gatewatch/alerting"
)

// TestHostileReplay has each hostile text as path, query, agent, referer, user
// and host of a request that opens an incident, and reads what replay makes of
// it in the format of each output.
func TestHostileReplay(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "testdata", "hostile.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var log bytes.Buffer
	payloads := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var p struct{ Text string }
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		payloads++
		for k, place := range []string{"path", "query", "agent", "referer", "user", "host"} {
			v := map[string]string{"path": "/x", "query": "", "agent": "sqlmap/1.5", "referer": "-", "user": "-", "host": "shop.example.com"}
			v[place] = strings.TrimPrefix(v[place], "-") + p.Text
			b, err := json.Marshal(map[string]any{
				"time": time.Date(2026, 11, 19, 6, 0, 0, 0, time.UTC).Add(time.Duration(payloads) * time.Second), "remote_addr": fmt.Sprintf("198.51.%d.%d", payloads/200, payloads%200),
				"request_method": "GET", "request_uri": v["path"] + "?q=1%27%20OR%201=1--" + v["query"], "status": 200 + k,
				"http_user_agent": v["agent"], "http_referer": v["referer"], "remote_user": v["user"], "host": v["host"],
			})
			if err != nil {
				t.Fatal(err)
			}
			log.Write(append(b, '\n'))
		}
	}
	if payloads < 200 {
		t.Fatalf("only %d payloads", payloads)
	}
	path := filepath.Join(t.TempDir(), "hostile.log")
	if err := os.WriteFile(path, log.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	replay := func(output string) []byte {
		t.Helper()
		var out, faults bytes.Buffer
		a := &app{
			stdin: strings.NewReader(""), stdout: &out, stderr: &faults, now: time.Now,
			env: func(string) (string, bool) { return "", false },
		}
		if code := a.run(context.Background(), []string{"replay", "-o", output, path}); code != 0 {
			t.Fatalf("replay -o %s: %d\n%s", output, code, &faults)
		}
		inert(t, output, out.Bytes())
		inert(t, "standard error", faults.Bytes())
		return out.Bytes()
	}

	t.Run("jsonl", func(t *testing.T) {
		incidents, evidence := 0, 0
		for line := range bytes.Lines(replay("jsonl")) {
			var i alerting.Incident
			if err := json.Unmarshal(line, &i); err != nil {
				t.Fatal(err)
			}
			incidents++
			evidence += len(i.Evidence)
		}
		if incidents < 100 || evidence < payloads {
			t.Errorf("%d incidents with %d lines", incidents, evidence)
		}
	})
	t.Run("table", func(t *testing.T) {
		for line := range strings.Lines(string(replay("table"))) {
			if n := len([]rune(line)); n > tableWidth+1 {
				t.Errorf("%d wide: %q", n, line)
			}
		}
	})
	t.Run("html", func(t *testing.T) { checkReport(t, replay("html"), payloads) })
}

// inert fails where text holds what changes how a terminal or a page shows it.
func inert(t *testing.T, where string, text []byte) {
	t.Helper()
	for i, r := range string(text) {
		if r == '\n' {
			continue
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			t.Fatalf("%s holds %U: %q", where, r, text[max(0, i-60):min(len(text), i+60)])
		}
	}
}

// checkReport reads a report as a browser does: nothing may be in it but what
// the report itself writes.
func checkReport(t *testing.T, page []byte, least int) {
	t.Helper()
	elements := []string{"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "b", "i", "span", "table", "tr", "th", "td", "a", "section", "details", "summary", "pre", "br"}
	attributes := []string{"lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "style", "open"}
	// The style sheet is the same in every report.
	from, to := bytes.Index(page, []byte("<style>")), bytes.Index(page, []byte("</style>"))
	d := xml.NewDecoder(bytes.NewReader(append(bytes.Clone(page[:from+len("<style>")]), page[to:]...)))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "br"}, xml.HTMLEntity
	pres := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			if !slices.Contains(elements, x.Name.Local) {
				t.Errorf("element %s", x.Name.Local)
			}
			if x.Name.Local == "pre" {
				pres++
			}
			for _, a := range x.Attr {
				switch {
				case !slices.Contains(attributes, a.Name.Local):
					t.Errorf("attribute %s of %s", a.Name.Local, x.Name.Local)
				case a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#"):
					t.Errorf("a link to %s", a.Value)
				case a.Name.Local == "style" && strings.Trim(a.Value, "leftwidh:%;.0123456789") != "":
					t.Errorf("a style %s", a.Value)
				}
			}
		case xml.Comment, xml.ProcInst:
			t.Errorf("%T: %v", x, x)
		}
	}
	if pres < least {
		t.Errorf("%d lines of evidence, want %d", pres, least)
	}
}
