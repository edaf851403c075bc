package event

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"unsafe"
)

// DeriveOptions say how identity is worked out. The zero value trusts no
// proxy and knows logins and routes by their form alone.
type DeriveOptions struct {
	// TrustedProxies are the networks of one's own proxies. Only what they
	// say in X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Logins are looked at first, in order.
	Logins []LoginRule
	// NoLoginWords turns off finding logins by the words of their path.
	NoLoginWords bool
	// Routes are looked at before the syntactic templates; the first match wins.
	Routes []RouteRule
	// Principals are the fields that say who acts, the first that is there; see PrincipalFields, which is what
	// nil means. An empty list leaves the client's address.
	Principals []Field
	// IPv6Whole makes each IPv6 address a client of its own instead of its /64.
	IPv6Whole bool
	// Classify makes what appends the kinds of attack in a request to a list; one
	// is made for each Deriver. nil finds none. It is asked only for rules that
	// look at attack.class or attack.outcome.
	Classify func() func(ev *Event, classes []string) []string
}

// Deriver fills the derived fields of events. Its results depend on the event
// and the options alone. A Deriver belongs to one goroutine.
type Deriver struct {
	// Hold makes strings stay valid until Forget, for who works on several events at once.
	Hold bool

	trusted addrSet
	logins  []loginRule
	words   bool
	routes  []pattern
	whole6  bool
	attacks func(*Event, []string) []string

	principals []Field
	agents     agentMemory

	path   []byte // scratch of unreserved
	route  []byte // scratch of the template
	cache  *pathCache
	search func(method, path string) int
}

// NewDeriver checks and compiles the options. Its error joins all faults.
func NewDeriver(o DeriveOptions) (*Deriver, error) {
	var faults []error
	d := &Deriver{
		words:  !o.NoLoginWords,
		whole6: o.IPv6Whole,
		route:  make([]byte, 0, 512),
		path:   make([]byte, 0, 512),
	}
	d.agents.seed = maphash.MakeSeed()
	if o.Classify != nil {
		d.attacks = o.Classify()
	}
	for _, p := range o.TrustedProxies {
		if !p.IsValid() {
			faults = append(faults, errors.New("a trusted proxy is no network; write one such as 10.0.0.0/8"))
		}
	}
	for _, r := range o.Logins {
		c, err := compileLogin(r)
		if err != nil {
			faults = append(faults, err)
		}
		d.logins = append(d.logins, c)
	}
	for _, r := range o.Routes {
		p, err := compilePattern(r.Pattern)
		if err != nil {
			faults = append(faults, err)
		}
		d.routes = append(d.routes, p)
	}
	if err := checkPrincipals(o.Principals); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("identity options: %w", errors.Join(faults...))
	}
	if d.principals = o.Principals; o.Principals == nil {
		d.principals = defaultPrincipals
	}
	d.trusted = newAddrSet(o.TrustedProxies)
	if len(d.logins) > 0 {
		d.cache = new(pathCache)
		d.search = d.findLogin
	}
	return d, nil
}

// Derive does what Identify and Classify do.
func (d *Deriver) Derive(ev *Event, need FieldSet) {
	d.Identify(ev, need)
	d.Classify(ev, need)
}

// Identify fills Client, ClientSource, ClientGroup, Agent, ClientClass, Route, ObjectID, Login, Action,
// Outcome, Account and Principal of ev. Principal stays empty where it would
// be the client's address; Event.Text gives that. need names the derived
// fields that some rule asks for: those whose making costs something and that
// are not in it may be left empty. Strings are valid until the next call, or
// Forget where Hold is set.
func (d *Deriver) Identify(ev *Event, need FieldSet) {
	if !d.Hold {
		d.Forget()
	}
	d.client(ev)
	ev.ClientGroup = d.group(ev.Client)

	path := ""
	if ev.Malformed == Wellformed {
		d.path, path = unreserved(d.path, ev.Path)
		d.path, path = dotless(d.path, path)
	}
	d.deriveRoute(ev, path, need)
	d.deriveLogin(ev, path)

	// A name that was just refused, or that a login only tries, is an
	// account under attack, not the one who acts.
	ev.Account = ev.LoginName
	if ev.Account == "" && (!ev.UserVerified || ev.Login) {
		ev.Account = ev.User
	}
	ev.Principal = d.principal(ev)
	if ev.Agent = d.agents.find(ev.UserAgent); ev.Agent != nil {
		ev.ClientClass = ev.Agent.Class
	} else if need.Has(FieldClientClass) {
		ev.ClientClass = ClassOf(ev.UserAgent)
	}
}

// Forget gives up the memory that strings of events are views into.
func (d *Deriver) Forget() { d.path, d.route = d.path[:0], d.route[:0] }

// Classify fills AttackClass, if need has it or the outcome.
func (d *Deriver) Classify(ev *Event, need FieldSet) {
	ev.AttackClass = ev.AttackClass[:0]
	if d.attacks != nil && (need.Has(FieldAttackClass) || need.Has(FieldAttackOutcome)) {
		ev.AttackClass = d.attacks(ev, ev.AttackClass)
	}
}

func (d *Deriver) deriveRoute(ev *Event, path string, need FieldSet) {
	switch {
	case path == "" || path[0] != '/':
		if path != "*" {
			path = ""
		}
		ev.Route, ev.ObjectID = path, ""
		return
	case ev.Route != "":
		// The gateway logged the template.
		if need.Has(FieldObjectID) {
			ev.ObjectID = objectOf(ev.Route, path)
		}
		return
	}
	for i := range d.routes {
		if object, ok := d.routes[i].match(path); ok {
			ev.Route, ev.ObjectID = d.routes[i].text, object
			return
		}
	}
	from := len(d.route)
	d.route, ev.ObjectID = appendRoute(d.route, path)
	ev.Route = view(d.route[from:])
}

func (d *Deriver) deriveLogin(ev *Event, path string) {
	ev.Login, ev.Action = false, ActionNone
	if path != "" {
		if d.cache != nil {
			if i := d.cache.find(ev.Method, path, d.search); i >= 0 {
				ev.Login, ev.Action = true, d.logins[i].action
				ev.Outcome = d.logins[i].outcome(ev.Status, ev.BodySize)
				return
			}
		}
		if d.words && ev.Method == "POST" {
			// A server that takes no POST there has no login there.
			kind := loginWords(path, ev.Host)
			if kind != loginNone && strings.HasSuffix(path, "/wp-login.php") {
				kind = ofWordPress(ev.Query)
			}
			if kind != loginNone && ev.Status != 405 && ev.Status != 501 {
				ev.Login, ev.Action = true, kind.action()
				ev.Outcome = kind.outcome(ev.Status)
				return
			}
		}
	}
	switch ev.Status {
	case 401:
		ev.Outcome = OutcomeFailure
	case 403:
		ev.Outcome = OutcomeDenied
	default:
		ev.Outcome = OutcomeNone
	}
}

func (d *Deriver) findLogin(method, path string) int {
	for i := range d.logins {
		r := &d.logins[i]
		if (r.method == "*" || r.method == method) && r.path.MatchString(path) {
			return i
		}
	}
	return -1
}

// view makes a string of b without copying it.
func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
