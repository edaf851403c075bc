package main

import "github.com/spf13/cobra"

func newRules(a *app) *cobra.Command {
	return group("rules", "The rule set", newRulesList(a), newRulesLint(a), newRulesTest(a), newRulesSchema(a))
}
