package file

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Replay returns sources for finished logs, plain or gzip. paths are files and
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

// part is one file of a replay.
type part struct {
	path   string
	base   string
	rot    rotation
	size   int64
	id     identity
	print  fingerprint
	head   []byte
	packed bool
}

// collectParts expands patterns and looks at each file.
func collectParts(paths []string) ([]*part, error) {
	var parts []*part
	var infos []os.FileInfo
	var errs []error
	for _, path := range paths {
		matches, err := expand(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, m := range matches {
			p, fi, err := lookAt(m)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if slices.ContainsFunc(infos, func(o os.FileInfo) bool { return os.SameFile(o, fi) }) {
				continue
			}
			infos = append(infos, fi)
			parts = append(parts, p)
		}
	}
	return parts, errors.Join(errs...)
}

// expand returns the files that a path or pattern names.
func expand(path string) ([]string, error) {
	if path == "" {
		return nil, errors.New("a file name is empty; name a log file or a pattern such as /var/log/nginx/*.log")
	}
	if _, err := os.Lstat(path); err == nil || !isPattern(path) {
		return []string{filepath.Clean(path)}, nil
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w; write [[] for a bracket", path, err)
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("pattern %q matches no file", path)
	}
	return matches, nil
}

// isPattern reports whether path holds glob characters.
func isPattern(path string) bool { return strings.ContainsAny(path, "*?[") }

// lookAt opens a file and reads its head.
func lookAt(path string) (*part, os.FileInfo, error) {
	f, fi, err := openRegular(path)
	if err != nil {
		return nil, nil, plainError(path, err)
	}
	defer func() { _ = f.Close() }()
	p := &part{path: path, size: fi.Size(), id: identify(fi)}
	if p.head, p.packed, err = headOf(f); err != nil {
		return nil, nil, fmt.Errorf("read the start of %s: %w", path, err)
	}
	p.print = printOf(p.head)
	base, rot, ok := splitRotation(path)
	if !ok {
		base, rot = path, rotation{}
	}
	p.base, p.rot = base, rot
	return p, fi, nil
}

// plainError says what is wrong with a path in the words of its user.
func plainError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by this user; give it read permission or run as its group", path)
	}
	return err
}

// dropTwins leaves out a compressed file whose plain original is there too.
func dropTwins(group []*part, log *slog.Logger) []*part {
	return slices.DeleteFunc(group, func(p *part) bool {
		if !p.packed || p.print.n == 0 {
			return false
		}
		return slices.ContainsFunc(group, func(o *part) bool {
			twin := !o.packed && o.path+".gz" == p.path && o.print == p.print
			if twin {
				log.Warn("compressed copy of a file that is read already", keyPath, p.path, keyOther, o.path)
			}
			return twin
		})
	})
}

// orderParts sorts the rotations of one log, oldest first.
func orderParts(group []*part, firstTime func([]byte) (int64, bool)) error {
	slices.SortStableFunc(group, func(a, b *part) int {
		return cmp.Or(a.rot.compare(b.rot), cmp.Compare(a.path, b.path))
	})
	if len(group) < 2 || firstTime == nil {
		return nil
	}
	times := make(map[*part]int64, len(group))
	for _, p := range group {
		if p.print.n == 0 {
			continue // nothing in it: its place does not matter
		}
		t, ok, err := p.firstTime(firstTime)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		times[p] = t
	}
	slices.SortStableFunc(group, func(a, b *part) int { return cmp.Compare(times[a], times[b]) })
	return nil
}

// firstTimeReach is how far into a file a line with a time is looked for.
const firstTimeReach = 256 << 10

// firstTime returns the time of the first line that has one.
func (p *part) firstTime(timeOf func([]byte) (int64, bool)) (int64, bool, error) {
	f, err := os.Open(p.path)
	if err != nil {
		return 0, false, plainError(p.path, err)
	}
	defer func() { _ = f.Close() }()
	r, err := p.content(f)
	if err != nil {
		return 0, false, err
	}
	data := make([]byte, firstTimeReach)
	n, err := io.ReadFull(r, data)
	whole := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	for line := range bytes.SplitAfterSeq(data[:n], []byte{'\n'}) {
		text, ended := bytes.CutSuffix(line, []byte{'\n'})
		if len(text) == 0 || !ended && !whole {
			continue
		}
		if t, ok := timeOf(bytes.TrimSuffix(text, []byte{'\r'})); ok {
			return t, true, nil
		}
	}
	return 0, false, nil
}

// content returns a reader of the decompressed content.
func (p *part) content(r io.Reader) (io.Reader, error) {
	if !p.packed {
		return r, nil
	}
	z, err := newGzip(r)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", p.path, err)
	}
	return z, nil
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
		if g, err = decodeOrigin(from.Origin); err != nil {
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
		g := &generation{id: p.id, print: p.print, base: base, baseLine: baseLine, path: p.path}
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
	if err := discard(r, off); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", p.path, err)
	}
	origin := g.appendOrigin(nil)
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
