package detectors

import (
	"math"
	"net/netip"
	"slices"

	"gatewatch/detectors/observation"
)

// loadedNode is an entry as it was read, before it is known who keeps it.
type loadedNode struct {
	node
	card   observation.Card
	client netip.Addr
	hit    observation.Hit
	sender sender
	sums   sums
}

// loadedWindow is a window as it was read, for one of the leaders that its
// rules have now. Bits are those of the rules now.
type loadedWindow struct {
	leader      uint32
	bits        uint32 // of the rules that the window was for
	shape       shape
	fired, lost uint32
	total       uint64
	nodes       []loadedNode
	steps       [][stageSteps][2]uint32
	learned     *learned
	habit       *habit
}

// loadWindow reads a window and appends what is to be kept of it to found: the
// rules that shared it may be spread over several windows now.
func (e *Engine) loadWindow(r *reader, m *Mapping, cards []observation.Card, found []loadedWindow, touched int64) ([]observation.Card, []loadedWindow) {
	old := r.uvarint()
	flags := r.byte()
	l := loadedWindow{shape: shape(flags >> diskShape), fired: r.uint32()}
	if flags&diskLost != 0 {
		l.lost = r.before(touched)
	}
	n := r.count(8)
	if r.err != nil || old >= uint64(len(m.rules)) || l.shape >= shapes {
		r.fail()
		return cards, found
	}
	l.nodes = make([]loadedNode, 0, n)
	at := touched
	line, offset := int64(0), int64(0)
	for range n {
		nd := loadedNode{}
		at -= r.varint()
		if at < 1 || at > touched || l.shape != shapeMembers && len(l.nodes) > 0 && uint32(at) < l.nodes[len(l.nodes)-1].time {
			r.fail()
		}
		nd.time = uint32(at)
		size := r.uvarint()
		nd.hit.N = uint32(size >> 1)
		l.total += size >> 1
		if size>>1 == 0 || l.total > math.MaxInt32 {
			r.fail()
		}
		if size&1 != 0 {
			nd.counted = r.uint32()
		}
		nd.source = uint16(r.uvarint())
		offset += r.varint()
		line += r.varint()
		nd.offset, nd.line, nd.length = offset, uint32(line), uint32(r.uvarint())
		cards, nd.card = r.card(cards)
		nd.client = r.addr()
		if l.shape == shapeMembers {
			nd.sender, nd.sums = r.sender()
		} else {
			readShape(r, l.shape, &nd.hit)
		}
		if r.err != nil {
			return cards, found
		}
		l.nodes = append(l.nodes, nd)
	}
	switch l.shape {
	case shapeSteps:
		l.steps = r.stages(at)
	case shapeMembers:
		l.learned = r.learned()
	case shapeHabit:
		l.habit = r.habit()
	}
	if r.err != nil {
		return cards, found
	}
	members := m.windows[old]
	for i, mr := range members {
		leader := e.rules[mr.rule].leader
		if slices.ContainsFunc(members[:i], func(x mappedRule) bool { return e.rules[x.rule].leader == leader }) {
			continue
		}
		found = append(found, e.loadedFor(leader, members, l))
		if flags&diskBehind != 0 {
			found[len(found)-1].fired |= windowBehind
		}
	}
	return cards, found
}

// loadedFor is what was read of a window, for those of its rules that now have
// this leader.
func (e *Engine) loadedFor(leader uint32, members []mappedRule, l loadedWindow) loadedWindow {
	translate := func(old uint32) (now uint32) {
		for _, mr := range members {
			if r := &e.rules[mr.rule]; r.leader == leader && old&mr.bit != 0 {
				now |= r.bit
			}
		}
		return now
	}
	l.leader, l.fired, l.bits = leader, translate(l.fired), translate(math.MaxUint32)
	l.nodes = slices.Clone(l.nodes)
	if l.learned != nil {
		own := *l.learned
		own.all = translate(own.all)
		l.learned = &own
	}
	for i := range l.nodes {
		l.nodes[i].counted = translate(l.nodes[i].counted)
	}
	return l
}

// restoreAll makes an entity's windows of what was read; false for damage.
func (e *Engine) restoreAll(s *slot, id uint32, ent *entity, found []loadedWindow) bool {
	for i := range found {
		l := &found[i]
		if l.shape != e.rules[l.leader].typ.shape() {
			return false
		}
		// Rules that had a window each may share one now. The one that goes on is
		// that which reaches further back.
		for j := range found[:i] {
			if o := &found[j]; o.leader == l.leader && o.bits != 0 {
				if o.further(l) {
					o, l = l, o
				}
				l.fold(o)
				*o = loadedWindow{leader: o.leader, shape: o.shape}
			}
		}
	}
	for i := range found {
		if found[i].bits != 0 && !e.restore(s, id, ent, &found[i]) {
			return false
		}
	}
	return true
}

// further reports whether l has more of the past than o.
func (l *loadedWindow) further(o *loadedWindow) bool {
	switch {
	case l.learned != nil && o.learned != nil && l.learned.first != o.learned.first:
		return l.learned.first < o.learned.first
	case len(l.nodes) == 0 || len(o.nodes) == 0:
		return len(l.nodes) > 0
	case l.nodes[0].time != o.nodes[0].time:
		return l.nodes[0].time < o.nodes[0].time
	default:
		return l.total > o.total
	}
}

// fold adds to l what people were told of the rules of o.
func (l *loadedWindow) fold(o *loadedWindow) {
	if o.learned != nil { // who stood out is not the same for both: let it fire anew
		l.bits |= o.bits
		return
	}
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if o.bits&bit == 0 {
			continue
		}
		told := uint32(0)
		for i := range o.nodes {
			if o.nodes[i].counted&bit != 0 {
				told = o.nodes[i].time
			}
		}
		for i := range l.nodes {
			if l.nodes[i].time <= told {
				l.nodes[i].counted |= bit
			}
		}
	}
	l.bits |= o.bits
	l.fired |= o.fired
}

// restore makes a window of what was read; false for damage.
func (e *Engine) restore(s *slot, id uint32, ent *entity, l *loadedWindow) bool {
	r := &e.rules[l.leader]
	wid := e.windowOf(id, ent, l.leader)
	w := e.window(wid)
	v := view{s: s, ent: ent, id: wid, w: w, r: r}
	w.fired, w.lost = l.fired, l.lost
	if r.Type == observation.RateAnomaly {
		return e.restoreBaseline(v, id, l)
	}
	if l.shape == shapeHabit {
		if l.habit == nil || len(l.nodes) > 0 {
			return false
		}
		w.side = e.habits.alloc()
		*e.habits.at(w.side) = *l.habit
		return true
	}
	for i := range l.nodes {
		nd := &l.nodes[i]
		if !r.typ.takes(r, &nd.hit) {
			return false
		}
		nid := e.nodes.alloc()
		kept := nd.node
		kept.card = e.cards.acquire(&nd.card)
		if nd.client.IsValid() {
			kept.client = e.clients.acquire(&nd.client)
		}
		*e.nodes.at(nid) = kept
		s.entries++
		if r.Type == observation.ValueCount || r.Type == observation.IDWalk {
			// A value that is there twice would be taken away twice.
			e.value = counted{nd.hit.Hash, nd.hit.Value}
			value := e.values.acquire(&e.value)
			double := valueCount{}.find(e, v, value) != 0
			e.values.release(value)
			if double {
				return false
			}
		}
		r.typ.enter(e, v, nid, &nd.hit)
		e.append(w, nid)
	}
	if r.Type.Steps() && w.head != 0 {
		e.restoreStages(v, l.steps)
	}
	if r.expires {
		// What expired in a window that was shared over a longer time was not judged, nor is it now.
		e.expire(v, s.now)
	}
	if r.expires && w.head != 0 {
		e.arm(w, r, id, ent.hash)
	}
	e.settle(v)
	e.hinted(ent, r, w.fired)
	return true
}

// restoreStages puts back when steps were seen whose entries were let go.
func (e *Engine) restoreStages(v view, steps [][stageSteps][2]uint32) {
	for i := range len(v.r.Steps) {
		if i/stageSteps >= len(steps) {
			return
		}
		t := steps[i/stageSteps][i%stageSteps]
		st := e.stages.at(e.stageOf(v, i))
		st.last[i%stageSteps] = max(st.last[i%stageSteps], t[0])
		st.from[i%stageSteps] = max(st.from[i%stageSteps], t[1])
	}
}

// settle fits a window to rules whose bounds may have changed since it was
// written: the state that people were told of is kept while it is still true.
func (e *Engine) settle(v view) {
	at := int64(v.w.tailTime)
	e.trim(v, at)
	v.w.fired &= e.truth(v, at) | windowBehind
}
