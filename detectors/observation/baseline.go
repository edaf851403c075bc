package observation

import "slices"

// Baseline is the condition of a RateAnomaly: how far from what was learned a
// bucket, or three in a row, have to be. Bounds that are 0 always hold.
type Baseline struct {
	Up, Down bool    // whether more, or less, than expected is looked for
	Factor   float64 // least quotient of what is seen and what is expected; down: of what is expected and what is seen
	Score    float64 // least distance in standard deviations
	Least    float64 // what has to be seen, or for Down expected, at least
	Seasonal bool    // learns each hour of the week; else one rate
	Spread   Spread
}

// Spread says of whom a RateAnomaly has to be.
type Spread uint8

// What is above the expectation comes from anybody, from few clients that stand
// out by how much they send, or evenly from all.
const (
	SpreadAny Spread = iota
	SpreadFew
	SpreadEven
)

var spreadNames = [...]string{"any", "few", "even"}

// String returns the word for s in rules.
func (s Spread) String() string { return spreadNames[s] }

// MaxMembers bounds the clients that the window of a RateAnomaly keeps apart:
// the latest.
const MaxMembers = 1024

// Crowd reports whether entities of the kind are populations: grouped by
// nothing that names a client, a principal or an account.
func (k *Kind) Crowd() bool {
	return !slices.ContainsFunc(k.Fields, func(f string) bool {
		return f == "client.address" || f == "principal" || f == "auth.account"
	})
}
