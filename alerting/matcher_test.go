package alerting

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMatchers(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var got string
		list, err := ParseMatchers(text)
		if err != nil {
			got = err.Error()
		} else {
			var out []string
			for _, m := range list {
				out = append(out, m.String())
			}
			got = strings.Join(out, " ")
		}
		if got != want {
			t.Errorf("%s\nwant %s\ngot  %s", text, want, got)
		}
	}
	f(`level>=high`, `level>="high"`)
	f(` level = "high" `, `level="high"`)
	f(`{family="credential", rule=~"login.*",}`, `family="credential" rule=~"login.*"`)
	f(`client.address!=192.0.2.1,tag!~"a|b"`, `client.address!="192.0.2.1" tag!~"a|b"`)
	f(`"odd name"="a\"b\\c\nd"`, `"odd name"="a\"b\\c\nd"`)
	f(`http.route=~"/v\d+/.*"`, `http.route=~"/v\\d+/.*"`)
	f(`auth.account=""`, `auth.account=""`)
	f(`auth.account=`, `auth.account=""`)
	f(``, `column 1: there is no matcher; write one such as level>=high or client.address="192.0.2.1"`)
	f(`{}`, `column 1: there is no matcher; write one such as level>=high or client.address="192.0.2.1"`)
	f(`level`, `column 6: "level" has no operator behind it; write = != =~ or !~, and for level also >= <= > or <`)
	f(`=high`, `column 1: a matcher begins with the name of a label, such as level or client.address`)
	f(`level>=loud`, `column 8: "loud" is no level; write informational, low, medium, high or critical`)
	f(`level=loud`, `column 7: "loud" is no level; write informational, low, medium, high or critical`)
	f(`family>=x`, `column 9: >= compares levels; write level>=high, or family with = != =~ or !~`)
	f(`rule=~"("`, `column 7: "(" is no regular expression: missing closing ): `+"`(`")
	f(`a="b" c="d"`, `column 7: "c=\"d\"" does not belong here; write a comma between matchers, and quotes around values with blanks or commas`)
	f(`{a="b"`, `column 7: the brace is not closed; write } at the end`)
	f(`a="b`, `column 3: the quote is not closed`)
	f(`ä=b,c`, `column 6: "c" has no operator behind it; write = != =~ or !~, and for level also >= <= > or <`)
	f(strings.Repeat("a=b,", 65), `column 260: there are more than 64 matchers`)
}

// labelMap is a labelled thing of a test.
type labelMap map[string][]string

func (l labelMap) label(name string) ([]string, bool, bool) {
	return l[name], name == LabelSource, true
}

func TestMatches(t *testing.T) {
	l := labelMap{
		"level": {"high"}, "family": {"credential"}, "rule": {"id-1", "Many logins"}, "tag": {"owasp.api2", "attack.t1110"},
		"source": {"192.0.2.1", "192.0.2.9", "2001:db8::1"}, "client.address": {"2001:db8:1::/64"},
	}
	f := func(text string, want bool) {
		t.Helper()
		m, err := ParseMatcher(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.matches(l); got != want {
			t.Errorf("%s: want %t, got %t", text, want, got)
		}
	}
	f(`level=high`, true)
	f(`level>=high`, true)
	f(`level>high`, false)
	f(`level>medium`, true)
	f(`level<=high`, true)
	f(`level<critical`, true)
	f(`level<high`, false)
	f(`level!=high`, false)
	f(`level=~"high|critical"`, true)
	f(`family=~"cred"`, false) // anchored
	f(`rule="Many logins"`, true)
	f(`rule="id-1"`, true)
	f(`rule!="id-1"`, false)
	f(`tag="owasp.api2"`, true)
	f(`tag!="owasp.api2"`, false)
	f(`tag!="owasp.api3"`, true)
	f(`source=192.0.2.1`, false) // not all are
	f(`source!=192.0.2.1`, false)
	f(`source!=192.0.2.2`, true)
	f(`source=192.0.2.0/24`, false)
	f(`source=~"192.*|2001.*"`, true)
	f(`client.address="2001:db8::/32"`, true)
	f(`client.address="2001:db8:1::/64"`, true)
	f(`client.address="2001:db8:1::/80"`, false)
	f(`client.address!="2001:db8::/32"`, false)
	f(`auth.account=""`, true)
	f(`auth.account=bob`, false)
	f(`auth.account!=bob`, true)
	f(`auth.account=~".*"`, true)
	f(`auth.account=~".+"`, false)
}

func TestLabelsOfAnIncident(t *testing.T) {
	p := testPlan()
	b := testBook(p, nil)
	b.Apply(finding(p, ruleSQL, "192.0.2.1", true, seen{client: "192.0.2.1"}, seen{at: 1, client: "192.0.2.1"}))
	b.Apply(finding(p, ruleRoute, "/login", true, seen{at: 2, client: "192.0.2.1"}, seen{at: 3, client: "192.0.2.2"}))
	f := func(n int, text string, want bool) {
		t.Helper()
		m, err := ParseMatcher(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.matches(b.labels(b.live[n])); got != want {
			t.Errorf("%d %s: want %t, got %t", n, text, want, got)
		}
	}
	f(0, `client.address=192.0.2.1`, true)
	f(0, `source=192.0.2.1`, true)
	f(0, `level=high`, true)
	f(0, `rule=sql`, true)
	f(0, `rule="Title of sql"`, true)
	f(0, `tag=attack.t1190`, true)
	f(0, `family=web-attack`, true)
	f(0, `subject=client`, true)
	f(0, `log="source-1.log"`, true)
	f(0, `parent=""`, true)
	f(0, fmt.Sprintf(`incident=%q`, b.live[0].id), true)
	f(1, `subject=population`, true)
	f(1, `http.route="/login"`, true)
	f(1, `client.address=""`, true)
	f(1, `source=192.0.2.1`, false)
	f(1, `source=192.0.2.0/24`, true)

	// What was dropped from a list is not taken to be like the rest.
	small := testBook(p, func(o *BookOptions) { o.MaxListed = 1 })
	small.Apply(finding(p, ruleRoute, "/login", true, seen{client: "192.0.2.1"}, seen{at: 3, client: "192.0.2.2"}))
	inc := small.live[0]
	small.Finish()
	for _, text := range []string{`source=192.0.2.0/24`, `source!=10.0.0.0/8`} {
		if m, _ := ParseMatcher(text); m.matches(small.labels(inc)) {
			t.Errorf("%s: want no match where not all sources are known", text)
		}
	}
}

func FuzzParseMatchers(f *testing.F) {
	f.Add(`{family="credential", rule=~"login.*"}`)
	f.Add(`level>=high,"a b"!~"\\d\"\n"`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseMatchers(text)
		if err != nil {
			if _, ok := err.(*MatcherError); !ok { //nolint:errorlint // it is never wrapped
				t.Fatalf("want a MatcherError, got %T", err)
			}
			return
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		var again []Matcher
		if err := json.Unmarshal(raw, &again); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		for i := range list {
			if list[i].String() != again[i].String() || list[i].Value != again[i].Value {
				t.Errorf("want %s again, got %s", list[i], again[i])
			}
			list[i].matches(labelMap{"level": {"high"}})
		}
	})
}

func TestMatcherMarshal(t *testing.T) {
	m, err := NewMatcher("client.address", MatchEqual, `a "b" \`)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(m)
	if diff := cmp.Diff(`"client.address=\"a \\\"b\\\" \\\\\""`, string(raw)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := NewMatcher("a", MatchAtLeast, "high"); err == nil {
		t.Error("want levels compared for level alone")
	}
	if _, err := NewMatcher("a", MatchEqual, "\xff"); err == nil {
		t.Error("want UTF-8")
	}
}
