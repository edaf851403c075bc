package alerting

import (
	"time"

	"gatewatch/detectors/observation"
)

// The states of an incident as printed.
const (
	StateOpen         = "open"
	StateAcknowledged = "acknowledged" // somebody has taken it on; ends when the level rises
	StateSilenced     = "silenced"     // open or acknowledged, and an active silence matches it
	StateResolved     = "resolved"
)

// Incident is an incident as people, the HTTP API and receivers see it: a
// snapshot that never changes and is only read. Its JSON form is a contract;
// fields are only ever added.
type Incident struct {
	ID     string            `json:"id"`
	Family string            `json:"family"`
	Parent string            `json:"parent,omitempty"`
	Rule   RuleRef           `json:"rule"`
	Rules  []RuleCount       `json:"rules"`
	State  string            `json:"state"`
	Group  map[string]string `json:"group"`

	// Sources are client addresses as logged, most active first.
	Sources  []string `json:"sources"`
	Accounts []string `json:"accounts"`
	Routes   []string `json:"routes"`
	// Entered are the accounts, of those that were tried, that somebody got into: at
	// most the first 100. Absent where nobody did, or the log has no names.
	Entered []string `json:"accounts_entered,omitempty"`

	FirstSeen  time.Time  `json:"first_seen"`
	DetectedAt time.Time  `json:"detected_at"`
	LastSeen   time.Time  `json:"last_seen"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`

	Count    int64      `json:"count"`
	Evidence []Evidence `json:"evidence"`

	// Level is that of Rule, or higher where a child raised it.
	Level   observation.Level `json:"level"`
	Subject string            `json:"subject"`

	Principals []string      `json:"principals"`
	Methods    []string      `json:"methods"`
	Statuses   []StatusCount `json:"statuses"`

	// The totals are how many distinct values there were; Estimated lists
	// those that are estimates because a limit was reached.
	SourcesTotal    int64    `json:"sources_total"`
	AccountsTotal   int64    `json:"accounts_total"`
	RoutesTotal     int64    `json:"routes_total"`
	PrincipalsTotal int64    `json:"principals_total"`
	SubjectsTotal   int64    `json:"subjects_total,omitempty"` // of an overflow incident
	Estimated       []string `json:"estimated,omitempty"`

	Children      []string `json:"children,omitempty"`
	ChildrenTotal int64    `json:"children_total,omitempty"`

	// Order is "approximate" when a record of this incident came behind the
	// merge, else absent.
	Order string `json:"order,omitempty"`
	// LateOnly says that only records far behind their source's clock are in it.
	LateOnly bool `json:"late_only,omitempty"`
	// Message is what gatewatch says of itself, in incidents of its own.
	Message string `json:"message,omitempty"`
	// Basis says what rules with a learned baseline expected and what they saw, what
	// walks through ids looked like, and who had been before where somebody now is.
	Basis []string `json:"basis,omitempty"`
	// Limits says what the log behind this incident could not show.
	Limits   []string `json:"limits,omitempty"`
	Revision int64    `json:"revision"`

	// Acknowledged says who has taken the incident on; absent where nobody
	// has, or where the level rose since.
	Acknowledged *Action `json:"acknowledged,omitempty"`
	// FalsePositive says that somebody marked it so.
	FalsePositive bool `json:"false_positive,omitempty"`
	// SilencedBy are the ids of the active silences that match it, the earliest
	// to end first; SilencedUntil is when the last of them ends.
	SilencedBy    []string   `json:"silenced_by,omitempty"`
	SilencedUntil *time.Time `json:"silenced_until,omitempty"`
	// InhibitedBy are the ids of open incidents for whose sake it is not told,
	// at most ten.
	InhibitedBy []string `json:"inhibited_by,omitempty"`
	// Actions are what people did, oldest first, at most the latest 20.
	Actions []Action `json:"actions,omitempty"`

	// Digest lists the incidents that this one stands for, which is only made
	// to be sent; the highest first. Rule.Title says how many they are.
	Digest []DigestEntry `json:"digest,omitempty"`
	// Test says that the incident never was.
	Test bool `json:"test,omitempty"`
}

// DigestEntry is one incident of a digest, in short.
type DigestEntry struct {
	ID        string            `json:"id"`
	Revision  int64             `json:"revision"`
	Cause     Cause             `json:"cause"`
	Title     string            `json:"title"`
	Level     observation.Level `json:"level"`
	Family    string            `json:"family"`
	State     string            `json:"state"`
	Group     map[string]string `json:"group"`
	Count     int64             `json:"count"`
	FirstSeen time.Time         `json:"first_seen"`
	LastSeen  time.Time         `json:"last_seen"`
}

// RuleRef names a rule.
type RuleRef struct {
	ID    string            `json:"id"`
	Title string            `json:"title"`
	Level observation.Level `json:"level"`
	Tags  []string          `json:"tags"`
}

// RuleCount is what one rule contributed to an incident.
type RuleCount struct {
	ID         string            `json:"id"`
	Title      string            `json:"title"`
	Level      observation.Level `json:"level"`
	Count      int64             `json:"count"`
	DetectedAt time.Time         `json:"detected_at"`
}

// Evidence is one log line. Text is "" until it was fetched, or when it can
// no longer be had.
type Evidence struct {
	Line int64  `json:"line"`
	File string `json:"file"`
	Text string `json:"text"`
}

// StatusCount is a response status and how often it was seen.
type StatusCount struct {
	Status int32 `json:"status"`
	Count  int64 `json:"count"`
}

// stamp keeps times inside what RFC 3339 can say.
func stamp(t int64) time.Time {
	const year1, year9999 = -62135596800, 253402300799
	return time.Unix(min(max(t, year1), year9999), 0).UTC()
}
