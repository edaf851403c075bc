package sigma

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"
)

// op is how a matcher compares.
type op uint8

const (
	opContains op = iota + 1
	opPrefix
	opSuffix
	opExact
	opGlob  // wildcards inside
	opRegex // unanchored
	opExists
	opAbsent
	opNumEq
	opNumGte
	opNumLte
	opCIDR
	opFieldRef // compares with another field
	opNever    // a value of an empty list
)

// matcher is one comparison of one value of a rule with a field. Two matchers
// with equal keys on the same source are one in the index.
type matcher struct {
	op    op
	cased bool
	text  string   // literal of the text operators, unfolded
	glob  []string // opGlob: literal parts, see compileGlob
	re    *regexp.Regexp
	num   int64
	cidr  netip.Prefix
	ref   source // opFieldRef: the other field
	shape op     // and how: opExact, opContains, opPrefix or opSuffix
	shown string // as written, for people
}

// key identifies what the matcher compares with.
func (m *matcher) key() string {
	var b strings.Builder
	b.WriteByte('a' + byte(m.op))
	text := m.text
	if m.cased {
		b.WriteByte('C')
	} else {
		b.WriteByte('f')
		text = lower(text)
	}
	switch m.op {
	case opGlob:
		for _, g := range m.glob {
			if !m.cased {
				g = lower(g)
			}
			b.WriteString(g)
			b.WriteByte(0)
		}
	case opRegex:
		b.WriteString(m.re.String())
	case opNumEq, opNumGte, opNumLte:
		for i := range 8 {
			b.WriteByte(byte(uint64(m.num) >> (8 * i)))
		}
	case opCIDR:
		b.WriteString(m.cidr.String())
	case opFieldRef:
		b.WriteByte(byte(m.shape))
		b.WriteByte(byte(m.ref))
	default:
		b.WriteString(text)
	}
	return b.String()
}

// part is a piece of a Sigma pattern: a literal, or one wildcard.
type part struct {
	lit  string
	wild byte // '*', '?' or 0
}

// parsePattern reads Sigma's wildcards. A backslash takes their meaning from
// '*', '?' and from a backslash itself; before anything else it is an
// ordinary character.
func parsePattern(s string) []part {
	var out []part
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			out = append(out, part{lit: lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '?' || s[i+1] == '\\'):
			i++
			lit.WriteByte(s[i])
		case c == '*' || c == '?':
			flush()
			if c == '*' && len(out) > 0 && out[len(out)-1].wild == '*' {
				continue // "**" is "*"
			}
			out = append(out, part{wild: c})
		default:
			lit.WriteByte(c)
		}
	}
	flush()
	return out
}

// plain returns the literal of a pattern without wildcards.
func plain(parts []part) (string, bool) {
	switch {
	case len(parts) == 0:
		return "", true
	case len(parts) == 1 && parts[0].wild == 0:
		return parts[0].lit, true
	default:
		return "", false
	}
}

// textMatcher makes the cheapest matcher of a pattern.
func textMatcher(parts []part, cased bool, shown string) *matcher {
	m := &matcher{cased: cased, shown: shown}
	n := len(parts)
	star := func(i int) bool { return parts[i].wild == '*' }
	lit := func(i int) bool { return parts[i].wild == 0 }
	switch {
	case n == 0:
		m.op = opAbsent // the empty string: absent and empty are the same in an event
	case n == 1 && star(0):
		m.op = opExists
	case n == 1 && lit(0):
		m.op, m.text = opExact, parts[0].lit
	case n == 2 && star(0) && lit(1):
		m.op, m.text = opSuffix, parts[1].lit
	case n == 2 && lit(0) && star(1):
		m.op, m.text = opPrefix, parts[0].lit
	case n == 3 && star(0) && lit(1) && star(2):
		m.op, m.text = opContains, parts[1].lit
	default:
		m.op, m.glob = opGlob, compileGlob(parts)
	}
	return m
}

// A compiled glob is a list of its parts as strings: "*" and "?" stand for
// the wildcards, a literal has a leading '='.
func compileGlob(parts []part) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		if p.wild != 0 {
			out[i] = string(p.wild)
		} else {
			out[i] = "=" + p.lit
		}
	}
	return out
}

// globMatch matches the whole of s. '?' is one character, '*' any number of
// them; a byte that is not UTF-8 is one character. It takes time linear in
// len(s) times the length of the pattern at worst.
func globMatch(glob []string, s string, cased bool) bool {
	i, g := 0, 0
	backI, backG := 0, -1
	for {
		if g < len(glob) {
			switch part := glob[g]; part[0] {
			case '*':
				if g == len(glob)-1 {
					return true
				}
				backI, backG = i, g
				g++
				continue
			case '?':
				if i < len(s) {
					i, g = i+runeLen(s[i:]), g+1
					continue
				}
			default:
				if hasPrefix(s[i:], part[1:], cased) {
					i, g = i+len(part)-1, g+1
					continue
				}
			}
		} else if i == len(s) {
			return true
		}
		// Let the last star take one byte more.
		if backG < 0 || backI >= len(s) {
			return false
		}
		backI += runeLen(s[backI:])
		i, g = backI, backG+1
	}
}

func runeLen(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lower folds ASCII letters only: log text is bytes, and case folding beyond
// ASCII changes lengths.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func equal(a, b string, cased bool) bool {
	if cased {
		return a == b
	}
	return equalFold(a, b)
}

func hasPrefix(s, prefix string, cased bool) bool {
	return len(s) >= len(prefix) && equal(s[:len(prefix)], prefix, cased)
}

func hasSuffix(s, suffix string, cased bool) bool {
	return len(s) >= len(suffix) && equal(s[len(s)-len(suffix):], suffix, cased)
}

func contains(s, sub string, cased bool) bool {
	if cased || len(sub) == 1 && lowerByte(sub[0]) == sub[0] && (sub[0] < 'a' || sub[0] > 'z') {
		return strings.Contains(s, sub)
	}
	for i := 0; i+len(sub) <= len(s); i++ {
		if equalFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}

// matchText tests one form of a text value.
func (m *matcher) matchText(s string) bool {
	switch m.op {
	case opContains:
		return contains(s, m.text, m.cased)
	case opPrefix:
		return hasPrefix(s, m.text, m.cased)
	case opSuffix:
		return hasSuffix(s, m.text, m.cased)
	case opExact:
		return equal(s, m.text, m.cased)
	case opGlob:
		return globMatch(m.glob, s, m.cased)
	case opRegex:
		return m.re.MatchString(s)
	default:
		return false
	}
}
