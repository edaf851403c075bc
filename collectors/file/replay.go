package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/lines"
)

// ReplayOptions are the settings of [Replay]. The zero value is ready for use.
type ReplayOptions struct {
	MaxLineBytes int // longest line that is read; default 1 MiB
	BlockBytes   int // size of a block; default 256 KiB, at least 1 KiB

	// FirstTime returns the event time of a line in Unix nanoseconds, if it
	// has one. It decides the order of the rotations of one log; without it, or
	// where a file has no such line near its start, their names decide.
	FirstTime func(line []byte) (int64, bool)

	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default discards
}

func (o ReplayOptions) withDefaults() ReplayOptions {
	o.MaxLineBytes = cmp.Or(o.MaxLineBytes, defaultMaxLine)
	o.BlockBytes = max(cmp.Or(o.BlockBytes, defaultBlock), minBlock)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Progress is implemented by the sources of [Replay]. Both counts are bytes on
// disk, compressed where the file is; they may be read at any time.
type Progress interface {
	Size() int64 // of all files of the source when it was made
	Read() int64 // so far; past Size for a file that still grows
}

// Replay returns sources for finished logs, plain, gzip or Zstandard. paths are files and
// glob patterns; a file named twice is read once. Rotations of one log (x.log,
// x.log.1, x.log.2.gz, x.log-20261101, x-20261101.log) become one source under
// the name of the log, oldest first; a file without relatives keeps its own.
//
// All files are looked at before Replay returns: its error names each that is
// missing, unreadable or a directory, and each pattern that matches nothing.
func Replay(paths []string, opts ReplayOptions) ([]collectors.Source, error) {
	opts = opts.withDefaults()
	parts, err := collectParts(paths)
	if err != nil {
		return nil, err
	}
	pool := lines.NewPool(opts.BlockBytes)
	groups := make(map[string][]*part)
	var names []string
	for _, p := range parts {
		if _, ok := groups[p.base]; !ok {
			names = append(names, p.base)
		}
		groups[p.base] = append(groups[p.base], p)
	}
	slices.Sort(names)
	out := make([]collectors.Source, 0, len(names))
	for _, name := range names {
		group := dropTwins(groups[name], opts.Logger)
		if len(group) == 1 {
			name = group[0].path
		}
		if err := orderParts(group, opts.FirstTime); err != nil {
			return nil, err
		}
		s := &replayed{name: name, opts: opts, pool: pool, parts: group}
		for _, p := range group {
			s.size += p.size
		}
		out = append(out, s)
	}
	return out, nil
}

// replayed is a source of finished files.
type replayed struct {
	name  string
	opts  ReplayOptions
	pool  *lines.Pool
	parts []*part
	size  int64
	read  atomic.Int64
	past  history
}

var (
	_ collectors.Source = (*replayed)(nil)
	_ Progress          = (*replayed)(nil)
)

// Name implements collectors.Source.
func (s *replayed) Name() string { return s.name }

// Size implements Progress.
func (s *replayed) Size() int64 { return s.size }

// Read implements Progress.
func (s *replayed) Read() int64 { return s.read.Load() }

// Run implements collectors.Source: it ends with nil after the last file.
func (s *replayed) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	first, off, line := 0, int64(0), int64(0)
	g := &generation{}
	if len(from.Origin) > 0 {
		var err error
		if g, _, err = decodeOrigin(from.Origin); err != nil {
			return fmt.Errorf("position of %s: %w", s.name, err)
		}
		first = slices.IndexFunc(s.parts, func(p *part) bool { return g.print.n <= len(p.head) && g.print.holds(p.head) })
		if first < 0 {
			return fmt.Errorf("position of %s: the file it points into (%s) is not among those given", s.name, g.path)
		}
		off, line = from.Offset-g.base, from.Line-g.baseLine
		if off < 0 || line < 0 {
			return fmt.Errorf("position of %s: %w", s.name, errOrigin)
		}
	}
	if err := emit(collectors.Item{State: collectors.Reading, At: s.opts.Now()}); err != nil {
		return err
	}
	base, baseLine := g.base, g.baseLine
	for _, p := range s.parts[first:] {
		g := &generation{id: p.id, print: p.print, base: base, baseLine: baseLine, from: base, path: p.path}
		s.past.add(g)
		n, count, err := s.runPart(ctx, p, g, off, line, emit)
		if err != nil {
			return err
		}
		base, baseLine, off, line = base+n, baseLine+count, 0, 0
	}
	return nil
}

// runPart reads one file from an offset in its content to its end, and returns
// the length of the content and its number of lines.
func (s *replayed) runPart(ctx context.Context, p *part, g *generation, off, line int64, emit func(collectors.Item) error) (int64, int64, error) {
	f, err := os.Open(p.path)
	if err != nil {
		return 0, 0, plainError(p.path, err)
	}
	defer func() { _ = f.Close() }()
	r, err := p.content(counted{r: f, read: &s.read})
	if err != nil {
		return 0, 0, err
	}
	if err := discard(ctx, r, off); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", p.path, err)
	}
	origin := g.appendOrigin(nil, nil)
	c := lines.NewCutter(forward{r}, s.pool, s.opts.MaxLineBytes, off, line)
	skipped := map[string]int64{}
	send := func(b *lines.Buffer) error {
		item := collectors.Item{State: collectors.Reading, At: s.opts.Now()}
		if c.TooLong > 0 {
			skipped[SkippedTooLong] = c.TooLong
			c.TooLong = 0
		}
		if len(skipped) > 0 {
			item.Skipped, skipped = skipped, map[string]int64{}
		}
		if b != nil {
			b.Block.Offset += g.base
			b.Block.Line += g.baseLine
			b.Block.Origin = origin
			item.Block = &b.Block
		} else if item.Skipped == nil {
			return nil
		}
		return emit(item)
	}
	for {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		b, err := c.Next()
		switch {
		case err == nil && b == nil:
			continue
		case err == nil:
			err = send(b)
		case errors.Is(err, io.EOF):
			err = send(c.Last())
			return c.Offset(), c.Line(), err
		case p.packed:
			// Half a line before the break is no line.
			s.opts.Logger.Warn("compressed file is damaged, its rest is lost", keyPath, p.path, keyError, err)
			skipped[SkippedDamaged]++
			return c.Read(), c.Line(), send(nil)
		default:
			err = fmt.Errorf("read %s: %w", p.path, err)
		}
		if err != nil {
			return 0, 0, err
		}
	}
}

// Fetch implements collectors.Source.
func (s *replayed) Fetch(ctx context.Context, lookups []collectors.Lookup) []collectors.Text {
	return s.past.fetch(ctx, lookups, func(g *generation) (*os.File, bool, error) {
		f, err := os.Open(g.path)
		if err != nil {
			return nil, false, err
		}
		head, packed, err := headOf(f)
		if err == nil && !g.print.holds(head) {
			err = errTruncated
		}
		if err != nil {
			_ = f.Close()
			return nil, false, err
		}
		return f, packed, nil
	})
}
