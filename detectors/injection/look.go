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
	return m&(strange|percent) != 0 || m&dot != 0 && len(s) == 3 && s[0] == '.' && s[1] == '.' || len(s) >= 4 && (vocabulary.find(s) != 0 || s[0] == '/' || m&equals != 0 && s[0]|0x20 == 'i' && s[1]|0x20 == 'f')
}
