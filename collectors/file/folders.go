package file

import (
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// manyNames is from how many names on a folder is remembered: where each of
	// thousands of logs lists its folder of thousands, reading it is what takes
	// the time.
	manyNames = 256
	// maxFolders bounds how many are remembered.
	maxFolders = 64
)

// folders remembers what is in large folders until they change. Its zero value
// is empty.
type folders struct {
	mu   sync.Mutex
	seen map[string]folder
}

type folder struct {
	id    identity
	mtime time.Time
	names []string
}

// names returns the names in dir, sorted. The list is shared: callers only read it.
func (f *folders) names(dir string) ([]string, error) {
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	id, mtime := identify(fi), fi.ModTime()
	f.mu.Lock()
	old, ok := f.seen[dir]
	f.mu.Unlock()
	if ok && old.id == id && old.mtime.Equal(mtime) {
		return old.names, nil
	}
	now := time.Now()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	// What changed a moment ago may change again without another time.
	if len(names) < manyNames || now.Sub(mtime) < 10*mtimeStep {
		return names, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) >= maxFolders || f.seen == nil {
		f.seen = map[string]folder{}
	}
	f.seen[dir] = folder{id, mtime, slices.Clip(names)}
	return names, nil
}
