package learn

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// world makes facts of requests.
type world struct {
	now  int64
	each []func(*Fact)
}

func (w *world) ask(client, method, route string, status int32, more ...func(*Fact)) {
	a := netip.MustParseAddr(client)
	f := Fact{
		Time: w.now, Addr: a, Peer: a, Client: netip.PrefixFrom(a, a.BitLen()), Method: method, Route: route, Path: route, Status: status, Size: 100,
		Agent: "Mozilla/5.0 (X11)", Format: "combined",
	}
	for _, m := range more {
		m(&f)
	}
	f.AgentID = hashText(f.Agent)
	for _, e := range w.each {
		e(&f)
	}
}

func client(i int) string { return fmt.Sprintf("192.0.2.%d", i%250+1) }

func patterns(routes []Route) (out []string) {
	for _, r := range routes {
		out = append(out, r.Pattern)
	}
	return out
}

func TestRoutes(t *testing.T) {
	tree := NewRoutes()
	w := &world{now: 1000, each: []func(*Fact){tree.Add}}
	for i := range 4000 {
		c := client(i)
		// Articles keep coming, an API's parts do not.
		w.ask(c, "GET", fmt.Sprintf("/blog/%s-story", words[i%997]), 200)
		w.ask(c, "GET", fmt.Sprintf("/blog/%s-story/comments/{id}", words[i*7%997]), 200)
		w.ask(c, "GET", "/api/v1/"+words[i%40], 200)
		w.ask(c, "GET", "/shops/"+words[i%300]+".html", 200)
		w.ask(c, "GET", "/shops/"+words[(i+5)%300]+".pdf", 200)
		if i%2 == 0 {
			w.ask(c, "GET", "/blog/archive", 200)
		}
		// A list of words gets 404, and one client alone shifts nothing.
		w.ask("203.0.113.9", "GET", "/guess/"+words[i%997], 404)
		w.ask("203.0.113.9", "GET", "/found/"+words[i%997], 200)
	}
	want := []string{"/blog/archive", "/blog/{slug}", "/blog/{slug}/comments/{id}", "/shops/{slug}.html", "/shops/{slug}.pdf"}
	if got := patterns(tree.Learned()); !slices.Equal(got, want) {
		t.Errorf("want the routes %q, got %q", want, got)
	}
}

// TestRoutesBounded floods the tree.
func TestRoutesBounded(t *testing.T) {
	tree := NewRoutes()
	w := &world{now: 1000, each: []func(*Fact){tree.Add}}
	for i := range 200_000 {
		w.ask(client(i), "GET", fmt.Sprintf("/%s/w%s/%s", words[i%700], words[i/700%997], words[i*31%997]), 200)
	}
	if len(tree.nodes) > maxNodes || !tree.Full {
		t.Errorf("want at most %d nodes and a word that they are full, got %d, %t", maxNodes, len(tree.nodes), tree.Full)
	}
	tree.Learned()
}

func TestLogins(t *testing.T) {
	answer := func(size int64) func(*Fact) { return func(f *Fact) { f.Size = size } }
	login := func(f *Fact) { f.Login = true }
	// tries is one person: two wrong passwords of three, then in, then away.
	run := func(t *testing.T, route string, each func(w *world, c string, i int)) []Login {
		t.Helper()
		l := NewLogins()
		w := &world{now: 1000, each: []func(*Fact){l.Add}}
		for i := range 60 {
			w.now += 40
			each(w, client(i), i)
		}
		for _, x := range l.Learned() {
			if x.Route == route {
				return []Login{x}
			}
		}
		return nil
	}
	f := func(name, route string, each func(w *world, c string, i int), want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, l := range run(t, route, each) {
				got = fmt.Sprint(statuses(l.Success), "/", statuses(l.Failure))
				for _, s := range l.FailureSize {
					got += fmt.Sprint(" ", s.From, "-", s.To)
				}
				if !l.Active() {
					got += " look"
				}
			}
			if got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		})
	}
	api := func(w *world, c string, i int) {
		if i%2 == 0 {
			w.ask(c, "POST", "/session", 401)
			w.now += 5
		}
		w.ask(c, "POST", "/session", 200)
		w.now += 5
		w.ask(c, "GET", "/home", 200)
	}
	f("an API that no word tells", "/session", api, "200/401 look")
	f("a form that answers 422 and 302", "/login", func(w *world, c string, i int) {
		if i%2 == 0 {
			w.ask(c, "POST", "/login", 422, login)
			w.ask(c, "GET", "/style.css", 200)
			w.now += 5
		}
		w.ask(c, "POST", "/login", 302, login)
		w.now++
		w.ask(c, "GET", "/account", 200)
	}, "302/422")
	f("a form that answers 200 and 302", "/login", func(w *world, c string, i int) {
		if i%2 == 0 {
			w.ask(c, "POST", "/login", 200, login, answer(1800))
			w.now += 5
		}
		w.ask(c, "POST", "/login", 302, login)
		w.now++
		w.ask(c, "GET", "/account", 200)
	}, "302/200")
	f("two sizes of 200", "/desk/login", func(w *world, c string, i int) {
		if i%2 == 0 {
			w.ask(c, "POST", "/desk/login", 200, login, answer(1800+int64(i%20)))
			w.now += 5
		}
		w.ask(c, "POST", "/desk/login", 200, login, answer(5200+int64(i*3)))
		w.now++
		w.ask(c, "GET", "/desk", 200)
	}, "200/200 1800-1818")
	f("a cart is no login", "/cart", func(w *world, c string, i int) {
		w.ask(c, "POST", "/cart", 200)
		w.now += 5
		if i%3 == 0 {
			w.ask(c, "POST", "/cart", 200)
			w.now += 5
		}
		w.ask(c, "GET", "/products/{id}", 200)
	}, "")
	f("one client alone teaches nothing", "/session", func(w *world, _ string, i int) { api(w, "203.0.113.9", i) }, "")
	// A thousand wrong passwords of one client that nobody suspects.
	f("a brute force does not turn success into failure", "/session", func(w *world, c string, i int) {
		api(w, c, i)
		for range 100 {
			w.ask("203.0.113.9", "POST", "/session", 200)
		}
	}, "200/401 look")
}

func TestProxies(t *testing.T) {
	s := NewSurvey()
	w := &world{now: 1000, each: []func(*Fact){s.Add}}
	via := func(peer, hop string) func(*Fact) {
		return func(f *Fact) { f.Peer, f.Hop = netip.MustParseAddr(peer), netip.MustParseAddr(hop) }
	}
	for i := range 1000 {
		for k := range 5 {
			w.ask(client(i), "GET", "/", 200, via(fmt.Sprintf("10.0.0.%d", k+1), fmt.Sprintf("198.51.100.%d", i%100)))
		}
		w.ask(client(i), "GET", "/", 200, via("203.0.113.1", fmt.Sprintf("198.51.100.%d", i%100)))
		w.ask(client(i), "GET", "/", 200, via("203.0.113.2", fmt.Sprintf("10.20.0.%d", i%40)))
		w.ask(client(i), "GET", "/", 200, via("203.0.113.9", fmt.Sprintf("9.%d.%d.1", i/250, i%250))) // forged, a new one each time
		w.ask("203.0.113.3", "GET", "/", 200)
	}
	p := s.Proxies()
	var got []string
	for _, x := range p {
		got = append(got, fmt.Sprint(x.Peer, " ", x.Ours, " ", x.Inside))
	}
	want := []string{
		"10.0.0.1 true false", "10.0.0.2 true false", "10.0.0.3 true false", "10.0.0.4 true false", "10.0.0.5 true false",
		"203.0.113.1 false false", "203.0.113.2 false true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("want the proxies %q, got %q", want, got)
	}
	if got := fmt.Sprint(Trusted(p)); got != "[10.0.0.0/24]" {
		t.Errorf("want the network of the private ones trusted, got %s", got)
	}
	if a := lastHop("10.1.1.1, 198.51.100.7:4711"); a.String() != "198.51.100.7" {
		t.Errorf("want the rightmost hop, got %s", a)
	}
}

func TestClientsBounded(t *testing.T) {
	s := &Suspects{Clients: map[netip.Prefix]bool{netip.MustParsePrefix("10.0.0.0/32"): true}}
	c := NewClients(0, 100, s)
	w := &world{each: []func(*Fact){c.Add}}
	for i := range 3 * maxClients {
		w.ask(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "GET", "/", 200)
		w.ask("192.0.2.1", "GET", "/", 200)
	}
	if len(c.byPrefix) > maxClients || c.Dropped == 0 {
		t.Errorf("want at most %d clients and a count of those let go, got %d and %d", maxClients, len(c.byPrefix), c.Dropped)
	}
	for _, p := range []string{"192.0.2.1/32", "10.0.0.0/32"} {
		if c.Of(netip.MustParsePrefix(p)) == nil {
			t.Errorf("%s is busy or a suspect, and was let go", p)
		}
	}
	if got := c.Of(netip.MustParsePrefix("192.0.2.1/32")).Requests; got != 3*maxClients {
		t.Errorf("want %d requests, got %d", 3*maxClients, got)
	}
}

// TestKnown has honest programs, and attackers that try to look like them.
func TestKnown(t *testing.T) {
	suspects := &Suspects{Clients: map[netip.Prefix]bool{netip.MustParsePrefix("203.0.113.66/32"): true}}
	c := NewClients(0, 86400, suspects)
	w := &world{each: []func(*Fact){c.Add}}
	agent := func(a string) func(*Fact) { return func(f *Fact) { f.Agent = a } }
	object := func(i int) func(*Fact) { return func(f *Fact) { f.Object = hashText(fmt.Sprint(i)) } }
	status := func(i, every int) int32 {
		if i%every == 0 {
			return 404
		}
		return 200
	}
	for i := range 2880 {
		w.now = int64(i * 30)
		w.ask("192.0.2.10", "GET", "/healthz", 200, agent("kube-probe/1.31"))
		w.ask("198.51.100.20", "GET", "/blog/{id}", 200, agent("Mozilla/5.0 (compatible; Goodbot/2.1)"), object(i))
		w.ask("203.0.113.20", "GET", "/blog/{id}", 200, agent("Mozilla/5.0 (compatible; Goodbot/2.1)"), object(i)) // says so only
		w.ask("192.0.2.30", "GET", "/news/{id}", status(i, 20), agent("OtherBot/1.0"), object(i))
		if i >= 200 && i < 1200 {
			w.ask("192.0.2.40", "GET", "/orders/{id}", 200, agent("partner-sync/3 (+https://partner.example)"), object(i))
			w.ask("203.0.113.65", "GET", "/orders/{id}", 200, agent("sync/3"), object(i))      // once, nobody knows whose
			w.ask("203.0.113.66", "GET", "/orders/{id}", 200, agent("evil-sync/3"), object(i)) // an incident accuses it
			w.ask("203.0.113.67", "GET", "/users/{id}", status(i, 10), agent("walk/1"), object(i))
			w.ask("203.0.113.68", "GET", "/users/{id}", 200, agent("Mozilla/5.0 (Windows NT 10.0)"), object(i))
			w.ask(fmt.Sprintf("203.0.113.%d", 70+i%4), "GET", "/products/{id}", 200, agent("scrape/1"), object(i)) // one of several
			w.ask("203.0.113.80", "GET", "/search", 200, agent("other-sync/1"), object(i), func(f *Fact) { f.Attack = i%100 == 0 })
		}
	}
	known, pretenders := FindKnown(c, suspects, Ranges{"goodbot": {netip.MustParsePrefix("198.51.100.0/24")}})
	var got []string
	for _, k := range known {
		got = append(got, fmt.Sprint(k.Kind, " ", k.Clients[0].Prefix.Addr(), " ", len(k.Clients), " ", k.Verified, " ", k.Once))
	}
	want := []string{
		"crawler 198.51.100.20 1 true false", "crawler 192.0.2.30 1 false false", "monitor 192.0.2.10 1 false false",
		"partner, export or indexer 192.0.2.40 1 false false", "partner, export or indexer 203.0.113.65 1 false true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("want known\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	if len(pretenders) != 1 || pretenders[0].Clients[0].Prefix.Addr().String() != "203.0.113.20" {
		t.Errorf("want one that only says that it is goodbot, got %+v", pretenders)
	}
	cl := c.Of(netip.MustParsePrefix("192.0.2.40/32"))
	if n := cl.Objects(); n < 950 || n > 1050 {
		t.Errorf("want an estimate near 1000 objects, got %d", n)
	}
}

func TestHonest(t *testing.T) {
	c := NewClients(0, 86400, &Suspects{})
	w := &world{each: []func(*Fact){c.Add}}
	in := func(f *Fact) { f.Login, f.Passed = true, true }
	out := func(f *Fact) { f.Login, f.Failed = true, true }
	agent := func(i int) func(*Fact) { return func(f *Fact) { f.Agent = fmt.Sprint("browser ", i%9) } }
	for i := range 2400 {
		w.now = int64(i * 36)
		// An office: one login in eight fails. A stuffing: one in eight succeeds.
		if i%8 == 0 {
			w.ask("192.0.2.1", "POST", "/login", 401, out, agent(i))
			w.ask("203.0.113.1", "POST", "/login", 200, in, agent(i))
		} else {
			w.ask("192.0.2.1", "POST", "/login", 200, in, agent(i))
			w.ask("203.0.113.1", "POST", "/login", 401, out, agent(i))
		}
		w.ask("192.0.2.2", "GET", "/orders", 200)
		if i < 20 {
			for range 200 {
				w.ask("203.0.113.2", "GET", "/orders", 200) // a flood: all is answered, and then it is gone
			}
		}
		if i%100 < 5 {
			w.ask("192.0.2.3", "GET", "/orders", 200) // comes every hour
		}
	}
	f := func(client, family string, want bool) {
		t.Helper()
		if got, why := c.Of(netip.MustParsePrefix(client + "/32")).Honest(family); got != want || why == "" {
			t.Errorf("%s for %s: want honest %t, got %t: %s", client, family, want, got, why)
		}
	}
	f("192.0.2.1", familyCredential, true)
	f("203.0.113.1", familyCredential, false)
	f("192.0.2.2", familyCredential, false)
	f("192.0.2.2", familyTraffic, true)
	f("203.0.113.2", familyTraffic, false)
	f("192.0.2.3", familyTraffic, true)
	f("192.0.2.2", "web-attack", false)
}

func TestRoundUp(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 3: 3, 51.25: 52, 112.5: 120, 1875: 1900} {
		if got := roundUp(x); got != want {
			t.Errorf("%g: want %g, got %g", x, want, got)
		}
	}
}

// words are a thousand that no template folds.
var words = func() (out []string) {
	const c, v = "bdfgklmnprst", "aeiou"
	for i := range 997 {
		out = append(out, string([]byte{c[i%12], v[i/12%5], c[i/60%12], v[i/7%5], c[(i+i/5)%12], v[i/720%5]}))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	for i := 0; len(out) < 997; i++ {
		out = append(out, "word"+string(rune('a'+i%26))+string(rune('a'+i/26%26)))
	}
	return out
}()
