package alerting

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The states of a silence.
const (
	SilencePending = "pending"
	SilenceActive  = "active"
	SilenceExpired = "expired"
)

// Silence keeps open incidents that all its matchers hold for from being told,
// from its start to its end by the wall clock. Expired ones are kept for five
// days.
type Silence struct {
	ID       string    `json:"id"`
	Matchers []Matcher `json:"matchers"`
	Author   string    `json:"author"`
	Comment  string    `json:"comment"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	// ExpiredBy is who ended it early.
	ExpiredBy string `json:"expired_by,omitempty"`
	// State is as of when it was asked for.
	State string `json:"state"`
}

// SilenceFor returns a silence from now on for what an incident is about: the
// same subject, as long as its level does not rise.
func SilenceFor(i *Incident, by, comment string, now time.Time, d time.Duration) (Silence, error) {
	s := Silence{Author: by, Comment: comment, Start: now, End: now.Add(d)}
	add := func(name string, op MatchOp, value string) error {
		m, err := NewMatcher(name, op, value)
		s.Matchers = append(s.Matchers, m)
		return err
	}
	var errs []error
	switch i.Subject {
	case SubjectOverflow.String():
		errs = append(errs, add(LabelIncident, MatchEqual, i.ID))
	case SubjectPopulation.String():
		errs = append(errs, add(LabelSubject, MatchEqual, i.Subject), add(LabelFamily, MatchEqual, i.Family))
		fallthrough
	default:
		for _, name := range slices.Sorted(maps.Keys(i.Group)) {
			errs = append(errs, add(name, MatchEqual, i.Group[name]))
		}
	}
	errs = append(errs, add(LabelLevel, MatchAtMost, i.Level.String()))
	return s, errors.Join(errs...)
}

const (
	// maxSilences bounds those that have not expired, and the expired ones kept.
	maxSilences = 1000
	// silenceKept is how long an expired silence can still be looked at.
	silenceKept = 5 * 24 * time.Hour
	// maxSilence bounds how long a silence may last.
	maxSilence = 366 * 24 * time.Hour
	maxName    = 200
	maxComment = 2000
)

// checkPerson makes who did something, and why, fit to be kept.
func checkPerson(by, comment string) error {
	switch {
	case strings.TrimSpace(by) == "":
		return fmt.Errorf("%w: nobody is named as who asks for it", ErrInvalid)
	case len(by) > maxName:
		return fmt.Errorf("%w: the name of who asks is longer than %d bytes", ErrInvalid, maxName)
	case len(comment) > maxComment:
		return fmt.Errorf("%w: the comment is longer than %d bytes", ErrInvalid, maxComment)
	case printable(by) != by || printable(comment) != comment:
		return fmt.Errorf("%w: name or comment is not UTF-8", ErrInvalid)
	}
	return nil
}

func (s *Silence) check(now time.Time) error {
	if err := checkPerson(s.Author, s.Comment); err != nil {
		return err
	}
	switch {
	case len(s.Matchers) == 0 || len(s.Matchers) > maxMatchers:
		return fmt.Errorf("%w: a silence needs one to %d matchers, such as client.address=\"192.0.2.1\"", ErrInvalid, maxMatchers)
	case !slices.ContainsFunc(s.Matchers, func(m Matcher) bool { return !m.matchesEmpty() }):
		return fmt.Errorf("%w: these matchers hold for everything; one of them has to ask for a value", ErrInvalid)
	case !s.End.After(s.Start):
		return fmt.Errorf("%w: the silence ends before it begins", ErrInvalid)
	case !s.End.After(now):
		return fmt.Errorf("%w: the silence would be over already", ErrInvalid)
	case s.End.Sub(s.Start) > maxSilence:
		return fmt.Errorf("%w: a silence lasts for a year at most", ErrInvalid)
	}
	return nil
}

func (s *Silence) state(now time.Time) string {
	switch {
	case !now.Before(s.End):
		return SilenceExpired
	case now.Before(s.Start):
		return SilencePending
	default:
		return SilenceActive
	}
}

// silences are those of a book.
type silences struct {
	byID    map[string]*Silence
	active  []*Silence // by end, then id
	from    time.Time  // active is right from here
	until   time.Time  // to here; zero is for ever
	stale   bool       // one was added or ended
	dirty   map[string]bool
	deleted []string
}

// AddSilence adds a silence and returns it with its id and state. It holds
// from the next Revise on. It is durable once the operations of the next
// Changes are.
func (b *Book) AddSilence(s Silence, now time.Time) (Silence, error) {
	s.Start = s.Start.Truncate(time.Millisecond).UTC()
	s.End = s.End.Truncate(time.Millisecond).UTC()
	if err := s.check(now); err != nil {
		return Silence{}, err
	}
	b.expireOld(now)
	alive := 0
	for _, x := range b.silences.byID {
		if now.Before(x.End) {
			alive++
		}
	}
	if alive >= maxSilences {
		return Silence{}, fmt.Errorf("%w: there are %d silences already; expire some first", ErrInvalid, maxSilences)
	}
	for s.ID = newID(); b.silences.byID[s.ID] != nil; {
		s.ID = newID()
	}
	s.ExpiredBy = ""
	s.State = s.state(now)
	kept := s
	b.keepSilence(&kept)
	return s, nil
}

func newID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func (b *Book) keepSilence(s *Silence) {
	b.silences.byID[s.ID] = s
	b.silences.dirty[s.ID] = true
	b.silences.stale = true
}

// ExpireSilence ends a silence now, under the terms of AddSilence.
func (b *Book) ExpireSilence(id, by string, now time.Time) (Silence, error) {
	if err := checkPerson(by, ""); err != nil {
		return Silence{}, err
	}
	s := b.silences.byID[id]
	if s == nil {
		return Silence{}, fmt.Errorf("silence %s: %w", cutText(id, 64), ErrNotFound)
	}
	if s.state(now) == SilenceExpired {
		return Silence{}, fmt.Errorf("%w: silence %s has expired at %s", ErrConflict, s.ID, s.End.Format(time.RFC3339))
	}
	changed := *s
	changed.End = now.Truncate(time.Millisecond).UTC()
	changed.Start = earlier(changed.Start, changed.End) // of one that never began
	changed.ExpiredBy = by
	b.keepSilence(&changed)
	changed.State = SilenceExpired
	return changed, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Silences returns all silences that are kept, with their state now: active
// ones first, then pending, then expired ones; in each by end and id.
func (b *Book) Silences(now time.Time) []Silence {
	b.expireOld(now)
	out := make([]Silence, 0, len(b.silences.byID))
	for _, s := range b.silences.byID {
		c := *s
		c.State = s.state(now)
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y Silence) int {
		return cmp.Or(strings.Compare(stateOrder(x.State), stateOrder(y.State)), x.End.Compare(y.End), strings.Compare(x.ID, y.ID))
	})
	return out
}

// stateOrder makes the states sort as they matter.
func stateOrder(state string) string {
	return map[string]string{SilenceActive: "0", SilencePending: "1", SilenceExpired: "2"}[state]
}

// expireOld forgets silences that expired long ago, and the oldest of too many.
func (b *Book) expireOld(now time.Time) {
	var expired []*Silence
	for _, s := range b.silences.byID {
		if !now.Before(s.End) {
			expired = append(expired, s)
		}
	}
	slices.SortFunc(expired, func(x, y *Silence) int { return cmp.Or(y.End.Compare(x.End), strings.Compare(x.ID, y.ID)) })
	for i, s := range expired {
		if i >= maxSilences || now.Sub(s.End) > silenceKept {
			delete(b.silences.byID, s.ID)
			delete(b.silences.dirty, s.ID)
			b.silences.deleted = append(b.silences.deleted, s.ID)
		}
	}
}

// refreshSilences works out which silences are active, and reports whether
// that may have changed.
func (b *Book) refreshSilences(now time.Time) bool {
	x := &b.silences
	if !x.stale && !now.Before(x.from) && (x.until.IsZero() || now.Before(x.until)) {
		return false
	}
	had := len(x.active) > 0 || x.stale
	b.expireOld(now)
	x.active, x.from, x.until, x.stale = nil, now, time.Time{}, false
	turn := func(t time.Time) {
		if now.Before(t) && (x.until.IsZero() || t.Before(x.until)) {
			x.until = t
		}
	}
	pending := 0
	for _, s := range x.byID {
		turn(s.Start)
		turn(s.End)
		switch s.state(now) {
		case SilenceActive:
			x.active = append(x.active, s)
		case SilencePending:
			pending++
		}
	}
	slices.SortFunc(x.active, func(a, b *Silence) int { return cmp.Or(a.End.Compare(b.End), strings.Compare(a.ID, b.ID)) })
	b.o.Metrics.silences(len(x.active), pending)
	return had || len(x.active) > 0
}

// silence notes which active silences match the incident.
func (b *Book) silence(inc *incident) {
	var ids []string
	var until time.Time
	if !inc.resolved() {
		for _, s := range b.silencesOf(inc) {
			ids = append(ids, s.ID)
			until = s.End
		}
	}
	if !slices.Equal(ids, inc.silencedBy) || !until.Equal(inc.silencedUntil) {
		inc.silencedBy, inc.silencedUntil = ids, until
		inc.shown = nil
	}
}

// silencesOf returns the active silences that match the incident, by end.
func (b *Book) silencesOf(inc *incident) []*Silence {
	if len(b.silences.active) == 0 {
		return nil
	}
	var out []*Silence
	v := b.labels(inc)
	for _, s := range b.silences.active {
		if matchesAll(s.Matchers, v) {
			out = append(out, s)
		}
	}
	return out
}

// silenceChanges returns what durable state needs, see Changes.
func (b *Book) silenceChanges() []StoreOp {
	var ops []StoreOp
	x := &b.silences
	for _, id := range x.deleted {
		ops = append(ops, StoreOp{Bucket: BucketSilences, Key: []byte(id)})
	}
	x.deleted = nil
	for _, id := range slices.Sorted(maps.Keys(x.dirty)) {
		ops = append(ops, StoreOp{BucketSilences, []byte(id), x.byID[id].encode()})
	}
	clear(x.dirty)
	return ops
}

func (s *Silence) encode() []byte {
	c := *s
	c.State = ""
	b, err := json.Marshal(&c)
	if err != nil {
		panic(err) // plain data: cannot happen
	}
	return append([]byte{storedVersion}, b...)
}

// LoadSilences is Load for the bucket BucketSilences.
func (b *Book) LoadSilences(scan func(f func(key, value []byte) error) error) error {
	err := scan(func(key, value []byte) error {
		s, err := decodeSilence(value)
		if err == nil && s.ID != string(key) {
			err = errDamaged
		}
		if err != nil {
			return fmt.Errorf("read stored silence %q: %w", key, err)
		}
		b.silences.byID[s.ID] = s
		return nil
	})
	b.silences.stale = true
	return err
}

func decodeSilence(value []byte) (*Silence, error) {
	if len(value) == 0 || value[0] != storedVersion {
		return nil, errors.New("it has an unknown version")
	}
	s := new(Silence)
	if err := json.Unmarshal(value[1:], s); err != nil {
		return nil, err
	}
	if s.ID == "" || len(s.Matchers) == 0 {
		return nil, errDamaged
	}
	s.Start, s.End = s.Start.UTC(), s.End.UTC()
	return s, nil
}
