package event

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMask(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got := string(Mask([]byte(">"), in))[1:]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("mask of %q (-want +got):\n%s", in, diff)
		}
		if again := string(Mask(nil, got)); again != got {
			t.Errorf("masking %q twice gives %q, then %q", in, got, again)
		}
	}
	// Nothing secret.
	f("", "")
	f(`192.0.2.1 - bob [19/Nov/2026:06:00:02 +0000] "GET /a?q=1&monkey=2 HTTP/1.1" 200 1 "-" "basic agent (x:y)"`,
		`192.0.2.1 - bob [19/Nov/2026:06:00:02 +0000] "GET /a?q=1&monkey=2 HTTP/1.1" 200 1 "-" "basic agent (x:y)"`)
	f(`{"msec":1795068002.276,"code":null,"password":""}`, `{"msec":1795068002.276,"code":null,"password":""}`)
	// nginx's variables as keys of JSON.
	f(`{"http_authorization":"x","http_cookie":"a=b; c=d","http_x_api_key":"x","sent_http_set_cookie":"s=1","arg_token":"x","cookie_sid":"x","http_user_agent":"y"}`,
		`{"http_authorization":"***","http_cookie":"***","http_x_api_key":"***","sent_http_set_cookie":"***","arg_token":"***","cookie_sid":"***","http_user_agent":"y"}`)
	// Queries and forms.
	f(`GET /a?x=1&access_token=abc&y=2 HTTP/1.1`, `GET /a?x=1&access_token=***&y=2 HTTP/1.1`)
	f(`GET /a?Api-Key=abc#f HTTP/1.1`, `GET /a?Api-Key=***#f HTTP/1.1`)
	f(`/cb?code=4/0AX&state=x`, `/cb?code=***&state=x`)
	f(`/s3?X-Amz-Signature=feed&X-Amz-Date=2`, `/s3?X-Amz-Signature=***&X-Amz-Date=2`)
	f(`/a?%70assword=hunter2`, `/a?%70assword=***`)
	f(`/a?p%61sswor%64=hunter2 `, `/a?p%61sswor%64=*** `)
	f(`user[password]=a\x22b\"c&z=1`, `user[password]=***&z=1`)
	f(`user%5Bpassword%5D=a&z=1`, `user%5Bpassword%5D=***&z=1`)
	f(`/go?next=%2Fcb%3Ftoken%3Dabc%26x%3D1&y=2`, `/go?next=%2Fcb%3Ftoken%3D***%26x%3D1&y=2`)
	f(`password=`, `password=`)
	f(`a=1; session_id=77; b=2`, `a=1; session_id=***; b=2`)
	// Headers.
	f(`Authorization: Basic dXNlcjpwYXNz" x`, `Authorization: ***" x`)
	f(`authorization=Bearer abc.def x=1`, `authorization=*** x=1`)
	f(`authorization="Bearer abc" x=1`, `authorization="***" x=1`)
	f(`Cookie: a=b; c=d`, `Cookie: ***`)
	f(`"agent Bearer abcdefgh12" bEaReR%20abcdefgh12`, `"agent Bearer ***" bEaReR%20***`)
	// JSON.
	f(`{"password":"a\"b","x":1}`, `{"password":"***","x":1}`)
	f(`{"password" : 12345, "x":1}`, `{"password" : "***", "x":1}`)
	f(`{"headers":{"Authorization":["Bearer x"],"Cookie":{"a":"}"}}}`, `{"headers":{"Authorization":"***","Cookie":"***"}}`)
	f(`{"request.headers.x-api-key":"k","t":"v"}`, `{"request.headers.x-api-key":"***","t":"v"}`)
	f(`{"body":"{\"password\":\"x\",\"pin\":12}"}`, `{"body":"{\"password\":\"***\",\"pin\":\"***\"}"}`)
	f(`{"request_uri":"/a?token=abc","securityToken":"abc"}`, `{"request_uri":"/a?token=***","securityToken":"***"}`)
	f(`/a?v=%7B%22password%22%3A%22x%20y%22%2C%22n%22%3A1%7D`, `/a?v=%7B%22password%22%3A%22***%22%2C%22n%22%3A1%7D`)
	f(`{"password":"cut off`, `{"password":"***`)
	// By shape.
	f(`/a/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln/b`, `/a/***/b`)
	f(`q=%22eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln`, `q=%22***`)
	f(`http://eve:s3cret@host/x https://host:443/a@b`, `http://***@host/x https://host:443/a@b`)
	f(`pay 4111111111111111, 4111-1111-1111-1111, n=4111%2011`, `pay ***, ***, n=4111%2011`)
	f(`pay 4111111111111112 x4111111111111111 0.4111111111111111`, `pay 4111111111111112 x4111111111111111 0.4111111111111111`)
	f(`amex 3782 822463 10005 c=%204111111111111111`, `amex *** c=%20***`)
	f(`"GET / HTTP/1.1" 200 4111 "-"`, `"GET / HTTP/1.1" 200 4111 "-"`)
}

// TestMaskIsLinear repeats what sends a careless search to the end of the
// line again and again. Each takes milliseconds; quadratic ones took minutes.
func TestMaskIsLinear(t *testing.T) {
	for _, unit := range []string{
		"eyJ", "eyJ-", "%22key%22%3A", "%22key%22%3A+", "key%3D%26", `"key" : `, `"key":{`, `"key":["`, `key=\"`, "bearer ", "basic+", "basic~", "://a:", "4-", "cookie:", "a:",
	} {
		start := time.Now()
		Mask(nil, strings.Repeat(unit, 1<<20/len(unit)))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("a megabyte of %q takes %v", unit, took)
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, s := range []string{
		`/a?token=x&y=%3Dz`, `{"password":["x",{"y":"\"}]`, `authorization: Bearer abcdefgh`, `http://a:b@c:d@e`, `4111 1111 1111 1111`,
		`token%3D%26key%3d"x\"`, `%22key%22%3A+%22x`, `\"pin\":\"x\\\"`, `key="\`, `eyJabcdefghijklmn.key=x`, `basic basic+basic+abcdefgh`,
		`token=basic key=x`, `password:basic x"`, `key==key=x`, `]=`, `cookie:[`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := string(Mask(nil, s))
		if twice := string(Mask(nil, once)); twice != once {
			t.Fatalf("%q\n gives %q\n then %q", s, once, twice)
		}
		if hits := strings.Count(once, masked); len(once) > len(s)+7*hits {
			t.Fatalf("%q grows to %q", s, once)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	line := `203.0.113.77 - - [19/Nov/2026:06:00:02 +0000] "GET /api/v1/products/31337?fields=id,name,price,stock&token=EUR HTTP/1.1" 200 2613 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"`
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		buf = Mask(buf[:0], line)
	}
}
