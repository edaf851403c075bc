package main

import (
	"gatewatch/collectors/stdin"
)

// stdinSource returns standard input as a source.
func (a *app) stdinSource(maxLine int) *stdin.Collector {
	return stdin.New(a.stdin, stdin.Options{MaxLineBytes: maxLine, Now: a.now})
}
