package detectors

import (
	"encoding/binary"
	"math"
)

// learned is a baseline as it was read, with its season.
type learned struct {
	baseline
	season [7]*day
}

// numbers are the parts of a baseline that go to disk, in their order.
func (b *baseline) numbers() (whole []*uint32, real []*float64) {
	whole = []*uint32{&b.at, &b.first, &b.seen, &b.off, &b.hour, &b.hourN, &b.all, &b.since, &b.crowd.buckets}
	real = []*float64{
		&b.sum, &b.unit, &b.sizes, &b.recent, &b.num, &b.den, &b.over[0], &b.sqr[0], &b.over[1], &b.sqr[1], &b.hourSum, &b.trend, &b.shift, &b.next,
	}
	for i := range b.last {
		real = append(real, &b.last[i])
	}
	for i := range b.up {
		real = append(real, &b.up[i], &b.down[i], &b.mids[i])
	}
	return whole, real
}

func putFloat(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

func putFloat32(b []byte, f float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
}

// putBaseline appends the baseline of a window.
func (e *Engine) putBaseline(b []byte, w *window) []byte {
	bl := e.baselines.at(w.side)
	whole, real := bl.numbers()
	for _, n := range whole {
		b = binary.AppendUvarint(b, uint64(*n))
	}
	for _, f := range real {
		b = putFloat(b, *f)
	}
	cold := byte(0)
	if bl.cold {
		cold = 1
	}
	b = append(b, cold)
	for i := range bl.crowd.now {
		b = putFloat32(putFloat32(b, bl.crowd.now[i]), bl.crowd.long[i])
	}
	for _, id := range bl.days {
		if id == 0 {
			b = append(b, 0)
			continue
		}
		d := e.days.at(id)
		b = append(b, 1)
		for i := range d.rate {
			b = putFloat32(append(b, d.weeks[i]), d.rate[i])
		}
	}
	return b
}

// putSender appends what is known of a client. Of counts the sums are the
// numbers of events and left out.
func (e *Engine) putSender(b []byte, x *sender) []byte {
	same := byte(1)
	if x.sums != 0 {
		same = 0
	}
	b = append(b, same)
	b = binary.AppendUvarint(b, uint64(x.at))
	b = binary.AppendUvarint(b, uint64(x.at-x.first))
	b = putFloat32(b, x.usual)
	for i := range x.events {
		b = binary.AppendUvarint(b, uint64(x.events[i]))
		if same == 0 {
			b = putFloat32(b, e.sums.at(x.sums)[i])
		}
	}
	return b
}

// float reads a number that is neither infinite nor none.
func (r *reader) float() float64 {
	f := math.Float64frombits(r.uint64())
	if math.IsNaN(f) || math.IsInf(f, -1) { // of baseline.next infinity is meant
		r.fail()
	}
	return f
}

func (r *reader) float32() float32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	f := math.Float32frombits(binary.LittleEndian.Uint32(r.b))
	r.b = r.b[4:]
	if f64 := float64(f); math.IsNaN(f64) || math.IsInf(f64, 0) {
		r.fail()
	}
	return f
}

func (r *reader) sender() (x sender, added sums) {
	same := r.byte()
	x.at = r.uint32()
	x.first = x.at - min(r.uint32(), x.at)
	x.usual = r.float32()
	for i := range x.events {
		x.events[i] = r.uint32()
		if added[i] = float32(x.events[i]); same == 0 {
			added[i] = r.float32()
		}
	}
	return x, added
}

// learned reads what putBaseline wrote.
func (r *reader) learned() *learned {
	l := &learned{}
	whole, real := l.numbers()
	for _, n := range whole {
		*n = r.uint32()
	}
	for _, f := range real {
		*f = r.float()
	}
	l.cold = r.byte() != 0
	for i := range l.crowd.now {
		l.crowd.now[i], l.crowd.long[i] = r.float32(), r.float32()
	}
	for i := range l.season {
		if r.byte() == 0 {
			continue
		}
		d := &day{}
		for j := range d.rate {
			d.weeks[j], d.rate[j] = r.byte(), r.float32()
		}
		l.season[i] = d
	}
	return l
}

// restoreBaseline makes a window with its baseline of what was read; false for damage.
func (e *Engine) restoreBaseline(v view, id uint32, l *loadedWindow) bool {
	w := v.w
	if l.learned == nil || l.learned.unit < 0 {
		return false
	}
	w.side = e.baselines.alloc()
	v.s.entries += baselineWorth
	m := e.model(v)
	*m.baseline = l.learned.baseline
	for i, d := range l.learned.season {
		if d != nil {
			m.baseline.days[i] = m.newDay()
			*e.days.at(m.baseline.days[i]) = *d
		}
	}
	for i := range l.nodes {
		nd := &l.nodes[i]
		kept := nd.node
		client := memberAddrOf(nd.client)
		if nd.sender.at > m.at || e.member(v.id, client) != nil {
			return false
		}
		kept.card = e.cards.acquire(&nd.card)
		nid := e.nodes.alloc()
		*e.nodes.at(nid) = kept
		v.s.entries++
		x := e.enterMember(v, nid, client)
		x.events, x.at, x.first, x.usual = nd.sender.events, nd.sender.at, nd.sender.first, nd.sender.usual
		if x.sums != 0 {
			*e.sums.at(x.sums) = nd.sums
		}
		e.append(w, nid)
	}
	for w.total > v.r.keep {
		w.lost = e.nodes.at(w.head).time
		e.dropHead(v)
	}
	bits := uint32(windowBehind)
	for _, i := range v.r.members {
		bits |= e.rules[i].bit
	}
	w.fired &= bits
	m.all &= w.fired
	if e.wakes(v, &m) {
		e.armBaseline(v, &m, id, v.ent.hash)
	}
	return true
}
