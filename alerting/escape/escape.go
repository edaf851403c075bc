// Package escape makes text that others chose fit for the place where it
// lands: one function a destination, and no other place in the receivers that
// does it. Every function takes any bytes and a limit in bytes of its result,
// 0 for none. What does not fit is cut between two characters, with a mark that
// says how many bytes of the text are missing, such as "... 123 bytes more".
//
// All functions are pure and may be called by many goroutines.
package escape

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unit appends the form that the character r, which is s[i:i+n], has at the
// destination. r is utf8.RuneError with n 1 for a byte that is no UTF-8.
type unit func(dst []byte, s string, i, n int, r rune) []byte

// fit appends s to dst, character by character, and keeps what it appends
// within limit.
func fit(dst []byte, s string, limit int, f unit) []byte {
	start := len(dst)
	keep, from := start, 0 // the longest piece that leaves room for its mark
	if limit > 0 && markLen(len(s)) > limit {
		from = -1
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		dst = f(dst, s, i, n, r)
		i += n
		if limit <= 0 {
			continue
		}
		if len(dst)-start > limit {
			dst = dst[:keep]
			if from >= 0 {
				dst = appendMark(dst, len(s)-from)
			}
			return dst
		}
		if from >= 0 && i >= 3 && strings.EqualFold(s[i-3:i], "www") {
			continue // with the dots of the mark it would look like a link
		}
		if from < 0 || len(dst)-start+markLen(len(s)-i) <= limit {
			keep = len(dst)
			if from >= 0 {
				from = i
			}
		}
	}
	return dst
}

// appendMark says that n bytes are missing. The mark has no character that any
// destination acts on.
func appendMark(dst []byte, n int) []byte {
	dst = append(dst, "... "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	if n == 1 {
		return append(dst, " byte more"...)
	}
	return append(dst, " bytes more"...)
}

func markLen(n int) int {
	digits := 1
	for n >= 10 {
		n /= 10
		digits++
	}
	return len("... ") + digits + len(" bytes more")
}

// Text makes s one line of text without anything that moves a cursor, hides,
// reorders or piles up: what is not plainly visible is written as an escape,
// such as \n, \x1b, \u{202e}. Backslashes stay as they are, so the result is
// for reading, not for reading back.
func Text(s string, limit int) string { return string(fit(nil, s, limit, visible)) }

// Cut cuts s as the other functions do and escapes nothing: for parts of a text
// that is escaped later.
func Cut(s string, limit int) string {
	return string(fit(nil, s, limit, func(dst []byte, s string, i, n int, _ rune) []byte { return append(dst, s[i:i+n]...) }))
}

// visible is the first step of all destinations that are read by people.
func visible(dst []byte, s string, i, n int, r rune) []byte {
	switch {
	case r == utf8.RuneError && n == 1:
		return fmt.Appendf(dst, `\x%02x`, s[i])
	case r == '\n':
		return append(dst, `\n`...)
	case r == '\r':
		return append(dst, `\r`...)
	case r == '\t':
		return append(dst, `\t`...)
	case r < 0x20 || r == 0x7f:
		return fmt.Appendf(dst, `\x%02x`, r)
	case r < 0x7f:
		return append(dst, byte(r))
	case !shown(r):
		return fmt.Appendf(dst, `\u{%x}`, r)
	default:
		return append(dst, s[i:i+n]...)
	}
}

// shown reports whether a character that is not ASCII shows as itself: no
// control, no space of another width, nothing bidirectional or of no width, no
// private use, and no mark that is put upon its neighbour.
func shown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Me, r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}
