package injection

import "strings"

// The first look: which bytes a text has. Every class needs some of them.
type mask uint32

const (
	quote     mask = 1 << iota // ' " `
	angle                      // < >
	round                      // ( )
	curly                      // { }
	square                     // [ ]
	dollar                     // $
	semicolon                  // ;
	pipe                       // | &
	star                       // *
	backslash                  // \
	hash                       // #
	control                    // NUL, CR, LF and other control characters
	percent                    // something encoded
	slash                      // /
	dot                        // .
	space                      // blank, or + in a query
	equals                     // =
	colon                      // :
	high                       // bytes above 127
	at                         // @
	bang                       // ! ^ ~
	dash                       // -
	comma                      // ,
	digit
)

var looks = func() (t [256]mask) {
	for i := range 32 {
		t[i] = control
	}
	t[127] = control
	for i := 128; i < 256; i++ {
		t[i] = high
	}
	for _, x := range []struct {
		bytes string
		m     mask
	}{
		{"'\"`", quote},
		{"<>", angle},
		{"()", round},
		{"{}", curly},
		{"[]", square},
		{"$", dollar},
		{";", semicolon},
		{"|&", pipe},
		{"*", star},
		{"\\", backslash},
		{"#", hash},
		{"%", percent},
		{"/", slash},
		{".", dot},
		{" ", space},
		{"=", equals},
		{":", colon},
		{"@", at},
		{"!^~", bang},
		{"-", dash},
		{",", comma},
		{"0123456789", digit},
	} {
		for i := range len(x.bytes) {
			t[x.bytes[i]] = x.m
		}
	}
	return t
}()

func look[T string | []byte](s T) (m mask) {
	for i := range len(s) {
		m |= looks[s[i]]
	}
	return m
}

// strange are bytes that ordinary names, numbers, dates, paths, lists and
// addresses have no need of.
const strange = quote | angle | round | curly | square | dollar | semicolon | pipe | star | backslash | hash | control | high | bang

// suspectPath reports whether a path as logged may hold an attack.
func suspectPath(s string) bool {
	m := look(s)
	if m&(strange|percent) != 0 {
		return true
	}
	return m&dot != 0 && (strings.Contains(s, "..") || strings.Contains(s, "/.")) || m&equals != 0 || m&colon != 0
}

// suspectValue reports whether a value that is decoded once may hold an
// attack: it has strange bytes, or words that could be a phrase of SQL, a file,
// an address or a class.
func suspectValue(s []byte, m mask) bool {
	return m&(strange|percent) != 0 || packedText(s) || m&dot != 0 && len(s) == 3 && s[0] == '.' && s[1] == '.' || len(s) >= 4 && (vocabulary.find(s) != 0 || s[0] == '/' || s[0] == '@' && s[1] == '@' || m&equals != 0 && s[0]|0x20 == 'i' && s[1]|0x20 == 'f')
}

// sixBits are the values of base64's signs, of both alphabets; 0xff for all others.
var sixBits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// packedText reports whether s may be text in base64: that of each three bytes
// none is above 127, of four signs leaves one choice in eight, and that none is
// below a blank, still less. So tokens that are no text are told by their first few
// signs. What is in words is told by the rest, which has to have both cases.
func packedText(s []byte) bool {
	if len(s) < 12 {
		return false
	}
	for i := 0; i+4 <= 12; i += 4 {
		a, b, c, d := sixBits[s[i]], sixBits[s[i+1]], sixBits[s[i+2]], sixBits[s[i+3]]
		if a|b|c|d > 63 { // 0xff sets the high bits
			return i == 8 && len(s) == 12 && s[11] == '=' // short enough to be padded
		}
		if a >= 32 || b&8 != 0 || c&2 != 0 || a < 8 && a != 2 && a != 3 {
			return false
		}
	}
	lower, upper := 0, 0
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		case sixBits[c] > 63 && c != '=':
			return false
		}
	}
	return lower > 0 && upper > 0
}
