package file

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/lines"
)

// Collector follows live files. Its methods are safe for concurrent use.
type Collector struct {
	opts Options
	pool *lines.Pool
	open atomic.Int64 // files that its sources hold open
}

var _ collectors.Collector = (*Collector)(nil)

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
	c.scan(patterns, known, c.opts.Begin, found)
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
	if strings.HasSuffix(path, ".gz") {
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
}

var _ collectors.Source = (*source)(nil)

// Name implements collectors.Source.
func (s *source) Name() string { return s.name }

// Run implements collectors.Source. It returns only with ctx or emit.
func (s *source) Run(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) error {
	r := &runner{
		source: s, opts: &s.c.opts, ctx: ctx, emit: emit,
		begin: s.begin, fresh: from.Offset == 0 && len(from.Origin) == 0,
		log: s.c.opts.Logger.With(keyPath, s.name),
	}
	defer r.close()
	return r.run(from)
}

// Fetch implements collectors.Source.
func (s *source) Fetch(ctx context.Context, lookups []collectors.Lookup) []collectors.Text {
	return s.past.fetch(ctx, lookups, func(g *generation) (*os.File, bool, error) {
		var err error
		for range enoughMisses {
			var o *opened
			if o, err = s.find(g); o != nil {
				return o.f, o.packed, nil
			}
		}
		return nil, false, err
	})
}

// find opens the content of g.
func (s *source) find(g *generation) (*opened, error) {
	live, err := openLive(s.name)
	if err != nil {
		live = nil // its rotations may still be there
	}
	list, err := rotations(s.name)
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
