package observation

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
)

// codecVersion begins every encoded batch.
const codecVersion = 2

var errCodec = errors.New("encoded observations are damaged")

// Append encodes records [from, to) of the batch with their observations. What
// comes out stands for itself: across machines it is a message of the exchange.
//
//	message := version base record*
//	record  := time window offset end line length flags card observation*
//
// Times and offsets are differences to those of the record before.
func (b *Batch) Append(dst []byte, from, to int) []byte {
	dst = append(dst, codecVersion)
	dst = binary.AppendUvarint(dst, uint64(to-from))
	var last Record
	for i := from; i < to; i++ {
		r := &b.Records[i]
		dst = binary.AppendVarint(dst, r.Time-last.Time)
		dst = binary.AppendVarint(dst, r.Window-last.Window)
		dst = binary.AppendVarint(dst, r.Offset-last.Offset)
		dst = binary.AppendVarint(dst, r.End-r.Offset)
		dst = binary.AppendVarint(dst, r.Line-last.Line)
		dst = binary.AppendUvarint(dst, uint64(r.Length))
		dst = append(dst, bits(r.Late, r.Behind))
		dst = appendCard(dst, &r.Card)
		dst = binary.AppendUvarint(dst, uint64(r.Count))
		obs := b.Of(r)
		for j := range obs {
			dst = b.appendObservation(dst, &obs[j])
		}
		last = *r
	}
	return dst
}

func bits(late, behind bool) (f byte) {
	if late {
		f |= 1
	}
	if behind {
		f |= 2
	}
	return f
}

// appendCard writes the card of an event.
func appendCard(dst []byte, c *Card) []byte {
	a, _ := c.Client.MarshalBinary() // its error is always nil
	dst = AppendText(dst, string(a))
	dst = AppendText(dst, c.Principal)
	dst = AppendText(dst, c.Account)
	dst = AppendText(dst, c.Method)
	dst = AppendText(dst, c.Route)
	dst = binary.AppendVarint(dst, int64(c.Status))
	dst = append(dst, c.Outcome)
	return binary.AppendVarint(dst, c.Bytes)
}

func (b *Batch) appendObservation(dst []byte, o *Observation) []byte {
	kind := uint64(o.Kind) << 1
	if o.Mark {
		kind |= 1
	}
	dst = binary.AppendUvarint(dst, kind)
	dst = binary.LittleEndian.AppendUint64(dst, o.Hash)
	dst = AppendText(dst, o.Values)
	dst = binary.AppendUvarint(dst, uint64(o.Count))
	for _, h := range b.HitsOf(o) {
		dst = binary.AppendUvarint(dst, uint64(h.Rule))
		dst = binary.AppendUvarint(dst, uint64(h.N))
		dst = binary.LittleEndian.AppendUint64(dst, h.Hash)
		dst = AppendText(dst, h.Value)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(h.Number))
		dst = binary.AppendUvarint(dst, h.Steps)
	}
	return dst
}

// Decode adds the records of an encoded message to the batch. Texts are copied
// into it. After an error the batch is of no use until its Reset.
func (b *Batch) Decode(message []byte) error {
	r := decoder{b: message}
	if r.byte() != codecVersion {
		return errCodec
	}
	var last Record
	for range r.count(10) {
		rec := Record{
			Time: last.Time + r.varint(), Window: last.Window + r.varint(), Offset: last.Offset + r.varint(),
		}
		rec.End = rec.Offset + r.varint()
		rec.Line = last.Line + r.varint()
		rec.Length = r.uint32()
		flags := r.byte()
		rec.Late, rec.Behind = flags&1 != 0, flags&2 != 0
		r.card(b, &rec.Card)
		rec.First = uint32(len(b.Obs))
		rec.Count = uint32(r.count(11))
		for range rec.Count {
			r.observation(b)
		}
		if r.bad || flags > 3 {
			return errCodec
		}
		b.Records = append(b.Records, rec)
		last = rec
	}
	if r.bad || len(r.b) > 0 {
		return errCodec
	}
	return nil
}

// decoder reads a message; bad is set once by any damage.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.fail()
		return 0
	}
	return uint32(v)
}

func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

// count reads a number of things of at least size bytes each.
func (d *decoder) count(size int) uint64 {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) card(b *Batch, c *Card) {
	if c.Client.UnmarshalBinary(d.bytes()) != nil {
		c.Client = netip.Addr{}
		d.fail()
	}
	c.Principal, c.Account = b.KeepBytes(d.bytes()), b.KeepBytes(d.bytes())
	c.Method, c.Route = b.KeepBytes(d.bytes()), b.KeepBytes(d.bytes())
	status := d.varint()
	if status != int64(int32(status)) {
		d.fail()
	}
	c.Status, c.Outcome, c.Bytes = int32(status), d.byte(), d.varint()
	c.Sum()
}

func (d *decoder) observation(b *Batch) {
	kind := d.uvarint()
	if kind>>1 > math.MaxUint16 {
		d.fail()
	}
	o := Observation{Kind: uint16(kind >> 1), Mark: kind&1 != 0, Hash: d.uint64(), Values: b.KeepBytes(d.bytes()), First: uint32(len(b.Hits))}
	o.Count = uint32(d.count(19))
	for range o.Count {
		b.Hits = append(b.Hits, Hit{Rule: d.uint32(), N: d.uint32(), Hash: d.uint64(), Value: b.KeepBytes(d.bytes()), Number: math.Float64frombits(d.uint64()), Steps: d.uvarint()})
	}
	b.Obs = append(b.Obs, o)
}
