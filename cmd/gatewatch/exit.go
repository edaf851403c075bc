package main

import (
	"errors"
	"fmt"
	"io"

	"gatewatch/config"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
	exitFound  = 3 // incidents at the level of --fail-on
)

// exitError is an error that knows its exit code. Errors of any other kind
// come from cobra and mean wrong usage.
type exitError struct {
	code int
	err  error
	hint string // a second line; may be empty
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage is an error about how the command was called.
func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// failed wraps an error of the work itself. Mistakes in the configuration keep
// their own code.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*exitError](err); known {
		return err
	}
	if _, mistakes := errors.AsType[config.Problems](err); mistakes {
		return &exitError{code: exitUsage, err: err}
	}
	return &exitError{code: exitFailed, err: err}
}

// silent ends with a code and prints nothing more.
func silent(code int) error { return &exitError{code: code} }

// report prints err for people and returns the exit code.
func report(w io.Writer, command string, err error) int {
	if err == nil {
		return exitOK
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		e = &exitError{code: exitUsage, err: err, hint: fmt.Sprintf("run '%s --help' for its usage", command)}
	}
	if e.err == nil {
		return e.code
	}
	if problems, ok := errors.AsType[config.Problems](e.err); ok {
		for _, p := range problems {
			_, _ = fmt.Fprintln(w, escape(p.String()))
		}
		if e.hint != "" {
			_, _ = fmt.Fprintln(w, e.hint)
		}
		return e.code
	}
	_, _ = fmt.Fprintf(w, "gatewatch: %s\n", escapeLines(e.err.Error()))
	if e.hint != "" {
		_, _ = fmt.Fprintln(w, e.hint)
	}
	return e.code
}
