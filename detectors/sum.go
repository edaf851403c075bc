package detectors

import (
	"math"
	"math/bits"
)

// A sum is kept exactly: as the sum of whole multiples of powers of 2 to the
// 32. Adding a number and taking it away again leaves nothing behind, so a
// window that has slid for weeks has the sum of what it holds, rounded once,
// and so has one that was read back from disk.

// digit is the part of a sum that counts 2 to the power of 32*(place-sumOrigin).
// Of at most MaxKept numbers it never overflows. The digits of a sum are a
// list by place, lowest first, without zeros: for numbers of one size, of
// logs, one to three.
type digit struct {
	next  uint32
	place uint32
	value int64
}

const (
	digitBits = 32
	digitMask = 1<<digitBits - 1
	// sumOrigin is the place of the digit that counts ones.
	sumOrigin = 34
	// sumPlaces is more than the places of all finite numbers and their sums.
	sumPlaces = 69
)

// addTo adds a finite number to the sum with its first digit at *at, or takes it away.
func (e *Engine) addTo(at *uint32, number float64, less bool) {
	f := math.Float64bits(number)
	mantissa, exponent := f&(1<<52-1), int(f>>52&0x7ff)
	if exponent > 0 {
		mantissa |= 1 << 52
	} else {
		exponent = 1
	}
	if mantissa == 0 {
		return
	}
	position := exponent - 1075 + sumOrigin*digitBits
	hi, lo := bits.Mul64(mantissa, 1<<(position%digitBits))
	place := uint32(position / digitBits)
	negative := f>>63 != 0 != less
	for _, part := range [...]uint64{lo & digitMask, lo >> digitBits, hi} {
		if part != 0 {
			value := int64(part)
			if negative {
				value = -value
			}
			at = e.addDigit(at, place, value)
		}
		place++
	}
}

// addDigit adds to one digit and returns where the search for a higher one may begin.
func (e *Engine) addDigit(at *uint32, place uint32, value int64) *uint32 {
	for *at != 0 && e.digits.at(*at).place < place {
		at = &e.digits.at(*at).next
	}
	if *at == 0 || e.digits.at(*at).place != place {
		id := e.digits.alloc()
		*e.digits.at(id) = digit{next: *at, place: place, value: value}
		*at = id
		return at
	}
	d := e.digits.at(*at)
	if d.value += value; d.value != 0 {
		return at
	}
	id := *at
	*at = d.next
	e.digits.release(id)
	return at
}

// dropSum forgets a sum.
func (e *Engine) dropSum(at *uint32) {
	for *at != 0 {
		next := e.digits.at(*at).next
		e.digits.release(*at)
		*at = next
	}
}

// sum returns the float next to the sum, of two as near the even one.
func (e *Engine) sum(first uint32) float64 {
	if first == 0 {
		return 0
	}
	low := e.digits.at(first)
	if low.next == 0 {
		return math.Ldexp(float64(low.value), digitBits*(int(low.place)-sumOrigin))
	}
	var digits [sumPlaces + 2]int64
	n := 0
	for id := first; id != 0; {
		d := e.digits.at(id)
		n = int(d.place - low.place)
		digits[n] = d.value
		id = d.next
	}
	n++
	sign := 1.0
	carry := carryOver(digits[:n])
	if carry < 0 {
		// All digits as positive ones of the opposite sum.
		n = 0
		for id := first; id != 0; {
			d := e.digits.at(id)
			for ; n < int(d.place-low.place); n++ {
				digits[n] = 0
			}
			digits[n] = -d.value
			n++
			id = d.next
		}
		sign, carry = -1, carryOver(digits[:n])
	}
	digits[n], digits[n+1] = carry&digitMask, carry>>digitBits
	top := n + 1
	for top > 0 && digits[top] == 0 {
		top--
	}
	return sign * math.Ldexp(float64(leading(digits[:top+1])), digitBits*(int(low.place)+top-1-sumOrigin)-bits.LeadingZeros32(uint32(digits[top])))
}

// carryOver brings digits into 0 to digitMask and returns what goes beyond
// them, which is negative when the whole is.
func carryOver(digits []int64) (carry int64) {
	for i, d := range digits {
		d += carry
		digits[i], carry = d&digitMask, d>>digitBits
	}
	return carry
}

// leading returns the highest 64 bits of digits, of which the last is not
// zero; the lowest of them is also set for all that lies below, which is
// enough to round by.
func leading(digits []int64) uint64 {
	top := len(digits) - 1
	shift := bits.LeadingZeros32(uint32(digits[top]))
	m := uint64(digits[top]) << digitBits
	rest := uint64(0)
	if top >= 1 {
		m |= uint64(digits[top-1])
	}
	if top >= 2 {
		rest = uint64(digits[top-2])
	}
	m = m<<shift | rest>>(digitBits-shift)
	sticky := rest << shift & digitMask
	for i := 0; i < top-2; i++ {
		sticky |= uint64(digits[i])
	}
	if sticky != 0 {
		m |= 1
	}
	return m
}
