// Package collectors defines where records come from. A [Source] is one
// ordered stream of lines: one path through all its rotations, one Kafka
// partition, or standard input. Its sub-packages implement sources.
//
// A source hands out whole lines in blocks and says when it has read all
// there is. It never loses or doubles a line between two runs: whoever runs
// it keeps the [Position] of the first record not yet part of durable state
// and gives it back.
package collectors

import (
	"context"
	"time"
)

// Position says where in a source to go on. The zero Position means that the
// source was never read: it begins where its options say.
type Position struct {
	// Offset is the logical offset of the next record: bytes of the source
	// through all its generations. It only grows.
	Offset int64
	// Line is the number of the line before the next record, counted like Offset.
	Line int64
	// Origin is the Origin of the block that the offset was taken from,
	// opaque to all but the source. Empty in a zero Position.
	Origin []byte
}

// Block is a run of whole lines of one generation of a source. Each line ends
// with a line feed but perhaps the last of a generation. Once emitted a block
// is not changed by the source until Release is called.
type Block struct {
	Data   []byte
	Offset int64 // logical offset of Data[0]
	Line   int64 // number of the first line, 1-based
	// Origin identifies the generation (file, partition) and how logical
	// offsets map to it. Blocks of one generation share it. Read-only.
	Origin []byte
	// Release, if not nil, gives Data back to the source for reuse.
	Release func()
}

// State is what a source says of itself between blocks.
type State uint8

// The states of a source.
const (
	// Reading: there may be unread input. A source is Reading from its start.
	Reading State = iota
	// Idle: at Item.At all there was had been emitted.
	Idle
	// Failing: reading answers with Item.Err; the source keeps trying.
	Failing
	// Gone: everything was read and the path, partition or pipe is gone. The
	// source may come back with a new block.
	Gone
)

// String returns the state's name as used in metrics and status output.
func (s State) String() string { return [...]string{"reading", "idle", "failing", "gone"}[s] }

// Item is what a source emits: a block, or a change of its state.
type Item struct {
	Block *Block // nil for a change of state
	State State
	At    time.Time
	Err   error // for Failing
	// Skipped counts lines that were passed over since the last item, by reason
	// (such as "too_long"); nil when there were none.
	Skipped map[string]int64
}

// Text is the text behind a reference.
type Text struct {
	File string // the file's path, or the topic and partition
	Line int64  // line number inside File, 1-based, 0 when not known
	Text string // without the line end; "" when it can no longer be had
}

// Lookup asks for one line.
type Lookup struct {
	Offset int64 // logical
	Length uint32
	Line   int64 // logical, as in observation.Ref
}

// Source is one ordered stream of records.
type Source interface {
	// Name is unique among sources and stable over restarts: the path as
	// configured or found by a glob. Merge rank is the order of names.
	Name() string

	// Run reads from the position and calls emit, from one goroutine and in
	// order, until the input ends for good (nil), ctx is done (ctx.Err()), emit
	// fails (its error), or the source can never be read (another error).
	// emit blocks while its receiver is busy; that is the back-pressure.
	Run(ctx context.Context, from Position, emit func(Item) error) error

	// Fetch returns the texts of lines emitted before, in the order asked.
	// It is best effort: what is gone has an empty Text. It may be called
	// while Run is running.
	Fetch(ctx context.Context, lookups []Lookup) []Text
}

// Collector finds sources and keeps finding them.
type Collector interface {
	// Watch calls found for each source, first for those that exist now, then
	// as new ones appear, each name once. It returns when ctx is done, or nil
	// once no further source can appear. settled is called once after the
	// sources that existed at the start have all been passed to found.
	Watch(ctx context.Context, found func(Source), settled func()) error
}

// Resumer is a Collector that wants to know which sources have a saved
// position: one whose path is gone may still have unread input, in a rotated
// file for one. Resume is called once, before Watch, with the names of all
// saved positions; the collector announces those that are its own.
type Resumer interface {
	Resume(names []string)
}
