package file

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	originVersion  = 1
	maxOriginPath  = 4096
	flagLineHidden = 1 // line numbers inside the file are not known
)

// generation is the content of one inode from its creation or truncation to
// its end, and where in the logical stream it begins.
type generation struct {
	id         identity
	print      fingerprint
	base       int64 // logical offset of the first byte of the content
	baseLine   int64 // logical lines before the first line of the content
	lineHidden bool  // reading began far inside: numbers inside the file are unknown
	since      int64 // Unix ns: files beside it that are older were there before
	path       string
}

var errOrigin = errors.New("not an origin of a file")

// appendOrigin encodes g.
func (g *generation) appendOrigin(b []byte) []byte {
	var flags byte
	if g.lineHidden {
		flags |= flagLineHidden
	}
	b = append(b, originVersion, flags)
	b = binary.AppendUvarint(b, g.id.dev)
	b = binary.AppendUvarint(b, g.id.ino)
	b = binary.AppendUvarint(b, uint64(g.print.n))
	b = binary.BigEndian.AppendUint64(b, g.print.hash)
	b = binary.AppendVarint(b, g.base)
	b = binary.AppendVarint(b, g.baseLine)
	b = binary.AppendVarint(b, g.since)
	b = binary.AppendUvarint(b, uint64(len(g.path)))
	return append(b, g.path...)
}

// decodeOrigin is the reverse of appendOrigin. It accepts nothing else.
func decodeOrigin(b []byte) (*generation, error) {
	if len(b) < 2 {
		return nil, errOrigin
	}
	if b[0] != originVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", errOrigin, b[0], originVersion)
	}
	if b[1]&^flagLineHidden != 0 {
		return nil, errOrigin
	}
	g := &generation{lineHidden: b[1]&flagLineHidden != 0}
	r := originReader{b: b[2:]}
	g.id.dev = r.uvarint()
	g.id.ino = r.uvarint()
	n := r.uvarint()
	g.print.hash = r.uint64()
	g.base = r.varint()
	g.baseLine = r.varint()
	g.since = r.varint()
	length := r.uvarint()
	if r.bad || n > maxFingerprint || g.base < 0 || g.baseLine < 0 || length > maxOriginPath || length != uint64(len(r.b)) {
		return nil, errOrigin
	}
	g.print.n = int(n)
	g.path = string(r.b)
	return g, nil
}

// originReader takes fields from the front of b until one is bad.
type originReader struct {
	b   []byte
	bad bool
}

func (r *originReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *originReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *originReader) uint64() uint64 {
	if len(r.b) < 8 {
		r.skip(0)
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.skip(8)
	return v
}

func (r *originReader) skip(n int) {
	if n <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}
