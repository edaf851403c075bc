package sigma

import (
	"cmp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatewatch/event"
)

const (
	maxAlternatives = 64  // literals of one clause
	maxClass        = 8   // characters of a class that are written out
	maxClauses      = 4   // clauses of one pattern
	maxLiteral      = 64  // characters of a literal that are looked at
	ordinaryShare   = 0.3 // how many ordinary values are taken to hold a text that is in one of them
	tooCommon       = 0.6 // a clause that holds oftener announces nothing
	helpful         = 0.2 // one behind the rarest has to be rarer: finding it costs more than it saves
)

// clause is a set of folded literals of which every match holds one.
type clause struct {
	lits  []string
	after *byteSet // what comes right behind the literal, nil where anything may
}

// required returns clauses that all hold of every text that m matches, the
// rarest first. It returns nil where nothing worth searching for is known.
func (m *matcher) required(src source) []clause {
	switch m.op {
	case opContains, opPrefix, opSuffix, opExact:
		return []clause{{lits: []string{lower(m.text)}}}
	case opGlob:
		var clauses []clause
		for _, g := range m.glob {
			if g[0] == '=' {
				clauses = append(clauses, clause{lits: []string{lower(g[1:])}})
			}
		}
		return chooseClauses(clauses, src, 1)
	case opRegex:
		re, err := syntax.Parse(m.re.String(), syntax.Perl)
		if err != nil {
			return nil
		}
		f := analyse(re.Simplify(), 0)
		return chooseClauses(f.all(), src, tooCommon)
	default:
		return nil
	}
}

// chooseClauses keeps the rarest clauses, none commoner than the limit.
func chooseClauses(clauses []clause, src source, limit float64) []clause {
	seen := map[string]bool{}
	var out []clause
	for _, c := range clauses {
		key := strings.Join(c.lits, "\x00")
		if len(c.lits) > 0 && !slices.Contains(c.lits, "") && !seen[key] && frequency(c.lits, src) <= limit {
			seen[key] = true
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b clause) int { return cmp.Compare(frequency(a.lits, src), frequency(b.lits, src)) })
	for i := range out {
		if i == maxClauses || i > 0 && frequency(out[i].lits, src) > helpful {
			return out[:i]
		}
	}
	return out
}

// facts is what is known of the texts that a regular expression matches.
type facts struct {
	exact []string // all texts that it matches, nil where that is not known
	need  []clause // every match holds one text of each of these
}

func (f facts) all() []clause {
	if f.exact != nil {
		return append(slices.Clip(f.need), clause{lits: f.exact})
	}
	return f.need
}

// best is the set to use where only one can be.
func (f facts) best() []string {
	var best []string
	for _, c := range f.all() {
		best = rarer(best, c.lits)
	}
	return best
}

// analyse works out the facts of re. Literals are folded; a letter that has
// a twin outside ASCII, such as the Kelvin sign for k, is written out in all
// its forms where its case does not matter.
func analyse(re *syntax.Regexp, depth int) facts {
	if depth > 200 {
		return facts{}
	}
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return facts{exact: []string{""}}
	case syntax.OpLiteral:
		if len(re.Rune) > maxLiteral { // its begin says enough
			begin := *re
			begin.Rune = re.Rune[:maxLiteral]
			return facts{need: analyse(&begin, depth).all()}
		}
		parts := make([]facts, len(re.Rune))
		for i, r := range re.Rune {
			parts[i] = facts{exact: characters(r, re.Flags&syntax.FoldCase != 0)}
		}
		return concat(parts, nil)
	case syntax.OpCharClass:
		return facts{exact: class(re.Rune)}
	case syntax.OpCapture:
		return analyse(re.Sub[0], depth+1)
	case syntax.OpPlus:
		return facts{need: analyse(re.Sub[0], depth+1).all()}
	case syntax.OpQuest:
		if f := analyse(re.Sub[0], depth+1); f.exact != nil {
			return facts{exact: union(f.exact, []string{""})}
		}
	case syntax.OpConcat:
		parts := make([]facts, len(re.Sub))
		for i, sub := range re.Sub {
			parts[i] = analyse(sub, depth+1)
		}
		return concat(parts, re.Sub)
	case syntax.OpAlternate:
		exact, need := []string{}, []string{}
		for _, sub := range re.Sub {
			f := analyse(sub, depth+1)
			if exact != nil && f.exact != nil {
				exact = union(exact, f.exact)
			} else {
				exact = nil
			}
			if b := f.best(); need != nil && b != nil {
				need = union(need, b)
			} else {
				need = nil
			}
		}
		if exact != nil || need == nil {
			return facts{exact: exact}
		}
		return facts{need: []clause{{lits: need}}}
	}
	return facts{}
}

// concat joins the facts of what stands side by side: texts that are known
// exactly are multiplied as long as they stay few. subs are the expressions
// of the parts, nil for the characters of one literal.
func concat(parts []facts, subs []*syntax.Regexp) facts {
	var need []clause
	whole := true
	cur := []string{""}
	for i, p := range parts {
		need = append(need, p.need...)
		next := product(cur, p.exact)
		if next != nil {
			cur = next
			continue
		}
		whole = false
		c := clause{lits: cur}
		if subs != nil {
			var after byteSet
			if !after.addFirst(subs[i:]) {
				c.after = &after
			}
		}
		need = append(need, c)
		cur = p.exact
		if cur == nil {
			cur = []string{""}
		}
	}
	if whole {
		return facts{exact: cur, need: need}
	}
	return facts{need: append(need, clause{lits: cur})}
}

func product(a, b []string) []string {
	if b == nil || len(a)*len(b) > maxAlternatives {
		return nil
	}
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	return out
}

// union returns the set of both, or nil when it grows too large.
func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxAlternatives {
		return nil
	}
	return out
}

// characters returns the folded forms of one character of a literal, or nil
// where bytes that are no character could stand for it.
func characters(r rune, fold bool) []string {
	if r == utf8.RuneError {
		return nil
	}
	out := []string{lower(string(r))}
	if fold {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			out = union(out, []string{lower(string(f))})
		}
	}
	return out
}

// class returns the characters of a small class, given as ranges.
func class(ranges []rune) []string {
	out := []string{}
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > 2*maxClass {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			c := characters(r, false)
			if c == nil {
				return nil
			}
			if out = union(out, c); len(out) > maxClass {
				return nil
			}
		}
	}
	return out
}

// rarer returns the set of which ordinary requests hold a member less often.
func rarer(a, b []string) []string {
	switch {
	case len(b) == 0 || slices.Contains(b, ""):
		return a
	case len(a) == 0 || frequency(b, fieldSource(event.FieldTarget)) < frequency(a, fieldSource(event.FieldTarget)):
		return b
	default:
		return a
	}
}

// frequency guesses how many ordinary values of a source hold one of the
// literals, as a fraction. Only comparisons of it matter.
func frequency(set []string, src source) float64 {
	blank := 0.3 // requests have few, other texts are full of them
	if src.inRequest() {
		blank = 0.003
	}
	sum := 0.0
	for _, s := range set {
		p := 60.0
		for _, c := range []byte(s) {
			switch {
			case 'a' <= c && c <= 'z':
				p *= 0.06
			case '0' <= c && c <= '9':
				p *= 0.04
			case c == '/':
				p *= 0.1
			case c == ' ' || c == '+':
				p *= blank
			case c == ',':
				p *= 0.01
			case c == '=' || c == '&' || c == '.' || c == '-' || c == '_' || c == '%':
				p *= 0.03
			default:
				p *= 0.0005
			}
		}
		if p < ordinaryShare && isOrdinary(s, src) {
			p = ordinaryShare
		}
		sum += min(p, 1)
	}
	return sum
}
