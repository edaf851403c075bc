package sigma

import (
	"strings"
	"unsafe"
)

// plusMode says where a '+' is a space when a value is decoded.
type plusMode uint8

const (
	plusLiteral plusMode = iota // nowhere
	plusQuery                   // everywhere: the value is a query
	plusTarget                  // behind the first '?'
	plusLine                    // from a '?' to the next blank or quote
)

// needsDecoding reports whether decoding can change s.
func needsDecoding(s string, mode plusMode) bool {
	if strings.IndexByte(s, '%') >= 0 {
		return true
	}
	switch mode {
	case plusQuery:
		return strings.IndexByte(s, '+') >= 0
	case plusTarget:
		_, s, _ = strings.Cut(s, "?")
		return strings.IndexByte(s, '+') >= 0
	case plusLine:
		// Time stamps and agents are full of '+' that stay.
		for {
			i := strings.IndexByte(s, '?')
			if i < 0 {
				return false
			}
			for s = s[i+1:]; len(s) > 0 && s[0] != ' ' && s[0] != '\t' && s[0] != '"'; s = s[1:] {
				if s[0] == '+' {
					return true
				}
			}
		}
	}
	return false
}

// appendDecoded appends s decoded once: %XX becomes its byte, '+' a space
// where the mode says so, anything else stays. cut is the length of what came
// before the first '?' of s, or -1 where it has none.
func appendDecoded(dst []byte, s string, mode plusMode) (out []byte, cut int) {
	plus := mode == plusQuery
	start := len(dst)
	cut = -1
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '%':
			if i+2 < len(s) {
				if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi|lo < 16 {
					c = hi<<4 | lo
					i += 2
				}
			}
		case '+':
			if plus {
				c = ' '
			}
		case '?':
			if cut < 0 {
				cut = len(dst) - start
			}
			if mode >= plusTarget {
				plus = true
			}
		case ' ', '\t', '"':
			if mode == plusLine {
				plus = false
			}
		}
		dst = append(dst, c)
	}
	return dst, cut
}

// unhex returns the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}

// view returns b as a string that shares its memory.
func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
