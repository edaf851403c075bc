package escape

import (
	"strings"
	"unicode/utf8"
)

// SyslogParam makes s the value of a parameter of structured data (RFC 5424,
// section 6.3.3), without its quotes.
func SyslogParam(s string, limit int) string {
	return string(fit(nil, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		if r == '"' || r == '\\' || r == ']' {
			return append(dst, '\\', byte(r))
		}
		at := len(dst)
		dst = visible(dst, s, i, n, r)
		if dst[at] == '\\' { // an escape of ours: its backslash is text to the reader
			dst = append(dst[:at], `\`+string(dst[at:])...)
		}
		return dst
	}))
}

// SyslogToken makes s a field of the header of RFC 5424 or a name of structured
// data: visible ASCII without blank, =, ] and ", and "-" where nothing is left.
// It is cut at limit without a mark, as there is no room for one.
func SyslogToken(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		if limit > 0 && b.Len() == limit {
			break
		}
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`=]"`, r) {
			r = '_'
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

const (
	// maxLine is how long a line of a mail header should be, and maxWord how
	// long an encoded word may be (RFC 5322 and RFC 2047).
	maxLine, maxWord = 76, 75
	wordOpen         = "=?utf-8?q?"
	wordClose        = "?="
)

// Header makes s the value of an unstructured mail header such as Subject,
// folded into lines that end with CRLF and a blank but for the last. used is
// how much of the first line is taken by the name. What is not ASCII, would
// be taken for an encoded word, or is long and has blanks side by side, is written as encoded words. The limit holds
// for the text before it is encoded.
func Header(s string, used, limit int) string {
	s = Text(s, limit)
	// A line that is folded at several blanks loses some of them with many readers.
	plain := !strings.Contains(s, "=?") && (used+len(s) <= maxLine || !strings.Contains(s, "  "))
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] < utf8.RuneSelf
	}
	if plain {
		return foldPlain(s, used)
	}
	return encodeWords(s, used)
}

// foldPlain breaks ASCII text at its blanks. A line never consists of blanks
// alone, which some would take for the end of the header.
func foldPlain(s string, used int) string {
	var b strings.Builder
	line := used
	for i, word := range strings.Split(s, " ") {
		if i > 0 {
			if word != "" && line > 1 && line+1+len(word) > maxLine {
				b.WriteString("\r\n")
				line = 0
			}
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += len(word)
	}
	return b.String()
}

func encodeWords(s string, used int) string {
	var b strings.Builder
	b.WriteString(wordOpen)
	length, line := len(wordOpen), used+len(wordOpen)
	for _, r := range s {
		code := appendQ(nil, r)
		if length+len(code)+len(wordClose) > maxWord || line+len(code)+len(wordClose) > maxLine {
			b.WriteString(wordClose + "\r\n " + wordOpen)
			length, line = len(wordOpen), 1+len(wordOpen)
		}
		b.Write(code)
		length += len(code)
		line += len(code)
	}
	b.WriteString(wordClose)
	return b.String()
}

// appendQ appends a character in the Q encoding; a character is never divided
// between two words.
func appendQ(dst []byte, r rune) []byte {
	const hex = "0123456789ABCDEF"
	if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
		return append(dst, byte(r))
	}
	if r == ' ' {
		return append(dst, '_')
	}
	for _, c := range []byte(string(r)) {
		dst = append(dst, '=', hex[c>>4], hex[c&15])
	}
	return dst
}
