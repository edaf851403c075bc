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
			s = s[i:]
			j := strings.IndexByte(s, '+')
			if j < 0 {
				return false
			}
			end := strings.IndexByte(s[:j], ' ')
			if end < 0 {
				if end = strings.IndexAny(s[:j], "\t\""); end < 0 {
					return true
				}
			}
			s = s[end:]
		}
	}
	return false
}

// decoding is a text decoded once.
type decoding struct {
	text string
	cut  int // length of what came before the first '?', -1 where there is none
	// Only [lo, hi) of the text is not as it was; lo is hi where nothing changed.
	lo, hi int
}

// decode appends s decoded once to m.buf: %XX becomes its byte, '+' a space
// where the mode says so, anything else stays. The text lives as long as the
// event is worked on.
func (m *Matcher) decode(s string, mode plusMode) decoding {
	from := len(m.buf)
	var d decoding
	m.buf, d = appendDecoded(m.buf, s, mode)
	d.text = view(m.buf[from:])
	return d
}

// appendDecoded appends s decoded once. It leaves the text of d to others.
func appendDecoded(dst []byte, s string, mode plusMode) (out []byte, d decoding) {
	plus := mode == plusQuery
	start := len(dst)
	d.cut, d.lo = -1, -1
	from := 0 // what lies before is copied
	for i := 0; i < len(s); i++ {
		if s[i] > '?' || !decodeStops[s[i]] {
			continue
		}
		c, width := s[i], 1
		switch c {
		case '%':
			if i+2 >= len(s) {
				continue
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi|lo >= 16 {
				continue
			}
			c, width = hi<<4|lo, 3
		case '+':
			if !plus {
				continue
			}
			c = ' '
		case '?':
			if d.cut < 0 {
				d.cut = len(dst) - start + i - from
			}
			plus = plus || mode >= plusTarget
			continue
		default: // a blank or a quote
			plus = plus && mode != plusLine
			continue
		}
		dst = append(append(dst, s[from:i]...), c)
		i += width - 1
		from = i + 1
		d.hi = len(dst) - start
		if d.lo < 0 {
			d.lo = d.hi - 1
		}
	}
	if d.lo < 0 {
		d.lo = 0
	}
	return append(dst, s[from:]...), d
}

// decodeStops are the bytes at which decoding looks up.
var decodeStops = [64]bool{'%': true, '+': true, '?': true, ' ': true, '\t': true, '"': true}

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
