package injection

import (
	"bytes"
	"os"
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
	"base64": (*Analyzer).base64, "json": (*Analyzer).json, "probes": (*Analyzer).probe, "path": (*Analyzer).pathAddress,
}

// fuzzAnalyser lets one analyser judge any text, also one that the first look would
// not have given to it: it does not fail, leaves the text as it is, and says the
// same when it is asked again.
func fuzzAnalyser(f *testing.F, name string) {
	for _, payloads := range plainPayloads {
		for _, p := range payloads {
			f.Add([]byte(p), uint8(InQuery))
		}
	}
	for _, unit := range units {
		f.Add([]byte(strings.Repeat(unit, 40)), uint8(InPath))
	}
	run := analysers[name]
	a := New()
	a.request = &Request{Host: "api.example.com"}
	f.Fuzz(func(t *testing.T, text []byte, where uint8) {
		if len(text) == 0 || len(text) > window {
			return
		}
		var said [2]Set
		for i := range said {
			once, low := bytes.Clone(text), appendLower(nil, text)
			s := subject{where: Where(where%4) + InPath, name: "q", raw: once, once: once, full: once, low: low, mask: look(text)}
			a.where, a.name, a.set = s.where, s.name, 0
			run(a, &s)
			said[i] = a.set
			if !bytes.Equal(once, text) {
				t.Errorf("%q became %q", text, once)
			}
		}
		if said[0] != said[1] {
			t.Errorf("%q: %v, and then %v", text, said[0].Append(nil), said[1].Append(nil))
		}
	})
}

func FuzzSQL(f *testing.F)       { fuzzAnalyser(f, "sql") }
func FuzzXSS(f *testing.F)       { fuzzAnalyser(f, "xss") }
func FuzzCommand(f *testing.F)   { fuzzAnalyser(f, "command") }
func FuzzFiles(f *testing.F)     { fuzzAnalyser(f, "files") }
func FuzzAddresses(f *testing.F) { fuzzAnalyser(f, "addresses") }
func FuzzTemplate(f *testing.F)  { fuzzAnalyser(f, "template") }
func FuzzMarkup(f *testing.F)    { fuzzAnalyser(f, "markup") }
func FuzzNoSQL(f *testing.F)     { fuzzAnalyser(f, "nosql") }
func FuzzDirectory(f *testing.F) { fuzzAnalyser(f, "directory") }
func FuzzCRLF(f *testing.F)      { fuzzAnalyser(f, "crlf") }
func FuzzLog4Shell(f *testing.F) { fuzzAnalyser(f, "log4shell") }
func FuzzCode(f *testing.F)      { fuzzAnalyser(f, "code") }
func FuzzBase64(f *testing.F)    { fuzzAnalyser(f, "base64") }
func FuzzProbes(f *testing.F)    { fuzzAnalyser(f, "probes") }
func FuzzPath(f *testing.F)      { fuzzAnalyser(f, "path") }
func FuzzJSON(f *testing.F)      { fuzzAnalyser(f, "json") }

// TestFuzzed: each analyser has a target of its own.
func TestFuzzed(t *testing.T) {
	text, err := os.ReadFile("fuzz_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for name := range analysers {
		if !bytes.Contains(text, []byte(`{ fuzzAnalyser(f, "`+name+`") }`)) {
			t.Errorf("no target for %q", name)
		}
	}
}

// units are texts that, repeated, make careless code look again and again at what it
// has seen.
var units = []string{
	"(", ")(", "$(", "${", "{{", "<", "<a ", "\"><", "'", "\"", "../", "%25", "&#x3c;", "\\u0041", "; a", "|", "select ", "union select 1,", "' or '", "#\n(", "/*x*/(", "//", "http://", "a=",
	"[", "{\"a\":", "\r\n", "-a ", "alert ", "o:1:\"", "QUJD", "java.", "$a[", "{%", "0x2e", "$ne", "on=", "javascript:", "jndi:", "and 1", "()", "()(", "$x ", "get-a ", "http/1 ", "{,", "$[", "\xc0\xaf", ",", ";",
	"http://a@", "&url=//", "?next=/", "\\\\a\\", "{\"a\":\"", "\\\"", "eyJhIjoi", "(|(", "*)(", "%2f@", "..%", "a.b.", "<!--#", "<!DOCTYPE a[", "]>", "if(", "${lower:", "${::-a}", "exec(", "a:a\n", "++", "::", "@@",
}

// linear fails when 64 KiB of a kind of text cost more than eight times what 16 KiB
// cost; work that grows with the square would cost sixteen times as much.
func linear(t *testing.T, name string, cost func(text string) time.Duration) {
	t.Helper()
	for _, unit := range units {
		measure := func(n, times int) time.Duration {
			text := strings.Repeat(unit, n/len(unit)+1)[:n]
			best := time.Hour
			for range times {
				best = min(best, cost(text))
			}
			return best
		}
		const noise = 20 * time.Millisecond
		if measure(64<<10, 1) <= noise {
			continue // too little to measure, and to mind
		}
		var small, large time.Duration
		for range 4 { // a busy machine makes one of them look slow now and then
			if small, large = measure(16<<10, 3), measure(64<<10, 3); large <= 8*small {
				break
			}
		}
		if large > 8*small {
			t.Errorf("%s: %q: 16 KiB take %v, 64 KiB take %v", name, unit, small, large)
		}
		if large > 500*time.Millisecond {
			t.Errorf("%s: %q: 64 KiB take %v", name, unit, large)
		}
	}
}

// TestLinear: what a request costs grows with its length.
func TestLinear(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its time")
	}
	if testing.Short() {
		t.Skip("measures time")
	}
	linear(t, "requests", func(text string) time.Duration {
		a := New()
		began := time.Now()
		a.Analyze(&Request{Path: "/" + text, Query: "q=" + text, Agent: text, Referer: text})
		return time.Since(began)
	})
}

// TestLinearEach: so does what each analyser costs, which gets a long text in
// windows, and what decoding costs. A request is cut before it is that long; here
// nothing is.
func TestLinearEach(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its time")
	}
	if testing.Short() {
		t.Skip("measures time")
	}
	for name, run := range analysers {
		a := New()
		a.request = &Request{Host: "api.example.com"}
		a.where, a.name = InQuery, "q"
		linear(t, name, func(text string) time.Duration {
			low := appendLower(nil, bytesOf(text))
			began := time.Now()
			for from := 0; from == 0 || from+overlap < len(text); from += window - overlap {
				end := min(from+window, len(text))
				piece := bytesOf(text)[from:end]
				if name == "json" || name == "base64" { // these get a text as a whole
					piece, end = bytesOf(text), len(text)
				}
				s := subject{where: InQuery, name: "q", once: piece, full: piece, low: low[from:end], mask: look(piece)}
				run(a, &s)
				if end == len(text) {
					break
				}
			}
			return time.Since(began)
		})
	}
	a := New()
	linear(t, "decoding", func(text string) time.Duration {
		began := time.Now()
		a.decode(text, true)
		return time.Since(began)
	})
	linear(t, "the first look", func(text string) time.Duration {
		began := time.Now()
		suspectPath(text)
		suspectRaw(text, look(text))
		return time.Since(began)
	})
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
