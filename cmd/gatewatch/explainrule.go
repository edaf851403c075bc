package main

import (
	"slices"
	"strconv"
	"strings"

	"gatewatch/config"
	"gatewatch/pipeline/trace"
	"gatewatch/rules/sigma"
)

// asked is what explain --rule is about.
type asked struct {
	rule *sigma.Rule
	// detections are the rule itself, or what feeds it from below.
	detections   []*sigma.Rule
	correlations map[string]bool // ids of the rule and of correlations that feed it
}

// ask finds a rule by its id, name or title.
func ask(set *ruleSet, word string) (*asked, error) {
	named := func(r *sigma.Rule) bool { return word == r.ID || word == r.Title || word == r.Name }
	byID := map[string]*sigma.Rule{}
	for _, r := range set.index.Rules() {
		byID[r.ID] = r
	}
	for _, p := range set.problems {
		if p.Severity == sigma.Refused && !p.Tuning && p.Rule == word {
			return nil, usage("--rule: %q does not load: %w", word, p)
		}
	}
	at := slices.IndexFunc(set.all, named)
	if at < 0 {
		var names []string
		for _, r := range set.all {
			names = append(names, r.Title, r.ID)
		}
		if near := config.Nearest(word, names); near != "" {
			return nil, usage("--rule: there is no rule %q; did you mean %q?", word, near)
		}
		return nil, usage("--rule: there is no rule with the id, name or title %q; gatewatch rules list prints them", word)
	}
	r := byID[set.all[at].ID]
	switch {
	case r == nil:
		for _, p := range set.problems {
			if p.Severity == sigma.Refused && !p.Tuning && p.Rule == set.all[at].ID {
				return nil, usage("--rule: %q does not load: %w", word, p)
			}
		}
		return nil, usage("--rule: %q is disabled; enable it in the configuration", word)
	case r.Kind == sigma.Filter:
		return nil, usage("--rule: %q is a filter; name a rule that it reaches, whose items it stands among", word)
	}
	out := &asked{rule: r, correlations: map[string]bool{}}
	out.add(r, byID)
	return out, nil
}

func (a *asked) add(r *sigma.Rule, byID map[string]*sigma.Rule) {
	counted, ok := r.Counted()
	if !ok {
		if !slices.Contains(a.detections, r) {
			a.detections = append(a.detections, r)
		}
		return
	}
	if a.correlations[r.ID] {
		return
	}
	a.correlations[r.ID] = true
	for _, in := range counted.Inputs {
		if now := byID[in.ID]; now != nil {
			a.add(now, byID)
		}
	}
}

// counts reports whether a correlation belongs to what is asked for.
func (a *asked) counts(id string) bool { return a.correlations[id] }

// appendAsked says why the asked rule matched a line, or why not.
func (e *explainer) appendAsked(b []byte, l *explainLine) []byte {
	for i, t := range e.matcher.ExplainAll(&l.event, e.asked.detections) {
		r := e.asked.detections[i]
		verdict := "no match"
		if t.Holds {
			verdict = "matched"
		}
		b = appendVerdict(b, verdict, r.Level.String(), r.Title)
		b = appendTest(b, &t, "      ")
	}
	for i := range l.counts {
		if c := &l.counts[i]; e.asked.counts(c.Rule.ID) {
			b = appendCount(b, c)
		}
	}
	return b
}

// appendTest prints a part of a condition and all below it.
func appendTest(b []byte, t *sigma.Test, indent string) []byte {
	verdict := "fail  "
	if t.Holds {
		verdict = "pass  "
	}
	text := ""
	if t.Filter != "" {
		text = "filter " + strconv.Quote(t.Filter) + ": "
	}
	if t.Not {
		text += "not "
	}
	if t.Selection != "" {
		text += t.Selection + ": "
	}
	switch t.Op {
	case sigma.Leaf:
		text += leafText(t)
	case sigma.And:
		text += "all of"
	case sigma.Or:
		text += "any of"
	default:
		text += strconv.Itoa(t.N) + " of"
	}
	b = appendUnder(b, indent+verdict, text)
	for i := range t.Tests {
		b = appendTest(b, &t.Tests[i], indent+"  ")
	}
	return b
}

// mostWanted bounds the values of an item that are shown where none matched.
const mostWanted = 3

// leafText says what an item asks for and what it saw.
func leafText(t *sigma.Test) string {
	quote := func(s string) string { return strconv.Quote(clip(s, shownValue)) }
	var b strings.Builder
	if t.Key == "" {
		b.WriteString("keywords")
	} else {
		b.WriteString(t.Key)
	}
	if t.Matched != "" && t.In != "" {
		b.WriteString(" " + quote(t.Matched))
		if !strings.EqualFold(t.In, t.Matched) {
			b.WriteString(" in " + quote(t.In))
		}
		return b.String()
	}
	shown := min(mostWanted, len(t.Want))
	for i, w := range t.Want[:shown] {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + quote(w))
	}
	if more := t.More + len(t.Want) - shown; more > 0 {
		b.WriteString(" and " + strconv.Itoa(more) + " more")
	}
	switch {
	case t.Key == "" || strings.HasPrefix(t.Key, "|"):
		b.WriteString("; not in the line")
	case len(t.Seen) > 1:
		b.WriteString("; saw " + quote(t.Seen[0]) + " and " + quote(t.Seen[1]))
	case len(t.Seen) == 1:
		b.WriteString("; saw " + quote(t.Seen[0]))
	default:
		b.WriteString("; the request has none")
	}
	return b.String()
}

// appendNearest says how near the asked rule, and what feeds it, came to firing.
func (a *asked) appendNearest(b []byte, t *trace.Trace) []byte {
	if len(a.correlations) == 0 {
		return b
	}
	nothing := true
	for _, c := range t.Nearest() {
		if a.counts(c.Rule.ID) {
			b = appendUnder(b, "", c.Summary())
			nothing = nothing && c.Rule.ID != a.rule.ID
		}
	}
	if nothing {
		b = appendUnder(b, "", a.rule.Title+": no line counted for it")
	}
	return b
}
