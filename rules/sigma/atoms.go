package sigma

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/gaissmai/bart"

	"gatewatch/event"
)

// pattern is one distinct comparison with one input.
type pattern struct {
	m     *matcher
	input uint16
	regex uint16 // 1 + index in Index.regexes, 0 for none
	ref   uint16 // the input that a field is compared with
	// postponed patterns are common and make no detection a candidate; they
	// are tested when a candidate asks for them, instead of being found in
	// every other event.
	postponed bool
	atoms     []uint32 // atoms that are true when the pattern matches
}

// atom is one distinct leaf: true when one of its patterns matches one of the
// forms of its input.
type atom struct {
	input    uint16
	patterns []uint32
	lazy     []uint32 // patterns that no literal announces; tested when asked for
	cost     float64  // how often the atom is thought to be true, for choosing triggers
	triggers bool     // a detection is looked at when the atom is true
	asked    float64  // how often a detection that asks for the atom is looked at
}

// input is one source that leaves ask for, with its lookup structures.
type input struct {
	src      source
	patterns []uint32
	exists   []uint32 // atoms true when there is a value
	absent   []uint32 // atoms true when there is none

	// Text.
	auto    *automaton
	exact   map[string][]uint32 // folded text to patterns
	lengths [256]bool           // of exact texts; the last stands for longer ones
	plus    plusMode
	cached  uint16 // 1 + index of the matcher's cache, 0 for none

	// Numbers.
	small [][]uint32         // atoms for values 0 to 999
	eq    map[int64][]uint32 // atoms
	gte   []threshold        // ascending
	lte   []threshold        // descending
	texts []uint32           // patterns over the digits

	// Addresses.
	nets *bart.Table[[]uint32] // atoms of all networks that hold the address
}

type threshold struct {
	value int64
	atoms []uint32
}

// builder makes atoms out of leaves.
type builder struct {
	inputs   []*input
	bySource map[source]uint16
	patterns []pattern
	byKey    map[string]uint32
	atoms    []atom
	byAtom   map[string]uint32
	byLeaf   map[*leaf]uint32
}

func newBuilder() *builder {
	return &builder{bySource: map[source]uint16{}, byKey: map[string]uint32{}, byAtom: map[string]uint32{}, byLeaf: map[*leaf]uint32{}}
}

// atom returns the atom of a leaf, making it on first sight.
func (b *builder) atom(l *leaf) uint32 {
	id, ok := b.byLeaf[l]
	if !ok {
		id = b.makeAtom(l)
		b.byLeaf[l] = id
	}
	return id
}

func (b *builder) makeAtom(l *leaf) uint32 {
	in := b.inputOf(l.src)
	ids := make([]uint32, 0, len(l.any))
	for _, m := range l.any {
		key := string(binary.BigEndian.AppendUint16(nil, in)) + m.key()
		id, ok := b.byKey[key]
		if !ok {
			id = uint32(len(b.patterns))
			b.byKey[key] = id
			b.patterns = append(b.patterns, pattern{m: m, input: in})
			if m.op == opFieldRef {
				b.patterns[id].ref = b.inputOf(m.ref)
			}
			b.inputs[in].patterns = append(b.inputs[in].patterns, id)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	key := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		key = binary.BigEndian.AppendUint32(key, id)
	}
	id, ok := b.byAtom[string(key)]
	if ok {
		return id
	}
	id = uint32(len(b.atoms))
	b.byAtom[string(key)] = id
	a := atom{input: in, patterns: ids}
	for _, p := range ids {
		b.patterns[p].atoms = append(b.patterns[p].atoms, id)
		if b.isLazy(p) {
			a.lazy = append(a.lazy, p)
		}
		a.cost += likelihood(l.src, b.patterns[p].m)
	}
	b.atoms = append(b.atoms, a)
	return id
}

// inputOf returns the input of a source, making it on first sight.
func (b *builder) inputOf(src source) uint16 {
	in, ok := b.bySource[src]
	if !ok {
		in = uint16(len(b.inputs))
		b.bySource[src] = in
		b.inputs = append(b.inputs, &input{src: src, plus: plusOf(src)})
	}
	return in
}

// isLazy reports whether nothing announces the pattern.
func (b *builder) isLazy(p uint32) bool {
	m := b.patterns[p].m
	switch m.op {
	case opExists, opAbsent, opNumEq, opNumGte, opNumLte, opCIDR, opNever:
		return false
	case opFieldRef:
		return true
	}
	switch b.inputs[b.patterns[p].input].src.kind() {
	case event.KindAddress:
		return true // addresses are text only for such patterns
	case event.KindNumber:
		return false
	default:
		return len(m.required(b.inputs[b.patterns[p].input].src)) == 0
	}
}

func plusOf(s source) plusMode {
	switch s {
	case srcURL, fieldSource(event.FieldTarget):
		return plusTarget
	case fieldSource(event.FieldQuery):
		return plusQuery
	case fieldSource(event.FieldRaw):
		return plusLine
	default:
		return plusLiteral
	}
}

// likelihood guesses how often a pattern matches ordinary traffic. Only the
// order matters: long literals are rare, statuses less so, methods common.
func likelihood(src source, m *matcher) float64 {
	switch m.op {
	case opExists:
		return 0.95
	case opAbsent:
		return 0.5
	case opNumEq:
		if src == fieldSource(event.FieldStatus) && m.num == 200 {
			return 0.8
		}
		return 0.05
	case opNumGte, opNumLte:
		return 0.4
	case opCIDR:
		if m.cidr.IsSingleIP() {
			return 0.001
		}
		return 0.2
	}
	if src == srcMethod || src == fieldSource(event.FieldMethod) {
		if equalFold(m.text, "GET") {
			return 0.8
		}
		return 0.15
	}
	if k := src.kind(); k != event.KindText {
		return 0.3
	}
	p := 1.0
	for _, clause := range m.required(src)[:min(1, len(m.required(src)))] {
		p = min(frequency(clause.lits, src), 1)
	}
	if m.op == opExact {
		p /= 8
	}
	if src.small() {
		return max(p, 0.05) // few distinct values: each is common
	}
	return p
}

// small reports whether the source has few distinct values.
func (s source) small() bool {
	switch s {
	case srcVersion, fieldSource(event.FieldFormat), fieldSource(event.FieldScheme), fieldSource(event.FieldProtocol),
		fieldSource(event.FieldClientSource), fieldSource(event.FieldClientClass), fieldSource(event.FieldObjectSampled), fieldSource(event.FieldUserVerified), fieldSource(event.FieldMalformed),
		fieldSource(event.FieldMalformedReason), fieldSource(event.FieldLogin), fieldSource(event.FieldOutcome),
		fieldSource(event.FieldHost):
		return true
	default:
		return false
	}
}

// finish builds the lookup structures of all inputs.
func (b *builder) finish() {
	caches := uint16(0)
	groupLits := []literal{}
	for i, in := range b.inputs {
		var lits []literal
		b.postpone(in)
		clauses := in.chooseClauses(b.patterns)
		for _, id := range in.patterns {
			p := &b.patterns[id]
			switch p.m.op {
			case opExists:
				in.exists = append(in.exists, p.atoms...)
				continue
			case opAbsent:
				in.absent = append(in.absent, p.atoms...)
				continue
			}
			if in.src.kind() == event.KindText && !p.postponed {
				lits = append(lits, in.textPattern(uint16(i), id, p.m, clauses[id])...)
			}
		}
		switch in.src.kind() {
		case event.KindNumber:
			in.numbers(b.patterns)
		case event.KindAddress:
			in.addresses(b.patterns)
		default:
			if in.src.inRequest() {
				groupLits = append(groupLits, lits...)
			} else if len(lits) > 0 {
				in.auto = buildAutomaton(lits, maxDenseEntries)
			}
			if in.src.repeats() {
				caches++
				in.cached = caches
			}
		}
	}
	if len(groupLits) > 0 {
		auto := buildAutomaton(groupLits, maxDenseEntries)
		for _, in := range b.inputs {
			if in.src.inRequest() {
				in.auto = auto
			}
		}
	}
}

// inRequest reports whether the source is the target, a part of it or the URL;
// these are searched together, in one pass over the target.
func (s source) inRequest() bool {
	return s == fieldSource(event.FieldTarget) || s == fieldSource(event.FieldPath) || s == fieldSource(event.FieldQuery) || s == srcURL
}

// repeats reports whether values of the source come again and again, so that
// remembering what was found in one pays.
func (s source) repeats() bool {
	switch s {
	case srcURL, fieldSource(event.FieldRaw), fieldSource(event.FieldTarget), fieldSource(event.FieldPath),
		fieldSource(event.FieldQuery), fieldSource(event.FieldRequestID), fieldSource(event.FieldObjectID):
		return false
	default:
		return true
	}
}

// postpone takes from the input's search what it would find often, and what
// only detections ask for that seldom get so far.
func (b *builder) postpone(in *input) {
	if in.src.kind() != event.KindText {
		return
	}
	for _, id := range in.patterns {
		p := &b.patterns[id]
		req := p.m.required(in.src)
		if len(req) == 0 || p.m.op == opExact || frequency(req[0].lits, in.src) < common ||
			slices.ContainsFunc(p.atoms, func(a uint32) bool {
				return b.atoms[a].triggers || b.atoms[a].asked > common && !p.m.isByte()
			}) {
			continue
		}
		p.postponed = true
		for _, a := range p.atoms {
			b.atoms[a].lazy = append(b.atoms[a].lazy, id)
		}
	}
}

// isByte reports whether a text matches that has one byte. To look for that is so quick
// that to be told of each that there is costs more.
func (m *matcher) isByte() bool { return m.op == opContains && len(m.text) == 1 }

// common is the share of ordinary values from which finding a text costs more
// than it saves.
const common = 0.01

// chooseClauses returns what announces each text pattern of the input. Of
// several clauses, those that many patterns share are left out as long as
// another remains: each would be looked at for all of these patterns wherever
// it is found.
func (in *input) chooseClauses(all []pattern) map[uint32][]clause {
	chosen := map[uint32][]clause{}
	if in.src.kind() != event.KindText {
		return chosen
	}
	shared := map[string]int{}
	for _, id := range in.patterns {
		chosen[id] = all[id].m.required(in.src)
		for _, c := range chosen[id] {
			for _, lit := range c.lits {
				shared[lit]++
			}
		}
	}
	most := func(c clause) int {
		n := 0
		for _, lit := range c.lits {
			n = max(n, shared[lit])
		}
		return n
	}
	for id, clauses := range chosen {
		if len(clauses) < 2 {
			continue
		}
		few := slices.DeleteFunc(slices.Clone(clauses), func(c clause) bool { return most(c) > maxShared })
		if len(few) == 0 {
			few = []clause{slices.MinFunc(clauses, func(a, b clause) int { return cmp.Compare(most(a), most(b)) })}
		}
		chosen[id] = few
	}
	return chosen
}

// maxShared is how many patterns may be announced by one literal that is not
// all that they need.
const maxShared = 16

// textPattern enters a pattern where it is looked up, and returns the
// literals that announce it.
func (in *input) textPattern(index uint16, id uint32, m *matcher, req []clause) []literal {
	if m.op == opExact {
		if in.exact == nil {
			in.exact = map[string][]uint32{}
		}
		text := req[0].lits[0]
		in.exact[text] = append(in.exact[text], id)
		in.lengths[min(len(text), 255)] = true
		return nil
	}
	var lits []literal
	for i, clause := range req {
		for _, text := range clause.lits {
			h := literalHit{
				pattern: id, length: uint32(len(text)), input: index,
				start: m.op == opPrefix, end: m.op == opSuffix,
			}
			if m.op == opGlob || m.op == opRegex {
				h.clause, h.clauses, h.after = 1<<i, 1<<len(req)-1, clause.after
			} else if m.cased {
				h.cased = m.text
			}
			lits = append(lits, literal{text, h})
		}
	}
	return lits
}

// numbers builds the tables of a number. Values that logs repeat are worked
// out beforehand, text patterns over their digits included.
func (in *input) numbers(all []pattern) {
	in.eq = map[int64][]uint32{}
	for _, id := range in.patterns {
		p := &all[id]
		switch p.m.op {
		case opNumEq:
			in.eq[p.m.num] = append(in.eq[p.m.num], p.atoms...)
		case opNumGte:
			in.gte = append(in.gte, threshold{p.m.num, p.atoms})
		case opNumLte:
			in.lte = append(in.lte, threshold{p.m.num, p.atoms})
		case opExists, opAbsent:
		default:
			in.texts = append(in.texts, id)
		}
	}
	slices.SortStableFunc(in.gte, func(a, b threshold) int { return cmp.Compare(a.value, b.value) })
	slices.SortStableFunc(in.lte, func(a, b threshold) int { return cmp.Compare(b.value, a.value) })
	in.small = make([][]uint32, 1000)
	for n := range in.small {
		atoms := in.appendAtoms(nil, all, int64(n), strconv.Itoa(n))
		slices.Sort(atoms)
		in.small[n] = slices.Compact(atoms)
	}
}

// appendAtoms appends the atoms that are true for the number; some may come
// more than once. digits is the number as text.
func (in *input) appendAtoms(dst []uint32, all []pattern, n int64, digits string) []uint32 {
	dst = append(dst, in.exists...)
	if len(in.eq) > 0 {
		dst = append(dst, in.eq[n]...)
	}
	for _, t := range in.gte {
		if t.value > n {
			break
		}
		dst = append(dst, t.atoms...)
	}
	for _, t := range in.lte {
		if t.value < n {
			break
		}
		dst = append(dst, t.atoms...)
	}
	for _, id := range in.texts {
		if all[id].m.matchText(digits) {
			dst = append(dst, all[id].atoms...)
		}
	}
	return dst
}

// addresses builds the table of networks: each prefix carries the atoms of
// all that hold it, so one lookup of the longest finds every match.
func (in *input) addresses(all []pattern) {
	type entry struct {
		pfx   netip.Prefix
		atoms []uint32
	}
	var entries []entry
	for _, id := range in.patterns {
		if p := &all[id]; p.m.op == opCIDR {
			entries = append(entries, entry{p.m.cidr, p.atoms})
		}
	}
	if len(entries) == 0 {
		return
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.pfx.Bits(), b.pfx.Bits()) })
	in.nets = &bart.Table[[]uint32]{}
	for _, e := range entries { // shorter prefixes first
		atoms := slices.Clone(e.atoms)
		if up, ok := in.nets.LookupPrefix(e.pfx); ok {
			atoms = append(atoms, up...)
		}
		slices.Sort(atoms)
		in.nets.Insert(e.pfx, slices.Compact(atoms))
	}
}
