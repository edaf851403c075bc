package injection

import (
	"bufio"
	"net/url"
	"os"
	"strings"
	"testing"
)

// honest reads testdata/honest.txt: requests as they are logged, each in the
// encodings that clients use.
func honest(tb testing.TB) (list []Request, texts []string) {
	tb.Helper()
	f, err := os.Open("testdata/honest.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	add := func(text string, r Request) {
		r.Host = "shop.example.com"
		list, texts = append(list, r), append(texts, text)
	}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		line := sc.Text()
		switch agent, referer := strings.TrimPrefix(line, "agent: "), strings.TrimPrefix(line, "referer: "); {
		case line == "" || strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "## "):
		case line[0] == '/':
			path, query, _ := strings.Cut(line, "?")
			add(line, Request{Path: path, Query: query})
		case agent != line:
			add(line, Request{Path: "/", Agent: agent})
		case referer != line:
			add(line, Request{Path: "/", Referer: referer})
		default:
			name, text, ok := strings.Cut(line, " = ")
			if !ok {
				tb.Fatalf("%q is no parameter", line)
			}
			text = strings.ReplaceAll(text, `\n`, "\n")
			escaped := url.QueryEscape(text)
			name = url.QueryEscape(name)
			add(line, Request{Path: "/api/v1/items", Query: "page=2&" + name + "=" + escaped + "&lang=en"})
			add(line, Request{Path: "/", Query: name + "=" + strings.ReplaceAll(escaped, "+", "%20")})
			// browsers leave these as they are
			loose := strings.NewReplacer("+", "%20", "%27", "'", "%28", "(", "%29", ")", "%21", "!", "%2A", "*", "%3A", ":", "%2F", "/", "%2C", ",", "%40", "@", "%24", "$", "%3B", ";").Replace(escaped)
			add(line, Request{Path: "/", Query: name + "=" + loose})
			add(line, Request{Path: "/", Query: "a=1", Referer: "https://shop.example.com/search?" + name + "=" + escaped})
		}
	}
	if err := sc.Err(); err != nil {
		tb.Fatal(err)
	}
	return list, texts
}

// TestHonest: nothing that people and APIs send honestly is an attack.
func TestHonest(t *testing.T) {
	list, texts := honest(t)
	if len(list) < 2500 {
		t.Fatalf("%d requests", len(list))
	}
	a, said := New(), ""
	for i := range list {
		if set, why := a.Explain(&list[i]); set != 0 {
			if texts[i] != said {
				t.Errorf("%s\n  is taken for %v: %s %q", texts[i], set.Append(nil), why[0].Where, why[0].Text)
			}
			said = texts[i]
		}
	}
}
