package ruletest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// JUnitSuite is what became of the tests of one rule file.
type JUnitSuite struct {
	Name    string // of the rule file
	Results []Result
	// Fault is why nothing was run; then there are no results.
	Fault error
}

type junitFile struct {
	XMLName  xml.Name      `xml:"testsuites"`
	Name     string        `xml:"name,attr"`
	Tests    int           `xml:"tests,attr"`
	Failures int           `xml:"failures,attr"`
	Errors   int           `xml:"errors,attr"`
	Time     string        `xml:"time,attr"`
	Suites   []*junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Cases    []*junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results in the XML form that build servers read as
// JUnit's: a testsuite a rule file, a testcase a case. A file that could not
// be run is a testcase with an error. What the files hold is escaped, and what
// XML 1.0 has no way to say becomes the replacement character.
func WriteJUnit(w io.Writer, suites []JUnitSuite) error {
	out := junitFile{Name: "gatewatch rules test"}
	var all time.Duration
	for i := range suites {
		s, took := junitOf(&suites[i])
		all += took
		out.Tests, out.Failures, out.Errors = out.Tests+s.Tests, out.Failures+s.Failures, out.Errors+s.Errors
		out.Suites = append(out.Suites, s)
	}
	out.Time = seconds(all)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := errors.Join(e.Encode(out), e.Close()); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	return nil
}

func junitOf(from *JUnitSuite) (*junitSuite, time.Duration) {
	class := strings.TrimSuffix(strings.TrimSuffix(from.Name, ".yaml"), ".yml")
	s := &junitSuite{Name: from.Name}
	var took time.Duration
	for i := range from.Results {
		r := &from.Results[i]
		c := &junitCase{Name: r.Case.Name, Class: class, File: r.Case.File, Line: r.Case.Line, Time: seconds(r.Took)}
		took += r.Took
		switch {
		case r.Err != nil:
			s.Errors++
			c.Error = &junitMessage{Message: printable(r.Err.Error()), Text: r.Report()}
		case !r.OK():
			s.Failures++
			c.Failure = &junitMessage{Message: printable(r.Faults[0]), Text: r.Report()}
		}
		s.Cases = append(s.Cases, c)
	}
	if from.Fault != nil {
		s.Errors++
		text := from.Fault.Error()
		first, _, _ := strings.Cut(text, "\n")
		s.Cases = append(s.Cases, &junitCase{
			Name: "the files can be read", Class: class, Time: seconds(0),
			Error: &junitMessage{Message: printable(first), Text: text},
		})
	}
	s.Tests, s.Time = len(s.Cases), seconds(took)
	return s, took
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
