package sigma

import (
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// maxAlternatives bounds how many literals stand for one regular expression.
const maxAlternatives = 64

// required returns literals, folded, of which every text that m matches holds
// at least one. It returns nil where there are none worth searching for.
func (m *matcher) required() []string {
	switch m.op {
	case opContains, opPrefix, opSuffix, opExact:
		return []string{lower(m.text)}
	case opGlob:
		best := ""
		for _, g := range m.glob {
			if g[0] == '=' && len(g)-1 > len(best) {
				best = g[1:]
			}
		}
		if best == "" {
			return nil
		}
		return []string{lower(best)}
	case opRegex:
		re, err := syntax.Parse(m.re.String(), syntax.Perl)
		if err != nil {
			return nil
		}
		set := needed(re.Simplify())
		if shortest(set) < 2 {
			return nil
		}
		return set
	default:
		return nil
	}
}

// needed returns literals of which every match of re holds at least one, or
// nil. It errs on the side of nil.
func needed(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return bestRun([]run{literalRun(re)})
	case syntax.OpCapture, syntax.OpPlus:
		return needed(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needed(re.Sub[0])
		}
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			set := needed(sub)
			if set == nil {
				return nil
			}
			all = append(all, set...)
		}
		if len(all) <= maxAlternatives {
			return all
		}
	case syntax.OpConcat:
		return neededConcat(re.Sub)
	}
	return nil
}

// neededConcat picks the best of the parts, after joining the literals that
// stand side by side.
func neededConcat(subs []*syntax.Regexp) []string {
	var best []string
	var runs []run
	flush := func() {
		if set := bestRun(runs); shortest(set) > shortest(best) {
			best = set
		}
		runs = runs[:0]
	}
	for _, sub := range subs {
		for sub.Op == syntax.OpCapture {
			sub = sub.Sub[0]
		}
		switch sub.Op {
		case syntax.OpLiteral:
			runs = append(runs, literalRun(sub))
		case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
			syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpEmptyMatch:
			// they take no text, so what stands around them is still adjacent
		default:
			flush()
			if set := needed(sub); shortest(set) > shortest(best) {
				best = set
			}
		}
	}
	flush()
	return best
}

// run is the bytes of a literal, with -1 where a character can be written in
// ways that folding of ASCII does not cover.
type run []int16

func literalRun(re *syntax.Regexp) run {
	var out run
	for _, r := range re.Rune {
		if r == utf8.RuneError || re.Flags&syntax.FoldCase != 0 && foldsBeyondASCII(r) {
			out = append(out, -1)
			continue
		}
		for _, b := range []byte(string(r)) {
			out = append(out, int16(lowerByte(b)))
		}
	}
	return out
}

// foldsBeyondASCII reports whether another character outside ASCII is the
// same letter: k has the Kelvin sign, s the long s.
func foldsBeyondASCII(r rune) bool {
	if r >= utf8.RuneSelf {
		return true
	}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// bestRun returns the longest stretch of known bytes in adjacent literals.
func bestRun(runs []run) []string {
	var best, cur []byte
	for _, r := range runs {
		for _, b := range r {
			if b < 0 {
				cur = cur[:0]
				continue
			}
			cur = append(cur, byte(b))
			if len(cur) > len(best) {
				best = append(best[:0], cur...)
			}
		}
	}
	if len(best) == 0 {
		return nil
	}
	return []string{string(best)}
}

// shortest is the length of the shortest literal of a set, 0 for none.
func shortest(set []string) int {
	if len(set) == 0 {
		return 0
	}
	n := len(set[0])
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}
