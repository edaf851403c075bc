package api

import "time"

// Status is what a running gatewatch says of itself, as JSON at
// /api/v1/status and as numbers at /metrics. Names in it come from the
// configuration and the rule set, texts from gatewatch itself; nothing comes
// from a log. Totals count from the start of the process.
type Status struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`

	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why not ready; empty when ready

	Sources     []Source    `json:"sources"`
	Collectors  []Collector `json:"collectors"` // those that count something
	DeadLetters DeadLetters `json:"dead_letters"`
	MergedTime  *time.Time  `json:"merged_time,omitempty"` // absent before the first record
	CatchUp     []CatchUp   `json:"catch_up"`              // empty unless much is to be read
	Windows     Windows     `json:"windows"`
	Checkpoint  Checkpoint  `json:"checkpoint"`
	Rules       Rules       `json:"rules"`
	Receivers   []Receiver  `json:"receivers"`
	Reload      Reload      `json:"reload"`

	// StateSetAside is where a damaged state file was moved at the start.
	StateSetAside string `json:"state_set_aside,omitempty"`
}

// Source is the status of one source.
type Source struct {
	Name       string           `json:"name"`
	State      string           `json:"state"` // reading, idle, failing or gone
	Error      string           `json:"error,omitempty"`
	Offset     int64            `json:"offset"`          // logical bytes judged, through all rotations; of a partition, the next message to be judged
	Line       int64            `json:"line"`            // lines judged, through all rotations
	Clock      *time.Time       `json:"clock,omitempty"` // absent before the first record
	Lines      int64            `json:"lines"`           // lines read
	Events     int64            `json:"events"`          // lines that were requests
	Formats    map[string]int64 `json:"formats"`         // events by format
	Unreadable map[string]int64 `json:"unreadable"`      // lines by reason
	Skipped    map[string]int64 `json:"skipped"`         // lines passed over by reason
	Late       int64            `json:"late"`            // records behind the source's own clock
	Behind     int64            `json:"behind"`          // records behind the merge
	// Queue says that the source is a partition of a topic.
	Queue bool `json:"queue,omitempty"`
	// Lag is there for a partition that is being read.
	Lag *Lag `json:"lag,omitempty"`
	// Unread is there for a file, once it was looked at.
	Unread *Unread `json:"unread,omitempty"`
	// Generation numbers the files that the source was since the start; each rotation adds one.
	Generation int64 `json:"generation,omitempty"`
}

// Lag is how far the judged records of a partition are behind its end.
type Lag struct {
	Messages int64   `json:"messages"` // not judged yet
	Seconds  float64 `json:"seconds"`  // that event time is behind the wall clock because of them; 0 where there are none
}

// Unread is how far the judged lines of a file are behind its end.
type Unread struct {
	Bytes   int64   `json:"bytes"`   // not judged yet; compressed rotations count as what they are on disk
	Seconds float64 `json:"seconds"` // that event time is behind the wall clock because of them; 0 where there are none
}

// CatchUp is how far a gatewatch has come that has much to read: what was
// written while it was stopped, or faster than it reads.
type CatchUp struct {
	Unit      string     `json:"unit"`                 // bytes of files, or messages of partitions
	Since     time.Time  `json:"since"`                // when it was first seen to be behind
	Read      int64      `json:"read"`                 // judged since then
	Left      int64      `json:"left"`                 // not judged yet
	PerSecond float64    `json:"per_second"`           // judged lately; 0 where that is not known yet
	Seconds   *float64   `json:"seconds,omitempty"`    // until nothing is left; absent where that is not known, or where as much is written as is read
	EventTime *time.Time `json:"event_time,omitempty"` // up to where all sources are judged; absent before the first record
}

// Collector tells what happened to a collector that is not the matter of one
// source, such as a member of a consumer group.
type Collector struct {
	Name   string           `json:"name"`
	Events map[string]int64 `json:"events"` // by kind
}

// DeadLetters counts messages of which no event could be made.
type DeadLetters struct {
	Stored int64 `json:"stored"` // put aside
	Lost   int64 `json:"lost"`   // that should have been put aside and could not
}

// Windows is the status of the windows' memory.
type Windows struct {
	Entities     int64 `json:"entities"`
	Entries      int64 `json:"entries"`
	Probation    int64 `json:"probation"` // entities seen once so far
	BudgetBytes  int64 `json:"budget_bytes"`
	Evicted      int64 `json:"evicted"`       // entities pushed out because memory was full
	EvictedAlive int64 `json:"evicted_alive"` // of these, the ones with unexpired entries
	Dropped      int64 `json:"dropped"`       // entities that probation dropped
	Readmitted   int64 `json:"readmitted"`    // dropped ones that came again and were known
	Late         int64 `json:"late"`          // hits of late records that entered no window
}

// Checkpoint is the status of durable state.
type Checkpoint struct {
	Last       *time.Time    `json:"last,omitempty"` // absent before the first
	Total      int64         `json:"total"`
	Duration   time.Duration `json:"duration_ns"` // of the last commit
	StateBytes int64         `json:"state_bytes"` // size of the state file
}

// Rules counts the rule documents and what their windows did.
type Rules struct {
	Loaded   int          `json:"loaded"`
	Disabled int          `json:"disabled"`
	Refused  int          `json:"refused"` // documents that do not load
	Windows  []RuleWindow `json:"windows"`
}

// RuleWindow tells what a rule that keeps windows did: a correlation, or a
// detection that opens incidents by itself.
type RuleWindow struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Shadow says that the rule is only watched: its incidents are told to nobody.
	Shadow    bool   `json:"shadow,omitempty"`
	Incidents uint64 `json:"incidents"`        // incidents that it opened or became part of
	Untold    uint64 `json:"untold,omitempty"` // notifications that there would have been, were it not only watched
	Firings   uint64 `json:"firings"`          // times that its condition became true
	Growth    uint64 `json:"growth"`           // observations that came while it was true
	Missing   uint64 `json:"missing"`          // events that lacked a field to group by or to count
}

// Receiver tells how the deliveries of one receiver go.
type Receiver struct {
	Name        string           `json:"name"`
	Pending     int64            `json:"pending"`  // revisions not yet accepted
	Attempts    map[string]int64 `json:"attempts"` // by how they ended, "ok" among them
	LastSuccess *time.Time       `json:"last_success,omitempty"`
}

// Reload tells of the last reload.
type Reload struct {
	At     *time.Time `json:"at,omitempty"` // absent before the first
	OK     bool       `json:"ok"`
	Error  string     `json:"error,omitempty"`
	Total  int64      `json:"total"`
	Failed int64      `json:"failed"`
}
