package file

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gatewatch/collectors/internal/packed"
)

// part is one file of a replay.
type part struct {
	path   string
	base   string
	rot    rotation
	size   int64
	id     identity
	print  fingerprint
	head   []byte
	packed bool
}

// collectParts expands patterns and looks at each file.
func collectParts(paths []string) ([]*part, error) {
	var parts []*part
	var infos []os.FileInfo
	var errs []error
	for _, path := range paths {
		matches, err := expand(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, m := range matches {
			p, fi, err := lookAt(m)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if slices.ContainsFunc(infos, func(o os.FileInfo) bool { return os.SameFile(o, fi) }) {
				continue
			}
			infos = append(infos, fi)
			parts = append(parts, p)
		}
	}
	return parts, errors.Join(errs...)
}

// expand returns the files that a path or pattern names.
func expand(path string) ([]string, error) {
	if path == "" {
		return nil, errors.New("a file name is empty; name a log file or a pattern such as /var/log/nginx/*.log")
	}
	if _, err := os.Lstat(path); err == nil || !isPattern(path) {
		return []string{filepath.Clean(path)}, nil
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w; write [[] for a bracket", path, err)
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("pattern %q matches no file", path)
	}
	return matches, nil
}

// isPattern reports whether path holds glob characters.
func isPattern(path string) bool { return strings.ContainsAny(path, "*?[") }

// lookAt opens a file and reads its head.
func lookAt(path string) (*part, os.FileInfo, error) {
	f, fi, err := openRegular(path)
	if err != nil {
		return nil, nil, plainError(path, err)
	}
	defer func() { _ = f.Close() }()
	p := &part{path: path, size: fi.Size(), id: identify(fi)}
	if p.head, p.packed, err = headOf(f); err != nil {
		return nil, nil, fmt.Errorf("read the start of %s: %w", path, err)
	}
	p.print = printOf(p.head)
	base, rot, ok := splitRotation(path)
	if !ok {
		base, rot = path, rotation{}
	}
	p.base, p.rot = base, rot
	return p, fi, nil
}

// plainError says what is wrong with a path in the words of its user.
func plainError(path string, err error) error {
	switch {
	case errors.Is(err, errPipe):
		return fmt.Errorf("%s is a named pipe; write its content to - instead, as in: gatewatch replay - < %s", path, path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by this user; give it read permission or run as its group", path)
	}
	return err
}

// dropTwins leaves out a compressed file whose plain original is there too.
func dropTwins(group []*part, log *slog.Logger) []*part {
	return slices.DeleteFunc(group, func(p *part) bool {
		if !p.packed || p.print.n == 0 {
			return false
		}
		return slices.ContainsFunc(group, func(o *part) bool {
			twin := !o.packed && o.path == plainName(p.path) && o.print == p.print
			if twin {
				log.Warn("compressed copy of a file that is read already", keyPath, p.path, keyOther, o.path)
			}
			return twin
		})
	})
}

// orderParts sorts the rotations of one log, oldest first.
func orderParts(group []*part, firstTime func([]byte) (int64, bool)) error {
	slices.SortStableFunc(group, func(a, b *part) int {
		return cmp.Or(a.rot.compare(b.rot), cmp.Compare(a.path, b.path))
	})
	if len(group) < 2 || firstTime == nil {
		return nil
	}
	times := make(map[*part]int64, len(group))
	for _, p := range group {
		if p.print.n == 0 {
			continue // nothing in it: its place does not matter
		}
		t, ok, err := p.firstTime(firstTime)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		times[p] = t
	}
	slices.SortStableFunc(group, func(a, b *part) int { return cmp.Compare(times[a], times[b]) })
	return nil
}

// firstTimeReach is how far into a file a line with a time is looked for.
const firstTimeReach = 256 << 10

// firstTime returns the time of the first line that has one.
func (p *part) firstTime(timeOf func([]byte) (int64, bool)) (int64, bool, error) {
	f, err := os.Open(p.path)
	if err != nil {
		return 0, false, plainError(p.path, err)
	}
	defer func() { _ = f.Close() }()
	r, err := p.content(f)
	if err != nil {
		return 0, false, err
	}
	data := make([]byte, firstTimeReach)
	n, err := io.ReadFull(r, data)
	whole := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	for line := range bytes.SplitAfterSeq(data[:n], []byte{'\n'}) {
		text, ended := bytes.CutSuffix(line, []byte{'\n'})
		if len(text) == 0 || !ended && !whole {
			continue
		}
		if t, ok := timeOf(bytes.TrimSuffix(text, []byte{'\r'})); ok {
			return t, true, nil
		}
	}
	return 0, false, nil
}

// content returns a reader of the decompressed content.
func (p *part) content(r io.Reader) (io.Reader, error) {
	if !p.packed {
		return r, nil
	}
	z, err := packed.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", p.path, err)
	}
	return z, nil
}
