package wire

import (
	"encoding/binary"
	"errors"
)

// errShort says that an answer ends before it should.
var errShort = errors.New("the broker's answer is cut short")

// encoder writes the fields of a request. In flexible versions of a request
// strings and arrays have short lengths, and structures end with tags.
type encoder struct {
	b        []byte
	flexible bool
}

func (e *encoder) int8(v int8)   { e.b = append(e.b, byte(v)) }
func (e *encoder) int16(v int16) { e.b = binary.BigEndian.AppendUint16(e.b, uint16(v)) }
func (e *encoder) int32(v int32) { e.b = binary.BigEndian.AppendUint32(e.b, uint32(v)) }
func (e *encoder) int64(v int64) { e.b = binary.BigEndian.AppendUint64(e.b, uint64(v)) }

func (e *encoder) bool(v bool) {
	if v {
		e.int8(1)
	} else {
		e.int8(0)
	}
}

// array begins an array of n elements; -1 is a null one.
func (e *encoder) array(n int) {
	if e.flexible {
		e.b = binary.AppendUvarint(e.b, uint64(n+1))
	} else {
		e.int32(int32(n))
	}
}

func (e *encoder) string(s string) {
	if e.flexible {
		e.b = binary.AppendUvarint(e.b, uint64(len(s)+1))
	} else {
		e.int16(int16(len(s)))
	}
	e.b = append(e.b, s...)
}

func (e *encoder) id(v TopicID) { e.b = append(e.b, v[:]...) }

// tags ends a structure.
func (e *encoder) tags() {
	if e.flexible {
		e.b = append(e.b, 0)
	}
}

// decoder reads the fields of an answer. After the first fault everything
// reads as zero and err is set.
type decoder struct {
	b        []byte
	flexible bool
	err      error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errShort
	}
	d.b = nil
}

func (d *decoder) int8() int8 {
	if v := d.take(1); v != nil {
		return int8(v[0])
	}
	return 0
}

func (d *decoder) int16() int16 {
	if v := d.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if v := d.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if v := d.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (d *decoder) id() (v TopicID) {
	copy(v[:], d.take(len(v)))
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.err != nil || n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.err != nil || n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// array returns the number of elements of an array, 0 for a null one. It is
// never more than there are bytes left, so a loop over it is bounded.
func (d *decoder) array() int {
	var n int
	if d.flexible {
		n = int(d.uvarint()&(1<<62-1)) - 1
	} else {
		n = int(d.int32())
	}
	if n > len(d.b) {
		d.fail()
		return 0
	}
	return max(n, 0)
}

// string reads a string that may be null.
func (d *decoder) string() string {
	var n int
	if d.flexible {
		n = int(d.uvarint()&(1<<62-1)) - 1
	} else {
		n = int(d.int16())
	}
	if n <= 0 {
		return ""
	}
	return string(d.take(n))
}

// tags skips the tags that end a structure.
func (d *decoder) tags() {
	if !d.flexible {
		return
	}
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		d.uvarint()
		size := d.uvarint()
		if size > uint64(len(d.b)) {
			d.fail()
			return
		}
		d.take(int(size))
	}
}
