package alerting

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

const (
	minTime = math.MinInt64
	maxTime = math.MaxInt64
	// maxHeld bounds the windows that one incident holds.
	maxHeld = 4096
)

// incident is the book's own form of an incident.
type incident struct {
	id      string
	seq     int64 // order of opening
	subject subject
	family  string
	rules   []*ruleState // in order of their first firing
	main    *ruleState

	opened      int64 // window time of the first firing
	first, last int64 // window times of the counted observations
	end         int64 // key time of the last finding, from which it is resolved

	sources, accounts, principals, routes, methods tally
	subjects                                       tally    // overflow only
	entered                                        []string // accounts, see enter
	evidence                                       evidence

	parent     string
	children   []string
	childTotal int64
	childCount int64 // what its children counted, each for itself
	childLevel observation.Level
	loud       bool // outgrew a parent, and is nobody's child again

	approximate, lateOnly bool
	everybody             bool // something of it was done by all alike
	message               string

	idle     bool // resolved provisionally: silent by the wall clock
	closed   bool
	closeSeq int64
	closedAt int64

	ack           *ack        // who took it on; see acknowledged
	hand          *handResult // somebody resolved it, until it opens again
	falsePositive bool
	actions       []Action

	silencedBy    []string // see Incident, as of the last Revise
	silencedUntil time.Time
	inhibitedBy   []string
	inhibits      []sourceKey // where it is in the index of inhibiting incidents

	heldCount int
	told      told
	sent      map[string]*sentTo // by receiver
	dests     []dest             // by the routing, until the incident changes; nil is unknown
	unread    time.Time          // since when its first telling waits for texts
	wake      time.Time          // Revise looks at it again then, if it waits
	shown     *Incident          // the snapshot, until the incident changes

	dirty, pending, wanting bool // in the book's lists of that name
	stored, forgotten       bool
}

// ruleState is one rule's part of an incident. It keeps its own copy of what
// it needs of the rule, which may be gone after a reload.
type ruleState struct {
	id, title, family string
	level             observation.Level
	tags              []string
	timespan, resolve int64 // seconds; resolve 0 is the default
	sum               bool  // its baseline is of a field, not of a number of requests
	count             int64
	detected          int64
	compared          comparison
	walked            observation.Walked // of an id_walk; no IDs for other types
	before            previous
	statuses          tally // by rule, so that no request counts more than once
	held              []heldEntity
}

// heldEntity is an entity whose window of the rule belongs to the incident.
type heldEntity struct {
	hash   uint64
	values string
}

type heldKey struct {
	rule   uint32
	hash   uint64
	values string
}

type holder struct {
	inc *incident
	rs  *ruleState
}

func (b *Book) hold(inc *incident, rs *ruleState, f *observation.Finding) {
	key := heldKey{f.Rule, f.Hash, f.Values}
	if h := b.held[key]; h != nil {
		if h.inc == inc {
			return
		}
		// The window now accuses someone else.
		h.rs.drop(f.Hash, f.Values)
		h.inc.heldCount--
		b.touch(h.inc)
		key.values = strings.Clone(f.Values)
		h.inc, h.rs = inc, rs
		inc.heldCount++
		rs.held = append(rs.held, heldEntity{f.Hash, key.values})
		return
	}
	if inc.heldCount >= maxHeld || len(b.held) >= b.o.MaxTracked {
		b.o.Metrics.unheld()
		return
	}
	key.values = strings.Clone(f.Values)
	b.held[key] = &holder{inc, rs}
	inc.heldCount++
	rs.held = append(rs.held, heldEntity{f.Hash, key.values})
}

func (rs *ruleState) drop(hash uint64, values string) {
	rs.held = slices.DeleteFunc(rs.held, func(e heldEntity) bool { return e.hash == hash && e.values == values })
}

// rehold enters what rs holds into the book's index, after a load or a reload.
func (b *Book) rehold(inc *incident, rs *ruleState) {
	rule, ok := b.rules[rs.id]
	if !ok {
		return
	}
	for _, e := range rs.held {
		b.held[heldKey{rule, e.hash, e.values}] = &holder{inc, rs}
	}
}

func (b *Book) release(inc *incident, rs *ruleState) {
	if rule, ok := b.rules[rs.id]; ok {
		for _, e := range rs.held {
			key := heldKey{rule, e.hash, e.values}
			if h := b.held[key]; h != nil && h.inc == inc {
				delete(b.held, key)
			}
		}
	}
	inc.heldCount -= len(rs.held)
	rs.held = nil
}

func (inc *incident) find(rule string) *ruleState {
	for _, rs := range inc.rules {
		if rs.id == rule {
			return rs
		}
	}
	return nil
}

// ruleOf returns the incident's state of a rule that fires at t, and takes
// over what a reload may have changed of the rule.
func (inc *incident) ruleOf(rule *observation.Rule, t int64) *ruleState {
	rs := inc.find(rule.ID)
	if rs == nil {
		rs = &ruleState{id: rule.ID, detected: t}
		inc.rules = append(inc.rules, rs)
	}
	rs.title = cmp.Or(rule.Title, rule.Name, rule.ID)
	rs.family = cmp.Or(rule.Family, rule.ID)
	rs.level, rs.tags = rule.Level, rule.Tags
	rs.timespan, rs.resolve = rule.Timespan, rule.ResolveAfter
	rs.sum = rule.Type == observation.RateAnomaly && rule.ValueField != ""
	return rs
}

func compareRules(a, b *ruleState) int {
	return cmp.Or(cmp.Compare(b.level, a.level), cmp.Compare(a.detected, b.detected), cmp.Compare(a.id, b.id))
}

// lead finds the incident's rule: the highest, then the first to fire.
func (inc *incident) lead() {
	if len(inc.rules) > 0 {
		inc.main = slices.MinFunc(inc.rules, compareRules)
	}
}

func (inc *incident) level() observation.Level {
	if inc.main == nil {
		return inc.childLevel
	}
	return max(inc.main.level, inc.childLevel)
}

func (inc *incident) count() int64 {
	var n int64
	for _, rs := range inc.rules {
		n = max(n, rs.count)
	}
	return n
}

// detected is the first firing of a rule at medium or above, else the first.
func (inc *incident) detected() int64 {
	at, ok := inc.opened, false
	for _, rs := range inc.rules {
		if rs.level >= observation.Medium && (!ok || rs.detected < at) {
			at, ok = rs.detected, true
		}
	}
	return at
}

// dueAt is the time at which the incident is resolved if nothing follows: the
// longest resolve time of its rules, never shorter than their windows.
func (inc *incident) dueAt(b *Book) int64 {
	var after int64
	for _, rs := range inc.rules {
		after = max(after, cmp.Or(rs.resolve, int64(b.o.ResolveAfter/time.Second)), rs.timespan)
	}
	return inc.end + after
}

func (rs *ruleState) addStatus(status int32, n int64, limit int, room *budget) {
	var buf [12]byte
	rs.statuses.add(string(strconv.AppendInt(buf[:0], int64(status), 10)), n, limit, room)
}

// tallies returns the lists in the order in which they are stored, those of
// the rules last.
func (inc *incident) tallies() []*tally {
	all := []*tally{&inc.subjects, &inc.sources, &inc.accounts, &inc.principals, &inc.routes, &inc.methods}
	for _, rs := range inc.rules {
		all = append(all, &rs.statuses)
	}
	return all
}

func (inc *incident) compact(listed int, room *budget) {
	for _, t := range inc.tallies() {
		keep := listed
		if t == &inc.subjects {
			keep = 0 // only their number is printed
		}
		t.compact(keep, room)
	}
}

// incidentID depends on the subject and the time of its first firing alone.
func incidentID(subjectKey string, at int64) string {
	h := sha256.New()
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(at))
	h.Write(t[:])
	h.Write([]byte(subjectKey))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// dueHeap orders live incidents by the time they are due, then by opening.
type dueEntry struct {
	at  int64
	inc *incident
}

type dueHeap []dueEntry

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].inc.seq < h[j].inc.seq
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(dueEntry)) }
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = dueEntry{}
	*h = old[:len(old)-1]
	return e
}
