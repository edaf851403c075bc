package observation

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sample(r *rand.Rand, n int) *Batch {
	b := new(Batch)
	text := func() string { return string(make([]byte, r.IntN(5))) + "x" }
	at, offset := int64(1_700_000_000), int64(0)
	for i := range n {
		at += r.Int64N(5) - 1
		rec := Record{
			Time: at, Window: at + r.Int64N(3), Offset: offset, End: offset + 100, Line: int64(i + 1), Length: 99,
			Late: r.IntN(5) == 0, Behind: r.IntN(5) == 0, First: uint32(len(b.Obs)), Count: uint32(r.IntN(3)),
			Card: Card{Principal: text(), Account: text(), Method: "GET", Route: text(), Status: r.Int32N(600), Outcome: uint8(r.IntN(5)), Bytes: r.Int64N(1e6) - 1},
		}
		switch r.IntN(3) {
		case 0:
			rec.Card.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		case 1:
			rec.Card.Client = netip.MustParseAddr("2001:db8::1")
		}
		rec.Card.Sum()
		offset = rec.End
		for range rec.Count {
			o := Observation{Kind: uint16(r.IntN(4)), Mark: r.IntN(2) == 0, Hash: r.Uint64(), Values: b.Keep(text()), First: uint32(len(b.Hits)), Count: uint32(1 + r.IntN(3))}
			for range o.Count {
				b.Hits = append(b.Hits, Hit{Rule: r.Uint32(), N: 1 + r.Uint32N(9), Hash: r.Uint64(), Value: b.Keep(text()), Number: r.Float64()})
			}
			b.Obs = append(b.Obs, o)
		}
		b.Records = append(b.Records, rec)
	}
	return b
}

var compare = cmp.Options{cmpopts.IgnoreUnexported(Batch{}), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// TestCodec: what is encoded comes back the same, whole and in parts.
func TestCodec(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		want := sample(r, r.IntN(30))
		got := new(Batch)
		cut := r.IntN(len(want.Records) + 1)
		for _, part := range [][2]int{{0, cut}, {cut, len(want.Records)}} {
			if err := got.Decode(want.Append(nil, part[0], part[1])); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if d := cmp.Diff(want, got, compare); d != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, d)
		}
	}
}

// FuzzDecode: no message makes Decode panic, and what it accepts it can write again.
func FuzzDecode(f *testing.F) {
	for seed := range uint64(5) {
		b := sample(rand.New(rand.NewPCG(seed, 2)), 4)
		f.Add(b.Append(nil, 0, len(b.Records)))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		first := new(Batch)
		if first.Decode(message) != nil {
			return
		}
		second := new(Batch)
		if err := second.Decode(first.Append(nil, 0, len(first.Records))); err != nil {
			t.Fatalf("not read again: %v", err)
		}
		if d := cmp.Diff(first, second, compare, cmpopts.EquateNaNs()); d != "" {
			t.Fatal(d)
		}
	})
}
