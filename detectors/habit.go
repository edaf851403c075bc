package detectors

import (
	"encoding/binary"
	"math/bits"

	"gatewatch/detectors/observation"
)

// An id_walk with a factor is two rules of the plan. The lower one keeps the ids
// of each group, in the group's slot like any window, and opens nothing. The upper one is kept
// by route, behind the slots, where findings come in merged order: its window has no
// entries but the habit of the route. The lower tells it of every group that reaches eight
// ids, and twice as many, and so on; what it makes of that is the same however many
// workers there are. A finding of the lower that is far enough above the habit
// becomes one of the upper, about the same group.

// habit is what is known of one route: how many ids its busy groups ask for
// within the rule's timespan. What a group does now is learned when its hour is over, and
// is one of the numbers of that hour however long it goes on, so a walk does not
// make itself usual.
type habit struct {
	hour   uint32 // of the groups
	n      uint32
	groups [habitGroups]busyGroup // of the hour, the first so many
	seen   [habitLevels]uint32    // groups of earlier hours by the most ids that they reached
	told   [habitTold]told        // groups that are above the habit
}

// busyGroup is a group in an hour.
type busyGroup struct {
	who   uint32 // of its hash
	level uint32
}

// told is a group of which a finding told, and when it last grew.
type told struct {
	who, at uint32
}

const (
	habitFrom   = 8 // ids that make a group busy
	habitLevels = 11
	habitGroups = 64
	habitTold   = 16
	habitHour   = 3600
	// habitLeast groups have to be known before anything is usual, and of habitMost
	// half are forgotten.
	habitLeast = 20
	habitMost  = 1000
	// habitLasts is how long a route without busy groups is remembered, in seconds.
	habitLasts = 28 * 24 * 3600
	habitScore = ScoreFiring / 2
)

// habitLevel is 0 for 8 to 15 ids, 1 for 16 to 31, and so on.
func habitLevel(ids int64) uint32 {
	return uint32(min(max(bits.Len64(uint64(ids))-bits.Len64(habitFrom), 0), habitLevels-1))
}

// usual is how many ids at most nineteen of twenty busy groups reach; 0 where too
// few are known.
func (h *habit) usual() float64 {
	total, sum := uint32(0), uint32(0)
	for _, n := range h.seen {
		total += n
	}
	if total < habitLeast {
		return 0
	}
	for level, n := range h.seen {
		if sum += n; sum*20 >= total*19 {
			return float64(int64(habitFrom)<<(level+1) - 1)
		}
	}
	return 0
}

// pass goes on to an hour: what the one before brought is learned.
func (h *habit) pass(hour uint32) {
	if hour <= h.hour {
		return // behind the merge
	}
	total := uint32(0)
	for _, g := range h.groups[:h.n] {
		h.seen[g.level]++
	}
	for _, n := range h.seen {
		total += n
	}
	if total > habitMost {
		for i := range h.seen {
			h.seen[i] /= 2
		}
	}
	clear(h.groups[:h.n])
	h.hour, h.n = hour, 0
}

// note takes in how many ids a group has reached.
func (h *habit) note(who uint32, ids int64) {
	level := habitLevel(ids)
	for i := range h.groups[:h.n] {
		if g := &h.groups[i]; g.who == who {
			g.level = max(g.level, level)
			return
		}
	}
	if h.n < habitGroups {
		h.groups[h.n] = busyGroup{who, level}
		h.n++
	}
}

// tells reports whether a finding told of the group within a timespan.
func (h *habit) tells(who uint32, now, timespan int64) bool {
	for i := range h.told {
		if t := &h.told[i]; t.at != 0 && t.who == who {
			return int64(t.at) > now-timespan
		}
	}
	return false
}

// tell notes that a finding told of the group now; in the place of the one that was
// told of longest ago, if need be.
func (h *habit) tell(who uint32, now int64) {
	at := 0
	for i := range h.told {
		if h.told[i].at != 0 && h.told[i].who == who {
			at = i
			break
		}
		if h.told[i].at < h.told[at].at {
			at = i
		}
	}
	h.told[at] = told{who, stamp(now)}
}

// walkHabit is the windowType of the upper rule. Its windows have no entries and are
// judged by followUp alone.
type walkHabit struct{}

func (walkHabit) takes(*rule, *observation.Hit) bool { return false }

func (walkHabit) add(*Engine, view, *touch, *observation.Hit, uint32) uint32 { return 0 }

func (walkHabit) enter(*Engine, view, uint32, *observation.Hit) {}

func (walkHabit) leave(*Engine, view, uint32) {}

func (walkHabit) clear(e *Engine, v view) {
	e.habits.release(v.w.side)
	v.w.side = 0
}

func (walkHabit) number(*Engine, view, int64) (float64, bool) { return 0, false }

func (walkHabit) about(*Engine, view, uint32) float64 { return 0 }

func (walkHabit) size(*node) uint32 { return 1 }

func (walkHabit) tell(*Engine, *node, *observation.Item) {}

func (walkHabit) shape() shape { return shapeHabit }

// report tells the habit of a route how many ids a group has reached, if it
// was added a new one; with all of them while the walk holds, so that a
// finding can be made of it.
func (e *Engine) report(out *Findings, v view, t *touch, before uint32) {
	n := v.w.total
	if n <= before || n < habitFrom || n&(n-1) != 0 {
		return
	}
	f := e.finding(v, v.w.rule, t.key, t.o.Values)
	f.Sample, f.Number = true, int64(n)
	if v.w.fired&^windowBehind != 0 {
		f.Items = out.items(int(n))
		for id := v.w.head; id != 0; id = e.nodes.at(id).next {
			f.Items = append(f.Items, e.item(v, e.nodes.at(id), 0))
		}
	}
	out.List = append(out.List, f)
}

// followUp judges a finding of the lower rule of an id_walk against the habit
// of its route, and makes one of the upper rule of it.
func (e *Engine) followUp(f observation.Finding, to uint32, out *Findings) {
	r := &e.rules[to]
	from := &e.plan.Kinds[f.Kind]
	at := -1
	for i, name := range from.Fields {
		if name == "http.route" {
			at = i
		}
	}
	if at < 0 {
		return
	}
	route, ok := from.Field(f.Values, at)
	if !ok {
		return
	}
	now := f.Key.Time
	h := e.habitOf(r, to, route, now)
	h.pass(uint32(max(now, 0) / habitHour))
	who := uint32(f.Hash)
	if f.Number >= habitFrom {
		h.note(who, f.Number)
	}
	holds := f.Fired || f.Sample && len(f.Items) > 0
	if !holds && (f.Sample || !h.tells(who, now, r.Timespan)) {
		return
	}
	fresh := holds && (f.Fired || !h.tells(who, now, r.Timespan))
	if holds && !fresh {
		return // a sample of a group of which a finding told: growth tells the rest
	}
	usual := h.usual()
	if fresh && float64(f.Number) < min(r.Walk.Factor*usual, float64(r.keep)) {
		return
	}
	h.tell(who, now)
	f.Rule, f.Fired, f.Sample = to, fresh, false
	f.Walked.Usual = usual
	out.List = append(out.List, f)
}

// habitOf returns the habit of a route, new if there is none.
func (e *Engine) habitOf(r *rule, index uint32, route string, now int64) *habit {
	u := &e.upper
	u.scratch = observation.AppendText(u.scratch[:0], route)
	o := observation.Observation{Kind: r.Kind, Hash: e.plan.Kinds[r.Kind].Hash(u.scratch), Values: string(u.scratch)}
	s := e.slots[observation.Slot(o.Hash)]
	if now > s.now {
		s.now = now
		e.maybeSweep(s)
	}
	id := e.find(s, &o)
	switch {
	case id == 0:
		id = e.admit(s, &o)
	case e.entities.at(id).place == placeProbation:
		e.promote(s, id)
	}
	ent := e.entities.at(id)
	e.change(s, id, ent)
	ent.touched = stamp(now)
	w := e.window(e.windowOf(id, ent, index))
	if w.side == 0 {
		w.side = e.habits.alloc()
	}
	return e.habits.at(w.side)
}

// habitWorth is the score of a habit: half of a condition that is true, until
// it is too old.
func habitWorth(s *slot, ent *entity) uint32 {
	if int64(ent.touched) <= s.now-habitLasts {
		return 0
	}
	return habitScore
}

// putHabit appends the habit of a window.
func (e *Engine) putHabit(b []byte, w *window) []byte {
	h := e.habits.at(w.side)
	b = binary.AppendUvarint(b, uint64(h.hour))
	b = binary.AppendUvarint(b, uint64(h.n))
	for _, g := range h.groups[:h.n] {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(g.who)), uint64(g.level))
	}
	for _, n := range h.seen {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, t := range h.told {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.who)), uint64(t.at))
	}
	return b
}

// habit reads what putHabit wrote.
func (r *reader) habit() *habit {
	h := &habit{hour: r.uint32(), n: r.uint32()}
	if h.n > habitGroups {
		r.fail()
		return nil
	}
	for i := range h.groups[:h.n] {
		if h.groups[i] = (busyGroup{r.uint32(), r.uint32()}); h.groups[i].level >= habitLevels {
			r.fail()
			return nil
		}
	}
	for i := range h.seen {
		if h.seen[i] = r.uint32(); h.seen[i] > 2*habitMost {
			r.fail()
		}
	}
	for i := range h.told {
		h.told[i] = told{r.uint32(), r.uint32()}
	}
	return h
}
