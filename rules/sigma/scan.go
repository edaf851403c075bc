package sigma

import (
	"strings"

	"gatewatch/event"
)

// look finds the atoms that are true for one step's values.
func (m *Matcher) look(ev *event.Event, s *step) {
	in := m.x.inputs[min(int(s.input), len(m.x.inputs)-1)]
	switch s.kind {
	case stepNumber:
		n, ok := ev.Number(event.Field(in.src))
		switch {
		case !ok:
			m.setAll(in.absent)
		case uint64(n) < uint64(len(in.small)):
			m.setAll(in.small[n])
		default:
			digits := ""
			if len(in.texts) > 0 {
				from := len(m.buf)
				m.buf = appendInt(m.buf, n)
				digits = view(m.buf[from:])
			}
			m.atoms = in.appendAtoms(m.atoms[:0], m.x.patterns, n, digits)
			m.setAll(m.atoms)
		}
	case stepAddress:
		a, ok := ev.Address(event.Field(in.src))
		if !ok {
			m.setAll(in.absent)
			return
		}
		m.setAll(in.exists)
		if in.nets != nil {
			if atoms, ok := in.nets.Lookup(a.Unmap().WithZone("")); ok {
				m.setAll(atoms)
			}
		}
	case stepText:
		m.lookText(ev, s.input, in)
	case stepRequest:
		m.lookRequest(ev, s)
	}
}

func (m *Matcher) lookText(ev *event.Event, id uint16, in *input) {
	text, ok := m.base(ev, in.src)
	if !ok {
		m.setAll(in.absent)
		return
	}
	if in.cached > 0 {
		m.lookCached(ev, id, in, text)
		return
	}
	m.lookForms(ev, id, in)
}

// lookCached uses what was found in the same value before. What is found
// depends on the value alone, so this changes no result.
func (m *Matcher) lookCached(ev *event.Event, id uint16, in *input, text string) {
	if len(text) > maxCachedValue {
		m.lookForms(ev, id, in)
		return
	}
	c := &m.caches[in.cached-1]
	atoms, place, ok := c.find(m.seed, text)
	if ok {
		m.setAll(atoms)
		return
	}
	from := len(m.touched)
	m.lookForms(ev, id, in)
	c.put(place, text, m.touched[from:])
}

// lookForms searches all forms of a text value.
func (m *Matcher) lookForms(ev *event.Event, id uint16, in *input) {
	m.setAll(in.exists)
	if in.auto == nil && in.exact == nil {
		return
	}
	f := m.formsOf(ev, id)
	for i := range f.n {
		text := f.text[i]
		m.lookExact(in, text)
		if in.auto != nil {
			var where spans
			where.only(id, len(text))
			m.search(in.auto, text, &where)
		}
	}
}

// lookRequest searches the target, its path and its query. Where the path and
// the query are what stands before and behind the first '?', what is found
// depends on the target alone and is remembered.
func (m *Matcher) lookRequest(ev *event.Event, s *step) {
	cut, split := targetSplit(ev)
	if !split || ev.Target == "" || len(ev.Target) > maxCachedValue {
		m.searchRequest(ev, s, cut, split)
		return
	}
	atoms, place, ok := m.targets.find(m.seed, ev.Target)
	if ok {
		m.setAll(atoms)
		return
	}
	from := len(m.touched)
	m.searchRequest(ev, s, cut, split)
	m.targets.put(place, ev.Target, m.touched[from:])
}

// searchRequest does it: where the target is split as it should be, one pass
// over it finds what is in all three.
func (m *Matcher) searchRequest(ev *event.Event, s *step, cut int, split bool) {
	var auto *automaton
	plain := split && !needsDecoding(ev.Target, plusTarget)
	present := 0
	for i, id := range [...]uint16{s.target, s.path, s.query} {
		if id == noInput {
			continue
		}
		in := m.x.inputs[id]
		text := ev.Target
		switch i {
		case 1:
			text = ev.Path
		case 2:
			text = ev.Query
		}
		if text == "" {
			m.setAll(in.absent)
			continue
		}
		present++
		m.setAll(in.exists)
		auto = in.auto
		if in.exact == nil {
			continue
		}
		if plain {
			m.lookExact(in, text)
			continue
		}
		f := m.formsOf(ev, id)
		for i := range f.n {
			m.lookExact(in, f.text[i])
		}
	}
	if auto == nil {
		return
	}
	if present < 2 || !split {
		for _, id := range [...]uint16{s.target, s.path, s.query} {
			if id == noInput {
				continue
			}
			f := m.formsOf(ev, id)
			for i := range f.n {
				var where spans
				where.only(id, len(f.text[i]))
				m.search(auto, f.text[i], &where)
			}
		}
		return
	}
	var where spans
	where.parts(s, cut, len(ev.Target))
	m.search(auto, ev.Target, &where)
	if plain {
		return
	}
	from := len(m.buf)
	m.buf, cut = appendDecoded(m.buf, ev.Target, plusTarget)
	text := view(m.buf[from:])
	if cut < 0 {
		cut = len(text)
	}
	where.parts(s, cut, len(text))
	m.search(auto, text, &where)
}

// targetSplit reports whether path and query are the target's, cut at its
// first '?', and where that is.
func targetSplit(ev *event.Event) (cut int, ok bool) {
	cut = strings.IndexByte(ev.Target, '?')
	if cut < 0 {
		return len(ev.Target), ev.Path == ev.Target && ev.Query == ""
	}
	return cut, ev.Path == ev.Target[:cut] && ev.Query == ev.Target[cut+1:]
}

// lookExact finds the exact texts that are equal to a value.
func (m *Matcher) lookExact(in *input, text string) {
	if !in.lengths[min(len(text), 255)] {
		return
	}
	from := len(m.buf)
	m.buf = append(m.buf, text...)
	folded := m.buf[from:]
	for i, c := range folded {
		folded[i] = lowerByte(c)
	}
	for _, p := range in.exact[string(folded)] {
		mt := m.x.patterns[p].m
		if !mt.cased || mt.text == text {
			m.setAll(m.x.patterns[p].atoms)
		}
	}
	m.buf = m.buf[:from]
}

// spans says which part of a text belongs to which input: three at most.
type spans struct {
	input  [3]uint16
	lo, hi [3]int
	n      int
}

func (w *spans) only(id uint16, n int) {
	w.input[0], w.lo[0], w.hi[0], w.n = id, 0, n, 1
}

// parts sets the spans of a target with its '?' at cut, or cut at its end.
func (w *spans) parts(s *step, cut, n int) {
	w.n = 0
	add := func(id uint16, lo, hi int) {
		if id != noInput && lo < hi {
			w.input[w.n], w.lo[w.n], w.hi[w.n] = id, lo, hi
			w.n++
		}
	}
	add(s.target, 0, n)
	add(s.path, 0, cut)
	add(s.query, cut+1, n)
}

// search runs the automaton over a text and sets the atoms of what it finds
// within the spans.
func (m *Matcher) search(a *automaton, text string, where *spans) {
	m.texts++
	if m.texts == 0 {
		clear(m.partial)
		m.texts = 1
	}
	m.pending = m.pending[:0]
	switch {
	case len(text) >= minFour:
		m.scanFour(a, text, where)
	case len(text) >= minTwo:
		m.scanTwo(a, text, where)
	default:
		m.scanRest(a, 0, text, 0, where)
	}
	if len(m.pending) > 0 {
		for j := range where.n {
			m.testPending(j, text[where.lo[j]:where.hi[j]])
		}
	}
}

// Lengths from which a text is searched in two and in four parts, side by
// side: each step waits for the one before, and so several wait together. A
// part goes on into the next for as long as it is inside a literal that began
// in its own.
const (
	minTwo  = 24
	minFour = 64
)

func (m *Matcher) scanFour(a *automaton, text string, where *spans) {
	n := len(text) / 4
	t0, t1, t2, t3 := text[:n], text[n:2*n], text[2*n:3*n], text[3*n:4*n]
	t1, t2, t3 = t1[:len(t0)], t2[:len(t0)], t3[:len(t0)]
	var at [4]uint32
	rows, class := a.rows, &a.class
	for i := 0; i < len(t0); {
		s0, s1, s2, s3 := at[0], at[1], at[2], at[3]
		for ; i < len(t0); i++ {
			s0 = rows[s0+uint32(class[t0[i]])]
			s1 = rows[s1+uint32(class[t1[i]])]
			s2 = rows[s2+uint32(class[t2[i]])]
			s3 = rows[s3+uint32(class[t3[i]])]
			if (s0|s1|s2|s3)&stateFlags != 0 {
				i++
				break
			}
		}
		at = [4]uint32{s0, s1, s2, s3}
		// What has hits is looked at; what has no row goes on otherwise.
		for (at[0]|at[1]|at[2]|at[3])&stateFlags != 0 {
			sparse := false
			for k := range at {
				if at[k]&stateHit != 0 {
					at[k] &^= stateHit
					m.found(a, a.number(at[k]), text, k*n+i, where)
				}
				sparse = sparse || at[k]&stateSparse != 0
			}
			if !sparse || i == len(t0) {
				break
			}
			for k := range at {
				at[k] = a.step(at[k], class[text[k*n+i]])
			}
			i++
		}
	}
	for k := range 3 {
		m.scanOver(a, at[k], text, (k+1)*n, where)
	}
	m.scanRest(a, at[3], text, 4*n, where)
}

func (m *Matcher) scanTwo(a *automaton, text string, where *spans) {
	n := len(text) / 2
	t0, t1 := text[:n], text[n:2*n]
	t1 = t1[:len(t0)]
	var s0, s1 uint32
	rows, class := a.rows, &a.class
	for i := 0; i < len(t0); i++ {
		if (s0|s1)&stateSparse == 0 {
			s0 = rows[s0+uint32(class[t0[i]])]
			s1 = rows[s1+uint32(class[t1[i]])]
		} else {
			s0, s1 = a.step(s0, class[t0[i]]), a.step(s1, class[t1[i]])
		}
		if (s0|s1)&stateHit == 0 {
			continue
		}
		if s0&stateHit != 0 {
			s0 &^= stateHit
			m.found(a, a.number(s0), text, i+1, where)
		}
		if s1&stateHit != 0 {
			s1 &^= stateHit
			m.found(a, a.number(s1), text, n+i+1, where)
		}
	}
	m.scanOver(a, s0, text, n, where)
	m.scanRest(a, s1, text, 2*n, where)
}

// scanRest goes on from a state to the end of the text.
func (m *Matcher) scanRest(a *automaton, s uint32, text string, i int, where *spans) {
	for ; i < len(text); i++ {
		if s = a.step(s, a.class[text[i]]); s&stateHit != 0 {
			s &^= stateHit
			m.found(a, a.number(s), text, i+1, where)
		}
	}
}

// scanOver goes on from a state into the part that begins at from.
func (m *Matcher) scanOver(a *automaton, s uint32, text string, from int, where *spans) {
	for i := from; i < len(text) && int(a.depth[a.number(s)]) > i-from; i++ {
		if s = a.step(s, a.class[text[i]]); s&stateHit != 0 {
			s &^= stateHit
			m.found(a, a.number(s), text, i+1, where)
		}
	}
}

// testPending tests the patterns that wait for one part of the text. No two of
// them are the same expression, as one part belongs to one input.
func (m *Matcher) testPending(span int, text string) {
	var d [lanes]*dfa
	var of [lanes]uint32
	n := 0
	for _, t := range m.pending {
		if t.span != span || m.patSeen[t.pattern] == m.epoch {
			continue
		}
		p := &m.x.patterns[t.pattern]
		if p.regex == 0 {
			if p.m.matchText(text) {
				m.holdsPattern(t.pattern)
			}
			continue
		}
		d[n], of[n] = &m.regexes[p.regex-1].quick, t.pattern
		if n++; n < lanes {
			continue
		}
		n = 0
		for k, ok := range matchLanes(&d, text) {
			if ok && m.regexes[m.x.patterns[of[k]].regex-1].confirm(text) {
				m.holdsPattern(of[k])
			}
		}
	}
	for k := range n {
		if m.matches(&m.x.patterns[of[k]], text) {
			m.holdsPattern(of[k])
		}
	}
}

func (m *Matcher) holdsPattern(p uint32) {
	m.patSeen[p] = m.epoch
	m.setAll(m.x.patterns[p].atoms)
}

// found handles the literals that end at end.
func (m *Matcher) found(a *automaton, state uint32, text string, end int, where *spans) {
	if a.out[state] == a.out[state+1] {
		state = a.next[state]
	}
	for ; state != 0; state = a.next[state] {
		for i := a.out[state]; i < a.out[state+1]; i++ {
			h := &a.hits[i]
			if m.patSeen[h.pattern] == m.epoch {
				continue
			}
			p := &m.partial[h.pattern]
			if h.clause != 0 && p.text == m.texts && p.clauses&h.clause != 0 {
				continue
			}
			begin := end - int(h.length)
			for j := range where.n {
				if where.input[j] != h.input || begin < where.lo[j] || end > where.hi[j] ||
					h.start && begin != where.lo[j] || h.end && end != where.hi[j] ||
					h.cased != "" && text[begin:end] != h.cased ||
					h.after != nil && (end == where.hi[j] || !h.after.has(text[end])) {
					continue
				}
				if h.clause == 0 {
					m.holdsPattern(h.pattern)
					break
				}
				if p.text != m.texts {
					p.text, p.clauses = m.texts, 0
				}
				if p.clauses |= h.clause; p.clauses == h.clauses {
					m.pending = append(m.pending, pendingTest{h.pattern, j})
				}
				break
			}
		}
	}
}
