package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// opened is a file that holds the content of a generation.
type opened struct {
	f      *os.File
	fi     os.FileInfo
	head   []byte // of the content
	packed bool
	live   bool // it is the path itself
	index  int  // among the rotations, -1 where it is none of them
}

// open opens a file and looks at its head.
func open(path string) (*opened, error) {
	f, fi, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	head, packed, err := headOf(f)
	if err != nil && !packed { // what is damaged shows when it is read
		_ = f.Close()
		return nil, fmt.Errorf("read the start of %s: %w", path, err)
	}
	return &opened{f: f, fi: fi, head: head, packed: packed, index: -1}, nil
}

func (o *opened) close() {
	if o != nil {
		_ = o.f.Close()
	}
}

// openLive opens the path of a source; nil without an error if there is none.
func openLive(path string) (*opened, error) {
	o, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o.packed {
		o.close()
		return nil, fmt.Errorf("%s is compressed and cannot be followed; read it with replay", path)
	}
	o.live = true
	return o, nil
}

// holds reports whether o can be the content of g, read up to offset off.
func (o *opened) holds(g *generation, off int64) bool {
	same := g.id != identity{} && identify(o.fi) == g.id
	if !same && g.print.n < minFingerprint || !g.print.holds(o.head) {
		return false
	}
	if o.packed && g.print.n == 0 && len(o.head) > 0 {
		return false // the inode of an empty file was used again
	}
	if o.packed {
		return true // how long its content is shows when it is read
	}
	if o.fi.Size() < off {
		return false
	}
	// An offset is where a line begins, or the end of everything.
	var before [1]byte
	if off == 0 || off == o.fi.Size() {
		return true
	}
	_, err := o.f.ReadAt(before[:], off-1)
	return err == nil && before[0] == '\n'
}

// find looks for the content of g, read up to off: in live (which may be nil),
// among its rotations, and at elsewhere, another path unless empty. The same inode goes before a
// copy, the path before its rotations, newer ones before older ones. It
// returns nil if there is none, and errAgain if a rotation was renamed since
// it was listed, so that nothing can be said. live stays the caller's unless it is returned.
func find(g *generation, off int64, live *opened, list []member, elsewhere string) (*opened, error) {
	if live != nil && live.holds(g, off) {
		return live, nil
	}
	moved := false
	for _, inode := range []bool{true, false} {
		for i, m := range slices.Backward(list) {
			if (m.id == g.id) != inode {
				continue
			}
			o, err := openMember(m)
			switch {
			case errors.Is(err, errAgain):
				moved = true
			case err != nil: // not ours to read
			case o.holds(g, off):
				o.index = i
				return o, nil
			default:
				o.close()
			}
		}
	}
	if moved {
		return nil, errAgain
	}
	if elsewhere != "" {
		if o, err := open(elsewhere); err == nil {
			if o.holds(g, off) {
				return o, nil
			}
			o.close()
		}
	}
	return nil, nil
}

// openMember opens a rotation. It answers errAgain if another file has its
// name by now.
func openMember(m member) (*opened, error) {
	o, err := open(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAgain
	}
	if err != nil {
		return nil, err
	}
	if identify(o.fi) != m.id {
		o.close()
		return nil, errAgain
	}
	return o, nil
}
