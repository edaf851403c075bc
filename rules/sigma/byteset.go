package sigma

import (
	"regexp/syntax"
	"unicode/utf8"
)

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

// addFirst adds the bytes that a match of the expressions, one behind the
// other, can begin with. It reports whether they can match nothing at all, so
// that what comes behind them counts as well. The set may be too large but
// never too small.
func (s *byteSet) addFirst(subs []*syntax.Regexp) (empty bool) {
	for _, re := range subs {
		if !s.addFirstOf(re) {
			return false
		}
	}
	return true
}

func (s *byteSet) addFirstOf(re *syntax.Regexp) (empty bool) {
	switch re.Op {
	case syntax.OpLiteral:
		s.addRune(re.Rune[0], re.Flags&syntax.FoldCase != 0)
		return false
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if r >= utf8.RuneSelf {
					s.addHigh()
					break
				}
				s.add(byte(r))
			}
		}
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return s.addFirstOf(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		s.addFirstOf(re.Sub[0])
		return true
	case syntax.OpRepeat:
		return s.addFirstOf(re.Sub[0]) || re.Min == 0
	case syntax.OpConcat:
		return s.addFirst(re.Sub)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if s.addFirstOf(sub) {
				empty = true
			}
		}
		return empty
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	default: // any character
		*s = byteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
		return re.Op == syntax.OpNoMatch
	}
}

// addRune adds the first byte of a character. One beyond ASCII stands for all
// bytes there, invalid ones included.
func (s *byteSet) addRune(r rune, fold bool) {
	if r >= utf8.RuneSelf || fold && foldsBeyondASCII(r) {
		s.addHigh()
	}
	if r < utf8.RuneSelf {
		s.add(byte(r))
		if fold {
			s.add(lowerByte(byte(r)))
			if c := lowerByte(byte(r)); 'a' <= c && c <= 'z' {
				s.add(c - 'a' + 'A')
			}
		}
	} else if fold { // it may be the twin of an ASCII letter
		for _, c := range []byte("kKsS") {
			s.add(c)
		}
	}
}

func (s *byteSet) addHigh() { s[2], s[3] = ^uint64(0), ^uint64(0) }

// foldsBeyondASCII reports whether a letter has a twin outside ASCII.
func foldsBeyondASCII(r rune) bool { return len(characters(r, true)) != 1 }
