// Package storage keeps bytes: keys and values in a closed list of buckets of
// one embedded database file. It knows nothing of what they mean. It is the
// only importer of bbolt, and the pipeline is its only user.
//
// What one Commit holds is there as a whole or not at all, whatever kills the
// process. Each value carries a checksum over its bucket, key and bytes, so a
// page that was damaged on disk is found when it is read, not believed.
package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets. There are no others.
const (
	Meta      = "meta"      // what is true of the file as a whole
	Sources   = "sources"   // source names and their ids
	Positions = "positions" // where each source goes on
	Slots     = "slots"     // chunks of the state of each slot, see detectors
	Incidents = "incidents"
	Shadow    = "shadow" // incidents of rules that are only watched
	Outbox    = "outbox"
	Silences  = "silences"
	Groups    = "groups" // when groups of incidents were last told
)

// Buckets returns the names of all buckets.
func Buckets() []string {
	return []string{Meta, Sources, Positions, Slots, Incidents, Shadow, Outbox, Silences, Groups}
}

// Schema is the version of the layout that this build reads and writes. It is
// raised when a build could misread what another one wrote.
const Schema = 1

// growBytes is by how much the file grows at a time.
const growBytes = 4 << 20

// schemaKey in bucket meta is reserved for the schema version.
const schemaKey = "schema"

// Errors that callers tell apart; see also [DamagedError].
var (
	// ErrLocked says that another process has the file open.
	ErrLocked = errors.New("the state file is in use by another gatewatch")
	// ErrNewerSchema says that a newer gatewatch wrote the file.
	ErrNewerSchema = errors.New("the state file was written by a newer gatewatch")
	// ErrForeign says that the file is a database of some other program.
	ErrForeign = errors.New("the file is a database, but not a state file of gatewatch")
	// ErrClosed says that the DB was closed.
	ErrClosed = errors.New("the state file is closed")
)

// Options of Open. The zero value means the defaults.
type Options struct {
	// Timeout is how long to wait for another process to let go of the file.
	// Default 1 s.
	Timeout time.Duration
	// InitialMmapSize is how much address space to map at once, in bytes.
	// Until the file outgrows it a commit never waits for a reader. It costs
	// no memory. Default 256 MiB.
	InitialMmapSize int
	// Logger gets what is odd but no error. Default: none.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.InitialMmapSize = cmp.Or(o.InitialMmapSize, 256<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// DB is an open state file. It may be used by many goroutines; commits are
// made one after the other.
type DB struct {
	path  string
	log   *slog.Logger
	bolt  *bolt.DB
	file  *os.File // bolt's, for letting go of a file that bolt choked on
	fresh bool

	damage atomic.Pointer[DamagedError]
	mu     sync.RWMutex // held for writing by Close alone
	closed bool
}

// Open opens the state file at path, and creates it, readable by its owner
// only, when there is none. Its errors are ErrLocked, ErrNewerSchema,
// ErrForeign, a *DamagedError, or those of the file system.
func Open(path string, o Options) (*DB, error) {
	o = o.withDefaults()
	_, err := os.Lstat(path)
	existed := err == nil
	db := &DB{path: path, log: o.Logger}
	err = db.guard(func() error {
		var err error
		db.bolt, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         o.Timeout,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: o.InitialMmapSize,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				db.file = f
				return f, err
			},
		})
		return err
	})
	if err != nil {
		db.abandon()
		return nil, openError(path, err)
	}
	db.bolt.AllocSize = growBytes
	if err := db.prepare(); err != nil {
		_ = db.Close()
		return nil, err
	}
	if !existed {
		if err := syncDir(filepath.Dir(path)); err != nil {
			_ = db.Close()
			return nil, err
		}
	}
	return db, nil
}

func openError(path string, err error) error {
	var damaged *DamagedError
	switch {
	case errors.As(err, &damaged):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("open %s: %w", path, ErrLocked)
	}
	// What the system refuses is not the file's fault; all else that bolt says
	// at open is about its content, in errors that mostly have no name.
	var onPath *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &onPath) || errors.As(err, &errno) {
		return fmt.Errorf("open state file %s: %w", path, err)
	}
	return &DamagedError{path, err}
}

// prepare checks what can be checked cheaply and makes the buckets.
func (db *DB) prepare() error {
	var missing []string
	buckets, schema := 0, ""
	err := db.guard(func() error {
		return db.bolt.View(func(tx *bolt.Tx) error {
			if err := db.checkLength(tx); err != nil {
				return err
			}
			for _, name := range Buckets() {
				if tx.Bucket([]byte(name)) == nil {
					missing = append(missing, name)
				}
			}
			if err := tx.ForEach(func([]byte, *bolt.Bucket) error { buckets++; return nil }); err != nil {
				return err
			}
			meta := tx.Bucket([]byte(Meta))
			if meta == nil {
				return nil
			}
			stored := meta.Get([]byte(schemaKey))
			if stored == nil {
				return nil
			}
			value, err := open(Meta, []byte(schemaKey), stored)
			schema = string(value)
			return err
		})
	})
	if err != nil {
		return db.note(err)
	}
	switch {
	case buckets == 0:
		db.fresh = true
	case schema == "":
		return fmt.Errorf("open %s: %w", db.path, ErrForeign)
	case len(schema) != 1:
		return db.note(errDamaged{"its schema version cannot be read"})
	case schema[0] > Schema:
		return fmt.Errorf("open %s: %w (schema %d, this one reads %d)", db.path, ErrNewerSchema, schema[0], Schema)
	}
	if len(missing) == 0 {
		return nil
	}
	err = db.guard(func() error {
		return db.bolt.Update(func(tx *bolt.Tx) error {
			for _, name := range missing {
				if _, err := tx.CreateBucket([]byte(name)); err != nil {
					return err
				}
			}
			return tx.Bucket([]byte(Meta)).Put([]byte(schemaKey), seal(nil, Meta, []byte(schemaKey), []byte{Schema}))
		})
	})
	if err != nil {
		return db.note(fmt.Errorf("prepare state file %s: %w", db.path, err))
	}
	return nil
}

// checkLength finds a file that was cut short before a read runs into the
// missing part.
func (db *DB) checkLength(tx *bolt.Tx) error {
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return errDamaged{fmt.Sprintf("it has %d bytes and should have at least %d", info.Size(), tx.Size())}
	}
	return nil
}

// Fresh reports whether Open found no state: a new or an empty file.
func (db *DB) Fresh() bool { return db.fresh }

// Path returns the path of the file.
func (db *DB) Path() string { return db.path }

// Size returns the size of the file in bytes. It never shrinks.
func (db *DB) Size() int64 {
	info, err := os.Stat(db.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// FreeBytes returns how many bytes of the file are free for reuse.
func (db *DB) FreeBytes() int64 {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed || db.damage.Load() != nil {
		return 0
	}
	s := db.bolt.Stats()
	return int64(s.FreePageN+s.PendingPageN) * int64(db.bolt.Info().PageSize)
}

// Close lets go of the file, after running commits and scans. A second Close
// does nothing.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	if db.damage.Load() != nil {
		db.abandon()
		return nil
	}
	err := db.guard(db.bolt.Close)
	if err != nil {
		return fmt.Errorf("close state file %s: %w", db.path, err)
	}
	return nil
}

// abandon closes the file behind the back of bolt, whose locks may be held for
// ever after a panic. Its memory map stays until the process ends.
func (db *DB) abandon() {
	if db.file != nil {
		_ = db.file.Close()
	}
}

// Check reads the whole file and returns all faults found, joined. It takes as
// long as reading the file does, and commits that must grow the file wait for
// it: it is for tests and for a command of its own.
func (db *DB) Check(ctx context.Context) error {
	var faults []error
	err := db.use(func() error {
		return db.bolt.View(func(tx *bolt.Tx) error {
			if err := db.checkLength(tx); err != nil {
				return err
			}
			// All errors are to be drained: the checker blocks otherwise.
			for err := range tx.Check() {
				faults = append(faults, err)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return db.note(errDamaged{errors.Join(faults...).Error()})
	}
	for _, name := range Buckets() {
		err := db.Scan(name, nil, func(_, _ []byte) error { return ctx.Err() })
		if err != nil {
			return err
		}
	}
	return nil
}

// use runs f on the open file.
func (db *DB) use(f func() error) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return ErrClosed
	}
	if d := db.damage.Load(); d != nil {
		return d
	}
	return db.note(db.guard(f))
}
