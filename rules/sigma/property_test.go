package sigma

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/event"
)

var (
	rounds    = flag.Int("rounds", 80, "rule sets of other property tests")
	pairCount = flag.Int("sigma.pairs", 100_000, "pairs of a rule and an event in the property test")
)

// gen makes random rules and events out of the same few pieces, so that they
// meet often.
type gen struct{ r *rand.Rand }

func (g gen) pick(list ...string) string { return list[g.r.IntN(len(list))] }

func (g gen) text(n int) string {
	var b strings.Builder
	for range 1 + g.r.IntN(n) {
		b.WriteString(g.pick("a", "b", "A", "B", "ab", "../", "/", "sel", "ect", "%41", "%2e", "%2F", "%2", "%", "+", " ",
			"?", "=", "k", "K", "s", "S", "ſ", "K", "é", "É", "\xff", "1", "40", ".php", "%25", "%3f", "\"", "script", "x"))
	}
	return b.String()
}

func (g gen) value() string {
	s := g.text(3)
	s = strings.ToValidUTF8(s, "z")
	s = strings.NewReplacer("?", `\?`).Replace(s)
	switch g.r.IntN(6) {
	case 0:
		return g.text1() + "*" + s
	case 1:
		return s + "?" + g.text1()
	case 2:
		return "*" + s + g.pick("*", "?", "")
	}
	return s
}

func (g gen) text1() string { return g.pick("a", "b", "sel", "/", "", "1", "k") }

func (g gen) regex() string {
	return g.pick(`sel.ct`, `(?i)SELECT`, `(?i)kiss`, `a+b`, `(ab|sel)ect`, `^/a`, `b$`, `[0-9]{2}`, `a.*b`, `(?i)s`, `\.\./`, `(?s)x.a`,
		`(a|b)(sel|script)x?`, `é`, `(?i)É`, `\x{FFFD}`, `a{2,}`, `(?:ab)?sel`, `^$`, `script|k`, `\bsel\b`)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (g gen) list(n int, f func() string) string {
	var vs []string
	for range 1 + g.r.IntN(n) {
		vs = append(vs, quote(f()))
	}
	return "[" + strings.Join(vs, ", ") + "]"
}

func (g gen) item() string {
	textField := g.pick("url.path", "url.query", "cs-uri-query", "c-uri", "user_agent.original", "cs-referer", "http.request.method",
		"cs-method", "cs-host", "c-uri-extension", "cs-version", "user.name", "auth.login", "request.malformed_reason", "client.prefix", "event.original", "attack.class")
	switch g.r.IntN(16) {
	case 12:
		return g.timeItem()
	case 13:
		return g.refItem()
	case 14:
		return g.listItem()
	case 15:
		return g.pick("url.query", "user_agent.original", "event.original") + "|" +
			g.pick("windash|contains", "base64offset|contains", "base64|contains|cased", "wide|base64offset|contains", "utf16|base64|contains") + ": " +
			g.pick("'-x'", "'a -b'", "ab", "'k'", "[sel, 'a']")
	case 0:
		return "sc-status: " + g.pick("200", "404", "[200, 404]", "'4*'", "'?0?'", "null", "['40*', 500]")
	case 1:
		return g.pick("sc-status", "sc-bytes", "time-taken") + "|" + g.pick("gt", "gte", "lt", "lte") + ": " + g.pick("200", "399", "1500", "0", "404.5")
	case 2:
		return "c-ip|cidr: " + g.pick("10.0.0.0/8", "[10.1.0.0/16, '2001:db8::/32']", "'::/0'", "0.0.0.0/0")
	case 3:
		return "c-ip: " + g.pick("10.1.2.3", "'10.1.*'", "['2001:db8::1', 10.9.9.9]", "null", "'*'")
	case 4:
		return textField + "|exists: " + g.pick("true", "false")
	case 5:
		return textField + "|re" + g.pick("", "|i", "|s") + ": " + g.list(2, g.regex)
	case 6:
		return textField + ": " + g.pick("null", "''", "[null, 'a']")
	case 7:
		return textField + "|contains|all: " + g.list(3, g.value)
	case 8:
		return textField + "|" + g.pick("contains", "startswith", "endswith") + g.pick("", "|cased", "|neq") + ": " + g.list(4, g.value)
	case 9:
		return textField + g.pick("", "|cased", "|neq") + ": " + g.list(3, g.value)
	case 10:
		return g.pick("sc-bytes", "c-ip") + "|" + g.pick("contains", "startswith", "endswith") + ": " + g.list(2, func() string { return g.pick("1", "10", "0", "2001", ":") })
	default:
		return textField + "|" + g.pick("contains", "startswith", "endswith") + ": " + quote(g.value())
	}
}

func (g gen) timeItem() string {
	field := g.pick("timestamp", "@timestamp", "event.time")
	switch g.r.IntN(5) {
	case 0:
		return g.pick("date", "timestamp") + "|startswith: " + g.pick("'2026-'", "'2026-12'", "2027")
	case 1:
		return g.pick("time|endswith: ':00'", "time: '23:59:59'", "date: 2026-12-31", "time|exists: true", "timestamp: null")
	}
	part := g.pick("minute", "hour", "day", "week", "month", "year")
	n := map[string][]string{
		"minute": {"0", "30", "59"}, "hour": {"0", "12", "23"}, "day": {"1", "15", "31"}, "week": {"1", "52", "53"},
		"month": {"1", "12"}, "year": {"1970", "2026", "2027"},
	}[part]
	return field + "|" + part + g.pick("", "|neq", "|lt", "|lte", "|gt", "|gte") + ": " + g.pick(n...)
}

func (g gen) refItem() string {
	field := g.pick("url.path", "url.query", "c-uri", "cs-referer", "user.name", "cs-host", "event.original", "sc-bytes", "c-ip", "client.prefix", "sc-status")
	ref := g.pick("url.query", "cs-referer", "user.name", "cs-host", "cs-uri-query", "user_agent.original", "c-uri-extension", "http.request.size", "time-taken")
	shape := g.pick("|contains", "|startswith", "|endswith")
	if field == "c-ip" || field == "sc-status" {
		ref = "user.name"
	}
	if field == ref || field == "c-uri" && ref == "cs-uri-query" { // the same field
		ref = "http.request.id"
	}
	if g.r.IntN(3) == 0 && field != "c-ip" || field == "sc-bytes" {
		shape = ""
	}
	if field == "c-ip" && g.r.IntN(2) == 0 {
		shape, ref = "", "network.peer.address"
	}
	return field + shape + g.pick("", "|cased") + "|fieldref" + g.pick("", "|neq") + ": " + ref
}

// lists are what %name% stands for in generated rules.
func lists() map[string][]string {
	return map[string][]string{
		"few": {"a", "sel*", "?b"}, "words": {"ab", "select", "../", "K", "%41", "script", `a\*`}, "none": {}, "nets": {"10.0.0.0/9", "192.0.2.1", "2001:db8::/32"},
		"codes": {"200", "404"},
	}
}

func (g gen) listItem() string {
	field := g.pick("url.path", "url.query", "cs-uri-query", "user_agent.original", "cs-referer", "user.name", "event.original")
	value := func() string {
		return g.pick("%few%", "%words%", "%none%", "a%words%", "%few%%words%", `\%few%`, "x", "100%", "%few%b")
	}
	switch g.r.IntN(6) {
	case 0:
		return "c-ip|cidr|expand" + g.pick("", "|neq") + ": '%nets%'"
	case 1:
		return "sc-status|expand: ['%codes%', '%none%']"
	case 2:
		return "sc-status|expand|gte: '%codes%'"
	case 3:
		return field + "|re|expand: " + quote(g.pick("^/%few%", "%words%+x", "(%words%|%none%)", "%few%$"))
	case 4:
		return field + "|contains|all|expand: " + g.list(2, value)
	default:
		return field + g.pick("", "|contains", "|startswith", "|endswith") + "|expand" + g.pick("", "|cased", "|neq") + ": " + g.list(3, value)
	}
}

func (g gen) selection() string {
	if g.r.IntN(5) == 0 {
		return g.list(4, func() string { return "q" + g.value() })
	}
	seen := map[string]bool{}
	var items []string
	for range 1 + g.r.IntN(3) {
		it := g.item()
		if key, _, _ := strings.Cut(it, ":"); !seen[key] {
			seen[key] = true
			items = append(items, quoteKey(it))
		}
	}
	m := "{" + strings.Join(items, ", ") + "}"
	if g.r.IntN(5) == 0 {
		return "[" + m + ", {" + quoteKey(g.item()) + "}]"
	}
	return m
}

func quoteKey(item string) string {
	key, v, _ := strings.Cut(item, ":")
	return `"` + key + `":` + v
}

func (g gen) rule(i int) string {
	n := 1 + g.r.IntN(4)
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: r%d\nid: r%d\nlogsource: {category: %s}\ndetection:\n", i, i, g.pick("webserver", "proxy"))
	for s := range n {
		fmt.Fprintf(&b, "  s%d: %s\n", s, g.selection())
	}
	conds := []string{"s0", "not s0", "all of them", "1 of s*", "not 1 of s*", "s0 or not s0", "any of *0", "[s0, all of s*]", "not not s0", "1 of s*0"}
	if n > 1 {
		conds = append(conds, "s0 and not s1", "s0 or s1", "not (s0 and s1)", "s0 and (s1 or not s0)")
	}
	if g.r.IntN(4) == 0 { // left out of them
		fmt.Fprintf(&b, "  _u: %s\n", g.selection())
		conds = append(conds, "all of them and _u", "1 of * or not _u", "1 of _* and not 1 of s*")
	}
	if n > 2 {
		conds = append(conds, "[s0 and s1, 's1 and not s2']", "1 of s*1 or (s2 and not (s0 or s1))", "2 of them", "not 2 of s*", "s0 and not 1 of s*", "s0 or s1 and s2", "not s0 and not s1 or s2")
	}
	fmt.Fprintf(&b, "  condition: %s\n", conds[g.r.IntN(len(conds))])
	return b.String()
}

func (g gen) event() *event.Event {
	e := request(g.pick("GET", "POST", "_OTHER"), "/"+g.text(6+20*g.r.IntN(2))+g.pick("", "?"+g.text(5), "?"+g.text(30)), int32(g.r.IntN(3)*202), g.text(4))
	switch g.r.IntN(8) {
	case 0: // parts that are not the target's
		e.Path = "/" + g.text(3)
	case 1:
		e.Target = "http://a.b" + e.Target
	case 2:
		e.Target, e.Path, e.Query = "", "", ""
	}
	if g.r.IntN(2) == 0 {
		e.UserAgent = g.pick("", "a", "ab", "select", "Script")
	}
	if e.Method == "_OTHER" {
		e.MethodOriginal = g.text(2)
	}
	e.Raw = g.text(12 + 30*g.r.IntN(2))
	e.Referer, e.User, e.Protocol = g.pick("", g.text(3)), g.pick("", g.text(2), g.pick("2", "4", "1", "10.", ".3", ".1")), g.pick("", "1.1", "2")
	e.Host, e.Scheme = g.pick("", "ab", g.text(2)), g.pick("", "https")
	e.BodySize = []int64{-1, 0, 10, 999, 1000, 1500, 101010}[g.r.IntN(7)]
	e.Duration = []int64{-1, 0, 200e6, 1500e6, 404e6}[g.r.IntN(5)]
	e.Login = g.r.IntN(2) == 0
	e.Time = g.time()
	for range g.r.IntN(4) {
		e.AttackClass = append(e.AttackClass, g.pick("a", "sel", "ab", "script", "k1"))
	}
	e.RequestSize = []int64{-1, 0, 999, 1500}[g.r.IntN(4)]
	if g.r.IntN(3) == 0 { // fields that repeat each other
		e.Referer, e.User = g.pick(e.Target, e.Query, e.Host), g.pick(strings.ToUpper(e.Query), e.Host, e.UserAgent)
	}
	e.Client = netip.Addr{}
	if a := g.pick("", "10.1.2.3", "10.9.9.9", "2001:db8::1", "::ffff:10.1.2.3", "192.0.2.1"); a != "" {
		e.Client = netip.MustParseAddr(a)
	}
	e.Peer = e.Client
	if g.r.IntN(2) == 0 {
		e.Peer = netip.MustParseAddr(g.pick("10.1.2.3", "2001:db8::1"))
	}
	return e
}

// time returns a time at or beside one of the turns of a calendar.
func (g gen) time() int64 {
	turns := []string{"2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z", "2027-01-03T12:30:00Z", "2024-12-30T00:00:00Z", "2021-01-01T00:00:00Z", "2026-07-15T12:00:30Z"}
	t, _ := time.Parse(time.RFC3339, turns[g.r.IntN(len(turns))])
	switch g.r.IntN(8) {
	case 0:
		return 0 // not known
	case 1:
		return t.UnixNano() - 1
	default:
		return t.UnixNano() + int64(g.r.IntN(3)-1)*int64(time.Hour)
	}
}

// TestIndexAgreesWithNaive compares the matcher with the naive evaluator on
// random rules and events.
func TestIndexAgreesWithNaive(t *testing.T) {
	t.Parallel()
	pairs := *pairCount
	if raceEnabled {
		pairs /= 20 // one goroutine: the answers are looked at without the detector
	}
	done, hits := 0, 0
	for round := 0; done < pairs; round++ {
		g := gen{rand.New(rand.NewPCG(uint64(round), 7))}
		var b strings.Builder
		for i := range 20 {
			b.WriteString(g.rule(i))
		}
		p, h := agree(t, b.String(), 60, g.event)
		done, hits = done+p, hits+h
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("%d pairs, %d matches", done, hits)
	if hits < done/20 {
		t.Errorf("only %d of %d pairs match: the generator makes rules and events that do not meet", hits, done)
	}
}

// TestGenerator: the random rules and events reach each kind of comparison,
// and both its outcomes.
func TestGenerator(t *testing.T) {
	type outcome struct{ yes, no int }
	seen := map[string]*outcome{}
	var count func(n *node, ev *event.Event)
	count = func(n *node, ev *event.Event) {
		for _, k := range n.kids {
			count(k, ev)
		}
		if n.op != nodeLeaf {
			return
		}
		for _, m := range n.leaf.any {
			key := fmt.Sprint(m.op)
			switch {
			case m.op == opFieldRef:
				key = fmt.Sprintf("reference, exact %v, kind %d", m.shape == opExact, n.leaf.src.kind())
				if n.leaf.src.kind() == event.KindText {
					key = fmt.Sprintf("reference, shape %d", m.shape)
				}
			case n.leaf.src >= srcTimestamp:
				key = fmt.Sprintf("%s, op %d", n.leaf.src, m.op)
			}
			o := seen[key]
			if o == nil {
				o = &outcome{}
				seen[key] = o
			}
			if naiveLeaf(n.leaf.src, m, ev) {
				o.yes++
			} else {
				o.no++
			}
		}
	}
	rounds := 150
	if raceEnabled {
		rounds = 100
	}
	for round := range rounds {
		g := gen{rand.New(rand.NewPCG(uint64(round), 8))}
		var b strings.Builder
		for i := range 20 {
			b.WriteString(g.rule(i))
		}
		set, _ := Parse([]Document{{File: "random.yml", Data: []byte(b.String())}})
		x, _ := set.Compile(CompileOptions{Lists: lists()})
		for range 10 {
			ev := g.event()
			for i := range x.dets {
				count(x.dets[i].cond, ev)
			}
		}
	}
	for key, o := range seen {
		if o.no == 0 || o.yes == 0 && key != fmt.Sprint(opNever) {
			t.Errorf("%s: %+v", key, *o)
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d kinds of comparisons", len(seen))
	}
	for o := opContains; o <= opNever; o++ {
		if seen[fmt.Sprint(o)] == nil && o != opFieldRef {
			t.Errorf("op %d was never made", o)
		}
	}
}

// TestManyLiterals: more than the table has rows for.
func TestManyLiterals(t *testing.T) {
	yaml, _, _ := strings.Cut(manyRules(300), "---\ntitle: any request")
	set, _ := Parse([]Document{{File: "many.yml", Data: []byte(yaml)}})
	x, _ := set.Compile(CompileOptions{})
	if len(x.inputs[x.steps[len(x.steps)-1].target].auto.fail) == 0 {
		t.Fatal("the rules make too few states")
	}
	var words []string
	for i := range x.patterns {
		if m := x.patterns[i].m; m.op == opContains || m.op == opSuffix {
			words = append(words, m.text)
		}
	}
	g := gen{rand.New(rand.NewPCG(30, 31))}
	events := 24
	if raceEnabled {
		events /= 4 // each is compared with each rule by hand
	}
	_, hits := agree(t, yaml, events, func() *event.Event {
		word := func() string { return words[g.r.IntN(len(words))] }
		return request(g.pick("GET", "POST"), "/"+word()+"x?"+word()+word()[:3]+word()+word(), 200, word())
	})
	if hits < events*30/24 {
		t.Errorf("%d matches say too little", hits)
	}
}

func agree(t *testing.T, yaml string, events int, next func() *event.Event) (pairs, hits int) {
	t.Helper()
	set, problems := Parse([]Document{{File: "random.yml", Data: []byte(yaml)}})
	for _, p := range problems {
		if p.Severity == Refused {
			t.Errorf("%v\n%s", p, yaml)
			return 0, 0
		}
	}
	x, problems := set.Compile(CompileOptions{Lists: lists()})
	for _, p := range problems {
		if p.Severity == Refused {
			t.Errorf("%v\n%s", p, yaml)
			return 0, 0
		}
	}
	m := x.NewMatcher()
	text := ruleNodes(t, yaml)
	for n := range events {
		ev := next()
		got := map[*Rule]bool{}
		for _, r := range m.Match(ev) {
			got[r.Rule] = true
		}
		// The second time its shape is known.
		if again := m.Match(ev); len(again) != len(got) || slices.ContainsFunc(again, func(r Match) bool { return !got[r.Rule] }) {
			t.Errorf("the second time the index says %v, the first time %v\nevent %+v", again, got, *ev)
			return pairs, hits
		}
		for _, r := range x.Rules() {
			pairs++
			want := naive(r.cond, ev)
			read := reader{ev: ev, lists: lists()}.rule(text[r.ID])
			if want {
				hits++
			}
			if want != got[r] || want != read {
				t.Errorf("rule %s: naive says %v, its text %v, the index %v\nevent %+v\n%s", r.ID, want, read, got[r], *ev, ruleText(yaml, r.ID))
				return pairs, hits
			}
			if n%10 != 0 {
				continue
			}
			if told, ok := m.Explain(ev, r); !ok || told.Holds != want || !consistent(t, &told) {
				t.Errorf("rule %s: naive says %v, but it is explained as %+v\nevent %+v\n%s", r.ID, want, told, *ev, ruleText(yaml, r.ID))
				return pairs, hits
			}
		}
	}
	return pairs, hits
}

// consistent reports whether each part of an explained condition holds as its
// parts say, and each item that matched says of what.
func consistent(t *testing.T, told *Test) bool {
	yes := 0
	for i := range told.Tests {
		if !consistent(t, &told.Tests[i]) {
			return false
		}
		if told.Tests[i].Holds {
			yes++
		}
	}
	holds := told.Holds != told.Not
	switch told.Op {
	case And:
		return holds == (yes == len(told.Tests))
	case Or:
		return holds == (yes > 0)
	case AtLeast:
		return holds == (yes >= told.N)
	default: // neq is an item that matches what it has not
		return strings.Contains(told.Key, "|neq") || holds == (told.Matched != "")
	}
}

// ruleNodes reads the documents as any YAML reader does, by id.
func ruleNodes(t *testing.T, text string) map[string]*yaml.Node {
	t.Helper()
	out := map[string]*yaml.Node{}
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		if err := dec.Decode(&n); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if n.Kind == yaml.DocumentNode && n.Content[0].Kind == yaml.MappingNode {
			out[get(n.Content[0], "id").Value] = n.Content[0]
		}
	}
}

func ruleText(yaml, id string) string {
	for doc := range strings.SplitSeq(yaml, "---\n") {
		if strings.Contains(doc, "\nid: "+id+"\n") {
			return doc
		}
	}
	return ""
}

// FuzzMatch compares the two on the bytes that the fuzzer finds.
func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), "/a?b=%41", "ua", "raw")
	f.Add(uint64(2), "/%2e%2e/?x=sel+ect", "", "q..")
	f.Fuzz(func(t *testing.T, seed uint64, target, agent, raw string) {
		g := gen{rand.New(rand.NewPCG(seed, 3))}
		var b strings.Builder
		for i := range 4 {
			b.WriteString(g.rule(i))
		}
		agree(t, b.String(), 2, func() *event.Event {
			e := g.event()
			e.Target, e.UserAgent, e.Raw = target, agent, raw
			e.Path, e.Query, _ = strings.Cut(target, "?")
			return e
		})
	})
}
