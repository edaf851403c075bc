package injection

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// FuzzAnalyze: no request makes the analyser fail, and an analyser that has seen
// others before answers as a new one does.
func FuzzAnalyze(f *testing.F) {
	list, _ := honest(f)
	for i := 0; i < len(list); i += 40 {
		f.Add(list[i].Path, list[i].Query, list[i].Agent, list[i].Referer)
	}
	for _, payloads := range plainPayloads {
		for _, p := range payloads {
			f.Add("/"+p, "q="+p, p, p)
		}
	}
	used := New()
	f.Fuzz(func(t *testing.T, path, query, agent, referer string) {
		r := Request{Path: path, Query: query, Agent: agent, Referer: referer, Host: "api.example.com"}
		want, _ := New().Explain(&r)
		if got := used.Analyze(&r); got != want {
			t.Errorf("%q: %v, a new one says %v", r, got.Append(nil), want.Append(nil))
		}
		if got := used.Analyze(&r); got != want {
			t.Errorf("%q: %v from memory, a new one says %v", r, got.Append(nil), want.Append(nil))
		}
	})
}

// FuzzDecode: decoding ends, and does not make text longer than three times
// what it was.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"%25%32%35", "%u0041", "&#x3c;&lt;&#60", `\x41\u0041\u{41}\101`, "\xc0\xaf\xe0\x80\xaf", "０ｘ１", "%", "&", `\`, "0x2e0x2f"} {
		f.Add(s)
	}
	a := New()
	f.Fuzz(func(t *testing.T, s string) {
		a.decode(s, true)
		if len(a.full) > 3*len(s)+8 || len(a.once) > 3*len(s)+8 {
			t.Errorf("%q became %d and %d bytes", s, len(a.once), len(a.full))
		}
	})
}

// analysers are all that looks at a text by itself.
var analysers = map[string]func(a *Analyzer, s *subject){
	"sql": (*Analyzer).sql, "xss": (*Analyzer).xss, "command": (*Analyzer).command, "files": (*Analyzer).files, "addresses": (*Analyzer).addresses, "template": (*Analyzer).template,
	"markup": (*Analyzer).markup, "nosql": (*Analyzer).nosql, "directory": (*Analyzer).directory, "crlf": (*Analyzer).crlf, "log4shell": (*Analyzer).log4shell, "code": (*Analyzer).code,
	"base64": (*Analyzer).base64, "json": (*Analyzer).json,
}

// FuzzAnalysers: each analyser takes any text, also one that the first look
// would not have given to it.
func FuzzAnalysers(f *testing.F) {
	for _, payloads := range plainPayloads {
		for _, p := range payloads {
			f.Add([]byte(p), uint8(InQuery))
		}
	}
	a := New()
	a.request = &Request{}
	f.Fuzz(func(_ *testing.T, text []byte, where uint8) {
		if len(text) == 0 || len(text) > window {
			return
		}
		for _, run := range analysers {
			s := subject{where: Where(where%4) + InPath, name: "q", once: text, full: text, low: appendLower(nil, text), mask: ^mask(0)}
			a.where, a.name = s.where, s.name
			run(a, &s)
		}
	})
}

// TestLinear: what a text costs grows with its length. 64 KiB of each kind of
// text may take no more than 24 times what 4 KiB take; work that grows with the
// square would take 256 times as much.
func TestLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	for _, unit := range []string{
		"(", ")(", "$(", "${", "{{", "<", "<a ", "\"><", "'", "\"", "../", "%25", "&#x3c;", "\\u0041", "; a", "|", "select ", "union select 1,", "' or '", "#\n(", "/*x*/(", "//", "http://", "a=",
		"[", "{\"a\":", "\r\n", "-a ", "alert ", "o:1:\"", "QUJD", "java.", "$a[", "{%", "0x2e", "$ne", "on=", "javascript:", "jndi:", "and 1", "()", "()(", "$x ", "get-a ", "http/1 ", "{,", "$[", "\xc0\xaf", ",", ";",
	} {
		cost := func(n int) time.Duration {
			text := strings.Repeat(unit, n/len(unit)+1)[:n]
			best := time.Hour
			for range 5 {
				a := New()
				began := time.Now()
				a.Analyze(&Request{Path: "/" + text, Query: "q=" + text, Agent: text, Referer: text})
				best = min(best, time.Since(began))
			}
			return best
		}
		small, large := cost(4<<10), cost(64<<10)
		if large > 24*small+20*time.Millisecond {
			t.Errorf("%q: 4 KiB take %v, 64 KiB take %v", unit, small, large)
		}
		if large > 500*time.Millisecond {
			t.Errorf("%q: 64 KiB take %v", unit, large)
		}
	}
}

// TestSteady: requests that came before allocate nothing, whether they hold
// attacks or not.
func TestSteady(t *testing.T) {
	list := ordinary(t)[:1000]
	a := New()
	for range 2 {
		for i := range list {
			a.Analyze(&list[i])
		}
	}
	if n := testing.AllocsPerRun(5, func() {
		for i := range list {
			a.Analyze(&list[i])
		}
	}); n > float64(len(list))/50 {
		t.Errorf("%v allocations for %d requests", n, len(list))
	}
}

// TestCut: only the text that is looked at is kept.
func TestCut(t *testing.T) {
	a := New()
	r := Request{Path: "/", Query: "q=" + strings.Repeat("a", maxText) + "'+or+1=1--+"}
	if a.Analyze(&r) != 0 {
		t.Error("what is behind the limit was looked at")
	}
	_, why := a.Explain(&Request{Path: "/", Query: "q=" + strings.Repeat("x+", 5000) + "%3Cscript%3Ealert(1)%3C/script%3E"})
	if len(why) == 0 || len(why[0].Text) > maxShown || !bytes.Contains([]byte(why[0].Text), []byte("x ")) {
		t.Errorf("behind padding: %+v", why)
	}
}
