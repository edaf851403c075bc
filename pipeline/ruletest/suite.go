// Package ruletest runs the tests of rule files, which stand beside them or in
// them. A test gives log lines and says which incidents they must open; the
// lines go through the whole pipeline, as in a replay. docs/rule-tests.md
// describes the files.
//
// [Find] looks for rule files and their tests, [Load] reads one pair of them,
// [Run] runs the cases. A case that fails tells in words what it wanted, what
// it got and what nearly happened; [WriteJUnit] tells it to a build server.
package ruletest

import (
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
)

// Limits of a test file. They are far above what people write and keep a
// hostile file from costing more than it should.
const (
	maxFile     = 1 << 20
	maxDepth    = 16
	maxNodes    = 100_000
	maxProblems = 100
	maxTimes    = 1_000_000
	maxExpanded = 64 << 20 // bytes of log of one case
	maxSpan     = 5 * 365 * 24 * time.Hour
)

// Suite is a test file, or all cases of a rule file. It is not changed once
// made.
type Suite struct {
	File  string // of the rules where they have cases of both kinds
	Cases []*Case
}

// Case is one test.
type Case struct {
	File string
	Line int
	Name string
	// Parts follow each other; never empty.
	Parts []Part
	// Late is how many lines are meant to be too far behind to count in windows.
	Late int64
	// Expect is empty where no incident may be opened.
	Expect []Expected
}

// Part is log text that is given Times times, each Every later than before.
type Part struct {
	Log   string
	Start time.Time
	Times int // 1 or more
	Every time.Duration
}

// Expected is one incident of a case. A key that the file does not give has
// its zero value and is not compared.
type Expected struct {
	Line       int
	Rule       string // title or id
	Level      *observation.Level
	Family     string
	Group      map[string]string
	Rules      []string // titles or ids
	Count      int64
	FirstSeen  time.Time
	DetectedAt time.Time
	LastSeen   time.Time
	Sources    []string // in any order
	Accounts   []string // in any order
	Shadow     *bool    // of a rule that is only watched
}

// Incident is one that the log of a case opened.
type Incident struct {
	*alerting.Incident
	// Shadow: the rule is only watched, so the incident would be told to nobody.
	Shadow bool `json:"shadow,omitempty"`
}

// Kind is what a case shows.
type Kind uint8

// The kinds of cases.
const (
	Fires    Kind = iota + 1 // expects incidents
	NearMiss                 // expects none, and its name begins with "near miss"
	Benign                   // expects none
)

// String returns the word used in output.
func (k Kind) String() string { return [...]string{"", "fires", "near miss", "benign"}[k] }

// Kind returns what the case shows.
func (c *Case) Kind() Kind {
	const near = "near miss"
	switch {
	case len(c.Expect) > 0:
		return Fires
	case len(c.Name) >= len(near) && strings.EqualFold(c.Name[:len(near)], near):
		return NearMiss
	default:
		return Benign
	}
}
