package sigma

import (
	"gatewatch/event"
)

// look finds the atoms that are true for one step's values.
func (m *Matcher) look(ev *event.Event, s *step) {
	in := s.in
	switch s.kind {
	case stepNumber:
		n, ok := m.number(ev, in.src)
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
	if in.src.list() {
		m.lookList(ev, id, in)
		return
	}
	text, ok := m.base(ev, in.src)
	if !ok {
		m.setAll(in.absent)
		return
	}
	if ev.Agent != nil && in.src == fieldSource(event.FieldUserAgent) {
		m.lookAgent(ev, id, in)
		return
	}
	if in.cached > 0 {
		m.lookCached(ev, id, in, text)
		return
	}
	m.lookForms(ev, id, in)
}

// lookAgent is lookCached for an agent that the event's deriver knows.
func (m *Matcher) lookAgent(ev *event.Event, id uint16, in *input) {
	k := &m.agents[ev.Agent.Number]
	if k.agent == ev.Agent {
		m.setAll(k.atoms)
		return
	}
	from := len(m.touched)
	m.lookForms(ev, id, in)
	k.agent, k.atoms = ev.Agent, append(k.atoms[:0], m.touched[from:]...)
	k.number = m.agentList(k.atoms)
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
	text, ok := m.base(ev, in.src)
	if !ok {
		return
	}
	if in.exact != nil {
		f := m.formsOf(ev, id)
		for i := range f.n {
			m.lookExact(in, f.text[i])
		}
	}
	if in.auto == nil {
		return
	}
	m.searchPart(in.auto, id, text, in.plus)
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

// spans says which part of a text belongs to which input. One input may have
// two.
type spans struct {
	input  [maxSpans]uint16
	lo, hi [maxSpans]int
	n      int
}

const maxSpans = 4

func (w *spans) add(id uint16, lo, hi int) {
	if id != noInput && lo < hi {
		w.input[w.n], w.lo[w.n], w.hi[w.n] = id, lo, hi
		w.n++
	}
}

// only makes all n bytes of a text one input's.
func (w *spans) only(id uint16, n int) {
	w.n = 0
	w.add(id, 0, n)
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
	m.scan(a, text, 0, len(text), where)
	m.testAllPending(text, where)
}

// searchChanged goes on with the decoded form of the text that was searched
// last. What is found only looks where that differs, and what is not one
// literal is tested again on the whole.
func (m *Matcher) searchChanged(a *automaton, d *decoding, where *spans) {
	m.scan(a, d.text, max(0, d.lo-int(a.longest)), d.hi, where)
	m.testAllPending(d.text, where)
}

// Lengths from which a text is searched in two and in four parts, side by
// side: each step waits for the one before, and so several wait together.
const (
	minTwo  = 16
	minFour = 48
)

// scan finds the literals that begin in text[from:to].
func (m *Matcher) scan(a *automaton, text string, from, to int, where *spans) {
	parts := 4
	switch n := to - from; {
	case n < minTwo:
		m.scanOne(a, 0, text, from, to, where)
		return
	case n < minFour:
		parts = 2
	}
	n := (to - from) / parts
	var at [4]uint32
	for i := 0; i < n; {
		if parts == 4 {
			i = a.runFour(text[from:], n, i, &at)
		} else {
			i = a.runTwo(text[from:], n, i, &at)
		}
		// What has hits is looked at; what has no row goes on otherwise.
		for (at[0]|at[1]|at[2]|at[3])&stateFlags != 0 {
			sparse := false
			for k := range at[:parts] {
				if at[k]&stateHit != 0 {
					at[k] &^= stateHit
					m.found(a, a.number(at[k]), text, from+k*n+i, where)
				}
				sparse = sparse || at[k]&stateSparse != 0
			}
			if !sparse || i == n {
				break
			}
			for k := range at[:parts] {
				at[k] = a.step(at[k], a.class[text[from+k*n+i]])
			}
			i++
		}
	}
	for k := range parts - 1 {
		m.scanOver(a, at[k], text, from+(k+1)*n, where)
	}
	m.scanOne(a, at[parts-1], text, from+parts*n, to, where)
}

// scanOne goes on from a state at i.
func (m *Matcher) scanOne(a *automaton, s uint32, text string, i, to int, where *spans) {
	for ; i < to; i++ {
		if s = a.step(s, a.class[text[i]]); s&stateHit != 0 {
			s &^= stateHit
			m.found(a, a.number(s), text, i+1, where)
		}
	}
	m.scanOver(a, s, text, to, where)
}

// scanOver goes on from a state into what another part begins with at from,
// for as long as the state is inside a literal that began before.
func (m *Matcher) scanOver(a *automaton, s uint32, text string, from int, where *spans) {
	if s == 0 {
		return
	}
	for i := from; i < len(text) && int(a.depth[a.number(s)]) > i-from; i++ {
		if s = a.step(s, a.class[text[i]]); s&stateHit != 0 {
			s &^= stateHit
			m.found(a, a.number(s), text, i+1, where)
		}
	}
}

func (m *Matcher) testAllPending(text string, where *spans) {
	if len(m.pending) == 0 {
		return
	}
	for j := range where.n {
		m.testPending(where.input[j], text[where.lo[j]:where.hi[j]])
	}
}

// testPending tests the patterns of one input on its part of the text. No two
// of them are the same expression.
func (m *Matcher) testPending(input uint16, text string) {
	var d [lanes]*dfa
	var of [lanes]uint32
	n := 0
	for _, t := range m.pending {
		p := &m.x.patterns[t]
		if p.input != input || m.patSeen[t] == m.epoch {
			continue
		}
		if p.regex == 0 {
			if p.m.op == opRegex {
				m.countRegex()
			}
			if p.m.matchText(text) {
				m.holdsPattern(t)
			}
			continue
		}
		d[n], of[n] = &m.regexes[p.regex-1].quick, t
		if n++; n < lanes {
			continue
		}
		n = 0
		m.countRegex()
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
					m.pending = append(m.pending, h.pattern)
				}
				break
			}
		}
	}
}
