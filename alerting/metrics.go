package alerting

import (
	"maps"
	"sync"
	"time"

	"gatewatch/detectors/observation"
)

// FamilyLevel labels counters of incidents. Both come from rules.
type FamilyLevel struct {
	Family string
	Level  observation.Level
}

// ReceiverReason labels counters of notifications.
type ReceiverReason struct {
	Receiver string
	Reason   Reason
}

// ReceiverSuppression labels counters of what was not told.
type ReceiverSuppression struct {
	Receiver string
	Reason   Suppression
}

// Counts are the numbers of alerting at one moment. Counters only grow while
// the process lives.
type Counts struct {
	Opened, Resolved map[FamilyLevel]int64
	Overflow         map[string]int64 // firings that went to the overflow incident, by family
	DroppedResolved  int64            // resolved incidents dropped because of MaxKept
	Unheld           int64            // windows not held because of MaxTracked

	Attempts    map[ReceiverReason]int64 // finished attempts, by how they ended
	Retries     map[string]int64         // attempts that followed a failed one, by receiver
	Parked      map[string]int64         // revisions refused for good, by receiver
	Dropped     map[string]int64         // revisions dropped unsent because of a limit, by receiver
	Pending     map[string]int64         // revisions waiting now, by receiver
	LastSuccess map[string]time.Time     // by receiver
	StoreErrors int64                    // commits of the outbox that failed

	Suppressed      map[ReceiverSuppression]int64 // incidents that became due and were not told
	Digests, Folded map[string]int64              // digests made, and revisions in them, by receiver
	SilencesActive  int64                         // now
	SilencesPending int64                         // now
}

// Metrics counts what alerting does, for whoever exports it. A nil *Metrics
// counts nothing. It may be used by many goroutines.
type Metrics struct {
	mu sync.Mutex
	c  Counts
}

// NewMetrics returns metrics at zero.
func NewMetrics() *Metrics {
	return &Metrics{c: Counts{
		Opened: map[FamilyLevel]int64{}, Resolved: map[FamilyLevel]int64{}, Overflow: map[string]int64{},
		Attempts: map[ReceiverReason]int64{}, Retries: map[string]int64{}, Parked: map[string]int64{},
		Dropped: map[string]int64{}, Pending: map[string]int64{}, LastSuccess: map[string]time.Time{},
		Suppressed: map[ReceiverSuppression]int64{}, Digests: map[string]int64{}, Folded: map[string]int64{},
	}}
}

// Counts returns a copy of the numbers.
func (m *Metrics) Counts() Counts {
	if m == nil {
		return Counts{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.c
	c.Opened, c.Resolved, c.Overflow = maps.Clone(c.Opened), maps.Clone(c.Resolved), maps.Clone(c.Overflow)
	c.Attempts, c.Retries, c.Parked = maps.Clone(c.Attempts), maps.Clone(c.Retries), maps.Clone(c.Parked)
	c.Dropped, c.Pending, c.LastSuccess = maps.Clone(c.Dropped), maps.Clone(c.Pending), maps.Clone(c.LastSuccess)
	c.Suppressed, c.Digests, c.Folded = maps.Clone(c.Suppressed), maps.Clone(c.Digests), maps.Clone(c.Folded)
	return c
}

func (m *Metrics) with(f func(c *Counts)) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.c)
}

func (m *Metrics) opened(family string, l observation.Level) {
	m.with(func(c *Counts) { c.Opened[FamilyLevel{family, l}]++ })
}

func (m *Metrics) resolved(family string, l observation.Level) {
	m.with(func(c *Counts) { c.Resolved[FamilyLevel{family, l}]++ })
}

func (m *Metrics) overflow(family string) { m.with(func(c *Counts) { c.Overflow[family]++ }) }
func (m *Metrics) droppedResolved()       { m.with(func(c *Counts) { c.DroppedResolved++ }) }
func (m *Metrics) unheld()                { m.with(func(c *Counts) { c.Unheld++ }) }

func (m *Metrics) attempt(receiver string, r Reason, at time.Time) {
	m.with(func(c *Counts) {
		c.Attempts[ReceiverReason{receiver, r}]++
		if r == ReasonOK {
			c.LastSuccess[receiver] = at
		}
	})
}

func (m *Metrics) suppressed(receiver string, why Suppression) {
	m.with(func(c *Counts) { c.Suppressed[ReceiverSuppression{receiver, why}]++ })
}

func (m *Metrics) digest(receiver string, members int) {
	m.with(func(c *Counts) { c.Digests[receiver]++; c.Folded[receiver] += int64(members) })
}

func (m *Metrics) silences(active, pending int) {
	m.with(func(c *Counts) { c.SilencesActive, c.SilencesPending = int64(active), int64(pending) })
}

func (m *Metrics) retry(receiver string)   { m.with(func(c *Counts) { c.Retries[receiver]++ }) }
func (m *Metrics) parked(receiver string)  { m.with(func(c *Counts) { c.Parked[receiver]++ }) }
func (m *Metrics) dropped(receiver string) { m.with(func(c *Counts) { c.Dropped[receiver]++ }) }
func (m *Metrics) storeError()             { m.with(func(c *Counts) { c.StoreErrors++ }) }
func (m *Metrics) pending(receiver string, n int) {
	m.with(func(c *Counts) { c.Pending[receiver] = int64(n) })
}
