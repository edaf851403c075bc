package detectors

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gatewatch/detectors/observation"
)

// upper feeds correlations over correlations: the firings of rules of depth n
// are the observations of rules of depth n+1.
type upper struct {
	fed     [][]feed // by rule: the rules that its firings feed
	batch   observation.Batch
	scratch []byte
	missing []uint64 // by rule: firings that lacked a group-by field or the counted field
}

// feed is a rule that the firings of another one feed, and the steps that they are of it.
type feed struct {
	rule  uint32
	steps uint64
}

func newUpper(plan *observation.Plan) upper {
	u := upper{fed: make([][]feed, len(plan.Rules)), missing: make([]uint64, len(plan.Rules))}
	for i := range plan.Rules {
		r := &plan.Rules[i]
		for at, in := range r.Inputs {
			if slices.Contains(r.Inputs[:at], in) {
				continue
			}
			f := feed{rule: uint32(i)}
			for step, id := range r.Steps {
				if id == plan.Rules[in].ID {
					f.steps |= 1 << step
				}
			}
			u.fed[in] = append(u.fed[in], f)
		}
	}
	return u
}

// Chained reports whether any rule is fed by findings.
func Chained(plan *observation.Plan) bool {
	return slices.ContainsFunc(plan.Rules, func(r observation.Rule) bool { return r.Depth > 1 })
}

// Chain takes in findings of depth 1 in merged order and appends what rules of
// greater depth make of them, behind the finding that caused it. The engine
// that does this owns all slots and is used for nothing else.
func (e *Engine) Chain(out *Findings) {
	level := out.List
	out.List = make([]observation.Finding, 0, len(level)+8)
	for i := range level {
		if e.timers.due(level[i].Key.Time) {
			at := len(out.List)
			e.Advance(level[i].Key.Time, out)
			e.Cascade(out, at)
		}
		at := len(out.List)
		out.List = append(out.List, level[i])
		e.Cascade(out, at)
	}
}

// Cascade feeds the findings from index at on, and what they cause, upwards.
func (e *Engine) Cascade(out *Findings, at int) {
	for ; at < len(out.List); at++ {
		f := &out.List[at]
		if len(e.upper.fed[f.Rule]) == 0 {
			continue
		}
		if e.rules[f.Rule].Walk != nil && e.rules[f.Rule].Walk.Factor > 0 && e.rules[f.Rule].Depth == 1 {
			for _, to := range e.upper.fed[f.Rule] {
				e.followUp(*f, to.rule, out)
			}
			continue
		}
		if !f.Fired {
			continue
		}
		e.feedUp(*f, out)
	}
}

func (e *Engine) feedUp(f observation.Finding, out *Findings) {
	u := &e.upper
	var last observation.Item
	if n := len(f.Items); n > 0 {
		last = f.Items[n-1]
	}
	e.settleClient(&f, &last.Card)
	had := last.Card.Before
	last.Card.Before = e.othersBefore(&f)
	rec := observation.Record{Time: f.Key.Time, Window: f.Key.Time, Offset: f.Key.Offset, Line: last.Ref.Line, Length: last.Ref.Length, Behind: f.Behind, Card: last.Card}
	if rec.Card.Digest == 0 || rec.Card.Before != had {
		rec.Card.Sum()
	}
	u.batch.Reset()
	for _, to := range u.fed[f.Rule] {
		r := &e.rules[to.rule]
		values, ok := e.upperValues(&f, &last.Card, r.Rule)
		hit := observation.Hit{Rule: to.rule, N: 1, Steps: to.steps}
		if !ok || !e.upperValue(&f, &last.Card, r, &hit) {
			u.missing[to.rule]++
			continue
		}
		e.upperHit(r.Kind, values, hit)
	}
	t := &e.touch
	t.rec, t.key, t.ref, t.member = &rec, f.Key, last.Ref, 0
	for i := range u.batch.Obs {
		o := &u.batch.Obs[i]
		// The values outlive the batch in findings that are told of later.
		o.Values = cloneString(&o.Values)
		e.observe(e.slots[observation.Slot(o.Hash)], t, o, 0, u.batch.HitsOf(o), out)
	}
	e.unlook(t)
}

// othersBefore returns who was there before the last one, of a firing of a rule that counts principals.
func (e *Engine) othersBefore(f *observation.Finding) string {
	r := &e.rules[f.Rule]
	if len(f.Items) < 2 || r.Type != observation.ValueCount || r.ValueField != "principal" {
		return ""
	}
	var names []string
	room := observation.MaxBefore + 1
	for i := range f.Items[:len(f.Items)-1] {
		name := strings.ReplaceAll(f.Items[i].Card.Principal, "\x00", "\uFFFD")
		if name == "" {
			continue
		}
		if room -= len(name) + 1; room < 0 {
			break // part of a name is that of somebody else
		}
		names = append(names, name)
	}
	return strings.Join(names, "\x00")
}

// settleClient makes the client of a firing the one that its entity names,
// where that is the /64 of an IPv6 client: which of its addresses sent the
// observation that tipped the balance is chance, when several came in one second.
func (e *Engine) settleClient(f *observation.Finding, c *observation.Card) {
	kind := &e.plan.Kinds[f.Kind]
	at := slices.Index(kind.Fields, "client.address")
	if at < 0 {
		return
	}
	if v, ok := kind.Field(f.Values, at); ok && len(v) == 8 {
		var a [16]byte
		copy(a[:], v)
		c.Client = netip.AddrFrom16(a)
	}
}

// upperHit adds a hit to the batch: one observation an entity. Rules of one
// entity come one after another, so its hits are moved to the end together.
func (e *Engine) upperHit(kind uint16, values []byte, hit observation.Hit) {
	b := &e.upper.batch
	hash := e.plan.Kinds[kind].Hash(values)
	for i := range b.Obs {
		o := &b.Obs[i]
		if o.Kind != kind || o.Hash != hash || o.Values != string(values) {
			continue
		}
		first := uint32(len(b.Hits))
		b.Hits = append(b.Hits, b.HitsOf(o)...)
		b.Hits = append(b.Hits, hit)
		o.First, o.Count = first, o.Count+1
		return
	}
	b.Obs = append(b.Obs, observation.Observation{Kind: kind, Hash: hash, Values: b.KeepBytes(values), First: uint32(len(b.Hits)), Count: 1})
	b.Hits = append(b.Hits, hit)
}

// upperValues encodes the entity of a rule that a finding belongs to: its
// fields are had from the finding's own entity, else from the card.
func (e *Engine) upperValues(f *observation.Finding, card *observation.Card, r *observation.Rule) ([]byte, bool) {
	from := &e.plan.Kinds[f.Kind]
	to := &e.plan.Kinds[r.Kind]
	names := to.Fields
	if r.Reads != nil {
		names = r.Reads[slices.Index(r.Inputs, f.Rule)]
	}
	out := e.upper.scratch[:0]
	for i, name := range names {
		if at := slices.Index(from.Fields, name); at >= 0 {
			v, ok := from.Field(f.Values, at)
			if !ok {
				return nil, false
			}
			out = observation.AppendText(out, v)
			continue
		}
		if to.Address[i] {
			if name != "client.address" || !card.Client.IsValid() {
				return nil, false
			}
			out = observation.AppendAddr(out, card.Client, e.plan.IPv6Whole)
			continue
		}
		v, ok := observation.CardField(card, name)
		if !ok {
			return nil, false
		}
		out = observation.AppendText(out, v)
	}
	e.upper.scratch = out
	return out, true
}

// upperValue fills in what a rule counts or measures of a finding; false where
// that does not have it.
func (e *Engine) upperValue(f *observation.Finding, card *observation.Card, r *rule, hit *observation.Hit) bool {
	shape := r.typ.shape()
	if shape != shapeValues && shape != shapeNumbers {
		return true
	}
	var texts []string
	for name := range strings.SplitSeq(r.ValueField, ",") {
		text, ok := e.findingField(f, card, name)
		if !ok {
			return false
		}
		texts = append(texts, text)
	}
	switch {
	case shape == shapeNumbers:
		n, err := strconv.ParseFloat(texts[0], 64)
		hit.Number = n
		return err == nil && r.typ.takes(r, hit)
	case len(texts) == 1:
		hit.Hash, hit.Value = observation.HashValue(texts[0]), observation.Cut(texts[0], observation.MaxValue)
	default:
		// Told apart like the tuples of events: by what is unambiguous, not by what is shown.
		var whole []byte
		for _, t := range texts {
			whole = observation.AppendText(whole, t)
		}
		hit.Hash, hit.Value = observation.HashValue(string(whole)), observation.Cut(strings.Join(texts, ", "), observation.MaxValue)
	}
	return true
}

func (e *Engine) findingField(f *observation.Finding, card *observation.Card, name string) (string, bool) {
	kind := &e.plan.Kinds[f.Kind]
	if at := slices.Index(kind.Fields, name); at >= 0 {
		if values := kind.Values(f.Values); values != nil {
			return values[at], true
		}
		return "", false
	}
	return observation.CardField(card, name)
}

// TakeMissing yields, by rule, how many firings since the last call lacked a
// field that a correlation over them groups by or counts.
func (e *Engine) TakeMissing() iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for i, n := range e.upper.missing {
			e.upper.missing[i] = 0
			if n > 0 && !yield(i, n) {
				return
			}
		}
	}
}
