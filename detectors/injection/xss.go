package injection

import (
	"bytes"
	"strings"
)

// Cross-site scripting. The text is read as HTML would be in three places: as
// content, where a tag begins an element; inside an attribute, which a quote
// leaves; and inside a script, which a quote leaves too. What runs code is
// looked for: elements that do, attributes of events, addresses of scripts, and
// calls behind a closed string.

func (a *Analyzer) xss(s *subject) {
	t := s.low
	if s.mask&angle != 0 && (a.tags(t) || s.where != InAgent && brokenTag(t)) {
		a.hit(XSS, s.full)
		return
	}
	if s.mask&colon != 0 && scriptAddress(t) || s.mask&equals != 0 && s.mask&(quote|space|slash|angle) != 0 && eventAttribute(t) {
		a.hit(XSS, s.full)
		return
	}
	if s.where != InAgent && s.mask&(round|quote|square) != 0 && script(t) {
		a.hit(XSS, s.full)
		return
	}
	if s.where == InQuery && s.mask&(quote|equals) == quote|equals && leavesAttribute(t) {
		a.hit(XSS, s.full)
		return
	}
	if padded(s.once) || s.mask&high != 0 && bestFits(s.once) {
		a.hit(XSS, s.full)
	}
}

// leavesAttribute reports whether a text ends the value of an attribute and, after
// others of its own, begins one that the page's own quote ends: x" a=b c=".
func leavesAttribute(t []byte) bool {
	n := len(t)
	if n < 8 || t[n-1] != '"' && t[n-1] != '\'' || t[n-2] != '=' || !wordByte(t[n-3]) {
		return false
	}
	q := t[n-1]
	i := bytes.IndexByte(t, q)
	if i == n-1 || i > 0 && (t[i-1] == '=' || t[i-1] == ':' || t[i-1] == '[' || t[i-1] == '(' || t[i-1] == ',') {
		return false // a quote that begins something
	}
	inner := t[i+1 : n-2]
	return len(inner) > 3 && bytes.IndexByte(inner, '=') > 0 && bytes.IndexByte(inner, q) < 0
}

// bestFits reports whether a text has several characters that a conversion to a smaller
// set makes signs of HTML, an angle among them: ＜ ﹥ ʺ ʹ.
func bestFits(t []byte) bool {
	angles, quotes := 0, 0
	for _, c := range [...]string{"\uff1c", "\ufe64", "\uff1e", "\ufe65"} {
		if has(t, c) {
			angles++
		}
	}
	for _, c := range [...]string{"\uff02", "\u02ba", "\uff07", "\u02b9"} {
		if has(t, c) {
			quotes++
		}
	}
	return angles > 0 && quotes > 0 && angles+quotes > 2
}

// padded finds a character reference with leading zeros, which only somebody
// writes who wants it not to be recognised.
func padded(t []byte) bool {
	for from := 0; ; {
		i := bytes.Index(t[from:], []byte("&#"))
		if i < 0 {
			return false
		}
		i += from + 2
		from = i
		if i < len(t) && t[i]|0x20 == 'x' {
			i++
		}
		n := i
		for n < len(t) && t[n] == '0' {
			n++
		}
		if n-i > 1 && n < len(t) && hexDigit(t[n]) > 0 {
			return true
		}
	}
}

// activeTags run code, load it, or change what the page around them means. The
// others are dangerous only by their attributes.
var activeTags = []string{
	"script", "iframe", "frame", "frameset", "object", "embed", "applet", "meta", "base", "svg", "math", "link", "style", "xss", "isindex", "layer",
	"ilayer", "bgsound", "form", "portal", "fencedframe", "noscript", "template", "xmp", "plaintext", "xml", "comment", "body", "html", "marquee",
	"video", "audio", "img", "image", "input", "textarea", "button", "select", "keygen", "details", "dialog", "animate", "set", "foreignobject",
	"table", "td", "noembed", "vmlframe", "import", "listing", "handler", "listener",
}

// quietTags are what people write in comments and searches.
var quietTags = []string{
	"b", "i", "u", "em", "strong", "p", "br", "hr", "li", "ul", "ol", "h1", "h2", "h3", "h4", "code", "pre", "span", "div", "a", "td", "tr", "table",
	"img", "button", "select", "input", "form", "body", "html", "textarea", "video", "audio", "details", "dialog", "template", "comment", "link", "title",
}

// tags reports whether an element begins that runs code.
func (a *Analyzer) tags(t []byte) bool {
	for i := range t {
		if t[i] != '<' {
			continue
		}
		j := i + 1
		for j < len(t) && (t[j] == '/' || t[j] == '<' || blank(t[j]) || t[j] == '\\') {
			j++
		}
		if j < len(t) && (t[j] == '!' || t[j] == '?') {
			if bytes.HasPrefix(t[j:], []byte("!--")) && has(t[j:], "-->") && has(t[j:], "<script") || bytes.HasPrefix(t[j:], []byte("?import")) {
				return true
			}
			continue
		}
		from := j
		for j < len(t) && (wordByte(t[j]) || t[j] == '-' || t[j] == ':') {
			j++
		}
		name := t[from:j]
		if len(name) == 0 || !letter(name[0]) {
			continue
		}
		if k := bytes.IndexByte(name, ':'); k >= 0 {
			name = name[k+1:]
		}
		if len(name) == 0 {
			continue
		}
		end := bytes.IndexByte(t[j:], '>')
		attrs := t[j:]
		if end >= 0 {
			attrs = t[j : j+end]
		}
		quiet := inList(quietTags, name)
		if !quiet && inList(activeTags, name) && (end >= 0 || len(attrs) == 0 || blank(attrs[0]) || attrs[0] == '/' || attrs[0] == '<') {
			if end != 0 || !sentence(t[j+1:]) {
				return true
			}
		}
		if end >= 0 && plainElement(name, attrs) && !eventAttribute(t[j:]) {
			continue
		}
		if eventAttribute(attrs) || eventAttribute(t[j:]) || scriptAddress(attrs) || hasAny(attrs, "style=", "srcdoc", "formaction", "xlink:href", "expression(", "dynsrc", "lowsrc", "background=", "fscommand") {
			return true
		}
		if quiet && inList([]string{"img", "input", "form", "body", "html", "video", "audio", "details", "textarea", "button", "a", "link", "title", "select", "dialog"}, name) &&
			len(bytes.TrimSpace(attrs)) > 1 && (bytes.IndexByte(attrs, '=') >= 0) {
			return true
		}
	}
	return false
}

// plainElement reports whether an element does nothing but show, link or set apart
// text, as those that editors of pages write: each attribute is one that runs
// nothing and that no script of the page finds the element by, in quotes that end, and
// each address is one of the web.
func plainElement(name, attrs []byte) bool {
	if !inList([]string{"a", "img", "p", "span", "div", "video", "audio", "button", "b", "i", "em", "strong", "h1", "h2", "h3", "h4", "li", "ul", "ol", "td", "tr", "br", "hr", "code", "pre"}, name) {
		return false
	}
	known := 0
	for {
		attrs = bytes.TrimLeft(attrs, " /")
		n := 0
		for n < len(attrs) && (letter(attrs[n]) || attrs[n] == '-') {
			n++
		}
		if n == 0 {
			return len(attrs) == 0 && known > 0
		}
		key := attrs[:n]
		if !inList([]string{"href", "src", "alt", "title", "class", "target", "rel", "width", "height", "type", "controls", "loop", "muted", "lang", "dir", "align", "style", "poster", "loading"}, key) {
			return false
		}
		known++
		attrs = attrs[n:]
		if len(attrs) < 2 || attrs[0] != '=' {
			if len(attrs) > 0 && attrs[0] != ' ' && attrs[0] != '/' {
				return false
			}
			continue
		}
		q := attrs[1]
		if q != '"' && q != '\'' {
			return false
		}
		end := bytes.IndexByte(attrs[2:], q)
		if end < 0 || !plainAttribute(key, attrs[2:2+end]) {
			return false
		}
		attrs = attrs[3+end:]
	}
}

// plainAttribute reports whether the value of an attribute is an address of the web or of
// the site itself, a colour or a size, or text.
func plainAttribute(key, v []byte) bool {
	switch string(key) {
	case "href", "src", "poster":
		if look(v)&(control|angle|round|backslash|space) != 0 || len(v) < 2 {
			return false
		}
		if hasPrefixAny(v, "http://", "https://") {
			u := splitAddress(v)
			ip, _ := parseHost(string(u.host))
			return u.at == 0 && len(u.port) == 0 && !ip.IsValid() && bytes.Count(v, []byte(":")) == 1
		}
		return hasPrefixAny(v, "mailto:", "tel:", "#") || bytes.IndexByte(v, ':') < 0 && !hasPrefixAny(v, "//") && bytes.ContainsAny(v, "./")
	case "style":
		return look(v)&^(dash|colon|semicolon|space|digit|dot|comma|hash|percent) == 0 && !hasAny(v, "position", "behavio", "binding", "import")
	}
	return look(v)&(round|angle|equals) == 0
}

// sentence reports whether t goes on in words, as in "<script> tag where to put".
func sentence(t []byte) bool {
	return len(t) > 3 && blank(t[0]) && letter(t[1]) && look(t)&^(space|dash|comma|dot|digit|high) == 0 && bytes.Count(t, []byte(" ")) > 1
}

// brokenTag finds a script that only begins or ends.
func brokenTag(t []byte) bool {
	if i := bytes.IndexByte(t, '<'); i > 1 && t[i-1] == '>' && (t[i-2] == '"' || t[i-2] == '\'' || t[i-2] == '-' || i+1 < len(t) && t[i+1] == 's') {
		return true // a tag is closed that was open before the text began
	}
	if k := bytes.Index(t, []byte("<script> ")); k >= 0 && sentence(t[k+8:]) {
		return false
	}
	for _, w := range [...]string{"<img src", "<img/src"} {
		if k := bytes.Index(t, []byte(w)); k >= 0 {
			end := bytes.IndexByte(t[k:], '>')
			if end < 0 || w == "<img/src" || !plainElement([]byte("img"), t[k+4:k+end]) {
				return true
			}
		}
	}
	return hasAny(t, "<script", "</script", "script>", "<svg", "<iframe", "<!--#", "<%2fscript", "scr<script", "<body on", "]]>")
}

// eventAttribute finds onNAME= where an attribute can begin: behind a blank, a
// slash or a quote.
func eventAttribute(t []byte) bool {
	for i := 0; i+4 < len(t); i++ {
		if t[i] != 'o' || t[i+1] != 'n' {
			continue
		}
		if i > 0 && !blank(t[i-1]) && t[i-1] != '/' && t[i-1] != '"' && t[i-1] != '\'' && t[i-1] != '`' && t[i-1] != ';' && t[i-1] != '>' && t[i-1] != '\\' && t[i-1] >= ' ' {
			continue
		}
		j := i + 2
		for j < len(t) && letter(t[j]) {
			j++
		}
		name := t[i+2 : j]
		for j < len(t) && (blank(t[j]) || t[j] < ' ') {
			j++
		}
		if j < len(t) && t[j] == '=' && len(name) >= 3 && eventName(name) {
			if uncalled(t[j+1:]) && bytes.IndexByte(t, '<') < 0 {
				continue
			}
			return true
		}
	}
	return false
}

// uncalled reports whether t begins like a handler of JSX, {() => f(x)}: for a browser it
// would be a function that nobody calls.
func uncalled(t []byte) bool {
	if len(t) < 5 || t[0] != '{' || t[1] != '(' {
		return false
	}
	end := bytes.IndexByte(t, ')')
	return end > 0 && look(t[2:end])&^comma == 0 && bytes.HasPrefix(bytes.TrimLeft(t[end+1:], " "), []byte("=>"))
}

// eventName reports whether on... is an event: by its beginning, as browsers
// have some two hundred and add more.
func eventName(n []byte) bool {
	for _, p := range [...]string{
		"abort", "activate", "after", "animation", "auxclick", "before", "begin", "blur", "bounce", "can", "cell", "change", "click", "close", "context",
		"control", "copy", "cue", "cut", "data", "dblclick", "deactivate", "drag", "drop", "duration", "emptied", "end", "error", "filter", "finish",
		"focus", "form", "fullscreen", "gesture", "got", "hash", "help", "input", "invalid", "key", "layout", "load", "lose", "lost", "media", "message",
		"mouse", "move", "mutation", "offline", "online", "out", "page", "paste", "pause", "play", "pointer", "popstate", "progress", "property", "rate",
		"readystate", "redo", "repeat", "reset", "resize", "resume", "reverse", "row", "scroll", "search", "seek", "select", "show", "slot", "stalled",
		"start", "stop", "storage", "submit", "suspend", "sync", "time", "toggle", "touch", "track", "transition", "undo", "unhandled", "unload", "url",
		"volume", "waiting", "webkit", "wheel", "zoom", "location", "orientation", "device", "security", "beforeprint", "ended", "x",
	} {
		if bytes.HasPrefix(n, []byte(p)) {
			return true
		}
	}
	return false
}

// scriptAddress finds addresses that run: javascript:, vbscript:, data: with a
// type that does. Browsers skip control characters and blanks in the scheme.
func scriptAddress(t []byte) bool {
	for i := bytes.IndexByte(t, ':'); i >= 0; {
		var w [12]byte
		n := len(w)
		j := i - 1
		for ; j >= 0 && n > 0; j-- {
			c := t[j]
			if c <= ' ' || c == '\\' || c == '+' && false {
				continue
			}
			if !letter(c) && c != '-' {
				break
			}
			n--
			w[n] = c
		}
		switch scheme := w[n:]; {
		case bytes.HasSuffix(scheme, []byte("javascript")), bytes.HasSuffix(scheme, []byte("vbscript")), bytes.HasSuffix(scheme, []byte("livescript")),
			bytes.HasSuffix(scheme, []byte("mocha")) && has(t[i:], "("):
			if runs(t[i+1:]) {
				return true
			}
		case bytes.HasSuffix(scheme, []byte("data")):
			rest := bytes.TrimLeft(t[i+1:], " \t\r\n,;")
			if hasPrefixAny(rest, "text/html", "image/svg", "text/xml", "application/x", "text/javascript", "application/javascript", "%3c", "<", "base64,p") {
				return true
			}
		case bytes.HasSuffix(scheme, []byte("moz-binding")), bytes.HasSuffix(scheme, []byte("behavior")) && has(t[i:], "url("):
			return true
		}
		next := bytes.IndexByte(t[i+1:], ':')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// runs reports whether what follows javascript: is code and not the rest of a
// sentence, such as a title.
func runs(t []byte) bool {
	rest := bytes.TrimLeft(t, " \t\r\n")
	if len(rest) == 0 || bytes.HasPrefix(rest, []byte("void(0)")) || asksGlide(rest) {
		return false
	}
	n := 0
	for n < len(rest) && (wordByte(rest[n]) || rest[n] >= 0x80) {
		n++
	}
	if n == 0 || n == len(rest) {
		return n == 0 || len(rest) == len(t)
	}
	if !blank(rest[n]) && rest[n] != ',' && rest[n] != '.' && rest[n] != '!' && rest[n] != '?' && rest[n] != '-' && rest[n] != ')' {
		return true
	}
	return len(rest) == len(t) && rest[n] == '.' || bytes.IndexByte(rest, '(') > 0 && !hasAny(rest, " (") || hasAny(rest, "=\"", "='", "=alert", "`")
}

// asksGlide reports whether t is the call of a function of ServiceNow, gs.f('x'), up to
// the next condition of its query. A browser knows no gs and stops at the name.
func asksGlide(t []byte) bool {
	call, ok := bytes.CutPrefix(t, []byte("gs."))
	open, end := bytes.IndexByte(call, '('), bytes.IndexByte(call, ')')
	if !ok || open < 3 || end < open || look(call[:open])&^digit != 0 || look(call[open+1:end])&^(quote|digit|dash|colon|comma|space) != 0 {
		return false
	}
	return end+1 == len(call) || call[end+1] == '@' || call[end+1] == '^'
}

func hasPrefixAny(s []byte, words ...string) bool {
	for _, w := range words {
		if bytes.HasPrefix(s, []byte(w)) {
			return true
		}
	}
	return false
}

// sinks are calls and objects by which a script shows that it runs.
var sinks = [...]string{
	"alert", "prompt", "confirm", "eval", "settimeout", "setinterval", "fetch", "import", "document.write", "document.writeln", "atob", "string.fromcharcode",
	"fromcharcode", "execscript", "window.open", "open", "importscripts", "expression", "function", "constructor", "location.replace", "location.assign", "unescape", "throw",
	"find", "$.getscript", "reflect.apply", "console.log", "msgbox", "print", "write", "showmodaldialog",
}

// objects of the page that payloads read or set.
var pageObjects = [...]string{
	"document.cookie", "document.location", "document.domain", "document.body", "document.forms", "document[", "window.location", "window[", "self[", "top[", "this[",
	"parent[", "frames[", "location.hash", "location.href", "location=", "localstorage", "sessionstorage", "document.write", "innerhtml", "outerhtml", ".cookie",
	"globalthis", "window.name", "document.url", "document.referrer", "navigator.sendbeacon", "xmlhttprequest", "document.createelement", "document.getelement",
	"string.fromcharcode", "fromcharcode(", "self.", "top.", "window.onerror", "onerror=", "__proto__", "constructor.constructor", "[].constructor", "document.queryselector",
}

var scriptTalk = newAnyOf(append(sinks[:], pageObjects[:]...)...)

// script judges text as it would stand inside a script: a telling call behind
// something that ends what was before, or at the start.
func script(t []byte) bool {
	if !scriptTalk.in(t) {
		return jsNoise(t)
	}
	for _, w := range sinks {
		for from := 0; ; {
			i := bytes.Index(t[from:], []byte(w))
			if i < 0 {
				break
			}
			i += from
			from = i + len(w)
			if i > 0 && (wordByte(t[i-1]) && !bytes.HasPrefix(t[i-1:], []byte("n"+w)) || t[i-1] == '-' && i > 1 && letter(t[i-2])) {
				continue
			}
			rest := bytes.TrimLeft(t[from:], " \t\r\n\\?.")
			called := len(rest) > 0 && (rest[0] == '(' || rest[0] == '`') && !hasPrefixAny(rest, "(eval at <")
			switch w {
			case "alert", "prompt", "confirm", "eval", "string.fromcharcode", "fromcharcode", "execscript", "importscripts", "document.write", "document.writeln", "msgbox", "$.getscript", "showmodaldialog":
				if called && len(rest) > 1 && (rest[1] != ')' || w != "eval") && (!blank(t[min(from, len(t)-1)]) || !noun(rest)) {
					return true
				}
				if (w == "alert" || w == "prompt" || w == "confirm") && len(rest) > 0 && (rest[0] == ')' || rest[0] == ',' || rest[0] == ']') && hasAny(t, "window", "self", "top", "onerror", "[", "=alert", "(alert", ".map", ".find", "throw") {
					return true
				}
			case "settimeout", "setinterval", "fetch", "import", "atob", "unescape", "reflect.apply", "location.replace", "location.assign", "window.open":
				if called && len(rest) > 2 && (rest[1] == '\'' || rest[1] == '"' || rest[1] == '`' || rest[1] == '/' || rest[0] == '`' || hasAny(t, "document", "window", "eval", "location")) {
					return true
				}
			case "function", "constructor":
				if called && hasAny(t, ")()", ")(", "``", "return", "=>") && hasAny(t, "alert", "eval", "document", "constructor(", "constructor`", "function(\"", "function('", "function`") {
					return true
				}
			}
		}
	}
	for _, w := range pageObjects {
		i := bytes.Index(t, []byte(w))
		if i < 0 {
			continue
		}
		if i > 0 && wordByte(t[i-1]) || w == "onerror=" && uncalled(t[i+len(w):]) {
			continue
		}
		switch w {
		case "self.", "top.", "location=", "this[", "window[", "document[", "self[", "top[", "parent[", "frames[":
			if hasAny(t, "alert", "eval", "cookie", "javascript", "document", "location", "atob", "\"+\"", "'+'", "http") && hasAny(t, "(", "=", "`") && t[0] != 'h' {
				return true
			}
		default:
			if hasAny(t, "=", "(", "+", ";", "`", "[") {
				return true
			}
		}
	}
	return jsNoise(t)
}

// noun reports whether what stands in brackets is words alone, and the text goes
// on with words, as in alert (baby monitor).
func noun(t []byte) bool {
	end := bytes.IndexByte(t, ')')
	if end < 3 {
		return false
	}
	for _, c := range t[1:end] {
		if !letter(c) && !blank(c) && c != '-' && c < 0x80 {
			return false
		}
	}
	return true
}

// jsNoise recognises scripts written without letters.
func jsNoise(t []byte) bool {
	if len(t) < 24 {
		return false
	}
	n := 0
	for _, c := range t {
		switch c {
		case '[', ']', '(', ')', '!', '+', '{', '}', '$', '_', '~', '=', ';', '"', '\'', '\\':
			n++
		}
	}
	return n*10 > len(t)*8 && hasAny(t, "![]", "+[]", "[]+", "!+[]", "[$]", "(![]", "$={", "~[]", "[_", "!''+", "''+", "_=")
}

// markup judges declarations and includes: XML with a document type or an
// entity, server-side and edge-side includes.
func (a *Analyzer) markup(s *subject) {
	t := s.low
	if hasAny(t, "<!--#", "<esi:", "<!--esi", "<!-#", "<!#") {
		a.hit(SSI, s.full)
	}
	if xml(t) && !protocolXML(s.name, t) {
		a.hit(XXE, s.full)
	}
}

// protocolXML reports whether t is a document of a protocol in the parameter that the
// protocol has for it: a request to log in by SAML, a style or a filter for maps. What
// makes a parser read something else is not part of either.
func protocolXML(name string, t []byte) bool {
	if hasAny(t, "<!", "xinclude", "<xsl:", "schemalocation", "<?xml-") || len(name) > 16 {
		return false
	}
	switch strings.ToLower(name) {
	case "samlrequest", "samlresponse":
		return has(t, "urn:oasis:names:tc:saml:")
	case "sld_body", "filter":
		return has(t, "http://www.opengis.net/")
	}
	return false
}

func xml(t []byte) bool {
	switch {
	case has(t, "<!entity"), has(t, "<!doctype") && (hasAny(t, "[", "system", "public") && !has(t, "//w3c//")), has(t, "<!element"), has(t, "<!attlist"):
		return true
	case has(t, "<![cdata["), has(t, "]]>") && has(t, "<!["):
		return true
	case has(t, "<?xml"):
		return true
	case hasAny(t, "xi:include", "xinclude", "<xsl:", "xmlns:xi", "xsi:schemalocation", "xsi:nonamespaceschemalocation", "<soap", "xmlns:"):
		return true
	}
	return false
}
