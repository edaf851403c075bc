package envelope

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func blanks(b []byte, at int) int {
	for at < len(b) && isBlank(b[at]) {
		at++
	}
	return at
}

func trim(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b[blanks(b, 0):]
}

// maxDepth bounds nesting; what is deeper is no log entry.
const maxDepth = 64

// skip returns where the JSON value at b[at] ends, -1 where it does not. It
// checks brackets and strings and nothing else, and takes as escaped whatever comes
// behind a backslash, as loggers write more than JSON allows.
func skip(b []byte, at int) int {
	if at >= len(b) {
		return -1
	}
	switch b[at] {
	case '"':
		return skipString(b, at)
	case '{', '[':
	default:
		end := at
		for end < len(b) && !isBlank(b[end]) && b[end] != ',' && b[end] != ']' && b[end] != '}' {
			end++
		}
		if end == at {
			return -1
		}
		return end
	}
	var open [maxDepth]byte
	depth := 0
	for i := at; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			end := skipString(b, i)
			if end < 0 {
				return -1
			}
			i = end - 1
		case '{', '[':
			if depth == maxDepth {
				return -1
			}
			open[depth] = c + 2 // the bracket that closes it
			depth++
		case '}', ']':
			if open[depth-1] != c {
				return -1
			}
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// skipString returns where the string at b[at] ends.
func skipString(b []byte, at int) int {
	for i := at + 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for j := i - 1; j > at && b[j] == '\\'; j-- {
			slashes++
		}
		i++
		if slashes%2 == 0 {
			return i
		}
	}
}

// member returns where the value of a key of the object at the start of b
// begins, -1 where it has no such key. key has its quotes.
func member(b, key []byte) int {
	at := blanks(b, 1)
	for at < len(b) && b[at] == '"' {
		end := skipString(b, at)
		if end < 0 {
			return -1
		}
		found := bytes.Equal(b[at:end], key)
		at = blanks(b, end)
		if at >= len(b) || b[at] != ':' {
			return -1
		}
		at = blanks(b, at+1)
		if end = skip(b, at); end < 0 {
			return -1
		}
		if found {
			return at
		}
		at = blanks(b, end)
		if at >= len(b) || b[at] != ',' {
			return -1
		}
		at = blanks(b, at+1)
	}
	return -1
}

// unescape appends the text of a JSON string, which has its quotes. Escapes
// that JSON does not know stay as they are.
func unescape(dst, s []byte) []byte {
	s = s[1 : len(s)-1]
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 || i+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, n := escapedRune(s)
			if n == 0 {
				dst = append(dst, '\\', 'u')
				continue
			}
			dst = utf8.AppendRune(dst, r)
			s = s[n:]
		default:
			dst = append(dst, '\\', c)
		}
	}
}

// escapedRune reads the HHHH of a \uHHHH, with the second half of a surrogate
// pair where one follows, and returns how many bytes it took.
func escapedRune(s []byte) (rune, int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(s) >= 10 && s[4] == '\\' && s[5] == 'u' {
		if low, ok := hex4(s[6:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 10
			}
		}
	}
	return utf8.RuneError, 4
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
