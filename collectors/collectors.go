// Package collectors defines where records come from. A [Source] is one
// ordered stream of lines or messages: one path through all its rotations, one
// Kafka partition, or standard input. Its sub-packages implement sources.
//
// A source hands out whole lines in blocks and says when it has read all
// there is. It never loses or doubles a line between two runs: whoever runs
// it keeps the [Position] of the first record not yet part of durable state
// and gives it back.
package collectors

import (
	"context"
	"errors"
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
	// Note is what a [Committer] asked to be kept beside the position, nil for
	// other sources.
	Note []byte
}

// Block is a run of whole lines of one generation of a source. Each line ends
// with a line feed but perhaps the last of a generation. Once emitted a block
// is not changed by the source until Release is called.
//
// A block of a [Queue] has Messages and End in place of Data and Line.
type Block struct {
	Data   []byte
	Offset int64 // logical offset of Data[0]
	Line   int64 // number of the first line, 1-based

	Messages []Message
	End      int64 // logical offset behind the block, which may be far behind its last message
	// Gap says that there were records between the block before, or the position
	// where Run began, and this one, that this source did not and will not
	// emit. What was counted before and after it does not belong together exactly.
	Gap bool

	// Origin identifies the generation (file, partition) and how logical
	// offsets map to it. Blocks of one generation share it. Read-only.
	Origin []byte
	// Release, if not nil, gives Data back to the source for reuse.
	Release func()
}

// Message is one message of a queue. All of it is read-only and valid until
// its block is released.
type Message struct {
	Offset  int64  // in the queue; see LogicalOffset
	Time    int64  // when it was made or stored, Unix nanoseconds; 0 where that is not known
	Key     []byte // nil for none
	Value   []byte
	Headers []Header // nil where the source was not asked for them
}

// Header is one header of a message.
type Header struct{ Key, Value []byte }

// lineBits is how many bits of a logical offset number the lines of a message.
const lineBits = 16

// MaxMessageLines is how many lines of one message can be told apart.
const MaxMessageLines = 1 << lineBits

// LogicalOffset returns the logical offset of the first line in the message
// with an offset; those of its further lines follow.
func LogicalOffset(message int64) int64 { return message << lineBits }

// MessageOffset is the opposite of LogicalOffset: the offset of the message
// and the number of the line in it, from 0 on.
func MessageOffset(logical int64) (message int64, line int) {
	return logical >> lineBits, int(logical & (MaxMessageLines - 1))
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
	// Rejects are messages among those skipped, for a DeadLetterer.
	Rejects []Reject

	// Park, if not nil, takes back what was emitted before and is not judged
	// yet: it will not be, and the source emits it again if it goes on. Park is
	// called once, by another goroutine, with the position up to which all was
	// judged, as soon as that is durable. It must not block. Until it was
	// called, or is known never to be, as the run has ended, the source emits no block.
	Park func(Position)
	// Cancel, if not nil, makes emit give up with ErrCanceled when it is closed
	// while emit waits: the item was not taken then.
	Cancel <-chan struct{}
}

// ErrCanceled is what emit returns for an item that was canceled.
var ErrCanceled = errors.New("the item was canceled")

// Reject is a message, or a line in one, of which no event could be made.
type Reject struct {
	Source string // name of the source
	Offset int64  // logical
	Reason string // a word, as in metrics
	Time   int64  // of the message, Unix nanoseconds; 0 where that is not known
	Key    []byte
	Value  []byte // the line; nil where it was too long to be kept
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

// Queue is a Source whose records come in messages. Its logical offsets are
// those of LogicalOffset.
type Queue interface {
	Source
	// Rank takes the place of Name in the order of sources.
	Rank() string
	// Place returns the topic and the partition. They never change.
	Place() (topic string, partition int32)
	// Lag returns how many messages there are behind the logical offset. It may
	// be called by any goroutine; ok is false where that is not known.
	Lag(offset int64) (messages int64, ok bool)
}

// Measurer is a Source that knows how much it has not read yet.
type Measurer interface {
	Source
	// Unread returns how many bytes there are behind a logical offset, and the number
	// of the file that is being read, counted from 1 since Run began. It may be called by any
	// goroutine; ok is false where that is not known.
	Unread(offset int64) (bytes, generation int64, ok bool)
}

// Committer is a Source that tells somebody else how far it is.
type Committer interface {
	Source
	// Durable is called after each checkpoint in which the source's position
	// changed, with that position, from one goroutine. It must not block.
	Durable(Position)
	// Note returns what is to be kept beside the position. It is asked at each
	// checkpoint, by one goroutine; what it returned last comes back as
	// Position.Note, even where the position itself is that of an earlier one. The
	// result is not changed afterwards.
	Note() []byte
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

// Recaller is a Collector that wants to see saved positions before it finds
// its sources. Recall is called once, before Watch, with all positions that there are
// by name of source; the collector knows which are its own.
type Recaller interface {
	Recall(saved map[string]Position)
}

// Counter is a Collector that counts what happens to it.
type Counter interface {
	// Name tells it from other collectors, for people and metrics.
	Name() string
	// Counts returns how often each event happened since the start. Events are few and
	// fixed. It may be called by any goroutine.
	Counts() map[string]int64
}

// Finisher is a Collector that has something to do once all is durable at the
// end of a run. Finish is called once, after the context of Watch is done and
// the last checkpoint was committed, or could not be; Watch may wait for it.
type Finisher interface {
	Finish(ctx context.Context) error
}

// Reporter is a Collector that knows of trouble that is not that of one
// source, such as a cluster that is away before any source of it was found.
type Reporter interface {
	// Trouble says what is wrong now, for people; empty when nothing is. It may
	// be called by any goroutine.
	Trouble() []string
}

// DeadLetterer is a Collector that puts aside what could not be read.
type DeadLetterer interface {
	// DeadLetters reports whether it wants any.
	DeadLetters() bool
	// PutAside stores rejects. It returns how many it could not store, which
	// are counted and not given to it again. It is called by one goroutine, before the
	// checkpoint that passes the rejects, so after a crash it may see one again.
	PutAside(ctx context.Context, rejects []Reject) (lost int)
}
