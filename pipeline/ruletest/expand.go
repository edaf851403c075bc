package ruletest

import (
	"strconv"
	"strings"
	"time"
)

// words are what may stand in braces.
var words = [...]string{"{time}", "{iso}", "{n}", "{word}"}

const (
	timeLayout = "02/Jan/2006:15:04:05 -0700"
	isoLayout  = "2006-01-02T15:04:05-07:00"
	maxWord    = 26 // bytes that any of words becomes at most
)

// Text returns the log of the case, each line with a line feed.
func (c *Case) Text() []byte {
	var b []byte
	for i := range c.Parts {
		b = c.Parts[i].append(b)
	}
	return b
}

// size is the most bytes that the part's text can have.
func (p *Part) size() int64 {
	per := int64(len(p.Log)) + 1
	for _, w := range words {
		per += maxWord * int64(strings.Count(p.Log, w))
	}
	return per * int64(p.Times)
}

func (p *Part) append(b []byte) []byte {
	pieces := split(p.Log)
	for n := range p.Times {
		at := p.Start.Add(time.Duration(n) * p.Every).UTC()
		for _, s := range pieces {
			switch s {
			case "{time}":
				b = at.AppendFormat(b, timeLayout)
			case "{iso}":
				b = at.AppendFormat(b, isoLayout)
			case "{n}":
				b = strconv.AppendInt(b, int64(n), 10)
			case "{word}":
				b = appendWord(b, n)
			default:
				b = append(b, s...)
			}
		}
		if b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
	}
	return b
}

// split cuts a text into the words in braces and what lies between them.
func split(s string) []string {
	var out []string
	from := 0
	for i := 0; i < len(s); {
		n := 0
		for _, w := range words {
			if strings.HasPrefix(s[i:], w) {
				n = len(w)
			}
		}
		if n == 0 {
			i++
			continue
		}
		if i > from {
			out = append(out, s[from:i])
		}
		out = append(out, s[i:i+n])
		i += n
		from = i
	}
	if from < len(s) {
		out = append(out, s[from:])
	}
	return out
}

// appendWord writes three digits or more, each as a syllable: what looks like
// an id becomes a slot of the route, a word does not.
func appendWord(b []byte, n int) []byte {
	syllables := [...]string{"ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu"}
	digits := strconv.Itoa(n)
	for range 3 - len(digits) {
		b = append(b, syllables[0]...)
	}
	for _, d := range []byte(digits) {
		b = append(b, syllables[d-'0']...)
	}
	return b
}
