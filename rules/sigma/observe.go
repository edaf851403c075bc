package sigma

import (
	"cmp"
	"math"
	"slices"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// hit is a rule that the event counts for.
type hit struct {
	kind, variant uint16
	rule          uint32
	hash          uint64
	value         string
	number        float64
	steps         uint64
}

// markRule stands in the place of a rule in a hit that only marks its entity.
// It sorts behind all rules.
const markRule = math.MaxUint32

// order sorts hits by kind, entity and rule.
func (h *hit) order() uint64 { return uint64(h.kind)<<48 | uint64(h.variant)<<32 | uint64(h.rule) }

// entity is what the event has for one variant of a kind.
type entity struct {
	epoch   uint32
	present bool
	lo, hi  int // in Matcher.values
}

// observe turns the detections that ev matches into observations.
func (m *Matcher) observe(found []uint32, ev *event.Event, b *observation.Batch) {
	m.missed, m.values = m.missed[:0], m.values[:0]
	if k := m.emissionOf(found); k.plain {
		m.emit(k, ev, b)
	} else {
		m.emitSeveral(found, ev, b)
	}
	for _, r := range m.missed {
		if m.ruleSeen[r] == m.epoch {
			continue
		}
		m.missing[r]++
		for _, other := range m.x.followers[r] {
			m.missing[other]++
		}
	}
}

// emitSeveral is emit for detections that give a rule several entities or values.
func (m *Matcher) emitSeveral(found []uint32, ev *event.Event, b *observation.Batch) {
	m.hits = m.hits[:0]
	for _, d := range found {
		for i := range m.x.dets[d].sinks {
			m.sink(ev, b, &m.x.dets[d].sinks[i])
		}
	}
	sortHits(m.hits)
	for i := 0; i < len(m.hits); {
		h := &m.hits[i]
		e := &m.entities[h.variant]
		kind, variant := h.kind, h.variant
		values := m.values[e.lo:e.hi]
		o := observation.Observation{
			Kind: kind, Hash: m.x.plan.Kinds[kind].Hash(values), Values: b.KeepBytes(values), First: uint32(len(b.Hits)),
		}
		for ; i < len(m.hits) && m.hits[i].kind == kind && m.hits[i].variant == variant; i++ {
			h := &m.hits[i]
			if h.rule == markRule {
				o.Mark = true
				continue
			}
			b.Hits = append(b.Hits, observation.Hit{Rule: h.rule, N: 1, Hash: h.hash, Value: h.value, Number: h.number, Steps: h.steps})
			o.Count++
		}
		b.Obs = append(b.Obs, o)
	}
}

// sink counts the event for one rule: once for each entity that it gives,
// however many of the rule's detections it matches.
func (m *Matcher) sink(ev *event.Event, b *observation.Batch, s *sink) {
	if s.mark {
		e := &m.entities[s.variant]
		if e.epoch != m.epoch {
			m.entity(ev, e, &m.x.variants[s.variant])
		}
		if e.present {
			h := hit{kind: s.kind, variant: s.variant, rule: markRule}
			if s.several {
				h.variant = m.sameEntity(ev, s.kind, s.variant)
			}
			m.hits = append(m.hits, h)
		}
		return
	}
	// Only aliases give a rule several entities, only steps add to a hit.
	if m.ruleSeen[s.rule] == m.epoch && !s.several && s.steps == 0 {
		return
	}
	e := &m.entities[s.variant]
	if e.epoch != m.epoch {
		m.entity(ev, e, &m.x.variants[s.variant])
	}
	if !e.present {
		m.miss(s.rule)
		return
	}
	h := hit{kind: s.kind, variant: s.variant, rule: s.rule, steps: s.steps}
	if s.several {
		h.variant = m.sameEntity(ev, s.kind, s.variant)
	}
	if m.ruleSeen[s.rule] == m.epoch {
		for i := range m.hits {
			if o := &m.hits[i]; o.rule == h.rule && o.variant == h.variant {
				o.steps |= h.steps
				return
			}
		}
	}
	if s.value >= 0 {
		var o observation.Hit
		if !m.measure(ev, b, s, &o) {
			m.miss(s.rule)
			return
		}
		h.hash, h.value, h.number = o.Hash, o.Value, o.Number
	}
	m.ruleSeen[s.rule] = m.epoch
	m.hits = append(m.hits, h)
}

// miss notes that the event lacks something that a rule groups by or counts.
// It counts when no other detection of the rule had it all.
func (m *Matcher) miss(rule uint32) {
	if m.missSeen[rule] != m.epoch {
		m.missSeen[rule] = m.epoch
		m.missed = append(m.missed, rule)
	}
}

// sameEntity returns the first of the kind's variants that reads the same
// entity from the event as the given one: hits of one entity go together.
func (m *Matcher) sameEntity(ev *event.Event, kind, variant uint16) uint16 {
	is := &m.entities[variant]
	for _, v := range m.x.kindVariants[kind] {
		e := &m.entities[v]
		if e.epoch != m.epoch {
			m.entity(ev, e, &m.x.variants[v])
		}
		if e.present && string(m.values[e.lo:e.hi]) == string(m.values[is.lo:is.hi]) {
			return v
		}
	}
	return variant
}

// entity encodes the values of a group-by list.
func (m *Matcher) entity(ev *event.Event, e *entity, v *variant) {
	*e = entity{epoch: m.epoch, lo: len(m.values)}
	for i, f := range v.fields {
		if v.address[i] {
			a, ok := ev.Address(f)
			if !ok {
				return
			}
			m.values = observation.AppendAddr(m.values, a.Unmap().WithZone(""), m.x.ipv6Whole)
			continue
		}
		text, ok := m.fieldText(ev, f)
		if !ok {
			return
		}
		m.values = observation.AppendText(m.values, text)
	}
	e.hi, e.present = len(m.values), true
}

// fieldText is Event.Text without allocation. The text lives as long as the
// event is worked on.
func (m *Matcher) fieldText(ev *event.Event, f event.Field) (string, bool) {
	if f == event.FieldPrincipal && ev.Principal == "" {
		return m.clientGroup(ev)
	}
	from := len(m.buf)
	switch f.Kind() {
	case event.KindNumber:
		n, ok := ev.Number(f)
		if !ok {
			return "", false
		}
		m.buf = appendInt(m.buf, n)
	case event.KindAddress:
		a, ok := ev.Address(f)
		if !ok {
			return "", false
		}
		m.buf = a.AppendTo(m.buf)
	default:
		return m.base(ev, fieldSource(f))
	}
	return view(m.buf[from:]), true
}

// clientGroup is the principal of an event whose log names none: its client, of
// IPv6 the /64 as in every group.
func (m *Matcher) clientGroup(ev *event.Event) (string, bool) {
	a := ev.Client.Unmap().WithZone("")
	if !a.IsValid() {
		return "", false
	}
	from := len(m.buf)
	if a.Is4() || m.x.ipv6Whole {
		m.buf = a.AppendTo(m.buf)
	} else {
		p, _ := a.Prefix(64) // its error is of other lengths
		m.buf = p.AppendTo(m.buf)
	}
	return view(m.buf[from:]), true
}

// counted returns the value that a value_count rule counts. A tuple is hashed
// in the encoding of entities, so that no two tuples look the same.
func (m *Matcher) counted(ev *event.Event, b *observation.Batch, fields []event.Field) (hash uint64, value string, ok bool) {
	if len(fields) == 1 {
		text, ok := m.fieldText(ev, fields[0])
		if !ok {
			return 0, "", false
		}
		return observation.HashValue(text), b.Keep(text[:min(len(text), observation.MaxValue)]), true
	}
	var texts [maxTuple]string
	size := 0
	for i, f := range fields {
		if texts[i], ok = m.fieldText(ev, f); !ok {
			return 0, "", false
		}
		size += len(texts[i])
	}
	from := len(m.buf)
	for i := range fields {
		m.buf = observation.AppendText(m.buf, texts[i])
	}
	hash = observation.HashValue(view(m.buf[from:]))
	from = len(m.buf)
	for i := range fields {
		if i > 0 {
			m.buf = append(m.buf, ", "...)
		}
		m.buf = append(m.buf, texts[i]...)
	}
	return hash, b.KeepBytes(m.buf[from:min(len(m.buf), from+observation.MaxValue)]), true
}

// maxTuple is how many fields a value_count can count together.
const maxTuple = 8

// sortHits sorts by kind and rule a list that is nearly always short and nearly
// in order.
func sortHits(hits []hit) {
	if len(hits) > 24 {
		slices.SortFunc(hits, func(a, b hit) int { return cmp.Compare(a.order(), b.order()) })
		return
	}
	for i := 1; i < len(hits); i++ {
		for j := i; j > 0 && hits[j].order() < hits[j-1].order(); j-- {
			hits[j], hits[j-1] = hits[j-1], hits[j]
		}
	}
}

// sortIDs sorts a list that is nearly always short.
func sortIDs(ids []uint32) {
	if len(ids) > 24 {
		slices.Sort(ids)
		return
	}
	for i := 1; i < len(ids); i++ {
		for j := i; j > 0 && ids[j] < ids[j-1]; j-- {
			ids[j], ids[j-1] = ids[j-1], ids[j]
		}
	}
}
