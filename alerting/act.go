package alerting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewatch/detectors/observation"
)

// ActionKind is what somebody did to an incident.
type ActionKind string

// The kinds of actions.
const (
	ActionAcknowledge   ActionKind = "acknowledge"
	ActionResolve       ActionKind = "resolve"
	ActionFalsePositive ActionKind = "false_positive"
)

// Action is what somebody did to an incident, as the incident remembers it.
type Action struct {
	Action  ActionKind `json:"action"`
	By      string     `json:"by"`
	At      time.Time  `json:"at"` // wall clock
	Comment string     `json:"comment,omitempty"`
}

// Act is what somebody asks to be done to an incident.
type Act struct {
	Incident string // its id
	Action   ActionKind
	By       string // who asks, a name for people: 1 to 200 bytes
	Comment  string // at most 2,000 bytes
}

// Errors of actions that callers tell apart. Others are about the request
// itself, or say that nothing could be saved.
var (
	// ErrNotFound says that there is no incident or silence with the id.
	ErrNotFound = errors.New("there is none with this id")
	// ErrConflict says that the incident or silence is no longer in a state in
	// which the action means anything.
	ErrConflict = errors.New("it is too late for this")
	// ErrInvalid says that the request can never be granted as it is.
	ErrInvalid = errors.New("not possible")
)

// Actor does what people ask for, from the HTTP API or a chat. What it
// answers with is durable, and is told to the receivers as a revision. It may
// be used by many goroutines.
type Actor interface {
	// Act returns the incident as it is after the action.
	Act(ctx context.Context, a Act) (*Incident, error)
	// Silence adds a silence and returns it with its id. See SilenceFor for
	// one that fits an incident.
	Silence(ctx context.Context, s Silence) (Silence, error)
	// Expire ends a silence now.
	Expire(ctx context.Context, id, by string) (Silence, error)
	// Silences returns all silences that are kept, see [Silence].
	Silences(ctx context.Context) ([]Silence, error)
}

// maxActions bounds the actions that an incident remembers.
const maxActions = 20

// ack is who took an incident on, and at which level.
type ack struct {
	action Action
	level  observation.Level
}

// handResult is that somebody resolved an incident.
type handResult struct {
	at    time.Time // wall clock
	event int64     // merged time then
	// rules are those of the incident when it was marked a false positive.
	rules []string
}

// over reports whether a finding of the rule is news enough to open again what
// somebody resolved. Resolved: when a rule fires again, or when it still grows
// a while later. False positive: when a rule joins that was not part of it.
func (h *handResult) over(inc *incident, rs *ruleState, fired bool, while time.Duration) bool {
	if inc.falsePositive {
		return rs != nil && !slices.Contains(h.rules, rs.id)
	}
	return fired || inc.end > h.event+int64(while/time.Second)
}

// acknowledged returns who has taken the incident on, nil where nobody has or
// where the level rose since.
func (inc *incident) acknowledged() *ack {
	if inc.ack == nil || inc.level() > inc.ack.level {
		return nil
	}
	return inc.ack
}

// Act does what somebody asks for, at the wall time now, and returns the
// incident. The next Revise makes a revision of it; it is durable once the
// operations of the next Changes are.
func (b *Book) Act(a Act, now time.Time) (*Incident, error) {
	if err := checkPerson(a.By, a.Comment); err != nil {
		return nil, err
	}
	inc := b.byID[a.Incident]
	if inc == nil {
		return nil, fmt.Errorf("incident %s: %w", cutText(a.Incident, 64), ErrNotFound)
	}
	done := Action{Action: a.Action, By: a.By, At: now.Truncate(time.Millisecond).UTC(), Comment: a.Comment}
	late := func(text string) error { return fmt.Errorf("%w: incident %s %s", ErrConflict, inc.id, text) }
	switch a.Action {
	case ActionAcknowledge:
		if inc.resolved() {
			return nil, late("is resolved")
		}
		if had := inc.acknowledged(); had != nil {
			return nil, late("was acknowledged by " + had.action.By)
		}
		inc.ack = &ack{done, inc.level()}
	case ActionResolve:
		if inc.resolved() {
			return nil, late("is resolved already")
		}
		b.resolveByHand(inc, done.At)
	case ActionFalsePositive:
		if inc.falsePositive {
			return nil, late("is marked as a false positive already")
		}
		b.resolveByHand(inc, done.At)
		inc.falsePositive = true
	default:
		return nil, fmt.Errorf("%w: there is no action %q; there are %s, %s and %s", ErrInvalid, a.Action, ActionAcknowledge, ActionResolve, ActionFalsePositive)
	}
	inc.actions = append(inc.actions, done)
	if n := len(inc.actions) - maxActions; n > 0 {
		inc.actions = slices.Delete(inc.actions, 0, n)
	}
	b.touch(inc)
	return b.snapshot(inc), nil
}

func (b *Book) resolveByHand(inc *incident, at time.Time) {
	if inc.closed {
		return
	}
	if !inc.resolved() {
		b.o.Metrics.resolved(inc.family, inc.level())
	}
	inc.hand = &handResult{at: at, event: b.now}
	for _, rs := range inc.rules {
		inc.hand.rules = append(inc.hand.rules, rs.id)
	}
}
