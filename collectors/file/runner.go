package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/internal/lines"
)

const (
	// heartbeat is how often a source that stays idle says so.
	heartbeat = 250 * time.Millisecond
	// maxBackoff is the longest wait before a failing file is tried again.
	maxBackoff = 5 * time.Second
	// mtimeStep is longer than the steps in which file systems count time: two
	// writes within a step leave the same time.
	mtimeStep = 100 * time.Millisecond
	// maxEnded is how many generations a run remembers to have read.
	maxEnded = 64
)

// runner is one run of a source. All of it belongs to the goroutine of Run.
//
// It is always about one generation, g: read while cut is set, looked for
// while cut is nil, or over, which means that it was read to its end and the
// next one is looked for.
type runner struct {
	source *source
	opts   *Options
	ctx    context.Context //nolint:containedctx // a runner lives for one call
	emit   func(collectors.Item) error
	log    *slog.Logger

	begin Begin
	fresh bool // no saved position and nothing found yet

	g        *generation // nil before the first
	origin   []byte      // of g, shared by its blocks
	off      int64       // in the content of g; while it is open cut knows better
	line     int64
	midLine  bool // off is inside a line that is too long
	over     bool
	hooked   bool // the hook was called for the end of g
	misses   int  // how often g was not found in a row
	inPlace  bool // what comes after g was begun by a truncation in place
	plain    bool // what comes after g can only be plain copies
	cutShort bool // g's inode was truncated: the same inode is the next generation

	woken     <-chan struct{} // has an element when something happened to the file; may be nil
	wokenAlso []string        // other paths that do so

	ended []generation // read by this run, oldest first
	late  []late       // of these, the ones that somebody may still write to

	file     *opened
	cut      *lines.Cutter
	src      *plain    // nil for compressed content
	detached bool      // the path no longer names g
	rotated  time.Time // when that was seen
	done     bool      // the content cannot grow any more
	drained  bool      // g was read to where it ended then, since it was opened
	more     bool      // later generations are known to be there
	quiet    time.Time
	after    int64     // size of the rotations that come after g, as they were when it was opened
	beyond   int64     // size of all that comes after g, when it was last looked at
	size     int64     // of the path when g was last read to its end
	mtime    time.Time // likewise
	settled  bool      // mtime was old enough then to change with the next write

	state    collectors.State
	at       time.Time // of the last Idle
	stepped  time.Time // when step was called last
	missing  time.Time // since when there has been nothing to open
	failure  string
	fails    int
	cold     os.FileInfo // of a file that was closed while idle
	skipped  map[string]int64
	announce bool // the block that says where the source begins is due
}

// errAgain means that something moved while it was looked at.
var errAgain = errors.New("file was renamed while it was opened")

func (r *runner) run(from collectors.Position) error {
	if !r.fresh {
		g, rest, err := decodeOrigin(from.Origin)
		if err != nil || from.Offset < g.base || from.Line < g.baseLine || !r.recall(from, g, rest) {
			r.log.Warn("saved position is not readable, starting with the current file", keyError, err)
			// Which rotations were read nobody knows: none of them again.
			r.g = &generation{base: from.Offset, baseLine: from.Line, from: from.Offset, since: math.MaxInt64}
			r.off, r.line, r.over, r.late = 0, 0, true, nil
			r.skip(SkippedLost, 1)
		}
		r.source.past.add(r.g)
	}
	if err := r.emit(collectors.Item{State: collectors.Reading, At: r.opts.Now()}); err != nil {
		return err
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		wait, err := r.step()
		if err != nil {
			return err
		}
		if wait > 0 {
			r.sleep(wait)
		}
	}
}

// sleep waits for d or for the end of the run.
func (r *runner) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.ctx.Done():
		return
	case <-t.C:
		return
	case <-r.woken: // nil where the system tells nothing
	}
	t.Reset(min(d, settleTime))
	select {
	case <-r.ctx.Done():
	case <-t.C:
	}
}

// step looks once and reads what there is. It returns how long to wait before
// the next look. Its error ends the run.
func (r *runner) step() (time.Duration, error) {
	now := r.opts.Now()
	if now.Before(r.stepped) {
		r.setBack(now)
	}
	r.stepped = now
	if err := r.readLate(now); err != nil {
		return 0, err
	}
	if r.cut == nil {
		if r.sleeps() {
			return r.opts.Poll, r.idle(now)
		}
		ok, err := r.open(now)
		switch {
		case errors.Is(err, errAgain):
			return time.Millisecond, nil
		case errors.Is(err, errPipe):
			return 0, err
		case err != nil:
			return r.failing(err, now)
		case !ok:
			return r.opts.Poll, r.gone(now)
		}
		r.missing = time.Time{}
		if err := r.reading(now); err != nil {
			return 0, err
		}
	}
	fi, looked := r.look(now)
	if r.settled && fi != nil && fi.Size() == r.size && fi.ModTime().Equal(r.mtime) && r.size == r.cut.Read() {
		return r.opts.Poll, r.idle(now) // nothing was written
	}
	r.measure(fi)
	edge := fi != nil && fi.Size()-r.cut.Offset() <= edgeBytes
	err := r.drain(edge)
	switch {
	case errors.Is(err, errTruncated):
		return 0, r.truncated(now)
	case errors.Is(err, errOvertaken):
		r.leave()
		r.cutShort = true // the copies come first, then this inode again
		return 0, nil
	case errors.Is(err, errAgain):
		r.release()
		return time.Millisecond, nil
	case errors.Is(err, errDamaged):
		r.log.Warn("compressed file is damaged, its rest is lost", keyOther, r.file.f.Name(), keyError, err)
		r.skip(SkippedDamaged, 1)
		r.off, r.line = r.cut.Read(), r.cut.Line()
		r.leave()
		return 0, nil
	case isReadError(err):
		r.release()
		return r.failing(err, now)
	case err != nil:
		return 0, err
	case looked != nil:
		return r.failing(looked, now)
	}
	if fi != nil {
		r.size, r.mtime = fi.Size(), fi.ModTime()
		r.settled = now.Sub(r.mtime) > mtimeStep
		if r.source.c.open.Load() > int64(r.opts.MaxOpenFiles) && !r.cut.Skipping() {
			r.cold = fi
			r.release()
		}
		return r.opts.Poll, r.idle(now)
	}
	return r.linger(now)
}

// setBack forgets times that are ahead since the clock was set back: whoever
// waited for them would wait for as long as it was set back.
func (r *runner) setBack(now time.Time) {
	for _, t := range []*time.Time{&r.quiet, &r.rotated, &r.missing, &r.at} {
		*t = earlier(*t, now)
	}
	for i := range r.late {
		w := &r.late[i]
		w.quiet, w.tried = earlier(w.quiet, now), earlier(w.tried, now)
		w.until = earlier(w.until, now.Add(r.opts.Late))
	}
}

// look sees whether the path still names the generation that is open. fi is
// nil if it does not, or if err says why that is not known.
func (r *runner) look(now time.Time) (fi os.FileInfo, err error) {
	if r.detached {
		return nil, nil
	}
	fi, err = os.Stat(r.source.name)
	switch {
	case err == nil && os.SameFile(fi, r.file.fi):
		return fi, nil
	case err == nil, errors.Is(err, fs.ErrNotExist):
		r.detached = true
		r.quiet, r.rotated = now, now
		return nil, nil
	}
	return nil, err
}

// measure takes down how much there is to read. What compressed files hold is
// not known before they were read; until then they count as what they are on disk.
func (r *runner) measure(fi os.FileInfo) {
	end := max(r.g.base+r.cut.Read(), r.g.base)
	if fi == nil && !r.file.packed {
		fi, _ = r.file.f.Stat()
	}
	if fi != nil && !r.file.packed {
		end = max(end, r.g.base+fi.Size())
	}
	r.beyond = 0
	if r.detached {
		r.beyond = r.after
		if next, err := os.Stat(r.source.name); err == nil && next.Mode().IsRegular() && !os.SameFile(next, r.file.fi) {
			r.beyond += next.Size()
		}
	}
	r.source.end.Store(end + r.beyond)
}

// sleeps reports whether a file that was closed while idle is still the same.
func (r *runner) sleeps() bool {
	if r.cold == nil {
		return false
	}
	fi, err := os.Stat(r.source.name)
	if err == nil && os.SameFile(fi, r.cold) && fi.Size() == r.cold.Size() && fi.ModTime().Equal(r.cold.ModTime()) {
		return true
	}
	r.cold = nil
	return false
}

// readError is an error of the file, as opposed to one of the receiver.
type readError struct{ err error }

func (e readError) Error() string { return e.err.Error() }
func (e readError) Unwrap() error { return e.err }

func isReadError(err error) bool {
	_, ok := errors.AsType[readError](err)
	return ok
}

var errDamaged = errors.New("compressed data broke off")

// drain emits all whole lines that are there. At the live edge tail reads them
// too, see edge.go.
func (r *runner) drain(edge bool) error {
	if r.announce {
		r.announce = false
		b := &collectors.Block{Offset: r.g.base + r.cut.Offset(), Line: r.g.baseLine + r.cut.Line() + 1, Origin: r.origin}
		if err := r.send(collectors.Item{Block: b}); err != nil {
			return err
		}
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		before := r.cut.Read()
		b, err := r.cut.Next()
		if r.drained && r.cut.Read() > before {
			r.quiet = r.opts.Now() // somebody still writes
		}
		switch {
		case errors.Is(err, io.EOF):
			r.drained = true
			return nil
		case errors.Is(err, errTruncated), errors.Is(err, errOvertaken), errors.Is(err, errAgain):
			return err
		case err != nil && r.src == nil:
			return fmt.Errorf("%w: %w", errDamaged, err)
		case err != nil:
			return readError{fmt.Errorf("read %s: %w", r.file.f.Name(), err)}
		case b == nil:
			continue
		}
		if edge && len(b.Block.Data) <= edgeBytes {
			n, err := follow(r.ctx, r.source.name, b.Block.Offset, b.Block.Data)
			if r.ctx.Err() != nil {
				b.Block.Release()
				return r.ctx.Err()
			}
			if n < len(b.Block.Data) {
				// Rotated away in between, most likely: ours is the right file.
				r.log.Debug("took lines from the open file", keyBytes, len(b.Block.Data)-n, keyError, err)
			}
		}
		if err := r.block(b); err != nil {
			return err
		}
	}
}

// block emits b, which has offsets in the content of g.
func (r *runner) block(b *lines.Buffer) error {
	r.grow(&b.Block)
	if r.file.packed {
		r.source.end.Store(r.g.base + r.cut.Read() + r.beyond)
	}
	b.Block.Offset += r.g.base
	b.Block.Line += r.g.baseLine
	b.Block.Origin = r.origin
	return r.send(collectors.Item{Block: &b.Block})
}

// grow makes the fingerprint cover more of a file that was short before. b is
// what was read last.
func (r *runner) grow(b *collectors.Block) {
	if r.g.print.n >= maxFingerprint || r.src == nil || r.cut.Read() <= int64(r.g.print.n) {
		return
	}
	// The file may be truncated and begun anew at any time: the fingerprint is
	// of what was read, or of what was there while that still was.
	head := b.Data
	if b.Offset > 0 || len(head) < maxFingerprint {
		var err error
		head, err = readHead(io.NewSectionReader(r.file.f, 0, min(r.cut.Read(), maxFingerprint)))
		if err != nil || r.src.check() != nil {
			head = nil // the next read says so
		}
	}
	if head == nil && b.Offset == 0 {
		head = b.Data
	}
	if len(head) <= r.g.print.n || !r.g.print.holds(head) {
		return
	}
	r.g.print = printOf(head)
	r.remember()
}

// remember makes what is known of g visible to Fetch and to later runs. Blocks
// that are out keep the origin they have.
func (r *runner) remember() {
	r.origin = r.g.appendOrigin(nil, r.remnants(-1))
	r.source.past.add(r.g)
}

// linger waits for late writers of a generation that was rotated away, and
// ends it when none wrote for a while.
func (r *runner) linger(now time.Time) (time.Duration, error) {
	left := r.opts.Linger - r.opts.Now().Sub(r.quiet)
	if left > 0 && r.more && !r.done && r.opts.Now().Sub(r.rotated) >= 2*r.opts.Linger {
		r.leaveLate(now) // still written, but so is the next one: read both
		return 0, nil
	}
	if left > 0 && !r.done {
		wait := max(min(left, r.opts.Poll), time.Millisecond)
		if r.more {
			return wait, r.reading(now)
		}
		if fi, err := os.Stat(r.source.name); err == nil && fi.Size() > 0 {
			r.more = true
			return wait, r.reading(now)
		}
		return wait, r.idle(now)
	}
	if b := r.cut.Last(); b != nil {
		if err := r.block(b); err != nil {
			return 0, err
		}
	}
	r.leaveLate(now)
	return 0, nil
}
