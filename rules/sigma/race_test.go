//go:build race

package sigma

// raceEnabled: under the race detector sync.Pool, which regexp uses, drops
// what it is given at random.
const raceEnabled = true
