package sigma

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"

	"gatewatch/event"
)

// TestCacheHitRates: what comes again in a log of a shop is found again.
func TestCacheHitRates(t *testing.T) {
	evs := readLog(t, "../../testdata/attack-hour.log.gz", 0, 1<<20)
	seed := maphash.MakeSeed()
	for _, c := range []struct {
		src   source
		value func(*event.Event) string
		least float64 // percent
	}{
		{fieldSource(event.FieldUserAgent), func(e *event.Event) string { return e.UserAgent }, 99},
		{fieldSource(event.FieldReferer), func(e *event.Event) string { return e.Referer }, 95},
		{fieldSource(event.FieldTarget), func(e *event.Event) string { return e.Target }, 45},
	} {
		var cache valueCache
		cache.init(cacheSets(c.src))
		for _, ev := range evs {
			v := c.value(ev)
			if v == "" {
				continue
			}
			if _, place, ok := cache.find(seed, v); !ok {
				cache.put(place, v, nil)
			}
		}
		rate := 100 * float64(cache.hits) / float64(cache.hits+cache.misses)
		t.Logf("%s: %.1f %% of %d values were there", c.src, rate, cache.hits+cache.misses)
		if rate < c.least {
			t.Errorf("%s: %.1f %%, want %v", c.src, rate, c.least)
		}
	}
}

// TestCacheKeepsAtoms: what was put is what is found, whatever came between.
func TestCacheKeepsAtoms(t *testing.T) {
	var c valueCache
	c.init(2)
	seed := maphash.MakeSeed()
	for i := range 20_000 {
		n := i * i % 37
		v := strings.Repeat("v", n%5) + fmt.Sprint(n)
		atoms, place, ok := c.find(seed, v)
		if ok {
			if len(atoms) != n%3 || len(atoms) > 0 && atoms[0] != uint32(n) {
				t.Fatalf("%q: got %v", v, atoms)
			}
			continue
		}
		c.put(place, v, []uint32{uint32(n), 7}[:n%3])
	}
	if c.hits == 0 || c.misses < 100 {
		t.Errorf("%d hits and %d misses say too little", c.hits, c.misses)
	}
}

// TestCacheFlood: values that never come again displace none that do, and
// what is kept is bounded.
func TestCacheFlood(t *testing.T) {
	var c valueCache
	c.init(cacheSets(fieldSource(event.FieldUserAgent)))
	seed := maphash.MakeSeed()
	see := func(v string) bool {
		_, place, ok := c.find(seed, v)
		if !ok {
			c.put(place, v, []uint32{1})
		}
		return ok
	}
	const hot = 100
	lost := 0
	for i := range 200_000 {
		if v := fmt.Sprintf("agent %d", i%hot); i%50 == 0 {
			if !see(v) && i > 50*hot*10 {
				lost++
			}
		}
		see(fmt.Sprintf("never again %d %s", i, strings.Repeat("x", i%maxCachedValue)))
	}
	if lost > 0 {
		t.Errorf("values that come again were searched %d times more", lost)
	}
	size := 0
	for i := range c.slots {
		size += cap(c.slots[i].value) + 4*cap(c.slots[i].atoms)
	}
	if most := len(c.slots) * 2 * (maxCachedValue + 4*maxCachedAtoms); size > most {
		t.Errorf("%d bytes are kept, want at most %d", size, most)
	}
}

// BenchmarkDistinct is traffic in which no target, agent or referer comes
// twice.
func BenchmarkDistinct(b *testing.B) {
	x := builtinIndex(b)
	evs := ordinary(b, x.Needs())
	for i, ev := range evs {
		ev.Target += fmt.Sprintf("#%x", i)
		ev.Path += fmt.Sprintf("#%x", i)
		if ev.Query != "" {
			ev.Path, ev.Query, _ = strings.Cut(ev.Target, "?")
		}
		ev.UserAgent += fmt.Sprint(" ", i)
		ev.Referer += fmt.Sprint("/", i)
	}
	// More values than the caches hold, in an order that comes round again.
	observeAll(b, x, evs)
}
