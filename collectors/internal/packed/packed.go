// Package packed reads compressed logs: gzip and Zstandard, told by their
// first bytes.
package packed

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	// chunk is how much compressed data is read at once.
	chunk = 128 << 10
	// maxWindow bounds the memory that a Zstandard stream may ask for: what
	// zstd makes without --long, and with it up to --long=27.
	maxWindow = 128 << 20
)

// HeadBytes is how many bytes [Is] has to see.
const HeadBytes = 4

// Suffixes are the endings of names of compressed logs.
func Suffixes() []string { return []string{".gz", ".zst"} }

// Cut returns name without the ending of a compressed file, and whether it had one.
func Cut(name string) (string, bool) {
	for _, s := range Suffixes() {
		if stem, ok := strings.CutSuffix(name, s); ok {
			return stem, true
		}
	}
	return name, false
}

// Is reports whether data begins like a compressed file.
func Is(head []byte) bool { return isGzip(head) || isZstd(head) }

func isGzip(head []byte) bool {
	return len(head) >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8
}

// isZstd knows frames, and the skippable ones with which pzstd begins (RFC 8878).
func isZstd(head []byte) bool {
	return len(head) >= 4 && (string(head[:4]) == "\x28\xb5\x2f\xfd" || head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18")
}

// NewReader returns the content of r, which must begin like a compressed
// file. It holds nothing that has to be closed.
func NewReader(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, chunk)
	head, err := b.Peek(HeadBytes)
	switch {
	case isGzip(head):
		return gzip.NewReader(b)
	case isZstd(head):
		// One goroutine, the caller's: nothing is left behind by who does not read to the end.
		return zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	case err != nil && err != io.EOF:
		return nil, err
	}
	return nil, fmt.Errorf("neither gzip nor Zstandard")
}
