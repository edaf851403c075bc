package file

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

const (
	defaultMaxLine = 1 << 20
	defaultBlock   = 256 << 10
	minBlock       = 1 << 10
	defaultPoll    = 250 * time.Millisecond
	defaultRescan  = 10 * time.Second
	defaultLinger  = 5 * time.Second
	defaultLate    = 15 * time.Minute
	defaultOpen    = 512
)

// Begin says where a source begins that has no saved position.
type Begin uint8

const (
	// End begins behind the last whole line: only what is written from now on.
	End Begin = iota
	// Start begins with the oldest byte of the current file.
	Start
)

// Options are the settings of [New].
type Options struct {
	// Paths are files and glob patterns. A path need not exist yet.
	Paths []string
	// Exclude holds glob patterns; files that match one by their path or by
	// their last element are not read.
	Exclude []string
	// Begin says where to begin with the files that exist when Watch is
	// called. Files that appear later are read from their start.
	Begin Begin

	Poll   time.Duration // between looks at a file; default 250 ms
	Rescan time.Duration // between looks for new files; default 10 s
	Linger time.Duration // how long a rotated file must be quiet before it is left; default 5 s
	// Late is how long a rotated file is still looked at after its last line, for
	// writers that have not opened the new one; default 15 min. Of one source
	// up to 16 files are, those that were written last.
	Late         time.Duration
	MaxLineBytes int // longest line that is read; default 1 MiB
	BlockBytes   int // size of a block; default 256 KiB, at least 1 KiB
	// Notify asks the system to tell when a file changes (inotify on Linux), so
	// that lines are read at once and not at the next poll. It does not work on
	// file systems of other machines; polling goes on beside it.
	Notify bool
	// MaxOpenFiles is how many idle files may be kept open. Above it a file is
	// closed while nothing is written to it. Default 512.
	MaxOpenFiles int

	Now    func() time.Time   // default time.Now
	Logger *slog.Logger       // default discards
	Hook   func(point string) // called at named points of the work, for tests; may be nil
}

func (o Options) withDefaults() Options {
	o.Poll = cmp.Or(o.Poll, defaultPoll)
	o.Rescan = cmp.Or(o.Rescan, defaultRescan)
	o.Linger = cmp.Or(o.Linger, defaultLinger)
	o.Late = cmp.Or(o.Late, defaultLate)
	o.MaxLineBytes = cmp.Or(o.MaxLineBytes, defaultMaxLine)
	o.BlockBytes = max(cmp.Or(o.BlockBytes, defaultBlock), minBlock)
	o.MaxOpenFiles = cmp.Or(o.MaxOpenFiles, defaultOpen)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hook == nil {
		o.Hook = func(string) {}
	}
	return o
}

// check reports all mistakes at once.
func (o Options) check() error {
	var errs []error
	if len(o.Paths) == 0 {
		errs = append(errs, errors.New("no file to read; name at least one path or pattern"))
	}
	for _, p := range append(append([]string{}, o.Paths...), o.Exclude...) {
		if p == "" {
			errs = append(errs, errors.New("a path is empty; leave it out or name a file"))
		} else if _, err := filepath.Match(p, ""); err != nil && isPattern(p) {
			errs = append(errs, fmt.Errorf("pattern %q: %w; write [[] for a bracket", p, err))
		}
	}
	for _, o := range []struct {
		name  string
		value int64
	}{
		{"poll", int64(o.Poll)},
		{"rescan", int64(o.Rescan)},
		{"linger", int64(o.Linger)},
		{"late", int64(o.Late)},
		{"max line bytes", int64(o.MaxLineBytes)},
		{"block bytes", int64(o.BlockBytes)},
		{"max open files", int64(o.MaxOpenFiles)},
	} {
		if o.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %d is negative; leave it out for the default", o.name, o.value))
		}
	}
	return errors.Join(errs...)
}

// excluded reports whether path matches a pattern of Exclude.
func (o Options) excluded(path string) bool {
	for _, p := range o.Exclude {
		if ok, err := filepath.Match(p, path); ok && err == nil {
			return true
		}
		if ok, err := filepath.Match(p, filepath.Base(path)); ok && err == nil {
			return true
		}
	}
	return false
}
