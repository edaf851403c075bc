package sigma

import (
	"regexp"
	"regexp/syntax"
)

// regex is a regular expression of the rules, made ready.
type regex struct {
	// quick matches whatever the expression does. Where the expression counts
	// far, it matches more: it does not count, and so has few states.
	quick *nfa
	loose bool // quick matches more
	exact *nfa // for what quick matches, nil where it is too large
	re    *regexp.Regexp
}

// maxCount is how far quick counts.
const maxCount = 8

// newRegex returns nil for an expression that regexp has to serve alone.
func newRegex(re *regexp.Regexp) *regex {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	exact := newNFA(tree)
	if tree, err = syntax.Parse(re.String(), syntax.Perl); err != nil || !loosen(tree) {
		if exact == nil {
			return nil
		}
		return &regex{quick: exact, re: re}
	}
	quick := newNFA(tree)
	if quick == nil {
		return nil
	}
	return &regex{quick: quick, loose: true, exact: exact, re: re}
}

// loosen makes x{m,n} with a large m or n mean that many x or more, with a
// small m. It reports whether there was any.
func loosen(re *syntax.Regexp) (changed bool) {
	if re.Op == syntax.OpRepeat && max(re.Min, re.Max) > maxCount {
		re.Min, re.Max, changed = min(re.Min, 2), -1, true
	}
	for _, sub := range re.Sub {
		changed = loosen(sub) || changed
	}
	return changed
}

const (
	maxRegexMemory = 256 << 10 // bytes of one expression's states in one matcher
	minRegexMemory = 64 << 10
	maxAllMemory   = 8 << 20 // bytes of all, as long as each has the least
)

// regexMemory is how much each of n expressions may use.
func regexMemory(n int) int {
	return max(minRegexMemory, min(maxRegexMemory, maxAllMemory/max(n, 1)))
}

// regexRun is one goroutine's states for a regex.
type regexRun struct {
	x     *regex
	quick dfa
	exact dfa
}

func (r *regexRun) init(x *regex, memory int) {
	r.x = x
	r.quick.init(x.quick, memory/2)
	if x.exact != nil {
		r.exact.init(x.exact, memory/2)
	}
}

func (r *regexRun) match(text string) bool { return r.quick.match(text) && r.confirm(text) }

// confirm tests a text that quick matches.
func (r *regexRun) confirm(text string) bool {
	switch {
	case !r.x.loose:
		return true
	case r.x.exact != nil:
		return r.exact.match(text)
	default:
		return r.x.re.MatchString(text)
	}
}

// lanes is how many automata read a text side by side: each waits for memory
// at each byte, and so they wait together. More than two run out of registers.
const lanes = 2

// matchLanes runs several quick automata, all different, over one text, and
// says which match.
func matchLanes(d *[lanes]*dfa, text string) (matched [lanes]bool) {
	var at [lanes]uint32
	for i := range d {
		if d[i].n.always {
			return matchRest(d, text)
		}
		at[i] = d[i].start()
	}
	at0, at1 := at[0], at[1]
	rows0, rows1 := d[0].rows, d[1].rows
	class0, class1 := &d[0].n.ascii, &d[1].n.ascii
	for i := 0; i < len(text); {
		c := text[i]
		to0 := rows0[at0+uint32(class0[c])]
		to1 := rows1[at1+uint32(class1[c])]
		if to0 > rowSpecial && to1 > rowSpecial {
			at0, at1 = to0, to1
			i++
			continue
		}
		at = [lanes]uint32{at0, at1}
		width, over := 1, false
		for k := range d {
			at[k], width = d[k].step(text[i:], at[k])
			over = over || at[k] <= rowSpecial
		}
		i += width
		if over {
			for k := range d {
				matched[k] = at[k] == rowMatch || at[k] > rowSpecial && d[k].run(text, i, at[k])
			}
			return matched
		}
		at0, at1 = at[0], at[1]
		rows0, rows1 = d[0].rows, d[1].rows
	}
	at = [lanes]uint32{at0, at1}
	for k := range d {
		matched[k] = d[k].ends(at[k])
	}
	return matched
}

// matchRest does the same one after the other.
func matchRest(d *[lanes]*dfa, text string) (matched [lanes]bool) {
	for k := range d {
		matched[k] = d[k].match(text)
	}
	return matched
}
