package sigma

import (
	"math/bits"
	"slices"

	"gatewatch/event"
)

// shape is an event without its long tail: what it has in fields of few values, and
// which of the other fields it has at all. Requests of the same shape come again and
// again, so what is true of a shape, and which detections hold for it, is
// remembered, and of most events only the target remains to be searched. All
// that depends on something else is looked at each time, so this changes no result.
type shape struct {
	has    event.FieldSet // fields that have a value; of those that are true or false, that are true
	values uint64
}

// Where the values are in shape.values, and what stands for one that has to be looked at.
const (
	shapeStatus  = 0  // the status
	shapeMethod  = 10 // 1 + index in shapeMethods
	shapeOutcome = 14
	shapeAction  = 18
	shapeClass   = 21
	shapeSource  = 24
	shapeBroken  = 27
	shapeAgent   = 32 // number of a list of atoms

	lookStatus = 1<<10 - 1
	lookMethod = 1<<4 - 1
	lookAgent  = 1<<16 - 1
)

// shapeFields are the fields of which shapeOf knows whether an event has them, beside those
// that are closed.
var shapeFields = func() (set event.FieldSet) {
	for _, f := range []event.Field{
		event.FieldMethodOriginal, event.FieldScheme, event.FieldHost, event.FieldProtocol,
		event.FieldBodySize, event.FieldRequestSize, event.FieldDuration, event.FieldDurationMS,
		event.FieldReferer, event.FieldForwardedFor, event.FieldRequestID, event.FieldClient,
		event.FieldUser, event.FieldConsumer, event.FieldKeyID, event.FieldTokenHash, event.FieldSession,
		event.FieldRoute, event.FieldObjectID, event.FieldAccount, event.FieldMessageKey, event.FieldDestination,
		event.FieldAttackClass,
	} {
		set = set.Add(f)
	}
	return set
}()

// methodCode returns the code of a method, 0 for none.
func methodCode(s string) uint64 {
	switch s {
	case "":
		return 0
	case "GET":
		return 1
	case "POST":
		return 2
	case "PUT":
		return 3
	case "HEAD":
		return 4
	case "DELETE":
		return 5
	case "PATCH":
		return 6
	case "OPTIONS":
		return 7
	case "CONNECT":
		return 8
	case "TRACE":
		return 9
	case "_OTHER":
		return 10
	default:
		return lookMethod
	}
}

// shapeOf returns the shape of an event, with the fields that are asked for.
func (m *Matcher) shapeOf(ev *event.Event) shape {
	var has event.FieldSet
	text := func(f event.Field, s string) {
		if s != "" {
			has |= 1 << f
		}
	}
	size := func(f event.Field, n int64) {
		if n >= 0 {
			has |= 1 << f
		}
	}
	flag := func(f event.Field, is bool) {
		if is {
			has |= 1 << f
		}
	}
	text(event.FieldMethodOriginal, ev.MethodOriginal)
	text(event.FieldScheme, ev.Scheme)
	text(event.FieldHost, ev.Host)
	text(event.FieldProtocol, ev.Protocol)
	size(event.FieldRequestSize, ev.RequestSize)
	size(event.FieldBodySize, ev.BodySize)
	size(event.FieldDuration, ev.Duration)
	size(event.FieldDurationMS, ev.Duration)
	text(event.FieldReferer, ev.Referer)
	text(event.FieldForwardedFor, ev.ForwardedFor)
	text(event.FieldRequestID, ev.RequestID)
	text(event.FieldUser, ev.User)
	text(event.FieldConsumer, ev.ConsumerID)
	text(event.FieldKeyID, ev.KeyID)
	text(event.FieldTokenHash, ev.TokenHash)
	text(event.FieldSession, ev.SessionHash)
	text(event.FieldRoute, ev.Route)
	text(event.FieldObjectID, ev.ObjectID)
	text(event.FieldAccount, ev.Account)
	text(event.FieldMessageKey, ev.MessageKey)
	text(event.FieldDestination, ev.Destination)
	flag(event.FieldClient, ev.Client.IsValid())
	flag(event.FieldUserVerified, ev.UserVerified)
	flag(event.FieldLogin, ev.Login)
	flag(event.FieldAttackClass, len(ev.AttackClass) > 0)
	if ev.ObjectID != "" && m.x.shaped.Has(event.FieldObjectSampled) {
		flag(event.FieldObjectSampled, event.Sampled(ev.ObjectID))
	}
	agent := uint64(0)
	if ev.UserAgent != "" {
		agent = m.agentShape(ev)
	}
	status := uint64(lookStatus)
	if uint32(ev.Status) < 1000 {
		status = uint64(ev.Status)
	}
	return shape{
		has: has & m.x.shaped,
		values: status<<shapeStatus | methodCode(ev.Method)<<shapeMethod | uint64(ev.Outcome)<<shapeOutcome | uint64(ev.Action)<<shapeAction |
			uint64(ev.ClientClass)<<shapeClass | uint64(ev.ClientSource)<<shapeSource | uint64(ev.Malformed)<<shapeBroken | agent<<shapeAgent,
	}
}

func (s shape) status() uint64 { return s.values >> shapeStatus & lookStatus }
func (s shape) method() uint64 { return s.values >> shapeMethod & lookMethod }
func (s shape) agent() uint64  { return s.values >> shapeAgent & lookAgent }

// decides reports whether what is true of an input depends on the shape alone.
func (s shape) decides(st *step) bool {
	in := st.in
	switch {
	case st.kind == stepRequest:
		return false
	case in.src == srcMethod:
		return s.method() != lookMethod && !s.has.Has(event.FieldMethodOriginal)
	case in.src >= srcURL:
		return false
	}
	f := event.Field(in.src)
	switch f {
	case event.FieldStatus, event.FieldRefused:
		return s.status() != lookStatus
	case event.FieldMethod:
		return s.method() != lookMethod
	case event.FieldUserAgent:
		return s.agent() != lookAgent
	case event.FieldAttackOutcome:
		return s.status() != lookStatus || !s.has.Has(event.FieldAttackClass)
	case event.FieldUserVerified, event.FieldLogin, event.FieldOutcome, event.FieldAuthAction, event.FieldAuthFailed,
		event.FieldClientClass, event.FieldClientSource, event.FieldMalformed, event.FieldMalformedReason, event.FieldObjectSampled:
		return true
	}
	if !shapeFields.Has(f) {
		return false
	}
	return !s.has.Has(f) || in.bare()
}

// shapeNeeds returns the fields of a shape on which the decision about a source depends.
func (s source) shapeNeeds() (set event.FieldSet) {
	switch s {
	case srcMethod:
		return set.Add(event.FieldMethodOriginal)
	case fieldSource(event.FieldAttackOutcome):
		return set.Add(event.FieldAttackClass)
	case fieldSource(event.FieldUserVerified):
		return set.Add(event.FieldUser).Add(event.FieldUserVerified)
	case fieldSource(event.FieldObjectSampled):
		return set.Add(event.FieldObjectID).Add(event.FieldObjectSampled)
	}
	if s >= srcURL {
		return set
	}
	return set.Add(event.Field(s))
}

// bare reports whether all that is asked of the input is whether it has a value.
func (in *input) bare() bool {
	return in.auto == nil && in.exact == nil && in.nets == nil && len(in.eq)+len(in.gte)+len(in.lte)+len(in.texts) == 0
}

// agentShape returns the number of the list of what is true of the event's agent. Agents are many, and rules
// tell few of them from the others.
func (m *Matcher) agentShape(ev *event.Event) uint64 {
	if m.x.agent == noInput {
		return 0
	}
	if ev.Agent == nil {
		return lookAgent
	}
	k := &m.agents[ev.Agent.Number]
	if k.agent != ev.Agent {
		m.begin()
		m.lookAgent(ev, m.x.agent, m.x.inputs[m.x.agent])
	}
	return uint64(k.number)
}

func (m *Matcher) agentList(atoms []uint32) uint16 {
	for i, list := range m.lists {
		if slices.Equal(list, atoms) {
			return uint16(i + 1)
		}
	}
	if len(m.lists) == maxLists {
		return lookAgent
	}
	m.lists = append(m.lists, slices.Clone(atoms))
	return uint16(len(m.lists))
}

const (
	maxLists  = 64   // lists of atoms of agents; agents of others are looked up
	maxShapes = 1024 // a power of two
	maxTails  = 8    // a shape
	maxTail   = 32   // atoms
)

// shapeSlot is what is known of a shape.
type shapeSlot struct {
	shape shape
	used  bool
	atoms []uint32 // that are true
	rest  []uint16 // steps that it does not decide
	tails []shapeTail
	next  int // which of tails gave way last
}

// shapeTail is what detections say of the shape with some other atoms.
type shapeTail struct {
	atoms   []uint32
	matched []uint32 // detections, ascending
	ask     []uint32 // detections that have to be asked each time
}

func (s shape) slot() int {
	hi, lo := bits.Mul64(uint64(s.has)^0x9E3779B97F4A7C15, s.values^0xD6E8FEB86659FD93)
	return int((hi ^ lo) % maxShapes)
}

// match is find by way of the event's shape.
func (m *Matcher) match(ev *event.Event) {
	sh := m.shapeOf(ev)
	k := &m.shapes[sh.slot()]
	if k.shape != sh || !k.used {
		m.learnShape(ev, sh, k)
	}
	m.begin()
	for _, i := range k.rest {
		m.look(ev, &m.x.steps[i])
	}
	for i := range k.tails {
		if t := &k.tails[i]; slices.Equal(t.atoms, m.touched) {
			m.matched = append(m.matched, t.matched...)
			if len(t.ask) > 0 {
				for _, a := range k.atoms { // as setAll, but nothing becomes a candidate
					m.bits[a>>6] |= 1 << (a & 63)
				}
				m.touched = append(m.touched, k.atoms...)
				m.matchSome(ev, t.ask, nil)
				sortIDs(m.matched)
			}
			return
		}
	}
	n := len(m.touched)
	m.setAll(k.atoms)
	var t *shapeTail
	if n <= maxTail {
		t = k.tail()
		t.atoms, t.matched, t.ask = append(t.atoms[:0], m.touched[:n]...), t.matched[:0], t.ask[:0]
	}
	m.matchSome(ev, m.candidate, t)
	m.matchSome(ev, m.x.always, t)
	sortIDs(m.matched)
	if t != nil {
		sortIDs(t.matched)
	}
}

// matchSome asks some detections, and notes in t, if that is not nil, what they say of the atoms.
func (m *Matcher) matchSome(ev *event.Event, list []uint32, t *shapeTail) {
	for _, d := range list {
		m.asked = false
		holds := m.eval(ev, m.x.dets[d].entry)
		if holds {
			m.matched = append(m.matched, d)
		}
		switch {
		case t == nil:
		case m.asked:
			t.ask = append(t.ask, d)
		case holds:
			t.matched = append(t.matched, d)
		}
	}
}

// tail returns the place for one more tail, which may be that of another.
func (k *shapeSlot) tail() *shapeTail {
	if len(k.tails) < maxTails {
		k.tails = append(k.tails, shapeTail{})
		return &k.tails[len(k.tails)-1]
	}
	k.next = (k.next + 1) % maxTails
	return &k.tails[k.next]
}

// learnShape fills a slot with what is true of the event's shape.
func (m *Matcher) learnShape(ev *event.Event, sh shape, k *shapeSlot) {
	m.begin()
	k.shape, k.used, k.rest, k.tails = sh, true, k.rest[:0], k.tails[:0]
	for i := range m.x.steps {
		if sh.decides(&m.x.steps[i]) {
			m.look(ev, &m.x.steps[i])
		} else {
			k.rest = append(k.rest, uint16(i))
		}
	}
	k.atoms = append(k.atoms[:0], m.touched...)
}
