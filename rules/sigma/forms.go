package sigma

import (
	"strings"

	"gatewatch/event"
)

// formsOf returns the texts of an input: as logged, and decoded where that
// differs. It is worked out once an event.
func (m *Matcher) formsOf(ev *event.Event, id uint16) *forms {
	f := &m.forms[id]
	if f.epoch == m.epoch {
		return f
	}
	f.epoch, f.n, f.isDecoded = m.epoch, 0, 0
	in := m.x.inputs[id]
	switch in.src.kind() {
	case event.KindAddress:
		if a, ok := ev.Address(event.Field(in.src)); ok {
			from := len(m.buf)
			m.buf = a.AppendTo(m.buf)
			f.add(view(m.buf[from:]))
		}
		return f
	case event.KindNumber:
		if n, ok := m.number(ev, in.src); ok {
			from := len(m.buf)
			m.buf = appendInt(m.buf, n)
			f.add(view(m.buf[from:]))
		}
		return f
	}
	if in.src.list() {
		f.listForms(ev.Texts(event.Field(in.src)))
		return f
	}
	if text, ok := m.base(ev, in.src); ok {
		m.addForms(f, text, in.plus)
		if in.src == srcURL {
			if full, front := m.fullURL(ev); front > 0 {
				m.addForms(f, full, in.plus)
			}
		}
	}
	return f
}

// fullURL returns scheme://host/target, and how long what stands before the
// target is: nothing where the host is not known or the target has it.
func (m *Matcher) fullURL(ev *event.Event) (full string, front int) {
	if ev.Host == "" || strings.Contains(ev.Target, "://") {
		return ev.Target, 0
	}
	scheme := ev.Scheme
	if scheme == "" {
		scheme = "http"
	}
	from := len(m.buf)
	m.buf = append(m.buf, scheme...)
	m.buf = append(m.buf, "://"...)
	m.buf = append(m.buf, ev.Host...)
	front = len(m.buf) - from
	m.buf = append(m.buf, ev.Target...)
	return view(m.buf[from:]), front
}

func (f *forms) add(text string) {
	f.text[f.n] = text
	f.n++
}

func (m *Matcher) addForms(f *forms, text string, mode plusMode) {
	f.add(text)
	if needsDecoding(text, mode) {
		if d := m.decode(text, mode); d.lo < d.hi {
			f.isDecoded |= 1 << f.n
			f.add(d.text)
		}
	}
}

// base returns a text source as logged. Text that is empty is absent.
func (m *Matcher) base(ev *event.Event, src source) (string, bool) {
	var s string
	switch src {
	case srcURL:
		s = ev.Target
	case srcMethod:
		s = ev.MethodOriginal
		if s == "" {
			s = ev.Method
		}
	case srcVersion:
		if ev.Protocol != "" {
			from := len(m.buf)
			m.buf = append(m.buf, "HTTP/"...)
			m.buf = append(m.buf, ev.Protocol...)
			s = view(m.buf[from:])
		}
	case fieldSource(event.FieldAttackClass):
		s = m.joined(ev.Texts(event.FieldAttackClass))
	case srcTimestamp, srcDate, srcClock:
		s = m.clock(ev, src)
	case srcExtension:
		s = extension(ev.Path)
	case fieldSource(event.FieldClientPrefix):
		if p := ev.Prefix(); p.IsValid() {
			from := len(m.buf)
			m.buf = p.AppendTo(m.buf)
			s = view(m.buf[from:])
		}
	default:
		var ok bool
		if s, ok = ev.Text(event.Field(src)); !ok {
			return "", false
		}
	}
	return s, s != ""
}

// extension returns what follows the last dot of a path's last segment.
func extension(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[i+1:]
	}
	return ""
}
