package alerting

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxDistinct is how many values of one list an incident counts exactly.
	maxDistinct = 4096
	// maxText bounds a value kept from a log, in bytes.
	maxText = 256
	// scanned is how many entries are searched one by one before a tally
	// makes itself an index: nearly every incident has a handful of values.
	scanned = 16
	// granted is how many values every tally holds whatever the others took:
	// filling all room must not blind the incidents that come later.
	granted = 8
)

// entry is one value of a tally and how often it was seen.
type entry struct {
	key string
	n   int64
}

// tally counts values: exactly up to a limit of distinct ones, beyond that
// new values only enter an estimate of how many there are. Entries stay in
// the order of their first sight, so nothing depends on the order of a map.
type tally struct {
	entries []entry
	index   map[string]int32
	more    *sketch // the values that did not fit, nil while all did
	extra   int64   // distinct values dropped by compact
	bitten  bool    // total is an estimate
}

// budget is what all tallies of a book may hold together.
type budget struct{ used, limit int }

// take reports whether one more entry fits, and takes it. Those that are
// granted always fit.
func (b *budget) take(grant bool) bool {
	if b.used >= b.limit && !grant {
		return false
	}
	b.used++
	return true
}

// add counts n more of key, which may be a view: it is cloned when kept.
func (t *tally) add(key string, n int64, limit int, room *budget) {
	key = clip(key)
	if i, ok := t.find(key); ok {
		t.entries[i].n += n
		return
	}
	if len(t.entries) >= limit || !room.take(len(t.entries) < granted) {
		if t.more == nil {
			t.more = new(sketch)
		}
		t.more.add(key)
		t.bitten = true
		return
	}
	t.insert(entry{key: strings.Clone(key), n: n})
}

func (t *tally) insert(e entry) {
	t.entries = append(t.entries, e)
	if t.index != nil {
		t.index[e.key] = int32(len(t.entries) - 1)
		return
	}
	if len(t.entries) > scanned {
		t.index = make(map[string]int32, 2*scanned)
		for i := range t.entries {
			t.index[t.entries[i].key] = int32(i)
		}
	}
}

func (t *tally) find(key string) (int, bool) {
	if t.index != nil {
		i, ok := t.index[key]
		return int(i), ok
	}
	for i := range t.entries {
		if t.entries[i].key == key {
			return i, true
		}
	}
	return 0, false
}

// total is how many distinct values were seen; exact unless bitten.
func (t *tally) total() int64 {
	n := int64(len(t.entries)) + t.extra
	if t.more != nil {
		n += t.more.estimate()
	}
	return n
}

// top returns the n most frequent entries, then by value.
func (t *tally) top(n int) []entry {
	out := slices.Clone(t.entries)
	slices.SortFunc(out, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.key, b.key))
	})
	return out[:min(n, len(out))]
}

// compact keeps the n most frequent entries and the total: what a resolved
// incident needs.
func (t *tally) compact(n int, room *budget) {
	total := t.total()
	room.used -= len(t.entries)
	t.entries = slices.Clone(t.top(n))
	t.index, t.more = nil, nil
	t.extra = total - int64(len(t.entries))
}

// clip cuts a value at maxText bytes without splitting a rune.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > maxText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
