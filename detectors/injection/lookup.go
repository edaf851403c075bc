package injection

import "bytes"

// Log4Shell. A lookup of log4j, ${prefix:name}, may hold others, and what they
// give can spell the one that matters. So lookups are worked out from the
// inside, as log4j does: ${lower:J} is j, ${::-j} and ${env:NONE:-j} are j.

func (a *Analyzer) log4shell(s *subject) {
	t := s.low
	if i := bytes.Index(t, []byte("${")); i < 0 {
		return
	}
	if len(t) > 4096 {
		t = t[:4096]
	}
	out, odd := resolveLookups(t)
	if has(out, "${jndi:") || has(out, "jndi:ldap:") || has(out, "jndi:rmi:") || has(out, "jndi:dns:") || has(out, "jndi:iiop:") || has(out, "jndi:nis:") || has(out, "jndi:corba:") || has(out, "jndi:http") {
		a.hit(Log4Shell, s.full)
		return
	}
	// Lookups that only an attack writes: leaks of the environment, or disguises
	// whose result was cut off.
	if odd > 1 || hasAny(t, "${jndi", "${env:aws", "${sys:", "${ctx:", "${java:", "${env:", "${docker:", "${k8s:", "${bundle:", "${lower:", "${upper:", "${base64:", "${script:", "${dns:address", "${url:utf", "${file:utf", "${::-", "${date:", "${main:", "${web:", "${spring:", "${log4j:") && hasAny(t, "}", ":-") {
		a.hit(Log4Shell, s.full)
	}
}

// resolveLookups replaces innermost lookups that stand for text until none is
// left, and counts them. It looks at each byte a bounded number of times: each
// replacement is shorter than what it replaces.
func resolveLookups(t []byte) (out []byte, replaced int) {
	out = append([]byte(nil), t...)
	for range 64 {
		end := -1
		begin := -1
		for i := 0; i+1 < len(out); i++ {
			if out[i] == '$' && out[i+1] == '{' {
				begin = i
			} else if out[i] == '}' && begin >= 0 {
				if !has(out[begin:i], "jndi:") {
					end = i
					break
				}
				begin = -1
			}
		}
		if end < 0 {
			return out, replaced
		}
		inner := out[begin+2 : end]
		var value []byte
		switch {
		case hasPrefixAny(inner, "lower:", "upper:"):
			value = inner[6:]
		case has(inner, ":-"):
			value = inner[bytes.LastIndex(inner, []byte(":-"))+2:]
		case hasPrefixAny(inner, "date:'"):
			value = bytes.Trim(inner[5:], "'")
		default:
			value = nil // stands for something that is not known
			replaced--
		}
		replaced++
		next := append([]byte(nil), out[:begin]...)
		next = append(next, value...)
		out = append(next, out[end+1:]...)
	}
	return out, replaced
}

// crlf judges line breaks: a header, a second answer, or a command for a mail
// server behind one.
func (a *Analyzer) crlf(s *subject) {
	t := s.low
	if bytes.IndexByte(t, 0) >= 0 && s.where == InPath || requestLine(t) {
		a.hit(CRLF, s.full)
	}
	if s.where == InQuery && s.name != "" && bytes.ContainsAny(bytesOf(s.name), "%") && len(t) > 1 && (t[len(t)-1] == '\n' || t[len(t)-1] == '\r') && len(t) < len(s.name)+1 {
		a.hit(CRLF, s.full) // a name that ends the line
	}
	for i := 0; i < len(t); i++ {
		if t[i] != '\r' && t[i] != '\n' {
			continue
		}
		for i < len(t) && (t[i] == '\r' || t[i] == '\n') {
			i++
		}
		line := t[i:]
		if k := bytes.IndexAny(line, "\r\n"); k >= 0 {
			line = line[:k]
		}
		line = bytes.TrimLeft(line, " \t")
		switch {
		case endsRequest(t[:i]):
			a.hit(CRLF, s.full)
		case hasPrefixAny(t, "http://", "https://") && bytes.IndexByte(t[:i], ' ') < 0 && bytes.IndexByte(line, ':') > 1 && bytes.IndexByte(line, ' ') != 0:
			a.hit(CRLF, s.full) // an address goes on in another line
		case s.where == InPath && len(line) > 0:
			a.hit(CRLF, s.full)
		case header(line) && !letterHead(line, t[:i]), bytes.HasPrefix(line, []byte("http/")), bytes.HasPrefix(line, []byte("<html")), bytes.HasPrefix(line, []byte("get /")), bytes.HasPrefix(line, []byte("post /")):
			a.hit(CRLF, s.full)
		}
		if mailCommand(line) || mailHeader(line) && header(line) && !letterHead(line, t[:i]) {
			a.hit(Mail, s.full)
		}
		if storeCommand(line, s.full[i:]) {
			a.hit(NoSQL, s.full)
		}
		if assignment(line) {
			a.hit(CRLF, s.full)
		}
	}
}

// requestLine reports whether t holds a request of its own: a method, a target
// and a version.
func requestLine(t []byte) bool {
	i := bytes.Index(t, []byte(" http/"))
	if i < 4 || i+6 >= len(t) || !decimal(t[i+6]) {
		return false
	}
	method, target, ok := bytes.Cut(bytes.TrimSpace(t[:i]), []byte(" "))
	if k := bytes.LastIndexAny(method, "\r\n"); k >= 0 {
		method = method[k+1:]
	}
	return ok && len(target) > 0 && bytes.IndexByte(target, ' ') < 0 && inList([]string{"get", "post", "put", "head", "delete", "options", "connect", "trace", "patch"}, method)
}

// endsRequest reports whether the first line of a request ends before a line break.
func endsRequest(t []byte) bool {
	t = bytes.TrimRight(t, "\r\n")
	return bytes.HasSuffix(t, []byte(" http/1.1")) || bytes.HasSuffix(t, []byte(" http/1.0"))
}

// header reports whether a line is a header of HTTP or of mail.
func header(line []byte) bool {
	k := bytes.IndexByte(line, ':')
	if k < 2 || k > 40 {
		return false
	}
	name := line[:k]
	for _, c := range name {
		if !wordByte(c) && c != '-' {
			return false
		}
	}
	return bytes.IndexByte(name, '-') > 0 || inList([]string{"location", "host", "cookie", "refresh", "link", "server", "date", "expires", "status", "to", "cc", "bcc", "subject", "from", "x", "origin", "connection", "pragma", "etag", "allow", "p3p", "header", "referer", "vary", "age", "authorization", "sourcemap", "nel"}, name)
}

// writtenBreak reports whether a header stands behind a line break that was written as in a
// program, \r\n, which what logs or sends the text may undo.
func writtenBreak(t []byte) bool {
	for i := 0; i+4 < len(t); i++ {
		if t[i] != '\\' || t[i+1] != 'n' && t[i+1] != 'r' {
			continue
		}
		line := t[i+2:]
		if k := bytes.IndexByte(line, '\\'); k >= 0 {
			line = line[:k]
		}
		if k := bytes.IndexByte(line, ':'); k > 1 && k+1 < len(line) && header(line) && !letterHead(line, t[:i]) {
			return true
		}
	}
	return false
}

// letterHead reports whether a line that is spelled like a header has what people
// write there and no program reads: no address behind To, no target behind Location.
// Letters and invitations begin so.
func letterHead(line, before []byte) bool {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return false
	}
	switch string(name) {
	case "to", "from", "cc", "bcc":
		return !bytes.ContainsAny(value, "@<")
	case "date", "expires":
		return !has(value, "gmt")
	case "location", "refresh", "link":
		return bytes.IndexByte(value, ' ') > 0 && !bytes.ContainsAny(value, "/=")
	case "host", "origin", "server":
		return bytes.IndexByte(value, '.') < 0 && !bytes.ContainsAny(value, ":/")
	case "subject":
		first, _, _ := bytes.Cut(before, []byte("\n"))
		return bytes.IndexByte(bytes.TrimSpace(first), ' ') > 0 && bytes.IndexByte(first, '@') < 0
	}
	return false
}

// storeCommand reports whether a line is a command of Redis or Memcached, which read one
// from each line. as is the line in the case that it had: people set tables.
func storeCommand(line, as []byte) bool {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	rest = bytes.TrimSpace(rest)
	switch string(word) {
	case "flushall", "flushdb", "flush_all":
		return true
	case "config":
		return hasPrefixAny(rest, "set ", "get ", "rewrite")
	case "slaveof", "replicaof":
		return bytes.IndexByte(rest, ' ') > 0
	case "eval":
		return len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'')
	case "module":
		return hasPrefixAny(rest, "load ")
	case "set", "add", "replace", "append":
		var numbers int
		for f := range bytes.FieldsSeq(rest) {
			if allDigits(f) {
				numbers++
			}
		}
		return numbers == 3 && bytes.Count(rest, []byte(" ")) == 3 || bytes.HasPrefix(bytes.TrimLeft(as, " \t"), []byte("SET ")) && bytes.Count(rest, []byte(" ")) == 1
	}
	return false
}

// sendmail reports whether options of sendmail stand behind an address, by which it
// writes a log, a queue or what it runs where somebody else says.
func sendmail(t []byte) bool {
	return sendmailOptions.in(t)
}

var sendmailOptions = newAnyOf(" -x/", " -x /", " -oq/", " -oqueuedirectory", "-be ${", "${run{")

// mailHeader reports whether a line is a header by which a mail goes to somebody else.
func mailHeader(line []byte) bool {
	return hasPrefixAny(line, "to:", "cc:", "bcc:", "subject:", "reply-to:", "from:")
}

// assignment reports whether a line is name=value and nothing else: settings
// and sessions kept in files of lines.
func assignment(line []byte) bool {
	k := bytes.IndexByte(line, '=')
	if k < 2 || k > 40 || k == len(line)-1 {
		return false
	}
	for _, c := range line[:k] {
		if !wordByte(c) && c != '-' {
			return false
		}
	}
	return bytes.IndexByte(line, ' ') < 0
}

// mailCommand reports whether a line is a command of SMTP, IMAP or POP3.
func mailCommand(line []byte) bool {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	rest = bytes.TrimSpace(rest)
	switch string(word) {
	case "help":
		return len(rest) > 0 && bytes.IndexByte(rest, ' ') < 0
	case "ehlo", "helo", "vrfy", "expn", "apop", "auth", "user", "pass", "retr", "dele", "uidl", "etrn", "top", "list", "turn":
		return len(rest) > 0 && bytes.Count(rest, []byte(" ")) < 3 && (string(word) != "list" && string(word) != "top" && string(word) != "user" && string(word) != "pass" || len(rest) < 40)
	case "mail", "rcpt":
		return hasPrefixAny(rest, "from:", "to:", "from :", "to :")
	case "data", "quit", "rset", "noop", "stat", "starttls", "capa", "stls", "list\r", "expunge":
		return len(rest) == 0
	}
	// IMAP: a tag and a command
	if len(word) > 0 && len(word) < 10 && (look(word)&digit != 0 || len(word) == 1 && letter(word[0])) {
		cmd, arg, _ := bytes.Cut(rest, []byte(" "))
		switch string(cmd) {
		case "create", "delete", "rename", "select", "examine", "fetch", "store", "copy", "search", "login", "authenticate", "append", "lsub", "list", "status", "subscribe", "unsubscribe", "uid":
			return len(arg) > 0 && (len(word) > 1 || decimal(arg[0]))
		case "capability", "logout", "expunge", "close", "check", "noop", "starttls":
			return true
		}
	}
	return string(word) == "." && len(rest) == 0
}
