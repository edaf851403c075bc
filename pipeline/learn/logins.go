package learn

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"gatewatch/event"
)

// Logins learns which routes are logins and which of their answers mean that it
// failed. What a person does next tells: who was refused tries again, who was
// let in goes on. So it needs no meaning of statuses, and tells answers of one
// status apart by their size. Nobody counts more than a few times for one answer of
// one route.
type Logins struct {
	routes []*loginRoute
	byName map[string]int
	actors map[actorKey]*actor
	Full   bool // there were more routes than are told apart
}

// actorKey is a client and its agent: of several people behind one address, few
// have the same.
type actorKey struct {
	client netip.Prefix
	agent  uint64
}

type actor struct {
	pending *loginRoute
	status  int32
	size    int64
	time    int64
	said    [maxSaid]said
}

// said is how often an actor counted for an answer.
type said struct {
	route  *loginRoute
	status int32
	n      int8
}

type loginRoute struct {
	method, route string
	words         bool // the path has the words of a login, or the configuration says so
	action        event.Action
	named         int64
	n             int64
	answers       map[int32]*answer
}

// answer is what followed the answers of one status.
type answer struct {
	n              int64
	retried, moved int64
	actors         int64
	failed, passed int64 // as the built-in reading has it
	sizes          map[int64]*follow
}

type follow struct{ retried, moved int64 }

// Bounds and requirements of what is learned of logins.
const (
	maxLoginRoutes = 512
	maxActors      = 65536
	maxStatuses    = 32
	maxSizes       = 1024
	maxSaid        = 8
	mostSaid       = 5   // times that one actor counts for one answer
	soon           = 600 // seconds in which somebody goes on

	leastFollowed  = 8
	leastActors    = 4
	retriedShare   = 0.35 // of those who were refused try again at once
	goesOnShare    = 0.2  // at most this share of those who were let in do
	leastOfSize    = 8
	failedSize     = 0.5
	leastSizeShare = 0.02
)

// NewLogins returns an empty table.
func NewLogins() *Logins {
	return &Logins{byName: map[string]int{}, actors: map[actorKey]*actor{}}
}

// Add takes in a request of somebody who is no suspect.
func (l *Logins) Add(f *Fact) {
	if f.Route == "" || !f.Client.IsValid() {
		return
	}
	key := actorKey{f.Client, f.AgentID}
	a := l.actors[key]
	tries := f.Login || f.Method == "POST" && !isStatic(f.Path)
	if a != nil && a.pending != nil {
		l.follow(a, f, tries)
	}
	if !tries || f.Status >= 500 || f.Status < 200 {
		return
	}
	r := l.routeOf(f)
	if r == nil {
		return
	}
	if a == nil {
		if len(l.actors) >= maxActors {
			l.forget(f.Time)
		}
		a = new(actor)
		l.actors[key] = a
	}
	r.n++
	if f.Login && !r.words {
		r.words, r.action = true, f.Action
	}
	if f.Account != "" {
		r.named++
	}
	w := r.answers[f.Status]
	if w == nil {
		if len(r.answers) >= maxStatuses {
			return
		}
		w = &answer{sizes: map[int64]*follow{}}
		r.answers[f.Status] = w
	}
	w.n++
	if f.Failed {
		w.failed++
	}
	if f.Passed {
		w.passed++
	}
	a.pending, a.status, a.size, a.time = r, f.Status, f.Size, f.Time
}

// follow counts what came after the answer that an actor waits with.
func (l *Logins) follow(a *actor, f *Fact, tries bool) {
	r := a.pending
	same := f.Route == r.route
	switch {
	case f.Time-a.time > soon:
		a.pending = nil // nobody knows
	case tries && same && f.Method == r.method:
		a.count(r, func(x *follow) { x.retried++ })
	case same || isStatic(f.Path):
		// The form again, and what it is made of.
	default:
		a.count(r, func(x *follow) { x.moved++ })
	}
}

func (a *actor) count(r *loginRoute, add func(*follow)) {
	a.pending = nil
	var mine *said
	for i := range a.said {
		s := &a.said[i]
		if s.n == 0 || s.route == r && s.status == a.status {
			mine = s
			break
		}
	}
	if mine == nil || mine.n >= mostSaid {
		return
	}
	w := r.answers[a.status]
	if mine.n == 0 {
		mine.route, mine.status = r, a.status
		w.actors++
	}
	mine.n++
	all := follow{w.retried, w.moved}
	add(&all)
	w.retried, w.moved = all.retried, all.moved
	if a.size < 0 {
		return
	}
	s := w.sizes[a.size]
	if s == nil {
		if len(w.sizes) >= maxSizes {
			return
		}
		s = new(follow)
		w.sizes[a.size] = s
	}
	add(s)
}

func (l *Logins) routeOf(f *Fact) *loginRoute {
	name := f.Method + " " + f.Route
	if i, ok := l.byName[name]; ok {
		return l.routes[i]
	}
	if len(l.routes) >= maxLoginRoutes {
		l.Full = true
		return nil
	}
	r := &loginRoute{method: f.Method, route: strings.Clone(f.Route), answers: map[int32]*answer{}}
	l.byName[name] = len(l.routes)
	l.routes = append(l.routes, r)
	return r
}

// forget lets those go who have nothing pending, or had it long ago.
func (l *Logins) forget(now int64) {
	for limit := int64(soon); len(l.actors) > maxActors/2; limit /= 2 {
		for k, a := range l.actors {
			if a.pending == nil || now-a.time > limit {
				delete(l.actors, k)
			}
		}
		if limit == 0 {
			break
		}
	}
	if len(l.actors) > maxActors/2 {
		clear(l.actors)
	}
}

// Login is a route that looks like a login.
type Login struct {
	Method, Route, Path  string // Path is the regular expression
	Requests, Named      int64
	Success, Failure     []int32
	FailureSize          []SizeSpan // of the status that is in both lists
	Statuses             []StatusTale
	Words                bool         // the path says so
	Action               event.Action // what the path says
	AsBuiltIn            bool         // it is read so without any setting
	Measured             bool         // what people did next says so, not only what statuses mean
	RetriedBad, MovedBad int64
}

// SizeSpan is a run of body sizes in bytes.
type SizeSpan struct{ From, To int64 }

// StatusTale is what was seen of one status.
type StatusTale struct {
	Status                           int32
	Requests, Retried, Moved, Actors int64
}

// Learned returns the logins, most requests first.
func (l *Logins) Learned() []Login {
	var out []Login
	for _, r := range l.routes {
		if login, ok := r.login(); ok {
			out = append(out, login)
		}
	}
	slices.SortStableFunc(out, func(a, b Login) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Method, b.Method))
	})
	return out
}

// verdict says what an answer means.
type verdict int

const (
	unclear verdict = iota
	failure
	success
	both // by the size of the body
)

func (w *answer) verdict() (v verdict, measured bool) {
	n := w.retried + w.moved
	if n < leastFollowed || w.actors < leastActors {
		return unclear, false
	}
	switch s := ratio(w.retried, n); {
	case s >= retriedShare:
		return failure, true
	case s <= goesOnShare:
		return success, true
	default:
		return unclear, true
	}
}

// meaning is what a status means at a login when nobody knows better.
func meaning(status int32) verdict {
	switch {
	case status == 400, status == 401, status == 403, status == 422, status == 429:
		return failure
	case status == 302, status == 303, status >= 200 && status < 300:
		return success
	default:
		return unclear
	}
}

func (r *loginRoute) login() (Login, bool) {
	out := Login{Method: r.method, Route: r.route, Path: pathOf(r.route), Requests: r.n, Named: r.named, Words: r.words, Action: r.action, AsBuiltIn: r.words}
	measuredFail, measuredPass := false, false
	for _, status := range slices.Sorted(maps.Keys(r.answers)) {
		w := r.answers[status]
		out.Statuses = append(out.Statuses, StatusTale{status, w.n, w.retried, w.moved, w.actors})
		v, measured := w.verdict()
		spans := w.spans()
		if len(spans) > 0 && len(out.FailureSize) == 0 {
			v, measured = both, true
			out.FailureSize = spans
		}
		if v == unclear && r.words {
			v = meaning(status)
			if status == 200 && w.failed+w.passed == 0 && !r.has401() {
				v = unclear // a form may answer so to both
			}
		}
		switch v {
		case failure:
			out.Failure = append(out.Failure, status)
			measuredFail = measuredFail || measured
		case success:
			out.Success = append(out.Success, status)
			measuredPass = measuredPass || measured
		case both:
			out.Failure, out.Success = append(out.Failure, status), append(out.Success, status)
			measuredFail, measuredPass = true, true
		}
		asRead := unclear
		switch {
		case w.failed > 0:
			asRead = failure
		case w.passed > 0:
			asRead = success
		}
		if v != asRead {
			out.AsBuiltIn = false
		}
		if v == failure {
			out.RetriedBad += w.retried
			out.MovedBad += w.moved
		}
	}
	out.Measured = measuredFail && measuredPass
	if len(out.Failure) == 0 || len(out.Success) == 0 {
		return out, false
	}
	return out, r.words || out.Measured
}

// has401 reports whether the route answers as an API does.
func (r *loginRoute) has401() bool {
	for _, s := range [...]int32{400, 401, 403, 422} {
		if r.answers[s] != nil {
			return true
		}
	}
	return false
}

// spans returns the sizes of those answers that meant failure, where others of
// the same status meant success.
func (w *answer) spans() []SizeSpan {
	type group struct {
		SizeSpan
		follow
	}
	var groups []group
	for _, size := range slices.Sorted(maps.Keys(w.sizes)) {
		s := w.sizes[size]
		if n := len(groups); n > 0 && size-groups[n-1].To <= max(16, size/50) {
			g := &groups[n-1]
			g.To = size
			g.retried += s.retried
			g.moved += s.moved
			continue
		}
		groups = append(groups, group{SizeSpan{size, size}, *s})
	}
	var failed []SizeSpan
	passed := false
	total := w.retried + w.moved
	for _, g := range groups {
		n := g.retried + g.moved
		if n < leastOfSize || float64(n) < leastSizeShare*float64(total) {
			continue
		}
		switch s := ratio(g.retried, n); {
		case s >= failedSize:
			failed = append(failed, g.SizeSpan)
		case s <= goesOnShare:
			passed = true
		}
	}
	if !passed || w.actors < leastActors {
		return nil
	}
	return failed
}

// pathOf returns the regular expression of the paths of a route.
func pathOf(route string) string {
	var b strings.Builder
	b.WriteByte('^')
	for rest := route; rest != ""; {
		open := strings.IndexByte(rest, '{')
		end := -1
		if open >= 0 {
			end = strings.IndexByte(rest[open:], '}')
		}
		if end < 0 {
			b.WriteString(regexp.QuoteMeta(rest))
			break
		}
		b.WriteString(regexp.QuoteMeta(rest[:open]))
		b.WriteString("[^/]+")
		rest = rest[open+end+1:]
	}
	b.WriteString("/?$")
	return b.String()
}

// Rule returns the login as event.DeriveOptions take it.
func (l *Login) Rule() event.LoginRule {
	r := event.LoginRule{
		Method: l.Method, Path: l.Path, Success: []string{statuses(l.Success)}, Failure: []string{statuses(l.failures())}, Action: l.Action.String(),
	}
	for _, s := range l.FailureSize {
		r.FailureSize = append(r.FailureSize, event.SizeRange{From: s.From, To: s.To})
	}
	return r
}
