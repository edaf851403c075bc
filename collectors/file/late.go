package file

import (
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/lines"
	"gatewatch/collectors/internal/packed"
)

const (
	// maxLate is how many generations of a source are watched for late writers.
	maxLate = 16
	// unlinkedLate bounds how long a file without a name is kept open for late
	// writers once they are quiet: its space is not free before.
	unlinkedLate = time.Minute
)

// remnant is a generation that is not being read now, and how far it was read.
type remnant struct {
	generation       // its base, baseLine and from say nothing
	off, line  int64 // in its content
	paused     bool  // it was being read when a detour began; at most one in an origin
	over       bool  // of a paused one: it was read to its end
}

// late is a generation that was left, while somebody may still write to it: a
// server that has not reopened its log yet, or an old process of it.
type late struct {
	remnant
	file  *opened // nil while not open
	size  int64   // when it was last read to its end
	quiet time.Time
	until time.Time // when it is given up
	tried time.Time // when it was last looked for
	told  bool

	midLine bool // off is inside a line that is too long
}

// leaveLate ends g, and watches it for late writers as long as they may come.
func (r *runner) leaveLate(now time.Time) {
	fi, err := r.file.f.Stat()
	if err != nil || r.src == nil || r.done || r.cutShort || now.Sub(changed(fi)) >= r.opts.Late {
		r.leave()
		return
	}
	r.off, r.line, r.midLine = r.cut.Offset(), r.cut.Line(), false
	w := late{
		remnant: remnant{generation: *r.g, off: r.off, line: r.line},
		file:    r.file, size: r.cut.Read(), quiet: now, until: now.Add(r.opts.Late),
	}
	if r.cut.TooLong > 0 {
		r.skip(SkippedTooLong, r.cut.TooLong)
	}
	r.file, r.cut, r.src = nil, nil, nil // the file is still open, and counts as that
	r.leave()
	if r.source.c.open.Load() > int64(r.opts.MaxOpenFiles) {
		w.close(r.source.c)
	}
	if len(r.late) >= maxLate {
		quietest := 0
		for i := range r.late {
			if r.late[i].quiet.Before(r.late[quietest].quiet) {
				quietest = i
			}
		}
		r.late[quietest].close(r.source.c)
		r.late = slices.Delete(r.late, quietest, quietest+1)
	}
	r.late = append(r.late, w)
}

func (w *late) close(c *Collector) {
	if w.file != nil {
		w.file.close()
		w.file = nil
		c.open.Add(-1)
	}
}

func (r *runner) closeLate() {
	for i := range r.late {
		r.late[i].close(r.source.c)
	}
	r.late = nil
}

// readLate emits what was written to generations after they were left.
func (r *runner) readLate(now time.Time) error {
	if r.midLine || r.cut != nil && (!r.drained || r.cut.Skipping()) {
		return nil // there is something else to do first
	}
	for i := 0; i < len(r.late); {
		keep, err := r.lookLate(i, now)
		if err != nil {
			return err
		}
		if keep {
			i++
			continue
		}
		r.late[i].close(r.source.c)
		r.late = slices.Delete(r.late, i, i+1)
	}
	return nil
}

// lookLate reads what is new in one generation, and says whether there may be more.
func (r *runner) lookLate(i int, now time.Time) (keep bool, err error) {
	w := &r.late[i]
	given := now.After(w.until)
	if w.file == nil && (given || now.Sub(w.tried) >= r.opts.Linger) {
		w.tried = now
		r.findLate(w)
	}
	if w.file == nil {
		return !given, nil
	}
	if w.file.packed { // all of it is there, and nothing will be added
		return false, r.detour(i, true)
	}
	fi, err := w.file.f.Stat()
	if err != nil || fi.Size() < w.off {
		return false, nil // emptied by somebody after it was read
	}
	grown := fi.Size() > w.size
	if grown {
		w.size, w.quiet, w.until = fi.Size(), now, now.Add(r.opts.Late)
		given = false
	}
	last := given || now.Sub(w.quiet) >= r.opts.Linger
	if grown || last && w.size > w.off {
		if err := r.detour(i, last); err != nil {
			return false, err
		}
	}
	if unlinked(fi) && now.Sub(w.quiet) >= min(unlinkedLate, r.opts.Late) {
		return false, nil
	}
	if r.source.c.open.Load() > int64(r.opts.MaxOpenFiles) {
		w.close(r.source.c)
		w.tried = now
	}
	return !given, nil
}

// findLate opens the file of w where it is now, if it is found.
func (r *runner) findLate(w *late) {
	list, err := r.source.rotations()
	if err != nil {
		return
	}
	o, err := find(&w.generation, w.off, nil, list, r.source.elsewhere(&w.generation))
	if err != nil || o == nil {
		return
	}
	if w.print.n == 0 && len(o.head) > 0 && !r.older(o, list) {
		o.close()
		return
	}
	w.file = o
	r.source.c.open.Add(1)
}

// older reports whether o, which was found by the inode of a file that was
// empty, can be that file: it is a rotation from before what is being read, and
// none that is known for what it holds.
func (r *runner) older(o *opened, list []member) bool {
	id := identify(o.fi)
	known := func(g *generation) bool { return g.id == id && g.print.n > 0 && o.holds(g, 0) }
	if known(r.g) || slices.ContainsFunc(r.ended, func(g generation) bool { return known(&g) }) ||
		slices.ContainsFunc(r.late, func(w late) bool { return known(&w.generation) }) {
		return false
	}
	if o.index < 0 {
		return true // where a symbolic link led
	}
	for i, m := range list {
		if m.id == r.g.id || r.g.path == m.path {
			return o.index < i
		}
	}
	live, err := os.Stat(r.source.name)
	return err == nil && identify(live) == r.g.id && !r.over
}

// detour emits the unread lines of a generation that was left, between two
// blocks of the one that is being read; last says that its unfinished line
// will not be finished. Each change of generation is a jump of content under
// logical offsets that go on.
func (r *runner) detour(i int, last bool) error {
	w := &r.late[i]
	at, line := r.off, r.line
	if r.cut != nil {
		at, line = r.cut.Offset(), r.cut.Line()
	}
	g := w.generation
	g.from = r.g.base + at
	g.base, g.baseLine = g.from-w.off, r.g.baseLine+line-w.line
	if g.base < 0 || g.baseLine < 0 {
		return nil // a position that was not ours
	}
	rest := r.remnants(i)
	paused := remnant{generation: *r.g, off: at, line: line, paused: true, over: r.over}
	origin := g.appendOrigin(nil, append(rest, paused))
	src, err := w.content(r)
	if err != nil {
		r.log.Debug("late lines cannot be read", keyOther, w.file.f.Name(), keyError, err)
		return nil
	}
	r.source.past.add(&g)
	cut := lines.NewCutter(src, r.source.c.pool, r.opts.MaxLineBytes, w.off, w.line)
	if w.midLine {
		cut.SkipRest()
	}
	for {
		b, err := cut.Next()
		if err == nil && b == nil {
			continue
		}
		if err != nil && last {
			b = cut.Last()
		}
		if cut.TooLong > 0 {
			r.skip(SkippedTooLong, cut.TooLong)
			cut.TooLong = 0
		}
		if b != nil {
			b.Block.Offset += g.base
			b.Block.Line += g.baseLine
			b.Block.Origin = origin
			r.lateLines(int64(len(b.Block.Data)), w)
			if err := r.send(collectors.Item{Block: &b.Block}); err != nil {
				return err
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.log.Debug("late lines broke off", keyOther, w.file.f.Name(), keyError, err)
			}
			break
		}
	}
	w.off, w.line, w.midLine = cut.Offset(), cut.Line(), cut.Skipping()
	if !w.file.packed && w.print.n < maxFingerprint {
		head, err := readHead(io.NewSectionReader(w.file.f, 0, min(w.off, maxFingerprint)))
		if err == nil && w.print.holds(head) {
			w.print = printOf(head)
		}
	}
	now := g.base + w.off
	r.g.from, r.g.base, r.g.baseLine = now, now-at, g.baseLine+w.line-line
	r.remember()
	return nil
}

// lateLines says once for each generation that somebody writes to an old file.
func (r *runner) lateLines(n int64, w *late) {
	if w.told {
		return
	}
	w.told = true
	r.log.Info("lines are still written to a file that was rotated away, reading both", keyOther, w.file.f.Name(), keyBytes, n)
}

// content reads w from where it was left.
func (w *late) content(r *runner) (io.ReaderAt, error) {
	if !w.file.packed {
		return newPlain(w.file.f, w.off, nil)
	}
	z, err := packed.NewReader(io.NewSectionReader(w.file.f, 0, 1<<62))
	if err != nil {
		return nil, err
	}
	return forward{z}, discard(r.ctx, z, w.off)
}

// remnants returns what is watched, without number i.
func (r *runner) remnants(i int) []remnant {
	var out []remnant
	for k := range r.late {
		if k != i {
			out = append(out, r.late[k].remnant)
		}
	}
	return out
}

// recall goes on where a saved position is: with the generation that was being
// read, and with those that were watched. It reports false if the position
// cannot be one of ours.
func (r *runner) recall(from collectors.Position, g *generation, rest []remnant) bool {
	off, line := from.Offset-g.base, from.Line-g.baseLine
	now := r.opts.Now()
	watch := func(m remnant) {
		r.late = append(r.late, late{remnant: m, quiet: now, until: now.Add(r.opts.Late), size: m.off})
		r.ended = append(r.ended, m.generation)
	}
	r.g, r.off, r.line = g, off, line
	for _, m := range rest {
		if !m.paused {
			watch(m)
			continue
		}
		// It was saved on a detour: what is left of that is read like the rest.
		watch(remnant{generation: *g, off: off, line: line})
		back := m.generation
		back.from, back.base, back.baseLine = from.Offset, from.Offset-m.off, from.Line-m.line
		r.g, r.off, r.line, r.over = &back, m.off, m.line, m.over
	}
	r.over = r.over || r.g.fromPipe()
	return r.g.base >= 0 && r.g.baseLine >= 0
}

// unlinked reports whether a file has no name any more.
func unlinked(fi os.FileInfo) bool { return links(fi) == 0 }
