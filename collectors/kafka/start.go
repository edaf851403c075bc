package kafka

import (
	"encoding/binary"
	"errors"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/wire"
)

// none stands for an offset that is not there.
const none = -1

// known is what is remembered of a partition.
type known struct {
	set   bool
	at    int64        // logical offset of the next line
	acked int64        // the offset that Kafka last acknowledged, or where reading began; none before
	id    wire.TopicID // of the topic in which at is
	epoch int32        // of the leader under which the records before at were written, none where not known
}

func (k *known) offset() int64 {
	n, _ := collectors.MessageOffset(k.at)
	return n
}

// log is what a partition holds.
type log struct {
	first, last int64        // last is behind the last record that can be read
	id          wire.TopicID // zero where the broker has none
}

// reason is why reading does not go on where it was.
type reason uint8

const (
	asBefore reason = iota
	fresh           // never read before
	moved           // somebody else committed another offset
	recreated
	expired  // retention was faster
	vanished // the partition ends before the position
)

// String returns the word used in metrics and logs.
func (r reason) String() string {
	return [...]string{"as_before", "fresh", "moved", "recreated", "expired", "vanished"}[r]
}

// beginning is where to begin, and why there.
type beginning struct {
	at   int64 // logical
	why  reason
	gap  bool  // records may be missing or come again, seen from what was counted
	lost int64 // records that are gone for certain
	open bool  // at is not said: Options.Begin decides
	stop bool  // do not begin at all
}

// begin decides where to go on in a partition. committed is what Kafka has for
// the group, none where it has nothing.
//
//	acked ──── committed ──── at: ours is right, Kafka's is what it was told last
//	committed outside:            somebody else read on, or reset it; theirs is right
//	at outside of the log:        as stale says
//
// at is before acked where a topic was made anew and Kafka was not told yet.
func begin(k known, committed int64, l log, stale Stale) beginning {
	switch {
	case !k.set && committed == none:
		return beginning{why: fresh, open: true}
	case !k.set:
		return inLog(beginning{at: collectors.LogicalOffset(committed), why: fresh}, l, stale)
	}
	ours := committed == none || committed == k.acked || committed >= k.acked && committed <= k.offset()
	anew := k.id != wire.TopicID{} && l.id != wire.TopicID{} && k.id != l.id
	switch {
	case anew && ours:
		return asStale(beginning{why: recreated, gap: true}, l, stale)
	case !ours:
		why := moved
		if anew {
			why = recreated
		}
		return inLog(beginning{at: collectors.LogicalOffset(committed), why: why, gap: true}, l, stale)
	}
	return inLog(beginning{at: k.at, why: asBefore}, l, stale)
}

// inLog checks that the log has what b begins with.
func inLog(b beginning, l log, stale Stale) beginning {
	offset, _ := collectors.MessageOffset(b.at)
	switch {
	case offset < l.first:
		return asStale(beginning{why: expired, gap: b.why != fresh, lost: l.first - offset}, l, stale)
	case offset > l.last:
		return asStale(beginning{why: vanished, gap: b.why != fresh}, l, stale)
	}
	return b
}

func asStale(b beginning, l log, stale Stale) beginning {
	switch stale {
	case Earliest:
		b.at = collectors.LogicalOffset(l.first)
	case Latest:
		b.at = collectors.LogicalOffset(l.last)
	case Stop:
		b.stop = true
	}
	return b
}

// The versions of what a source keeps in positions.
const (
	originVersion = 1
	noteVersion   = 1
)

var errSaved = errors.New("what was saved of the partition is damaged")

// appendOrigin encodes what a position says beside its offset.
func appendOrigin(b []byte, id wire.TopicID, epoch int32) []byte {
	b = append(b, originVersion)
	b = append(b, id[:]...)
	return binary.AppendVarint(b, int64(epoch))
}

func decodeOrigin(b []byte) (id wire.TopicID, epoch int32, err error) {
	if len(b) < 1+len(id) || b[0] != originVersion {
		return id, none, errSaved
	}
	copy(id[:], b[1:])
	v, n := binary.Varint(b[1+len(id):])
	if n <= 0 || v < none || v > 1<<31-1 {
		return id, none, errSaved
	}
	return id, int32(v), nil
}

// appendNote encodes what is kept beside a position.
func appendNote(b []byte, acked int64, member string) []byte {
	b = append(b, noteVersion)
	b = binary.AppendVarint(b, acked)
	return append(b, member...)
}

// maxMember bounds the name that a coordinator gives a member.
const maxMember = 1 << 10

func decodeNote(b []byte) (acked int64, member string, err error) {
	if len(b) == 0 {
		return none, "", nil
	}
	if b[0] != noteVersion {
		return none, "", errSaved
	}
	v, n := binary.Varint(b[1:])
	if n <= 0 || v < none || len(b) > maxMember {
		return none, "", errSaved
	}
	return v, string(b[1+n:]), nil
}

// recall reads a saved position. The zero position is that of a partition
// that was never read.
func recall(p collectors.Position) (known, error) {
	k := known{acked: none, epoch: none}
	if len(p.Origin) == 0 && p.Offset == 0 {
		return k, nil
	}
	var err error
	if k.id, k.epoch, err = decodeOrigin(p.Origin); err != nil {
		return k, err
	}
	if k.acked, _, err = decodeNote(p.Note); err != nil {
		return k, err
	}
	k.set, k.at = true, p.Offset
	return k, nil
}
