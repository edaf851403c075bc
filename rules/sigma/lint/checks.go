package lint

import (
	"cmp"
	"slices"
	"strings"
)

// Check is a kind of finding.
type Check struct {
	Name     string
	Severity Severity // the usual one; some are an error where no event is left
	About    string   // what it finds, in a few words
}

// Checks returns all checks in the order of the documentation.
func Checks() []Check {
	return []Check{
		// What the parser refuses.
		{"not-yaml", Error, "the file cannot be read as YAML"},
		{"bad-document", Error, "a document that is no detection, correlation or filter, or lacks its title"},
		{"other-logs", Error, "a log source of other logs than those of requests"},
		{"bad-key", Error, "an unknown key under `detection`, `correlation`, `filter` or `gatewatch`"},
		{"bad-value", Error, "a value of the wrong kind, such as text for a number"},
		{"unknown-field", Error, "a field that no event has, with the nearest name"},
		{"bad-modifier", Error, "an unknown modifier, or modifiers that do not go together"},
		{"bad-regex", Error, "an expression that is not RE2"},
		{"bad-condition", Error, "a condition that cannot be read"},
		{"bad-correlation", Error, "a correlation that cannot be judged"},
		{"bad-filter", Error, "a filter that cannot be read"},
		{"no-such-rule", Error, "a name that no rule has; a warning in filters"},
		{"same-id", Error, "two documents with one id or name"},
		{"not-supported", Error, "what gatewatch does not do"},
		{"too-large", Error, "a file, condition or number beyond the limits"},
		{"bad-tuning", Error, "a tuning of the configuration that cannot be applied"},
		// What can never happen.
		{"never-matches", Warning, "a value that its field never has"},
		{"hardly-matches", Warning, "a value that its field has only in odd requests"},
		{"never-true", Error, "a condition, or a part of it, that contradicts itself"},
		{"never-fires", Error, "a correlation whose condition no events can satisfy"},
		{"fires-on-anything", Warning, "a rule that holds of requests of which it asks nothing"},
		{"matches-anything", Warning, "a value that every text matches"},
		{"shadowed", Warning, "a rule that another one does the work of"},
		{"filter-without-rules", Warning, "a filter that reaches no rule"},
		{"filter-without-effect", Warning, "a filter that never excludes anything, or everything"},
		{"unused-selection", Warning, "a selection that the condition does not use"},
		{"unused-alias", Warning, "an alias that is neither in `group-by` nor in `field`"},
		// What costs.
		{"regex-without-literal", Warning, "an expression that is run on every request"},
		{"window-too-large", Warning, "a window that may not keep what it needs"},
		{"no-group-by", Info, "a correlation with one window over all requests"},
		// What can be said more simply.
		{"duplicate-value", Warning, "a value that stands twice"},
		{"contained-value", Info, "a value that another one of the list finds too"},
		{"redundant-wildcard", Info, "a wildcard at the end of a value that needs none"},
		{"redundant-modifier", Info, "a modifier that does nothing"},
		{"redundant-regex", Info, "an expression that is a plain text, or has `.*` at its ends"},
		// What people who read an incident miss.
		{"missing-id", Warning, "no `id`"},
		{"bad-id", Warning, "an `id` that is no UUID"},
		{"missing-level", Warning, "no `level`; it means `medium`"},
		{"missing-description", Info, "no `description`"},
		{"missing-tags", Info, "no `tags`"},
		{"missing-falsepositives", Info, "no `falsepositives`"},
		{"bad-tag", Warning, "a tag of an unknown namespace or form"},
		{"bad-title", Info, "a title that is too long, ends in a full stop, or says \"Detects\""},
		{"duplicate-title", Warning, "two rules with one title"},
		{"bad-status", Warning, "an unknown status, or one of rules that nobody should run"},
		{"bad-date", Info, "a date that is not `YYYY-MM-DD`, or `modified` before `date`"},
		{"unknown-key", Warning, "a key at the top that Sigma does not know"},
		{"bad-ignore", Warning, "a `lint-ignore` comment without a reason, or that ignores nothing"},
	}
}

func checkNames() []string {
	var out []string
	for _, c := range Checks() {
		out = append(out, c.Name)
	}
	return out
}

// didYouMean makes a hint of the name that is most like the given one, or
// returns otherwise.
func didYouMean(word string, names []string, otherwise string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(n)); d < least && d < len(n) {
			best, least = n, d
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean " + best + "?"
}

// distance is the number of edits between a and b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, replace)
		}
	}
	return row[len(b)]
}

// quoted lists words in quotes, the first few of them.
func quoted(words []string, most int) string {
	var out []string
	for _, w := range words[:min(len(words), most)] {
		out = append(out, quote(w))
	}
	text := strings.Join(out, ", ")
	if len(words) > most {
		text += " and others"
	}
	return text
}

// sorted returns the values in order, each once.
func sorted[T cmp.Ordered](values []T) []T {
	out := slices.Clone(values)
	slices.Sort(out)
	return slices.Compact(out)
}
