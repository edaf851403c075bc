package event

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAddr(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		a, ok := ParseAddr(in)
		got := ""
		if ok {
			got = a.String()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("address %q (-want +got):\n%s", in, diff)
		}
	}
	f("1.2.3.4", "1.2.3.4")
	f(" 1.2.3.4 ", "1.2.3.4")
	f("1.2.3.4:80", "1.2.3.4")
	f("::1", "::1")
	f("0:0:0:0:0:0:0:1", "::1")
	f("[::1]", "::1")
	f("[::1]:80", "::1")
	f("2001:db8::1:58430", "2001:db8::1")
	f("2001:db8:1:2:3:4:5:6:443", "2001:db8:1:2:3:4:5:6")
	f("::ffff:1.2.3.4", "1.2.3.4")
	f("[::ffff:1.2.3.4]:99", "1.2.3.4")
	f("fe80::1%eth0", "fe80::1")
	f("::1%0", "::1")
	f("unknown", "")
	f("_hidden", "")
	f("unix:", "")
	f("-", "")
	f("", "")
	f("1.2.3", "")
	f("2.75", "")
	f("1.2.3.256", "")
	f("01.2.3.4", "")
	f("1.2.3.4.5", "")
	f("1.2.3.4:x", "")
	f("1.2.3.4:123456", "")
	f("[::1", "")
	f("[::1]x", "")
	f("beef", "")
	f(":::", "")
}

func TestClientWalk(t *testing.T) {
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("::ffff:172.16.0.0/108"),
	}
	d := deriver(t, DeriveOptions{TrustedProxies: trusted})
	f := func(peer, xff, client string, source ClientSource, group string) {
		t.Helper()
		ev := Event{ForwardedFor: xff}
		ev.Peer, _ = ParseAddr(peer)
		d.Derive(&ev, 0)
		got := [3]string{ev.Client.String(), ev.ClientSource.String(), ev.ClientGroup.String()}
		if diff := cmp.Diff([3]string{client, source.String(), group}, got); diff != "" {
			t.Errorf("peer %s, forwarded for %q (-want +got):\n%s", peer, xff, diff)
		}
	}
	f("203.0.113.9", "1.1.1.1", "203.0.113.9", ClientPeer, "203.0.113.9/32")
	f("10.0.0.1", "", "10.0.0.1", ClientPeer, "10.0.0.1/32")
	f("10.0.0.1", "203.0.113.9", "203.0.113.9", ClientForwarded, "203.0.113.9/32")
	f("10.200.0.1", "6.6.6.6, 203.0.113.9,10.2.0.1 , 192.0.2.1", "203.0.113.9", ClientForwarded, "203.0.113.9/32")
	f("172.16.3.3", "203.0.113.9", "203.0.113.9", ClientForwarded, "203.0.113.9/32")
	f("192.0.2.2", "203.0.113.9", "192.0.2.2", ClientPeer, "192.0.2.2/32")
	f("2001:db8:1::5", "[2001:db8:2:3::5]:443", "2001:db8:2:3::5", ClientForwarded, "2001:db8:2:3::/64")
	f("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1", ClientPeer, "10.0.0.1/32")
	f("10.0.0.1", "unknown, 10.0.0.2", "10.0.0.2", ClientForwarded, "10.0.0.2/32")
	f("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", ClientForwarded, "10.0.0.3/32")
	f("10.0.0.1", "garbage\",;,", "10.0.0.1", ClientPeer, "10.0.0.1/32")
	f("unix:", "1.1.1.1", "invalid IP", ClientNone, "invalid Prefix")

	d = deriver(t, DeriveOptions{IPv6Whole: true})
	f("2001:db8::5", "", "2001:db8::5", ClientPeer, "2001:db8::5/128")

	ev := Event{Peer: netip.MustParseAddr("10.0.0.1"), Client: netip.MustParseAddr("1.1.1.1"), ClientSource: ClientGateway}
	d.Derive(&ev, 0)
	if diff := cmp.Diff("1.1.1.1", ev.Client.String()); diff != "" {
		t.Errorf("the gateway's client (-want +got):\n%s", diff)
	}
}

func TestAddrSetAgreesWithPrefixes(t *testing.T) {
	prefixes := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/3"), netip.MustParsePrefix("10.0.0.0/7"), netip.MustParsePrefix("128.0.0.1/32"),
		netip.MustParsePrefix("192.168.0.0/22"), netip.MustParsePrefix("2001:db8::/33"), netip.MustParsePrefix("::/128"), netip.MustParsePrefix("2001:db8::7/127"),
	}
	set := newAddrSet(prefixes)
	x := uint64(1)
	next := func() byte { x ^= x << 13; x ^= x >> 7; x ^= x << 17; return byte(x) }
	for range 20000 {
		var a netip.Addr
		if base := prefixes[int(next())%len(prefixes)]; base.Addr().Is4() {
			b := base.Addr().As4()
			b[next()%4] ^= 1 << (next() % 8)
			b[3] ^= next() % 4
			a = netip.AddrFrom4(b)
		} else {
			b := base.Addr().As16()
			b[next()%16] ^= 1 << (next() % 8)
			a = netip.AddrFrom16(b)
		}
		want := false
		for _, p := range prefixes {
			want = want || p.Contains(a)
		}
		if got := set.contains(a); got != want {
			t.Fatalf("%s in the set: want %t, got %t", a, want, got)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"1.2.3.4:80", "[::1%x]:9", "2001:db8::1:58430", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8:9", "0.0.0.0A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := ParseAddr(s)
		if ok != a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%q gives %v, %t", s, a, ok)
		}
		if std, err := netip.ParseAddr(s); err == nil && std.Zone() == "" && (!ok || a != std.Unmap()) {
			t.Fatalf("%q: want %v, got %v", s, std, a)
		}
		if ok {
			if again, ok := ParseAddr(a.String()); !ok || again != a {
				t.Fatalf("%q gives %v, which does not read back", s, a)
			}
		}
	})
}
