package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
)

// DamagedError says that the file, or something in it, cannot be read. Open
// returns it, and so can every other method; from then on all of them do. The
// way out is to Close, SetAside and begin anew.
type DamagedError struct {
	Path string
	Err  error
}

// Error says which file is damaged and how.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("state file %s is damaged: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// SetAside renames a damaged file to path.damaged-<time> and returns the new
// name. The DB, if there was one, must be closed.
func SetAside(path string) (moved string, err error) {
	base := path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
	moved = base
	for n := 2; ; n++ {
		if _, err := os.Lstat(moved); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", fmt.Errorf("set aside state file: %w", err)
		}
		moved = fmt.Sprintf("%s-%d", base, n)
	}
	if err := os.Rename(path, moved); err != nil {
		return "", fmt.Errorf("set aside state file: %w", err)
	}
	return moved, syncDir(filepath.Dir(path))
}

// syncDir makes a new or renamed file survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// errDamaged marks what guard and note turn into a DamagedError.
type errDamaged struct{ text string }

func (e errDamaged) Error() string { return e.text }

// guard runs f and turns panics and memory faults, which bolt answers with on
// damaged pages, into a DamagedError.
func (db *DB) guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = db.note(errDamaged{fmt.Sprint(r)})
		}
	}()
	return f()
}

// note remembers damage, and passes other errors through.
func (db *DB) note(err error) error {
	var d errDamaged
	if !errors.As(err, &d) {
		return err
	}
	damaged := &DamagedError{db.path, d}
	if !db.damage.CompareAndSwap(nil, damaged) {
		return db.damage.Load()
	}
	return damaged
}
