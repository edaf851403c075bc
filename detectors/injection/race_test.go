//go:build race

package injection

// raceEnabled says that what is measured is measured without the detector, which
// allocates by itself and takes its time.
const raceEnabled = true
