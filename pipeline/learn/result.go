package learn

import (
	"net/netip"
	"time"
)

// Result is all that was learned of some logs.
type Result struct {
	Logs        []string // as named on the command line
	First, Last time.Time
	Lines       int64
	Requests    int64
	Formats     map[string]int64
	Now         time.Time

	Incidents int // at medium or above, which made suspects
	Suspects  int // clients and principals that taught nothing
	Cleared   []Cleared

	Coverage   []Field
	Risks      []Risk
	Proxies    []Proxy
	Trusted    []netip.Prefix
	Routes     []Route
	Logins     []Login
	Known      []Known
	Pretenders []Known
	Ranges     Ranges
	// Counting are the detections of which filters for known clients leave
	// requests out: those that only feed rules which count.
	Counting []RuleName
	Tunings  []Tuning
	// Unmeasured are the titles of rules that alert and have no one number.
	Unmeasured []string
	// Notes say which bound bit.
	Notes []string
}

// Cleared is a client that incidents accuse and that looks honest all the same.
type Cleared struct {
	Client *Client
	Rule   string // title
	Why    string
}

// RuleName names a rule; Name is "" for one without a name of its own.
type RuleName struct{ ID, Name, Title string }

// Tuning is what a rule with a threshold would have needed.
type Tuning struct {
	Rule      RuleName
	Family    string
	Counts    string // such as "requests of one client.address in 1m"
	Threshold float64
	// Most is the greatest number of somebody honest, 0 where there was none.
	Most    uint32
	Who     string
	At      time.Time
	AtLeast bool // Most is where measuring ended
	Why     string
	// Quiet is the threshold that is proposed, 0 for none.
	Quiet float64
	// Doubted are those who reached the threshold and do not look honest.
	Doubted int
	// Reached is the greatest number of a population, such as a route, that
	// reached the threshold without the suspects.
	Reached string
}
