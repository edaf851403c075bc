package observation

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Kind is a group-by list. All rules with the same list share its entities.
type Kind struct {
	Fields  []string // event field names in the order that the rule set fixed
	Address []bool   // per field: values are addresses, encoded by AppendAddr
	seed    uint64
}

// NewKind returns the kind of a group-by list. address tells which fields
// hold addresses.
func NewKind(fields []string, address []bool) Kind {
	return Kind{Fields: fields, Address: address, seed: xxhash.Sum64String(strings.Join(fields, "\x00"))}
}

// Hash returns the hash of an entity of this kind. It depends on the field
// names and values only, never on the place of the kind in a plan.
func (k *Kind) Hash(values []byte) uint64 {
	h := (xxhash.Sum64(values) ^ k.seed) * 0x9E3779B97F4A7C15
	return h ^ h>>29
}

// AppendText appends a text value to an entity's encoded values.
func AppendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// AppendAddr appends an address: 4 bytes for IPv4, for IPv6 the 8 bytes of
// its /64, or all 16 where whole is set.
func AppendAddr(dst []byte, a netip.Addr, whole bool) []byte {
	if a.Is4() {
		v := a.As4()
		dst = append(dst, 4)
		return append(dst, v[:]...)
	}
	v := a.As16()
	if whole {
		dst = append(dst, 16)
		return append(dst, v[:]...)
	}
	dst = append(dst, 8)
	return append(dst, v[:8]...)
}

// Values decodes an entity's values for people: addresses in their usual
// form, a /64 as a prefix. It returns nil when the encoding is damaged.
func (k *Kind) Values(encoded string) []string {
	out := make([]string, 0, len(k.Fields))
	b := []byte(encoded)
	for i := range k.Fields {
		n, w := binary.Uvarint(b)
		if w <= 0 || uint64(len(b)-w) < n {
			return nil
		}
		v := b[w : w+int(n)]
		b = b[w+int(n):]
		if !k.Address[i] {
			out = append(out, string(v))
			continue
		}
		text, ok := formatAddr(v)
		if !ok {
			return nil
		}
		out = append(out, text)
	}
	if len(b) != 0 {
		return nil
	}
	return out
}

// Field returns the encoded value of the field with the given index, a part
// of encoded.
func (k *Kind) Field(encoded string, index int) (string, bool) {
	for i := 0; ; i++ {
		n, w := uvarint(encoded)
		if w <= 0 || uint64(len(encoded)-w) < n {
			return "", false
		}
		if i == index {
			return encoded[w : w+int(n)], true
		}
		encoded = encoded[w+int(n):]
	}
}

// uvarint is binary.Uvarint for a string: it copies nothing.
func uvarint(s string) (n uint64, width int) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		c := s[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				return 0, -1
			}
			return n | uint64(c)<<(7*i), i + 1
		}
		n |= uint64(c&0x7f) << (7 * i)
	}
	return 0, 0
}

func formatAddr(v []byte) (string, bool) {
	switch len(v) {
	case 4:
		return netip.AddrFrom4([4]byte(v)).String(), true
	case 8:
		var a [16]byte
		copy(a[:], v)
		return netip.PrefixFrom(netip.AddrFrom16(a), 64).String(), true
	case 16:
		return netip.AddrFrom16([16]byte(v)).String(), true
	default:
		return "", false
	}
}
