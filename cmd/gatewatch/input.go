package main

import (
	"context"
	"errors"
	"fmt"

	"gatewatch/collectors"
	"gatewatch/collectors/file"
	"gatewatch/collectors/format"
	"gatewatch/config"
	"gatewatch/event"

	"github.com/spf13/cobra"
)

// input is what replay and explain have in common: finished logs and how to
// read them.
type input struct {
	files  []string
	config string
	rules  []string
	format string
}

func (in *input) flags(c *cobra.Command) {
	configFlag(c, &in.config)
	rulesFlag(c, &in.rules)
	c.Flags().StringVarP(&in.format, "format", "f", "", "`name` of the log format (default: recognised by itself)")
	complete(c, "format", append([]string{"auto"}, format.Names()...)...)
	c.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
}

// needFiles is the check of arguments of a command that reads logs.
func needFiles(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s needs a log file, or - for standard input", c.CommandPath())
	}
	return nil
}

// needLogs is needFiles for a command that reads topics as well.
func needLogs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s needs a log file, - for standard input, or kafka://broker:9092/topic", c.CommandPath())
	}
	return nil
}

// options returns how the lines are read: as the first source of the
// configuration says, or as the command line does.
func (in *input) options(c *config.Config) (format.Options, error) { return in.formatOf(&c.Sources[0]) }

// formatOf is options for a source of the configuration.
func (in *input) formatOf(s *config.Source) (format.Options, error) {
	o := s.FormatOptions()
	if in.format == "" {
		return o, nil
	}
	o.Name = in.format
	if _, err := format.New(o); err != nil {
		if near := config.Nearest(in.format, format.Names()); near != "" {
			return o, usage("--format: %w; did you mean %s?", err, near)
		}
		return o, usage("--format: %w", err)
	}
	return o, nil
}

// open returns the sources of finished logs. Rotations of one log are joined
// where join is set; else sources come in the order of the command line.
func (a *app) open(c *config.Config, o format.Options, files []string, join bool) ([]collectors.Source, error) {
	var (
		out    []collectors.Source
		paths  []string
		faults []error
	)
	opts := file.ReplayOptions{MaxLineBytes: int(c.Sources[0].MaxLine), FirstTime: firstTime(o), BlockBytes: blockBytes(len(files))}
	add := func(paths []string) {
		sources, err := file.Replay(paths, opts)
		if err != nil {
			faults = append(faults, err)
		}
		out = append(out, sources...)
	}
	stdin := false
	for _, f := range files {
		switch {
		case isTopic(f):
			return nil, usage("%s: only replay reads topics; save some messages, one a line, and give their file", f)
		case f == "-" && stdin:
			return nil, usage("- is there twice; there is only one standard input")
		case f == "-":
			stdin = true
			out = append(out, a.stdinSource(int(c.Sources[0].MaxLine)))
		case join:
			paths = append(paths, f)
		default:
			add([]string{f})
		}
	}
	if len(paths) > 0 {
		add(paths)
	}
	return out, errors.Join(faults...)
}

// blockBytes is the size of blocks where so many files are read at once: each
// has some on its way, and together they should stay within a hundred MiB or so.
func blockBytes(files int) int {
	const (
		all   = 16 << 20
		least = 16 << 10
		most  = 256 << 10
	)
	return min(max(all/max(files, 1), least), most)
}

// firstTime returns the function that tells the time of a line, which decides
// the order of rotations.
func firstTime(o format.Options) func([]byte) (int64, bool) {
	d, err := format.New(o)
	if err != nil {
		return nil // reported where the format itself is used
	}
	var ev event.Event
	return func(line []byte) (int64, bool) {
		if d.Decode(line, &ev) != nil {
			return 0, false
		}
		return ev.Time, true
	}
}

// fixed is a collector of sources that are all known.
type fixed []collectors.Source

var _ collectors.Collector = fixed(nil)

// Watch hands out all sources and returns.
func (f fixed) Watch(_ context.Context, found func(collectors.Source), settled func()) error {
	for _, s := range f {
		found(s)
	}
	settled()
	return nil
}
