package sigma

import (
	"slices"
	"strconv"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// Index is a compiled rule set. It is immutable and safe for any number of
// goroutines, each with a Matcher of its own.
type Index struct {
	plan  *observation.Plan
	rules []*Rule
	needs event.FieldSet
	tuned map[string][]Change
	// ipv6Whole keeps IPv6 addresses whole in entities.
	ipv6Whole bool

	dets     []det
	code     []instr
	patterns []pattern
	inputs   []*input
	regexes  []*regex
	steps    []step
	shaped   event.FieldSet // what of an event's fields makes its shape
	agent    uint16         // the input of the user agent, noInput where nobody asks
	caches   []uint16       // per cache: its input
	atoms    []atomInfo
	atomOf   map[*leaf]uint32
	trigger  []uint32 // dets to look at when an atom is true, see atomInfo
	always   []uint32 // dets that no atom announces
	variants []variant
	// kindVariants are, by kind, the ways in which its entity is read.
	kindVariants [][]uint16
	values       [][]event.Field // value tuples of value_count rules
	// followers are, by rule of the plan, those that share its window: its hits are theirs too.
	followers [][]uint32
}

// det is a compiled detection.
type det struct {
	rule     *Rule // as tuned
	of       *Rule // as in the set
	cond     *node // with filters joined
	entry    uint32
	alerting bool
	sinks    []sink
}

// sink is a window rule that a detection feeds.
type sink struct {
	rule    uint32 // index into Plan.Rules
	kind    uint16
	variant uint16
	value   int32 // index into Index.values, -1 for none
	// measures: the value is a number to be measured, not a text to be counted.
	measures bool
	// several: the kind's entity is read in more than one way.
	several bool
	mark    bool   // of no rule: it marks the entity, see observation.Guard
	steps   uint64 // of a temporal rule: the bit of this detection
}

// variant is a way to read the entity of a kind: correlations with aliases
// have one for each of their detections.
type variant struct {
	fields  []event.Field
	address []bool
}

type atomInfo struct {
	first, last uint32 // dets in Index.trigger
	input       uint16
	bytes       bool // some of lazy are single bytes of a text
	lazy        []uint32
}

// step is one thing to look up in an event.
type step struct {
	kind  stepKind
	input uint16
	in    *input // nil of a request
	// request: inputs of the target, its parts and the URL, noInput where
	// nobody asks.
	target, path, query, url uint16
}

type stepKind uint8

const (
	stepNumber stepKind = iota + 1
	stepAddress
	stepText
	stepRequest
)

const noInput = 1<<16 - 1

// Plan returns what the detectors need to know of the rules. It must not be
// changed.
func (x *Index) Plan() *observation.Plan { return x.plan }

// Needs returns the event fields that some rule asks for, groups by or
// counts, so that only these have to be derived.
func (x *Index) Needs() event.FieldSet { return x.needs }

// Rules returns the loaded documents of all kinds in order, without disabled
// ones. A rule that was tuned is a copy of the one in the set, as tuned.
func (x *Index) Rules() []*Rule { return x.rules }

// lay writes the index from what the builder gathered.
func (x *Index) lay(b *builder, triggers [][]uint32) {
	x.patterns, x.inputs, x.atomOf = b.patterns, b.inputs, b.byLeaf
	x.atoms = make([]atomInfo, len(b.atoms))
	for i := range b.atoms {
		a := &x.atoms[i]
		a.input, a.lazy = b.atoms[i].input, b.atoms[i].lazy
		in := b.inputs[a.input]
		a.bytes = in.src.kind() == event.KindText && !in.src.list() && slices.ContainsFunc(a.lazy, func(p uint32) bool { return b.patterns[p].m.isByte() })
		a.first = uint32(len(x.trigger))
		if i < len(triggers) {
			x.trigger = append(x.trigger, triggers[i]...)
		}
		a.last = uint32(len(x.trigger))
	}
	x.makeRegexes()
	x.followers = make([][]uint32, len(x.plan.Rules))
	shares := x.plan.Shares()
	for i, s := range shares {
		if s.Leader != uint32(i) {
			x.followers[s.Leader] = append(x.followers[s.Leader], uint32(i))
		}
	}
	for i := range x.dets {
		d := &x.dets[i]
		d.sinks = slices.DeleteFunc(d.sinks, func(s sink) bool { return !s.mark && shares[s.rule].Leader != s.rule })
		for j := range d.sinks {
			s := &d.sinks[j]
			s.several = len(x.kindVariants[s.kind]) > 1
		}
	}
	x.agent = noInput
	request := step{kind: stepRequest, target: noInput, path: noInput, query: noInput, url: noInput}
	for i, in := range x.inputs {
		id := uint16(i)
		x.needs |= in.src.needs()
		x.shaped |= in.src.shapeNeeds()
		if in.cached > 0 {
			x.caches = append(x.caches, id)
		}
		switch {
		case len(in.patterns) == 0: // another field is compared with it, nothing is looked up
		case in.src.kind() == event.KindNumber:
			x.steps = append(x.steps, step{kind: stepNumber, input: id, in: in})
		case in.src.kind() == event.KindAddress:
			x.steps = append(x.steps, step{kind: stepAddress, input: id, in: in})
		case in.src == fieldSource(event.FieldTarget):
			request.target = id
		case in.src == fieldSource(event.FieldPath):
			request.path = id
		case in.src == fieldSource(event.FieldQuery):
			request.query = id
		case in.src == srcURL:
			request.url = id
		default:
			x.steps = append(x.steps, step{kind: stepText, input: id, in: in})
		}
		if in.src == fieldSource(event.FieldUserAgent) && len(in.patterns) > 0 {
			x.agent = id
		}
	}
	if request.target != noInput || request.path != noInput || request.query != noInput || request.url != noInput {
		x.steps = append(x.steps, request)
	}
}

// makeRegexes readies the regular expressions, those that are the same once.
func (x *Index) makeRegexes() {
	made := map[string]uint16{}
	for i := range x.patterns {
		p := &x.patterns[i]
		if p.m.op != opRegex {
			continue
		}
		expr := p.m.re.String()
		id, ok := made[expr]
		if !ok && len(x.regexes) < 1<<16-1 {
			if re := newRegex(p.m.re); re != nil {
				x.regexes = append(x.regexes, re)
				id = uint16(len(x.regexes))
			}
			made[expr] = id
		}
		p.regex = id
	}
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
