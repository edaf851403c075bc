package format

import (
	"cmp"
	"errors"
	"slices"

	"gatewatch/event"
)

// Guess says how much of a sample one format explains.
type Guess struct {
	Name       string
	Confidence float64 // share of the lines that hold anything, 0 to 1
	Lines      int
}

// Detect reads a sample of lines and returns the formats found in it, most
// lines first. Reading does not depend on it, as auto looks at each line
// alone: it is for reports. It returns nil where no line could be read.
func Detect(lines [][]byte) []Guess {
	d, err := New(Options{})
	if err != nil {
		return nil // no options, no fault
	}
	var ev event.Event
	counts := map[string]int{}
	total := 0
	for _, line := range lines {
		err := d.Decode(line, &ev)
		if errors.Is(err, ErrBlank) {
			continue
		}
		total++
		if err == nil {
			counts[ev.Format]++
		}
	}
	var out []Guess
	for name, n := range counts {
		out = append(out, Guess{Name: name, Confidence: float64(n) / float64(total), Lines: n})
	}
	slices.SortFunc(out, func(a, b Guess) int {
		return cmp.Or(cmp.Compare(b.Lines, a.Lines), cmp.Compare(a.Name, b.Name))
	})
	return out
}
