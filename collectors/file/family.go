package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// listTries bounds how often a directory is listed again because it changed.
const listTries = 8

// member is a file that a path was rotated to.
type member struct {
	path  string
	rot   rotation
	id    identity
	size  int64
	mtime time.Time
}

// rotations lists the files beside path that are rotations of it, oldest
// first, without path itself. The list is stable: no rename happened while it
// was made, else it is made again.
func (s *source) rotations() ([]member, error) {
	path, folders := s.name, &s.c.folders
	var last []member
	for try := range listTries {
		list, err := rotationsOnce(path, folders)
		if err != nil {
			return nil, err
		}
		if try > 0 && slices.EqualFunc(last, list, func(a, b member) bool { return a.path == b.path && a.id == b.id }) {
			return list, nil
		}
		last = list
	}
	return last, nil // renamed all the time: whoever opens one checks what it got
}

func rotationsOnce(path string, folders *folders) ([]member, error) {
	dirs := []string{filepath.Dir(path)}
	bases := []string{filepath.Clean(path)}
	current := bases
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
		// Behind a symbolic link the rotations are beside its target, which may
		// itself be named like one: now.log -> app-20261101.log.
		if target, err := filepath.EvalSymlinks(path); err == nil {
			bases = append(bases, target)
			current = bases
			if base, _, ok := splitRotation(target); ok {
				bases = append(bases, base)
			}
			if d := filepath.Dir(target); d != dirs[0] {
				dirs = append(dirs, d)
			}
		}
	}
	var list []member
	for _, dir := range dirs {
		names, err := folders.names(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list rotations of %s: %w", path, err)
		}
		for _, name := range names {
			if !slices.ContainsFunc(bases, func(base string) bool { return strings.HasPrefix(name, stem(base)) }) {
				continue // most of a folder of thousands of logs
			}
			full := filepath.Join(dir, name)
			base, rot, ok := splitRotation(full)
			if !ok || !slices.Contains(bases, base) || slices.Contains(current, full) {
				continue
			}
			fi, err := os.Stat(full)
			if err != nil || !fi.Mode().IsRegular() {
				continue
			}
			list = append(list, member{path: full, rot: rot, id: identify(fi), size: fi.Size(), mtime: fi.ModTime()})
		}
	}
	list = dropPackedTwins(list)
	sortMembers(list)
	return list, nil
}

// stem is what the names of all rotations of a path begin with.
func stem(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// dropPackedTwins leaves out x.log.1.gz while x.log.1 is there: it is being
// written.
func dropPackedTwins(list []member) []member {
	names := make(map[string]bool, len(list))
	for _, m := range list {
		names[m.path] = true
	}
	return slices.DeleteFunc(list, func(m member) bool {
		plain := plainName(m.path)
		return plain != m.path && names[plain]
	})
}

// sortMembers sorts oldest first: by what the names say where they all speak
// the same language, else by time of last change.
func sortMembers(list []member) {
	byName := true
	for _, m := range list {
		byName = byName && m.rot.kind == list[0].rot.kind && m.rot.kind != labelled
	}
	slices.SortStableFunc(list, func(a, b member) int {
		if byName {
			return a.rot.compare(b.rot)
		}
		return cmp.Or(a.mtime.Compare(b.mtime), a.rot.compare(b.rot))
	})
	if byName && countsUp(list) {
		slices.Reverse(list)
	}
}

// countsUp reports whether the rotator gives newer files higher numbers: list,
// highest number first, is clearly newest first.
func countsUp(list []member) bool {
	if len(list) < 2 || list[0].rot.kind != numbered {
		return false
	}
	for i := 1; i < len(list); i++ {
		if list[i-1].mtime.Sub(list[i].mtime) < time.Second {
			return false
		}
	}
	return true
}
