package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"gatewatch/config"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is what the process gives to the commands.
type app struct {
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
	env      config.Env
	hangups  func() (c <-chan os.Signal, stop func())
	now      func() time.Time
	terminal bool               // stderr is one
	hook     func(point string) // nil but in builds for crash tests
}

// run runs the command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return report(a.stderr, cmd.CommandPath(), err)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "gatewatch",
		Short: "Find attacks on APIs in access logs",
		Long: "gatewatch reads the access logs that gateways write, finds credential stuffing,\n" +
			"enumeration, floods and injection in them, and tells people.",
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 3,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newRun(a),
		newReplay(a),
		newExplain(a),
		newLearn(a),
		newCheck(a),
		newRules(a),
		newStatus(a),
		newIncidents(a),
		newSilences(a),
		newAlert(a),
		newVersion(a),
	)
	return root
}

// group makes a command that only has subcommands, and says so when it is
// called without one.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			var names []string
			for _, s := range subs {
				names = append(names, s.Name())
			}
			if len(args) == 0 {
				return fmt.Errorf("%s needs a subcommand: %s", c.CommandPath(), strings.Join(names, " or "))
			}
			if near := config.Nearest(args[0], names); near != "" {
				return fmt.Errorf("%s has no subcommand %q; did you mean %s?", c.CommandPath(), args[0], near)
			}
			return fmt.Errorf("%s has no subcommand %q; it has %s", c.CommandPath(), args[0], strings.Join(names, " and "))
		},
	}
	c.AddCommand(subs...)
	return c
}

// flagError adds the nearest flag to the error of an unknown one.
func flagError(c *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(name, names); near != "" {
		return fmt.Errorf("unknown flag: --%s; did you mean --%s?", name, near)
	}
	return err
}

// configFlag adds --config.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", "", "configuration `file` (default "+config.DefaultPath+" where there is one)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that does not exist
}
