//go:build !failpoint

package main

import "gatewatch/config"

// failpoint returns nil: only binaries built with the tag failpoint can be
// told to die.
func failpoint(config.Env) func(string) { return nil }
