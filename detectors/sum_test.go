package detectors

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func exactSum(numbers []float64) float64 {
	sum := new(big.Float).SetPrec(4096)
	for _, x := range numbers {
		sum.Add(sum, new(big.Float).SetPrec(4096).SetFloat64(x))
	}
	f, _ := sum.Float64()
	return f
}

// FuzzSum: the sum of any numbers, some of them taken away again, is the exact
// one, rounded once.
func FuzzSum(f *testing.F) {
	add := func(numbers ...float64) {
		var b []byte
		for _, x := range numbers {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		f.Add(b, uint16(len(numbers)/2))
	}
	add(1, 2, 3)
	add(0.1, 0.2, 0.3, -0.3, -0.2)
	add(1e300, 1, -1e300, 1e-300)
	add(math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64)
	add(math.MaxFloat64, math.MaxFloat64)
	add(math.SmallestNonzeroFloat64, -1, 1)
	add(1<<53, 1, 1, -1<<53)
	add(-1<<53, -1)
	add(1, math.Ldexp(1, -53), math.Ldexp(1, -105))
	f.Fuzz(func(t *testing.T, b []byte, taken uint16) {
		var numbers []float64
		for ; len(b) >= 8 && len(numbers) < 100; b = b[8:] {
			if x := math.Float64frombits(binary.LittleEndian.Uint64(b)); !math.IsNaN(x) && !math.IsInf(x, 0) {
				numbers = append(numbers, x)
			}
		}
		var e Engine
		var at uint32
		for _, x := range numbers {
			e.addTo(&at, x, false)
		}
		if got, want := e.sum(at), exactSum(numbers); got != want {
			t.Fatalf("sum of %v is %v, want %v", numbers, got, want)
		}
		n := min(int(taken), len(numbers))
		for _, x := range numbers[:n] {
			e.addTo(&at, x, true)
		}
		if got, want := e.sum(at), exactSum(numbers[n:]); got != want {
			t.Fatalf("sum of %v after taking away %v is %v, want %v", numbers[n:], numbers[:n], got, want)
		}
		e.dropSum(&at)
		if at != 0 || e.digits.live != 0 {
			t.Fatalf("%d digits are left", e.digits.live)
		}
	})
}

// TestSumSlides: numbers of every size come and go for long.
func TestSumSlides(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var e Engine
	var at uint32
	var kept []float64
	for i := range 100_000 {
		x := math.Ldexp(r.Float64()-0.3, r.IntN(200)-100)
		switch r.IntN(3) {
		case 0:
			x = float64(r.IntN(5000))
		case 1:
			x = math.Round(r.Float64()*1000) / 1000
		}
		kept = append(kept, x)
		e.addTo(&at, x, false)
		if len(kept) > 50 {
			e.addTo(&at, kept[0], true)
			kept = kept[1:]
		}
		if i%100 == 0 {
			if got, want := e.sum(at), exactSum(kept); got != want {
				t.Fatalf("after %d numbers the sum is %v, want %v", i, got, want)
			}
		}
	}
	for _, x := range kept {
		e.addTo(&at, x, true)
	}
	if at != 0 {
		t.Fatalf("of nothing %v is left", e.sum(at))
	}
}
