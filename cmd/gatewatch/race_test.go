//go:build race

package main

// raceEnabled says that the test, and not the program that it starts, is slowed down.
const raceEnabled = true
