package detectors

// sketch remembers entities that probation dropped, for about one to two
// times sketchAdds drops, as two Bloom filters of which the older is thrown
// away when the younger is full. It may say yes to an entity that was never
// there (about 5 % when full), which only spares that entity its probation.
type sketch struct {
	young, old []uint64
	adds       uint32
}

const (
	sketchBits = 1 << 15
	sketchAdds = 4096
)

func (s *sketch) add(hash uint64) {
	if s.young == nil {
		s.young = make([]uint64, sketchBits/64)
		s.old = make([]uint64, sketchBits/64)
	}
	if s.adds == sketchAdds {
		s.young, s.old = s.old, s.young
		clear(s.young)
		s.adds = 0
	}
	s.adds++
	a, b := sketchPlaces(hash)
	s.young[a>>6] |= 1 << (a & 63)
	s.young[b>>6] |= 1 << (b & 63)
}

func (s *sketch) has(hash uint64) bool {
	if s.young == nil {
		return false
	}
	a, b := sketchPlaces(hash)
	both := func(f []uint64) bool { return f[a>>6]&(1<<(a&63)) != 0 && f[b>>6]&(1<<(b&63)) != 0 }
	return both(s.young) || both(s.old)
}

// sketchPlaces uses the low bits: the top byte chose the slot.
func sketchPlaces(hash uint64) (a, b uint64) {
	return hash % sketchBits, hash >> 20 % sketchBits
}
