package alerting

import (
	"math"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// sketchBits gives 2,048 registers: 2.3 % standard error in 2 KiB.
const sketchBits = 11

// maxEstimate bounds what a sketch says.
const maxEstimate = 1 << 40

// sketch estimates how many distinct values it was shown (HyperLogLog). It
// does not depend on the order of the values.
type sketch struct {
	registers [1 << sketchBits]uint8
}

func (s *sketch) add(value string) {
	h := xxhash.Sum64String(value)
	i := h >> (64 - sketchBits)
	// The guard bit bounds the run of zeros in what is left of the hash.
	rank := uint8(bits.LeadingZeros64(h<<sketchBits|1<<(sketchBits-1))) + 1
	s.registers[i] = max(s.registers[i], rank)
}

func (s *sketch) estimate() int64 {
	const m = 1 << sketchBits
	var sum float64
	empty := 0
	for _, r := range s.registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	alpha := 0.7213 / (1 + 1.079/float64(m))
	e := alpha * m * m / sum
	if e <= 2.5*m && empty > 0 {
		// Few values: counting empty registers is nearer to the truth.
		e = m * math.Log(float64(m)/float64(empty))
	}
	// Values whose hashes were chosen can ask for more than there is in the world.
	return int64(min(e+0.5, maxEstimate))
}
