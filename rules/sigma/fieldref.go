package sigma

import (
	"net/netip"
	"strings"

	"gatewatch/event"
)

// fieldRef reads the name of a field that the item's field is compared with.
func (d *detection) fieldRef(src source, m *modifiers, v *expanded) []*matcher {
	ref, ok := lookupSource(v.text, d.tax)
	if !ok {
		unknownField(d.p, at(d.file, v.node), v.text)
		return nil
	}
	if ref == src {
		return d.refuseValue(v, "name another field", "%s is compared with itself", src)
	}
	if m.shape == "" && src.kind() != ref.kind() && src.kind() != event.KindText && ref.kind() != event.KindText {
		return d.refuseValue(v, "compare fields that hold the same", "%s and %s hold different things and are never equal", src, ref)
	}
	shape := map[string]op{"": opExact, "contains": opContains, "startswith": opPrefix, "endswith": opSuffix}[m.shape]
	return []*matcher{{op: opFieldRef, shape: shape, ref: ref, cased: m.cased, shown: "the value of " + v.text}}
}

// refers compares two fields of the event: numbers as numbers, addresses as
// addresses, anything else as texts, as logged with as logged and decoded with
// decoded. Neither may be absent.
func (m *Matcher) refers(ev *event.Event, p *pattern) bool {
	src, ref := m.x.inputs[p.input].src, p.m.ref
	if p.m.shape == opExact && src.kind() == ref.kind() {
		switch src.kind() {
		case event.KindNumber:
			a, ok1 := m.number(ev, src)
			b, ok2 := m.number(ev, ref)
			return ok1 && ok2 && a == b
		case event.KindAddress:
			a, ok1 := address(ev, src)
			b, ok2 := address(ev, ref)
			return ok1 && ok2 && a == b
		}
	}
	// The memory of forms is kept per input, so it does not move.
	a, b := m.formsOf(ev, p.input), m.formsOf(ev, p.ref)
	for i := range a.n {
		for j := range b.n {
			if (a.logged(i) && b.logged(j) || a.decoded(i) && b.decoded(j)) && m.compareTexts(p.m, a.text[i], b.text[j]) {
				return true
			}
		}
	}
	return false
}

func address(ev *event.Event, src source) (netip.Addr, bool) {
	a, ok := ev.Address(event.Field(src))
	return a.Unmap().WithZone(""), ok
}

// logged reports whether a form is the text as logged.
func (f *forms) logged(i uint8) bool { return f.isDecoded&(1<<i) == 0 }

// decoded reports whether a form is the text once decoded: also one as logged
// that decoding leaves as it is.
func (f *forms) decoded(i uint8) bool {
	return f.isDecoded&(1<<i) != 0 || i+1 == f.n || f.isDecoded&(1<<(i+1)) == 0
}

// compareTexts takes time linear in the texts: both are chosen by others.
func (m *Matcher) compareTexts(mt *matcher, a, b string) bool {
	switch mt.shape {
	case opExact:
		return a == b || !mt.cased && equalFold(a, b)
	case opPrefix:
		return hasPrefix(a, b, mt.cased)
	case opSuffix:
		return len(a) >= len(b) && hasPrefix(a[len(a)-len(b):], b, mt.cased)
	}
	if len(a) < len(b) {
		return false
	}
	if mt.cased {
		return strings.Contains(a, b)
	}
	return strings.Contains(m.folded(a), m.folded(b))
}

// folded returns s in lower case, in memory of this event.
func (m *Matcher) folded(s string) string {
	from := len(m.buf)
	m.buf = append(m.buf, s...)
	for i := from; i < len(m.buf); i++ {
		m.buf[i] = lowerByte(m.buf[i])
	}
	return view(m.buf[from:])
}
