package detectors

import (
	"cmp"
	"slices"
)

// A rule whose bound is raised needs more entries than its windows kept. The
// windows stay, and what they find is marked until the oldest entry that could
// be missing has expired: one timespan after the raise at most, and not at all
// in a window that had never let go of an entry.

// raise says that a rule of the plan needs more entries than its windows kept
// at a time.
type raise struct {
	rule  uint32
	since int64 // window time of the slot
}

// raise notes that from now on the slot's windows of a rule keep more.
func (s *slot) raise(rule uint32) {
	if s.now == 0 {
		return
	}
	i := slices.IndexFunc(s.warm, func(x raise) bool { return x.rule == rule })
	if i < 0 {
		i = len(s.warm)
		s.warm = append(s.warm, raise{rule: rule})
	}
	s.warm[i].since = s.now
}

// cool forgets the raises that are a timespan old.
func (s *slot) cool(rules []rule) {
	s.warm = slices.DeleteFunc(s.warm, func(x raise) bool { return x.since+rules[x.rule].Timespan <= s.now })
}

// warms reports whether a window may lack entries of a rule at now: it let one
// go before the raise that would still be in it.
func (s *slot) warms(w *window, r *rule, index uint32, now int64) bool {
	if w.lost == 0 || int64(w.lost) <= now-r.Timespan {
		return false
	}
	for _, x := range s.warm {
		if x.rule == index {
			return int64(w.lost) <= x.since
		}
	}
	return false
}

// Warming says that a rule's bound was raised and until which window time its
// windows may hold fewer entries than there were. Findings of such windows are
// marked so.
type Warming struct {
	Rule  uint32 // index into Plan.Rules
	Until int64  // Unix seconds; it is over when merged time is there
}

// Warming returns the rules that are warming in the engine's slots, by number,
// nil for none. It belongs to the goroutine that the engine belongs to. Of
// several engines the latest time holds, and time of a slot goes on only when
// something comes to it: the caller leaves out what lies before merged time.
func (e *Engine) Warming() (out []Warming) {
	for _, s := range e.slots {
		if s == nil || len(s.warm) == 0 {
			continue
		}
		s.cool(e.rules)
		for _, x := range s.warm {
			until := x.since + e.rules[x.rule].Timespan
			i := slices.IndexFunc(out, func(w Warming) bool { return w.Rule == x.rule })
			if i < 0 {
				out = append(out, Warming{x.rule, until})
			} else {
				out[i].Until = max(out[i].Until, until)
			}
		}
	}
	slices.SortFunc(out, func(a, b Warming) int { return cmp.Compare(a.Rule, b.Rule) })
	return out
}
