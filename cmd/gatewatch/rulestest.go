package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gatewatch/config"
	"gatewatch/pipeline/ruletest"
	"gatewatch/rules"

	"github.com/spf13/cobra"
)

// testedCase is one line of rules test -o jsonl.
type testedCase struct {
	File      string              `json:"file"`
	Line      int                 `json:"line"`
	Name      string              `json:"name"`
	Kind      string              `json:"kind"` // fires, near miss or benign
	OK        bool                `json:"ok"`
	Lines     int64               `json:"lines"`            // of the log
	Faults    []string            `json:"faults,omitempty"` // what is not as expected
	Near      []string            `json:"near,omitempty"`   // what the rules saw
	Error     string              `json:"error,omitempty"`
	Incidents []ruletest.Incident `json:"incidents"`
}

func newRulesTest(a *app) *cobra.Command {
	var (
		out        outputFormat
		configPath string
		junit      string
	)
	c := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run the tests of rule files",
		Long: "Test runs the tests of rules, in name.test.yml beside name.yml or under gatewatch: tests:\n" +
			"in it, through the same pipeline as replay. A PATH is a rule file, a test file or a\n" +
			"folder; without one the built-in rules are tested. Each rule file is loaded alone, with\n" +
			"a default configuration unless --config names one; of that, the settings of rules: do\n" +
			"not count but for the lists.",
		Example: "  gatewatch rules test\n" +
			"  gatewatch rules test --junit rules.xml /etc/gatewatch/rules",
		RunE: func(c *cobra.Command, args []string) error {
			return failed(a.rulesTest(c.Context(), out, configPath, junit, args))
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	outputFlag(c, &out)
	c.Flags().StringVarP(&configPath, "config", "c", "", "configuration `file` (default: the default settings)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that does not exist
	c.Flags().StringVar(&junit, "junit", "", "also write the results to this `file`, for a build server: JUnit XML")
	_ = c.MarkFlagFilename("junit", "xml")
	return c
}

// testedFile is a rule file and what its tests came to.
type testedFile struct {
	name    string // of the rules, or of tests without rules
	results []ruletest.Result
	silent  []string // titles of rules that no case makes fire
	fault   error    // nothing was run
}

func (a *app) rulesTest(ctx context.Context, out outputFormat, configPath, junit string, paths []string) error {
	c, err := a.testConfig(configPath)
	if err != nil {
		return err
	}
	files, err := runTests(ctx, c, paths)
	if err != nil {
		return err
	}
	if junit != "" {
		if err := writeJUnit(junit, files); err != nil {
			return err
		}
	}
	if out == formatJSONL {
		err = writeLines(a.stdout, testedCases(files))
	} else {
		err = a.printTests(files)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return a.testVerdict(out, files, paths)
}

// writeJUnit writes the report for a build server. A file without tests is not
// in it.
func writeJUnit(name string, files []testedFile) error {
	var suites []ruletest.JUnitSuite
	for i := range files {
		if f := &files[i]; len(f.results) > 0 || f.fault != nil {
			suites = append(suites, ruletest.JUnitSuite{Name: f.name, Results: f.results, Fault: f.fault})
		}
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	if err := errors.Join(ruletest.WriteJUnit(file, suites), file.Close()); err != nil {
		return fmt.Errorf("write the JUnit report %s: %w", name, err)
	}
	return nil
}

// testConfig returns the named configuration or the default one: tests must
// not depend on which folder they are run in.
func (a *app) testConfig(name string) (*config.Config, error) {
	if name != "" {
		return a.readConfig(name, nil)
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working folder: %w", err)
	}
	return config.Default(dir), nil
}

func runTests(ctx context.Context, c *config.Config, paths []string) ([]testedFile, error) {
	var files []testedFile
	seen := map[string]bool{}
	add := func(fsys fs.FS, root, prefix string) error {
		pairs, err := ruletest.Find(fsys, root)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if key := prefix + p.Rules + "\x00" + p.Tests; !seen[key] {
				seen[key] = true
				files = append(files, testPair(ctx, c, fsys, p, prefix))
			}
		}
		return ctx.Err()
	}
	if len(paths) == 0 {
		if err := add(rules.FS(), ".", builtinPrefix); err != nil {
			return nil, err
		}
	}
	for _, name := range paths {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		dir, root := name, "."
		if !info.IsDir() {
			dir, root = filepath.Split(name)
		}
		dir = filepath.Clean(dir)
		prefix := ""
		if dir != "." {
			prefix = strings.TrimSuffix(filepath.ToSlash(dir), "/") + "/"
		}
		if err := add(os.DirFS(dir), root, prefix); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func testPair(ctx context.Context, c *config.Config, fsys fs.FS, p ruletest.Pair, prefix string) testedFile {
	f := testedFile{name: prefix + cmp.Or(p.Rules, p.Tests)}
	suite, index, err := ruletest.Load(fsys, p, prefix, compileOptions(c))
	if errors.Is(err, ruletest.ErrNoTests) {
		return f
	}
	if err != nil {
		f.fault = err
		return f
	}
	s := &c.Sources[0]
	f.results = ruletest.Run(ctx, suite, index, ruletest.Options{
		Format: s.FormatOptions(), Lateness: s.Lateness, Derive: c.Derive(), Book: c.Book(),
	})
	f.silent = ruletest.Silent(index, f.results)
	return f
}

func testedCases(files []testedFile) []testedCase {
	var out []testedCase
	for i := range files {
		for j := range files[i].results {
			r := &files[i].results[j]
			t := testedCase{
				File: r.Case.File, Line: r.Case.Line, Name: r.Case.Name, Kind: r.Case.Kind().String(), OK: r.OK(),
				Lines: r.Lines, Faults: r.Faults, Near: r.Near, Incidents: r.Incidents,
			}
			if t.Incidents == nil {
				t.Incidents = []ruletest.Incident{}
			}
			if r.Err != nil {
				t.Error = r.Err.Error()
			}
			out = append(out, t)
		}
	}
	return out
}

// printTests prints a line a file and then why cases fail.
func (a *app) printTests(files []testedFile) error {
	var rows [][]string
	for i := range files {
		f := &files[i]
		var kinds [ruletest.Benign + 1]int
		bad := 0
		for j := range f.results {
			kinds[f.results[j].Case.Kind()]++
			if !f.results[j].OK() {
				bad++
			}
		}
		verdict := "ok"
		switch {
		case f.fault != nil:
			verdict = "not run"
		case len(f.results) == 0:
			verdict = "no tests"
		case bad > 0:
			verdict = fmt.Sprintf("%d failed", bad)
		}
		rows = append(rows, []string{
			escape(f.name), strconv.Itoa(kinds[ruletest.Fires]), strconv.Itoa(kinds[ruletest.NearMiss]),
			strconv.Itoa(kinds[ruletest.Benign]), verdict,
		})
	}
	if len(rows) == 0 {
		return nil
	}
	err := writeTable(a.stdout, []column{
		{title: "RULES"},
		{title: "FIRES", max: 6, right: true},
		{title: "NEAR", max: 6, right: true},
		{title: "BENIGN", max: 6, right: true},
		{title: "RESULT", max: 12},
	}, rows)
	if err != nil {
		return err
	}
	for i := range files {
		for j := range files[i].results {
			if text := files[i].results[j].Report(); text != "" {
				if _, err := fmt.Fprintf(a.stdout, "\n%s", escapeLines(text)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// testVerdict says how it went: an error unless there were cases and all hold.
func (a *app) testVerdict(out outputFormat, files []testedFile, paths []string) error {
	var faults []error
	cases, bad, tested, untested := 0, 0, 0, 0
	for i := range files {
		f := &files[i]
		switch {
		case f.fault != nil:
			faults = append(faults, f.fault)
		case len(f.results) > 0:
			tested++
		default:
			untested++
		}
		for j := range f.results {
			cases++
			if !f.results[j].OK() {
				bad++
			}
		}
	}
	if bad > 0 {
		faults = append(faults, fmt.Errorf("%d of %s failed", bad, plural(cases, "case")))
	}
	if cases == 0 && len(faults) == 0 {
		where := "the built-in rules"
		if len(paths) > 0 {
			where = strings.Join(paths, ", ")
		}
		faults = append(faults, fmt.Errorf("%s: there is nothing to test; the tests of a rule file name.yml stand beside it in name.test.yml", where))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if out == formatJSONL {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%s of %s, all as expected", plural(cases, "case"), plural(tested, "file"))
	if untested > 0 {
		fmt.Fprintf(&text, "; %s without tests", plural(untested, "file"))
	}
	text.WriteByte('\n')
	for i := range files {
		for _, title := range files[i].silent {
			fmt.Fprintf(&text, "no case makes this rule fire: %s: %s\n", escape(files[i].name), escape(title))
		}
	}
	_, err := io.WriteString(a.stdout, text.String())
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
