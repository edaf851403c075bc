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
	turn  uint64       // how often reading went on elsewhere because of what Kafka had
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

// origin is what a position says beside its offset.
type origin struct {
	id    wire.TopicID
	epoch int32
	turn  uint64
}

func (o *origin) append(b []byte) []byte {
	b = append(b, originVersion)
	b = append(b, o.id[:]...)
	b = binary.AppendVarint(b, int64(o.epoch))
	return binary.AppendUvarint(b, o.turn)
}

func decodeOrigin(b []byte) (o origin, err error) {
	if len(b) < 1+len(o.id) || b[0] != originVersion {
		return o, errSaved
	}
	copy(o.id[:], b[1:])
	b = b[1+len(o.id):]
	v, n := binary.Varint(b)
	if n <= 0 || v < none || v > 1<<31-1 {
		return o, errSaved
	}
	o.epoch = int32(v)
	if o.turn, n = binary.Uvarint(b[n:]); n <= 0 {
		return o, errSaved
	}
	return o, nil
}

// note is what is kept beside a position: the offset that Kafka last
// acknowledged. A note may be newer than its position: when reading goes on
// elsewhere the position follows with the first records that are judged there. Until
// then before is what goes with it.
type note struct {
	turn          uint64 // of acked; before is that of the turn before
	acked, before int64
	member        string
}

func (x *note) append(b []byte) []byte {
	b = append(b, noteVersion)
	b = binary.AppendUvarint(b, x.turn)
	b = binary.AppendVarint(b, x.acked)
	b = binary.AppendVarint(b, x.before)
	return append(b, x.member...)
}

// of returns what goes with a position of that turn.
func (x *note) of(turn uint64) int64 {
	if turn == x.turn {
		return x.acked
	}
	return x.before
}

// maxMember bounds the name that a coordinator gives a member.
const maxMember = 1 << 10

func decodeNote(b []byte) (x note, err error) {
	x.acked, x.before = none, none
	if len(b) == 0 {
		return x, nil
	}
	if b[0] != noteVersion || len(b) > maxMember {
		return x, errSaved
	}
	b = b[1:]
	var n int
	if x.turn, n = binary.Uvarint(b); n <= 0 {
		return x, errSaved
	}
	for _, v := range []*int64{&x.acked, &x.before} {
		b = b[n:]
		if *v, n = binary.Varint(b); n <= 0 || *v < none {
			x.acked, x.before = none, none
			return x, errSaved
		}
	}
	x.member = string(b[n:])
	return x, nil
}

// recall reads a saved position. The zero position is that of a partition
// that was never read.
func recall(p collectors.Position) (known, error) {
	k := known{acked: none, epoch: none}
	if len(p.Origin) == 0 && p.Offset == 0 {
		return k, nil
	}
	o, err := decodeOrigin(p.Origin)
	if err != nil {
		return k, err
	}
	x, err := decodeNote(p.Note)
	if err != nil {
		return k, err
	}
	return known{set: true, at: p.Offset, acked: x.of(o.turn), id: o.id, epoch: o.epoch, turn: o.turn}, nil
}
