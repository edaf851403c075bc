// Package detectors keeps the windows of all rules over all entities and says
// when a condition becomes true. It is the stateful half of gatewatch: state
// goes in and out as bytes, results depend on the ordered observations alone.
//
// An [Engine] owns some of the 256 fixed slots. Caps, eviction and admission
// are decided within a slot, so results do not depend on how slots are spread
// over engines. An Engine belongs to one goroutine.
package detectors

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"

	"gatewatch/detectors/observation"
)

// Options say which slots an engine owns and how much each may hold.
type Options struct {
	// Owns reports whether the engine owns a slot. nil owns all.
	Owns func(slot int) bool
	// Keys and Entries are the caps of one slot: entities, and kept times or
	// values. 0 means DefaultKeys and DefaultEntries.
	Keys, Entries int
	// Track makes the engine remember what changed, for BeginCut. Replays leave it off.
	Track bool
	// Probe, if not nil, is told how far windows get; see [Probe].
	Probe Probe

	kept    uint32 // for tests: entries that windows of types that do not count keep
	history int64  // for tests: what stands for silenceAfter, 0 for itself
}

// Caps of a slot when nothing is said.
const (
	DefaultKeys    = 4096
	DefaultEntries = 3 * DefaultKeys
)

// Bytes that one entity and one entry take in memory, measured with
// BenchmarkMemory, with the share of tables and shared texts.
const (
	entityBytes = 130
	entryBytes  = 64
)

// CapsFor returns the caps per slot that keep the windows of all slots within
// a budget in bytes, for two and a half entries an entity.
func CapsFor(budget int64) (keys, entries int) {
	const each = 2*entityBytes + 5*entryBytes // two entities
	k := 2 * budget / each / observation.Slots
	k = max(k, 16)
	return int(k), int(k * 5 / 2)
}

// Stats are counters since the engine was made, and sizes now.
type Stats struct {
	Entities, Entries int
	Probation         int    // entities of Entities that are on probation
	Evicted           uint64 // entities taken out of the main part because it was full
	EvictedAlive      uint64 // of these, the ones whose windows held unexpired entries
	EvictedScore      uint64 // highest score among these, 0 to 255
	Dropped           uint64 // entities dropped from probation
	Readmitted        uint64 // entities that the sketch remembered
	Swept             uint64 // entities removed because all their entries had expired
	Late              uint64 // hits of late records that entered no window
}

// Engine owns slots and their windows.
type Engine struct {
	plan     *observation.Plan
	byClient []bool // by kind: grouped by client.address alone
	// markReach is, by kind, how long a mark makes a difference.
	markReach []int64
	rules     []rule
	slots     [observation.Slots]*slot
	opts      Options

	entities arena[entity]
	windows  arena[window]
	lookup   pairTable // windows of entities that have more than a few
	nodes    arena[node]
	series   arena[series]
	cursors  arena[cursor]
	stages   arena[stages]
	digits   arena[digit]
	numbers  arena[float64]
	walks    arena[walked]
	habits   arena[habit]
	forest   forest

	baselines arena[baseline]
	days      arena[day]
	senders   arena[sender]
	sums      arena[sums]
	byMember  table                         // senders, by memberHash
	seeds     [3]uint64                     // of memberHash
	cohort    cohort                        // scratch: who stands out in the window at work
	grounds   [observation.MaxShared]uint32 // scratch: by member, over how many buckets its condition was found true
	crowds    []bool                        // by kind: see observation.Kind.Crowd
	choosy    []bool                        // by kind: has a rule whose hits do not always need an entity, see anyBegins
	rated     []uint32                      // by kind: a rule with a baseline of clients, plus 1

	cards   dict[observation.Card]
	values  dict[counted]
	clients dict[netip.Addr]
	byValue pairTable           // nodes by window and value, see valueCount
	occurs  map[valueKey]uint32 // see valueRarity
	timers  timers

	probationCap, mainCap, entriesCap int

	epoch                  uint8 // marks entities changed since the last cut
	cutting                bool  // entities with the other mark still have to be encoded
	enc                    encoder
	stats                  Stats
	victims                []victim
	value                  counted // for asking values: a local would be allocated
	touch                  touch   // the record at work: a local would be allocated
	ahead                  []ahead // see Apply; the first found of them are of use
	found                  int
	entered, enteredBefore uint64                   // members so far, and when lookUp looked
	owned                  [observation.Slots]uint8 // 1 for the slots that are there
	touched                uint32                   // keeps the loads of lookUp from being optimised away
	upper                  upper
}

// rule is what the hot path needs of an observation.Rule.
type rule struct {
	*observation.Rule
	typ     windowType
	own     uint32  // entries that the rule's bounds need
	gte     float64 // the bound where there is only gte or gt, or the number of steps; else -1
	expires bool    // also judged when entries expire
	empty   bool    // true of an empty window
	guarded bool    // not all of its observations count
	byValue bool    // values are found through Engine.byValue
	choosy  bool    // not every observation enters a window that holds nothing
	// hint is the rule's bit in entity.truths where others wait for it, 0 for none; hints are
	// those of all rules of the window. So whoever waits need not look for a window, as
	// long as that was not true since it was looked at last.
	hint, hints uint8

	// Rules that count the same share one window, that of their leader; bit is
	// the rule's own in window.fired and node.counted.
	leader uint32
	bit    uint32
	span   uint8 // index into the leader's spans

	// Of a leader. least is the lowest bound, where every rule of the window has
	// just one and is judged by what the window reaches of it; 0 where the one
	// rule of the window is judged by its number.
	members  []uint32 // by bit
	least    uint32
	keep     uint32 // newest entries to keep within the longest timespan
	most     uint32 // within any
	reach    int64  // the longest timespan
	shortest int64
	spans    []span
}

type slot struct {
	number    int
	table     table
	probation list
	main      list
	entries   int
	now       int64 // greatest window time seen
	order     uint32
	swept     int64 // window time of the last sweep
	survivors int   // entities left by it
	sketch    sketch
	warm      []raise

	dirty, pending []uint32
	metaDirty      bool
	out            slotOut
}

// entity is a group-by list with its values, and all its rules' windows.
type entity struct {
	hash       uint64
	windows    uint32
	prev, next uint32
	touched    uint32 // window time of the last observation
	marked     uint32 // window time of the last mark, for guards; 0 for none
	order      uint32 // place in the queue of probation
	kind       uint16
	place      uint8
	mark       uint8
	size       uint8 // of inline; longValues where long stands for the values
	many       uint8 // windows, up to fewWindows+1
	truths     uint8 // bits of the rules that others wait for and that may be true, see rule.hint
	inline     [18]byte
	own        window // the first window, here so that most observations touch one place
}

const longValues = 255

// long is the index into Engine.values where the encoded values do not fit inline.
func (ent *entity) long() uint32 { return binary.LittleEndian.Uint32(ent.inline[:]) }

func (ent *entity) setLong(index uint32) { binary.LittleEndian.PutUint32(ent.inline[:], index) }

const (
	placeNone = iota
	placeProbation
	placeMain
)

// New returns an engine for a plan.
func New(plan *observation.Plan, o Options) *Engine {
	if o.Keys <= 0 {
		o.Keys = DefaultKeys
	}
	if o.Entries <= 0 {
		o.Entries = DefaultEntries
	}
	e := &Engine{
		opts:         o,
		epoch:        1,
		cards:        newDict(hashCard, (*observation.Card).Same, cloneCard),
		values:       newDict(hashCounted, sameCounted, cloneCounted),
		clients:      newDict(hashAddr, sameAddr, cloneAddr),
		occurs:       map[valueKey]uint32{},
		forest:       forest{seed: rand.Uint64()},
		seeds:        [3]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()},
		probationCap: max(1, o.Keys/8),
		entriesCap:   max(2, o.Entries),
	}
	e.mainCap = max(1, o.Keys-e.probationCap)
	for i := range e.slots {
		if o.Owns == nil || o.Owns(i) {
			e.slots[i], e.owned[i] = &slot{number: i}, 1
		}
	}
	e.setPlan(plan)
	return e
}

func (e *Engine) setPlan(plan *observation.Plan) {
	e.plan = plan
	e.rules = make([]rule, len(plan.Rules))
	for i := range plan.Rules {
		r := &plan.Rules[i]
		c := rule{Rule: r, typ: typeOf(r), own: uint32(r.Keep()), gte: -1, expires: r.TrueWhenFewer(), reach: r.Timespan, guarded: r.Guard.Any()}
		c.choosy = r.Type == observation.IDWalk && r.Depth <= 1 && r.Walk.Choosy()
		if e.opts.kept > 0 && !r.Type.Counts() && r.Newest == 0 {
			c.own = e.opts.kept
		}
		c.keep = c.own
		switch {
		case r.Type.Steps():
			c.gte = float64(max(1, len(r.Steps)))
		case r.Type.Counts() || r.Type == observation.ValueSum:
			c.empty = r.Holds(0)
		}
		if r.Type.Counts() && !c.expires && !c.empty {
			c.least, c.gte = c.own, float64(c.own)
		}
		e.rules[i] = c
	}
	e.markReach = make([]int64, len(plan.Kinds))
	e.choosy = make([]bool, len(plan.Kinds))
	e.rated = make([]uint32, len(plan.Kinds))
	for i := range plan.Rules {
		if r := &e.rules[i]; r.choosy || len(r.Guard.While) > 0 {
			e.choosy[r.Kind] = true
		}
		if r := &plan.Rules[i]; r.Type == observation.RateAnomaly && e.rated[r.Kind] == 0 {
			e.rated[r.Kind] = uint32(i) + 1 // the leader, as it comes first
		}
		if r := &plan.Rules[i]; r.Guard.Unless || r.Guard.After {
			e.markReach[r.Kind] = max(e.markReach[r.Kind], r.Timespan)
		}
	}
	e.byClient = make([]bool, len(plan.Kinds))
	e.crowds = make([]bool, len(plan.Kinds))
	for i := range plan.Kinds {
		f := plan.Kinds[i].Fields
		e.crowds[i] = plan.Kinds[i].Crowd()
		e.byClient[i] = len(f) == 1 && f[0] == "client.address"
	}
	e.share(plan)
	e.hint()
	e.upper = newUpper(plan)
}

func (r *rule) holds(n float64) bool {
	if r.gte >= 0 {
		return n >= r.gte
	}
	return r.Holds(n)
}

// Stats returns the engine's counters.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Entities, s.Entries = e.entities.live, e.nodes.live
	for _, sl := range e.slots {
		if sl != nil {
			s.Probation += sl.probation.n
		}
	}
	return s
}

// Run is a stretch of records of one batch, in merged order.
type Run struct {
	Batch    *observation.Batch
	From, To int // records
	Source   uint32
	Rank     int32
}

// lookAhead is how many records Apply looks up before it judges them.
const lookAhead = 64

// Apply takes in the observations of a run that belong to the engine's slots,
// and appends what became true or grew to out.
//
// Looking entities up goes ahead of judging them: the look-ups of different
// entities do not wait for each other, and judging finds its memory in cache.
// With 50,000 clients that makes an observation a third cheaper (BenchmarkObserve).
func (e *Engine) Apply(run Run, out *Findings) {
	for from := run.From; from < run.To; from += lookAhead {
		to := min(from+lookAhead, run.To)
		e.lookUp(run.Batch, from, to)
		e.judge(run, from, to, out)
	}
}

// ahead is one of the engine's observations, and what lookUp found for it.
type ahead struct {
	rec, obs uint32 // indexes into the batch
	id       uint32 // of the entity, 0 for none
	member   uint32 // of its baseline, see memberAhead
}

// lookUp fills e.ahead with the engine's observations of the records, in their order.
//
// It goes over them several times, each time only as far as memory that has to be waited
// for: loops as short as these wait for many places at once.
func (e *Engine) lookUp(b *observation.Batch, from, to int) {
	n := 0
	for i := from; i < to; i++ {
		r := &b.Records[i]
		if need := n + int(r.Count); need > len(e.ahead) {
			e.ahead = append(e.ahead, make([]ahead, need)...)
		}
		for j := r.First; j < r.First+r.Count; j++ {
			e.ahead[n] = ahead{rec: uint32(i), obs: j}
			n += int(e.owned[observation.Slot(b.Obs[j].Hash)]) // no branch: which slot it is nobody can foretell
		}
	}
	found := e.ahead[:n]
	var touch uint32
	for k := range found {
		a := &found[k]
		hash := b.Obs[a.obs].Hash
		a.id = e.slots[observation.Slot(hash)].table.guess(hash)
	}
	for k := range found {
		if id := found[k].id; id != 0 {
			ent := e.entities.at(id) // its beginning and its end, which are of two lines of cache
			touch += uint32(ent.hash) + ent.own.head
		}
	}
	for k := range found {
		a := &found[k]
		o := &b.Obs[a.obs]
		// Whether it is the entity to the last byte is seen when it is judged.
		if a.id == 0 || e.entities.at(a.id).hash != o.Hash {
			a.id = e.find(e.slots[observation.Slot(o.Hash)], o)
		}
		if a.id == 0 {
			continue
		}
		ent := e.entities.at(a.id)
		if rule := e.rated[o.Kind]; rule != 0 {
			a.member = e.memberAhead(a.id, ent, rule-1, &b.Records[a.rec].Card)
			continue
		}
		if w := &ent.own; w.head != 0 {
			touch += e.nodes.at(w.head).next + e.nodes.at(w.tail).prev
		}
	}
	for k := range found {
		switch a := &found[k]; {
		case a.member == noMember:
		case a.member != 0:
			x := e.senders.at(a.member)
			touch += x.at + x.node
		case a.id != 0:
			// What comes to the head when that expires.
			if head := e.entities.at(a.id).own.head; head != 0 {
				if id := e.nodes.at(head).next; id != 0 {
					touch += e.nodes.at(id).time
				}
			}
		}
	}
	for k := range found {
		if at := found[k].member; at != 0 && at != noMember {
			touch += e.nodes.at(e.senders.at(at).node).card
		}
	}
	e.found, e.touched, e.enteredBefore = n, touch, e.entered
}

// judge judges what lookUp found of the records.
func (e *Engine) judge(run Run, from, to int, out *Findings) {
	b := run.Batch
	t := &e.touch
	for next := 0; next < e.found; {
		i := e.ahead[next].rec
		rec := &b.Records[i]
		if e.timers.due(rec.Window) {
			e.Advance(rec.Window, out)
		}
		t.rec = rec
		t.key = observation.Key{Time: rec.Window, Rank: run.Rank, Offset: rec.Offset}
		t.ref = observation.Ref{Source: run.Source, Offset: rec.Offset, Line: rec.Line, Length: rec.Length}
		for ; next < e.found && e.ahead[next].rec == i; next++ {
			a := &e.ahead[next]
			o := &b.Obs[a.obs]
			t.member = a.member
			e.observe(e.slots[observation.Slot(o.Hash)], t, o, a.id, b.HitsOf(o), out)
		}
		e.unlook(t)
	}
	for i := to - 1; i >= from; i-- {
		if rec := &b.Records[i]; rec.Count > 0 {
			if e.timers.due(rec.Window) {
				e.Advance(rec.Window, out)
			}
			return
		}
	}
}

// observe judges one observation of t's record. id is its entity as looked up
// some time before, 0 for none. The caller calls unlook when it is done with
// the record.
func (e *Engine) observe(s *slot, t *touch, o *observation.Observation, id uint32, hits []observation.Hit, out *Findings) {
	rec := t.rec
	if e.rated[o.Kind] != 0 && len(hits) == 1 && e.tally(s, t, o, id, &hits[0]) {
		return
	}
	if rec.Late && !e.anyPlain(hits) {
		e.stats.Late += uint64(len(hits))
		return
	}
	if rec.Window > s.now {
		s.now = rec.Window
		e.maybeSweep(s)
	}
	if id == 0 || !e.is(e.entities.at(id), o) {
		id = e.find(s, o) // it was not there, or what was judged in between displaced it
		t.member = 0      // which was of that one
	}
	switch {
	case id == 0:
		if e.choosy[o.Kind] && !o.Mark && !e.anyBegins(rec, hits) {
			return
		}
		id = e.admit(s, o)
	case e.entities.at(id).place == placeProbation:
		e.change(s, id, e.entities.at(id)) // as below: a cut may still have to write it as it was
		e.promote(s, id)
	}
	ent := e.entities.at(id)
	e.change(s, id, ent)
	ent.touched = stamp(rec.Window)
	t.s, t.o, t.id, t.ent = s, o, id, ent
	for i := range hits {
		h := &hits[i]
		if rec.Late && !e.rules[h.Rule].Plain {
			e.stats.Late++
			continue
		}
		e.hit(t, h, out)
	}
	if o.Mark && !rec.Late {
		ent.marked = max(ent.marked, stamp(rec.Window))
	}
	if s.entries > e.entriesCap {
		e.shed(s, id)
	}
}

// anyBegins reports whether any hit needs an entity that is not there: what counts only while
// another condition is true has none without the windows of that one.
func (e *Engine) anyBegins(rec *observation.Record, hits []observation.Hit) bool {
	for i := range hits {
		r := &e.rules[hits[i].Rule]
		if len(r.Guard.While) > 0 {
			continue
		}
		if !r.choosy || (idWalk{}).begins(r.Walk, &hits[i], rec.Card.Status) {
			return true
		}
	}
	return false
}

func (e *Engine) anyPlain(hits []observation.Hit) bool {
	for i := range hits {
		if e.rules[hits[i].Rule].Plain {
			return true
		}
	}
	return false
}

func (e *Engine) find(s *slot, o *observation.Observation) uint32 {
	if s.table.n == 0 {
		return 0
	}
	for i := s.table.first(o.Hash); ; i = s.table.after(i) {
		p := s.table.at[i]
		if p.id == 0 {
			return 0
		}
		if p.tag == tag(o.Hash) && e.is(e.entities.at(p.id), o) {
			return p.id
		}
	}
}

// is reports whether ent is the entity of o. A place that was given back is of none.
func (e *Engine) is(ent *entity, o *observation.Observation) bool {
	return ent.hash == o.Hash && ent.kind == o.Kind && ent.place != placeNone && e.sameValues(ent, o.Values)
}

func (e *Engine) sameValues(ent *entity, values string) bool {
	if ent.size == longValues {
		return e.values.entries[ent.long()].value.text == values
	}
	return string(ent.inline[:ent.size]) == values
}

// entityValues returns the encoded values of an entity as a string of its own.
func (e *Engine) entityValues(ent *entity) string {
	if ent.size == longValues {
		return e.values.entries[ent.long()].value.text
	}
	return string(ent.inline[:ent.size])
}

// enter makes an entity and puts it into the table, on no list yet. The values
// come by pointer so that asking the dictionary for them allocates nothing.
func (e *Engine) enter(s *slot, kind uint16, hash uint64, values *string) uint32 {
	id := e.entities.alloc()
	ent := e.entities.at(id)
	ent.hash, ent.kind = hash, kind
	if e.opts.Track {
		// Changed since the cut, and no part of it.
		ent.mark = e.epoch
		s.dirty = append(s.dirty, id)
	}
	if len(*values) <= len(ent.inline) {
		ent.size = uint8(copy(ent.inline[:], *values))
	} else {
		ent.size = longValues
		e.value = counted{text: *values}
		ent.setLong(e.values.acquire(&e.value))
	}
	if s.table.full() {
		e.finishWhole(s)
	}
	s.table.insert(hash, id)
	return id
}

func cloneString(s *string) string { return strings.Clone(*s) }

// cloneCard keeps all but what differs between the events that share a card.
// Its texts are copied into one string.
func cloneCard(c *observation.Card) observation.Card {
	k := *c
	k.Client, k.Bytes = netip.Addr{}, -1
	all := strings.Join([]string{c.Principal, c.Account, c.Method, c.Route, c.Before}, "")
	cut := func(n int) (s string) { s, all = all[:n], all[n:]; return s }
	k.Principal, k.Account, k.Method, k.Route, k.Before = cut(len(c.Principal)), cut(len(c.Account)), cut(len(c.Method)), cut(len(c.Route)), cut(len(c.Before))
	return k
}
