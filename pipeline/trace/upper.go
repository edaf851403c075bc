package trace

import (
	"slices"
	"strings"

	"gatewatch/detectors/observation"
)

// feedUp enters a firing into the windows of the correlations that count it.
func (t *Trace) feedUp(f *observation.Finding, out []Count) []Count {
	from := &t.plan.Kinds[f.Kind]
	var card observation.Card
	if n := len(f.Items); n > 0 {
		card = f.Items[n-1].Card
	}
	carried := func(name string) (string, bool) {
		if at := slices.Index(from.Fields, name); at >= 0 {
			if values := from.Values(f.Values); values != nil {
				return values[at], true
			}
			return "", false
		}
		return observation.CardField(&card, name)
	}
	for id := range t.plan.Rules {
		r := &t.plan.Rules[id]
		at := slices.Index(r.Inputs, f.Rule)
		if at < 0 {
			continue
		}
		values, absent := t.upperValues(f, r, at, &card)
		hit := observation.Hit{Rule: uint32(id), N: 1}
		for i, step := range r.Steps {
			if step == t.plan.Rules[f.Rule].ID {
				hit.Steps |= 1 << i
			}
		}
		if r.ValueField != "" {
			var texts []string
			for name := range strings.SplitSeq(r.ValueField, ",") {
				text, ok := carried(name)
				if !ok {
					absent = append(absent, name)
				}
				texts = append(texts, text)
			}
			hit.Value = strings.Join(texts, ", ")
			hit.Hash = observation.HashValue(strings.Join(texts, "\x00"))
		}
		if len(absent) > 0 {
			out = append(out, Count{Rule: r, Absent: absent})
			continue
		}
		out = append(out, t.count(values, &hit, 0, f.Key.Time))
	}
	return out
}

// upperValues encodes the entity of a rule that a firing of its input at
// belongs to, or says what the firing lacks for that.
func (t *Trace) upperValues(f *observation.Finding, r *observation.Rule, at int, card *observation.Card) (values string, absent []string) {
	from, to := &t.plan.Kinds[f.Kind], &t.plan.Kinds[r.Kind]
	names := to.Fields
	if r.Reads != nil {
		names = r.Reads[at]
	}
	var b []byte
	for i, name := range names {
		if own := slices.Index(from.Fields, name); own >= 0 {
			if v, ok := from.Field(f.Values, own); ok {
				b = observation.AppendText(b, v)
				continue
			}
		} else if to.Address[i] {
			if name == "client.address" && card.Client.IsValid() {
				b = observation.AppendAddr(b, card.Client, t.plan.IPv6Whole)
				continue
			}
		} else if v, ok := observation.CardField(card, name); ok {
			b = observation.AppendText(b, v)
			continue
		}
		absent = append(absent, name)
	}
	return string(b), absent
}
