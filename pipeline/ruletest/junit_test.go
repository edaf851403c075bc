package ruletest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestJUnit(t *testing.T) {
	page := &Case{File: "r/x.test.yml", Line: 2, Name: "the page"}
	suites := []JUnitSuite{
		{Name: "r/x.yml", Results: []Result{
			{Case: page, Took: 1500 * time.Millisecond},
			{Case: &Case{File: "r/x.test.yml", Line: 9, Name: `near miss, <"&'>`}, Took: time.Millisecond, Faults: []string{"wanted no incident, got 1 incident", "+ a & b"}, Near: []string{"R matched 1 line"}},
			{Case: &Case{File: "r/x.yml", Line: 30, Name: "stopped"}, Err: errors.New("context canceled")},
		}},
		{Name: "r/y.yaml", Fault: errors.New("r/y.yaml:1:1: no title\nr/y.test.yaml:2:2: no name")},
	}
	var b bytes.Buffer
	if err := WriteJUnit(&b, suites); err != nil {
		t.Fatal(err)
	}
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="gatewatch rules test" tests="4" failures="1" errors="2" time="1.501">
  <testsuite name="r/x.yml" tests="3" failures="1" errors="1" time="1.501">
    <testcase name="the page" classname="r/x" file="r/x.test.yml" line="2" time="1.500"></testcase>
    <testcase name="near miss, &lt;&#34;&amp;&#39;&gt;" classname="r/x" file="r/x.test.yml" line="9" time="0.001">
      <failure message="wanted no incident, got 1 incident">r/x.test.yml:9: near miss, &lt;&#34;&amp;&#39;&gt;&#xA;    wanted no incident, got 1 incident&#xA;    + a &amp; b&#xA;  what the rules saw:&#xA;    R matched 1 line&#xA;</failure>
    </testcase>
    <testcase name="stopped" classname="r/x" file="r/x.yml" line="30" time="0.000">
      <error message="context canceled">r/x.yml:30: stopped&#xA;    not run: context canceled&#xA;</error>
    </testcase>
  </testsuite>
  <testsuite name="r/y.yaml" tests="1" failures="0" errors="1" time="0.000">
    <testcase name="the files can be read" classname="r/y" time="0.000">
      <error message="r/y.yaml:1:1: no title">r/y.yaml:1:1: no title&#xA;r/y.test.yaml:2:2: no name</error>
    </testcase>
  </testsuite>
</testsuites>
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("JUnit XML (-want +got):\n%s", d)
	}
	if err := WriteJUnit(broken{}, suites); err == nil {
		t.Error("an error of the writer is lost")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// FuzzJUnit: whatever names and messages hold, the report is well-formed XML
// 1.0 of the same shape.
func FuzzJUnit(f *testing.F) {
	f.Add("a", "b")
	f.Add("]]><!-- \x00\x1b[31m\ufffe\U0001F600 \xff", "\r\n\t\"'</failure>")
	f.Fuzz(func(t *testing.T, name, fault string) {
		var b bytes.Buffer
		err := WriteJUnit(&b, []JUnitSuite{
			{Name: name, Results: []Result{{Case: &Case{Name: name, File: fault}, Faults: []string{fault}}}},
			{Name: fault, Fault: errors.New(name)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b.Bytes()) {
			t.Fatal("not UTF-8")
		}
		d := xml.NewDecoder(&b)
		var names []string
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("not XML: %v", err)
			}
			if s, ok := tok.(xml.StartElement); ok {
				names = append(names, s.Name.Local)
			}
		}
		const want = "testsuites testsuite testcase failure testsuite testcase error"
		if got := strings.Join(names, " "); got != want {
			t.Fatalf("elements %s, want %s", got, want)
		}
	})
}
