package kafka

import (
	"errors"
	"sync"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/kafka/wire"
)

// maxBlockMessages bounds the messages of a block where they are small.
const maxBlockMessages = 4096

// block is a block with the memory behind it, which others may share.
type block struct {
	collectors.Block
	pool     *blockPool
	messages []collectors.Message
	headers  []collectors.Header
	held     []*wire.Buffer
	bytes    int
	out      bool
}

// blockPool keeps blocks for reuse. It is safe for concurrent use.
type blockPool struct{ free sync.Pool }

func (p *blockPool) get() *block {
	b, _ := p.free.Get().(*block)
	if b == nil {
		b = &block{pool: p}
		b.Release = b.release
	}
	b.out = true
	return b
}

func (b *block) release() {
	if !b.out {
		return
	}
	b.out = false
	for i, h := range b.held {
		h.Free()
		b.held[i] = nil
	}
	clear(b.messages)
	clear(b.headers)
	b.messages, b.headers, b.held, b.bytes = b.messages[:0], b.headers[:0], b.held[:0], 0
	b.Block = collectors.Block{Release: b.Release}
	b.pool.free.Put(b)
}

// hold makes the block keep a buffer alive.
func (b *block) hold(buf *wire.Buffer) {
	if n := len(b.held); n > 0 && b.held[n-1] == buf {
		return
	}
	buf.Hold()
	b.held = append(b.held, buf)
}

// records emits the records of an answer. The next ones are asked for before
// these are emitted, so that the broker works meanwhile.
func (r *reader) records(w *wire.Conn, at place, res *wire.FetchResponse, now time.Time) error {
	buf := res.Take()
	defer buf.Free()
	next, epoch, ok := wire.Span(res.Records)
	ahead := ok && next > r.next
	if ahead {
		if epoch == none {
			epoch = r.epoch
		}
		if err := r.ask(w, at, next, epoch); err != nil {
			return err
		}
	}
	err := r.batches(res, buf)
	if damaged, ok := errors.AsType[*wire.DamagedError](err); ok {
		return r.damaged(damaged)
	}
	if err != nil {
		return err
	}
	r.moved = true
	if err := r.caughtUp(res, now); err != nil {
		return err
	}
	if !ahead {
		return r.ask(w, at, r.next, r.epoch)
	}
	return nil
}

// damaged decides about a batch that cannot be read: it is fetched again some
// times, as it may be the way here that damages it, then passed over.
func (r *reader) damaged(e *wire.DamagedError) error {
	if r.damage.base != e.Base {
		r.damage = damage{base: e.Base}
	}
	r.damage.tries++
	tooLarge := errors.Is(e, wire.ErrTooLarge)
	if r.damage.tries < damageTries && !tooLarge {
		return e
	}
	why := SkippedDamaged
	if tooLarge {
		why = SkippedTooLarge
	}
	next := max(e.Next, r.next+1)
	r.count(why)
	r.voice.warn("a batch cannot be read and is passed over", "offset", r.next, "next", next, "error", e)
	r.skip(why, next-r.next)
	r.reject(r.next, why, nil)
	r.moved = true
	if err := r.passOver(next); err != nil {
		return err
	}
	return e // a fetch from another offset may be under way: begin anew
}

// batches emits the messages in an answer, in blocks.
func (r *reader) batches(res *wire.FetchResponse, buf *wire.Buffer) error {
	filter := wire.NewFilter(res.Aborted) // empty for who reads what is not committed
	b := r.blocks.get()
	defer func() { b.release() }() // the last one, which was not emitted
	for data := res.Records; ; {
		batch, rest, ok, err := wire.NextBatch(data)
		if err != nil {
			return r.flushBefore(&b, err)
		}
		if !ok {
			break
		}
		data = rest
		if batch.Last < r.next {
			continue
		}
		if batch.Epoch != r.epoch && batch.Epoch != none {
			r.epoch, r.origin = batch.Epoch, nil
		}
		if !filter.Drop(&batch) {
			if err := r.batch(&b, &batch, buf); err != nil {
				return err
			}
		}
		if r.until != none && r.next >= r.until {
			break
		}
		r.pass(b, batch.Last+1)
	}
	return r.flush(&b)
}

// pass says that b ends at an offset.
func (r *reader) pass(b *block, next int64) {
	if next > r.next {
		r.next = next
	}
	b.End = collectors.LogicalOffset(r.next)
}

// batch adds the records of one batch, and emits blocks as they become full.
func (r *reader) batch(b **block, batch *wire.Batch, buf *wire.Buffer) error {
	unpacked, n, err := batch.Unpack(&r.pool, r.o.MaxBatch)
	if err != nil {
		return r.flushBefore(b, err)
	}
	var data []byte
	if unpacked != nil {
		defer unpacked.Free()
		data, buf = unpacked.B[:n], unpacked
	}
	var failed error
	err = batch.Each(data, func(rec *wire.Record) {
		if rec.Offset < r.next || failed != nil || r.until != none && r.next >= r.until {
			return
		}
		if r.until != none && rec.Offset >= r.until {
			r.pass(*b, r.until)
			return
		}
		r.add(*b, rec, buf)
		r.pass(*b, rec.Offset+1)
		if (*b).bytes >= r.o.BlockBytes || len((*b).messages) >= maxBlockMessages {
			failed = r.flush(b)
		}
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return r.flushBefore(b, err)
	}
	return nil
}

// flushBefore emits what was read before a fault, and returns the fault.
func (r *reader) flushBefore(b **block, fault error) error {
	if err := r.flush(b); err != nil {
		return err
	}
	return fault
}

func (r *reader) add(b *block, rec *wire.Record, buf *wire.Buffer) {
	switch {
	case rec.Value == nil:
		r.skip(SkippedTombstone, 1)
		return
	case len(rec.Value) > r.o.MaxMessage:
		r.skip(SkippedTooLarge, 1)
		r.reject(rec.Offset, SkippedTooLarge, rec)
		return
	}
	m := collectors.Message{Offset: rec.Offset, Key: rec.Key, Value: rec.Value}
	if rec.Time > 0 {
		m.Time = rec.Time * int64(time.Millisecond)
	}
	if len(r.wanted) > 0 {
		from := len(b.headers)
		wire.EachHeader(rec.Headers, func(key, value []byte) {
			if r.wanted[string(key)] {
				b.headers = append(b.headers, collectors.Header{Key: key, Value: value})
			}
		})
		if len(b.headers) > from {
			m.Headers = b.headers[from:len(b.headers):len(b.headers)]
		}
	}
	b.hold(buf)
	b.messages = append(b.messages, m)
	b.bytes += len(rec.Value)
}

// flush emits b, if it moves the position, and takes a new one.
func (r *reader) flush(b **block) error {
	x := *b
	if x.End <= r.at && len(x.messages) == 0 {
		return nil
	}
	x.Messages, x.Offset, x.Origin, x.Gap = x.messages, r.at, r.place(), false
	end := x.End
	*b = r.blocks.get()
	if err := r.send(collectors.Item{Block: &x.Block}); err != nil {
		x.release()
		return err
	}
	r.at = end
	return nil
}
