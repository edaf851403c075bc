package observation

// Walk is what an IDWalk looks for beside the number of different ids: how
// they follow each other, and how they were answered. All shares are of the
// ids that the window holds, by the latest request for each; 0 asks for nothing.
// The window holds no ids before the first one with which it can begin, see Begins and Leads.
type Walk struct {
	Order Order
	// Step is how far an id may be from the one before, 0 for any distance.
	Step int64
	// Share of the ids that follow the one before them in Order and by Step. Only
	// ids that are numbers do.
	Share float64
	// Served, Denied and Missing are the least shares of ids that were answered
	// by 2xx or 304, by 403, and by 404 or 410. Refused is that of the last two together.
	Served, Denied, Missing, Refused float64
	// Factor is how many times the ids have to be what is usual for the route. A rule
	// of depth 1 that has one tells of its groups for the sake of one of depth 2, by route,
	// that it feeds, and is not Alerting. 0 means none.
	Factor float64
}

// Begins reports whether a window can begin with an id that was answered so, where
// the walk asks for refusals. So who gets what he asks for leaves nothing behind, and
// that is nearly everybody.
func (w *Walk) Begins(a Answer) bool {
	return !w.refusals() || a == Denied && w.Denied+w.Refused > 0 || a == Missing && w.Missing+w.Refused > 0
}

// Leads reports whether a window begins with an id that the next one follows: where
// the walk asks for order or step and for no refusals. Its first id is moreover one of which
// MayLead is true.
func (w *Walk) Leads() bool { return w.Follows() && !w.refusals() }

// MayLead is true of one number in sixteen, spread so evenly that whoever walks in steps
// of one to ten comes to one within sixty ids, and mostly within twenty: multiples of
// the golden ratio leave no wide gaps (Knuth, The Art of Computer Programming, volume 3, 6.4).
func MayLead(id uint64) bool { return id*0x9E3779B97F4A7C15>>60 == 0 }

// Choosy reports whether there are ids with which a window does not begin.
func (w *Walk) Choosy() bool { return w.Follows() || w.refusals() }

func (w *Walk) refusals() bool { return w.Denied+w.Missing+w.Refused > 0 }

// IDNumber returns the number that an id is; false for one that is none, or has more than
// 18 digits.
func IDNumber(id string) (n uint64, ok bool) {
	if id == "" || len(id) > 18 {
		return 0, false
	}
	for i := range len(id) {
		d := id[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + uint64(d)
	}
	return n, true
}

// Follow says whether y follows x upwards or downwards, by the step: 1 for the one that it does.
func (w *Walk) Follow(x, y uint64) (up, down uint32) {
	switch step := uint64(w.Step); {
	case y > x && (step == 0 || y-x <= step):
		return 1, 0
	case y < x && (step == 0 || x-y <= step):
		return 0, 1
	}
	return 0, 0
}

// Order says which way the ids of a walk go.
type Order uint8

// The orders of a walk.
const (
	AnyOrder   Order = iota
	Ascending        // each id above the one before
	Descending       // each below
	Monotonic        // one of the two, whichever
)

var orderNames = [...]string{"any", "ascending", "descending", "monotonic"}

// String returns the order's word in rules.
func (o Order) String() string { return orderNames[o] }

// Orders returns the words of all orders, in the order of their numbers.
func Orders() []string { return orderNames[:] }

// Follows reports whether ids have to follow each other in any way.
func (w *Walk) Follows() bool { return w.Order != AnyOrder || w.Step > 0 }

// Answer is how an id was answered, as Walk counts it.
type Answer uint8

// The answers that a Walk tells apart.
const (
	OtherAnswer Answer = iota
	Served
	Denied
	Missing
)

// AnswerOf returns what a response status says of an id.
func AnswerOf(status int32) Answer {
	switch {
	case status >= 200 && status < 300 || status == 304:
		return Served
	case status == 403:
		return Denied
	case status == 404 || status == 410:
		return Missing
	default:
		return OtherAnswer
	}
}

// Of returns how many of the ids that go up and of those that go down keep to the order.
func (o Order) Of(up, down uint32) uint32 {
	switch o {
	case Ascending:
		return up
	case Descending:
		return down
	case Monotonic:
		return max(up, down)
	default:
		return up + down
	}
}

// Walked is what an IDWalk saw: how many different ids, how many of them go up
// and down from the one before by the rule's step where it asks for order or step,
// and how they were answered. Usual is what busy groups of the route reach, 0 where that
// is not known or not asked.
type Walked struct {
	IDs, Up, Down           int64
	Served, Denied, Missing int64
	Follows                 bool
	Usual                   float64
}
