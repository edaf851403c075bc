package event

import "strings"

// masked stands where a secret was. No secret looks like it, so that masking
// twice changes nothing.
const masked = "***"

// Mask appends line to dst with its secrets replaced by "***": the values of
// keys that name a secret, in queries, forms, cookies, headers and JSON, also
// percent-encoded and as JSON inside of JSON; what follows Bearer and Basic;
// JSON Web Tokens; keys whose issuers gave them a form of their own (AKIA…, ghp_…, xoxb-…);
// private keys; passwords in URLs; and payment card numbers. It errs on
// the side of hiding. Masking twice is masking once. line may be any text.
func Mask(dst []byte, line string) []byte { return appendMasked(dst, line, nil) }

func appendMasked(dst []byte, line string, o *Masker) []byte {
	m := masker{dst: dst, s: line, o: o}
	word := false // the byte before i belongs to a word
	for i := 0; i < len(line); {
		c := line[i]
		n := 0
		switch {
		case c == '=':
			n = m.assignment(i, 1)
		case c == '%':
			n = m.encoded(i)
			if n == 0 && i+2 < len(line) && unhex(line[i+1]) < 16 && unhex(line[i+2]) < 16 {
				i += 3
				word = false
				continue
			}
		case c == ':':
			n = m.colon(i)
		case c == 'e' && strings.HasPrefix(line[i:], "eyJ"):
			n = m.token(i)
		case !word && (c|0x20 == 'b'):
			n = m.scheme(i)
		case !word && c >= '2' && c <= '6':
			n = m.card(i)
		case !word && c == '-':
			n = m.privateKey(i)
		}
		if n == 0 && !word && tokenShapes[c] != nil {
			n = m.shape(i)
		}
		if n > 0 {
			i, word = n, false
			continue
		}
		word = class[c]&(cDigit|cLower|cUpper|cDot) != 0 || c == '_'
		i++
	}
	return append(m.dst, line[m.done:]...)
}

// masker copies a line while it leaves out parts. Its methods look at one
// place and return where to go on, or 0 where there is no secret.
type masker struct {
	dst  []byte
	s    string
	o    *Masker // nil hides what Mask does
	done int     // s[:done] has been dealt with
	bare int     // no token begins before here
}

// hide replaces s[from:to] and goes on at next.
func (m *masker) hide(from, to, next int, with string) int {
	m.dst = append(m.dst, m.s[m.done:from]...)
	if m.o == nil || len(m.o.key) == 0 {
		m.dst = append(m.dst, with...)
	} else {
		quote, _, _ := strings.Cut(with, masked)
		m.dst = append(m.dst, quote...)
		m.dst = append(m.dst, m.o.mark(m.s[from:to])...)
		m.dst = append(m.dst, quote...)
	}
	m.done = to
	return next
}

// assignment masks the value of key=value. width is the length of the sign at i.
func (m *masker) assignment(i, width int) int {
	if !m.secretKey(i) {
		return 0
	}
	from := i + width
	if from < len(m.s) && m.s[from] == '"' {
		return m.quoted(from+1, `"`)
	}
	if strings.HasPrefix(m.s[from:], `\"`) {
		return m.quoted(from+2, `\"`)
	}
	to := m.valueEnd(from, width > 1)
	if to < len(m.s) && m.s[to] == ' ' && isScheme(m.s[from:to]) {
		to = m.valueEnd(to+1, width > 1)
	}
	if to == from {
		return 0
	}
	return m.hide(from, to, to, masked)
}

// valueEnd finds the end of a value in a query, a form or a cookie.
func (m *masker) valueEnd(i int, encoded bool) int {
	for ; i < len(m.s); i++ {
		switch c := m.s[i]; {
		case c <= ' ', c == '&', c == '"', c == '#', c == 0x7f:
			return i
		case c == ';' && (i+1 == len(m.s) || m.s[i+1] == ' '):
			return i
		case c == '\\' && i+1 < len(m.s) && m.s[i+1] > ' ' && m.s[i+1] < 0x7f:
			i++
		case c == '%' && encoded && strings.HasPrefix(m.s[i:], "%26"):
			return i
		}
	}
	return i
}

// quoted masks what stands from i to the next closing mark.
func (m *masker) quoted(i int, mark string) int {
	to := i
	for to < len(m.s) && !strings.HasPrefix(m.s[to:], mark) {
		if m.s[to] == '\\' && len(mark) == 1 {
			to++
		}
		to++
	}
	to = min(to, len(m.s))
	next := min(to+len(mark), len(m.s))
	if to == i {
		return next
	}
	return m.hide(i, to, next, masked)
}

// encoded handles the percent-encoded forms of = and :.
func (m *masker) encoded(i int) int {
	if i+2 >= len(m.s) || m.s[i+1] != '3' {
		return 0
	}
	switch m.s[i+2] | 0x20 {
	case 'd':
		return m.assignment(i, 3)
	case 'a':
		if i-3 < m.done || m.s[i-3:i] != "%22" || !m.secretKey(i-3) {
			return 0
		}
		from := i + 3
		for strings.HasPrefix(m.s[from:], "%20") || from < len(m.s) && m.s[from] == '+' {
			if m.s[from] == '+' {
				from++
			} else {
				from += 3
			}
		}
		text := strings.HasPrefix(m.s[from:], "%22")
		if text {
			from += 3
		}
		to := from
		for ; to < len(m.s) && m.s[to] > ' ' && strings.IndexByte("&\"#", m.s[to]) < 0; to++ {
			if rest := m.s[to:]; text && strings.HasPrefix(rest, "%22") || !text && (hasFold(rest, "%2c") || hasFold(rest, "%7d")) {
				break
			}
		}
		if to == from {
			return 0
		}
		return m.hide(from, to, to, masked)
	default:
		return 0
	}
}

// colon handles JSON members, headers, and URLs with a password.
func (m *masker) colon(i int) int {
	if strings.HasPrefix(m.s[i:], "://") {
		return m.userinfo(i + 3)
	}
	end := i
	for end > m.done && (m.s[end-1] == ' ' || m.s[end-1] == '\t') {
		end--
	}
	from := i + 1
	for from < len(m.s) && (m.s[from] == ' ' || m.s[from] == '\t') {
		from++
	}
	if end == m.done || from == len(m.s) {
		return 0
	}
	mark := ""
	if m.s[end-1] == '"' {
		mark = `"`
		end--
		if end > m.done && m.s[end-1] == '\\' {
			mark = `\"`
			end--
		}
	}
	if !m.secretKey(end) {
		return 0
	}
	switch {
	case strings.HasPrefix(m.s[from:], `\"`):
		return m.quoted(from+2, `\"`)
	case m.s[from] == '"':
		return m.quoted(from+1, `"`)
	case mark == "":
		// A header: the whole rest of the field.
		to := from
		for to < len(m.s) && m.s[to] != '"' && m.s[to] >= ' ' {
			to++
		}
		if to == from {
			return 0
		}
		return m.hide(from, to, to, masked)
	}
	to := from
	if c := m.s[from]; c == '[' || c == '{' {
		to = m.balanced(from)
	} else {
		for to < len(m.s) && strings.IndexByte(",}] \t", m.s[to]) < 0 {
			to++
		}
	}
	if word := m.s[from:to]; word == "" || word == "null" {
		return 0
	}
	return m.hide(from, to, to, mark+masked+mark)
}

// balanced returns the end of the object or array at i.
func (m *masker) balanced(i int) int {
	depth := 0
	for ; i < len(m.s); i++ {
		switch m.s[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			for i++; i < len(m.s) && m.s[i] != '"'; i++ {
				if m.s[i] == '\\' {
					i++
				}
			}
		}
	}
	return len(m.s)
}

// userinfo masks the name and the password before the host of a URL.
func (m *masker) userinfo(from int) int {
	last, secret := 0, false
	for i := from; i < len(m.s) && i-from < 256; i++ {
		switch c := m.s[i]; {
		case c == ':' && last == 0:
			secret = true
		case c == '@':
			last = i
		}
		if strings.IndexByte("/?#\"\\<> ", m.s[i]) >= 0 {
			break
		}
	}
	if last == 0 || !secret || strings.ContainsAny(m.s[from:last], "/?#\"\\<> ") {
		return 0
	}
	return m.hide(from, last, last+1, masked)
}

// token masks a JSON Web Token, or anything that begins like one.
func (m *masker) token(i int) int {
	if i < m.bare {
		return 0 // looked at before; keeps hostile text from costing more than its length
	}
	to, dots := i, 0
	for to < len(m.s) && class[m.s[to]]&(cDigit|cLower|cUpper|cDash|cDot) != 0 {
		if m.s[to] == '.' {
			dots++
		}
		to++
	}
	if dots == 0 {
		m.bare = to
	}
	if to-i < 16 || dots == 0 {
		return 0
	}
	return m.hide(i, to, to, masked)
}

func isScheme(s string) bool {
	return strings.EqualFold(s, "bearer") || strings.EqualFold(s, "basic") || strings.EqualFold(s, "digest") ||
		strings.EqualFold(s, "token") || strings.EqualFold(s, "negotiate")
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// scheme masks the credentials after Bearer and Basic.
func (m *masker) scheme(i int) int {
	from := i
	switch {
	case hasFold(m.s[i:], "bearer"):
		from += 6
	case hasFold(m.s[i:], "basic"):
		from += 5
	default:
		return 0
	}
	blanks := from
	for from < len(m.s) {
		if m.s[from] == ' ' || m.s[from] == '+' {
			from++
		} else if strings.HasPrefix(m.s[from:], "%20") {
			from += 3
		} else {
			break
		}
	}
	if from == blanks {
		return 0 // before the search for the end, or "basic~basic~" would cost the square of its length
	}
	to := from
	for to < len(m.s) && (class[m.s[to]]&(cDigit|cLower|cUpper|cDash|cDot) != 0 || strings.IndexByte("~+/=", m.s[to]) >= 0) {
		to++
	}
	if to-from < 8 {
		return 0
	}
	return m.hide(from, to, to, masked)
}

// card masks a payment card number: 13 to 19 digits in one run, or in the
// groups that cards print, whose check digit is right.
func (m *masker) card(i int) int {
	var digits [19]byte
	n, to, group := 0, i, 0
	sep := byte(0)
	for ; to < len(m.s); to++ {
		c := m.s[to]
		if c-'0' <= 9 {
			if n == len(digits) {
				return 0
			}
			digits[n] = c - '0'
			n++
			group++
			continue
		}
		if (c == ' ' || c == '-' || c == '+') && n >= 4 && n < 16 && (sep == 0 && group == 4 || sep == c && (group == 4 || group == 6)) &&
			to+1 < len(m.s) && m.s[to+1]-'0' <= 9 {
			sep, group = c, 0
			continue
		}
		break
	}
	if to < len(m.s) && (class[m.s[to]]&(cLower|cUpper) != 0 || m.s[to] == '_') || n < 13 || sep != 0 && n < 15 {
		return 0
	}
	sum := 0
	for k := range n {
		d := int(digits[n-1-k])
		if k%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	if sum%10 != 0 {
		return 0
	}
	return m.hide(i, to, to, masked)
}
