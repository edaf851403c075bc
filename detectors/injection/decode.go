package injection

import (
	"bytes"
	"unicode/utf8"
)

// How a text was disguised, as far as undoing it shows.
type disguise uint8

const (
	twice    disguise = 1 << iota // still encoded after one round
	overlong                      // UTF-8 in more bytes than needed, or broken so that old decoders take it for ASCII
	zero                          // NUL bytes
	unicoded                      // %u0027
	needless                      // letters and digits as escapes
	spelled                       // plain words letter by letter in percent
	longer                        // well-formed but for being longer than needed
)

// rounds is how often a text is decoded at most: payloads are encoded twice or
// three times to pass a filter in front of a server.
const rounds = 5

// unescape undoes percent-encoding once, and + where plus is set. What is no
// valid escape stays.
func unescape(dst, s []byte, plus bool) ([]byte, disguise) {
	var d disguise
	letters, run, other := 0, 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+' && plus:
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			b := byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2]))
			dst = append(dst, b)
			i += 2
			switch {
			case letter(b):
				run++
				letters = max(letters, run)
				continue
			case b >= 0x80 || b < ' ':
				other = true // binary: some clients write each byte of it so
			}
		case c == '%' && i+5 < len(s) && s[i+1]|0x20 == 'u' && isHex(s[i+2:i+6]):
			r := rune(hexNumber(s[i+2 : i+6]))
			if fold(r) < 0x80 {
				d |= needless
			}
			dst = utf8.AppendRune(dst, r)
			d |= unicoded
			i += 5
		default:
			dst = append(dst, c)
		}
		run = 0
	}
	if letters >= 3 && !other {
		d |= spelled
	}
	return dst, d
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func isHex(s []byte) bool {
	for _, c := range s {
		if hexDigit(c) < 0 {
			return false
		}
	}
	return len(s) > 0
}

func hexNumber(s []byte) (n int) {
	for _, c := range s {
		n = n<<4 | hexDigit(c)
	}
	return n
}

// undo undoes, in one pass, whatever of the other encodings is in s: percent
// once more, HTML entities, backslash escapes, overlong UTF-8, full-width and
// enclosed letters. It drops NUL bytes.
func undo(dst, s []byte) ([]byte, disguise) {
	var d disguise
	lone := lonePercents(s)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '%' && lone && i+1 < len(s) && letter(s[i+1]) && (i+2 >= len(s) || hexDigit(s[i+1]) < 0 || hexDigit(s[i+2]) < 0):
			i++
		case c == 0:
			d |= zero
			i++
		case c == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			dst = append(dst, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			d |= twice
			i += 3
		case c == '%' && i+5 < len(s) && s[i+1]|0x20 == 'u' && isHex(s[i+2:i+6]):
			dst = utf8.AppendRune(dst, fold(rune(hexNumber(s[i+2:i+6]))))
			d |= unicoded
			i += 6
		case c == '0' && i+3 < len(s) && s[i+1] == 'x' && hexText(s[i+2:i+4]) != 0:
			dst = append(dst, hexText(s[i+2:i+4]))
			d |= twice
			i += 4
		case c == '&':
			if r, n := entity(s[i:]); n > 0 {
				if r != 0 {
					dst = utf8.AppendRune(dst, fold(r))
				}
				i += n
				continue
			}
			dst = append(dst, c)
			i++
		case c == '\\':
			if r, n := backslashed(s[i:]); n > 0 {
				if n == 6 && s[i+1] == 'u' && r < 0x80 && (letter(byte(r)) || decimal(byte(r))) {
					d |= needless
				}
				dst = utf8.AppendRune(dst, fold(r))
				i += n
				continue
			}
			dst = append(dst, c)
			i++
		case c >= 0x80:
			if n := cutBreak(s[i:]); n > 0 || lineOf(s[i:], &n) {
				dst = append(dst, '\r', '\n')
				i += n
				continue
			}
			r, n := lenient(s[i:])
			if n == 0 { // a byte that is no text
				dst = append(dst, c)
				i++
				continue
			}
			if r < 0x80 {
				d |= overlong
				if n > 1 && s[i+1]&0xC0 == 0x80 && r > ' ' {
					d |= longer
				}
				if r == 0 {
					i += n
					continue
				}
			}
			dst = utf8.AppendRune(dst, fold(r))
			i += n
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, d
}

// lonePercents reports whether letters stand between percent signs one by one, %a%b%c.
// IIS drops a sign that begins no escape.
func lonePercents(s []byte) bool {
	for i := 0; i+5 < len(s); i++ {
		k := bytes.IndexByte(s[i:], '%')
		if k < 0 {
			return false
		}
		i += k
		if i+5 < len(s) && letter(s[i+1]) && s[i+2] == '%' && letter(s[i+3]) && s[i+4] == '%' && letter(s[i+5]) {
			return true
		}
	}
	return false
}

// cutBreak returns the length of characters at the start of s of which what cuts
// them to their last byte makes a line break, 0 for none. Each alone is a letter.
func cutBreak(s []byte) int {
	if s[0] == 0xc4 || s[0] == 0xe5 {
		for _, x := range [...]string{"\u560d\u560a", "\u560a\u560d", "\u010d\u010a"} {
			if hasPrefixAny(s, x) {
				return len(x)
			}
		}
	}
	// Other pairs are words, too; so a header has to follow.
	if s[0] < 0xe0 || s[0] > 0xef || len(s) < 8 || s[2]&0x3f != 0x0d || s[5]&0x3f != 0x0a || s[3]&0xf0 != 0xe0 || !headerFollows(s[6:]) {
		return 0
	}
	first, _ := utf8.DecodeRune(s)
	second, _ := utf8.DecodeRune(s[3:])
	if first&0xff != 0x0d || second&0xff != 0x0a {
		return 0
	}
	return 6
}

// lineOf reports whether a separator of lines or paragraphs that only Unicode has stands
// at the start of s and a header behind it, and how long it is.
func lineOf(s []byte, n *int) bool {
	if hasPrefixAny(s, "\u2028", "\u2029") && headerFollows(s[3:]) {
		*n = 3
		return true
	}
	if hasPrefixAny(s, "\u0085") && headerFollows(s[2:]) {
		*n = 2
		return true
	}
	return false
}

// headerFollows reports whether s begins with the name of a header and its colon.
func headerFollows(s []byte) bool {
	var buf [40]byte
	low := appendLower(buf[:0], s[:min(len(s), len(buf))])
	k := bytes.IndexByte(low, ':')
	return k > 0 && header(low)
}

// hexText is what generators of paths write as 0x2e, 0x2f and 0x5c.
func hexText(s []byte) byte {
	switch {
	case s[0] == '2' && s[1]|0x20 == 'e':
		return '.'
	case s[0] == '2' && s[1]|0x20 == 'f':
		return '/'
	case s[0] == '5' && s[1]|0x20 == 'c':
		return '\\'
	}
	return 0
}

// lenient decodes a character of UTF-8 as careless decoders do: overlong forms
// are taken, and a lead byte of an overlong form before plain ASCII gives it.
func lenient(s []byte) (rune, int) {
	if r, n := utf8.DecodeRune(s); r != utf8.RuneError {
		return r, n
	}
	c := s[0]
	tail := func(i int) (rune, bool) {
		if i < len(s) && s[i]&0xC0 == 0x80 {
			return rune(s[i] & 0x3F), true
		}
		return 0, false
	}
	if c == 0xC0 || c == 0xC1 {
		if b, ok := tail(1); ok {
			return rune(c&1)<<6 | b, 2
		}
		if len(s) > 1 {
			// What should follow is no part of a character; old decoders take its low bits.
			if s[1] < 0x80 && c == 0xC0 && s[1] > 0x20 {
				return rune(s[1]), 2
			}
			return rune(c&1)<<6 | rune(s[1]&0x3F), 2
		}
		return 0, 0
	}
	// 0xE0 0x80 0xAF, 0xF0 0x80 0x80 0xAF, 0xF8 ..., 0xFC ...: leading zeros.
	var n int
	switch c {
	case 0xE0:
		n = 3
	case 0xF0:
		n = 4
	case 0xF8:
		n = 5
	case 0xFC:
		n = 6
	default:
		return 0, 0
	}
	var r rune
	for i := 1; i < n; i++ {
		b, ok := tail(i)
		if !ok {
			return 0, 0
		}
		r = r<<6 | b
	}
	if r >= 0x80 {
		return 0, 0
	}
	return r, n
}

// fold maps characters that servers, databases and browsers take for ASCII to
// it: full-width forms, enclosed letters and digits, typographic quotes, and
// the full stops that host names may use.
func fold(r rune) rune {
	switch {
	case r < 0x80:
		return r
	case 0xFF01 <= r && r <= 0xFF5E:
		return r - 0xFF01 + '!'
	case 0xFE50 <= r && r <= 0xFE6B:
		if c := smallForms[r-0xFE50]; c != ' ' {
			return rune(c)
		}
		return r
	case r == 0x3000 || r == 0xA0 || r == 0x2028 || r == 0x2029:
		return ' '
	case 0x2460 <= r && r <= 0x2468:
		return r - 0x2460 + '1'
	case r == 0x24EA:
		return '0'
	case 0x24B6 <= r && r <= 0x24CF:
		return r - 0x24B6 + 'a'
	case 0x24D0 <= r && r <= 0x24E9:
		return r - 0x24D0 + 'a'
	case r == 0x3002 || r == 0xFF61:
		return '.'
	case r == 0x2018 || r == 0x2019 || r == 0x02BC || r == 0x02B9 || r == 0x2032:
		return '\''
	case r == 0x201C || r == 0x201D || r == 0x02BA || r == 0x2033:
		return '"'
	case r == 0x2215 || r == 0x2044 || r == 0x29F8:
		return '/'
	case r == 0x2216 || r == 0x29F5 || r == 0x29F9:
		return '\\'
	case r == 0x017F:
		return 's'
	case r == 0x212A:
		return 'k'
	case r == 0x0131:
		return 'i'
	}
	return r
}

// smallForms are the small variants of U+FE50 to U+FE6B, a blank for those that
// are none of ASCII.
const smallForms = ", . ;:?! (){}  #&*+-<>= \\$%@"

// entity decodes an HTML character reference at the start of s: what it stands
// for and its length, 0 for none.
func entity(s []byte) (rune, int) {
	if len(s) < 3 {
		return 0, 0
	}
	if s[1] == '#' {
		i, base := 2, 10
		if s[2]|0x20 == 'x' {
			i, base = 3, 16
		}
		n, from := 0, i
		for ; i < len(s) && i < from+8; i++ {
			v := hexDigit(s[i])
			if v < 0 || v >= base {
				break
			}
			n = n*base + v
		}
		if i == from || n > utf8.MaxRune {
			return 0, 0
		}
		if i < len(s) && s[i] == ';' {
			i++
		}
		return rune(n), i
	}
	for _, e := range entities {
		if len(s) > len(e.name) && bytes.EqualFold(s[1:1+len(e.name)], []byte(e.name)) {
			n := 1 + len(e.name)
			if n < len(s) && s[n] == ';' {
				return e.r, n + 1
			}
			if e.bare {
				return e.r, n
			}
		}
	}
	return 0, 0
}

// entities are the references that payloads use; browsers take those marked
// bare without a semicolon too.
var entities = [...]struct {
	name string
	r    rune
	bare bool
}{
	{"lt", '<', true},
	{"gt", '>', true},
	{"quot", '"', true},
	{"apos", '\'', false},
	{"amp", '&', true},
	{"tab", '\t', false},
	{"newline", '\n', false},
	{"colon", ':', false},
	{"lpar", '(', false},
	{"rpar", ')', false},
	{"sol", '/', false},
	{"bsol", '\\', false},
	{"grave", '`', false},
	{"equals", '=', false},
	{"nbsp", ' ', true},
	{"period", '.', false},
	{"comma", ',', false},
	{"semi", ';', false},
	{"lbrace", '{', false},
	{"rbrace", '}', false},
	{"lcub", '{', false},
	{"rcub", '}', false},
	{"dollar", '$', false},
	{"num", '#', false},
	{"lbrack", '[', false},
	{"rbrack", ']', false},
	{"excl", '!', false},
	{"percnt", '%', false},
	{"plus", '+', false},
}

// backslashed decodes an escape of JavaScript, C, Java or CSS at the start of
// s. Escapes of single letters other than those below stay: in paths of
// Windows they are none.
func backslashed(s []byte) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch c := s[1]; {
	case c == 'x' && len(s) >= 4 && isHex(s[2:4]):
		return rune(hexNumber(s[2:4])), 4
	case c == 'u' && len(s) >= 6 && isHex(s[2:6]):
		return rune(hexNumber(s[2:6])), 6
	case c == 'u' && len(s) >= 5 && s[2] == '{':
		end := bytes.IndexByte(s[:min(len(s), 11)], '}')
		if end > 3 && isHex(s[3:end]) {
			if n := hexNumber(s[3:end]); n <= utf8.MaxRune {
				return rune(n), end + 1
			}
		}
	case c == '0' && len(s) >= 4 && octal(s[2]) && octal(s[3]):
		return rune(s[2]-'0')<<3 | rune(s[3]-'0'), 4
	case (c == '0' || c == '1') && len(s) >= 4 && octal(s[2]) && octal(s[3]):
		return rune(c-'0')<<6 | rune(s[2]-'0')<<3 | rune(s[3]-'0'), 4
	case c == '/' || c == '"':
		return rune(c), 2 // of JSON
	case c == '0' && len(s) > 5 && isHex(s[1:6]): // CSS: \00003c
		n := 6
		if n < len(s) && isHex(s[n:n+1]) {
			n++
		}
		if v := hexNumber(s[1:n]); v < 0x80 && v > 0x1f {
			return rune(v), n
		}
	}
	return 0, 0
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// decode fills a.once and a.full from a text as logged.
func (a *Analyzer) decode(s string, plus bool) disguise {
	raw := append(a.spare[:0], s...)
	a.spare = raw
	once, d := unescape(a.once[:0], raw, plus)
	a.once = once
	d |= a.undoAll(once)
	return d
}

// undoAll fills a.full with what is left of s after all rounds.
func (a *Analyzer) undoAll(s []byte) disguise {
	full, d := undo(a.full[:0], s)
	for range rounds - 1 {
		if bytes.Equal(full, s) {
			break
		}
		prev := append(a.spare[:0], full...)
		a.spare = prev
		var more disguise
		full, more = undo(full[:0], prev)
		d |= more
		if len(full) == len(prev) && bytes.Equal(full, prev) {
			break
		}
	}
	if d&twice != 0 && bytes.IndexByte(s, ' ') < 0 && bytes.IndexByte(s, '%') >= 0 {
		// A form that was encoded twice: its blanks are signs of addition by now.
		for i, c := range full {
			if c == '+' {
				full[i] = ' '
			}
		}
	}
	a.full = full
	return d
}
