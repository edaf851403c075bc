package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/segmentio/kafka-go"
)

// FetchRequest asks for the records of one partition from an offset on.
type FetchRequest struct {
	Topic     string
	ID        TopicID // zero when not known
	Partition int32
	Offset    int64
	// LeaderEpoch is what the metadata said, -1 when not known. A broker with
	// another one answers with kafka.FencedLeaderEpoch or UnknownLeaderEpoch.
	LeaderEpoch int32
	// LastEpoch is that of the last batch read, -1 before the first. A broker
	// whose log was cut since then says where it differs.
	LastEpoch int32
	MaxWait   time.Duration // how long to wait for the first record
	MaxBytes  int32         // of records; one batch comes whole even if it is longer
	Committed bool          // only records of transactions that were committed
}

// FetchResponse is what a broker answers. Records are undecoded; they and the
// response are valid until Free.
type FetchResponse struct {
	Err           error // a kafka.Error of the partition
	HighWatermark int64 // behind the last record that all replicas have
	LastStable    int64 // behind the last record that is not in an open transaction; as HighWatermark where not known
	LogStart      int64 // of the first record that is still there, -1 when not known
	// Diverged is where the log differs from what was read under LastEpoch, -1
	// where it does not.
	Diverged int64
	Aborted  []Aborted
	Records  []byte // batches, the last perhaps cut short
	// TooLarge is the number of bytes of a first batch that was passed over as
	// it is over the limit; Next is then the offset behind it.
	TooLarge int64
	Next     int64

	buf *Buffer
}

// Aborted is a transaction that was aborted: records of the producer from the
// offset on to its end are none.
type Aborted struct {
	Producer int64
	First    int64
}

// Free gives the memory back.
func (r *FetchResponse) Free() {
	if r.buf != nil {
		r.buf.Free()
	}
	r.buf, r.Records = nil, nil
}

// Take hands the memory behind Records over to the caller, who frees it.
func (r *FetchResponse) Take() *Buffer {
	b := r.buf
	r.buf = nil
	return b
}

// pendingFetch is a request that was sent.
type pendingFetch struct {
	id      int32
	version int16
	req     FetchRequest
}

// SendFetch sends a request. ReadFetch reads the answers in the order of the
// requests; one may be sent before the answer to another was read.
func (c *Conn) SendFetch(req FetchRequest) error {
	least, most := int16(4), int16(13)
	if req.ID == (TopicID{}) {
		most = 11 // later ones know topics by id or have more to say than we ask
	}
	v, err := c.version(apiFetch, least, most)
	if err != nil {
		return err
	}
	if v == 12 {
		v = 11
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(answerWithin)); err != nil {
		return c.wrap(err)
	}
	id, err := c.send(apiFetch, v, func(e *encoder) { encodeFetch(e, v, &req) })
	if err == nil {
		c.fetches = append(c.fetches, pendingFetch{id: id, version: v, req: req})
	}
	return err
}

func encodeFetch(e *encoder, v int16, r *FetchRequest) {
	e.int32(-1) // no replica
	e.int32(int32(r.MaxWait / time.Millisecond))
	e.int32(1)             // least bytes
	e.int32(math.MaxInt32) // of all partitions; there is one, which has its own limit
	e.bool(r.Committed)
	if v >= 7 {
		e.int32(0) // no session
		e.int32(-1)
	}
	e.array(1)
	if v >= 13 {
		e.id(r.ID)
	} else {
		e.string(r.Topic)
	}
	e.array(1)
	e.int32(r.Partition)
	if v >= 9 {
		e.int32(r.LeaderEpoch)
	}
	e.int64(r.Offset)
	if v >= 12 {
		e.int32(r.LastEpoch)
	}
	if v >= 5 {
		e.int64(-1) // log start of a replica
	}
	e.int32(r.MaxBytes)
	e.tags()
	e.tags()
	if v >= 7 {
		e.array(0) // nothing to forget
	}
	if v >= 11 {
		e.string("") // rack
	}
	e.tags()
}

// answerWithin is how long a broker may take beyond MaxWait.
const answerWithin = 15 * time.Second

// ReadFetch reads the answer to the oldest request. limit bounds the memory
// for its records; buffers come from pool. The deadline of ctx is not looked
// at: the request says how long it may take.
func (c *Conn) ReadFetch(ctx context.Context, pool *Pool, limit int) (*FetchResponse, error) {
	if len(c.fetches) == 0 {
		return nil, errors.New("no fetch was sent")
	}
	p := c.fetches[0]
	c.fetches = append(c.fetches[:0], c.fetches[1:]...)
	within, cancel := context.WithTimeout(ctx, p.req.MaxWait+answerWithin)
	defer cancel()
	stop, err := c.bound(within)
	if err != nil {
		return nil, err
	}
	defer stop()
	size, err := c.head(p.id, flexible(apiFetch, p.version))
	if err != nil {
		return nil, err
	}
	res, err := c.readFetch(&p, size, pool, limit)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.wrap(err)
	}
	return res, nil
}

// fixed bounds the part of an answer before its records: it grows with the
// list of aborted transactions only.
const fixed = 4 << 20

// readFetch reads the answer piece by piece, so that records which are too
// many are never held.
func (c *Conn) readFetch(p *pendingFetch, size int, pool *Pool, limit int) (*FetchResponse, error) {
	s := &stream{c: c, left: size, flexible: flexible(apiFetch, p.version)}
	v := p.version
	res := &FetchResponse{LogStart: -1, Diverged: -1}
	s.int32() // throttled for so long
	if v >= 7 {
		if code := s.int16(); code != 0 {
			res.Err = kafka.Error(code)
		}
		s.int32() // session
	}
	if s.array() != 1 || s.err != nil {
		// A topic that is not known by its id makes some brokers answer nothing else.
		return res, s.rest(res, errors.New("it answers for no topic"))
	}
	if v >= 13 {
		s.skip(16)
	} else {
		s.skip(s.length())
	}
	if s.array() != 1 || s.err != nil {
		return res, s.rest(res, errors.New("it answers for no partition"))
	}
	if got := s.int32(); got != p.req.Partition && s.err == nil {
		return res, fmt.Errorf("it answers for partition %d instead of %d", got, p.req.Partition)
	}
	if code := s.int16(); code != 0 {
		res.Err = kafka.Error(code)
	}
	res.HighWatermark = s.int64()
	res.LastStable = s.int64()
	if res.LastStable < 0 || !p.req.Committed {
		res.LastStable = res.HighWatermark
	}
	if v >= 5 {
		res.LogStart = s.int64()
	}
	for n := s.array(); n > 0 && s.err == nil; n-- {
		if size-s.left > fixed {
			return res, errors.New("its list of aborted transactions is too long")
		}
		res.Aborted = append(res.Aborted, Aborted{Producer: s.int64(), First: s.int64()})
		s.tags()
	}
	if v >= 11 {
		s.int32() // replica to read from
	}
	n := s.bytesLength()
	if s.err != nil {
		return res, s.err
	}
	if err := s.records(res, n, pool, limit); err != nil {
		res.Free()
		return res, err
	}
	if s.flexible {
		res.Diverged = s.partitionTags()
	}
	if err := s.rest(res, nil); err != nil {
		res.Free()
		return res, err
	}
	return res, nil
}

// stream reads an answer that is too long to be held whole.
type stream struct {
	c        *Conn
	left     int
	flexible bool
	small    [16]byte
	err      error
}

func (s *stream) take(n int) []byte {
	if s.err == nil && (n < 0 || n > s.left || n > len(s.small)) {
		s.err = errShort
	}
	if s.err != nil {
		clear(s.small[:])
		return s.small[:min(max(n, 0), len(s.small))]
	}
	_, s.err = io.ReadFull(s.c.r, s.small[:n])
	s.left -= n
	return s.small[:n]
}

func (s *stream) int16() int16 { return int16(binary.BigEndian.Uint16(s.take(2))) }
func (s *stream) int32() int32 { return int32(binary.BigEndian.Uint32(s.take(4))) }
func (s *stream) int64() int64 { return int64(binary.BigEndian.Uint64(s.take(8))) }

func (s *stream) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := s.take(1)[0]
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	s.err = errShort
	return 0
}

// array returns a number of elements; each has a byte at least.
func (s *stream) array() int {
	n := int64(0)
	if s.flexible {
		n = int64(min(s.uvarint(), 1<<31)) - 1
	} else {
		n = int64(s.int32())
	}
	if n > int64(s.left) && s.err == nil {
		s.err = errShort
	}
	return int(max(n, 0))
}

// length returns the length of a string.
func (s *stream) length() int {
	if s.flexible {
		return int(min(s.uvarint(), 1<<31)) - 1
	}
	return int(s.int16())
}

// bytesLength returns the length of records, 0 for none.
func (s *stream) bytesLength() int {
	n := 0
	if s.flexible {
		n = int(min(s.uvarint(), 1<<31)) - 1
	} else {
		n = int(s.int32())
	}
	if n > s.left && s.err == nil {
		s.err = errShort
	}
	return max(n, 0)
}

func (s *stream) skip(n int) {
	n = max(n, 0)
	if s.err == nil && n > s.left {
		s.err = errShort
	}
	if s.err != nil {
		return
	}
	_, s.err = io.CopyN(io.Discard, s.c.r, int64(n))
	s.left -= n
}

func (s *stream) tags() {
	if !s.flexible {
		return
	}
	for n := s.uvarint(); n > 0 && s.err == nil; n-- {
		s.uvarint()
		s.skip(int(min(s.uvarint(), 1<<31)))
	}
}

// partitionTags reads the tags behind the records and returns where the log
// differs from what was read, -1 where it does not.
func (s *stream) partitionTags() int64 {
	const diverging = 0
	at := int64(-1)
	for n := s.uvarint(); n > 0 && s.err == nil; n-- {
		tag := s.uvarint()
		size := int(min(s.uvarint(), 1<<31))
		if tag == diverging && size >= 12 && s.err == nil {
			s.int32() // epoch
			at = s.int64()
			size -= 12
		}
		s.skip(size)
	}
	return at
}

// records reads n bytes of records, or passes over the first batch where it is
// longer than the limit.
func (s *stream) records(res *FetchResponse, n int, pool *Pool, limit int) error {
	if n == 0 {
		return nil
	}
	if n <= limit {
		res.buf = pool.Get(n)
		res.Records = res.buf.B[:n]
		_, err := io.ReadFull(s.c.r, res.Records)
		s.left -= n
		return err
	}
	// The broker gives more than was asked for only where the first batch is longer
	// than that. Where it is not over the limit, what follows is asked for again.
	var head [batchHeader]byte
	if n < len(head) {
		return errShort
	}
	if _, err := io.ReadFull(s.c.r, head[:]); err != nil {
		return err
	}
	s.left -= len(head)
	length, next, err := batchEnd(head[:])
	if err != nil {
		return err
	}
	if length <= int64(limit) {
		res.buf = pool.Get(limit)
		res.Records = res.buf.B[:limit]
		m, err := io.ReadFull(s.c.r, res.Records[copy(res.Records, head[:]):])
		s.left -= m
		s.skip(n - limit)
		return errors.Join(err, s.err)
	}
	res.TooLarge, res.Next = length, next
	s.skip(n - len(head))
	return s.err
}

// rest passes over what is left of the answer. err is what is wrong with it
// unless the broker says itself what is.
func (s *stream) rest(res *FetchResponse, err error) error {
	if s.err != nil {
		return s.err
	}
	s.skip(s.left)
	if s.err != nil {
		return s.err
	}
	if res.Err != nil {
		return nil
	}
	return err
}
