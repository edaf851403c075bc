package wire

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/compress"
)

// Batch is one batch of records as the broker keeps it, or one message of the
// formats before Kafka 0.11, which may hold others.
type Batch struct {
	Base     int64 // offset of the first record, or what the batch says it is
	Last     int64 // offset of the last one; records in between may be gone
	Epoch    int32 // of the leader, -1 when not known
	Producer int64 // -1 for none
	Count    int

	attributes int16
	first      int64  // milliseconds
	max        int64  // milliseconds, the broker's time for all records where it says so
	magic      int8   // 2, or 0 and 1 for the old formats
	body       []byte // what may be compressed
}

const (
	codecMask       = 0x07
	brokersTime     = 0x08
	transactional   = 0x10
	control         = 0x20
	batchHeader     = 61
	oldHeader       = 12 + 5 // offset, length, crc, magic
	lengthBeforeCRC = 9      // epoch, magic, crc: what comes before what the checksum covers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Control reports whether the batch has no records but the end of a transaction.
func (b *Batch) Control() bool { return b.magic == 2 && b.attributes&control != 0 }

// Compressed reports whether Unpack has work to do.
func (b *Batch) Compressed() bool { return b.attributes&codecMask != 0 }

// DamagedError says that a batch is not what was written, or of a kind that is
// not known. Next is the offset behind it, if that is known.
type DamagedError struct {
	Base, Next int64
	Err        error
}

// Error has the offset and the cause.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("the batch at offset %d is damaged: %v", e.Base, e.Err)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

var (
	errChecksum = errors.New("its checksum is wrong")
	errMagic    = errors.New("its format is not known")
	// ErrTooLarge is the cause where a batch unpacks to more than the limit.
	ErrTooLarge = errors.New("it unpacks to more than the limit")
)

// NextBatch reads the batch at the start of data. ok is false where there is
// none, or only a part of one, which is no fault: brokers cut an answer off.
func NextBatch(data []byte) (b Batch, rest []byte, ok bool, err error) {
	if len(data) < oldHeader {
		return b, nil, false, nil
	}
	length := int64(int32(binary.BigEndian.Uint32(data[8:])))
	b.Base, b.magic = int64(binary.BigEndian.Uint64(data)), int8(data[16])
	if length < 5 {
		return b, nil, false, &DamagedError{Base: b.Base, Next: b.Base + 1, Err: errMagic}
	}
	if length+12 > int64(len(data)) {
		return b, nil, false, nil
	}
	data, rest = data[:length+12], data[length+12:]
	switch b.magic {
	case 0, 1:
		err = b.readOld(data)
	case 2:
		err = b.read(data)
	default:
		b.Last, err = b.Base, errMagic
	}
	if err != nil {
		return b, rest, false, &DamagedError{Base: b.Base, Next: b.Last + 1, Err: err}
	}
	return b, rest, true, nil
}

// Span tells which offsets the whole batches in data cover, by their heads
// alone: next is the offset behind the last one, epoch that of its leader. ok
// is false where there is no whole batch, or one that is damaged.
func Span(data []byte) (next int64, epoch int32, ok bool) {
	epoch = -1
	for len(data) >= batchHeader {
		length, end, err := batchEnd(data)
		if err != nil {
			return 0, 0, false
		}
		if length > int64(len(data)) {
			break
		}
		next, ok = end, true
		if data[16] == 2 {
			epoch = int32(binary.BigEndian.Uint32(data[12:]))
		}
		data = data[length:]
	}
	return next, epoch, ok
}

// batchEnd returns the length of a batch with its head, and the offset behind it.
func batchEnd(head []byte) (length, next int64, err error) {
	if len(head) < batchHeader {
		return 0, 0, errShort
	}
	base := int64(binary.BigEndian.Uint64(head))
	length = int64(int32(binary.BigEndian.Uint32(head[8:]))) + 12
	switch {
	case length < oldHeader || base < 0:
		return 0, 0, errMagic
	case head[16] == 2 && length >= batchHeader:
		return length, base + int64(max(int32(binary.BigEndian.Uint32(head[23:])), 0)) + 1, nil
	case head[16] <= 1:
		return length, base + 1, nil
	}
	return 0, 0, errMagic
}

func (b *Batch) read(data []byte) error {
	if len(data) < batchHeader {
		b.Last = b.Base
		return errShort
	}
	b.Epoch = int32(binary.BigEndian.Uint32(data[12:]))
	b.attributes = int16(binary.BigEndian.Uint16(data[21:]))
	b.Last = b.Base + int64(max(int32(binary.BigEndian.Uint32(data[23:])), 0))
	b.first, b.max = int64(binary.BigEndian.Uint64(data[27:])), int64(binary.BigEndian.Uint64(data[35:]))
	b.Producer = int64(binary.BigEndian.Uint64(data[43:]))
	b.Count = int(int32(binary.BigEndian.Uint32(data[57:])))
	b.body = data[batchHeader:]
	if crc32.Checksum(data[12+lengthBeforeCRC:], castagnoli) != binary.BigEndian.Uint32(data[17:]) {
		return errChecksum
	}
	if b.Count < 0 || b.Base < 0 {
		return errShort
	}
	return nil
}

// readOld reads a message of the formats 0 and 1.
func (b *Batch) readOld(data []byte) error {
	b.Last, b.Epoch, b.Producer, b.Count = b.Base, -1, -1, 1
	if crc32.ChecksumIEEE(data[16:]) != binary.BigEndian.Uint32(data[12:]) {
		return errChecksum
	}
	d := decoder{b: data[17:]}
	b.attributes = int16(d.int8()) & (codecMask | brokersTime)
	if b.magic == 1 {
		b.first = d.int64()
		b.max = b.first
	}
	b.body = d.b
	return d.err
}

// Record is one message. Key, Value and Headers are views into the batch.
type Record struct {
	Offset  int64
	Time    int64  // Unix milliseconds, 0 or less for none
	Key     []byte // nil for none
	Value   []byte // nil for a tombstone
	Headers []byte // see EachHeader
}

// Unpack returns the records of the batch unpacked, in a buffer of pool that
// the caller frees; nil and no error where the batch is not compressed. limit
// bounds the memory.
func (b *Batch) Unpack(pool *Pool, limit int) (*Buffer, int, error) {
	if !b.Compressed() {
		return nil, 0, nil
	}
	body := b.body
	if b.magic < 2 {
		d := decoder{b: body}
		d.oldBytes() // the key, which is null
		body = d.oldBytes()
		if d.err != nil {
			return nil, 0, b.damaged(d.err)
		}
	}
	codec := compress.Compression(b.attributes & codecMask).Codec()
	if codec == nil {
		return nil, 0, b.damaged(errors.New("its compression is not known"))
	}
	r := codec.NewReader(&reader{body})
	defer func() { _ = r.Close() }()
	out := pool.Get(min(max(4*len(body), 4<<10), limit))
	n := 0
	for {
		m, err := r.Read(out.B[n:])
		n += m
		switch {
		case errors.Is(err, io.EOF):
			return out, n, nil
		case err != nil:
			out.Free()
			return nil, 0, b.damaged(fmt.Errorf("unpack it: %w", err))
		case n < len(out.B):
			continue
		case n >= limit:
			out.Free()
			return nil, 0, b.damaged(ErrTooLarge)
		}
		more := pool.Get(min(2*n, max(limit, n+1)))
		copy(more.B, out.B[:n])
		out.Free()
		out = more
	}
}

// reader is a bytes.Reader without what codecs look for in one.
type reader struct{ b []byte }

func (r *reader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

func (b *Batch) damaged(err error) error {
	return &DamagedError{Base: b.Base, Next: b.Last + 1, Err: err}
}

// Each calls f for every record. unpacked is what Unpack gave, nil for a batch
// that is not compressed. An error is a *DamagedError; records before it were
// given to f.
func (b *Batch) Each(unpacked []byte, f func(r *Record)) error {
	data := b.body
	if b.Compressed() {
		data = unpacked
	}
	if b.magic < 2 {
		return b.eachOld(data, f)
	}
	d := decoder{b: data}
	var r Record
	for range b.Count {
		size := d.varint()
		if size < 0 || size > int64(len(d.b)) || d.err != nil {
			return b.damaged(errShort)
		}
		e := decoder{b: d.take(int(size))}
		e.int8() // attributes, none of which are used
		r.Time = b.first + e.varint()
		r.Offset = b.Base + e.varint()
		r.Key = e.varbytes()
		r.Value = e.varbytes()
		r.Headers = e.b
		if e.err != nil || r.Offset < b.Base || r.Offset > b.Last {
			return b.damaged(errShort)
		}
		if b.attributes&brokersTime != 0 {
			r.Time = b.max
		}
		f(&r)
	}
	return nil
}

// varbytes reads bytes that may be null.
func (d *decoder) varbytes() []byte {
	n := d.varint()
	if n < 0 || d.err != nil {
		return nil
	}
	if n > int64(len(d.b)) {
		d.fail()
		return nil
	}
	return d.take(int(n))
}

// eachOld calls f for the message of an old format, or for those inside it.
func (b *Batch) eachOld(data []byte, f func(r *Record)) error {
	if !b.Compressed() {
		d := decoder{b: data}
		r := Record{Offset: b.Base, Time: b.first, Key: d.oldBytes(), Value: d.oldBytes()}
		if d.err != nil {
			return b.damaged(d.err)
		}
		f(&r)
		return nil
	}
	var inner []Batch
	for len(data) > 0 {
		m, rest, ok, err := NextBatch(data)
		if err != nil || !ok || m.magic > 1 || m.Compressed() {
			return b.damaged(errors.New("what is packed in it cannot be read"))
		}
		inner, data = append(inner, m), rest
	}
	// In format 1 the offsets inside begin at 0, and the outer one is that of the last.
	shift := int64(0)
	if n := len(inner); n > 0 && b.magic == 1 {
		shift = b.Base - inner[n-1].Base
	}
	for i := range inner {
		m := &inner[i]
		m.Base += shift
		if b.attributes&brokersTime != 0 {
			m.first = b.first
		}
		if err := m.eachOld(m.body, f); err != nil {
			return err
		}
	}
	return nil
}

// oldBytes reads bytes with a length of four bytes that may be null.
func (d *decoder) oldBytes() []byte {
	n := d.int32()
	if n < 0 || d.err != nil {
		return nil
	}
	return d.take(int(n))
}

// EachHeader calls f for the headers of a record; key and value are views. A
// value may be nil.
func EachHeader(headers []byte, f func(key, value []byte)) {
	d := decoder{b: headers}
	for n := d.varint(); n > 0 && d.err == nil; n-- {
		key, value := d.varbytes(), d.varbytes()
		if d.err == nil {
			f(key, value)
		}
	}
}

// Filter leaves out records of aborted transactions and control records. It is
// asked for the batches of one answer in their order.
type Filter struct {
	aborted []Aborted // by First
	active  map[int64]bool
}

// NewFilter takes the list of an answer.
func NewFilter(aborted []Aborted) *Filter {
	if len(aborted) == 0 {
		return &Filter{}
	}
	sorted := append([]Aborted(nil), aborted...)
	slices.SortFunc(sorted, func(x, y Aborted) int { return cmp.Compare(x.First, y.First) })
	return &Filter{aborted: sorted, active: map[int64]bool{}}
}

// Drop reports whether the batch has no records that count.
func (f *Filter) Drop(b *Batch) bool {
	if b.magic < 2 {
		return false
	}
	for len(f.aborted) > 0 && f.aborted[0].First <= b.Last {
		f.active[f.aborted[0].Producer] = true
		f.aborted = f.aborted[1:]
	}
	if b.attributes&control != 0 {
		delete(f.active, b.Producer)
		return true
	}
	return b.attributes&transactional != 0 && f.active[b.Producer]
}
