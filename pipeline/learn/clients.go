package learn

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"gatewatch/event"
)

// Bounds of what is kept of clients.
const (
	maxClients = 32768
	maxAgents  = 4  // texts kept of one client
	maxFew     = 32 // hashes told apart of one client
	maxTop     = 8  // routes of one client
	objectBits = 4096
	slices64   = 64  // parts of the log in which a client is there or not
	burstPause = 120 // seconds of silence that end a burst
)

// Client is what one client did in the log, attacks left in.
type Client struct {
	Prefix   netip.Prefix
	Requests int64
	Good     int64 // answered 2xx or 304
	Moved    int64 // other 3xx
	Denied   int64 // 401 and 403
	Missing  int64 // 404 and 410
	Broken   int64 // 5xx, which is not the client's doing
	Attacks  int64 // requests with an attack class
	Robots   int64 // requests of /robots.txt
	Reads    int64 // GET and HEAD
	Static   int64 // files that pages load by themselves
	Passed   int64 // logins
	Failed   int64
	First    int64 // Unix seconds
	Last     int64

	Agents   []string // the first few
	Who      string   // the first principal, "" where the log names none
	agents   few
	whos     few
	accounts few
	routes   [maxTop]topRoute
	objects  *[objectBits / 64]uint64
	there    uint64 // a bit for each part of the log

	bursts    int64
	burstFrom int64
	gapMean   float64 // of the times from the start of a burst to that of the next
	gapM2     float64
	minutes   int64 // with a request
	minute    int64
	order     int64
}

// few are a few hashes.
type few struct {
	list []uint64
	more bool
}

// add reports whether the hash is a new one.
func (f *few) add(h uint64) bool {
	if h == 0 || f.more && len(f.list) >= maxFew || slices.Contains(f.list, h) {
		return false
	}
	if len(f.list) >= maxFew {
		f.more = true
		return false
	}
	f.list = append(f.list, h)
	return true
}

// topRoute counts one of a client's routes. n may hold requests of a route whose
// place it took, at most over of them.
type topRoute struct {
	method, route string
	n, over       int64
}

// Clients are the clients of a log, as many as fit: those with the fewest
// requests go first, but never a suspect.
type Clients struct {
	First, Last int64 // of the log, Unix seconds
	Keep        func(netip.Prefix) bool

	byPrefix map[netip.Prefix]*Client
	seen     int64
	Dropped  int64 // clients that were let go for want of room
}

// NewClients returns an empty table for a log that spans the times given.
func NewClients(first, last int64, suspects *Suspects) *Clients {
	return &Clients{
		First: first, Last: last, byPrefix: map[netip.Prefix]*Client{},
		Keep: func(p netip.Prefix) bool { return suspects.Clients[p] },
	}
}

// Add takes in a request.
func (c *Clients) Add(f *Fact) {
	if !f.Client.IsValid() {
		return
	}
	cl := c.byPrefix[f.Client]
	if cl == nil {
		if len(c.byPrefix) >= maxClients {
			c.prune()
		}
		c.seen++
		cl = &Client{Prefix: f.Client, First: f.Time, burstFrom: f.Time, bursts: 1, minute: math.MinInt64, order: c.seen}
		c.byPrefix[f.Client] = cl
	}
	cl.add(f, c.part(f.Time))
}

// part is which of the 64 parts of the log a time lies in.
func (c *Clients) part(t int64) int {
	if c.Last <= c.First {
		return 0
	}
	return int(min(max((t-c.First)*slices64/(c.Last-c.First+1), 0), slices64-1))
}

// prune lets the half with the fewest requests go.
func (c *Clients) prune() {
	list := slices.Collect(maps.Values(c.byPrefix))
	slices.SortFunc(list, func(a, b *Client) int {
		return cmp.Or(cmp.Compare(a.Requests, b.Requests), cmp.Compare(a.order, b.order))
	})
	for _, cl := range list[:len(list)/2] {
		if !c.Keep(cl.Prefix) {
			delete(c.byPrefix, cl.Prefix)
			c.Dropped++
		}
	}
}

// List returns all clients, most requests first.
func (c *Clients) List() []*Client {
	return slices.SortedFunc(maps.Values(c.byPrefix), func(a, b *Client) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), comparePrefix(a.Prefix, b.Prefix))
	})
}

// Of returns a client, nil for one that is not in the table.
func (c *Clients) Of(p netip.Prefix) *Client { return c.byPrefix[p] }

func (c *Client) add(f *Fact, part int) {
	c.Requests++
	switch s := f.Status; {
	case good(s):
		c.Good++
	case s >= 300 && s < 400:
		c.Moved++
	case s == 401 || s == 403:
		c.Denied++
	case s == 404 || s == 410:
		c.Missing++
	case s >= 500:
		c.Broken++
	}
	count := func(n *int64, is bool) {
		if is {
			*n++
		}
	}
	count(&c.Attacks, f.Attack)
	count(&c.Robots, f.Path == "/robots.txt")
	count(&c.Reads, f.Method == "GET" || f.Method == "HEAD")
	count(&c.Static, isStatic(f.Path))
	count(&c.Passed, f.Passed && f.Action <= event.ActionLogin)
	count(&c.Failed, f.Failed && f.Action <= event.ActionLogin)
	if c.agents.add(f.AgentID) && len(c.Agents) < maxAgents {
		c.Agents = append(c.Agents, strings.Clone(f.Agent[:min(len(f.Agent), maxAgent)]))
	}
	if f.Who != "" && c.whos.add(hashText(f.Who)) && c.Who == "" {
		c.Who = strings.Clone(f.Who)
	}
	if f.Login && f.Account != "" {
		c.accounts.add(hashText(f.Account))
	}
	c.there |= 1 << part
	c.route(f)
	if f.Object != 0 {
		if c.objects == nil {
			c.objects = new([objectBits / 64]uint64)
		}
		h := f.Object * 0x9E3779B97F4A7C15 >> 52
		c.objects[h/64] |= 1 << (h % 64)
	}
	c.pace(f.Time)
}

// pace follows the bursts of a client: how long from one to the next, and how
// much that varies (Welford).
func (c *Client) pace(t int64) {
	if m := t / 60; m > c.minute {
		c.minute = m
		c.minutes++
	}
	if t-c.Last > burstPause && c.Requests > 1 {
		gap := float64(t - c.burstFrom)
		c.burstFrom = t
		delta := gap - c.gapMean
		c.gapMean += delta / float64(c.bursts)
		c.gapM2 += delta * (gap - c.gapMean)
		c.bursts++
	}
	c.Last = max(c.Last, t)
}

// route counts a route among the client's most frequent ones: a new one takes the
// place of the rarest (Metwally, Agrawal, El Abbadi: Space-Saving, 2005).
func (c *Client) route(f *Fact) {
	least := 0
	for i := range c.routes {
		r := &c.routes[i]
		if r.n > 0 && r.route == f.Route && r.method == f.Method {
			r.n++
			return
		}
		if r.n < c.routes[least].n {
			least = i
		}
	}
	r := &c.routes[least]
	*r = topRoute{f.Method, strings.Clone(f.Route), r.n + 1, r.n}
}

// top returns the client's routes that are surely among its most frequent,
// most requests first.
func (c *Client) top() []topRoute {
	var out []topRoute
	for _, r := range c.routes {
		if r.n > 0 && r.n-r.over > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b topRoute) int {
		return cmp.Or(cmp.Compare(b.n-b.over, a.n-a.over), cmp.Compare(a.route, b.route), cmp.Compare(a.method, b.method))
	})
	return out
}

// Objects estimates how many different objects the client asked for, by the
// places of a bitmap that are still empty (Whang et al.: linear counting, 1990).
func (c *Client) Objects() int64 {
	if c.objects == nil {
		return 0
	}
	empty := 0
	for _, w := range c.objects {
		empty += bits.OnesCount64(^w)
	}
	if empty == 0 {
		empty = 1
	}
	return int64(math.Round(objectBits * math.Log(objectBits/float64(empty))))
}

// answered are the requests whose answer says something of the client: those
// that the server failed at do not.
func (c *Client) answered() int64 { return c.Requests - c.Broken }

// GoodShare is how much of what the server did not fail at gave what was asked
// for, from 0 to 1.
func (c *Client) GoodShare() float64 { return ratio(c.Good+c.Moved, c.answered()) }

// Presence is in how much of the log the client was there, from 0 to 1.
func (c *Client) Presence() float64 { return float64(bits.OnesCount64(c.there)) / slices64 }

// Every returns the usual time between the starts of two bursts in seconds, and
// how much it varies: the standard deviation as a share of it. ok is false for
// fewer than four bursts.
func (c *Client) Every() (seconds, varies float64, ok bool) {
	if c.bursts < 4 {
		return 0, 0, false
	}
	n := float64(c.bursts - 1)
	return c.gapMean, math.Sqrt(c.gapM2/n) / c.gapMean, true
}

// Shared reports whether several people or programs are behind the address.
func (c *Client) Shared() bool { return len(c.agents.list) >= 5 || len(c.whos.list) >= 5 }

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
