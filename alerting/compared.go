package alerting

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"gatewatch/detectors/observation"
)

// comparison is what a rule with a learned baseline saw where it was furthest
// from what it expected.
type comparison struct {
	Seen, Expected float64
	Span           int64 `json:",omitempty"` // seconds; 0 where the rule has no baseline
	Cold           bool  `json:",omitempty"` // of the time that is told of
	Everybody      bool  `json:",omitempty"`
	Clients        int64 `json:",omitempty"` // that were told apart
	Sum            bool  `json:",omitempty"` // of a field, not a number of requests
}

// distance is how many times more, or less, was seen than expected.
func (c *comparison) distance() float64 {
	more := (c.Seen + 1) / (c.Expected + 1)
	return max(more, 1/more)
}

// compare takes in what a finding says of its baseline.
func (rs *ruleState) compare(f *observation.Finding) {
	if f.Span == 0 {
		return
	}
	c := comparison{Seen: f.Value, Expected: f.Expected, Span: f.Span, Cold: f.Cold, Everybody: f.Everybody, Clients: f.Members, Sum: rs.sum}
	if rs.compared.Span == 0 || c.distance() > rs.compared.distance() {
		rs.compared = c
	}
}

// text is the comparison in words.
func (c *comparison) text() string {
	what := "requests"
	if c.Sum {
		what = "in sum"
	}
	span := time.Duration(c.Span) * time.Second
	out := fmt.Sprintf("%s %s in %s where %s were expected", amount(c.Seen), what, span, amount(c.Expected))
	switch {
	case c.Seen > c.Expected && c.Expected >= 1:
		out += ": " + amount(c.Seen/c.Expected) + " times as much"
	case c.Seen < c.Expected && c.Seen > 0:
		out += ": a " + amount(c.Expected/c.Seen) + "th of it"
	}
	if c.Everybody && c.Seen > c.Expected {
		out += fmt.Sprintf("; it is spread over %d clients as usual, none of them stands out", c.Clients)
	}
	if c.Cold {
		out += "; cold start: this hour of the week is not known yet, so it was compared with the last hour or with other days, by a wider margin"
	}
	return out
}

// amount is a number as people read it.
func amount(x float64) string {
	if x >= 10 || x == math.Trunc(x) {
		return strconv.FormatFloat(math.Round(x), 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}
