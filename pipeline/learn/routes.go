package learn

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Routes learns which segments of paths are values: names of articles, shops or
// people, that no syntax tells from the fixed words of an API. It sees only
// answers that gave what was asked for, so a list of guessed words, which are
// answered with 404, teaches nothing. It is a tree of the segments of routes.
type Routes struct {
	nodes []node
	Full  bool // there were more segments than the tree holds
}

// node is a segment in its place.
type node struct {
	children map[string]int32
	rest     int32 // stands for all further children; 0 for none
	n        int64 // requests that went through here
	ends     int64 // requests that ended here
	born     int64 // n of the parent when it first came here
	clients  few
}

// Bounds of the tree.
const (
	maxNodes    = 65536
	maxChildren = 512
	maxDepth    = 12
)

// What makes the children of a node values. A fixed part of an API is
// complete after a while; values keep coming.
const (
	leastValues  = 25
	manyValues   = 200
	leastNew     = 0.1  // of the values come in the second half
	leastUsers   = 5    // clients
	fixedShare   = 0.05 // of the requests of the node: a word that is asked for this often may be fixed
	fixedTimes   = 20   // and as often as this many usual values
	leastPattern = 10   // requests
)

// NewRoutes returns an empty tree.
func NewRoutes() *Routes { return &Routes{nodes: make([]node, 1)} }

// Add takes in a request of somebody who is no suspect.
func (t *Routes) Add(f *Fact) {
	if f.Route == "" || f.Route[0] != '/' || !good(f.Status) || f.Present&hasRoute != 0 || strings.Contains(f.Route, "{more}") {
		return
	}
	at, depth := int32(0), 0
	who := hashPrefix(f.Client)
	t.nodes[0].n++
	for rest := f.Route[1:]; rest != ""; depth++ {
		seg, tail, _ := strings.Cut(rest, "/")
		rest = tail
		if seg == "" {
			continue
		}
		if depth == maxDepth {
			return
		}
		next, ok := t.child(at, seg)
		if !ok {
			return
		}
		at = next
		t.nodes[at].n++
		t.nodes[at].clients.add(who)
	}
	t.nodes[at].ends++
}

func (t *Routes) child(at int32, seg string) (int32, bool) {
	p := &t.nodes[at]
	if next, ok := p.children[seg]; ok {
		return next, true
	}
	wide := len(p.children) >= maxChildren
	if wide && p.rest != 0 {
		return p.rest, true
	}
	if len(t.nodes) >= maxNodes {
		t.Full = true
		return 0, false
	}
	next := int32(len(t.nodes))
	born := p.n
	if wide {
		p.rest = next
	} else {
		if p.children == nil {
			p.children = map[string]int32{}
		}
		p.children[strings.Clone(seg)] = next
	}
	t.nodes = append(t.nodes, node{born: born})
	return next, true
}

// Route is a template that was learned, or a fixed path that has to stand before
// one.
type Route struct {
	Pattern  string
	Requests int64
	Values   int // different values of the learned slot, at least; 0 for a fixed path
	New      int // of these, first seen in the second half of the log
	Clients  int // at least
	Examples []string
	// Broad says that the template takes every path of its length.
	Broad bool
}

// Learned returns the routes to write, in the order in which they have to stand.
func (t *Routes) Learned() []Route {
	var out []Route
	t.walk("", []int32{0}, nil, &out)
	return out
}

// walk goes through nodes that are one in the template. slot is the learned slot
// on the way here, nil for none.
func (t *Routes) walk(prefix string, at []int32, slot *Route, out *[]Route) {
	if slot != nil {
		r := *slot
		r.Pattern, r.Requests = prefix, t.sum(at, func(n *node) int64 { return n.ends })
		if r.Requests >= leastPattern {
			*out = append(*out, r)
		}
	}
	children, n := t.children(at)
	names := slices.Sorted(maps.Keys(children))
	values, fixed, found := t.values(names, children, n)
	if !found {
		for _, name := range names {
			t.walk(prefix+"/"+name, children[name], slot, out)
		}
		return
	}
	for _, name := range fixed {
		t.fixed(prefix+"/"+name, children[name], out)
	}
	for _, ending := range endings(values) {
		merged := &Route{Broad: prefix == ""}
		var into []int32
		users := few{}
		for _, name := range values {
			if endingOf(name) != ending.text && !isSlot(name) {
				continue
			}
			for _, c := range children[name] {
				into = append(into, c)
				for _, h := range t.nodes[c].clients.list {
					users.add(h)
				}
			}
			if isSlot(name) {
				continue
			}
			merged.Values++
			if t.nodes[children[name][0]].born > n/2 {
				merged.New++
			}
			if len(merged.Examples) < 3 {
				merged.Examples = append(merged.Examples, name)
			}
		}
		if ending.text == "" {
			for _, p := range at {
				if r := t.nodes[p].rest; r != 0 {
					into = append(into, r)
				}
			}
		}
		merged.Clients = len(users.list)
		t.walk(prefix+"/{slug}"+ending.text, into, merged, out)
	}
}

// children returns the children of nodes by name, and how many requests went on.
func (t *Routes) children(at []int32) (out map[string][]int32, n int64) {
	out = map[string][]int32{}
	for _, p := range at {
		n += t.nodes[p].n
		for name, c := range t.nodes[p].children {
			out[name] = append(out[name], c)
		}
	}
	return out, n
}

func (t *Routes) sum(at []int32, of func(*node) int64) (n int64) {
	for _, p := range at {
		n += of(&t.nodes[p])
	}
	return n
}

// isSlot reports whether a segment of a template is nothing but a slot.
func isSlot(name string) bool { return name[0] == '{' && name[len(name)-1] == '}' }

// values decides whether the children of a node are values, and which of them
// are fixed words beside them.
func (t *Routes) values(names []string, children map[string][]int32, n int64) (values, fixed []string, found bool) {
	var words []string
	var counts []int64
	count := map[string]int64{}
	for _, name := range names {
		c := t.sum(children[name], func(x *node) int64 { return x.n })
		count[name] = c
		if !strings.Contains(name, "{") {
			words = append(words, name)
			counts = append(counts, c)
		}
	}
	if len(words) < leastValues {
		return nil, nil, false
	}
	slices.Sort(counts)
	usual := counts[len(counts)/2]
	users, late := few{}, 0
	for _, name := range words {
		if c := count[name]; float64(c) >= fixedShare*float64(n) && c >= fixedTimes*usual {
			fixed = append(fixed, name)
			continue
		}
		values = append(values, name)
		if t.nodes[children[name][0]].born > n/2 {
			late++
		}
		for _, c := range children[name] {
			for _, h := range t.nodes[c].clients.list {
				users.add(h)
			}
		}
	}
	if len(values) < leastValues || len(users.list) < leastUsers || len(values) < manyValues && float64(late) < leastNew*float64(len(values)) {
		return nil, nil, false
	}
	for _, name := range names {
		if isSlot(name) {
			values = append(values, name) // the same values, where they happen to hold a number
		}
	}
	return values, fixed, true
}

// fixed writes the routes below a fixed word, so that the template behind them
// does not take them.
func (t *Routes) fixed(prefix string, at []int32, out *[]Route) {
	const most = 20
	if n := t.sum(at, func(x *node) int64 { return x.ends }); n > 0 {
		*out = append(*out, Route{Pattern: prefix, Requests: n})
	}
	children, _ := t.children(at)
	names := slices.Sorted(maps.Keys(children))
	for _, name := range names[:min(len(names), most)] {
		t.fixed(prefix+"/"+name, children[name], out)
	}
}

type ending struct {
	text string
	n    int
}

// endingOf returns the extension of a file's name with its dot, "" for none.
func endingOf(name string) string {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name)-dot > 6 || len(name)-dot < 3 || strings.ContainsAny(name[dot:], "{}") {
		return ""
	}
	return name[dot:]
}

// endings returns the extensions that enough of the names have, most first; names
// with others are taken for names without.
func endings(names []string) []ending {
	counts := map[string]int{}
	for _, name := range names {
		if !isSlot(name) {
			counts[endingOf(name)]++
		}
	}
	var out []ending
	for text, n := range counts {
		if n >= leastValues/2 {
			out = append(out, ending{text, n})
		}
	}
	slices.SortFunc(out, func(a, b ending) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.text, b.text)) })
	return out[:min(len(out), 4)]
}

func hashPrefix(p netip.Prefix) uint64 {
	b := p.Addr().As16()
	return hashText(string(b[:]))
}
