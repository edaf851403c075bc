package alerting

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// group is what incidents with the same values of a route's group_by share,
// for one receiver.
type group struct {
	last  time.Time // when something was last told
	since time.Time // when the first of what waits became due; zero when nothing waits
	until time.Time // then it is as if it had never been
	pass  int64     // the call of Revise that told it
	dirty bool
}

// groups are those of a book, by key.
type groups struct {
	all     map[string]*group
	deleted []string
}

// key is that of an incident's group, for one receiver; path tells routes
// apart. It is "" where the incident is alone. Values come from requests: the
// key is a hash of them.
func (r *Route) key(v *labelView, receiver, path string) string {
	if r.alone() {
		return ""
	}
	var b strings.Builder
	b.WriteString(receiver + "\x00" + path)
	for _, name := range r.GroupBy {
		b.WriteString("\x00" + v.value(name))
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// due is when the group is to be told of what became due at since. Growth has
// waited before and does not wait for more to come.
func (x *groups) due(d *dest, since time.Time, growth bool, now time.Time, pass int64) time.Time {
	g := x.all[d.group]
	if g == nil {
		g = new(group)
		x.all[d.group] = g
	}
	if g.pass == pass {
		return now // it is being told
	}
	wait, interval := d.route.GroupWait, d.route.GroupInterval
	at := func(since time.Time) time.Time {
		t := since
		if !growth {
			t = t.Add(wait)
		}
		if next := g.last.Add(interval); !g.last.IsZero() && next.After(t) {
			return next
		}
		return t
	}
	// What waited is gone if it should have been told before this came.
	if g.since.IsZero() || since.Before(g.since) || since.Equal(now) && at(g.since).Before(now) {
		g.since, g.dirty = since, true
	}
	t := at(g.since)
	g.until = t.Add(interval)
	if !now.Before(t) {
		*g = group{last: now, until: now.Add(interval), pass: pass, dirty: true}
	}
	return t
}

// setBack makes nothing that was be after now.
func (x *groups) setBack(now time.Time) {
	for _, g := range x.all {
		g.last, g.since, g.until = earlier(g.last, now), earlier(g.since, now), now.Add(24*time.Hour)
		g.dirty = true
	}
}

// sweep forgets groups of which nothing is left that matters.
func (x *groups) sweep(now time.Time) {
	for key, g := range x.all {
		if now.After(g.until) {
			delete(x.all, key)
			x.deleted = append(x.deleted, key)
		}
	}
}

// changes returns what durable state needs, see Book.Changes.
func (x *groups) changes() []StoreOp {
	var ops []StoreOp
	for _, key := range x.deleted {
		if x.all[key] == nil {
			ops = append(ops, StoreOp{Bucket: BucketGroups, Key: []byte(key)})
		}
	}
	x.deleted = nil
	for _, key := range slices.Sorted(maps.Keys(x.all)) {
		if g := x.all[key]; g.dirty {
			g.dirty = false
			v := []byte{storedVersion}
			for _, t := range [...]time.Time{g.last, g.since, g.until} {
				v = binary.BigEndian.AppendUint64(v, uint64(nanos(t)))
			}
			ops = append(ops, StoreOp{BucketGroups, []byte(key), v})
		}
	}
	return ops
}

// LoadGroups is Load for the bucket BucketGroups.
func (b *Book) LoadGroups(scan func(f func(key, value []byte) error) error) error {
	return scan(func(key, value []byte) error {
		if len(value) != 25 || value[0] != storedVersion {
			return fmt.Errorf("read stored group %q: %w", key, errDamaged)
		}
		t := func(i int) time.Time { return fromNanos(int64(binary.BigEndian.Uint64(value[1+8*i:]))) }
		b.groups.all[string(key)] = &group{last: t(0), since: t(1), until: t(2)}
		return nil
	})
}
