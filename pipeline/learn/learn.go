// Package learn works out configuration from past logs: which words in paths
// are values, which routes are logins and how their answers read, who the
// crawlers, monitors and partners are, which proxies to trust, and which thresholds
// would have been quiet. What it finds are proposals with the numbers behind
// them, written as a configuration for people to review.
//
// The statistics know events, not rules: a [Reader] decodes logs on all
// processors and hands out [Fact] values in the order of the logs, and what learns
// from them is a plain state machine that sees them one by one. So results depend on
// the logs and the options alone, not on the number of workers. Every table has
// a bound, and says so when the bound bit.
//
// Logs hold attacks. Clients that an incident accuses are named by [Suspects] and
// teach nothing, what is left is counted by clients instead of requests
// where one client could shift it, and nobody is taken for known without being
// unlike them: see [Client.Honest].
package learn

import (
	"net/netip"
	"strings"

	"gatewatch/event"
)

// Fact is what one request teaches. Strings are valid during the call that hands
// it over.
type Fact struct {
	Time   int64 // Unix seconds
	Client netip.Prefix
	Addr   netip.Addr // the client as logged
	Peer   netip.Addr
	Hop    netip.Addr // rightmost address of X-Forwarded-For; invalid where there is none

	Format  string
	Method  string
	Route   string // "" for a malformed request
	Path    string // undecoded, as logged
	Object  uint64 // hash of the id in the route's last slot, 0 for none
	Agent   string
	AgentID uint64 // hash of Agent
	Account string
	Who     string // key, consumer or user; "" where the log names none

	Status  int32
	Size    int64 // of the body, -1 unknown
	Login   bool
	Action  event.Action
	Failed  bool // a login that failed
	Passed  bool // a login that succeeded
	Attack  bool // the request has an attack class
	Present presence
}

// presence has a bit for each thing that the log tells of a request.
type presence uint16

const (
	hasClient presence = 1 << iota
	hasStatus
	hasAgent
	hasReferer
	hasQuery
	hasSize
	hasDuration
	hasWho
	hasAccount
	hasHost
	hasForwarded
	hasRoute // the gateway logged the template
	hasPeer
	presences = iota
)

// Suspects are those whom an incident accuses.
type Suspects struct {
	Clients    map[netip.Prefix]bool // groups as in Fact.Client
	Principals map[string]bool
}

// Suspect reports whether the request is one of a suspect.
func (s *Suspects) Suspect(f *Fact) bool {
	return s.Clients[f.Client] || f.Who != "" && s.Principals[f.Who]
}

// static are the endings of files that pages load by themselves.
var static = [...]string{
	".css", ".js", ".mjs", ".map", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".avif", ".ico", ".woff", ".woff2", ".ttf", ".mp4", ".webm",
}

// isStatic reports whether a path is that of a file that pages load by themselves.
func isStatic(path string) bool {
	dot := strings.LastIndexByte(path, '.')
	if dot < 0 || len(path)-dot > 6 {
		return false
	}
	for _, s := range static {
		if strings.EqualFold(path[dot:], s) {
			return true
		}
	}
	return false
}

// good reports whether an answer gave what was asked for.
func good(status int32) bool { return status >= 200 && status < 300 || status == 304 }
