package escape

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gatewatch/alerting/internal/hostile"

	"go.yaml.in/yaml/v4"
)

// destination is one function with a check that reads the result as the
// destination does, and the text that it is to find there; "" for none.
type destination struct {
	name string
	f    func(s string, limit int) string

	check func(in, out string) error
}

func destinations() []destination {
	return []destination{
		{name: "text", f: Text, check: func(_, out string) error { return inert(out) }},
		{name: "slack", f: Slack, check: func(_, out string) error {
			return errors.Join(inertBut(out, "\u2060"), checkSlack(out))
		}},
		{name: "slack code", f: SlackCode, check: func(_, out string) error {
			inner := strings.TrimSuffix(strings.TrimPrefix(out, "`"), "`")
			if len(out) < 3 || len(inner) != len(out)-2 || strings.Contains(inner, "`") {
				return fmt.Errorf("no code span")
			}
			return errors.Join(inert(inner), checkEntities(inner))
		}},
		{name: "relay", f: Relay, check: func(_, out string) error {
			if strings.ContainsAny(out, "<>&`") || strings.Contains(out, "://") || regexp.MustCompile(`@[A-Za-z]`).MatchString(out) {
				return fmt.Errorf("markup is left")
			}
			return inertBut(out, "\u2060")
		}},
		{name: "markdown", f: Markdown, check: func(_, out string) error {
			return errors.Join(inertBut(out, "\u200b\u00a0"), checkMarkdown(out))
		}},
		{name: "html", f: HTML, check: func(in, out string) error {
			return errors.Join(inert(out), checkHTML(in, out))
		}},
		{name: "csv", f: CSV, check: checkCSV},
		{name: "json", f: JSON, check: checkJSON},
		{name: "yaml", f: YAML, check: checkYAML},
		{name: "syslog param", f: SyslogParam, check: func(in, out string) error {
			return errors.Join(inert(out), checkParam(in, out))
		}},
		{name: "syslog token", f: SyslogToken, check: func(_, out string) error {
			if out == "" || strings.ContainsFunc(out, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || strings.ContainsAny(out, `=]"`) {
				return fmt.Errorf("no token")
			}
			return nil
		}},
		{name: "header", f: func(s string, limit int) string { return Header(s, len("Subject: "), limit) }, check: checkHeader},
	}
}

// inert reports what in a text a terminal or a reader would be fooled by.
func inert(out string) error { return inertBut(out, "") }

func inertBut(out, allowed string) error {
	if !utf8.ValidString(out) {
		return fmt.Errorf("no UTF-8")
	}
	for _, r := range out {
		if !strings.ContainsRune(allowed, r) && (!unicode.IsPrint(r) || unicode.In(r, unicode.Mn, unicode.Me)) {
			return fmt.Errorf("%U is in it", r)
		}
	}
	return nil
}

var (
	entity     = regexp.MustCompile(`&(amp|lt|gt);`)
	slackEmoji = regexp.MustCompile(`:[A-Za-z0-9_+'-]+:`)
	slackLink  = regexp.MustCompile(`(?i)://|www\.|mailto:|javascript:`)
)

func checkEntities(out string) error {
	if rest := entity.ReplaceAllString(out, ""); strings.ContainsAny(rest, "&<>") {
		return fmt.Errorf("an angle bracket or ampersand is left")
	}
	return nil
}

func checkSlack(out string) error {
	switch {
	case strings.ContainsAny(out, "*_~`"):
		return fmt.Errorf("a formatting character is left")
	case slackEmoji.MatchString(out):
		return fmt.Errorf("an emoji is left")
	case slackLink.MatchString(out):
		return fmt.Errorf("a link is left")
	case strings.HasPrefix(out, "&gt;"):
		return fmt.Errorf("it begins a quote")
	case regexp.MustCompile(`[@#][A-Za-z]`).MatchString(out):
		return fmt.Errorf("a mention is left")
	}
	return checkEntities(out)
}

func checkMarkdown(out string) error {
	for i := 0; i < len(out); i++ {
		c := out[i]
		if c == '\\' && i+1 < len(out) && punctuation(out[i+1]) {
			i++
			continue
		}
		if punctuation(c) && !strings.HasSuffix(out[:i+1], "...") && !strings.HasPrefix(out[i:], "... ") && !strings.HasPrefix(out[i:], ".. ") {
			return fmt.Errorf("%q at %d has no backslash", c, i)
		}
	}
	if strings.HasPrefix(out, " ") {
		return fmt.Errorf("it begins with blanks")
	}
	return nil
}

func checkHTML(in, out string) error {
	if strings.ContainsAny(out, "<>\"'`") {
		return fmt.Errorf("markup is left")
	}
	d := xml.NewDecoder(strings.NewReader("<a b=\"" + out + "\">" + out + "</a>"))
	tokens := 0
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		tokens++
	}
	if out != "" && tokens != 3 {
		return fmt.Errorf("%d tokens", tokens)
	}
	if got := html.UnescapeString(out); !cut(out) && got != Text(in, 0) {
		return fmt.Errorf("reads as %.200q", got)
	}
	return nil
}

func checkCSV(in, out string) error {
	records, err := csv.NewReader(strings.NewReader(out + ",x\n")).ReadAll()
	if err != nil || len(records) != 1 || len(records[0]) != 2 {
		return fmt.Errorf("reads as %q: %w", records, err)
	}
	got := records[0][0]
	if got != "" && strings.ContainsAny(strings.TrimLeft(got, " ")[:min(1, len(strings.TrimLeft(got, " ")))], "=+-@") {
		return fmt.Errorf("%q is a formula", got)
	}
	if !cut(out) && strings.TrimPrefix(got, "'") != strings.TrimPrefix(Text(in, 0), "'") {
		return fmt.Errorf("reads as %.200q", got)
	}
	return inert(out)
}

func checkJSON(in, out string) error {
	var got string
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return err
	}
	if want := strings.ToValidUTF8(in, "\uFFFD"); !cut(out) && runs(got) != runs(want) {
		return fmt.Errorf("reads as %.200q", got)
	}
	return inert(out)
}

// runs makes one mark of several in a row: how many a run of bad bytes gives
// is nobody's concern.
func runs(s string) string { return regexp.MustCompile("\uFFFD+").ReplaceAllString(s, "\uFFFD") }

func checkYAML(in, out string) error {
	var got map[string]any
	if err := yaml.Unmarshal([]byte("a: "+out+"\nb: c\n"), &got); err != nil {
		return err
	}
	text, ok := got["a"].(string)
	if !ok || len(got) != 2 || got["b"] != "c" {
		return fmt.Errorf("reads as %v", got)
	}
	if want := strings.ToValidUTF8(in, "\uFFFD"); !cut(out) && runs(text) != runs(want) {
		return fmt.Errorf("reads as %.200q", text)
	}
	return inert(out)
}

// checkParam reads a parameter value as RFC 5424 says.
func checkParam(in, out string) error {
	var b strings.Builder
	for i := 0; i < len(out); i++ {
		c := out[i]
		switch {
		case c == '\\' && i+1 < len(out) && strings.IndexByte(`"\]`, out[i+1]) >= 0:
			i++
			b.WriteByte(out[i])
		case c == '"' || c == ']' || c == '\\':
			return fmt.Errorf("%q at %d is not escaped", c, i)
		default:
			b.WriteByte(c)
		}
	}
	if !cut(out) && b.String() != Text(in, 0) {
		return fmt.Errorf("reads as %.200q", b.String())
	}
	return nil
}

func checkHeader(in, out string) error {
	text := "Subject: " + out + "\r\nTo: a@b.example\r\n\r\nbody"
	for i, line := range strings.Split(strings.TrimSuffix(text, "\r\n\r\nbody"), "\r\n") {
		if len(line) > 998 && limitOf(in) {
			return fmt.Errorf("line %d has %d bytes", i, len(line))
		}
		if strings.ContainsAny(line, "\r\n\x00") || strings.TrimSpace(line) == "" && i > 0 {
			return fmt.Errorf("line %d is %q", i, line)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return err
	}
	if len(m.Header) != 2 {
		return fmt.Errorf("headers %v", m.Header)
	}
	got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return err
	}
	if !cut(got) && squeeze(got) != squeeze(Text(in, 0)) {
		return fmt.Errorf("reads as %.200q", got)
	}
	return nil
}

// limitOf reports whether a line of the text could be kept short.
func limitOf(in string) bool {
	for word := range strings.SplitSeq(Text(in, 0), " ") {
		if len(word) > 900 {
			return false
		}
	}
	return true
}

// squeeze takes blanks at the ends away, which headers lose.
func squeeze(s string) string { return strings.Trim(s, " ") }

var mark = regexp.MustCompile(`\.\.\. [0-9]+ bytes? more`)

func cut(out string) bool { return mark.MatchString(out) }

func TestHostilePayloads(t *testing.T) {
	payloads := hostile.Payloads(t)
	for _, d := range destinations() {
		t.Run(d.name, func(t *testing.T) {
			ran := 0
			for _, p := range payloads {
				ran++
				for _, limit := range []int{0, 300, 48} {
					out := d.f(p.Text, limit)
					if err := d.check(p.Text, out); err != nil {
						t.Errorf("%.200q at limit %d gave %.200q: %.200v", p.Text, limit, out, err)
					}
					if limit > 0 && len(out) > limit && d.name != "header" {
						t.Errorf("%.200q at limit %d gave %d bytes", p.Text, limit, len(out))
					}
				}
			}
			if ran != len(payloads) {
				t.Errorf("ran %d of %d", ran, len(payloads))
			}
		})
	}
}

func FuzzEscape(f *testing.F) {
	for _, p := range hostile.Payloads(f) {
		if len(p.Text) < 200 {
			f.Add(p.Text, 40)
		}
	}
	f.Add("0000000"+strings.Repeat("\x83", 27)+"  00", 0) // folded at two blanks
	f.Add("<#C0wwwwwwwwwwwwwwwwwww12AB3CD|general>", 40)  // a cut behind www
	all := destinations()
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if len(s) > 4096 {
			return
		}
		limit = min(max(limit, 0), 1<<16)
		if limit > 0 {
			limit = max(limit, 32)
		}
		for _, d := range all {
			out := d.f(s, limit)
			if err := d.check(s, out); err != nil {
				t.Errorf("%s: %q at limit %d gave %q: %v", d.name, s, limit, out, err)
			}
			if limit > 0 && len(out) > limit && d.name != "header" {
				t.Errorf("%s: %q at limit %d gave %d bytes", d.name, s, limit, len(out))
			}
		}
	})
}

// TestHonestCut: the mark says exactly how much of the text is missing.
func TestHonestCut(t *testing.T) {
	said := regexp.MustCompile(`^(.*)\.\.\. ([0-9]+) bytes? more$`)
	for limit := 24; limit < 80; limit++ {
		for _, s := range []string{strings.Repeat("a", 100), strings.Repeat("é", 60), strings.Repeat("\n", 90), strings.Repeat("x", 1_000_000)} {
			out := Text(s, limit)
			m := said.FindStringSubmatch(out)
			if m == nil {
				t.Fatalf("limit %d gave %q", limit, out)
			}
			n, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			kept := strings.ReplaceAll(m[1], `\n`, "\n")
			if kept != s[:len(s)-n] {
				t.Errorf("limit %d: %q and %d bytes are not the text", limit, kept, n)
			}
		}
	}
	f := func(s string, limit int, want string) {
		t.Helper()
		if got := Text(s, limit); got != want {
			t.Errorf("%q at %d: want %q, got %q", s, limit, want, got)
		}
	}
	f("abc", 3, "abc")
	f("abc", 0, "abc")
	f("abcdefghijklmnopqrstuvwxyz", 26, "abcdefghijklmnopqrstuvwxyz")
	f("abcdefghijklmnopqrstuvwxyz", 25, "abcdefgh... 18 bytes more")
	f("abcdef", 4, "abcd") // no room for a mark
	f("", 4, "")
	if got := Cut("\x1b[31m"+strings.Repeat("é", 40), 40); got != "\x1b[31mééééééééé... 62 bytes more" {
		t.Errorf("cut: got %q", got)
	}
}

func TestForPeople(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	}
	f(Text("a\x1b[31mb\u202e\xff", 0), `a\x1b[31mb\u{202e}\xff`)
	f(Slack("<!here> & *x* snake_case http://a.example :smile: 12:30", 0), "&lt;!here&gt; &amp; ∗x∗ snakeˍcase http[:]//a.example ꞉smile꞉ 12:30")
	f(Slack("> x", 0), "\u2060&gt; x")
	f(SlackCode("GET /a_b?x=<1>`", 0), "`GET /a_b?x=&lt;1&gt;ˋ`")
	f(Relay("<!channel> & https://x @here 12:30 a*b", 0), "‹!channel› ＆ https[:]//x @\u2060here 12:30 a*b")
	f(Markdown("[a](b) @here", 0), `\[a\]\(b\) \@`+"\u200b"+`here`)
	f(HTML(`<a href="x">&'`, 0), "&lt;a href=&#34;x&#34;&gt;&amp;&#39;")
	f(CSV(`=1+"1"`, 0), `"'=1+""1"""`)
	f(JSON("</a>\"\u2028😀", 0), `"\u003c/a\u003e\"\u2028😀"`)
	f(YAML("a: \"b\"\n", 0), `"a: \"b\"\n"`)
	f(SyslogParam("a\"]\\\n", 0), `a\"\]\\\\n`)
	f(SyslogToken("a b=\"c\"]ü", 0), "a_b__c___")
	f(SyslogToken("", 0), "-")
	f(SyslogToken("abcdef", 3), "abc")
	f(Header("plain", 9, 0), "plain")
	f(Header("é", 9, 0), "=?utf-8?q?=C3=A9?=")
	f(Header("=?x", 9, 0), "=?utf-8?q?=3D=3Fx?=")
	f(Header("a\r\nBcc: b", 9, 0), `a\r\nBcc: b`)
	f(Header(strings.Repeat("word ", 20)+"end", 9, 0), strings.TrimSpace(strings.Repeat("word ", 13))+"\r\n "+strings.Repeat("word ", 7)+"end")
}
