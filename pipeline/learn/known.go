package learn

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Kind says what a known client may be.
type Kind string

// The kinds of known clients.
const (
	Crawler  Kind = "crawler"
	Monitor  Kind = "monitor"
	Exporter Kind = "partner, export or indexer"
)

// Known is a client, or several that do the same, that may be left out of rules
// that count requests.
type Known struct {
	Kind    Kind
	Name    string // of a published list, "" for none
	Agent   string
	Clients []*Client // most requests first
	// Verified: every client is in the published ranges of Name.
	Verified bool
	// Once: it came a single time and does not say whose it is, so no filter is
	// proposed.
	Once bool
	// Who is the one principal of all their requests, "" for none.
	Who    string
	Routes []string // "METHOD /route", most requests first, at most eight; nil for many
}

// Requests is how many requests they sent.
func (k *Known) Requests() (n int64) {
	for _, c := range k.Clients {
		n += c.Requests
	}
	return n
}

// Ranges are published address ranges by the name that agents give.
type Ranges map[string][]netip.Prefix

// Find returns the name that the agent claims and whether the address is in its
// ranges.
func (r Ranges) Find(agent string, a netip.Prefix) (name string, in bool) {
	low := strings.ToLower(agent)
	for n, list := range r {
		if !strings.Contains(low, strings.ToLower(n)) || len(n) < len(name) || len(n) == len(name) && n > name {
			continue
		}
		name = n
		in = slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a.Addr()) && p.Bits() <= a.Bits() })
	}
	return name, in
}

// crawlerWords are what crawlers call themselves.
var crawlerWords = [...]string{
	"bot", "crawler", "spider", "slurp", "facebookexternalhit", "bingpreview", "archiver", "link preview", "embedly", "whatsapp", "telegram",
}

// monitorWords are what monitors call themselves.
var monitorWords = [...]string{
	"kube-probe", "prometheus", "uptimerobot", "pingdom", "statuscake", "healthcheck", "health-check", "elb-healthchecker",
	"googlehc", "blackbox", "site24x7", "datadog", "nagios", "check_http", "zabbix", "consul", "haproxy", "better uptime", "checkly",
}

func hasWord(agent string, words []string) bool {
	low := strings.ToLower(agent)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(low, w) })
}

// Requirements of what is proposed as known.
const (
	leastKnown    = 100  // requests
	leastExport   = 200  // requests
	leastExact    = 0.99 // of an export's requests give what they ask for
	leastMonitor  = 0.95
	mostRoutes    = 6
	mostSharing   = 3 // addresses that send the agent of an export
	leastObjects  = 25
	leastOneRoute = 0.6
)

// FindKnown looks among the clients for crawlers, monitors and exports. It passes by
// all suspects and whoever sent a payload, and whoever looks like one of many.
func FindKnown(clients *Clients, suspects *Suspects, ranges Ranges) (known []Known, pretenders []Known) {
	sharing := map[uint64]int{} // addresses by agent
	list := clients.List()
	for _, c := range list {
		for _, a := range c.agents.list {
			sharing[a]++
		}
	}
	at := map[string]int{}
	add := func(to *[]Known, k Known, c *Client) {
		key := string(k.Kind) + "\x00" + k.Name + "\x00" + k.Agent
		if k.Kind == Exporter {
			key += "\x00" + c.Prefix.String()
		}
		if to == &pretenders {
			key += "\x00not"
		}
		i, there := at[key]
		if !there {
			i = len(*to)
			at[key] = i
			*to = append(*to, k)
		}
		(*to)[i].Clients = append((*to)[i].Clients, c)
	}
	for _, c := range list {
		if c.Attacks > 0 || len(c.Agents) == 0 {
			continue
		}
		name, in := ranges.Find(c.Agents[0], c.Prefix)
		single := len(c.agents.list) == 1
		kind := Exporter
		if hasWord(c.Agents[0], crawlerWords[:]) {
			kind = Crawler
		}
		suspect := suspects.Clients[c.Prefix] || c.Who != "" && suspects.Principals[c.Who]
		switch {
		case name != "" && in:
			add(&known, Known{Kind: kind, Name: name, Agent: name, Verified: true}, c)
		case name != "":
			add(&pretenders, Known{Kind: kind, Name: name, Agent: name}, c)
		case suspect || !single || c.Requests < leastKnown:
		case hasWord(c.Agents[0], monitorWords[:]) && c.monitors(), c.monitors() && c.Presence() >= 0.9:
			add(&known, Known{Kind: Monitor, Agent: c.Agents[0]}, c)
		case hasWord(c.Agents[0], crawlerWords[:]) && c.crawls():
			add(&known, Known{Kind: Crawler, Agent: c.Agents[0]}, c)
		case c.exports() && sharing[c.agents.list[0]] <= mostSharing:
			add(&known, Known{Kind: Exporter, Agent: c.Agents[0], Once: !c.returns() && !c.rereads() && !declares(c.Agents[0])}, c)
		}
	}
	for i := range known {
		known[i].settle()
	}
	slices.SortStableFunc(known, func(a, b Known) int {
		if a.Verified != b.Verified {
			if a.Verified {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Requests(), a.Requests()))
	})
	return known, pretenders
}

// monitors: few routes, only read, always there, at a steady pace.
func (c *Client) monitors() bool {
	top := c.top()
	return len(top) <= mostRoutes && top[len(top)-1].over == 0 && c.Reads == c.Requests && c.GoodShare() >= leastMonitor &&
		c.Presence() >= leastPresence && c.Objects() == 0
}

// crawls: reads only, mostly finds what it asks for, logs in nowhere, and is
// there for a while.
func (c *Client) crawls() bool {
	return c.Reads == c.Requests && c.GoodShare() >= 0.75 && c.Denied == 0 && c.Passed+c.Failed == 0 &&
		(c.Robots > 0 || c.Presence() >= leastPresence)
}

// exports: a program that asks for many objects of one route or few, and
// gets them all.
func (c *Client) exports() bool {
	top := c.top()
	if len(top) == 0 || c.Requests < leastExport || c.Objects() < leastObjects || c.Static > 0 || c.Failed > 0 || c.Denied > 0 {
		return false
	}
	return c.GoodShare() >= leastExact && ratio(top[0].n-top[0].over, c.Requests) >= leastOneRoute && !looksLikeBrowser(c.Agents[0])
}

// rereads reports whether the client asked for its objects again and again, as
// who keeps a copy up to date does.
func (c *Client) rereads() bool { return float64(c.Requests) >= 1.8*float64(c.Objects()) }

// declares reports whether an agent says whose it is.
func declares(agent string) bool {
	return strings.Contains(agent, "http://") || strings.Contains(agent, "https://") || strings.Contains(agent, "@")
}

// looksLikeBrowser reports whether an agent is that of a browser: what people use,
// and what those use who do not want to be told from people.
func looksLikeBrowser(agent string) bool {
	return strings.HasPrefix(agent, "Mozilla/") && !strings.Contains(strings.ToLower(agent), "compatible;")
}

// settle works out what the clients have in common.
func (k *Known) settle() {
	k.Who = k.Clients[0].Who
	for _, c := range k.Clients {
		if c.Who != k.Who || len(c.whos.list) > 1 || c.whos.more {
			k.Who = ""
		}
	}
	counts := map[string]int64{}
	var covered int64
	for _, c := range k.Clients {
		for _, r := range c.top() {
			counts[r.method+" "+r.route] += r.n - r.over
			covered += r.n - r.over
		}
	}
	if len(counts) > maxTop || float64(covered) < 0.9*float64(k.Requests()) {
		return
	}
	for r := range counts {
		k.Routes = append(k.Routes, r)
	}
	slices.SortFunc(k.Routes, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
}
