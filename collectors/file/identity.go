package file

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"gatewatch/collectors/internal/packed"
)

const (
	// maxFingerprint is how many bytes a fingerprint covers at most.
	maxFingerprint = 1 << 10
	// minFingerprint is how many it must cover to speak for itself, without
	// the inode: one ordinary log line.
	minFingerprint = 16
)

// identity is the device and inode of a file. Zero is none.
type identity struct {
	dev, ino uint64
}

// fingerprint is a hash of the first n bytes of some content. It stays true
// for a file that only grows.
type fingerprint struct {
	n    int
	hash uint64
}

// printOf returns the fingerprint of the first bytes of head.
func printOf(head []byte) fingerprint {
	head = head[:min(len(head), maxFingerprint)]
	return fingerprint{n: len(head), hash: xxhash.Sum64(head)}
}

// holds reports whether content that begins with head can be that of p.
func (p fingerprint) holds(head []byte) bool {
	return len(head) >= p.n && xxhash.Sum64(head[:p.n]) == p.hash
}

// readHead returns the first bytes of the content of r, at most maxFingerprint.
func readHead(r io.Reader) ([]byte, error) {
	head := make([]byte, maxFingerprint)
	n, err := io.ReadFull(r, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

// headOf returns the first bytes of an open file's content, decompressed where
// it is compressed, and whether it is. The file's own offset does not matter.
func headOf(f *os.File) (head []byte, compressed bool, err error) {
	head, err = readHead(io.NewSectionReader(f, 0, maxFingerprint))
	if err != nil {
		return nil, false, err
	}
	if !packed.Is(head) {
		return head, false, nil
	}
	z, err := packed.NewReader(io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return nil, true, err
	}
	head, err = readHead(z)
	return head, true, err
}

// openRegular opens a file that is not a directory and returns its identity.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	// A look first: opening a pipe would wait for its writer.
	fi, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if err := checkMode(path, fi); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if fi, err = f.Stat(); err == nil {
		err = checkMode(path, fi)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}

// errPipe is that of a named pipe where a file was expected.
var errPipe = errors.New("a named pipe cannot be read again; read it with run, or from standard input")

// checkMode refuses what cannot be read like a log file.
func checkMode(path string, fi os.FileInfo) error {
	switch {
	case fi.IsDir():
		return fmt.Errorf("%s is a directory; name the files in it, as in %s/*.log", path, path)
	case fi.Mode()&os.ModeNamedPipe != 0:
		return errPipe
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}
