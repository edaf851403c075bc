package sigma

import "gatewatch/event"

// list reports whether the source may have several values, of which one has
// to match.
func (s source) list() bool { return s < srcURL && event.Field(s).List() }

// listForms makes each value of a list a form.
func (f *forms) listForms(values []string) {
	for _, v := range values[:min(len(values), len(f.text))] {
		if v != "" {
			f.add(v)
		}
	}
}

// lookList searches each value of a list.
func (m *Matcher) lookList(ev *event.Event, id uint16, in *input) {
	f := m.formsOf(ev, id)
	if f.n == 0 {
		m.setAll(in.absent)
		return
	}
	m.setAll(in.exists)
	for i := range f.n {
		m.lookExact(in, f.text[i])
		if in.auto != nil {
			var where spans
			where.only(id, len(f.text[i]))
			m.search(in.auto, f.text[i], &where)
		}
	}
}

// joined writes the values of a list as one text.
func (m *Matcher) joined(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	from := len(m.buf)
	for i, v := range values {
		if i > 0 {
			m.buf = append(m.buf, ',')
		}
		m.buf = append(m.buf, v...)
	}
	return view(m.buf[from:])
}
