package alerting

import (
	"fmt"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
)

// previous is who had been where this incident's client now is, told by firings
// that count principals: whose the objects are that somebody goes through. Its fields
// are stored with the incident.
type previous struct {
	Times int64 // firings that told of somebody
	Names []previousName
	More  int64 // times that it was somebody for whom there was no room
}

type previousName struct {
	Name string
	N    int64
}

// maxPrevious is how many are named.
const maxPrevious = 8

// add takes in one firing.
func (p *previous) add(c *observation.Card) {
	if c.Before == "" {
		return
	}
	p.Times++
	for name := range strings.SplitSeq(c.Before, "\x00") {
		name = printable(name) // they are stored as JSON
		i := slices.IndexFunc(p.Names, func(x previousName) bool { return x.Name == name })
		switch {
		case i >= 0:
			p.Names[i].N++
		case len(p.Names) < maxPrevious:
			p.Names = append(p.Names, previousName{strings.Clone(name), 1})
		default:
			p.More++
		}
	}
}

// text says it in words.
func (p *previous) text() string {
	var who []string
	for _, x := range slices.SortedStableFunc(slices.Values(p.Names), func(a, b previousName) int { return int(b.N - a.N) }) {
		name := x.Name
		if x.N > 1 {
			name += fmt.Sprintf(" (%d)", x.N)
		}
		who = append(who, name)
	}
	if p.More > 0 {
		who = append(who, fmt.Sprintf("%d times somebody else", p.More))
	}
	times := fmt.Sprintf("%d times", p.Times)
	if p.Times == 1 {
		times = "once"
	}
	return times + " where others alone had been before: " + strings.Join(who, ", ")
}
