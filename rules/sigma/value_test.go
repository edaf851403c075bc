package sigma

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWildcards(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{`abc`, []string{"abc", "ABC"}, []string{"abcd", "xabc", ""}},
		{`a*c`, []string{"ac", "abc", "a/b/c", "AxxC"}, []string{"acb", "bac"}},
		{`a?c`, []string{"abc", "a*c", "aéc"}, []string{"ac", "abbc"}},
		{`*abc*`, []string{"abc", "xabcx"}, []string{"ab"}},
		{`a\*c`, []string{"a*c"}, []string{"abc", `a\*c`}},
		{`a\?c`, []string{"a?c"}, []string{"abc"}},
		{`a\\*c`, []string{`a\c`, `a\xyzc`}, []string{"a*c", "ac"}},
		{`a\\\*c`, []string{`a\*c`}, []string{`a\xc`, "a*c"}},
		{`a\b`, []string{`a\b`}, []string{"ab"}},
		{`a\\b`, []string{`a\b`}, []string{`a\\b`}},
		{`a\\\\b`, []string{`a\\b`}, []string{`a\b`}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{`\\`, []string{`\`}, []string{`\\`}},
		{`**`, []string{"x"}, nil},
		{`a**b`, []string{"ab", "axb"}, []string{"a"}},
		{`*a*b*`, []string{"ab", "xaybz", "aab"}, []string{"ba"}},
		{`?`, []string{"x", "é", "\xff"}, []string{"", "xy"}},
		{`*?`, []string{"x", "xy"}, nil},
		{`a*a?b`, []string{"aaxb", "axaxb", "aaaab"}, []string{"aab"}},
		{`*ab`, []string{"ab", "abab", "xAB"}, []string{"abx"}},
	} {
		m := textMatcher(parsePattern(c.pattern), false, c.pattern)
		match := func(s string) bool {
			switch m.op {
			case opExists:
				return s != ""
			case opAbsent:
				return s == ""
			}
			return m.matchText(s)
		}
		for _, s := range c.yes {
			if !match(s) {
				t.Errorf("%s does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if match(s) {
				t.Errorf("%s matches %q", c.pattern, s)
			}
		}
	}
}

func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		how, in string
		want    []string
	}{
		{"base64", "foobar", []string{"Zm9vYmFy"}},
		{"base64", "foo!", []string{"Zm9vIQ=="}},
		{"base64offset", "foobar", []string{"Zm9vYmFy", "Zvb2Jhc", "mb29iYX"}},
		{"wide", "ab", []string{"a\x00b\x00"}},
		{"utf16be", "ab", []string{"\x00a\x00b"}},
		{"utf16", "a", []string{"\xff\xfea\x00"}},
	} {
		if diff := cmp.Diff(c.want, encodings(c.how, c.in)); diff != "" {
			t.Errorf("%s of %q (-want +got):\n%s", c.how, c.in, diff)
		}
	}
}

func TestWindash(t *testing.T) {
	var got []string
	for _, v := range windash(parsePattern("cmd /c a-b")) {
		lit, ok := plain(v)
		if !ok {
			t.Fatalf("%v is not plain", v)
		}
		got = append(got, lit)
	}
	want := []string{"cmd -c a-b", "cmd /c a-b", "cmd –c a-b", "cmd —c a-b", "cmd ―c a-b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v := windash(parsePattern("-a -b -c -d")); v != nil {
		t.Errorf("%d variants", len(v))
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		mode     plusMode
		in, want string
		cut      int
	}{
		{plusTarget, "/a+b?c+d%41", "/a+b?c dA", 4},
		{plusTarget, "/%3f%2B+", "/?++", -1},
		{plusQuery, "a+b%2bc%", "a b+c%", -1},
		{plusLine, `GET /a+b?c+d HTTP "x+y" ?z+"q+`, `GET /a+b?c d HTTP "x+y" ?z "q+`, 8},
		{plusLine, "/a?b+c d+e?\tf+g", "/a?b c d+e?\tf+g", 2},
		{plusLiteral, "%4g%%41%25%", "%4g%A%%", -1},
	} {
		got, d := appendDecoded([]byte("x"), c.in, c.mode)
		if string(got) != "x"+c.want || d.cut != c.cut {
			t.Errorf("%q: got %q cut %d, want %q cut %d", c.in, got[1:], d.cut, c.want, c.cut)
		}
	}
}
