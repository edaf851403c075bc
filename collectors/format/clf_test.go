package format

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/event"
)

func decoder(t testing.TB, o Options) *Decoder {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var addrs = cmpopts.EquateComparable(event.Event{}.Peer, event.Event{}.ClientGroup)

// want completes an expected event with what Reset gives and the line itself.
func want(line string, ev event.Event) event.Event {
	ev.Raw = line
	if ev.Peer, _ = event.ParseAddr(ev.PeerText); ev.BodySize == 0 {
		ev.BodySize = -1
	}
	if ev.RequestSize == 0 {
		ev.RequestSize = -1
	}
	if ev.Duration == 0 {
		ev.Duration = -1
	}
	return ev
}

const at = 1795068002 // 19/Nov/2026:06:00:02 +0000

func TestCombined(t *testing.T) {
	d := decoder(t, Options{})
	line := `192.0.2.7 - bob smith [19/Nov/2026:07:00:02 +0100] "GET /a%20b?q=1&r=%27 HTTP/1.1" 404 153 "http://x/" "agent (1; 2)"`
	var got event.Event
	if err := d.Decode([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(line, event.Event{
		Format: "combined", Time: at * 1e9, Method: "GET", Target: "/a%20b?q=1&r=%27", Path: "/a%20b", Query: "q=1&r=%27",
		Protocol: "1.1", Status: 404, BodySize: 153, UserAgent: "agent (1; 2)", Referer: "http://x/", PeerText: "192.0.2.7", User: "bob smith",
	}), got, addrs); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestBlankLines(t *testing.T) {
	d := decoder(t, Options{})
	var ev event.Event
	for _, line := range []string{"", "\r", " ", "#Fields: a b", "\xef\xbb\xbf", "\xef\xbb\xbf# x", `#192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 1`} {
		if err := d.Decode([]byte(line), &ev); !errors.Is(err, ErrBlank) {
			t.Errorf("%q: want ErrBlank, got %v", line, err)
		}
	}
}

// lines checks, for each line, the format and a few fields written as text.
func TestShapes(t *testing.T) {
	d := decoder(t, Options{})
	f := func(line, format string, fields map[event.Field]string) {
		t.Helper()
		var ev event.Event
		if err := d.Decode([]byte(line), &ev); err != nil {
			t.Errorf("%s\n\tgives %v", line, err)
			return
		}
		got := map[event.Field]string{}
		for f := range fields {
			got[f], _ = ev.Text(f)
		}
		if diff := cmp.Diff(fields, got); diff != "" || ev.Format != format || ev.Time/1e9 != at {
			t.Errorf("%s\n\tformat %s, want %s; time %d (-want +got):\n%s", line, ev.Format, format, ev.Time, diff)
		}
	}
	type want = map[event.Field]string
	const now = "[19/Nov/2026:06:00:02 +0000]"
	const get = now + ` "GET /a HTTP/1.1" 200 12`

	// What stands before the time.
	f(`192.0.2.1 - - `+get, "common", want{event.FieldPeer: "192.0.2.1", event.FieldUser: "", event.FieldBodySize: "12"})
	f(`192.0.2.1 - `+get+` "-" "-"`, "combined", want{event.FieldPeer: "192.0.2.1", event.FieldUser: ""})
	f(`192.0.2.1 bob frank `+get, "common", want{event.FieldUser: "frank"})
	f(`192.0.2.1 - "" `+get, "common", want{event.FieldUser: ""})
	f(`192.0.2.1 - eve [x] [19/Nov/2001:06:00:02 +0000] `+get, "common", want{event.FieldUser: "eve [x] [19/Nov/2001:06:00:02 +0000]"})
	f(`192.0.2.1 - \x22a\x22 `+get, "common", want{event.FieldUser: `"a"`})
	f(`2001:db8::7 - - `+get, "common", want{event.FieldPeer: "2001:db8::7"})
	f(`client.example.org - - `+get, "common", want{event.FieldPeer: "", event.FieldUser: ""})
	f(`unix: - - `+get, "common", want{event.FieldPeer: ""})
	f(`shop.example.org:443 192.0.2.1 - bob `+get+` "-" "x"`, "vhost_combined", want{event.FieldHost: "shop.example.org", event.FieldPeer: "192.0.2.1", event.FieldUser: "bob"})
	f(`shop.example.org 2001:db8::7 - - `+get, "vhost_combined", want{event.FieldHost: "shop.example.org", event.FieldPeer: "2001:db8::7"})
	f(`192.0.2.1:4711 shop.example.org:443 - - `+get+` "-" "x"`, "vhost_combined", want{event.FieldHost: "shop.example.org", event.FieldPeer: "192.0.2.1"})
	f(`shop.example.org:443 client.example.org - - `+get, "vhost_combined", want{event.FieldHost: "shop.example.org", event.FieldPeer: ""})
	f("\xef\xbb\xbf192.0.2.1 - - "+get+"\r", "common", want{event.FieldPeer: "192.0.2.1"})
	f(`"192.0.2.1 - - `+get+` "-" "w3af""`, "combined", want{event.FieldUserAgent: "w3af"})

	// Wrapped lines. The first mark counts: what follows may be the client's own words.
	f(`Nov 19 06:00:02 web nginx[77]: 192.0.2.1 - bob `+get, "common", want{event.FieldPeer: "192.0.2.1", event.FieldUser: "bob"})
	f(`<190>Nov 19 06:00:02 web nginx: 192.0.2.1 - x: 6.6.6.6 - - `+get, "common", want{event.FieldPeer: "192.0.2.1", event.FieldUser: "x: 6.6.6.6 - -"})
	f(`2026-11-19T06:00:02.1Z stdout F 192.0.2.1 - - `+get, "common", want{event.FieldPeer: "192.0.2.1"})
	f(`web-1  | 192.0.2.1 - - `+get, "common", want{event.FieldPeer: "192.0.2.1"})

	// What clients may choose: the user's name in any request, and the virtual host.
	f(`192.0.2.1 - [[[[[[[[[ `+get, "common", want{event.FieldPeer: "192.0.2.1", event.FieldUser: "[[[[[[[[["})
	f(`192.0.2.1 - [19/Nov/2001:06:00:02 +0000] `+get, "common", want{event.FieldUser: "[19/Nov/2001:06:00:02 +0000]"})
	f(`192.0.2.1 - [2001-11-19T06:00:02Z] [2026-11-19T06:00:02Z] "GET / HTTP/1.1" 200 1`, "common", want{event.FieldUser: "[2001-11-19T06:00:02Z]"})
	f(`198.51.100.7 192.0.2.1 - - `+get, "vhost_combined", want{event.FieldPeer: "192.0.2.1", event.FieldHost: "198.51.100.7", event.FieldUser: ""})
	f(`198.51.100.7:443 192.0.2.1 - bob `+get, "vhost_combined", want{event.FieldPeer: "192.0.2.1", event.FieldHost: "198.51.100.7", event.FieldUser: "bob"})
	f(`[2001:db8::7]:443 2001:db8::1 - - `+get, "vhost_combined", want{event.FieldPeer: "2001:db8::1"})
	f(`198.51.100.7 192.0.2.1:4711 - - `+get, "vhost_combined", want{event.FieldPeer: "192.0.2.1"})
	f(`192.0.2.1:4711 198.51.100.7:443 - - `+get+` "-" "x"`, "vhost_combined", want{event.FieldPeer: "192.0.2.1", event.FieldHost: "198.51.100.7"})
	f(`#a 192.0.2.1 - - `+get, "vhost_combined", want{event.FieldPeer: "192.0.2.1", event.FieldHost: "#a"})
	f(`{a 192.0.2.1 - - `+get, "vhost_combined", want{event.FieldPeer: "192.0.2.1", event.FieldHost: "{a"})
	f(`a!b 192.0.2.1 - x: 198.51.100.7 - - `+get, "vhost_combined", want{event.FieldPeer: "192.0.2.1", event.FieldUser: "x: 198.51.100.7 - -"})

	// Times.
	f(`192.0.2.1 - - [19/Nov/2026:03:00:02 -0300] "GET / HTTP/1.1" 200 1`, "common", want{})
	f(`192.0.2.1 - - [2026-11-19T07:00:02.25+01:00] "GET / HTTP/1.1" 200 1`, "common", want{})
	f(`192.0.2.1 - - [2026-11-19T07:00:02+01:00[Europe/Berlin]] "GET / HTTP/1.1" 200 1`, "common", want{})

	// What follows.
	f(`192.0.2.1 - - `+get+` "-" "x" "203.0.113.9, 10.0.0.1"`, "combined_xff", want{event.FieldForwardedFor: "203.0.113.9, 10.0.0.1"})
	f(`192.0.2.1 - - `+get+` "-" "x" "-"`, "combined_xff", want{event.FieldForwardedFor: ""})
	f(`192.0.2.1 - - `+get+` "-" "x" 0.123`, "combined_time", want{event.FieldDuration: "123000000"})
	f(`192.0.2.1 - - `+get+` "-" "x" "-" 0.123 0.120 .`, "combined_time", want{event.FieldDuration: "123000000", event.FieldForwardedFor: ""})
	f(`192.0.2.1 - - `+get+` "-" "x" "203.0.113.9" rt=0.004 uct="0.000" urt="0.004"`, "combined_time", want{event.FieldDuration: "4000000", event.FieldForwardedFor: "203.0.113.9"})
	f(`192.0.2.1 - - `+get+` "-" "x" 89 0.001 [default-web-80] [] 10.0.0.8:80 59 0.000 200 529a007902362a5f`, "ingress",
		want{event.FieldRequestSize: "89", event.FieldDuration: "1000000", event.FieldRequestID: "529a007902362a5f"})
	f(`192.0.2.1 - - `+get+` "-" "x" kong_request_id: "67828137"`, "kong", want{event.FieldRequestID: "67828137"})
	f(`192.0.2.1 - - `+now+` api.example.org:9080 "GET /a HTTP/1.1" 200 12 1.657 "-" "x" 10.0.0.8:80 200 1.6 "http://u" "8a14012e"`, "apisix",
		want{event.FieldHost: "api.example.org", event.FieldDuration: "1657000000", event.FieldRequestID: "8a14012e"})
	f(`192.0.2.1 - - `+get+` "-" "x" 72 "Auth for front" "/d/" 14ms`, "traefik", want{event.FieldDuration: "14000000"})
	f(`192.0.2.1 - - `+now+` "GET /a HTTP/1.1" - - "-" "x" 72 "-" "-" 0ms`, "traefik", want{event.FieldStatus: "", event.FieldBodySize: ""})
	f(`192.0.2.1 - - `+get+` 48752d0f -`, "common", want{event.FieldBodySize: "12"})
	f(`192.0.2.1 - - `+get+` "-" "x" what ever "this" is`, "combined", want{event.FieldUserAgent: "x"})
	f(`192.0.2.1 - - `+get+` "http://r/" "cut off`, "combined", want{event.FieldReferer: "http://r/", event.FieldUserAgent: "cut off"})
	f(`192.0.2.1 - - `+get+` "-" "say \"x\" \\"`, "combined", want{event.FieldUserAgent: `say "x" \`})
	f(`192.0.2.1 - - `+get+` "-" "bare "quotes""`, "combined", want{event.FieldUserAgent: `bare "quotes"`})
	f(`192.0.2.1 - - `+now+` "GET /a?q="x" HTTP/1.1" 200 12 "-" "x"`, "combined", want{event.FieldQuery: `q="x"`, event.FieldStatus: "200"})
	f(`192.0.2.1 - - `+now+` "GET /a HTTP/1.1" 200`, "common", want{event.FieldStatus: "200", event.FieldBodySize: ""})
}

func TestRequestLines(t *testing.T) {
	d := decoder(t, Options{})
	f := func(request string, want event.Event) {
		t.Helper()
		var ev event.Event
		if err := d.Decode([]byte(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "`+request+`" 400 0 "-" "-"`), &ev); err != nil {
			t.Errorf("%s: %v", request, err)
			return
		}
		got := event.Event{
			Method: ev.Method, MethodOriginal: ev.MethodOriginal, Target: ev.Target, Path: ev.Path, Query: ev.Query,
			Scheme: ev.Scheme, Host: ev.Host, Protocol: ev.Protocol, Malformed: ev.Malformed,
		}
		if diff := cmp.Diff(want, got, addrs); diff != "" {
			t.Errorf("request %q (-want +got):\n%s", request, diff)
		}
	}
	f(`GET /a?b?c HTTP/2.0`, event.Event{Method: "GET", Target: "/a?b?c", Path: "/a", Query: "b?c", Protocol: "2"})
	f(`GET /x?q=' or 1=1 -- HTTP/1.1`, event.Event{Method: "GET", Target: "/x?q=' or 1=1 --", Path: "/x", Query: "q=' or 1=1 --", Protocol: "1.1"})
	f(`GET /\x22\xe9\x0A HTTP/1.0`, event.Event{Method: "GET", Target: "/\"\xe9\n", Path: "/\"\xe9\n", Protocol: "1.0"})
	f(`GET http://eve@shop.example.org:8080/a?b HTTP/1.1`, event.Event{Method: "GET", Target: "/a?b", Path: "/a", Query: "b", Scheme: "http", Host: "shop.example.org", Protocol: "1.1"})
	f(`GET http://shop.example.org?b HTTP/1.1`, event.Event{Method: "GET", Target: "?b", Path: "/", Query: "b", Scheme: "http", Host: "shop.example.org", Protocol: "1.1"})
	f(`GET https://[::1]:443 HTTP/1.1`, event.Event{Method: "GET", Target: "/", Path: "/", Scheme: "https", Host: "[::1]", Protocol: "1.1"})
	f(`CONNECT shop.example.org:443 HTTP/1.1`, event.Event{Method: "CONNECT", Target: "shop.example.org:443", Path: "shop.example.org:443", Protocol: "1.1"})
	f(`OPTIONS * HTTP/1.1`, event.Event{Method: "OPTIONS", Target: "*", Path: "*", Protocol: "1.1"})
	f(`PRI * HTTP/2.0`, event.Event{Method: "_OTHER", MethodOriginal: "PRI", Target: "*", Path: "*", Protocol: "2"})
	f(`GET GET /pets HTTP/1.1`, event.Event{Method: "GET", Target: "/pets", Path: "/pets", Protocol: "1.1"})
	f(`PROPFIND / HTTP/1.1`, event.Event{Method: "PROPFIND", Target: "/", Path: "/", Protocol: "1.1"})
	// Broken ones.
	f(``, event.Event{Malformed: event.MalformedEmpty})
	f(`-`, event.Event{Malformed: event.MalformedEmpty})
	f(`GET /etc/passwd`, event.Event{Method: "GET", Target: "/etc/passwd", Path: "/etc/passwd", Malformed: event.MalformedNoVersion})
	f(`GET`, event.Event{Method: "GET", Target: "GET", Malformed: event.MalformedNoVersion})
	f(`PATCHp /p?1 HTTP/1.1`, event.Event{Method: "_OTHER", MethodOriginal: "PATCHp", Target: "/p?1", Path: "/p", Query: "1", Protocol: "1.1", Malformed: event.MalformedMethod})
	f(`HELP`, event.Event{Method: "_OTHER", Target: "HELP", Malformed: event.MalformedMethod})
	f(`t3 12.1.2`, event.Event{Method: "_OTHER", MethodOriginal: "t3", Target: "t3 12.1.2", Malformed: event.MalformedMethod})
	f(`\x16\x03\x01\x02 \x01`, event.Event{Target: "\x16\x03\x01\x02 \x01", Malformed: event.MalformedTLS})
	f(`\x80\x2E\x01\x03`, event.Event{Target: "\x80.\x01\x03", Malformed: event.MalformedTLS})
	f(`\x03\x00\x00/*\xE0Cookie: mstshash=A`, event.Event{Target: "\x03\x00\x00/*\xe0Cookie: mstshash=A", Malformed: event.MalformedBinary})

	var ev event.Event
	if err := d.Decode([]byte(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET /aaaaaa`), &ev); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([3]string{"truncated", "/aaaaaa", "common"}, [3]string{ev.Malformed.String(), ev.Path, ev.Format}); diff != "" {
		t.Errorf("a line cut inside the request (-want +got):\n%s", diff)
	}
}

func TestNamedFormats(t *testing.T) {
	const line = `192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 12 "-" "x"`
	f := func(name, line, reason string, time, duration int64) {
		t.Helper()
		var ev event.Event
		err := decoder(t, Options{Name: name}).Decode([]byte(line), &ev)
		if fault, ok := errors.AsType[*LineError](err); ok {
			if fault.Reason != reason {
				t.Errorf("%s as %s: want reason %q, got %v", line, name, reason, err)
			}
			return
		}
		if err != nil || reason != "" || ev.Format != name || ev.Time != time || ev.Duration != duration {
			t.Errorf("%s as %s: want time %d, duration %d, reason %q; got %v, %s, %d, %d", line, name, time, duration, reason, err, ev.Format, ev.Time, ev.Duration)
		}
	}
	f("combined", line, "", at*1e9, -1)
	f("combined", line+" junk", "", at*1e9, -1)
	f("common", line, reasonOther, 0, 0)
	f("json", line, reasonOther, 0, 0)
	f("kong", line, reasonOther, 0, 0)
	f("apache_combined", line, "", at*1e9, -1)
	f("apache_combined", line+" 2500000", "", at*1e9+2.5e9, 2.5e9)
	f("apache_combined", line+" 1.5", "", at*1e9+1.5e9, 1.5e9)
	f("apache_combined", line+" 700 12000", "", at*1e9, -1)

	if _, err := New(Options{Name: "combind"}); err == nil {
		t.Error("an unknown format name: want an error, got none")
	}
}

func TestUnreadableLines(t *testing.T) {
	d := decoder(t, Options{})
	f := func(line, reason string, column int) {
		t.Helper()
		ev := event.Event{Path: "left over"}
		err := d.Decode([]byte(line), &ev)
		var fault *LineError
		if !errors.As(err, &fault) {
			t.Errorf("%q: want a LineError, got %v", line, err)
			return
		}
		if diff := cmp.Diff(LineError{Column: column, Reason: reason}, *fault); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
		if ev.Path != "" || ev.Raw != line {
			t.Errorf("%q leaves path %q, raw %q", line, ev.Path, ev.Raw)
		}
	}
	f(`hello`, reasonShape, 1)
	f(`2021/12/01 13:53:33 [error] 31#31: *46 "/x" is not found`, reasonTime, 21)
	f(`192.0.2.1 - - [31/Feb/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 1`, reasonTime, 15)
	f(`192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" two 1`, reasonStatus, 60)
	f(`some words here [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 1`, reasonPrefix, 1)
	f(`a: b: 192.0.2.1 - - [19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 1`, reasonPrefix, 1)
	f(`  {"a":1`, reasonJSON, 8)
}

func TestTimes(t *testing.T) {
	f := func(s string, want int64, ok bool) {
		t.Helper()
		var c clock
		for range 2 { // the second time from memory
			if got, is := c.any(s); got != want || is != ok {
				t.Errorf("%q: want %d %t, got %d %t", s, want, ok, got, is)
			}
		}
	}
	f("19/Nov/2026:06:00:02 +0000", at*1e9, true)
	f("29/Feb/2024:23:59:60 -0030", 1709253000*1e9, true)
	f("01/Jan/1970:00:00:00 +0000", 0, true)
	f("29/Feb/2026:00:00:00 +0000", 0, false)
	f("29/Foo/2026:00:00:00 +0000", 0, false)
	f("1x/Nov/2026:06:00:02 +0000", 0, false)
	f("19/Nov/2026:24:00:02 +0000", 0, false)
	f("19/Nov/2026:06:00:02 +9900", 0, false)
	f("19/Nov/9999:06:00:02 +0000", 0, false)
	f("2026-11-19T06:00:02+00", at*1e9, true)
	f("2026-11-19T06:00:02,5Z", at*1e9+5e8, true)
	f("2026-11-19T06:00:02.Z", 0, false)
	f("2026-11-19T06:00", 0, false)
	f("2026-11-19T06:00:02+1", 0, false)
	f("1795068002", at*1e9, true)
	f("1795068002.276", at*1e9+276e6, true)
	f("1795068002276.5", at*1e9+2765e5, true)
	f("1795068002276000", at*1e9+276e6, true)
	f("1795068002276000000", at*1e9+276e6, true)
	f("0", 0, false)
	f("", 0, false)
	f("-1", 0, false)
	f("1e99", 0, false)
	f("99999999999999999999", 0, false)
	f("1795068002.x", 0, false)
}

// TestNoFraming: nothing that a client puts into a line gives it another
// client's address.
func TestNoFraming(t *testing.T) {
	f := func(name, line string) {
		t.Helper()
		var ev event.Event
		if err := decoder(t, Options{Name: name}).Decode([]byte(line), &ev); err == nil && ev.Peer.String() == "198.51.100.7" {
			t.Errorf("%s as %q: the client is %v", line, name, ev.Peer)
		}
	}
	const get = `[19/Nov/2026:06:00:02 +0000] "GET / HTTP/1.1" 200 1 "-" "x"`
	f("auto", `198.51.100.7 192.0.2.1 - - `+get)
	f("vhost_combined", `198.51.100.7:443 192.0.2.1 - - `+get)
	f("combined", `192.0.2.1 198.51.100.7 - - `+get)
	f("auto", `{"agent":"x 198.51.100.7 - - [19/Nov/2026:06:00:02 +0000] x ", "cut`)
	f("auto", `{"agent":"x 198.51.100.7 - - [19/Nov/2026:06:00:02 +0000] x ",`)
	f("auto", `odd!name.example.org - x: 198.51.100.7 - - `+get)
}
