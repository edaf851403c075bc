package injection

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// subject is a text under judgement, in the forms that the classes look at.
type subject struct {
	where Where
	name  string   // of the parameter, as logged
	raw   []byte   // as logged, nil inside JSON or base64 and in a window of a long text
	once  []byte   // decoded once: what the application gets
	full  []byte   // decoded until nothing changes
	low   []byte   // full in lower case
	mask  mask     // of full and once
	how   disguise // what had to be undone
	depth int      // 1 inside JSON or base64
}

func (a *Analyzer) analyze(r *Request) Set {
	a.stats.Requests++
	a.set, a.request = 0, r
	suspect := false
	if p := cut(r.Path); suspectPath(p) {
		suspect = true
		a.where, a.name = InPath, ""
		a.judge(p, false)
	}
	if r.Query != "" && a.query(cut(r.Query)) {
		suspect = true
	}
	if r.Agent != "" && a.remembered(a.agents, r.Agent, (*Analyzer).agent) {
		suspect = true
	}
	if r.Referer != "" && a.remembered(a.referers, r.Referer, (*Analyzer).refererAll) {
		suspect = true
	}
	if suspect {
		a.stats.Suspects++
	}
	return a.set
}

// agent judges a user agent. Those of browsers have brackets, semicolons and
// commas; what an attack in one needs is more than that.
func (a *Analyzer) agent(s string) bool {
	if look(s)&(quote|angle|curly|dollar|control|pipe|percent|backslash) == 0 && vocabulary.find(bytesOf(s))&(aboutFiles|aboutShell|aboutObjects) == 0 && s[0] != ';' && !agentWords.within(bytesOf(s)) {
		return false
	}
	a.where, a.name = InAgent, ""
	a.judge(cut(s), false)
	return true
}

// agentWords are of statements and scripts without any sign that browsers have not:
// brackets and numbers are in the agents of all of them.
var agentWords = newAnyOf("select", "sleep(", "union ", "waitfor ", " and (", " or (", " and 1", " and 2", " and 3", " and 4", " and 5", " and 6", " and 7", " and 8", " and 9", " or 1", " or 2", " or 3", "benchmark(", "sysdate(", "javascript:", "vbscript:")

// value judges a parameter, name=value.
func (a *Analyzer) value(p string) bool {
	name, value, _ := strings.Cut(p, "=")
	a.where, a.name = InQuery, name
	a.judge(value, true)
	return true
}

func (a *Analyzer) refererAll(s string) bool {
	if look(s)&(strange|percent|space) == 0 && strings.Contains(s, "://") && !strings.Contains(s, "../../") {
		return false
	}
	a.referer(cut(s))
	return true
}

// verdict is what was found in a text that is likely to come again.
type verdict struct {
	set     Set
	suspect bool
}

// remembered answers for a text out of memory, or judges it.
func (a *Analyzer) remembered(m *memory, s string, judge func(*Analyzer, string) bool) (suspect bool) {
	if a.explain || len(s) > m.width {
		return judge(a, s)
	}
	i, ok := m.find(s)
	if ok {
		a.set |= m.slots[i].verdict.set
		return false // it was counted when it was judged
	}
	before := a.set
	a.set = 0
	v := verdict{suspect: judge(a, s)}
	v.set = a.set
	a.set |= before
	m.put(i, s, v)
	return v.suspect
}

func cut(s string) string { return s[:min(len(s), maxText)] }

// query judges the parameters of a query, each name and value alone, and those
// attacks that go over several. It reports whether anything was looked at.
func (a *Analyzer) query(q string) (suspect bool) {
	if arguments(q) {
		a.where, a.name = InQuery, ""
		a.hit(Command, bytesOf(q))
		suspect = true
	}
	foreign := a.request.Referer != "" && elsewhere(a.request.Referer, a.request.Host)
	if !foreign && plainQuery(q) {
		return suspect
	}
	rest, n, split := q, 0, false
	for rest != "" {
		var p string
		if p, rest, split = strings.Cut(rest, "&"); n == maxParams && split {
			p, rest = p+"&"+rest, ""
		}
		n++
		name, value, pair := strings.Cut(p, "=")
		if m := look(name); m&(strange|percent) != 0 || !pair && suspectRaw(name, m) || len(name) >= 4 && vocabulary.find(bytesOf(name))&(aboutCode|aboutObjects|aboutHosts) != 0 {
			suspect = true
			a.where, a.name = InQuery, name
			a.judge(name, true)
			if bytes.ContainsAny(a.once, "\r\n") {
				a.hit(CRLF, a.full) // a name goes on in the next line
			}
			a.pair(string(a.once), value)
		}
		if value == "" {
			continue
		}
		if suspectRaw(value, look(value)) {
			if tellsPage(p) && a.value(p) || a.remembered(a.values, p, (*Analyzer).value) {
				suspect = true
			}
		}
		if foreign {
			a.parameter(name, value)
		}
	}
	if m := look(q); n > 1 && (m&(quote|angle|dollar|semicolon|round) != 0 && strings.Contains(q, "&&") || m&angle != 0) {
		// Ampersands that belong to a payload were not encoded: as one text it may
		// be one after all.
		a.where, a.name = InQuery, ""
		a.whole = true
		a.judge(q, true)
		a.whole = false
	}
	return suspect
}

// plainQuery reports whether nothing in a query can be an attack: what makes a
// parameter suspect is looked for in all of them at once. It may be false of some of which
// the parameters are not suspect, never the other way round.
func plainQuery(q string) bool {
	m := look(q)
	if m&(strange&^pipe|percent) != 0 || m&pipe != 0 && strings.IndexByte(q, '|') >= 0 || vocabulary.find(bytesOf(q)) != 0 {
		return false
	}
	if m&pipe == 0 { // no ampersand, so it is one parameter
		_, value, _ := strings.Cut(q, "=")
		return !strings.Contains(q, "=/") && !strings.Contains(q, "=@") && !packedText(bytesOf(value))
	}
	equal := -1 // where this parameter has its "="
	for i, n := 0, 1; ; i++ {
		switch {
		case i == len(q) || q[i] == '&':
			value := q[equal+1 : i]
			if equal < 0 || n > maxParams || value != "" && (value[0] == '/' || value[0] == '@') || packedText(bytesOf(value)) {
				return false
			}
			if i >= len(q)-1 {
				return true
			}
			equal = -1
			n++
		case q[i] != '=':
		case equal >= 0:
			return false
		default:
			equal = i
		}
	}
}

// arguments reports whether a query is the arguments of a program. CGI hands
// them over from a query without "=" (RFC 3875, section 4.4): ?-s shows the
// source of a PHP script (CVE-2012-1823), ?/c+dir runs a command of cmd.exe.
func arguments(q string) bool {
	if len(q) < 2 || q[0] != '-' && q[0] != '/' || !letter(q[1]) {
		return false
	}
	end := len(q) == 2
	if !end {
		switch q[2] {
		case '+', '%', ' ':
			end = true
		case '/':
			end = q[0] == '-'
		}
	}
	if q[0] == '/' {
		return end && len(q) > 3 && (q[1]|0x20 == 'c' || q[1]|0x20 == 'k') && strings.IndexByte(q, '=') < 0
	}
	return end && strings.IndexByte(q, '=') < 0
}

// suspectRaw is suspectValue for a value as logged, where + is a blank.
func suspectRaw(s string, m mask) bool {
	return suspectValue(bytesOf(s), m)
}

// referer judges what another site's address brought along, without what is
// normal in addresses.
func (a *Analyzer) referer(s string) {
	a.where, a.name = InReferer, ""
	if !strings.Contains(s, "://") && s[0] != '/' || strings.Contains(s, " ") {
		a.judge(s, false) // no address at all
		return
	}
	_, q, ok := strings.Cut(s, "?")
	if !ok {
		if look(s)&(quote|angle|curly|dollar|control) != 0 || strings.Contains(s, "%") {
			a.judge(s, false)
		}
		return
	}
	for p := range strings.SplitSeq(q, "&") {
		name, value, _ := strings.Cut(p, "=")
		if m := look(value); suspectRaw(value, m) && (m&(quote|angle|curly|dollar|control|percent|semicolon|round) != 0 || strings.Contains(value, "../../")) {
			a.where, a.name = InReferer, name
			a.judge(value, true)
		}
	}
}

// judge decodes a text as logged and lets every class look at it.
func (a *Analyzer) judge(s string, plus bool) {
	how := a.decode(s, plus)
	sub := subject{where: a.where, name: a.name, raw: bytesOf(s), once: a.once, full: a.full, how: how}
	sub.mask = look(sub.full) | look(sub.once)
	a.probe(&sub)
	if a.where == InPath && odderPath(s, sub.once) {
		a.hit(Encoding, sub.full)
	}
	if how&spelled != 0 && (a.where == InPath || a.where == InQuery) || how&(needless|longer) != 0 && a.where != InPath || sub.mask&control != 0 && oddControl(sub.once) {
		a.hit(Encoding, sub.full)
	}
	if a.where == InQuery && !suspectValue(sub.full, sub.mask) && how == 0 {
		a.base64(&sub)
		return // it was only encoded
	}
	if sub.mask&(curly|square) != 0 && sub.mask&quote != 0 {
		if a.where != InPath && document(sub.once) && json.Valid(sub.once) {
			// As a whole it is a query at most; what else there is, is in its strings.
			a.low = appendLower(a.low[:0], sub.full)
			sub.low = a.low
			a.nosql(&sub)
			if graphqlBatch(sub.low) {
				a.hit(GraphQL, sub.full)
			}
			a.json(&sub)
			return
		}
		a.windows(&sub)
		a.json(&sub)
	} else {
		a.windows(&sub)
	}
	a.base64(&sub)
}

const (
	window  = 2048 // bytes of a text that the analysers see at once
	overlap = 512  // bytes that a window shares with the one before it
)

// windows lets the analysers look at a long text piece by piece. Some of them
// look from one place to another; so the time that a text can cost grows with
// its length and not with the square of it, and no padding pushes a payload out
// of sight.
func (a *Analyzer) windows(s *subject) {
	if len(s.full) <= window {
		a.classes(s)
		return
	}
	for from := 0; ; from += window - overlap {
		w := *s
		w.raw = nil
		end := min(from+window, len(s.full))
		w.full = s.full[from:end]
		w.once = w.full
		if len(s.once) == len(s.full) {
			w.once = s.once[from:end]
		}
		w.mask = look(w.full) | look(w.once)
		a.classes(&w)
		if end == len(s.full) {
			return
		}
	}
}

// odderPath reports whether a path is spelled so that what stands before a server and
// the server read two paths: a dot as %2e where a segment begins, which every
// client writes as it is, or a parameter of a segment that has no name, /a;/b.
func odderPath(raw string, once []byte) bool {
	for i := 0; i+3 < len(raw); i++ {
		if raw[i] == '/' && raw[i+1] == '%' && raw[i+2] == '2' && raw[i+3]|0x20 == 'e' {
			return true
		}
	}
	return has(once, ";/")
}

// oddControl reports whether there are control characters that no text has.
func oddControl(t []byte) bool {
	for i, c := range t {
		if c == 0x1d && i > 0 && i+1 < len(t) && decimal(t[i+1]) {
			continue // what separates the fields of a bar code
		}
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			return true
		}
	}
	return false
}

// classes runs the analysers whose bytes are there.
func (a *Analyzer) classes(s *subject) {
	a.low = appendLower(a.low[:0], s.full)
	s.low = a.low
	if len(s.low) == 0 {
		return
	}
	m := s.mask
	if m&dollar != 0 && m&curly != 0 {
		a.log4shell(s)
	}
	if m&dash != 0 && m&(at|curly) != 0 && sendmail(s.low) {
		a.hit(Mail, s.full)
	}
	if m&backslash != 0 && writtenBreak(s.low) {
		a.hit(CRLF, s.full)
	}
	if m&control != 0 || m&(space|slash) == space|slash && has(s.low, " http/") {
		a.crlf(s)
	}
	if m&angle != 0 || s.where == InAgent && has(s.low, "script:") || (s.where != InAgent || m&(quote|equals) == quote|equals) && m&(quote|round|colon|backslash|square|hash) != 0 {
		a.xss(s)
	}
	if m&angle != 0 || m&percent != 0 {
		a.markup(s)
	}
	if m&(dot|slash|backslash) != 0 || m&(colon|dollar) == colon|dollar {
		a.files(s)
	}
	if m&dot != 0 && listens(s.low) {
		a.hit(SSRF, s.full)
	}
	if m&(dot|digit) == dot|digit && s.where == InQuery && fetches(s.name) && bareInside(s.low) {
		a.hit(SSRF, s.full)
	}
	if s.where == InPath {
		a.pathAddress(s)
	}
	if (m&(colon|slash|backslash) != 0 || m&(high|dot) == high|dot) && s.where == InQuery {
		a.addresses(s)
	}
	if m&(round|quote|dollar|curly|angle|backslash|dot|at|equals|colon|square) != 0 || vocabulary.find(s.low)&(aboutCode|aboutObjects) != 0 {
		a.code(s)
	}
	if m&(curly|angle|dollar|percent|square|at|star|hash) != 0 {
		a.template(s)
	}
	if m&(pipe|semicolon|dollar|quote|control|round|angle|curly|backslash) != 0 || s.where != InPath && m&space != 0 && m&(slash|dash|dot|percent|star) != 0 || m&curly == 0 && vocabulary.find(s.low)&aboutShell != 0 || has(s.low, "/??") || m&equals != 0 && hasPrefixAny(s.low, "if ", "if/") {
		a.command(s)
	}
	if s.where == InAgent && m&(quote|control) == 0 {
		if agentWords.in(s.low) {
			a.sql(s)
		}
		return
	}
	if a.whole {
		return // several parameters are no phrase of a database
	}
	if m&(curly|square|dollar|quote|pipe) != 0 || m&(semicolon|round) == semicolon|round {
		a.nosql(s)
	}
	if m&(round|star|slash|pipe|backslash) != 0 {
		a.directory(s)
	}
	if m&(quote|round|space|dash|hash|star|equals|semicolon|pipe|at) != 0 {
		a.sql(s)
	}
}

// json judges the strings inside a value that is JSON.
func (a *Analyzer) json(s *subject) {
	if s.depth >= maxDepth || !document(s.once) {
		return
	}
	l := &a.layers[s.depth]
	l.document = append(l.document[:0], s.once...) // once is used again for what is inside
	text := l.document
	for range maxStrings {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return
		}
		text = text[i+1:]
		end, escaped := 0, false
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
				escaped = true
			}
			end++
		}
		if end >= len(text) {
			return
		}
		inside := text[:end]
		if escaped {
			l.quoted = unquote(l.quoted[:0], inside)
			inside = l.quoted
		}
		a.unpacked(inside, s)
		text = text[end+1:]
	}
}

// maxStrings bounds how many strings of a JSON document are looked at.
const maxStrings = 256

// unquote undoes the escapes of a string of JSON. What is no escape stays.
func unquote(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			dst = append(dst, s[i])
			continue
		}
		i++
		switch c := s[i]; {
		case c == 'n':
			dst = append(dst, '\n')
		case c == 'r':
			dst = append(dst, '\r')
		case c == 't':
			dst = append(dst, '\t')
		case c == '"' || c == '\\' || c == '/':
			dst = append(dst, c)
		case c == 'u' && i+4 < len(s) && isHex(s[i+1:i+5]):
			dst = utf8.AppendRune(dst, rune(hexNumber(s[i+1:i+5])))
			i += 4
		default:
			dst = append(dst, '\\', c)
		}
	}
	return dst
}

// unpacked judges a text that was inside another.
func (a *Analyzer) unpacked(text []byte, outer *subject) {
	if m := look(text); !suspectValue(text, m) {
		return
	}
	l := &a.layers[outer.depth]
	l.inner = append(l.inner[:0], text...)
	how := a.undoAll(l.inner)
	sub := subject{where: outer.where, name: outer.name, once: l.inner, full: a.full, how: how, depth: outer.depth + 1}
	sub.mask = look(sub.full) | look(sub.once)
	if document(sub.once) && json.Valid(sub.once) {
		a.low = appendLower(a.low[:0], sub.full)
		sub.low = a.low
		a.nosql(&sub)
	} else {
		a.windows(&sub)
	}
	a.json(&sub)
	a.base64(&sub)
}

func appendLower(dst, s []byte) []byte {
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func has(s []byte, word string) bool { return bytes.Contains(s, []byte(word)) }

func hasAny(s []byte, words ...string) bool {
	for _, w := range words {
		if has(s, w) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func letter(c byte) bool  { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func decimal(c byte) bool { return '0' <= c && c <= '9' }
func allDigits(s []byte) bool {
	for _, c := range s {
		if !decimal(c) {
			return false
		}
	}
	return true
}
func wordByte(c byte) bool { return letter(c) || decimal(c) || c == '_' }
func blank(c byte) bool    { return c == ' ' || '\t' <= c && c <= '\r' }

// bytesOf views a string as bytes that nobody changes.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
