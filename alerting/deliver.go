package alerting

import "time"

// sentTo is what one receiver was told of an incident.
type sentTo struct {
	facts
	revision int64     // 0 is nothing yet
	at       time.Time // wall clock
	// since is when it became due to be told something that still waits for its
	// group or its time; zero when nothing does.
	since time.Time
	// held is why it was not told what was due, until it is told.
	held Suppression
}

// Suppression is why a receiver is not told of an incident now.
type Suppression string

// The reasons.
const (
	SuppressedBySilence    Suppression = "silence"
	SuppressedByMute       Suppression = "mute"
	SuppressedByInhibition Suppression = "inhibition"
)

// delivery is one receiver that is to be told now.
type delivery struct {
	dest
	cause Cause
	sent  *sentTo
}

// fold is what the outbox knows the group by.
func (d *delivery) fold() string {
	if d.keeps {
		return ""
	}
	return d.group
}

// deliveries returns who is to be told of the incident now. cause is what has
// just changed.
func (b *Book) deliveries(inc *incident, f *facts, cause Cause, now time.Time) []delivery {
	if inc.dests == nil {
		inc.dests = b.routing.dests(b.labels(inc))
	}
	var out []delivery
	routed := map[string]bool{}
	for _, d := range inc.dests {
		routed[d.receiver] = true
		s := inc.sent[d.receiver]
		if s == nil {
			if inc.told.revision == 0 && cause == "" || f.Resolved && cause != CauseOpened {
				continue // nothing to tell yet, or no more
			}
			s = new(sentTo)
			if inc.sent == nil {
				inc.sent = map[string]*sentTo{}
			}
			inc.sent[d.receiver] = s
		}
		if c := b.owed(inc, f, &d, s, cause, now); c != "" {
			out = append(out, delivery{d, c, s})
		}
	}
	// Whom it does not concern any more still hears that it is over.
	for name, s := range inc.sent {
		if !routed[name] && s.revision > 0 && f.Resolved && !s.Resolved {
			out = append(out, delivery{dest{receiver: name}, f.change(&s.facts, false), s})
		}
	}
	return out
}

// owed is why a receiver is to be told of the incident now; "" when it is
// not. It notes what waits, and until when.
func (b *Book) owed(inc *incident, f *facts, d *dest, s *sentTo, cause Cause, now time.Time) Cause {
	if s.at.After(now) {
		s.at = now // the wall clock was set back
	}
	hidden := b.hidden(inc)
	var c Cause
	first := s.revision == 0
	switch {
	case first && hidden:
		return ""
	case first && f.Resolved && cause != CauseOpened && s.since.IsZero():
		return "" // it was over before the receiver might be told
	case first:
		c = CauseOpened
	case f.Silenced && !s.Silenced && !s.Resolved && !hidden:
		c = CauseSilenced
	default:
		c = f.change(&s.facts, hidden)
	}
	growth := false
	if c == "" {
		if c, growth = b.pace(inc, f, d, s, hidden, now), true; c == "" {
			return ""
		}
	}
	if why := b.suppressed(inc, f, d, c, first, now); why != "" {
		if s.held != why {
			s.held = why
			b.o.Metrics.suppressed(d.receiver, why)
		}
		if !s.since.IsZero() {
			s.since = time.Time{}
			b.save(inc)
		}
		if why == SuppressedByMute {
			b.wait(inc, now.Truncate(time.Minute).Add(time.Minute))
		}
		return ""
	}
	if at := b.tellAt(inc, d, s, first, growth, now); now.Before(at) {
		b.wait(inc, at)
		return ""
	}
	return c
}

// pace is whether growth, or the same again, is to be told.
func (b *Book) pace(inc *incident, f *facts, d *dest, s *sentTo, hidden bool, now time.Time) Cause {
	if f.Resolved || hidden || f.Silenced {
		return ""
	}
	if f.grew(&s.facts) && (!f.Acknowledged || d.keeps) {
		at := s.at.Add(d.route.GroupInterval)
		if !now.Before(at) {
			return CauseGrew
		}
		b.wait(inc, at)
	}
	if !f.Acknowledged {
		at := s.at.Add(d.route.RepeatInterval)
		if !now.Before(at) {
			return CauseRepeat
		}
		b.wait(inc, at)
	}
	return ""
}

// suppressed is why nothing is told now. That it was silenced, or is over, is
// told to who was told of it before, whatever silences and inhibits it: a
// ticket that nobody closes would be a lie.
func (b *Book) suppressed(inc *incident, f *facts, d *dest, c Cause, first bool, now time.Time) Suppression {
	switch {
	case d.route.muted(now):
		return SuppressedByMute
	case c == CauseSilenced:
	case f.Silenced, first && f.Resolved && len(b.silencesOf(inc)) > 0:
		return SuppressedBySilence
	case len(inc.inhibitedBy) > 0 && c != CauseAcknowledged, first && f.Resolved && len(b.inhibitorsOf(inc)) > 0:
		return SuppressedByInhibition
	}
	return ""
}

// tellAt is when the receiver is to be told what is due for it.
func (b *Book) tellAt(inc *incident, d *dest, s *sentTo, first, growth bool, now time.Time) time.Time {
	alone := d.group == ""
	if alone && !first {
		return now
	}
	if s.since.IsZero() || s.since.After(now) {
		s.since = now // what waits survives a restart
		b.save(inc)
	}
	if alone {
		return s.since.Add(d.route.GroupWait)
	}
	if !first && !growth && d.keeps {
		return now // a change of its own message
	}
	return b.groups.due(d, s.since, growth, now, b.pass)
}
