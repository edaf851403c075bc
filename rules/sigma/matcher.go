package sigma

import (
	"hash/maphash"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// Matcher is one goroutine's scratch memory for an Index. It allocates
// nothing once its buffers have grown to what the traffic needs.
type Matcher struct {
	x     *Index
	epoch uint32

	bits      []uint64  // atoms that are true
	touched   []uint32  // the same as a list
	lazyDone  []uint32  // per atom: epoch in which it was tested
	patSeen   []uint32  // per pattern: epoch in which it matched
	partial   []partial // per pattern
	detSeen   []uint32  // per det: epoch in which it became a candidate
	ruleSeen  []uint32  // per plan rule: epoch in which it got its hit
	missSeen  []uint32
	texts     uint32   // serial number of the text that is being searched
	pending   []uint32 // patterns of which all clauses were seen in the forms of a text
	candidate []uint32
	matched   []uint32
	one       []uint32 // what Observe found

	regexes []regexRun // per Index.regexes
	// For how many events a regular expression ran, for measuring, and the last one.
	regexEvents uint64
	regexEpoch  uint32
	forms       []forms // per input
	buf         []byte  // decoded and formatted texts of this event
	atoms       []uint32
	caches      []valueCache
	targets     valueCache
	agents      []agentAtoms // by event.Agent.Number
	lists       [][]uint32   // of atoms, what agents have
	shapes      []shapeSlot
	asked       bool         // eval looked at more than atoms
	seed        maphash.Seed // of the caches

	emissions []emission
	sinks     []sink // scratch
	hits      []hit
	missed    []uint32
	entities  []entity // per variant
	values    []byte

	missing []uint64 // per plan rule
	count   countedValue
}

// countedValue is the value of this event that was counted last.
type countedValue struct {
	epoch uint32
	of    int32 // index into Index.values
	ok    bool
	hash  uint64
	value string
}

// agentAtoms is what is true of an agent.
type agentAtoms struct {
	agent  *event.Agent
	atoms  []uint32
	number uint16 // of the same atoms in Matcher.lists, plus 1
}

// partial is which clauses of a pattern were seen in the forms of a text.
type partial struct {
	text    uint32 // serial number
	clauses uint8
}

// maxForms is how many texts one input can have in an event: four of a URL,
// each value of a list.
const maxForms = 32

// forms are the texts of one input in this event.
type forms struct {
	epoch uint32
	n     uint8
	// isDecoded has the bits of the texts that are decoded ones.
	isDecoded uint8
	text      [maxForms]string
}

// NewMatcher returns a matcher for x.
func (x *Index) NewMatcher() *Matcher {
	m := &Matcher{
		x:         x,
		bits:      make([]uint64, (len(x.atoms)+63)/64),
		lazyDone:  make([]uint32, len(x.atoms)),
		patSeen:   make([]uint32, len(x.patterns)),
		partial:   make([]partial, len(x.patterns)),
		detSeen:   make([]uint32, len(x.dets)),
		ruleSeen:  make([]uint32, len(x.plan.Rules)),
		missSeen:  make([]uint32, len(x.plan.Rules)),
		missing:   make([]uint64, len(x.plan.Rules)),
		regexes:   make([]regexRun, len(x.regexes)),
		forms:     make([]forms, len(x.inputs)),
		caches:    make([]valueCache, len(x.caches)),
		entities:  make([]entity, len(x.variants)),
		seed:      maphash.MakeSeed(),
		agents:    make([]agentAtoms, event.MaxAgents),
		shapes:    make([]shapeSlot, maxShapes),
		emissions: make([]emission, maxEmissions),
	}
	for i, re := range x.regexes {
		m.regexes[i].init(re, regexMemory(len(x.regexes)))
	}
	for i, in := range x.caches {
		m.caches[i].init(cacheSets(x.inputs[in].src))
	}
	m.targets.init(cacheSets(fieldSource(event.FieldTarget)))
	return m
}

// begin prepares for the next event. The stamps wrap after four billion
// events, so they are cleared then.
func (m *Matcher) begin() {
	m.clear()
	if m.epoch++; m.epoch == 0 {
		for _, s := range [][]uint32{m.lazyDone, m.patSeen, m.detSeen, m.ruleSeen, m.missSeen} {
			clear(s)
		}
		clear(m.forms)
		clear(m.entities)
		m.count = countedValue{}
		m.epoch = 1
	}
	m.buf = m.buf[:0]
	m.candidate = m.candidate[:0]
	m.matched = m.matched[:0]
}

func (m *Matcher) clear() {
	for _, a := range m.touched {
		m.bits[a>>6] = 0
	}
	m.touched = m.touched[:0]
}

// set makes an atom true and the rules that wait for it candidates.
func (m *Matcher) set(a uint32) {
	w, bit := a>>6, uint64(1)<<(a&63)
	if m.bits[w]&bit != 0 {
		return
	}
	m.bits[w] |= bit
	m.touched = append(m.touched, a)
	info := &m.x.atoms[a]
	for _, d := range m.x.trigger[info.first:info.last] {
		if m.detSeen[d] != m.epoch {
			m.detSeen[d] = m.epoch
			m.candidate = append(m.candidate, d)
		}
	}
}

func (m *Matcher) setAll(atoms []uint32) {
	for _, a := range atoms {
		m.set(a)
	}
}

// find fills m.matched with the detections that ev matches, ascending, and
// m.bits with all atoms that are true.
func (m *Matcher) find(ev *event.Event) {
	m.begin()
	for i := range m.x.steps {
		m.look(ev, &m.x.steps[i])
	}
	for _, d := range m.candidate {
		if m.eval(ev, m.x.dets[d].entry) {
			m.matched = append(m.matched, d)
		}
	}
	for _, d := range m.x.always {
		if m.eval(ev, m.x.dets[d].entry) {
			m.matched = append(m.matched, d)
		}
	}
	sortIDs(m.matched)
}

// eval runs a program.
func (m *Matcher) eval(ev *event.Event, pc uint32) bool {
	for pc < reject {
		in := &m.x.code[pc]
		if m.holds(ev, in.atom) {
			pc = in.yes
		} else {
			pc = in.no
		}
	}
	return pc == accept
}

// holds reports whether an atom is true, testing now what no literal
// announced.
func (m *Matcher) holds(ev *event.Event, a uint32) bool {
	info := &m.x.atoms[a]
	if len(info.lazy) > 0 {
		m.asked = true
	}
	if m.bits[a>>6]&(1<<(a&63)) != 0 {
		return true
	}
	if len(info.lazy) == 0 || m.lazyDone[a] == m.epoch {
		return false
	}
	m.lazyDone[a] = m.epoch
	if !m.holdsAsLogged(ev, info) && !m.holdsInForm(ev, info) {
		return false
	}
	m.bits[a>>6] |= 1 << (a & 63)
	m.touched = append(m.touched, a)
	return true
}

// holdsAsLogged reports whether one of the bytes that an atom waits for is in the text as it was logged, which is
// the first of its forms: to make the others is mostly not needed.
func (m *Matcher) holdsAsLogged(ev *event.Event, info *atomInfo) bool {
	if !info.bytes {
		return false
	}
	text, _ := m.base(ev, m.x.inputs[info.input].src)
	for _, p := range info.lazy {
		if pm := m.x.patterns[p].m; pm.isByte() && contains(text, pm.text, pm.cased) {
			return true
		}
	}
	return false
}

// holdsInForm reports whether a pattern that an atom waits for matches a form of its text.
func (m *Matcher) holdsInForm(ev *event.Event, info *atomInfo) bool {
	f := m.formsOf(ev, info.input)
	for _, p := range info.lazy {
		if m.matchesForms(ev, &m.x.patterns[p], f) {
			return true
		}
	}
	return false
}

// matchesForms tests a pattern on all forms of a text.
func (m *Matcher) matchesForms(ev *event.Event, p *pattern, f *forms) bool {
	if p.m.op == opFieldRef {
		return m.refers(ev, p)
	}
	for i := range f.n {
		if m.matches(p, f.text[i]) {
			return true
		}
	}
	return false
}

// matches tests a pattern on one form of a text.
func (m *Matcher) matches(p *pattern, text string) bool {
	if p.regex > 0 {
		m.countRegex()
		return m.regexes[p.regex-1].match(text)
	}
	if p.m.op == opRegex {
		m.countRegex() // one that is too large for states of its own
	}
	return p.m.matchText(text)
}

// countRegex notes that a regular expression runs for this event.
func (m *Matcher) countRegex() {
	if m.regexEpoch != m.epoch {
		m.regexEpoch = m.epoch
		m.regexEvents++
	}
}

// Match is a detection that an event matches.
type Match struct {
	Rule     *Rule
	Alerting bool // this match alone opens an incident
}

// Match returns the detections that ev matches, in the order of the set. The
// result is the caller's.
func (m *Matcher) Match(ev *event.Event) []Match {
	m.match(ev)
	out := make([]Match, 0, len(m.matched))
	for _, d := range m.matched {
		out = append(out, Match{Rule: m.x.dets[d].rule, Alerting: m.x.dets[d].alerting})
	}
	return out
}

// Missing returns, for each rule of the plan, how many events matched it but
// lacked a group-by field or the field that it counts. The slice is the
// matcher's own; the owner may read it, and reset it to zeros.
func (m *Matcher) Missing() []uint64 { return m.missing }

// Observe appends what ev contributes to b: at most one observation for each
// kind of entity, with a hit for each rule that has a window of its own (see
// observation.Plan.Shares), both in the order of the plan.
// It leaves b.Records alone.
func (m *Matcher) Observe(ev *event.Event, b *observation.Batch) {
	m.one = m.Find(m.one[:0], ev)
	m.Emit(m.one, ev, b)
}

// Find appends the numbers of the detections that ev matches to dst, for Emit.
// Observe is Find and Emit; who has several events does better to find for all of
// them first.
func (m *Matcher) Find(dst []uint32, ev *event.Event) []uint32 {
	m.match(ev)
	return append(dst, m.matched...)
}

// Emit appends what ev contributes to b, given what Find found.
func (m *Matcher) Emit(found []uint32, ev *event.Event, b *observation.Batch) {
	if len(found) > 0 {
		m.begin()
		m.observe(found, ev, b)
	}
}
