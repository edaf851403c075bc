package file

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	originVersion  = 1 // one generation
	originWithRest = 2 // and others that are read besides it
	maxOriginPath  = 4096

	flagLineHidden = 1 // line numbers inside the file are not known
	flagPaused     = 2 // of a remnant
	flagOver       = 4 // of a remnant
	flagCopied     = 8 // a copy of what was in the path before it was truncated
)

// generation is the content of one inode from its creation or truncation to
// its end, and where in the logical stream it begins.
type generation struct {
	id         identity
	print      fingerprint
	base       int64 // logical offset of the first byte of the content
	baseLine   int64 // logical lines before the first line of the content
	from       int64 // logical offset from which it is read; greater than base where it is gone back to
	lineHidden bool  // reading began far inside: numbers inside the file are unknown
	since      int64 // Unix ns: files beside it that are older were there before
	path       string
	copied     bool // a copy of what was in the path, which was truncated in place then
}

var errOrigin = errors.New("not an origin of a file")

// appendOrigin encodes g and the generations that are read besides it.
func (g *generation) appendOrigin(b []byte, rest []remnant) []byte {
	version := byte(originVersion)
	if len(rest) > 0 || g.from != g.base {
		version = originWithRest
	}
	b = append(b, version)
	b = g.appendFlags(b, 0)
	b = g.appendIdentity(b)
	b = binary.AppendVarint(b, g.base)
	b = binary.AppendVarint(b, g.baseLine)
	b = g.appendPath(b)
	if version == originVersion {
		return b
	}
	b = binary.AppendVarint(b, g.from)
	b = binary.AppendUvarint(b, uint64(len(rest)))
	for i := range rest {
		m := &rest[i]
		var flags byte
		if m.paused {
			flags |= flagPaused
		}
		if m.over {
			flags |= flagOver
		}
		b = m.appendFlags(b, flags)
		b = m.appendIdentity(b)
		b = binary.AppendVarint(b, m.off)
		b = binary.AppendVarint(b, m.line)
		b = m.appendPath(b)
	}
	return b
}

func (g *generation) appendFlags(b []byte, flags byte) []byte {
	if g.lineHidden {
		flags |= flagLineHidden
	}
	if g.copied {
		flags |= flagCopied
	}
	return append(b, flags)
}

func (g *generation) appendIdentity(b []byte) []byte {
	b = binary.AppendUvarint(b, g.id.dev)
	b = binary.AppendUvarint(b, g.id.ino)
	b = binary.AppendUvarint(b, uint64(g.print.n))
	return binary.BigEndian.AppendUint64(b, g.print.hash)
}

func (g *generation) appendPath(b []byte) []byte {
	b = binary.AppendVarint(b, g.since)
	b = binary.AppendUvarint(b, uint64(len(g.path)))
	return append(b, g.path...)
}

// decodeOrigin is the reverse of appendOrigin. It accepts nothing else.
func decodeOrigin(b []byte) (*generation, []remnant, error) {
	if len(b) < 2 {
		return nil, nil, errOrigin
	}
	version := b[0]
	if version != originVersion && version != originWithRest {
		return nil, nil, fmt.Errorf("%w: version %d, this program knows %d and %d", errOrigin, version, originVersion, originWithRest)
	}
	g := &generation{}
	r := originReader{b: b[1:]}
	flags := r.generation(g)
	g.base, g.baseLine = r.varint(), r.varint()
	r.path(g)
	g.from = g.base
	var rest []remnant
	if version == originWithRest {
		g.from = r.varint()
		n := r.uvarint()
		if n > maxLate+1 {
			return nil, nil, errOrigin
		}
		for range n {
			var m remnant
			f := r.generation(&m.generation)
			m.off, m.line = r.varint(), r.varint()
			m.paused, m.over = f&flagPaused != 0, f&flagOver != 0
			r.path(&m.generation)
			r.bad = r.bad || f&^(flagLineHidden|flagCopied|flagPaused|flagOver) != 0 || m.off < 0 || m.line < 0
			rest = append(rest, m)
		}
	}
	if r.bad || flags&^(flagLineHidden|flagCopied) != 0 || g.base < 0 || g.baseLine < 0 || g.from < g.base || len(r.b) > 0 {
		return nil, nil, errOrigin
	}
	return g, rest, nil
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

// generation reads flags and identity.
func (r *originReader) generation(g *generation) (flags byte) {
	if len(r.b) == 0 {
		r.skip(0)
		return 0
	}
	flags = r.b[0]
	r.skip(1)
	g.lineHidden, g.copied = flags&flagLineHidden != 0, flags&flagCopied != 0
	g.id.dev, g.id.ino = r.uvarint(), r.uvarint()
	n := r.uvarint()
	r.bad = r.bad || n > maxFingerprint
	g.print.n = int(min(n, maxFingerprint))
	g.print.hash = r.uint64()
	return flags
}

// path reads what ends a generation.
func (r *originReader) path(g *generation) {
	g.since = r.varint()
	n := r.uvarint()
	if r.bad || n > maxOriginPath || n > uint64(len(r.b)) {
		r.skip(0)
		return
	}
	g.path = string(r.b[:n])
	r.b = r.b[n:]
}
