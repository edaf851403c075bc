package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/lines"
	"gatewatch/collectors/stdin"
)

// Collector follows live files. Its methods are safe for concurrent use, but
// for Resume, which goes before Watch.
type Collector struct {
	opts    Options
	pool    *lines.Pool
	open    atomic.Int64 // files that its sources hold open
	resumed []string     // names of saved positions that are its own
	events  notifier
	folders folders
}

var (
	_ collectors.Collector = (*Collector)(nil)
	_ collectors.Resumer   = (*Collector)(nil)
)

// New returns a collector for the paths of opts. It opens nothing yet; its
// error names all mistakes in the options.
//
// A source of it that runs from a zero position first emits a block without
// data: it has the offset, line and origin where the source begins, so that a
// position can be saved before the first line is written.
func New(opts Options) (*Collector, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	return &Collector{opts: opts, pool: lines.NewPool(opts.BlockBytes)}, nil
}

// Watch implements collectors.Collector. Paths without glob characters become
// sources at once, whether they exist or not; it returns nil right after them
// if there is no pattern. Rotated and compressed files that a pattern matches
// are no sources of their own.
func (c *Collector) Watch(ctx context.Context, found func(collectors.Source), settled func()) error {
	known := map[string]bool{}
	c.resumeKnown(known, found)
	var patterns []string
	for _, p := range c.opts.Paths {
		if _, err := os.Lstat(p); err != nil && isPattern(p) {
			patterns = append(patterns, p)
			continue
		}
		if p = filepath.Clean(p); !known[p] && !c.opts.excluded(p) {
			known[p] = true
			found(c.source(p, c.opts.Begin))
		}
	}
	for _, p := range patterns {
		begin := c.opts.Begin
		if slices.ContainsFunc(c.resumed, func(name string) bool { return matches(p, name) }) {
			begin = Start // the pattern is not new, so the file came while nobody looked
		}
		c.scan([]string{p}, known, begin, found)
	}
	settled()
	if len(patterns) == 0 {
		return nil
	}
	tick := time.NewTicker(c.opts.Rescan)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			c.scan(patterns, known, Start, found)
		}
	}
}

// Resume implements collectors.Resumer: of the names, those that the paths
// and patterns stand for are announced by Watch even where there is no such
// file now. What is unread of them may be in a rotated one.
func (c *Collector) Resume(names []string) {
	for _, name := range names {
		if !c.opts.excluded(name) && slices.ContainsFunc(c.opts.Paths, func(p string) bool { return matches(p, name) }) {
			c.resumed = append(c.resumed, name)
		}
	}
}

func (c *Collector) resumeKnown(known map[string]bool, found func(collectors.Source)) {
	for _, name := range c.resumed {
		if !known[name] {
			known[name] = true
			found(c.source(name, c.opts.Begin))
		}
	}
}

// matches reports whether a path or pattern of the options stands for name.
func matches(pattern, name string) bool {
	if filepath.Clean(pattern) == name {
		return true
	}
	ok, err := filepath.Match(pattern, name)
	return ok && err == nil
}

// scan reports files that match a pattern and are not known yet.
func (c *Collector) scan(patterns []string, known map[string]bool, begin Begin, found func(collectors.Source)) {
	var fresh []string
	for _, p := range patterns {
		matches, _ := filepath.Glob(p) // its only error is a bad pattern: New checked
		for _, m := range matches {
			if !known[m] && !c.opts.excluded(m) && isLog(m) {
				fresh = append(fresh, m)
			}
		}
	}
	slices.Sort(fresh)
	for _, m := range slices.Compact(fresh) {
		if base, r, ok := splitRotation(m); ok {
			if r.kind != dated || known[base] || slices.Contains(fresh, base) {
				continue
			}
			if _, err := os.Stat(base); err == nil {
				continue
			}
		}
		known[m] = true
		found(c.source(m, begin))
	}
}

// isLog reports whether path is a regular file that is not compressed by name.
func isLog(path string) bool {
	if plainName(path) != path {
		return false
	}
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

func (c *Collector) source(name string, begin Begin) *source {
	return &source{name: name, begin: begin, c: c}
}

// source is one live path.
type source struct {
	name  string
	begin Begin
	c     *Collector
	past  history
	pipe  atomic.Pointer[stdin.Collector] // the last that was read, nil for none

	end    atomic.Int64 // logical offset behind all that is known to be there, 0 before that
	number atomic.Int64 // of the generation, counted from 1
}

var _ collectors.Measurer = (*source)(nil)

// Unread implements collectors.Measurer.
func (s *source) Unread(offset int64) (bytes, generation int64, ok bool) {
	end := s.end.Load()
	return max(end-offset, 0), s.number.Load(), end > 0
}

// Name implements collectors.Source.
func (s *source) Name() string { return s.name }

// Run implements collectors.Source. It returns only with ctx or emit.
func (s *source) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	for {
		var err error
		if isPipe(s.name) {
			from, err = s.runPipe(ctx, from, emit)
		} else {
			from, err = s.runFile(ctx, from, emit)
		}
		if err != nil && !errors.Is(err, errPipe) {
			return err
		}
	}
}

// runFile follows a regular file. Its error is errPipe, with the position to go
// on from, once a pipe has taken its place.
func (s *source) runFile(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) (collectors.Position, error) {
	r := &runner{
		source: s, opts: &s.c.opts, ctx: ctx, emit: emit,
		begin: s.begin, fresh: from.Offset == 0 && len(from.Origin) == 0,
		log: s.c.opts.Logger.With(keyPath, s.name),
	}
	defer r.closeLate()
	defer r.close()
	r.notify()
	defer r.unnotify()
	err := r.run(from)
	if r.g != nil {
		from = collectors.Position{Offset: r.g.base + r.off, Line: r.g.baseLine + r.line, Origin: r.origin}
	}
	return from, err
}

// Fetch implements collectors.Source.
func (s *source) Fetch(ctx context.Context, lookups []collectors.Lookup) []collectors.Text {
	texts := s.past.fetch(ctx, lookups, func(g *generation) (*os.File, bool, error) {
		var err error
		for range enoughMisses {
			var o *opened
			if o, err = s.find(g); o != nil {
				return o.f, o.packed, nil
			}
		}
		return nil, false, err
	})
	if p := s.pipe.Load(); p != nil {
		for i, t := range p.Fetch(ctx, lookups) {
			if t.Text != "" {
				texts[i] = t
				texts[i].File = s.name
			}
		}
	}
	return texts
}

// find opens the content of g.
func (s *source) find(g *generation) (*opened, error) {
	live, err := openLive(s.name)
	if err != nil {
		live = nil // its rotations may still be there
	}
	list, err := s.rotations()
	if err != nil {
		live.close()
		return nil, err
	}
	o, err := find(g, 0, live, list, s.elsewhere(g))
	if o != live {
		live.close()
	}
	if o == nil && err == nil {
		err = os.ErrNotExist
	}
	return o, err
}

// elsewhere returns where else g may be: a swapped symbolic link leaves its
// old target where it was.
func (s *source) elsewhere(g *generation) string {
	if g.path == s.name {
		return ""
	}
	return g.path
}
