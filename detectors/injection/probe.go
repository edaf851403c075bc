package injection

import (
	"bytes"
	"math/bits"
	"strings"
)

// Probes. Before an attack somebody looks whether anything breaks: with an
// apostrophe, a closing bracket, a number and an apostrophe, all signs of the
// keyboard at once. None of it does harm, and most of it is no language's grammar;
// it is told by what honest values have besides.

func (a *Analyzer) probe(s *subject) {
	if probes(s) {
		a.hit(Probe, s.full)
	}
}

func probes(s *subject) bool {
	switch s.where {
	case InQuery:
		if s.mask&(quote|round|pipe|at) == 0 {
			return false
		}
		t := bytes.TrimSpace(s.full)
		return (onlySigns(t) || soup(t) || signsInWord(t) || brokenNumber(t) && !measured(s.name)) && !takesSigns(s.name, t) || serverVariable(t) && !measured(s.name)
	case InPath:
		return s.mask&quote != 0 && brokenSegment(s.full)
	}
	return false
}

// onlySigns reports whether a text is nothing but signs that end what an application
// puts a value into: a string, a list of arguments, a filter, a command. People
// try these first to see whether something breaks. What a search for a phrase
// or a group begins with, and an asterisk alone, comes from honest fields.
func onlySigns(t []byte) bool {
	if len(t) == 0 || len(t) > 12 {
		return false
	}
	const signs = "')|`\"*\\(;&"
	ends, seen := false, uint16(0)
	for _, c := range t {
		k := strings.IndexByte(signs, c)
		if k < 0 {
			return false
		}
		seen |= 1 << k
		ends = ends || k < 4
	}
	if bits.OnesCount16(seen) >= 4 {
		return true // all that comes to mind at once
	}
	return len(t) <= 4 && t[0] != '&' && ends && t[0] != '(' && t[0] != '"' && !bytes.Equal(t, []byte("||"))
}

// takesSigns reports whether a parameter is one whose value is such a sign
// honestly: what separates the columns of a table, what its strings stand in,
// an apostrophe in a search that asks for each letter that is typed or has its strings in
// them, and what people write to each other.
func takesSigns(name string, value []byte) bool {
	var buf [32]byte
	low := appendLower(buf[:0], bytesOf(name[:min(len(name), 32)]))
	if (string(value) == "'" || string(value) == "''") && (len(low) == 1 || hasAny(low, "search", "query", "term", "text", "word", "find", "name", "title", "framework")) {
		return true
	}
	if len(value) > 1 && len(bytes.Trim(value, ")")) == 0 && (len(low) == 1 || hasAny(low, "text", "message", "msg", "comment", "body", "note", "title", "search", "query")) {
		return true // a smile without its eyes
	}
	return hasAny(low, "sep", "delim", "quot", "esc", "enclos", "char", "symbol", "sign", "op", "glue", "join", "mark", "key", "punct", "prefix", "suffix")
}

// soup reports whether a text is signs alone, many of them and of many kinds, with
// brackets that do not fit: a face of signs is shorter, a rule of them is of one kind.
func soup(t []byte) bool {
	if len(t) < 8 || len(t) > 100 {
		return false
	}
	var kinds [4]uint64
	for _, c := range t {
		if c <= ' ' || c >= 0x7f || wordByte(c) {
			return false
		}
		kinds[c>>6] |= 1 << (c & 63)
	}
	n := 0
	for _, k := range kinds {
		n += bits.OnesCount64(k)
	}
	return n >= 5 && unbalanced(t)
}

// signsInWord reports whether a text is a word with one run of signs in or behind
// it that has both kinds of quotes, or a quote and brackets that do not fit: what
// tools put into a value to see which of them comes back.
func signsInWord(t []byte) bool {
	if len(t) < 4 || len(t) > 48 {
		return false
	}
	for _, signs := range [...]string{"<'\">", "<\"'>", "'\"<>", "\"'<>", "'\"><", "\"'><"} {
		if k := bytes.Index(t, []byte(signs)); k > 0 && wordByte(t[0]) && bytes.IndexByte(t, ' ') < 0 {
			return true
		}
	}
	from := 0
	for from < len(t) && wordByte(t[from]) {
		from++
	}
	to := len(t)
	for to > from && wordByte(t[to-1]) {
		to--
	}
	run := t[from:to]
	if from == 0 || len(run) < 3 || len(run) > 24 {
		return false
	}
	quotes, ascii := 0, 0
	for _, c := range run {
		switch {
		case wordByte(c) || c <= ' ':
			return false
		case c == '\'' || c == '"' || c == '`':
			quotes |= 1 << (c & 3)
		}
		if c < 0x80 {
			ascii++
		}
	}
	return ascii >= 3 && (bits.OnesCount(uint(quotes)) > 1 && look(run)&(round|angle) != 0 || quotes != 0 && unbalanced(run))
}

// brokenNumber reports whether a text is a number and quotes behind it, or
// before it: 1', 5'", '1.
func brokenNumber(t []byte) bool {
	n := 0
	if len(t) > 1 && len(t) < 12 && t[0] == '\'' && look(t[1:]) == digit {
		return true
	}
	if n < len(t) && t[n] == '-' {
		n++
	}
	from := n
	for n < len(t) && decimal(t[n]) {
		n++
	}
	if n == from || n == len(t) || len(t) > n+3 || t[n] != '\'' && t[n] != '`' && (t[n] != '"' || len(t) == n+1) {
		return false
	}
	for _, c := range t[n:] {
		if c != '\'' && c != '"' && c != '`' && c != ')' {
			return false
		}
	}
	return true
}

// measured reports whether a parameter is one whose numbers have feet, inches or
// minutes of arc, or takes whatever people type.
func measured(name string) bool {
	var buf [32]byte
	low := appendLower(buf[:0], bytesOf(name[:min(len(name), 32)]))
	return len(low) == 1 || hasAny(low, "size", "height", "width", "length", "depth", "diam", "feet", "inch", "lat", "lon", "lng", "coord", "search", "query", "text", "term", "word", "title", "name", "time", "dur", "dist", "desc", "comment", "message")
}

// brokenSegment reports whether a segment of a path is a number and a quote:
// /orders/5'.
func brokenSegment(t []byte) bool {
	for part := range bytes.SplitSeq(t, []byte("/")) {
		if brokenNumber(part) {
			return true
		}
	}
	return false
}

// serverVariable reports whether a text is a variable of a database server and
// nothing else: @@version, @@x.
func serverVariable(t []byte) bool {
	if len(t) < 4 || len(t) > 40 || t[0] != '@' || t[1] != '@' {
		return false
	}
	for _, c := range t[2:] {
		if !wordByte(c) {
			return false
		}
	}
	return true
}
