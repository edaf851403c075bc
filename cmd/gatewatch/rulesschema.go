package main

import (
	"fmt"

	"gatewatch/rules/sigma/schema"

	"github.com/spf13/cobra"
)

func newRulesSchema(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "schema [rules|tests]",
		Short: "Print a JSON Schema for editors",
		Long: "Schema prints the JSON Schema (draft 7) of rule documents, or of test files. Editors\n" +
			"that know the YAML language server complete and check rules with it:\n" +
			"  # yaml-language-server: $schema=sigma.schema.json\n" +
			"as the first line of a rule file.",
		Example: "  gatewatch rules schema > sigma.schema.json\n" +
			"  gatewatch rules schema tests > tests.schema.json",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"rules", "tests"},
		RunE: func(_ *cobra.Command, args []string) error {
			generate := schema.Rules
			if len(args) == 1 && args[0] == "tests" {
				generate = schema.Tests
			}
			text, err := generate()
			if err != nil {
				return failed(err)
			}
			if _, err := a.stdout.Write(text); err != nil {
				return failed(fmt.Errorf("write: %w", err))
			}
			return nil
		},
	}
	return c
}
