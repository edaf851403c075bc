package trace

import (
	"math/bits"
	"slices"

	"gatewatch/detectors/observation"
)

// window is that of one group for one rule, kept in the simplest way: it says
// how near the rule came to firing, and judges nothing.
type window struct {
	entries []windowEntry
	first   int // what lies before has expired
	counts  map[uint64]int
}

// most is how many entries a window keeps: as many as the rule is judged by, or
// for counts more than any rule needs.
func most(r *observation.Rule) int {
	if r.Type.Measures() {
		return r.Keep()
	}
	return 2 * observation.MaxKept
}

type windowEntry struct {
	at     int64
	hash   uint64
	number float64
	steps  uint64
	// Of an id: the number that it is, and how it was answered.
	id      uint64
	numeric bool
	answer  observation.Answer
}

// expire lets go what has left the window at a time.
func (w *window) expire(r *observation.Rule, now int64) {
	for w.first < len(w.entries) && w.entries[w.first].at <= now-r.Timespan {
		w.drop()
	}
	if w.first > 64 && w.first > len(w.entries)/2 {
		w.entries = w.entries[:copy(w.entries, w.entries[w.first:])]
		w.first = 0
	}
}

func (w *window) drop() {
	if hash := w.entries[w.first].hash; w.counts[hash] > 1 {
		w.counts[hash]--
	} else {
		delete(w.counts, hash)
	}
	w.first++
}

// add enters one event and returns the window's number before and after it;
// before only where there was something to judge. The status is that of its response.
func (w *window) add(r *observation.Rule, now int64, h *observation.Hit, status int32) []float64 {
	was := w.first < len(w.entries)
	w.expire(r, now)
	var out []float64
	if was && (r.Type.Counts() || r.Type == observation.IDWalk || w.first < len(w.entries)) {
		out = append(out, w.number(r))
	}
	for range max(h.N, 1) {
		e := windowEntry{at: now, hash: h.Hash, number: h.Number, steps: h.Steps, answer: observation.AnswerOf(status)}
		if r.Type == observation.IDWalk {
			e.id, e.numeric = observation.IDNumber(h.Value)
		}
		w.entries = append(w.entries, e)
		w.counts[h.Hash]++
		if len(w.entries)-w.first > most(r) {
			w.drop()
		}
	}
	if r.Type == observation.IDWalk {
		w.begin(r.Walk)
	}
	return append(out, w.number(r))
}

// begin lets go the first ids with which a walk does not begin.
func (w *window) begin(k *observation.Walk) {
	for w.first < len(w.entries) {
		e := &w.entries[w.first]
		ok := k.Begins(e.answer)
		if k.Leads() && w.first+1 == len(w.entries) {
			ok = e.numeric && observation.MayLead(e.id)
		} else if k.Leads() {
			next := &w.entries[w.first+1]
			up, down := k.Follow(e.id, next.id)
			ok = e.numeric && next.numeric && k.Order.Of(up, down) > 0
		}
		if ok {
			return
		}
		w.drop()
	}
}

func (w *window) number(r *observation.Rule) float64 {
	kept := w.entries[w.first:]
	switch r.Type {
	case observation.ValueCount, observation.IDWalk:
		return float64(len(w.counts))
	case observation.Temporal, observation.TemporalOrdered:
		return float64(bits.OnesCount64(stepsSeen(kept, len(r.Steps), r.Type == observation.TemporalOrdered)))
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

// stepsSeen has the bits of the steps that occurred, in order of the rule those
// that did so one after another.
func stepsSeen(kept []windowEntry, n int, ordered bool) uint64 {
	if !ordered {
		var seen uint64
		for _, e := range kept {
			seen |= e.steps
		}
		return seen
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
	return 1<<done - 1
}
