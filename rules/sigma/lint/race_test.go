//go:build race

package lint

// raceEnabled says that tests of one goroutine do less: the detector slows them down and has nothing to find.
const raceEnabled = true
