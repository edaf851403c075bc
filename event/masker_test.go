package event

import (
	"net/netip"
	"strings"
	"testing"
)

func TestMaskShapes(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(Mask(nil, in)); got != want {
			t.Errorf("mask of %q: want %q, got %q", in, want, got)
		}
	}
	f("/a/AKIAIOSFODNN7EXAMPLE/b", "/a/***/b")
	f("curl ghp_"+strings.Repeat("a1B2", 9), "curl ***")
	f("t=xoxb-123456789012-abcdef&x=1", "t=***&x=1")
	f("/v1/sk_live_4eC39HqLyjWDarjtT1zdp7dc", "/v1/***")
	f("%20hvs.CAESIJ1234567890abcdefgh", "%20***")
	f(`"-----BEGIN RSA PRIVATE KEY-----MIIE" x`, `"***" x`)
	// Near misses.
	f("/a/AKIAshort/b ghp_x sk-learn risk_live_4eC39HqLyjWDarjtT1zdp7dc", "/a/AKIAshort/b ghp_x sk-learn risk_live_4eC39HqLyjWDarjtT1zdp7dc")
	f("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----")
}

func TestMasker(t *testing.T) {
	key := []byte("0123456789abcdef")
	m, err := NewMasker(MaskOptions{Names: []string{"X-Customer-Ref"}, Patterns: []string{`ACME-[0-9]{6}`, `ref/([a-z]+)/`}, HashKey: key})
	if err != nil {
		t.Fatal(err)
	}
	got := string(m.Append(nil, `/a?x_customer_ref=abc&password=abc&password=abd ACME-123456 ref/abc/ {"pin":12} user=bob 192.0.2.1`))
	abc := m.mark("abc")
	want := `/a?x_customer_ref=` + abc + `&password=` + abc + `&password=` + m.mark("abd") + ` ` + m.mark("ACME-123456") + ` ref/` + abc + `/ {"pin":"` + m.mark("12") + `"} user=bob 192.0.2.1`
	if got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if again := string(m.Append(nil, got)); again != got {
		t.Errorf("masking twice gives %s", again)
	}
	other, err := NewMasker(MaskOptions{HashKey: []byte("another key that is long")})
	if err != nil {
		t.Fatal(err)
	}
	if other.mark("abc") == abc {
		t.Error("two keys give one hash")
	}
	if (*Masker)(nil).HidesIdentities() || string((*Masker)(nil).Append(nil, "pin=1")) != "pin=***" {
		t.Error("a nil masker does not do what Mask does")
	}
}

func TestMaskIdentities(t *testing.T) {
	m, err := NewMasker(MaskOptions{HashKey: []byte("0123456789abcdef"), Identities: true})
	if err != nil {
		t.Fatal(err)
	}
	line := `192.0.2.1 - bob [19/Nov/2026:06:00:02 +0000] "GET /a?user=eve&to=2001:db8::1&m=ann%40example.com HTTP/1.1" 200 1 "-" "v10.1.2 (+mailto:kim@example.com)"`
	got := string(m.Append(nil, line))
	for _, who := range []string{"192.0.2.1", "bob", "eve", "2001:db8", "ann", "kim"} {
		if strings.Contains(got, who) {
			t.Errorf("%s is in %s", who, got)
		}
	}
	if again := string(m.Append(nil, got)); again != got {
		t.Errorf("masking twice:\n%s\n%s", got, again)
	}
	for _, part := range []string{m.Address(netip.MustParseAddr("192.0.2.1")).String() + " - " + m.Name("bob") + " [19", "user=" + m.Name("eve") + "&", `"GET /a?`, "v10.1.2"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
	a, b, c := m.Address(netip.MustParseAddr("2001:db8::1")), m.Address(netip.MustParseAddr("2001:db8::2")), m.Address(netip.MustParseAddr("2001:db8:1::2"))
	net := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 64).Masked() }
	if a == b || net(a) != net(b) || net(a) == net(c) || m.Address(a) != a {
		t.Errorf("%v %v %v", a, b, c)
	}
}

func TestMaskOptions(t *testing.T) {
	f := func(o MaskOptions, want string) {
		t.Helper()
		if _, err := NewMasker(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: want an error with %q, got %v", o, want, err)
		}
	}
	f(MaskOptions{Names: []string{"--"}}, "letters and digits")
	f(MaskOptions{Patterns: []string{"("}}, "missing closing")
	f(MaskOptions{Patterns: []string{"x*"}}, "at least one character")
	f(MaskOptions{HashKey: []byte("short")}, "shorter than 16 bytes")
	f(MaskOptions{Identities: true}, "needs a key")
}

func FuzzMasker(f *testing.F) {
	m, err := NewMasker(MaskOptions{Names: []string{"ref"}, Patterns: []string{"[0-9a-f]{8,}"}, HashKey: []byte("0123456789abcdef"), Identities: true})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"1.2.3.4 - a b [19/", "ref=x user=y@z.example ::1 fd67::1 ***0123456789ab", `{"user":"a","ref":12}`, "***0123456789abc 1::2%3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := string(m.Append(nil, s))
		if limit := 40 + 60*len(s); len(once) > limit {
			t.Fatalf("%d bytes grow to %d", len(s), len(once))
		}
	})
}
