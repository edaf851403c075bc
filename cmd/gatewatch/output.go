package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gatewatch/detectors/observation"

	"github.com/spf13/cobra"
)

// outputFormat is the value of -o.
type outputFormat string

const (
	formatTable outputFormat = "table"
	formatJSONL outputFormat = "jsonl"
	formatHTML  outputFormat = "html" // of replay
)

// String, Set and Type make outputFormat a flag value.
func (f *outputFormat) String() string { return string(*f) }

// Set reads the value.
func (f *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case formatTable, formatJSONL:
		*f = outputFormat(s)
		return nil
	}
	return fmt.Errorf("write table or jsonl")
}

// Type is shown in the usage.
func (f *outputFormat) Type() string { return "format" }

// reportFormat is the value of -o of a command that can also write a page.
type reportFormat struct{ *outputFormat }

// Set reads the value.
func (f reportFormat) Set(s string) error {
	if outputFormat(s) == formatHTML {
		*f.outputFormat = formatHTML
		return nil
	}
	if f.outputFormat.Set(s) != nil {
		return fmt.Errorf("write table, jsonl or html")
	}
	return nil
}

func reportFlag(c *cobra.Command, f *outputFormat) {
	*f = formatTable
	c.Flags().VarP(reportFormat{f}, "output", "o", "table for people, jsonl for programs, or html for a report to keep and to pass on")
	complete(c, "output", "table", "jsonl", "html")
}

func outputFlag(c *cobra.Command, f *outputFormat) {
	*f = formatTable
	c.Flags().VarP(f, "output", "o", "table for people or jsonl for programs")
	complete(c, "output", "table", "jsonl")
}

// level is a flag value that may be unset.
type level struct {
	value observation.Level
	set   bool
}

// String, Set and Type make level a flag value.
func (l *level) String() string {
	if !l.set {
		return ""
	}
	return l.value.String()
}

// Set reads the value.
func (l *level) Set(s string) error {
	if err := l.value.UnmarshalText([]byte(strings.ToLower(s))); err != nil {
		return fmt.Errorf("write informational, low, medium, high or critical")
	}
	l.set = true
	return nil
}

// Type is shown in the usage.
func (l *level) Type() string { return "level" }

func levelFlag(c *cobra.Command, l *level, name, help string) {
	c.Flags().Var(l, name, help)
	complete(c, name, "informational", "low", "medium", "high", "critical")
}

func complete(c *cobra.Command, flag string, words ...string) {
	// Fails only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// writeLines writes one JSON object a line.
func writeLines[T any](w io.Writer, items []T) error {
	b := bufio.NewWriter(w)
	for i := range items {
		line, err := json.Marshal(items[i])
		if err != nil {
			return fmt.Errorf("write as JSON: %w", err)
		}
		if _, err := b.Write(append(inertJSON(line), '\n')); err != nil {
			return err
		}
	}
	return b.Flush()
}

// column is one column of a table.
type column struct {
	title string
	max   int  // characters; 0 takes what the others leave
	right bool // aligned to the right
}

// tableWidth is what every table fits into.
const tableWidth = 100

// writeTable prints rows of escaped cells within tableWidth.
func writeTable(w io.Writer, columns []column, rows [][]string) error {
	widths := fit(columns, rows)
	b := bufio.NewWriter(w)
	line := func(cells func(i int) string) {
		var text strings.Builder
		for i, c := range columns {
			if i > 0 {
				text.WriteString("  ")
			}
			cell := clip(cells(i), widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if c.right {
				text.WriteString(pad + cell)
			} else {
				text.WriteString(cell + pad)
			}
		}
		_, _ = b.WriteString(strings.TrimRight(text.String(), " ") + "\n") // Flush tells
	}
	line(func(i int) string { return columns[i].title })
	for _, r := range rows {
		line(func(i int) string { return r[i] })
	}
	return b.Flush()
}

// fit works out the widths: columns with a maximum get what they need up to
// it, the others share what is left, and what is still left goes to those that
// were cut.
func fit(columns []column, rows [][]string) []int {
	const least = 8
	natural, widths := make([]int, len(columns)), make([]int, len(columns))
	left := tableWidth - 2*(len(columns)-1)
	for i, c := range columns {
		natural[i] = utf8.RuneCountInString(c.title)
		for _, r := range rows {
			natural[i] = max(natural[i], utf8.RuneCountInString(r[i]))
		}
		if c.max > 0 {
			widths[i] = min(natural[i], c.max)
			left -= widths[i]
		}
	}
	for i, c := range columns {
		if c.max == 0 {
			widths[i] = min(natural[i], max(left, least))
			left -= widths[i]
		}
	}
	for i := range columns {
		if more := min(natural[i]-widths[i], left); more > 0 {
			widths[i] += more
			left -= more
		}
	}
	return widths
}

// escapeLines escapes each line of a message of several lines.
func escapeLines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\t", "  "), "\n")
	for i := range lines {
		lines[i] = escape(lines[i])
	}
	return strings.Join(lines, "\n")
}
