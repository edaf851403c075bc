package escape

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// HTML makes s text for HTML, between tags or inside an attribute in quotes.
func HTML(s string, limit int) string {
	return string(fit(nil, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		switch r {
		case '&':
			return append(dst, "&amp;"...)
		case '<':
			return append(dst, "&lt;"...)
		case '>':
			return append(dst, "&gt;"...)
		case '"':
			return append(dst, "&#34;"...)
		case '\'':
			return append(dst, "&#39;"...)
		case '`':
			return append(dst, "&#96;"...)
		}
		return visible(dst, s, i, n, r)
	}))
}

// CSV makes s one field of a CSV file, in quotes. A field that a spreadsheet
// would take for a formula gets an apostrophe in front, the sign for text.
func CSV(s string, limit int) string {
	if limit > 3 {
		limit -= 3
	}
	dst := []byte{'"'}
	if first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " ")); strings.ContainsRune("=+-@|%＝＋－＠", first) && first != utf8.RuneError {
		dst = append(dst, '\'')
	}
	dst = fit(dst, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		if r == '"' {
			return append(dst, `""`...)
		}
		return visible(dst, s, i, n, r)
	})
	return string(append(dst, '"'))
}

// JSON makes s a string of JSON, with its quotes. It is read back as s, but for
// bytes that are no UTF-8, which become U+FFFD. What a terminal or a browser acts
// on is written as escapes.
func JSON(s string, limit int) string {
	if limit > 2 {
		limit -= 2
	}
	dst := fit([]byte{'"'}, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		return quoted(dst, s, i, n, r, func(dst []byte, r rune) []byte {
			if r > 0xffff {
				high, low := utf16.EncodeRune(r)
				return fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
			}
			return fmt.Appendf(dst, `\u%04x`, r)
		})
	})
	return string(append(dst, '"'))
}

// YAML makes s a double-quoted scalar of YAML, with its quotes. It is read back
// as s, but for bytes that are no UTF-8, which become U+FFFD.
func YAML(s string, limit int) string {
	if limit > 2 {
		limit -= 2
	}
	dst := fit([]byte{'"'}, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		return quoted(dst, s, i, n, r, func(dst []byte, r rune) []byte {
			if r > 0xffff {
				return fmt.Appendf(dst, `\U%08x`, r)
			}
			return fmt.Appendf(dst, `\u%04x`, r)
		})
	})
	return string(append(dst, '"'))
}

// quoted is what strings of JSON and of YAML have in common.
func quoted(dst []byte, s string, i, n int, r rune, code func([]byte, rune) []byte) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r == '\n':
		return append(dst, `\n`...)
	case r == '\r':
		return append(dst, `\r`...)
	case r == '\t':
		return append(dst, `\t`...)
	case r < 0x20 || r == 0x7f || r == '<' || r == '>' || r == '&':
		return code(dst, r)
	case r < 0x7f:
		return append(dst, byte(r))
	case r == utf8.RuneError && n == 1 || !shown(r):
		return code(dst, r)
	default:
		return append(dst, s[i:i+n]...)
	}
}

// InertJSON returns JSON that says the same, without characters that a
// terminal or a log viewer acts on or does not show, such as those that
// encoding/json leaves as they are: the second set of controls, and what changes
// the direction of text. They can only stand in strings, where they become
// escapes. b has to be valid JSON; it may be returned as it is.
func InertJSON(b []byte) []byte {
	i := 0
	for i < len(b) && b[i] < 0x7f {
		i++
	}
	if i == len(b) {
		return b
	}
	out := append(make([]byte, 0, len(b)+64), b[:i]...)
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r < 0x7f || shown(r) && (r != utf8.RuneError || n > 1):
			out = append(out, b[i:i+n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}
