// Package stdin reads records from standard input, or any other stream that
// can be read only once. There is nothing to go back to: after a restart it
// goes on counting where the saved position ends, with whatever comes next.
package stdin

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/lines"
	"gatewatch/collectors/internal/packed"
)

// Name is the name of the source.
const Name = "stdin"

// The reasons in Item.Skipped.
const (
	// SkippedTooLong counts lines longer than the limit.
	SkippedTooLong = "too_long"
	// SkippedDamaged counts compressed input that broke off in the middle.
	SkippedDamaged = "damaged"
)

const (
	minBlock  = 1 << 10
	heartbeat = 250 * time.Millisecond
	pause     = 20 * time.Millisecond // without input, then the source is idle
)

// Options are the settings of [New]. The zero value is ready for use.
type Options struct {
	MaxLineBytes int // longest line that is read; default 1 MiB
	BlockBytes   int // size of a block; default 256 KiB, at least 1 KiB
	KeepBytes    int // how much of the latest text Fetch can return; default 8 MiB

	Name   string // of the source; default the constant Name
	Origin []byte // of its blocks; default one that says nothing

	Now func() time.Time // default time.Now
}

func (o Options) withDefaults() Options {
	o.MaxLineBytes = cmp.Or(o.MaxLineBytes, 1<<20)
	o.BlockBytes = max(cmp.Or(o.BlockBytes, 256<<10), minBlock)
	o.KeepBytes = cmp.Or(o.KeepBytes, 8<<20)
	o.Name = cmp.Or(o.Name, Name)
	if o.Origin == nil {
		o.Origin = []byte{1} // a position with it is not zero
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Collector is a collector with one source, which can be run once.
type Collector struct {
	opts Options
	in   io.Reader
	pool *lines.Pool
	kept ring
}

var (
	_ collectors.Collector = (*Collector)(nil)
	_ collectors.Source    = (*Collector)(nil)
)

// New returns a collector that reads r. Input that begins like a gzip or Zstandard file is
// unpacked.
func New(r io.Reader, opts Options) *Collector {
	opts = opts.withDefaults()
	return &Collector{opts: opts, in: r, pool: lines.NewPool(opts.BlockBytes), kept: ring{size: opts.KeepBytes}}
}

// Watch implements collectors.Collector.
func (c *Collector) Watch(_ context.Context, found func(collectors.Source), settled func()) error {
	found(c)
	settled()
	return nil
}

// Name implements collectors.Source.
func (c *Collector) Name() string { return c.opts.Name }

// said is how messages call the stream.
func (c *Collector) said() string {
	if c.opts.Name == Name {
		return "standard input"
	}
	return c.opts.Name
}

// piece is what the reading goroutine hands over: a block, the end, or an error.
type piece struct {
	b       *lines.Buffer
	tooLong int64
	err     error
}

// Run implements collectors.Source. It emits whole lines as soon as the stream
// pauses, and returns nil after the end of the stream. From a position that is
// not zero it counts on from there.
//
// When ctx ends Run returns at once, even while a read blocks. The goroutine in
// that read remains until the read returns, at the latest when the process
// ends; it holds one block and touches nothing else. So Run is called once.
func (c *Collector) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	if err := emit(collectors.Item{State: collectors.Reading, At: c.opts.Now()}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Without a buffer: what was handed over is emitted, nothing else is read
	// ahead but one block. The reading goroutine closes it.
	pieces := make(chan piece)
	go func() {
		defer close(pieces)
		c.read(ctx, pieces)
	}()
	return c.relay(ctx, from, pieces, emit)
}

// relay emits pieces, and says that it is idle while none comes.
func (c *Collector) relay(ctx context.Context, from collectors.Position, pieces <-chan piece, emit func(collectors.Item) error) error {
	quiet := time.NewTimer(pause)
	defer quiet.Stop()
	for {
		var p piece
		open := true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p, open = <-pieces:
		case <-quiet.C:
			now := c.opts.Now()
			select {
			case p, open = <-pieces: // it came just now
			default:
				quiet.Reset(heartbeat)
				if err := emit(collectors.Item{State: collectors.Idle, At: now}); err != nil {
					return err
				}
				continue
			}
		}
		if !open {
			return nil
		}
		if err := c.piece(from, p, emit); err != nil {
			return err
		}
		quiet.Reset(pause)
	}
}

// piece emits one block or says what ended the stream.
func (c *Collector) piece(from collectors.Position, p piece, emit func(collectors.Item) error) error {
	item := collectors.Item{State: collectors.Reading, At: c.opts.Now()}
	if p.tooLong > 0 {
		item.Skipped = map[string]int64{SkippedTooLong: p.tooLong}
	}
	if errors.Is(p.err, errDamaged) {
		if item.Skipped == nil {
			item.Skipped = map[string]int64{}
		}
		item.Skipped[SkippedDamaged] = 1
		p.err = nil
	}
	if p.b != nil {
		p.b.Block.Offset += from.Offset
		p.b.Block.Line += from.Line
		p.b.Block.Origin = c.opts.Origin
		c.kept.add(p.b.Block.Offset, p.b.Block.Data)
		item.Block = &p.b.Block
	}
	if item.Block != nil || item.Skipped != nil {
		if err := emit(item); err != nil {
			return err
		}
	}
	return p.err
}

var errDamaged = errors.New("compressed input broke off")

// read cuts the stream into pieces until it ends or ctx does.
func (c *Collector) read(ctx context.Context, pieces chan<- piece) {
	send := func(p piece) bool {
		select {
		case pieces <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	in, compressed, err := unpack(c.in)
	if err != nil {
		send(piece{err: err})
		return
	}
	cut := lines.NewCutter(stream{in}, c.pool, c.opts.MaxLineBytes, 0, 0)
	for ctx.Err() == nil {
		b, err := cut.Next()
		if err == nil && b == nil {
			continue
		}
		p := piece{b: b}
		switch {
		case errors.Is(err, io.EOF):
			p.b = cut.Last()
		case err != nil && compressed:
			p.err = errDamaged
		case err != nil:
			p.err = fmt.Errorf("read %s: %w", c.said(), err)
		}
		p.tooLong, cut.TooLong = cut.TooLong, 0
		if !send(p) || err != nil {
			return
		}
	}
}

// unpack looks at the first bytes of r without waiting for more than it must.
func unpack(r io.Reader) (in io.Reader, compressed bool, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if head, _ := b.Peek(1); len(head) == 0 || head[0] != 0x1f && head[0] != 0x28 {
		return b, false, nil // what is wrong with r shows when it is read
	}
	if head, _ := b.Peek(packed.HeadBytes); !packed.Is(head) {
		return b, false, nil
	}
	z, err := packed.NewReader(b)
	if err != nil {
		return nil, true, fmt.Errorf("unpack the input: %w", err)
	}
	return z, true, nil
}

// stream reads on, whatever offset is asked for: the cutter asks for the next.
type stream struct{ r io.Reader }

// ReadAt returns what one read gives, so that lines are not kept waiting.
func (s stream) ReadAt(p []byte, _ int64) (int, error) {
	for range 100 {
		if n, err := s.r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
