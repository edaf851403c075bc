package sigma

import (
	"slices"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// emission is what some detections give together to the windows, worked out once: the rules
// that they feed, in order and each once. Events match few combinations of detections.
type emission struct {
	found  []uint32 // the detections
	used   bool
	plain  bool // nothing has to be worked out with the event but values
	groups []emissionGroup
	hits   []sink
}

// emissionGroup is what one entity gets.
type emissionGroup struct {
	kind, variant uint16
	first, last   uint32 // in emission.hits
	mark          bool
	// same: the hits are the same with every event of one status, and are in a batch once for as
	// long as that does not change.
	same   bool
	status int32
	batch  *observation.Batch // the last one that they are in
	resets uint64             // as long as it has this number
	at     uint32             // there
}

const maxEmissions = 256 // a power of two

// emissionOf returns the emission of some detections.
func (m *Matcher) emissionOf(found []uint32) *emission {
	h := uint32(2166136261) // FNV-1a
	for _, d := range found {
		h = (h ^ d) * 16777619
	}
	k := &m.emissions[(h^h>>16)%maxEmissions]
	if !k.used || !slices.Equal(k.found, found) {
		m.learnEmission(k, found)
	}
	return k
}

// learnEmission works out an emission. It is not plain where entities are read in
// several ways, and where rules get their value from several fields.
func (m *Matcher) learnEmission(k *emission, found []uint32) {
	k.found, k.used, k.plain = append(k.found[:0], found...), true, true
	k.groups, k.hits = k.groups[:0], k.hits[:0]
	m.hits = m.hits[:0]
	sinks := m.sinks[:0]
	for _, d := range found {
		for _, s := range m.x.dets[d].sinks {
			if s.several {
				k.plain = false
			}
			i := slices.IndexFunc(sinks, func(o sink) bool { return o.mark == s.mark && o.rule == s.rule && (!s.mark || o.kind == s.kind) })
			if i < 0 {
				sinks = append(sinks, s)
				m.hits = append(m.hits, hit{kind: s.kind, variant: s.variant, rule: s.rule, number: float64(len(sinks) - 1)})
				if s.mark {
					m.hits[len(m.hits)-1].rule = markRule
				}
				continue
			}
			o := &sinks[i]
			o.steps |= s.steps
			if o.variant != s.variant || o.value != s.value || o.measures != s.measures {
				k.plain = false
			}
		}
	}
	m.sinks = sinks
	if !k.plain {
		return
	}
	sortHits(m.hits)
	for i := range m.hits {
		h := &m.hits[i]
		if n := len(k.groups); n == 0 || k.groups[n-1].kind != h.kind || k.groups[n-1].variant != h.variant {
			k.groups = append(k.groups, emissionGroup{kind: h.kind, variant: h.variant, first: uint32(len(k.hits)), last: uint32(len(k.hits))})
		}
		g := &k.groups[len(k.groups)-1]
		if h.rule == markRule {
			g.mark = true
			continue
		}
		k.hits = append(k.hits, sinks[int(h.number)])
		g.last++
	}
	for i := range k.groups {
		g := &k.groups[i]
		g.same = !slices.ContainsFunc(k.hits[g.first:g.last], func(s sink) bool {
			return s.value >= 0 && (!s.measures || m.x.values[s.value][0] != event.FieldRefused)
		})
	}
}

// emit turns a plain emission into observations.
func (m *Matcher) emit(k *emission, ev *event.Event, b *observation.Batch) {
	for i := range k.groups {
		g := &k.groups[i]
		hits := k.hits[g.first:g.last]
		e := &m.entities[g.variant]
		if e.epoch != m.epoch {
			m.entity(ev, e, &m.x.variants[g.variant])
		}
		if !e.present {
			for j := range hits {
				m.miss(hits[j].rule)
			}
			continue
		}
		first, n := g.at, uint32(len(hits))
		if !g.same || g.batch != b || g.status != ev.Status || g.resets != b.Resets() {
			first = uint32(len(b.Hits))
			for j := range hits {
				s := &hits[j]
				h := observation.Hit{Rule: s.rule, N: 1, Steps: s.steps}
				if s.value >= 0 && !m.measure(ev, b, s, &h) {
					m.miss(s.rule)
					continue
				}
				b.Hits = append(b.Hits, h)
			}
			n = uint32(len(b.Hits)) - first
			if g.batch = nil; n == uint32(len(hits)) { // else what is missing has to be counted again
				g.batch, g.status, g.resets, g.at = b, ev.Status, b.Resets(), first
			}
		}
		if n == 0 && !g.mark {
			continue
		}
		values := m.values[e.lo:e.hi]
		b.Obs = append(b.Obs, observation.Observation{
			Kind: g.kind, Hash: m.x.plan.Kinds[g.kind].Hash(values), Values: b.KeepBytes(values), Mark: g.mark, First: first, Count: n,
		})
	}
}

// measure fills in what a rule counts or measures of the event, and reports whether that is there.
func (m *Matcher) measure(ev *event.Event, b *observation.Batch, s *sink, h *observation.Hit) bool {
	if s.measures {
		n, ok := ev.Number(m.x.values[s.value][0])
		h.Number = float64(n)
		return ok
	}
	// Rules that count the same mostly come one after another.
	c := &m.count
	if c.epoch != m.epoch || c.of != s.value {
		c.epoch, c.of = m.epoch, s.value
		c.hash, c.value, c.ok = m.counted(ev, b, m.x.values[s.value])
	}
	h.Hash, h.Value = c.hash, c.value
	return c.ok
}
