package event

import (
	"net/netip"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func deriver(t testing.TB, o DeriveOptions) *Deriver {
	t.Helper()
	d, err := NewDeriver(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRouteTemplates(t *testing.T) {
	d := deriver(t, DeriveOptions{})
	f := func(path, route, object string) {
		t.Helper()
		ev := Event{Method: "GET", Path: path, Status: 200}
		d.Derive(&ev, 0)
		if diff := cmp.Diff([2]string{route, object}, [2]string{ev.Route, ev.ObjectID}); diff != "" {
			t.Errorf("route of %q (-want +got):\n%s", path, diff)
		}
	}
	// Words stay.
	f("/", "/", "")
	f("//", "/", "")
	f("/api/v1/users", "/api/v1/users", "")
	f("/api/v1/users/", "/api/v1/users", "")
	f("//api//v1/users", "/api/v1/users", "")
	f("/api/v2beta1/oauth2/token", "/api/v2beta1/oauth2/token", "")
	f("/api/1.0/status", "/api/1.0/status", "")
	f("/.well-known/openid-configuration", "/.well-known/openid-configuration", "")
	f("/.env", "/.env", "")
	f("/.git/config", "/.git/config", "")
	f("/robots.txt", "/robots.txt", "")
	f("/jquery-3.6.0.min.js", "/jquery-3.6.0.min.js", "")
	f("/@vite/client", "/@vite/client", "")
	f("/_next/data", "/_next/data", "")
	f("/totp/md5/base64/utf8/s3", "/totp/md5/base64/utf8/s3", "")
	f("*", "*", "")
	// Numbers.
	f("/api/v1/users/42/orders", "/api/v1/users/{id}/orders", "42")
	f("/api/v1/users/42/orders/7", "/api/v1/users/{id}/orders/{id}", "7")
	f("/users/-1", "/users/{id}", "-1")
	f("/orders/ORD-10442", "/orders/ORD-{id}", "10442")
	f("/u/user10489", "/u/user{id}", "10489")
	f("/images/products/17/thumb_320x240.webp", "/images/products/{id}/thumb_320x240.webp", "17")
	f("/img/1920x1080/a.png", "/img/1920x1080/a.png", "")
	f("/invoices/1042.pdf", "/invoices/{id}.pdf", "1042")
	f("/odata/Orders(42)/Lines", "/odata/Orders({id})/Lines", "42")
	f("/v1/jobs/42:cancel", "/v1/jobs/{id}:cancel", "42")
	// Ids that are no numbers.
	f("/carts/6f1c2a34-9b1d-4c7e-8f00-12ab34cd56ef", "/carts/{uuid}", "6f1c2a34-9b1d-4c7e-8f00-12ab34cd56ef")
	f("/files/6F1C2A34-9B1D-4C7E-8F00-12AB34CD56EF.pdf", "/files/{uuid}.pdf", "6F1C2A34-9B1D-4C7E-8F00-12AB34CD56EF")
	f("/api/v2/carts/1a2b3c4d-9f00-12ab34cd56ef/items", "/api/v2/carts/{hash}/items", "1a2b3c4d-9f00-12ab34cd56ef")
	f("/objects/507f1f77bcf86cd799439011", "/objects/{hash}", "507f1f77bcf86cd799439011")
	f("/t/dQw4w9WgXcQ", "/t/{token}", "dQw4w9WgXcQ")
	f("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/t/{token}", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	f("/customers/cus_NffrFeUfNV2Hib", "/customers/cus_{token}", "NffrFeUfNV2Hib")
	f("/report/2026-11-19", "/report/{date}", "2026-11-19")
	f("/report/2026-11-19T10:00:00Z", "/report/{date}", "2026-11-19T10:00:00Z")
	f("/hosts/10.0.0.1", "/hosts/{ip}", "10.0.0.1")
	f("/users/eve@example.org/keys", "/users/{email}/keys", "eve@example.org")
	f("/p/red-shoes-12345", "/p/{slug}", "red-shoes-12345")
	// Build output.
	f("/static/js/chunk-1a2b3c4d.js", "/static/js/chunk-{hash}.js", "1a2b3c4d")
	f("/assets/app-4f2a91.css", "/assets/app-{hash}.css", "4f2a91")
	f("/assets/app.8c31de77.min", "/assets/app.{hash}.min", "8c31de77")
	// Hostile and odd bytes.
	f("/users/1%27%20or%20%271%27=%271", "/users/{text}", "1%27%20or%20%271%27=%271")
	f("/users/<script>", "/users/{text}", "<script>")
	f("/caf\xc3\xa9/x", "/{text}/x", "caf\xc3\xa9")
	f("/%6cogin/%2e%2E/x", "/x", "")
	f("/x1/../orders/./7", "/orders/{id}", "7")
	f("/a/b/..;x=1/%2e/c/", "/a/c", "")
	f("/../..", "/", "")
	f("/.well-known/x", "/.well-known/x", "")
	f("/"+strings.Repeat("a", 600)+"/../orders;"+strings.Repeat("b", 600)+"/7", "/orders/{id}", "7")
	f("/login;jsessionid=0A1B2C3D4E5F6071", "/login", "")
	f("/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/{more}", "q/r")
	f("/"+strings.Repeat("a:", 99), "/{token}", strings.Repeat("a:", 99))
	f("relative", "", "")

	ev := Event{Method: "GET", Path: "/users/1", Malformed: MalformedNoVersion}
	d.Derive(&ev, 0)
	if diff := cmp.Diff("", ev.Route); diff != "" {
		t.Errorf("route of a malformed request (-want +got):\n%s", diff)
	}
}

func TestRouteRules(t *testing.T) {
	d := deriver(t, DeriveOptions{Routes: []RouteRule{
		{"/shop/{slug}/items/{id}"},
		{"/files/{name}.json"},
		{"/static/{rest...}"},
		{"/shop/sale/{what}"},
		{"/shop/{slug}/{what}"},
	}})
	f := func(path, route, object string) {
		t.Helper()
		ev := Event{Path: path}
		d.Derive(&ev, 0)
		if diff := cmp.Diff([2]string{route, object}, [2]string{ev.Route, ev.ObjectID}); diff != "" {
			t.Errorf("route of %q (-want +got):\n%s", path, diff)
		}
	}
	f("/shop/red-shoes/items/12", "/shop/{slug}/items/{id}", "12")
	f("/shop/red-shoes/items/12/", "/shop/{slug}/items/{id}", "12")
	f("/shop/sale/now", "/shop/sale/{what}", "now")
	f("/shop/x/now", "/shop/{slug}/{what}", "now")
	f("/files/a.json", "/files/{name}.json", "a")
	f("/files/.json", "/files/.json", "")
	f("/static/a/b/1", "/static/{rest...}", "a/b/1")
	f("/static", "/static", "")
	f("/shop/x/items/12/13", "/shop/x/items/{id}/{id}", "13")

	ev := Event{Path: "/a/b-7.json/c", Route: "/a/b-{n}.json/:last"}
	d.Derive(&ev, FieldSet(0).Add(FieldObjectID))
	if diff := cmp.Diff([2]string{"/a/b-{n}.json/:last", "c"}, [2]string{ev.Route, ev.ObjectID}); diff != "" {
		t.Errorf("a route that the gateway logged (-want +got):\n%s", diff)
	}
}

func TestLoginsByWords(t *testing.T) {
	d := deriver(t, DeriveOptions{})
	f := func(method, path string, status int32, login bool, want Outcome) {
		t.Helper()
		ev := Event{Method: method, Path: path, Status: status}
		d.Derive(&ev, 0)
		if ev.Login != login || ev.Outcome != want {
			t.Errorf("%s %s %d: want login %t outcome %s, got %t %s", method, path, status, login, want, ev.Login, ev.Outcome)
		}
	}
	// JSON logins tell by status.
	f("POST", "/api/v1/login", 200, true, OutcomeSuccess)
	f("POST", "/api/v1/login", 401, true, OutcomeFailure)
	f("POST", "/api/v1/login", 422, true, OutcomeFailure)
	f("POST", "/api/v1/login", 429, true, OutcomeFailure)
	f("POST", "/api/v1/login", 503, true, OutcomeUnknown)
	f("POST", "/oauth/token", 400, true, OutcomeFailure)
	f("POST", "/connect/token", 200, true, OutcomeSuccess)
	f("POST", "/v2/Sessions", 201, true, OutcomeSuccess)
	// Forms answer 200 either way.
	f("POST", "/login", 200, true, OutcomeUnknown)
	f("POST", "/login", 302, true, OutcomeSuccess)
	f("POST", "/login", 422, true, OutcomeFailure)
	f("POST", "/login_form", 200, true, OutcomeUnknown)
	// WordPress shows the form again to whom it does not let in.
	f("POST", "/blog/wp-login.php", 200, true, OutcomeFailure)
	f("POST", "/blog/wp-login.php", 302, true, OutcomeSuccess)
	f("POST", "/%6Cogin", 302, true, OutcomeSuccess)
	// Padding hides none.
	f("POST", strings.Repeat("/.", 300)+"/login", 302, true, OutcomeSuccess)
	f("POST", strings.Repeat("/", 600)+"login", 302, true, OutcomeSuccess)
	f("POST", "/login;"+strings.Repeat("x", 600), 302, true, OutcomeSuccess)
	f("POST", "/;"+strings.Repeat("x", 600)+"/login", 302, true, OutcomeSuccess)
	f("POST", "/login/logout/..", 302, true, OutcomeSuccess)
	f("POST", "/users/sign_in/", 303, true, OutcomeSuccess)
	f("POST", "/account/login.aspx", 500, true, OutcomeUnknown)
	// Accounts that do or do not exist.
	f("POST", "/api/v1/password-reset", 404, true, OutcomeFailure)
	f("POST", "/password/forgot", 202, true, OutcomeSuccess)
	f("POST", "/register", 409, true, OutcomeFailure)
	// No logins.
	f("GET", "/login", 200, false, OutcomeNone)
	f("POST", "/axis2/login", 405, false, OutcomeNone)
	f("POST", "/api/v1/logout", 204, false, OutcomeNone)
	f("POST", "/api/v1/auth/token/refresh", 200, false, OutcomeNone)
	f("POST", "/sessions/12/items/new", 201, false, OutcomeNone)
	f("POST", "/loginhelp", 200, false, OutcomeNone)
	f("GET", "/api/orders", 401, false, OutcomeFailure)
	f("GET", "/api/orders", 403, false, OutcomeDenied)

	d = deriver(t, DeriveOptions{NoLoginWords: true})
	f("POST", "/api/v1/login", 200, false, OutcomeNone)
}

func TestLoginRules(t *testing.T) {
	d := deriver(t, DeriveOptions{Logins: []LoginRule{
		{Path: `^/join$`, Success: []string{"302"}, Failure: []string{"200,4xx"}},
		{Method: "*", Path: `^/door$`},
		{Method: "get", Path: `^/kerberos$`, Failure: []string{"401"}},
	}})
	f := func(method, path string, status int32, login bool, want Outcome) {
		t.Helper()
		for range 2 { // the second time from the cache
			ev := Event{Method: method, Path: path, Status: status}
			d.Derive(&ev, 0)
			if ev.Login != login || ev.Outcome != want {
				t.Errorf("%s %s %d: want login %t outcome %s, got %t %s", method, path, status, login, want, ev.Login, ev.Outcome)
			}
		}
	}
	f("POST", "/join", 200, true, OutcomeFailure)
	f("POST", "/join", 302, true, OutcomeSuccess)
	f("POST", "/join", 404, true, OutcomeFailure)
	f("POST", "/join", 500, true, OutcomeUnknown)
	f("GET", "/join", 200, false, OutcomeNone)
	f("PUT", "/door", 204, true, OutcomeSuccess)
	f("PUT", "/door", 422, true, OutcomeFailure)
	f("GET", "/kerberos", 401, true, OutcomeFailure)
	f("GET", "/kerberos", 200, true, OutcomeSuccess)
	f("POST", "/api/login", 401, true, OutcomeFailure)
}

// TestLoginSizes is about forms that answer 200 to a wrong and to a good password.
func TestLoginSizes(t *testing.T) {
	d := deriver(t, DeriveOptions{Logins: []LoginRule{
		{Path: `^/failures$`, Success: []string{"200"}, Failure: []string{"200"}, FailureSize: []SizeRange{{1200, 1300}, {1500, 1500}}},
		{Path: `^/successes$`, Success: []string{"200"}, Failure: []string{"200,401"}, SuccessSize: []SizeRange{{0, 99}}},
		{Path: `^/both$`, Success: []string{"200"}, Failure: []string{"200"}, FailureSize: []SizeRange{{100, 199}}, SuccessSize: []SizeRange{{200, 299}}},
		{Path: `^/default$`, Failure: []string{"200"}, FailureSize: []SizeRange{{100, 199}}},
	}})
	f := func(path string, status int32, size int64, want Outcome) {
		t.Helper()
		ev := Event{Method: "POST", Path: path, Status: status, BodySize: size}
		if d.Derive(&ev, 0); !ev.Login || ev.Outcome != want {
			t.Errorf("%s %d with %d bytes: want a login with outcome %s, got %t %s", path, status, size, want, ev.Login, ev.Outcome)
		}
	}
	f("/failures", 200, 1200, OutcomeFailure)
	f("/failures", 200, 1500, OutcomeFailure)
	f("/failures", 200, 1501, OutcomeSuccess)
	f("/failures", 200, -1, OutcomeUnknown)
	f("/failures", 302, 1200, OutcomeUnknown)
	f("/successes", 200, 99, OutcomeSuccess)
	f("/successes", 200, 100, OutcomeFailure)
	f("/successes", 401, 5, OutcomeFailure)
	f("/both", 200, 150, OutcomeFailure)
	f("/both", 200, 250, OutcomeSuccess)
	f("/both", 200, 350, OutcomeUnknown)
	f("/both", 200, -1, OutcomeUnknown)
	f("/default", 200, 150, OutcomeFailure)
	f("/default", 200, 250, OutcomeSuccess)
}

func TestDeriveOptionsFaults(t *testing.T) {
	f := func(o DeriveOptions) {
		t.Helper()
		if d, err := NewDeriver(o); err == nil || d != nil {
			t.Errorf("options %+v: want an error, got none", o)
		}
	}
	f(DeriveOptions{TrustedProxies: []netip.Prefix{{}}})
	f(DeriveOptions{Logins: []LoginRule{{}}})
	f(DeriveOptions{Logins: []LoginRule{{Path: "("}}})
	f(DeriveOptions{Logins: []LoginRule{{Path: "x", Success: []string{"20"}}}})
	f(DeriveOptions{Logins: []LoginRule{{Path: "x", Failure: []string{"9xx"}}}})
	f(DeriveOptions{Logins: []LoginRule{{Path: "x", FailureSize: []SizeRange{{5, 4}}}}})
	f(DeriveOptions{Routes: []RouteRule{{"users/{id}"}}})
	f(DeriveOptions{Routes: []RouteRule{{"/users/{}"}}})
	f(DeriveOptions{Routes: []RouteRule{{"/users/{a}{b}"}}})
	f(DeriveOptions{Routes: []RouteRule{{"/users/{a...}/x"}}})
}

func TestPrincipalAndAccount(t *testing.T) {
	d := deriver(t, DeriveOptions{})
	f := func(ev Event, principal, account string) {
		t.Helper()
		d.Derive(&ev, 0)
		text, _ := ev.Text(FieldPrincipal)
		if diff := cmp.Diff([2]string{principal, account}, [2]string{text, ev.Account}); diff != "" {
			t.Errorf("principal and account of %+v (-want +got):\n%s", ev, diff)
		}
	}
	peer := netip.MustParseAddr("192.0.2.7")
	f(Event{Peer: peer}, "192.0.2.7", "")
	f(Event{}, "", "")
	f(Event{Peer: peer, User: "bob", Status: 200}, "bob", "bob")
	f(Event{Peer: peer, User: "bob", Status: 401}, "192.0.2.7", "bob")
	f(Event{Peer: peer, User: "bob", UserVerified: true, Status: 403}, "bob", "")
	f(Event{Peer: peer, User: "bob", ConsumerID: "shop", Status: 200}, "shop", "bob")
	f(Event{Peer: peer, ConsumerID: "shop", KeyID: "k1"}, "k1", "")
	f(Event{Peer: peer, Method: "POST", Path: "/login", User: "bob", LoginName: "eve", Status: 302}, "192.0.2.7", "eve")
}

func TestDeriveAllocatesNothing(t *testing.T) {
	d := deriver(t, DeriveOptions{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Logins:         []LoginRule{{Path: `^/join/\d+$`}},
		Routes:         []RouteRule{{"/shop/{slug}"}},
	})
	events := []Event{
		{Method: "GET", Path: "/api/v1/users/42/orders", Status: 200, Peer: netip.MustParseAddr("10.1.1.1"), ForwardedFor: "2001:db8::1, 192.0.2.1, 10.2.2.2"},
		{Method: "POST", Path: "/api/v1/%6cogin", Status: 401, Peer: netip.MustParseAddr("2001:db8::1")},
		{Method: "POST", Path: "/join/12", Status: 200},
	}
	var ev Event // used again for each line, as decoders do
	if n := testing.AllocsPerRun(200, func() {
		for i := range events {
			ev = events[i]
			d.Derive(&ev, FieldSet(0).Add(FieldObjectID))
		}
	}); n != 0 {
		t.Errorf("want no allocation, got %v a run", n)
	}
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"/", "/users/42", "/a(b)/c:d", "/%41%zz/-/_/.", "/1-/x@y.z/v1.2.3", "//;;/", "/2026-11-19Tx", "/0-/.0.00A"} {
		f.Add(s)
	}
	d := deriver(f, DeriveOptions{})
	f.Fuzz(func(t *testing.T, path string) {
		ev := Event{Method: "POST", Path: path}
		d.Derive(&ev, 0)
		if len(ev.Route) > maxRoute+len(path)+64 || len(ev.Route) > 512 {
			t.Fatalf("the route of %q is %d bytes long", path, len(ev.Route))
		}
		if path != "" && path[0] == '/' && (ev.Route == "" || ev.Route[0] != '/') {
			t.Fatalf("the route of %q is %q", path, ev.Route)
		}
		route, object := string(ev.Route), string(ev.ObjectID)
		ev = Event{Method: "POST", Path: path}
		deriver(t, DeriveOptions{}).Derive(&ev, 0)
		if ev.Route != route || ev.ObjectID != object {
			t.Fatalf("%q gives %q %q, with a fresh deriver %q %q", path, route, object, ev.Route, ev.ObjectID)
		}
	})
}

func BenchmarkDerive(b *testing.B) {
	d := deriver(b, DeriveOptions{})
	for _, path := range []string{"/api/v1/users/42713/orders", "/static/js/chunk-1a2b3c4d.js", "/api/v2/carts/1a2b3c4d-9f00-12ab34cd56ef/items", "/api/v1/products"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			ev := Event{Method: "GET", Path: path, Status: 200, Peer: netip.AddrFrom4([4]byte{192, 0, 2, 1})}
			for b.Loop() {
				ev.Route = ""
				d.Derive(&ev, 0)
			}
		})
	}
	b.Run("login", func(b *testing.B) {
		b.ReportAllocs()
		ev := Event{Method: "POST", Path: "/api/v1/auth/login", Status: 401, Peer: netip.AddrFrom4([4]byte{192, 0, 2, 1})}
		for b.Loop() {
			ev.Route = ""
			d.Derive(&ev, 0)
		}
	})
}

// FuzzDotless compares with the standard library's way to clean a path.
func FuzzDotless(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e./a//b/", "/..", "/a/.b/..c/...", "//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, ";") {
			return
		}
		_, in := unreserved(nil, "/"+s)
		want := path.Clean(in)
		scratch, got := unreserved(nil, "/"+s)
		_, got = dotless(scratch, got)
		if path.Clean(got) != want || strings.Contains(got+"/", "/./") || strings.Contains(got+"/", "/../") {
			t.Errorf("%q gives %q, want %q", s, got, want)
		}
	})
}

// TestWordPress: what a post to wp-login.php asks for is in its query.
func TestWordPress(t *testing.T) {
	d, err := NewDeriver(DeriveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query   string
		status  int32
		action  Action
		outcome Outcome
	}{
		{"", 200, ActionLogin, OutcomeFailure},
		{"action=login&redirect_to=x", 302, ActionLogin, OutcomeSuccess},
		{"action=lostpassword", 200, ActionReset, OutcomeFailure},
		{"action=lostpassword", 302, ActionReset, OutcomeSuccess},
		{"action=register", 200, ActionRegister, OutcomeFailure},
		{"a=1&action=validate_2fa", 200, ActionLogin, OutcomeUnknown},
		{"action=", 200, ActionLogin, OutcomeFailure},
		{"action=zz", 200, ActionLogin, OutcomeFailure}, // WordPress takes it for a login
		{"action=lostpassword&action=login", 200, ActionLogin, OutcomeFailure},
		{"action=postpass", 302, ActionNone, OutcomeNone},
	} {
		ev := Event{Method: "POST", Path: "/blog/wp-login.php", Query: c.query, Status: c.status}
		d.Derive(&ev, 0)
		if ev.Login != (c.action != ActionNone) || ev.Action != c.action || ev.Outcome != c.outcome {
			t.Errorf("%q, %d: login %v, %v, %v; want %v, %v", c.query, c.status, ev.Login, ev.Action, ev.Outcome, c.action, c.outcome)
		}
	}
}
