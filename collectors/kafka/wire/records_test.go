package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/protocol"
)

// encoded returns records in one of the formats, as kafka-go writes them.
func encoded(t testing.TB, version int8, codec protocol.Attributes, values ...string) []byte {
	t.Helper()
	var recs []protocol.Record
	for i, v := range values {
		recs = append(recs, protocol.Record{
			Offset: int64(i), Time: time.UnixMilli(1795413600000 + int64(i)), Key: protocol.NewBytes([]byte("k")), Value: protocol.NewBytes([]byte(v)),
		})
	}
	rs := protocol.RecordSet{Version: version, Attributes: codec, Records: protocol.NewRecordReader(recs...)}
	var b bytes.Buffer
	if _, err := rs.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[4:] // the length of all
}

func shift(b []byte, by int64) []byte {
	binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)+uint64(by))
	return b
}

type flat struct {
	Offset, Time int64
	Key, Value   string
}

// read reads all batches, one after the other.
func read(data []byte, limit int) (out []flat, err error) {
	var pool Pool
	for {
		b, rest, ok, err := NextBatch(data)
		if err != nil || !ok {
			return out, err
		}
		buf, n, err := b.Unpack(&pool, limit)
		if err != nil {
			return out, err
		}
		var unpacked []byte
		if buf != nil {
			unpacked = buf.B[:n]
		}
		err = b.Each(unpacked, func(r *Record) {
			EachHeader(r.Headers, func(_, _ []byte) {})
			out = append(out, flat{r.Offset, r.Time, string(r.Key), string(r.Value)})
		})
		if buf != nil {
			buf.Free()
		}
		if err != nil {
			return out, err
		}
		data = rest
	}
}

var codecs = map[string]protocol.Attributes{
	"none": 0, "gzip": protocol.Gzip, "snappy": protocol.Snappy, "lz4": protocol.Lz4, "zstd": protocol.Zstd,
}

func TestFormats(t *testing.T) {
	for name, codec := range codecs {
		for _, version := range []int8{1, 2} {
			if version == 1 && codec == protocol.Zstd {
				continue // newer than the format
			}
			data := encoded(t, version, codec, "a", "", "ccc")
			want := []flat{{0, 1795413600000, "k", "a"}, {1, 1795413600001, "k", ""}, {2, 1795413600002, "k", "ccc"}}
			if version == 2 || codec != 0 {
				shift(data, 100)
				for i := range want {
					want[i].Offset += 100
				}
				if version == 1 {
					// The outer message has the offset of the last one inside.
					shift(data, 2-int64(binary.BigEndian.Uint64(data))+100)
				}
			}
			got, err := read(data, 1<<20)
			if err != nil {
				t.Errorf("%s, format %d: %v", name, version, err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s, format %d (-want +got):\n%s", name, version, d)
			}
		}
	}
}

// TestCut asks that a batch which is not whole is no fault, wherever it ends.
func TestCut(t *testing.T) {
	one := encoded(t, 2, 0, "a", "b")
	data := append(bytes.Clone(one), one...)
	for n := range data {
		got, err := read(data[:n], 1<<20)
		if want := n / len(one) * 2; err != nil || len(got) != want {
			t.Fatalf("%d bytes: %d records and %v, want %d", n, len(got), err, want)
		}
	}
}

// TestDamage changes every byte that a checksum covers.
func TestDamage(t *testing.T) {
	for _, version := range []int8{1, 2} {
		data := shift(encoded(t, version, 0, "some value"), 7)
		for i := 16; i < len(data); i++ {
			bad := bytes.Clone(data)
			bad[i] ^= 0x10
			_, err := read(bad, 1<<20)
			damaged, ok := errors.AsType[*DamagedError](err)
			if !ok || damaged.Base != 7 || damaged.Next < 8 {
				t.Fatalf("format %d, byte %d: %v", version, i, err)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 1<<20))
	for name, codec := range codecs {
		if codec == 0 {
			continue
		}
		data := encoded(t, 2, codec, long, long)
		if got, err := read(data, 4<<20); err != nil || len(got) != 2 {
			t.Errorf("%s: %d records and %v", name, len(got), err)
		}
		if _, err := read(data, 1<<20); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
}

func TestFilter(t *testing.T) {
	f := NewFilter([]Aborted{{Producer: 1, First: 20}, {Producer: 1, First: 5}, {Producer: 2, First: 6}})
	for i, s := range []struct {
		base, producer int64
		attributes     int16
		drop           bool
	}{
		{0, 1, transactional, false}, // an earlier transaction, which was committed
		{5, 1, transactional, true},
		{6, 2, transactional, true},
		{7, 3, transactional, false},
		{8, 1, 0, false},                      // the same producer, outside a transaction
		{9, 1, transactional | control, true}, // abort
		{10, 1, transactional, false},
		{11, 2, transactional, true},
		{20, 1, transactional, true},
	} {
		b := Batch{Base: s.base, Last: s.base, Producer: s.producer, attributes: s.attributes, magic: 2}
		if got := f.Drop(&b); got != s.drop {
			t.Errorf("step %d: dropped is %t", i, got)
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, codec := range codecs {
		f.Add(encoded(f, 2, codec, "a", "b"))
	}
	f.Add(encoded(f, 1, protocol.Gzip, "a", "b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Fuzzing would never get past the checksums: make them right.
		for rest := data; len(rest) > batchHeader; {
			n := int(int32(binary.BigEndian.Uint32(rest[8:])))
			if n < 49 || n+12 > len(rest) || rest[16] != 2 {
				break
			}
			binary.BigEndian.PutUint32(rest[17:], crc32.Checksum(rest[21:n+12], castagnoli))
			rest = rest[n+12:]
		}
		got, err := read(data, 1<<16)
		if err != nil {
			if _, ok := errors.AsType[*DamagedError](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
		}
		next, _, ok := Span(data)
		for _, r := range got {
			if ok && err == nil && r.Offset >= next && len(data) >= batchHeader && data[16] == 2 {
				t.Fatalf("record at %d, but the heads say the next offset is %d", r.Offset, next)
			}
		}
	})
}

// FuzzAnswers gives the readers of answers whatever a broker may send.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0}, uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, v uint8) {
		versions := []int16{4, 5, 7, 9, 11, 13}
		fv := versions[int(v)%len(versions)]
		c := &Conn{r: bufio.NewReader(bytes.NewReader(data))}
		var pool Pool
		res, err := c.readFetch(&pendingFetch{version: fv}, len(data), &pool, 1<<16)
		if err == nil {
			if len(res.Records) > 1<<16 {
				t.Fatalf("%d bytes of records", len(res.Records))
			}
			res.Free()
		}
		mv := int16(v%9) + 4
		decodeMetadata(&decoder{b: data, flexible: flexible(apiMetadata, mv)}, mv)
	})
}
