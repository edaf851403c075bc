package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

const (
	// watched is how many bytes before the next read are compared with what
	// was read there, to see that a file was truncated and grew again. It is
	// more than a user agent at the end of a line: agents repeat, times do not.
	watched = 256
)

var errTruncated = errors.New("file was truncated")

// plain reads a file forward and notices when the content before the next read
// is no longer what it was.
type plain struct {
	f    *os.File
	next int64 // offset of the next read
	tail [watched]byte
	n    int // bytes of tail in use, those just before next
	back [watched]byte
	// head is how the content began when the file was opened: it may be another
	// by the time of the first read.
	head []byte
	// begun, if not nil, is asked when the first bytes come of a file that was
	// empty when it was last looked at.
	begun func() error
}

// newPlain begins at offset off of f, whose content began with head.
func newPlain(f *os.File, off int64, head []byte) (*plain, error) {
	p := &plain{f: f, next: off, head: head}
	p.n = int(min(off, watched))
	if n, err := f.ReadAt(p.tail[:p.n], off-int64(p.n)); n < p.n {
		if errors.Is(err, io.EOF) {
			return nil, errTruncated
		}
		return nil, err
	}
	return p, p.checkHead()
}

// checkHead compares the head with what it was.
func (p *plain) checkHead() error {
	now := make([]byte, len(p.head))
	if _, err := io.ReadFull(io.NewSectionReader(p.f, 0, int64(len(now))), now); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !bytes.Equal(now, p.head) {
		return errTruncated
	}
	return nil
}

// ReadAt reads what follows the last read. off must be where that ended. It
// gives nothing and errTruncated when the content before off has changed.
func (p *plain) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.f.ReadAt(b, off)
	// Looked at after the read: if it still holds now it held then.
	if cerr := p.check(); cerr != nil {
		return 0, cerr
	}
	if p.begun != nil && n > 0 {
		if err := p.begun(); err != nil {
			return 0, err
		}
		p.begun = nil
	}
	p.next = off + int64(n)
	if n >= watched {
		p.n = copy(p.tail[:], b[n-watched:n])
	} else if n > 0 {
		keep := min(p.n, watched-n)
		copy(p.tail[:], p.tail[p.n-keep:p.n])
		copy(p.tail[keep:], b[:n])
		p.n = keep + n
	}
	return n, err
}

// check compares the bytes before the next read with what they were.
func (p *plain) check() error {
	n, err := p.f.ReadAt(p.back[:p.n], p.next-int64(p.n))
	if n < p.n && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(p.back[:n], p.tail[:p.n]) {
		return errTruncated
	}
	if p.next < int64(len(p.head)) { // too little was read to tell it by that
		return p.checkHead()
	}
	return nil
}

// forward reads content that can only be read from front to back.
type forward struct {
	r io.Reader
}

// ReadAt fills b if it can. off must be where the last read ended.
func (s forward) ReadAt(b []byte, _ int64) (int, error) {
	n, err := io.ReadFull(s.r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
		// Short because the content ends here, or because it is damaged: the
		// next read says which.
		err = nil
	}
	return n, err
}

// counted counts the bytes read from r. The count may be read at any time.
type counted struct {
	r    io.Reader
	read *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// discard passes over n bytes of r, or stops with ctx.
func discard(ctx context.Context, r io.Reader, n int64) error {
	for at := int64(0); at < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := io.CopyN(io.Discard, r, min(n-at, 1<<20))
		at += got
		if err != nil {
			return fmt.Errorf("go to offset %d: content ends at %d: %w", n, at, err)
		}
	}
	return nil
}
