package file

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gatewatch/collectors/internal/lines"
	"gatewatch/collectors/internal/packed"
)

// countLimit is how much of a file is read to number its lines where reading
// begins at its end.
const countLimit = 64 << 20

// enoughMisses is how often a file must be looked for in vain, while others
// may be renamed, before it is taken for gone.
const enoughMisses = 3

// open opens the generation to read now: the one that was being read, or the
// one after it. It reports false if there is none.
func (r *runner) open(now time.Time) (bool, error) {
	if r.over && !r.hooked {
		r.hooked = true
		r.opts.Hook("rename-create")
	}
	// The path first, then its rotations: a file that is renamed in between is
	// seen twice, not missed.
	live, err := openLive(r.source.name)
	if err != nil {
		return false, err
	}
	used := false
	defer func() {
		if !used {
			live.close()
		}
	}()
	list, err := r.source.rotations()
	if err != nil {
		return false, err
	}
	if r.g == nil {
		if live == nil {
			r.begin = Start // whatever appears now is new
			return false, nil
		}
		used = true
		return true, r.first(live, list)
	}
	here, elsewhere := live, r.source.elsewhere(r.g)
	if r.cutShort {
		here, elsewhere = nil, ""
	}
	at, err := find(r.g, r.off, here, list, elsewhere)
	if err != nil {
		return false, err
	}
	if at == nil && r.misses < enoughMisses {
		// A list made while files are renamed may lack one: look again.
		r.misses++
		return false, errAgain
	}
	if reused, err := r.inodeReused(at, list); err != nil || reused {
		if at != live {
			at.close()
		}
		if err != nil {
			return false, err
		}
		at, r.over = nil, true // it was empty, or what it held is gone
	}
	// Rotated by rename and create, a file keeps its inode and the next has
	// another. The same inode with the content in a copy is copytruncate. A
	// compressed one says nothing: inodes are used again.
	r.inPlace = r.g.copied || at != nil && at != live && !at.packed && live != nil && identify(live.fi) == r.g.id
	short := false
	if at == nil {
		if at, err = r.shortCopy(list); err != nil {
			return false, err
		}
		short = at != nil
	}
	if at != nil && !short && (!r.over || at == live) {
		used = at == live
		r.after = 0
		if at != live {
			if later, err := r.later(list, at.index); err == nil {
				r.after = sizes(later)
			}
		}
		return r.resume(at, list, now)
	}
	if !r.over {
		if live == nil && len(list) == 0 {
			return false, nil // not there yet, or its file system is not
		}
		r.lose(live, short)
	}
	index := -1
	if at != nil {
		index = at.index
		at.close()
	}
	// Where g, of which nothing was read, was truncated in place, its copies
	// cannot be told by what they hold. What is compressed is older then.
	r.plain = index < 0 && r.cutShort && r.g.print.n == 0
	later, err := r.later(list, index)
	r.plain = false
	if err != nil {
		return false, err
	}
	if len(later) > 0 {
		r.after = sizes(later[1:])
		return r.sibling(later[0], list)
	}
	if live == nil {
		return false, nil
	}
	used, r.after = true, 0
	return true, r.begins(live, newest(list), r.source.name)
}

// inodeReused reports whether at, which was found by its inode alone, is a file
// that was made after g was removed: g was empty when it was last looked at, and
// rotations that are unread were there before at.
func (r *runner) inodeReused(at *opened, list []member) (bool, error) {
	if at == nil || r.g.print.n > 0 || len(at.head) == 0 || !at.live && at.index < 0 {
		return false, nil
	}
	later, err := r.later(list, -1)
	for _, m := range later {
		if !at.live {
			if slices.ContainsFunc(list[:at.index], func(o member) bool { return o.id == m.id }) {
				return true, err
			}
			continue
		}
		// What is plain may be a copy of g itself: see overtaken.
		o, err := openMember(m)
		if err != nil {
			return false, err
		}
		packed := o.packed && len(o.head) > 0
		o.close()
		if packed {
			return true, nil
		}
	}
	return false, err
}

// shortCopy looks for a copy of g that ends before what was read of g: it was
// made before the last lines came, and the file was truncated after. It holds
// nothing that was not read, but what comes after it is unread.
func (r *runner) shortCopy(list []member) (*opened, error) {
	at, err := find(r.g, 0, nil, list, "")
	if at == nil || !at.packed && at.fi.Size() < r.off {
		return at, err
	}
	at.close()
	return nil, nil
}

// lose gives up the generation of a saved position. copied says that there is
// a copy of what was read of it.
func (r *runner) lose(live *opened, copied bool) {
	if r.over = true; r.cutShort {
		return // counted when it was seen
	}
	reason := SkippedLost
	if copied || live != nil && identify(live.fi) == r.g.id && live.fi.Size() < r.off {
		reason, r.cutShort = SkippedTruncated, true
	}
	r.log.Warn("the file that was being read is gone, what was unread in it is lost",
		keyOther, r.g.path, keyReason, reason)
	r.skip(reason, 1)
}

// later returns the rotations that come after generation g, oldest first.
// index is where g is among them, -1 where it is none of them.
func (r *runner) later(list []member, index int) ([]member, error) {
	var out []member
	for i, m := range list {
		if index >= 0 && i <= index || index < 0 && m.mtime.UnixNano() <= r.g.since {
			continue
		}
		seen, err := r.seen(m)
		if err == nil && !seen && r.plain {
			seen, err = packedOrEmpty(m)
		}
		if err != nil {
			return nil, err
		}
		if !seen {
			out = append(out, m)
		}
	}
	return out, nil
}

// seen reports whether m is a generation that this run has read, or a copy of
// one: compressed, or what copytruncate left of a file that was read further.
func (r *runner) seen(m member) (bool, error) {
	for _, g := range r.ended {
		if g.id != m.id && g.print.n < maxFingerprint || g.print.n == 0 {
			continue // too little to tell a copy from a file that begins alike
		}
		o, err := openMember(m)
		if err != nil {
			return false, err
		}
		same := o.holds(&g, 0)
		o.close()
		if same {
			return true, nil
		}
	}
	return false, nil
}

// sizes is what files of a list take on disk.
func sizes(list []member) int64 {
	var n int64
	for _, m := range list {
		n += m.size
	}
	return n
}

func packedOrEmpty(m member) (bool, error) {
	o, err := openMember(m)
	if err != nil {
		return false, err
	}
	defer o.close()
	return o.packed || len(o.head) == 0, nil
}

// newest returns the time of the last change of any of list.
func newest(list []member) int64 {
	var t int64
	for _, m := range list {
		t = max(t, m.mtime.UnixNano())
	}
	return t
}

// first begins with the first generation that the source ever sees.
func (r *runner) first(live *opened, list []member) error {
	off, line, hidden := int64(0), int64(0), false
	if r.begin == End {
		var err error
		if off, err = r.lastLine(live); err != nil {
			live.close()
			return readError{err}
		}
		if hidden = off > countLimit; !hidden {
			line, err = countLines(live.f, off)
		}
		if err != nil {
			live.close()
			return readError{err}
		}
	}
	r.g = &generation{}
	r.start(live, newest(list), r.source.name)
	r.g.lineHidden = hidden
	r.off, r.line, r.midLine = off, line, off == live.fi.Size() && !r.endsLine(live, off)
	r.announce, r.fresh = r.fresh, false
	r.remember()
	return r.attach(live)
}

// endsLine reports whether the byte before off ends a line.
func (r *runner) endsLine(o *opened, off int64) bool {
	var b [1]byte
	if off == 0 {
		return true
	}
	_, err := o.f.ReadAt(b[:], off-1)
	return err == nil && b[0] == '\n'
}

// lastLine returns where the last whole line of a file ends, or its size if
// the line that it ends in is too long.
func (r *runner) lastLine(live *opened) (int64, error) {
	size := live.fi.Size()
	buf := make([]byte, min(size, 64<<10))
	for end := size; end > 0; {
		if size-end > int64(r.opts.MaxLineBytes) {
			return size, nil
		}
		from := max(0, end-int64(len(buf)))
		n, err := live.f.ReadAt(buf[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// countLines returns the number of line feeds in the first n bytes of f.
func countLines(f *os.File, n int64) (int64, error) {
	buf := make([]byte, min(n, 256<<10))
	var count int64
	for at := int64(0); at < n; {
		got, err := f.ReadAt(buf[:min(int64(len(buf)), n-at)], at)
		if got == 0 {
			return count, err
		}
		count += int64(bytes.Count(buf[:got], []byte{'\n'}))
		at += int64(got)
	}
	return count, nil
}

// begins starts a new generation with the content of o, from its first byte.
func (r *runner) begins(o *opened, since int64, path string) error {
	r.start(o, since, path)
	r.remember()
	return r.attach(o)
}

// start makes the content of o the generation after g.
func (r *runner) start(o *opened, since int64, path string) {
	if r.inPlace && !r.cutShort {
		r.skip(SkippedTruncated, 1)
		r.log.Warn(truncatedText, keyCopy, true)
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			path = target
			r.notifyAlso(path)
		}
	}
	r.g = &generation{
		id: identify(o.fi), print: printOf(o.head), since: since, path: path,
		base: r.g.base + r.off, baseLine: r.g.baseLine + r.line, from: r.g.base + r.off,
		copied: !o.live && (r.inPlace || r.cutShort),
	}
	r.source.number.Add(1)
	r.off, r.line, r.midLine = 0, 0, false
	r.over, r.inPlace, r.cutShort, r.more, r.hooked = false, false, false, false, false
	r.detached, r.rotated = !o.live, r.opts.Now()
}

// sibling starts a new generation with a rotated file.
func (r *runner) sibling(m member, list []member) (bool, error) {
	o, err := openMember(m)
	if err != nil {
		return false, err
	}
	var since int64
	for _, older := range list {
		if older.path == m.path {
			break
		}
		since = max(since, older.mtime.UnixNano())
	}
	if err := r.begins(o, since, m.path); err != nil {
		return false, err
	}
	// Whoever wrote to it may still do so: it counts from its last change.
	r.quiet = earlier(m.mtime, r.opts.Now())
	r.more = true
	return true, nil
}

// resume goes on with g where it was found.
func (r *runner) resume(o *opened, list []member, now time.Time) (bool, error) {
	r.over, r.hooked = false, false // cutShort stays true of it, if it was
	r.detached, r.more, r.rotated = !o.live, false, now
	if !o.live {
		r.quiet = earlier(changed(o.fi), now)
		r.more = o.index >= 0 && o.index < len(list)-1
	}
	r.rejoin(o)
	r.g.path = o.f.Name()
	r.source.number.CompareAndSwap(0, 1)
	r.remember()
	return true, r.attach(o)
}

// rejoin ends the watch for late writers over g itself: the path had gone, with
// its folder or by a rename, and is back. What was read meanwhile is read.
func (r *runner) rejoin(o *opened) {
	for i := range r.late {
		w := &r.late[i]
		if w.id != r.g.id || w.off < r.off || !o.holds(&w.generation, w.off) {
			continue
		}
		at, line := r.g.base+r.off, r.g.baseLine+r.line
		r.off, r.line, r.midLine = w.off, w.line, w.midLine
		r.g.from, r.g.base, r.g.baseLine = at, at-w.off, line-w.line
		w.close(r.source.c)
		r.late = slices.Delete(r.late, i, i+1)
		return
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// attach reads g from o, at off.
func (r *runner) attach(o *opened) error {
	var src io.ReaderAt
	// Whoever copied a file that was truncated since has ended the copy.
	r.src, r.done = nil, o.packed || r.cutShort && !o.live
	if o.packed {
		z, err := packed.NewReader(io.NewSectionReader(o.f, 0, 1<<62))
		if err == nil {
			err = discard(r.ctx, z, r.off)
		}
		if r.ctx.Err() != nil {
			o.close()
			return errAgain // the run ends before that
		}
		if err != nil {
			o.close()
			r.log.Warn("compressed file is damaged, its rest is lost", keyOther, o.f.Name(), keyError, err)
			r.skip(SkippedDamaged, 1)
			r.over = true
			return errAgain
		}
		src = forward{z}
	} else {
		p, err := newPlain(o.f, r.off, o.head)
		if err != nil {
			o.close()
			if errors.Is(err, errTruncated) {
				err = errAgain
			}
			return err
		}
		if o.live && r.g.print.n == 0 && r.off == 0 {
			p.begun = r.overtaken
		}
		r.src, src = p, p
	}
	r.file = o
	r.cut = lines.NewCutter(src, r.source.c.pool, r.opts.MaxLineBytes, r.off, r.line)
	if r.midLine {
		r.cut.SkipRest()
	}
	r.size, r.mtime, r.drained = -1, time.Time{}, false
	r.misses = 0
	r.source.c.open.Add(1)
	return nil
}

// release closes the file of g but stays with g.
func (r *runner) release() {
	if r.cut != nil {
		r.off, r.line, r.midLine = r.cut.Offset(), r.cut.Line(), r.cut.Skipping()
	}
	r.close()
}

// leave ends g: what comes next is another generation.
func (r *runner) leave() {
	r.release()
	r.over, r.midLine = true, false
	if len(r.ended) >= maxEnded {
		r.ended = slices.Delete(r.ended, 0, 1)
	}
	r.ended = append(r.ended, *r.g)
}

// close closes what is open.
func (r *runner) close() {
	if r.file == nil {
		return
	}
	if r.cut.TooLong > 0 {
		r.skip(SkippedTooLong, r.cut.TooLong)
	}
	r.file.close()
	r.file, r.cut, r.src = nil, nil, nil
	r.source.c.open.Add(-1)
}

// errOvertaken means that a file was filled, copied and emptied between its
// opening and its first line: what is in it now is not what comes next.
var errOvertaken = errors.New("file was rotated before its first line was read")

// overtaken answers errOvertaken if a copy of g lies beside it that this run
// has not read, though nothing was read of g.
func (r *runner) overtaken() error {
	list, err := r.source.rotations()
	if err != nil {
		return readError{err}
	}
	// Renamed in between, its lines are still to come.
	if slices.ContainsFunc(list, func(m member) bool { return m.id == r.g.id }) {
		return nil
	}
	if fi, err := os.Stat(r.source.name); err != nil || !os.SameFile(fi, r.file.fi) {
		return nil
	}
	r.plain = true
	later, err := r.later(list, -1)
	r.plain = false
	if err != nil {
		return err
	}
	if len(later) > 0 {
		return errOvertaken
	}
	return nil
}

// truncatedText is said once for each truncation that is counted.
const truncatedText = "file was truncated in place; lines written just before may be lost, prefer rotation by rename and create"

// truncated goes on after the file was cut short in place: with the rest of g
// where a copy holds it, then with the new content.
func (r *runner) truncated(now time.Time) error {
	r.skip(SkippedTruncated, 1)
	tail := append([]byte(nil), r.src.tail[:r.src.n]...)
	read, midLine := r.src.next, r.cut.Skipping()
	r.leave()
	r.cutShort = true
	o, err := r.copyOf(read, tail)
	r.log.Warn(truncatedText, keyCopy, o != nil)
	switch {
	case errors.Is(err, errAgain):
		r.over, r.midLine = false, midLine // it is looked for until nothing moves
		return nil
	case o == nil:
		return nil
	}
	r.over, r.midLine = false, midLine
	if err := r.attach(o); err != nil {
		r.over, r.midLine = true, false
		return nil
	}
	r.detached, r.more = true, true
	return nil
}

// copyOf looks for a copy of g in which all is as it was read, up to offset
// read: that may be inside a line, which the copy has the rest of. tail is what
// was read last. It answers errAgain while files are renamed.
func (r *runner) copyOf(read int64, tail []byte) (o *opened, err error) {
	for range enoughMisses {
		var list []member
		if list, err = r.source.rotations(); err != nil {
			return nil, err
		}
		if o, err = find(r.g, 0, nil, list, ""); err == nil {
			break
		}
	}
	if o == nil || o.packed {
		return o, err
	}
	back := make([]byte, len(tail))
	if n, _ := o.f.ReadAt(back, read-int64(len(back))); !bytes.Equal(back[:n], tail) {
		o.close()
		return nil, nil
	}
	return o, nil
}
