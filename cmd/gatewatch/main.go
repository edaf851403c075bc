// Command gatewatch reads access logs, finds attacks on APIs in them and
// tells people. See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() { os.Exit(mainCode()) }

// mainCode turns the process into an app: signals become a context and a
// channel, everything else is passed in.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	a := &app{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		env:      os.LookupEnv,
		hangups:  hangups,
		now:      time.Now,
		terminal: isTerminal(os.Stderr),
		hook:     failpoint(os.LookupEnv),
	}
	return a.run(ctx, os.Args[1:])
}

// hangups starts taking SIGHUP, which otherwise ends the process.
func hangups() (c <-chan os.Signal, stop func()) {
	// One is enough: a reload that begins after the second signal serves both.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	return reload, func() { signal.Stop(reload) }
}

// isTerminal reports whether f is a character device, which is near enough
// for deciding whether to draw progress.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
