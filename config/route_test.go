package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"gatewatch/alerting"

	"github.com/google/go-cmp/cmp"
)

// outline writes a tree as a line a route.
func outline(r *alerting.Route, depth int) []string {
	var ms []string
	for _, m := range r.Matchers {
		ms = append(ms, m.String())
	}
	line := fmt.Sprintf("%s%v %v by=%v wait=%s interval=%s repeat=%s mute=%d active=%d continue=%t", strings.Repeat("  ", depth),
		r.Receivers, ms, r.GroupBy, r.GroupWait, r.GroupInterval, r.RepeatInterval, len(r.Mute), len(r.Active), r.Continue)
	out := []string{line}
	for i := range r.Routes {
		out = append(out, outline(&r.Routes[i], depth+1)...)
	}
	return out
}

func parseFile(t *testing.T, name string) *Config {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(name, "/etc/gw", data, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRouting(t *testing.T) {
	c := parseFile(t, "testdata/routing.yaml")
	want := []string{
		`[ops] [] by=[family] wait=30s interval=2m0s repeat=6h0m0s mute=0 active=0 continue=false`,
		`  [web ops] [level>="high" family="web-attack" rule=~"sql.*" client.address!="192.0.2.0/24" tag="a" tag="b"] by=[family] wait=30s interval=2m0s repeat=6h0m0s mute=1 active=0 continue=true`,
		`    [web ops] [level="critical"] by=[...] wait=30s interval=1m0s repeat=1h0m0s mute=0 active=0 continue=false`,
		`  [] [family="traffic"] by=[family] wait=30s interval=2m0s repeat=6h0m0s mute=0 active=2 continue=false`,
	}
	if diff := cmp.Diff(want, outline(c.Route, 0)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	berlin, _ := time.LoadLocation("Europe/Berlin")
	office := alerting.TimeInterval{
		Weekdays: []alerting.IntSpan{{From: 1, To: 5}}, DaysOfMonth: []alerting.IntSpan{{From: 1, To: 5}, {From: -3, To: -1}},
		Months: []alerting.IntSpan{{From: 5, To: 8}}, Years: []alerting.IntSpan{{From: 2026, To: 2026}}, Location: berlin,
	}
	if diff := cmp.Diff(office, c.Route.Routes[1].Active[1], cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("interval (-want +got):\n%s", diff)
	}
	if len(c.InhibitRules) != 1 || c.InhibitRules[0].Target[0].String() != `level<="medium"` || c.InhibitRules[0].Equal[0] != "client.address" {
		t.Errorf("inhibit rules: %+v", c.InhibitRules)
	}
	if c.API.Socket != "/etc/gw/run/api.sock" || !c.API.Token.IsSet() || c.API.Hosts[0] != "gw.example.com" {
		t.Errorf("api: %+v", c.API)
	}
	if _, err := c.Routing(nil); err == nil || err.Error() != `a route names the receiver "ops", which there is not` {
		t.Errorf("want a receiver missed, got %v", err)
	}
}

// TestDocumentedRoutes reads the example of docs/alerting.md.
func TestDocumentedRoutes(t *testing.T) {
	text, err := os.ReadFile("../docs/alerting.md")
	if err != nil {
		t.Fatal(err)
	}
	receivers := "receivers:\n"
	for _, name := range []string{"ops", "pager", "web-team", "shop-team", "mail"} {
		receivers += "  - {name: " + name + ", webhook: {url: \"https://hook.example/x\"}}\n"
	}
	_, block, _ := strings.Cut(string(text), "```yaml\n")
	block, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatal("no example was found")
	}
	c, err := Parse("docs/alerting.md", "/etc/gw", []byte(receivers+block), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.Route == nil || len(c.Unrouted()) > 0 {
		t.Errorf("want a tree that leads everywhere, got %+v", c.Route)
	}
}

// TestReadersNeedNoToken: who only reads has the variables of receivers and of
// the token not in the environment.
func TestReadersNeedNoToken(t *testing.T) {
	file := t.TempDir() + "/gatewatch.yaml"
	text := "api: {token: '${NOBODY_HAS_THIS}', socket: /run/x.sock}\nroute: {receiver: nobody}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadForReading(file, testEnv)
	if err != nil || c.API.Token.IsSet() || c.API.Socket != "/run/x.sock" {
		t.Errorf("want the rest read, got %+v, %v", c, err)
	}
	if _, err := Load(file, testEnv); err == nil {
		t.Error("want an error where the token is needed")
	}
}
