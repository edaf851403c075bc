package ruletest

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

// window is that of one group for one rule, kept in the simplest way: it says
// how near a case came to firing, and judges nothing.
type window struct {
	entries []windowEntry
	first   int // what lies before has expired
	counts  map[uint64]int
}

type windowEntry struct {
	at     int64
	hash   uint64
	number float64
	steps  uint64
}

// add enters one event and returns the window's number before and after it;
// before only where there was something to judge.
func (w *window) add(r *observation.Rule, now int64, h *observation.Hit) []float64 {
	was := w.first < len(w.entries)
	for ; w.first < len(w.entries) && w.entries[w.first].at <= now-r.Timespan; w.first++ {
		if hash := w.entries[w.first].hash; w.counts[hash] > 1 {
			w.counts[hash]--
		} else {
			delete(w.counts, hash)
		}
	}
	var out []float64
	if was && (r.Type.Counts() || r.Type == observation.IDWalk || w.first < len(w.entries)) {
		out = append(out, w.number(r))
	}
	for range max(h.N, 1) {
		w.entries = append(w.entries, windowEntry{now, h.Hash, h.Number, h.Steps})
		w.counts[h.Hash]++
	}
	return append(out, w.number(r))
}

func (w *window) number(r *observation.Rule) float64 {
	kept := w.entries[w.first:]
	switch r.Type {
	case observation.ValueCount, observation.IDWalk:
		return float64(len(w.counts))
	case observation.Temporal, observation.TemporalOrdered:
		return float64(stepsSeen(kept, len(r.Steps), r.Type == observation.TemporalOrdered))
	case observation.ValueSum, observation.ValueAvg:
		sum := 0.0
		for _, e := range kept {
			sum += e.number
		}
		if r.Type == observation.ValueAvg {
			sum /= float64(len(kept))
		}
		return sum
	case observation.ValuePercentile:
		return w.percentile(r, kept)
	default:
		return float64(len(kept))
	}
}

// percentile is that of the numbers by nearest rank, or the share in percent of
// the values that are as rare as the newest or rarer.
func (w *window) percentile(r *observation.Rule, kept []windowEntry) float64 {
	if r.Percentile > 0 {
		numbers := make([]float64, len(kept))
		for i, e := range kept {
			numbers[i] = e.number
		}
		slices.Sort(numbers)
		rank := int(r.Percentile / 100 * float64(len(numbers)))
		if float64(rank) < r.Percentile/100*float64(len(numbers)) {
			rank++
		}
		return numbers[max(rank, 1)-1]
	}
	rare, newest := 0, w.counts[kept[len(kept)-1].hash]
	for _, e := range kept {
		if w.counts[e.hash] <= newest {
			rare++
		}
	}
	return 100 * float64(rare) / float64(len(kept))
}

// stepsSeen counts the steps that occurred, in order of the rule those that
// did so one after another.
func stepsSeen(kept []windowEntry, n int, ordered bool) int {
	if !ordered {
		var seen uint64
		for _, e := range kept {
			seen |= e.steps
		}
		return bits.OnesCount64(seen)
	}
	done := 0
	for i := 0; i < len(kept); {
		j := i
		var now uint64 // events of one second count as in order
		for ; j < len(kept) && kept[j].at == kept[i].at; j++ {
			now |= kept[j].steps
		}
		for done < n && now>>done&1 != 0 {
			done++
		}
		i = j
	}
	return done
}

// nearer reports whether n is nearer to firing than the number so far: more,
// except for rules that only ask for less.
func nearer(r *observation.Rule, n, than float64) bool {
	if asksForLess(r) {
		return n < than
	}
	return n > than
}

func asksForLess(r *observation.Rule) bool {
	for _, b := range r.Bounds {
		if b.Op != observation.Lt && b.Op != observation.Lte {
			return false
		}
	}
	return len(r.Bounds) > 0
}

// told names the number of a window in words.
func told(r *observation.Rule, n float64) string {
	most := "at most"
	if asksForLess(r) {
		most = "at least"
	}
	what := "events"
	switch r.Type {
	case observation.ValueCount:
		what = "values"
	case observation.IDWalk:
		what = "ids"
	case observation.Temporal, observation.TemporalOrdered:
		return fmt.Sprintf("%s %v of %d rules", most, n, len(r.Steps))
	case observation.ValueSum:
		return fmt.Sprintf("a sum of %s %s", most, round(n))
	case observation.ValueAvg:
		return fmt.Sprintf("a mean of %s %s", most, round(n))
	case observation.ValuePercentile:
		return fmt.Sprintf("a percentile of %s %s", most, round(n))
	}
	return fmt.Sprintf("%s %v %s", most, n, what)
}

// baselineNeeds says what a condition on a learned baseline asks for.
func baselineNeeds(b *observation.Baseline) string {
	var parts []string
	if b.Factor > 0 {
		parts = append(parts, fmt.Sprintf("%v times what is expected", b.Factor))
	}
	if b.Score > 0 {
		parts = append(parts, fmt.Sprintf("a score of %v", b.Score))
	}
	if b.Spread != observation.SpreadAny {
		parts = append(parts, "spread "+b.Spread.String())
	}
	return strings.Join(append(parts, fmt.Sprintf("a count of %v", b.Least)), " and ")
}

func round(n float64) string { return strconv.FormatFloat(n, 'g', 6, 64) }

// span says how long the window is.
func span(r *observation.Rule) string {
	return "in " + (time.Duration(r.Timespan) * time.Second).String()
}
