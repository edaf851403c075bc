package sigma

import (
	"strings"

	"gatewatch/event"
)

// lookRequest finds what is in the target, its path and query, and the URL.
// Where path and query are what stands before and behind the first '?', that
// depends on the URL alone and is remembered.
func (m *Matcher) lookRequest(ev *event.Event, s *step) {
	r := targetParts{full: ev.Target}
	if s.url != noInput {
		r.full, r.front = m.fullURL(ev)
	}
	r.cut, r.split = targetSplit(ev)
	if !r.split || ev.Target == "" || len(r.full) > maxCachedValue-2 {
		m.searchRequest(ev, s, &r)
		return
	}
	key := r.full
	if r.front > 0 { // where the target begins belongs to it
		from := len(m.buf)
		m.buf = append(append(m.buf, r.full...), byte(r.front), byte(r.front>>8))
		key = view(m.buf[from:])
	}
	atoms, place, ok := m.targets.find(m.seed, key)
	if ok {
		m.setAll(atoms)
		return
	}
	from := len(m.touched)
	m.searchRequest(ev, s, &r)
	m.targets.put(place, key, m.touched[from:])
}

// targetParts is how an event's target is divided.
type targetParts struct {
	full  string // the URL, or the target where nobody asks for it or the host is not known
	front int    // where the target begins in it
	cut   int    // of the first '?' in the target, its length where there is none
	split bool   // path and query are what stands before and behind that
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

func (m *Matcher) searchRequest(ev *event.Event, s *step, r *targetParts) {
	ids := [...]uint16{s.target, s.path, s.query, s.url}
	texts := [...]string{ev.Target, ev.Path, ev.Query, ev.Target}
	plain := r.split && r.front == 0 && !needsDecoding(ev.Target, plusTarget)
	var auto *automaton
	for i, id := range ids {
		if id == noInput {
			continue
		}
		in := m.x.inputs[id]
		if texts[i] == "" {
			m.setAll(in.absent)
			continue
		}
		m.setAll(in.exists)
		auto = in.auto
		switch {
		case in.exact == nil:
		case plain:
			m.lookExact(in, texts[i])
		default:
			f := m.formsOf(ev, id)
			for k := range f.n {
				m.lookExact(in, f.text[k])
			}
		}
	}
	if auto == nil {
		return
	}
	if r.split {
		m.searchTarget(ev, auto, s, r)
		return
	}
	// What is named path and query is not that of the target.
	m.searchTarget(ev, auto, &step{target: s.target, path: noInput, query: noInput, url: s.url}, r)
	for i := 1; i <= 2; i++ {
		if ids[i] != noInput {
			m.searchPart(auto, ids[i], texts[i], m.x.inputs[ids[i]].plus)
		}
	}
}

// searchPart searches a text that is one input's, and its decoded form.
func (m *Matcher) searchPart(auto *automaton, id uint16, text string, mode plusMode) {
	var where spans
	where.only(id, len(text))
	m.search(auto, text, &where)
	if !needsDecoding(text, mode) {
		return
	}
	if d := m.decode(text, mode); d.lo < d.hi {
		where.only(id, len(d.text))
		m.searchChanged(auto, &d, &where)
	}
}

// searchTarget searches the target in one pass for all that ask for it or a
// part of it. What it holds the URL holds too, so that of that only what
// begins before the target remains.
func (m *Matcher) searchTarget(ev *event.Event, auto *automaton, s *step, r *targetParts) {
	var where spans
	where.parts(s, r.cut, len(ev.Target))
	m.search(auto, ev.Target, &where)
	var d decoding
	if needsDecoding(ev.Target, plusTarget) {
		if d = m.decode(ev.Target, plusTarget); d.lo < d.hi {
			if d.cut < 0 {
				d.cut = len(d.text)
			}
			where.parts(s, d.cut, len(d.text))
			m.searchChanged(auto, &d, &where)
		}
	}
	if r.front == 0 {
		return
	}
	if strings.ContainsAny(ev.Host, "?%") { // decoded, the URL ends otherwise than the target
		m.searchPart(auto, s.url, r.full, plusTarget)
		return
	}
	where.only(s.url, len(r.full))
	m.scan(auto, r.full, 0, r.front, &where)
	m.testAllPending(r.full, &where)
	if d.lo < d.hi {
		from := len(m.buf)
		m.buf = append(append(m.buf, r.full[:r.front]...), d.text...)
		full := view(m.buf[from:])
		where.only(s.url, len(full))
		m.scan(auto, full, 0, r.front, &where)
		m.testAllPending(full, &where)
	}
}

// parts sets the spans of a target with its '?' at cut, or cut at its end.
func (w *spans) parts(s *step, cut, n int) {
	w.n = 0
	w.add(s.target, 0, n)
	w.add(s.url, 0, n)
	w.add(s.path, 0, cut)
	w.add(s.query, cut+1, n)
}
