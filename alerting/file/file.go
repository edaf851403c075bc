// Package file appends incidents to a file as lines of JSON and rotates it. A line
// is whole or not there: half a line that a crash or a full disk left behind is
// taken away before the next is written. A revision whose earlier attempt may have
// been written is looked for first, so each is in the file once.
package file

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
)

const (
	// lookBack is how much of the end of a file is searched for what may be
	// there already, and for the beginning of half a line.
	lookBack = 4 << 20
	// prefix is what each of our lines begins with.
	prefix = `{"key":"`
	// pipeWait bounds a write to a pipe that nobody reads.
	pipeWait = 5 * time.Second
	// lockWait bounds the wait for another writer, and lockLook is how often it
	// is looked whether that one has finished; a line takes it far less.
	lockWait = 5 * time.Second
	lockLook = time.Millisecond
)

// Config is the configuration. Name and Path are required.
type Config struct {
	Name string
	Path string // absolute
	// MaxSize is how large the file may grow, in bytes. Default 64 MiB.
	MaxSize int64
	// MaxAge is how old the first line of a file may become. Default 0, for ever.
	MaxAge time.Duration
	// Keep is how many rotated files are kept, Path.1 the newest. Default 5.
	Keep int
	// NoSync leaves it to the system when lines reach the disk.
	NoSync bool
}

// Receiver appends to one file. It may be used by many goroutines.
type Receiver struct {
	c   Config
	now func() time.Time
	// wait bounds the wait for another writer.
	wait time.Duration

	closing atomic.Bool // nobody is to wait for another writer any more

	mu     sync.Mutex
	f      *os.File // nil until the first line
	began  time.Time
	plain  bool // a regular file, neither pipe nor device
	closed bool
}

var _ alerting.Traits = (*Receiver)(nil)

// New checks the configuration. The file is opened with the first line.
func New(c Config) (*Receiver, error) {
	c.MaxSize = cmp.Or(c.MaxSize, 64<<20)
	c.Keep = cmp.Or(c.Keep, 5)
	switch {
	case c.Name == "":
		return nil, errors.New("file: no name")
	case c.Path == "":
		return nil, fmt.Errorf("file %s: no path", c.Name)
	}
	if info, err := os.Stat(filepath.Dir(c.Path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("file %s: the folder %s does not exist; make it so that this user can write to it", c.Name, filepath.Dir(c.Path))
	}
	if info, err := os.Stat(c.Path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("file %s: %s is a folder; write the path of a file", c.Name, c.Path)
	}
	return &Receiver{c: c, now: time.Now, wait: lockWait}, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says that programs read it: each incident is a line of its own, with all
// of its data, also in a group.
func (*Receiver) Keeps() bool { return true }

// Folds says that nobody has to be spared many of them.
func (*Receiver) Folds() bool { return false }

// Close closes the file. What comes later fails, to be tried by its successor.
func (r *Receiver) Close() {
	r.closing.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.shut()
}

func (r *Receiver) shut() {
	if r.f != nil {
		_ = r.f.Close() // what was written was synced before it was reported
		r.f = nil
	}
}

// line is one line of the file. The key stands first, to be found.
type line struct {
	Key       string          `json:"key"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Cause     alerting.Cause  `json:"cause"`
	Data      json.RawMessage `json:"data"`
}

// Notify appends one line. It is on disk when Notify returns.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	text, err := json.Marshal(line{n.Key, "incident.updated", n.Made.UTC(), n.Cause, n.Payload})
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("file %s: encode: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	text = append(escape.InertJSON(text), '\n')
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil || r.closed {
		return alerting.Result{Err: fmt.Errorf("file %s: stopped before it was written", r.c.Name), Retry: true, Reason: alerting.ReasonCanceled}
	}
	if err := r.append(ctx, text, n); err != nil {
		r.shut() // looked at anew next time
		return alerting.Result{Err: fmt.Errorf("file %s: %w", r.c.Name, err), Retry: true, Reason: alerting.ReasonOther}
	}
	return alerting.Result{Reason: alerting.ReasonOK}
}

func (r *Receiver) append(ctx context.Context, text []byte, n alerting.Notification) error {
	unlock, err := r.take(ctx)
	if err != nil {
		return err
	}
	defer func() { unlock() }()
	if !r.plain {
		_ = r.f.SetWriteDeadline(time.Now().Add(pipeWait)) // a device may not have one
		_, err := r.f.Write(text)
		return err
	}
	if n.Repeat {
		if there, err := r.contains(n.Key); there || err != nil {
			return err
		}
	}
	size, err := r.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > 0 && (size+int64(len(text)) > r.c.MaxSize || r.c.MaxAge > 0 && r.now().Sub(r.began) >= r.c.MaxAge) {
		if err := r.rotate(); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		unlock()
		r.shut()
		if unlock, err = r.take(ctx); err != nil {
			unlock = func() {}
			return fmt.Errorf("rotate: %w", err)
		}
		// Another writer may have been quicker to write to the new file.
		if size, err = r.f.Seek(0, io.SeekEnd); err != nil {
			return err
		}
	}
	if size == 0 {
		r.began = r.now()
	}
	if _, err := r.f.Write(text); err != nil {
		_ = r.f.Truncate(size) // else the next opening finds half a line
		return err
	}
	if r.c.NoSync {
		return nil
	}
	return r.f.Sync()
}

// take opens the file if that has to be done and locks it against other writers:
// what looks like half a line may be one that another is writing, and what is
// taken away behind a failed write must not be another's line.
func (r *Receiver) take(ctx context.Context) (unlock func(), err error) {
	for range 100 { // each time another writer rotated between opening and locking
		opened, err := r.reopen()
		if err != nil {
			return nil, err
		}
		if !r.plain {
			return func() {}, nil
		}
		unlock, err := lock(r.f, r.wait, func() bool { return ctx.Err() != nil || r.closing.Load() })
		if err != nil {
			return nil, err
		}
		if !r.current() {
			unlock()
			r.shut()
			continue
		}
		if err := r.whole(opened); err != nil {
			unlock()
			return nil, err
		}
		return unlock, nil
	}
	return nil, errors.New("the file is replaced again and again; let only one program rotate it")
}

// whole sees to it that what is written next begins a line, and that the name of
// a file just opened is durable.
func (r *Receiver) whole(opened bool) error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	if opened {
		return cmp.Or(r.mend(info), syncDir(filepath.Dir(r.c.Path)))
	}
	if info.Size() == 0 {
		return nil
	}
	var last [1]byte
	if _, err := r.f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	return r.mend(info) // another writer died
}

// lock locks f against others that lock it, also in other processes. Where files
// cannot be locked it does without. It gives up when stop says so.
func lock(f *os.File, wait time.Duration, stop func() bool) (unlock func(), err error) {
	fd := int(f.Fd()) //nolint:gosec // a descriptor is small
	for end := time.Now().Add(wait); ; {
		err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = syscall.Flock(fd, syscall.LOCK_UN) }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return func() {}, nil
		case stop():
			return nil, errors.New("stopped while another program had it locked")
		case time.Now().After(end):
			return nil, fmt.Errorf("another program has kept it locked for %s", wait)
		}
		time.Sleep(lockLook)
	}
}

// current tells whether the open file is still the one of that name.
func (r *Receiver) current() bool {
	now, err := os.Stat(r.c.Path)
	if err != nil {
		return false
	}
	ours, err := r.f.Stat()
	return err == nil && (!r.plain || os.SameFile(now, ours))
}

// reopen opens the file, also when somebody else moved it away, and tells whether
// it did.
func (r *Receiver) reopen() (opened bool, err error) {
	if r.f != nil {
		if r.current() {
			return false, nil
		}
		r.shut()
	}
	// Not blocking: a pipe without a reader is an error, not a wait.
	f, err := os.OpenFile(r.c.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) {
		// What can only be written, such as the end of a pipe.
		f, err = os.OpenFile(r.c.Path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return false, err
	}
	r.f, r.plain = f, info.Mode().IsRegular()
	return true, nil
}

// mend takes half a line from the end, or ends a line that is not ours, and
// learns when the file began.
func (r *Receiver) mend(info fs.FileInfo) error {
	r.began = info.ModTime()
	size := info.Size()
	if size == 0 {
		return nil
	}
	head := make([]byte, 1024)
	n, err := r.f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if at, ok := stamp(head[:n]); ok {
		r.began = at
	}
	from := max(0, size-lookBack)
	tail := make([]byte, size-from)
	if _, err := io.ReadFull(io.NewSectionReader(r.f, from, size-from), tail); err != nil {
		return err
	}
	if tail[len(tail)-1] == '\n' {
		return nil
	}
	begin := bytes.LastIndexByte(tail, '\n') + 1
	if half := tail[begin:]; (begin > 0 || from == 0) && (bytes.HasPrefix(half, []byte(prefix)) || bytes.HasPrefix([]byte(prefix), half)) {
		return r.f.Truncate(from + int64(begin))
	}
	_, err = r.f.WriteString("\n")
	return err
}

// stamp reads the time of a line of ours from its beginning.
func stamp(head []byte) (time.Time, bool) {
	const name = `"timestamp":"`
	if !bytes.HasPrefix(head, []byte(prefix)) {
		return time.Time{}, false
	}
	_, rest, ok := bytes.Cut(head, []byte(name))
	text, _, found := bytes.Cut(rest, []byte(`"`))
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, ok && found && err == nil
}

// contains looks for a line with the key in the file and those that are kept of before: another
// writer may have rotated meanwhile.
func (r *Receiver) contains(key string) (bool, error) {
	want, err := json.Marshal(key)
	if err != nil {
		return false, err
	}
	want = append([]byte(`{"key":`), append(want, ',')...)
	for i := range r.c.Keep + 1 {
		path := r.c.Path
		if i > 0 {
			path = r.rotated(i)
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		there, err := search(f, want)
		_ = f.Close()
		if there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// search looks for a line that begins with want near the end of f.
func search(f *os.File, want []byte) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	from := max(0, info.Size()-lookBack)
	tail, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return false, err
	}
	return from == 0 && bytes.HasPrefix(tail, want) || bytes.Contains(tail, append([]byte{'\n'}, want...)), nil
}

func (r *Receiver) rotated(i int) string { return r.c.Path + "." + strconv.Itoa(i) }

// rotate moves the file and each kept one further. The oldest is replaced by the
// one before it.
func (r *Receiver) rotate() error {
	for i := r.c.Keep - 1; i >= 1; i-- {
		if err := os.Rename(r.rotated(i), r.rotated(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(r.c.Path, r.rotated(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes names in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return nil //nolint:nilerr // a folder that may be written but not read
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}
