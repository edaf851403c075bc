//go:build failpoint

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"gatewatch/config"
)

// failpoint returns a hook that kills the process with SIGKILL, as a crash
// test asks for: GATEWATCH_FAILPOINT is "name:n" for the n-th time that the
// named point is reached, and the name is appended to the file in
// GATEWATCH_FAILPOINT_LOG before.
func failpoint(env config.Env) func(string) {
	setting, _ := env("GATEWATCH_FAILPOINT")
	name, number, ok := strings.Cut(setting, ":")
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 {
		panic("GATEWATCH_FAILPOINT has to be name:n with n of 1 or more")
	}
	logFile, _ := env("GATEWATCH_FAILPOINT_LOG")
	var hits atomic.Int64
	return func(point string) {
		if point != name || hits.Add(1) != n {
			return
		}
		if logFile != "" {
			f, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				panic(err)
			}
			if _, err := f.WriteString(name + "\n"); err != nil {
				panic(err)
			}
			_ = f.Close()
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal ends the process; do nothing more until it does
	}
}
