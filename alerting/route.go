package alerting

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"gatewatch/detectors/observation"
)

// GroupAlone in GroupBy makes each incident a group of its own, as no GroupBy
// does. Alertmanager writes it so too.
const GroupAlone = "..."

// Route is a node of the routing tree, in Alertmanager's words. Nothing is
// inherited here: who reads a configuration has settled that.
type Route struct {
	// Matchers have to hold, all of them. The root has none.
	Matchers []Matcher
	// Receivers are told of what no route below takes. Unlike in Alertmanager
	// there may be several, or none.
	Receivers []string
	// GroupBy are the labels whose values make incidents one group. Empty, or
	// with GroupAlone, each incident is its own.
	GroupBy []string
	// GroupWait is how long a new group waits for more before it is told.
	// GroupInterval is the least time between two notifications of a group, and
	// between two that only say that an incident grew.
	GroupWait, GroupInterval time.Duration
	// RepeatInterval is when an open incident is told again though nothing
	// changed.
	RepeatInterval time.Duration
	// Nothing is told while a moment is in one of Mute, or, where there are any,
	// in none of Active.
	Mute, Active []TimeInterval
	// Continue lets routes that follow beside this one match too.
	Continue bool
	Routes   []Route
}

// InhibitRule keeps incidents that match Target from being told while another
// one that matches Source is open and has the same values of the labels Equal.
// What matches both sides is not inhibited by what does too.
type InhibitRule struct {
	Source, Target []Matcher
	Equal          []string
}

// Routing says who is told of which incident, and when.
type Routing struct {
	Root    Route
	Inhibit []InhibitRule
	// Receivers are all there are, by name.
	Receivers map[string]Recipient
}

// Recipient is what routing knows of a receiver.
type Recipient struct {
	MinLevel observation.Level // the least level of incidents that it is told of
	Keeps    bool              // see Traits
}

// DefaultRoute returns the tree of a configuration without one: every
// receiver is told of everything at its level, each incident alone. Zero
// intervals are those of BookOptions.
func DefaultRoute(targets []Target, groupInterval, repeatInterval time.Duration) Route {
	o := BookOptions{GroupInterval: groupInterval, RepeatInterval: repeatInterval}.withDefaults()
	r := Route{GroupInterval: o.GroupInterval, RepeatInterval: o.RepeatInterval}
	for _, t := range targets {
		r.Receivers = append(r.Receivers, t.Receiver.Name())
	}
	return r
}

// NewRouting returns the routing of a tree to targets. Its errors name
// receivers that there are not.
func NewRouting(root Route, inhibit []InhibitRule, targets []Target) (*Routing, error) {
	r := &Routing{Root: root, Inhibit: inhibit, Receivers: make(map[string]Recipient, len(targets))}
	for _, t := range targets {
		keeps := false
		if traits, ok := t.Receiver.(Traits); ok {
			keeps = traits.Keeps()
		}
		r.Receivers[t.Receiver.Name()] = Recipient{t.MinLevel, keeps}
	}
	return r, r.check(&r.Root)
}

func (r *Routing) check(at *Route) error {
	for _, name := range at.Receivers {
		if _, ok := r.Receivers[name]; !ok {
			return fmt.Errorf("a route names the receiver %q, which there is not", name)
		}
	}
	for i := range at.Routes {
		if err := r.check(&at.Routes[i]); err != nil {
			return err
		}
	}
	return nil
}

// dest is a receiver of one incident with the route that leads there.
type dest struct {
	receiver string
	keeps    bool
	route    *Route
	group    string // key of its group; "" where the incident is alone
}

// dests returns who is to be told of the incident: each receiver once, by the
// first route that leads to it.
func (r *Routing) dests(v *labelView) []dest {
	out := []dest{} // not nil: it is known
	r.Root.walk(v, "", func(route *Route, path string) {
		for _, name := range route.Receivers {
			rec := r.Receivers[name]
			if v.inc.level() < rec.MinLevel || slices.ContainsFunc(out, func(d dest) bool { return d.receiver == name }) {
				continue
			}
			out = append(out, dest{name, rec.Keeps, route, route.key(v, name, path)})
		}
	})
	return out
}

// walk calls f with the routes that take the incident: the deepest that match.
// path tells routes apart.
func (r *Route) walk(v *labelView, path string, f func(*Route, string)) bool {
	if !matchesAll(r.Matchers, v) {
		return false
	}
	taken := false
	for i := range r.Routes {
		if r.Routes[i].walk(v, path+"/"+strconv.Itoa(i), f) {
			taken = true
			if !r.Routes[i].Continue {
				break
			}
		}
	}
	if !taken {
		f(r, path)
	}
	return true
}

func (r *Route) alone() bool { return len(r.GroupBy) == 0 || slices.Contains(r.GroupBy, GroupAlone) }

// muted reports whether the route tells nothing now.
func (r *Route) muted(now time.Time) bool {
	in := func(list []TimeInterval) bool {
		return slices.ContainsFunc(list, func(t TimeInterval) bool { return t.Contains(now) })
	}
	return in(r.Mute) || len(r.Active) > 0 && !in(r.Active)
}
