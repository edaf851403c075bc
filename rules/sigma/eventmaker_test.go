package sigma

import (
	"math/rand/v2"
	"net/netip"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"gatewatch/event"
)

// eventMaker makes events that satisfy a condition, or its negation, out of
// what the condition says: it decides item by item what has to hold, gathers
// for each field what it has to have and must not have, and tries values that do.
type eventMaker struct {
	r    *rand.Rand
	must map[source][]*matcher
	not  map[source][]*matcher
}

// makeEvent returns an event for which a condition is want, as the naive
// evaluator judges it; nil where it found none in so many attempts.
func makeEvent(r *rand.Rand, cond *node, want bool, attempts int) *event.Event {
	for range attempts {
		m := eventMaker{r: r, must: map[source][]*matcher{}, not: map[source][]*matcher{}}
		m.decide(cond, want)
		if ev := m.event(); naive(cond, ev) == want {
			return ev
		}
	}
	return nil
}

// decide chooses how a condition comes to be want. What is to fail fails in one
// place and holds in all others, so that it nearly holds.
func (m *eventMaker) decide(n *node, want bool) {
	switch n.op {
	case nodeLeaf:
		switch src := n.leaf.src; {
		case want:
			m.must[src] = append(m.must[src], n.leaf.any[m.r.IntN(len(n.leaf.any))])
		default:
			m.not[src] = append(m.not[src], n.leaf.any...)
		}
		return
	case nodeNot:
		m.decide(n.kids[0], !want)
		return
	}
	need := 1
	switch n.op {
	case nodeAnd:
		need = len(n.kids)
	case nodeAtLeast:
		need = n.n
	}
	if !want { // so many may hold at most
		need--
	}
	free := m.r.IntN(2) == 0 // nothing is said of what does not matter
	for at, k := range m.r.Perm(len(n.kids)) {
		if matters := want == (at < need); matters || !free {
			m.decide(n.kids[k], at < need)
		}
	}
}

// event makes an event of what was decided. It may contradict itself.
func (m *eventMaker) event() *event.Event {
	e := request("GET", "/", 200, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	e.Host, e.Scheme, e.Protocol, e.Referer, e.BodySize = "shop.example.com", "https", "1.1", "https://shop.example.com/list", 512
	e.Raw = `198.51.100.7 - - "GET / HTTP/1.1" 200`
	e.Time = 1_790_000_000e9 + int64(m.r.IntN(400*24))*3600e9
	m.set(srcMethod, func(s string) { e.Method, e.MethodOriginal = s, s })
	m.set(fieldSource(event.FieldMethod), func(s string) { e.Method = s })
	m.set(srcVersion, func(s string) { e.Protocol = strings.TrimPrefix(s, "HTTP/") })
	m.set(fieldSource(event.FieldProtocol), func(s string) { e.Protocol = s })
	m.set(fieldSource(event.FieldUserAgent), func(s string) { e.UserAgent = s })
	m.set(fieldSource(event.FieldReferer), func(s string) { e.Referer = s })
	m.set(fieldSource(event.FieldHost), func(s string) { e.Host = s })
	m.set(fieldSource(event.FieldUser), func(s string) { e.User = s })
	m.set(fieldSource(event.FieldRaw), func(s string) { e.Raw = s })
	m.set(fieldSource(event.FieldScheme), func(s string) { e.Scheme = s })
	m.set(fieldSource(event.FieldRoute), func(s string) { e.Route = s })
	m.set(fieldSource(event.FieldAccount), func(s string) { e.Account = s })
	m.set(fieldSource(event.FieldPrincipal), func(s string) { e.Principal = s })
	m.set(fieldSource(event.FieldObjectID), func(s string) { e.ObjectID = s })
	m.set(fieldSource(event.FieldAttackClass), func(s string) { e.AttackClass = []string{s} })
	m.set(fieldSource(event.FieldLogin), func(s string) { e.Login = s == "true" })
	m.set(fieldSource(event.FieldOutcome), func(s string) {
		for o := range event.OutcomeUnknown + 1 {
			if o.String() == s {
				e.Outcome = o
			}
		}
	})
	m.number(event.FieldStatus, -1, func(n int64) { e.Status = int32(n) })
	m.number(event.FieldBodySize, -1, func(n int64) { e.BodySize = n })
	m.number(event.FieldRequestSize, -1, func(n int64) { e.RequestSize = n })
	m.number(event.FieldDurationMS, -1, func(n int64) { e.Duration = n * 1e6 })
	m.address(event.FieldClient, func(a netip.Addr) { e.Client = a })
	m.target(e)
	return e
}

// target makes the request's target of what is asked of it and of its parts.
func (m *eventMaker) target(e *event.Event) {
	if ref := m.must[fieldSource(event.FieldReferer)]; len(ref) > 0 && ref[0].op == opFieldRef {
		e.Referer = "https://" + e.Host + "/"
	}
	path := m.text(fieldSource(event.FieldPath))
	query := m.text(fieldSource(event.FieldQuery))
	target, url := m.text(fieldSource(event.FieldTarget)), m.text(srcURL)
	if url == "" {
		url = target
	} else if target != "" && !strings.Contains(url, target) {
		url += target
	}
	extension := m.text(srcExtension)
	switch host, rest, ok := strings.Cut(url, "://"); {
	case ok && !strings.ContainsAny(host, "/?"):
		e.Target = url // as a proxy logs it
		_, after, _ := strings.Cut(rest, "/")
		e.Path = "/" + after
	default:
		e.Target = url
		e.Path = url
	}
	if !strings.HasPrefix(e.Path, "/") && m.r.IntN(4) > 0 {
		e.Path = "/" + e.Path
		if e.Target == "" || e.Target == e.Path[1:] && m.r.IntN(2) == 0 {
			e.Target = e.Path
		}
	}
	front, behind, cut := strings.Cut(e.Path, "?")
	if path != "" {
		switch {
		case front == "/" || front == "":
			front = path
		case m.r.IntN(2) == 0:
			front += path
		default:
			front = strings.TrimSuffix(path, "/") + front
		}
	}
	if extension != "" {
		front = strings.TrimSuffix(front, "/") + "/file." + extension
	}
	if query != "" {
		if behind != "" {
			behind += "&"
		}
		behind, cut = behind+query, true
	}
	e.Path, e.Query = front, behind
	if path != "" || query != "" || extension != "" || e.Target == "" {
		at := strings.Index(e.Target, "://")
		host := ""
		if at > 0 {
			rest, _, _ := strings.Cut(e.Target[at+3:], "/")
			host = e.Target[:at+3] + rest
		}
		e.Target = host + front
		if cut {
			e.Target += "?" + behind
		}
	}
	if m.r.IntN(3) == 0 && strings.ContainsAny(e.Target, " <>\"'") {
		// As a client sends it.
		e.Target = strings.NewReplacer(" ", "%20", "<", "%3C", ">", "%3E", `"`, "%22").Replace(e.Target)
		e.Path, e.Query, _ = strings.Cut(e.Target, "?")
	}
}

// set gives a field the text that was decided for it, if any was.
func (m *eventMaker) set(src source, to func(string)) {
	must, not := m.must[src], m.not[src]
	if len(must) == 0 && len(not) == 0 {
		return
	}
	if len(must) == 0 {
		// What it has anyway may be what it must not have.
		if m.r.IntN(2) == 0 {
			to([]string{"", "x", "ordinary", "PATCH", "2"}[m.r.IntN(5)])
		}
		return
	}
	to(m.text(src))
}

// text joins what is asked of one field.
func (m *eventMaker) text(src source) string {
	var head, mid, tail string
	for _, w := range m.must[src] {
		s := m.sample(w)
		switch {
		case w.op == opAbsent:
			return ""
		case w.op == opExists:
			if head+mid+tail == "" {
				mid = "x"
			}
		case w.op == opExact:
			return s
		case w.op == opPrefix, w.op == opGlob && w.glob[0] != "*", w.op == opRegex && strings.HasPrefix(w.re.String(), "^"):
			head = longer(head, s)
		case w.op == opSuffix, w.op == opGlob && w.glob[len(w.glob)-1] != "*":
			tail = longer(tail, s)
		case !strings.Contains(mid, s):
			if mid != "" && m.r.IntN(2) == 0 {
				mid += []string{"/", " ", "&", "x"}[m.r.IntN(4)]
			}
			mid += s
		}
	}
	if strings.HasPrefix(mid, head) && m.r.IntN(2) == 0 {
		head = ""
	}
	return head + mid + tail
}

func longer(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}

func (m *eventMaker) sample(w *matcher) string {
	switch w.op {
	case opGlob:
		var b strings.Builder
		for _, g := range w.glob {
			switch g {
			case "*":
			case "?":
				b.WriteByte('x')
			default:
				b.WriteString(g[1:])
			}
		}
		return b.String()
	case opRegex:
		re, err := syntax.Parse(w.re.String(), syntax.Perl)
		if err != nil {
			return ""
		}
		return m.sampleRegexp(re)
	case opCIDR:
		return w.cidr.Addr().String()
	case opNumEq, opNumGte, opNumLte:
		return strconv.FormatInt(w.num, 10)
	default:
		return w.text
	}
}

func (m *eventMaker) sampleRegexp(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return ""
		}
		at := m.r.IntN(len(re.Rune)/2) * 2
		lo, hi := re.Rune[at], re.Rune[at+1]
		for _, r := range "axX09-_ /" { // ordinary ones, where it has them
			if r >= lo && r <= hi {
				return string(r)
			}
		}
		return string(lo)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "x"
	case syntax.OpCapture, syntax.OpPlus:
		return m.sampleRegexp(re.Sub[0])
	case syntax.OpAlternate:
		return m.sampleRegexp(re.Sub[m.r.IntN(len(re.Sub))])
	case syntax.OpRepeat:
		var b strings.Builder
		for range re.Min {
			b.WriteString(m.sampleRegexp(re.Sub[0]))
		}
		return b.String()
	case syntax.OpConcat:
		var b strings.Builder
		for _, s := range re.Sub {
			b.WriteString(m.sampleRegexp(s))
		}
		return b.String()
	default:
		return ""
	}
}

// number gives a field a number that satisfies what was decided, if any does.
func (m *eventMaker) number(f event.Field, absent int64, to func(int64)) {
	src := fieldSource(f)
	must, not := m.must[src], m.not[src]
	if len(must) == 0 && len(not) == 0 {
		return
	}
	try := []int64{200, 404, 500, 0, 302, 1}
	for _, w := range slices.Concat(must, not) {
		switch w.op {
		case opNumEq, opNumGte, opNumLte:
			try = append(try, w.num, w.num-1, w.num+1)
		case opAbsent, opExists:
			try = append(try, absent)
		default:
			for _, digit := range "0123456789" {
				n, err := strconv.ParseInt(strings.NewReplacer("x", string(digit)).Replace(m.sample(w)), 10, 64)
				if err == nil {
					try = append(try, n, n*10+1, n*100+1)
				}
			}
		}
	}
	fits := func(n int64, w *matcher) bool {
		switch w.op {
		case opAbsent:
			return n < 0
		case opExists:
			return n >= 0
		default:
			return n >= 0 && Comparison{w, src}.MatchesNumber(n)
		}
	}
	m.r.Shuffle(len(try), func(i, j int) { try[i], try[j] = try[j], try[i] })
	for _, n := range try {
		if slices.ContainsFunc(must, func(w *matcher) bool { return !fits(n, w) }) ||
			slices.ContainsFunc(not, func(w *matcher) bool { return fits(n, w) }) {
			continue
		}
		to(n)
		return
	}
}

func (m *eventMaker) address(f event.Field, to func(netip.Addr)) {
	src := fieldSource(f)
	must, not := m.must[src], m.not[src]
	if len(must) == 0 && len(not) == 0 {
		return
	}
	try := []string{"198.51.100.7", "2001:db8::7", "10.1.2.3", ""}
	for _, w := range slices.Concat(must, not) {
		s := m.sample(w)
		try = append(try, s, s+"1.2.3", s+"2.3", s+"3", s+"7.7", s+":1", s+"::1", "1.2.3"+s, "1.2"+s)
	}
	m.r.Shuffle(len(try), func(i, j int) { try[i], try[j] = try[j], try[i] })
	for _, s := range try {
		a, err := netip.ParseAddr(s)
		if err != nil && s != "" {
			continue
		}
		ev := &event.Event{Client: a, Peer: a}
		if slices.ContainsFunc(must, func(w *matcher) bool { return !naiveLeaf(src, w, ev) }) ||
			slices.ContainsFunc(not, func(w *matcher) bool { return naiveLeaf(src, w, ev) }) {
			continue
		}
		to(a)
		return
	}
}
