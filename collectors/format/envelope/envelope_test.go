package envelope

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func split(message string) []string {
	var s Splitter
	s.Reset([]byte(message))
	var out []string
	for {
		line, ok := s.Next()
		if !ok {
			return out
		}
		out = append(out, string(line))
	}
}

func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		want    []string
	}{
		"nothing":           {"", nil},
		"blanks":            {" \r\n\n ", nil},
		"line":              {"1.2.3.4 - - [x] \"GET /\"", []string{"1.2.3.4 - - [x] \"GET /\""}},
		"line with its end": {"a b\n", []string{"a b"}},
		"lines":             {"a\r\nb\n\nc", []string{"a", "b", "c"}},
		"object":            {`{"a":1}`, []string{`{"a":1}`}},
		"mark":              {"\xef\xbb\xbf{\"a\":1}", []string{`{"a":1}`}},
		"objects by line":   {"{\"a\":1}\n{\"b\":\"}\"}\n", []string{`{"a":1}`, `{"b":"}"}`}},
		"objects glued":     {`{"a":1}{"b":2} {"c":3}`, []string{`{"a":1}`, `{"b":2}`, `{"c":3}`}},
		"pretty object":     {"{\n  \"a\": [1,\n 2]\n}", []string{"{\n  \"a\": [1,\n 2]\n}"}},
		"array":             {`[{"a":1}, {"b":[2,{"c":"]"}]} ]`, []string{`{"a":1}`, `{"b":[2,{"c":"]"}]}`}},
		"array of lines":    {`["a \"b\"\n", "\u00e4\ud83d\ude00\x22"]`, []string{`a "b"`, "ä😀\\x22"}},
		"empty array":       {`[ ]`, nil},
		"broken array":      {"[a\nb", []string{"[a", "b"}},
		"no array":          {"[notice] x\n[notice] y", []string{"[notice] x", "[notice] y"}},
		"azure":             {`{ "records": [ {"a":1}, {"b":2} ] }`, []string{`{"a":1}`, `{"b":2}`}},
		"cloudwatch":        {`{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1","message":"x"}]}`, []string{`{"id":"1","message":"x"}`}},
		"records inside":    {`{"a":{"records":[1]}}`, []string{`{"a":{"records":[1]}}`}},
		"records of a text": {`{"path":"/\"records\":[1]"}`, []string{`{"path":"/\"records\":[1]"}`}},
		"cut object":        {"{\"a\":1\n{\"b\":2}", []string{`{"a":1`, `{"b":2}`}},
		"object and text":   {"{\"a\":1} x\ny", []string{`{"a":1} x`, "y"}},
		"object, text":      {`{"a":1}{b`, []string{`{"a":1}{b`}},
		"nested":            {`{"a":{"b":{}},"c":[{},{}]}`, []string{`{"a":{"b":{}},"c":[{},{}]}`}},
		"brace in a path":   {`{x} - "GET /}{ HTTP/1.1"`, []string{`{x} - "GET /}{ HTTP/1.1"`}},
	} {
		if d := cmp.Diff(c.want, split(c.message)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestInner(t *testing.T) {
	line := `1.2.3.4 - - [x] "GET /a\x22 HTTP/1.1" 200`
	quoted, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	q := string(quoted)
	for name, c := range map[string]struct{ object, want string }{
		"filebeat":   {`{"@timestamp":"t","message":` + q + `,"event":{"dataset":"x"}}`, line},
		"fluent bit": {`{"log":` + q[:len(q)-1] + `\n","stream":"stdout"}`, line},
		"original":   {`{"event":{"original":` + q + `}}`, line},
		"journald":   {`{"MESSAGE":` + q + `}`, line},
		"gcp":        {`{"severity":"INFO","jsonPayload":{"method":"GET"}}`, `{"method":"GET"}`},
		"none":       {`{"a":"message"}`, ""},
		"deep":       {`{"a":{"message":"x"}}`, ""},
		"empty":      {`{"message":""}`, ""},
		"cut":        {`{"message":"x`, ""},
		"text":       {line, ""},
	} {
		var scratch []byte
		got, ok := Inner([]byte(c.object), &scratch)
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// FuzzSplit asks that every byte of a line comes from the message, and that
// what is taken for JSON is split as JSON is.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a\nb", `{"a":1}{"b":2}`, `[{"a":"]"},"x"]`, `{"records":[{"a":1}]}`, `{"message":"\u00e4"}`, "[", `["`, `{"logEvents":[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var s Splitter
		var scratch []byte
		s.Reset(message)
		n := 0
		for {
			line, ok := s.Next()
			if !ok {
				break
			}
			if n++; n > len(message) || len(line) == 0 {
				t.Fatalf("%d lines, the last %q", n, line)
			}
			Inner(line, &scratch)
		}
		var array []json.RawMessage
		if json.Unmarshal(message, &array) == nil && bytes.Count(message, []byte("[")) <= maxDepth && bytes.Count(message, []byte("{")) <= maxDepth {
			want := 0
			for _, e := range array {
				if text := ""; json.Unmarshal(e, &text) != nil || string(e) == "null" || strings.Trim(text, "\r\n") != "" {
					want++
				}
			}
			if n != want {
				t.Fatalf("%d lines of %d elements", n, want)
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	for name, message := range map[string]string{
		"line":   `203.0.113.7 - - [19/Nov/2026:06:00:02 +0000] "GET /api/v1/users/17?x=1 HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64)"`,
		"object": `{"time":"2026-11-19T06:00:02Z","remote_addr":"203.0.113.7","request_method":"GET","request_uri":"/api/v1/users/17?x=1","status":200,"body_bytes_sent":512,"http_user_agent":"Mozilla/5.0 (X11; Linux x86_64)"}`,
	} {
		b.Run(name, func(b *testing.B) {
			m := []byte(message)
			var s Splitter
			b.ReportAllocs()
			for b.Loop() {
				s.Reset(m)
				for {
					if _, ok := s.Next(); !ok {
						break
					}
				}
			}
		})
	}
}
