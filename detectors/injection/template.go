package injection

import (
	"bytes"
	"strings"
)

// Templates and expression languages: text between the marks of a template
// that calculates, calls or reaches for an object.

var marks = [...]struct{ open, closing string }{
	{"{{", "}}"}, {"${", "}"}, {"#{", "}"}, {"*{", "}"}, {"@{", "}"}, {"~{", "}"}, {"<%", "%>"}, {"{%", "%}"}, {"{#", "#}"}, {"%{", "}"}, {"@(", ")"}, {"[[", "]]"}, {"{$", "}"}, {"[%", "%]"}, {"{php}", "{/php}"}, {"$(", ")"}, {"<#", ">"}, {"#set(", ")"}, {"{=", "}"}, {"{{=", "}}"},
}

var templateWords = newAnyOf(
	"#set($", "#foreach", "<#assign", "${t(", "*{t(", "__class__", "__mro__", "__subclasses__", "self.__", "config.items()", "cycler.__init__", "lipsum.__", "getruntime", "freemarker.template.utility", "@(1+", "|attr(", "request.application", "#evaluate(", "$class.inspect", "{php}",
)

func (a *Analyzer) template(s *subject) {
	t := s.low
	if s.where == InAgent && !hasAny(t, "{{", "${", "<%", "%{", "#{", "*{") {
		return
	}
	for _, m := range marks {
		for from := 0; ; {
			i := bytes.Index(t[from:], []byte(m.open))
			if i < 0 {
				break
			}
			i += from + len(m.open)
			end := bytes.Index(t[i:], []byte(m.closing))
			inner := t[i:]
			if end >= 0 {
				inner = t[i : i+end]
			}
			// Of marks in one another the outer and the inner are judged, so that no
			// byte is looked at more than twice for a mark.
			nested := bytes.LastIndex(inner, []byte(m.open))
			if expression(inner, m.open, end >= 0) || nested >= 0 && expression(inner[nested+len(m.open):], m.open, end >= 0) {
				a.hit(Template, s.full)
				return
			}
			if end < 0 {
				break // nor does any behind it end
			}
			from = i + end
		}
	}
	if templateWords.in(t) {
		a.hit(Template, s.full)
	}
}

// expression judges what stands between marks. A bare name is a placeholder
// that was not filled in, which happens to honest pages every day.
func expression(e []byte, open string, closed bool) bool {
	e = bytes.TrimSpace(e)
	if len(e) == 0 || len(e) > 2000 {
		return false
	}
	if !closed && open != "<%" && open != "{%" && open != "{{" {
		return false
	}
	switch open {
	case "<%", "{%", "[%":
		e = bytes.TrimLeft(e, "=-@! ")
		return len(e) > 0 && (look(e)&(digit|quote|round|star|equals) != 0 || hasPrefixAny(e, "if true", "if false", "set ", "include", "import", "debug", "extends", "print", "system", "load") || hasAny(e, "__"))
	case "<#":
		return arithmetic(e) || hasPrefixAny(e, "list ", "assign ", "include ", "import ", "setting ", "function ", "macro ") || look(e)&(round|quote) != 0 && bytes.IndexByte(e, '(') > 0
	case "$(", "@(":
		return arithmetic(e) || bytes.IndexByte(e, '(') > 0 && open == "@("
	case "[[", "{=", "{$":
		return arithmetic(e) || hasAny(e, "${", "t(java", "smarty", "self::", "::") && bytes.IndexByte(e, '(') >= 0 || hasPrefixAny(e, "smarty.")
	case "#{", "@{", "%{", "*{", "~{":
		return arithmetic(e) || look(e)&(round|quote|square) != 0 && (bytes.IndexByte(e, '(') >= 0 || bytes.IndexByte(e, '[') >= 0 || open == "%{" || open == "#{") || open == "%{" && e[0] == '#' && bytes.IndexByte(e, '=') > 1 || hasAny(e, "::", "@java", "#context", "application", "param", "header")
	}
	if arithmetic(e) {
		return true
	}
	if bytes.IndexByte(e, '(') >= 0 && bytes.IndexByte(e, ')') > 0 || onlyConstants(e) {
		return true
	}
	if e[0] == '.' && len(e) > 1 && letter(e[1]) && (open == "${" || givenText(e[1:])) || bytes.HasPrefix(e, []byte("printf ")) && look(e)&quote != 0 {
		return true // of FreeMarker, of Go
	}
	if inList([]string{"request.url", "request.path", "request.method", "request.host"}, e) {
		return false // what any page knows of itself
	}
	if hasAny(e, "['", "[\"") && reaches(e) || hasAny(e, "__") && !hasPrefixAny(e, "__html:", "__timestamp__", "__line__") {
		return true
	}
	if i := bytes.Index(e, []byte("[].")); i == 0 || i > 0 && !wordByte(e[i-1]) {
		return true
	}
	return hasAny(e, ".constructor", "config", "self.", "self[", "app[", "session[", "_context", "request.", "request[", "|attr", "| attr", "''.", "\"\".", "settings.secret", "settings.data", "settings.pass", "settings.key", "handler.settings", "_self", "dump", "app.", "|safe", "|filter", "|map", "$on", "@", "#this", "class.", "param.", "header.", "cookie.", "initparam", "applicationscope", "sessionscope", "requestscope", "pagecontext")
}

// givenText reports whether a method of Go's templates is called with a text: System "ls".
func givenText(e []byte) bool {
	n := 0
	for n < len(e) && (wordByte(e[n]) || e[n] == '.') {
		n++
	}
	rest := bytes.TrimLeft(e[n:], " ")
	return len(rest) > 1 && len(rest) < len(e)-n && (rest[0] == '"' || rest[0] == '`')
}

// onlyConstants reports whether an expression works on nothing but constants, as somebody
// does who looks whether it is worked out: 'a'*7, "a"~"b", 7|abs, "x" | upcase. Texts
// that are to be translated are constants as well.
func onlyConstants(e []byte) bool {
	n := 0
	switch {
	case e[0] == '\'' || e[0] == '"':
		n = bytes.IndexByte(e[1:], e[0]) + 2
		if n < 2 {
			return false
		}
	case decimal(e[0]):
		for n < len(e) && decimal(e[n]) {
			n++
		}
	default:
		return false
	}
	rest := bytes.TrimLeft(e[n:], " ")
	if len(rest) < 2 {
		return false
	}
	arg := bytes.TrimLeft(rest[1:], " ")
	switch rest[0] {
	case '*', '~':
		return len(arg) > 0 && (decimal(arg[0]) || arg[0] == '\'' || arg[0] == '"')
	case '|':
		return len(arg) > 0 && letter(arg[0]) && !hasPrefixAny(arg, "t", "i18n", "date", "asset", "url", "img", "script", "style", "money", "default", "append", "prepend", "l10n", "intl")
	}
	return false
}

// reaches reports whether a key in brackets is taken of something that is no name, or is
// none of data: event.data['a'] is of data, x['constructor'] and ""['a'] are not.
func reaches(e []byte) bool {
	for i := 0; i+1 < len(e); i++ {
		if e[i] != '[' || e[i+1] != '\'' && e[i+1] != '"' {
			continue
		}
		if i == 0 || !wordByte(e[i-1]) && e[i-1] != ']' {
			return true
		}
		end := bytes.IndexByte(e[i+2:], e[i+1])
		if end < 0 {
			return true
		}
		key := e[i+2 : i+2+end]
		if look(key)&^(digit|dash|space) != 0 || hasAny(key, "__", "constructor", "prototype", "class", "global", "import", "exec", "eval", "secret", "application", "popen", "system") {
			return true
		}
	}
	return false
}

// arithmetic finds a calculation of numbers, the first thing that is tried.
func arithmetic(e []byte) bool {
	for i := 1; i+1 < len(e); i++ {
		switch e[i] {
		case '*', '+', '-', '/', '%', '^':
		default:
			continue
		}
		l, r := i-1, i+1
		for l > 0 && (blank(e[l]) || e[l] == '\'' || e[l] == '"') {
			l--
		}
		for r < len(e)-1 && (blank(e[r]) || e[r] == '\'' || e[r] == '"' || e[r] == e[i]) {
			r++
		}
		if decimal(e[l]) && decimal(e[r]) {
			return true
		}
	}
	return false
}

// directory judges filters of LDAP and expressions of XPath.
func (a *Analyzer) directory(s *subject) {
	t := s.low
	if s.where == InAgent || s.where == InReferer || s.where == InPath && s.mask&(star|pipe) == 0 {
		return
	}
	if s.mask&backslash != 0 && hasAny(t, `\28`, `\29`, `\2a`) {
		// how a filter writes its own signs where they are to mean themselves
		t = []byte(strings.NewReplacer(`\28`, "(", `\29`, ")", `\2a`, "*").Replace(string(t)))
	}
	if ldap(t) {
		a.hit(LDAP, s.full)
	}
	if xpath(t) {
		a.hit(XPath, s.full)
	}
}

// ldap looks for a bracket that ends a filter and one that begins another.
func ldap(t []byte) bool {
	if wholeFilter(t) {
		return false
	}
	if hasAny(t, "*)(", ")(|", ")(&", ")(!", "(|(", "(&(", "(!(", "*))%00", "*)|", "*)&", "*))", "|(mail=", "|(uid=", "|(cn=", "objectclass=*", "objectclass=", "(cn=*", "(uid=*", "userpassword=", "admin*)", "(gidnumber", "(uidnumber") && bytes.ContainsAny(t, "()") {
		if unbalanced(t) && !hasAny(t, "http") || hasAny(t, "objectclass=", "userpassword=") {
			return true
		}
	}
	// value(|(cn=*)): a filter begins with a bracket, so what stands before it was put there
	for _, w := range [...]string{"(|(", "(&(", "(!("} {
		if k := bytes.Index(t, []byte(w)); k > 0 && k < 64 && bytes.IndexByte(t[:k], '(') < 0 && bytes.IndexByte(t[k:], '=') > 0 && !blank(t[k-1]) && (t[k-1] == '*' || wordByte(t[k-1])) {
			return true
		}
	}
	// test)(x=y) , value)(cn=
	for i := 0; i+3 < len(t); i++ {
		if t[i] != ')' {
			continue
		}
		j := i + 1
		for j < len(t) && (blank(t[j]) || j == i+1 && (t[j] == '!' || t[j] == '&' || t[j] == '|')) {
			j++
		}
		if j >= len(t) || t[j] != '(' {
			continue
		}
		k := j + 1
		for k < len(t) && (blank(t[k]) || t[k] == '|' || t[k] == '&' || t[k] == '!' || t[k] == '(') {
			k++
		}
		from := k
		for k < len(t) && (wordByte(t[k]) || t[k] == '-') {
			k++
		}
		if t[j+1:] != nil && from > j+1 && k == len(t) {
			return true
		}
		if k > from && k < len(t) && (t[k] == '=' || t[k] == '<' || t[k] == '>' || t[k] == '~' || t[k] == ':') && unbalanced(t) {
			return true
		}
	}
	return false
}

// wholeFilter reports whether t is one filter from its first bracket to its last that
// asks for something: it is put behind nothing, and not everybody meets it.
func wholeFilter(t []byte) bool {
	if len(t) < 5 || t[0] != '(' || unbalanced(t) || closes(t, 0) != len(t)-1 || hasAny(t, "password", "=*)") {
		return false
	}
	return (t[1] == '&' || t[1] == '|' || t[1] == '!') && t[2] == '(' && bytes.IndexByte(t, '=') > 0
}

// unbalanced reports whether more brackets close than open before them.
func unbalanced(t []byte) bool {
	n := 0
	for _, c := range t {
		switch c {
		case '(':
			n++
		case ')':
			if n--; n < 0 {
				return true
			}
		}
	}
	return n != 0
}

func xpath(t []byte) bool {
	if hasAny(t, "or contains(", "and contains(", "or starts-with(", "and starts-with(") && bytes.ContainsAny(t, "'\"") && unbalanced(t) {
		return true
	}
	if hasAny(t, "count(/", "name(/", "string-length(name", "substring(name(", "//user[", "//*[", "/child::", "/descendant::", "ancestor::", "following-sibling::", "self::node", "position()=", "position() =", "last()", "doc(concat", "doc('", "doc(\"", "text()='", "text()=\"", "]|//", "] | //", "'] | //", "name()='", "name()=\"", "/*[1]", "node()", "namespace-uri(", "normalise-space(", "starts-with(", "system-property(", "unparsed-text(", "comment()") {
		return hasAny(t, "(", "[") && !hasAny(t, "text/", "select=")
	}
	return false
}

// sessionNames are parameters and cookies that carry a session.
var sessionNames = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range [...]string{
		"jsessionid", "jservsession", "jwsession", "jsessionidsso", "phpsessid", "phpsession", "phpsessionid", "aspsessionid", "asp.net_sessionid", "aspsession", "cfid", "cftoken", "cfsid", "zend_session_id", "connect.sid", "laravel_session", "ci_session", "rack.session", "_session_id", "koa.sess", "koa.sid", "play_session", "meteor_login_token", "weblogicsession", "websession", "xoops_session", "django_session", "_gitlab_session", "express.sid", "jsession", "cakephp", "shiny-token", "koa:sess", "_rails_session", "next-auth.session-token", "__host-next-auth.session-token", "__secure-next-auth.session-token", "sessionid", "servlet_session", "sails.sid", "_flask_session", "session-id", "session_id", "sessid", "sess_id",
	} {
		m[n] = true
	}
	return m
}()

// parameter judges what a parameter is called, beside what it holds: a session
// that came with a link from another site.
func (a *Analyzer) parameter(name, value string) {
	if len(value) < 4 || len(name) < 3 || len(name) > 40 {
		return
	}
	if look(name)&(percent|round|quote|angle) != 0 {
		return
	}
	var buf [40]byte
	low := appendLower(buf[:0], []byte(name))
	if sessionNames[string(low)] {
		a.where, a.name = InQuery, name
		a.hit(Fixation, bytesOf(value))
	}
}

// elsewhere reports whether a referer is of another site than host.
func elsewhere(referer, host string) bool {
	i := indexString(referer, "://")
	if i < 0 || host == "" {
		return false
	}
	h := referer[i+3:]
	for k := range len(h) {
		if h[k] == '/' || h[k] == '?' || h[k] == ':' || h[k] == '#' {
			h = h[:k]
			break
		}
	}
	if k := indexString(host, ":"); k >= 0 {
		host = host[:k]
	}
	return h != "" && site(h) != site(host)
}

// site returns the last two labels of a host name.
func site(h string) string {
	dots := 0
	for i := len(h) - 1; i >= 0; i-- {
		if h[i] == '.' {
			if dots++; dots == 2 {
				return h[i+1:]
			}
		}
	}
	return h
}

func indexString(s, sub string) int { return bytes.Index(bytesOf(s), bytesOf(sub)) }
