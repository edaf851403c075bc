package alerting

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

// maxDigest bounds the incidents of a digest: all of them are listed in it.
const maxDigest = 100

// foldable returns what may be told together with m, the oldest first: what
// came of one flush of a group, or, where people read and more than burst
// messages are ready, anything. What may have arrived already is told again as
// it was.
func (q *queue) foldable(m *message, now time.Time, burst int) []*message {
	flood := q.folds && len(q.ready) >= burst
	if m.digest() || m.Attempted || m.Group == "" && !flood || !q.mayFold(m) {
		return nil
	}
	var same, all []*message
	for _, x := range q.ready {
		if x.digest() || x.Attempted || x.notBefore.After(now) || !q.mayFold(x) {
			continue
		}
		all = append(all, x)
		if m.Group != "" && x.Group == m.Group {
			same = append(same, x)
		}
	}
	if flood && len(all) >= burst {
		same = all
	}
	slices.SortFunc(same, func(x, y *message) int { return cmp.Compare(x.Seq, y.Seq) })
	return same[:min(len(same), maxDigest-1)]
}

// mayFold reports whether the message may become part of a digest. Who keeps one
// message an incident changes those that it has, which disturbs nobody and
// leaves none behind that says what is over.
func (q *queue) mayFold(m *message) bool { return !q.keeps || m.Cause == CauseOpened }

// fold puts a digest in the place of the messages, of which all but the last
// are ready. It becomes durable, and they cease to be, with its first attempt.
func (q *queue) fold(parts []*message) *message {
	slices.SortFunc(parts, func(x, y *message) int { return cmp.Compare(x.Seq, y.Seq) })
	first, last := parts[0], parts[len(parts)-1]
	d := &message{
		Receiver: first.Receiver, Revision: 1, Cause: CauseDigest, Made: last.Made, Seq: first.Seq,
		parts: parts, index: -1,
	}
	h := sha256.New()
	for _, p := range parts {
		if p.index >= 0 {
			heap.Remove(&q.ready, p.index)
		}
		q.bytes -= len(p.payload)
		d.Members = append(d.Members, member{p.Incident, p.Revision})
		h.Write(p.key())
	}
	d.Incident = "digest-" + hex.EncodeToString(h.Sum(nil)[:8])
	q.own(d)
	return d
}

// compose returns what a digest says.
func compose(id string, parts []*message) ([]byte, error) {
	out := Incident{
		ID: id, State: StateResolved, Subject: "digest", Rules: []RuleCount{}, Sources: []string{}, Accounts: []string{},
		Routes: []string{}, Evidence: []Evidence{}, Principals: []string{}, Methods: []string{}, Statuses: []StatusCount{},
		Revision: 1,
	}
	levels := map[observation.Level]int{}
	for n, p := range parts {
		var i Incident
		if err := json.Unmarshal(p.payload, &i); err != nil {
			return nil, fmt.Errorf("read notification %s/%d again: %w", p.Incident, p.Revision, err)
		}
		out.Digest = append(out.Digest, DigestEntry{
			ID: i.ID, Revision: p.Revision, Cause: p.Cause, Title: i.Rule.Title, Level: i.Level, Family: i.Family, State: i.State,
			Group: i.Group, Count: i.Count, FirstSeen: i.FirstSeen, LastSeen: i.LastSeen,
		})
		levels[i.Level]++
		if n == 0 {
			out.FirstSeen, out.DetectedAt, out.LastSeen, out.Family = i.FirstSeen, i.DetectedAt, i.LastSeen, i.Family
			out.Group = maps.Clone(i.Group)
		}
		if i.State != StateResolved {
			out.State = StateOpen
		}
		if i.Family != out.Family {
			out.Family = "several"
		}
		maps.DeleteFunc(out.Group, func(k, v string) bool { return i.Group[k] != v })
		out.FirstSeen, out.DetectedAt = earlier(out.FirstSeen, i.FirstSeen), earlier(out.DetectedAt, i.DetectedAt)
		if i.LastSeen.After(out.LastSeen) {
			out.LastSeen = i.LastSeen
		}
		out.Level = max(out.Level, i.Level)
		out.Count += i.Count
	}
	if out.Group == nil {
		out.Group = map[string]string{}
	}
	slices.SortStableFunc(out.Digest, func(x, y DigestEntry) int { return cmp.Compare(y.Level, x.Level) })
	out.Rule = RuleRef{ID: "gatewatch.digest", Title: digestTitle(levels, len(parts)), Level: out.Level, Tags: []string{}}
	return json.Marshal(&out)
}

// digestTitle is made of our own words and numbers alone.
func digestTitle(levels map[observation.Level]int, total int) string {
	var parts []string
	for _, l := range slices.Backward(slices.Sorted(maps.Keys(levels))) {
		parts = append(parts, fmt.Sprintf("%d %s", levels[l], l))
	}
	return fmt.Sprintf("%d incidents at once: %s", total, strings.Join(parts, ", "))
}
