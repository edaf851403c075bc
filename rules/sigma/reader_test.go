package sigma

import (
	"encoding/base64"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"gatewatch/event"
)

// reader judges an event by the text of a rule, as the specification reads:
// selection by selection, item by item, value by value. It shares nothing with
// the package but the names of fields; what a field holds it has from
// naiveValues. It expects rules without faults.
type reader struct {
	ev    *event.Event
	lists map[string][]string
	proxy bool
}

func (r reader) rule(doc *yaml.Node) bool {
	if ls := get(doc, "logsource"); ls != nil {
		if c := get(ls, "category"); c != nil {
			r.proxy = c.Value == "proxy"
		}
	}
	det := get(doc, "detection")
	var names []string
	for i := 0; i < len(det.Content); i += 2 {
		if n := det.Content[i].Value; n != "condition" {
			names = append(names, n)
		}
	}
	cond := get(det, "condition")
	exprs := []*yaml.Node{cond}
	if cond.Kind == yaml.SequenceNode {
		exprs = cond.Content
	}
	for _, e := range exprs {
		c := &sentence{words: regexp.MustCompile(`[()]|[^\s()]+`).FindAllString(e.Value, -1), names: names, holds: func(n string) bool { return r.selection(get(det, n)) }}
		if c.or() {
			return true
		}
	}
	return false
}

// sentence is a condition that is read and judged in one go.
type sentence struct {
	words []string
	names []string
	holds func(string) bool
}

func (c *sentence) next() string {
	w := c.words[0]
	c.words = c.words[1:]
	return w
}

func (c *sentence) is(w string) bool {
	if len(c.words) > 0 && strings.EqualFold(c.words[0], w) {
		c.next()
		return true
	}
	return false
}

func (c *sentence) or() bool {
	v := c.and()
	for c.is("or") {
		v = c.and() || v
	}
	return v
}

func (c *sentence) and() bool {
	v := c.not()
	for c.is("and") {
		v = c.not() && v
	}
	return v
}

func (c *sentence) not() bool {
	if c.is("not") {
		return !c.not()
	}
	if c.is("(") {
		v := c.or()
		c.is(")")
		return v
	}
	word := c.next()
	if !c.is("of") {
		return c.holds(word)
	}
	pattern := c.next()
	if pattern == "them" {
		pattern = "*"
	}
	re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$")
	all, yes := 0, 0
	for _, n := range c.names {
		if !re.MatchString(n) || n[0] == '_' && pattern[0] != '_' {
			continue
		}
		all++
		if c.holds(n) {
			yes++
		}
	}
	switch word {
	case "all":
		return yes == all
	case "any":
		return yes > 0
	default:
		n, _ := strconv.Atoi(word)
		return yes >= n
	}
}

func (r reader) selection(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			if !r.item(n.Content[i].Value, n.Content[i+1]) {
				return false
			}
		}
		return true
	case yaml.SequenceNode:
		return slices.ContainsFunc(n.Content, r.selection)
	default:
		return r.item("|contains", n)
	}
}

// item judges "field|modifiers: values".
func (r reader) item(key string, n *yaml.Node) bool {
	field, rest, _ := strings.Cut(key, "|")
	mods := map[string]bool{}
	var order []string
	for m := range strings.SplitSeq(rest, "|") {
		mods[m] = true
		order = append(order, m)
	}
	values := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		values = n.Content
	}
	yes, count := 0, 0
	for _, v := range values {
		null := v.Tag == "!!null"
		texts := []piecewise{{{text: v.Value}}}
		if mods["expand"] && !null {
			texts = r.expand(v.Value)
		}
		for _, t := range texts {
			count++
			if r.value(field, mods, order, t, null) {
				yes++
			}
		}
	}
	ok := yes > 0
	if mods["all"] {
		ok = count > 0 && yes == count
	}
	return ok != mods["neq"]
}

// piecewise is a value made of what the rule says and of entries of lists.
type piecewise []struct {
	text  string
	entry bool
}

func (p piecewise) String() string {
	var b strings.Builder
	for _, part := range p {
		b.WriteString(part.text)
	}
	return b.String()
}

func (r reader) expand(s string) []piecewise {
	// Escapes come first, so that one takes the meaning from a '%'.
	marks := regexp.MustCompile(`\\.|%[A-Za-z0-9_.-]+%`).FindAllStringIndex(s, -1)
	out := []piecewise{{}}
	add := func(texts []string, entry bool) {
		var next []piecewise
		for _, o := range out {
			for _, t := range texts {
				p := append(piecewise{}, o...)
				p = append(p, struct {
					text  string
					entry bool
				}{t, entry})
				next = append(next, p)
			}
		}
		out = next
	}
	at := 0
	for _, m := range marks {
		word := s[m[0]:m[1]]
		add([]string{s[at:m[0]]}, false)
		at = m[1]
		switch {
		case word == `\%`:
			add([]string{"%"}, false)
		case word[0] == '\\':
			add([]string{word}, false)
		default:
			add(r.lists[strings.Trim(word, "%")], true)
		}
	}
	add([]string{s[at:]}, false)
	return out
}

// value judges one value.
func (r reader) value(field string, mods map[string]bool, order []string, p piecewise, null bool) bool {
	tax := taxWebserver
	if r.proxy {
		tax = taxProxy
	}
	src := fieldSource(event.FieldRaw)
	if field != "" {
		src, _ = lookupSource(field, tax)
	}
	text := p.String()
	for _, m := range order {
		switch m {
		case "minute", "hour", "day", "week", "month", "year":
			src = map[string]source{"minute": srcMinute, "hour": srcHour, "day": srcDay, "week": srcWeek, "month": srcMonth, "year": srcYear}[m]
		}
	}
	have := naiveValues(src, r.ev)
	for _, m := range order {
		switch m {
		case "exists":
			return (text == "true") == (len(have) > 0)
		case "fieldref":
			ref, _ := lookupSource(text, tax)
			shape := opExact
			for name, o := range map[string]op{"contains": opContains, "startswith": opPrefix, "endswith": opSuffix} {
				if mods[name] {
					shape = o
				}
			}
			return naiveRef(src, &matcher{ref: ref, shape: shape, cased: mods["cased"]}, r.ev)
		case "cidr":
			return inNetwork(have, text)
		case "lt", "lte", "gt", "gte":
			return compares(have, m, text)
		case "re":
			return r.regexp(have, mods, p)
		}
	}
	if null {
		return len(have) == 0
	}
	if field == "" && !mods["startswith"] && !mods["endswith"] {
		mods["contains"] = true
	}
	for _, pattern := range patterns(p, mods, order) {
		if r.like(src, have, pattern, mods) {
			return true
		}
	}
	return false
}

func inNetwork(have []string, text string) bool {
	if !strings.Contains(text, "/") {
		if strings.Contains(text, ":") {
			text += "/128"
		} else {
			text += "/32"
		}
	}
	net := netip.MustParsePrefix(text)
	return len(have) > 0 && net.Masked().Contains(netip.MustParseAddr(have[0]).Unmap())
}

func compares(have []string, how, text string) bool {
	if len(have) == 0 {
		return false
	}
	a, _ := strconv.ParseFloat(have[0], 64)
	b, _ := strconv.ParseFloat(text, 64)
	return how == "lt" && a < b || how == "lte" && a <= b || how == "gt" && a > b || how == "gte" && a >= b
}

func (r reader) regexp(have []string, mods map[string]bool, p piecewise) bool {
	expr := ""
	for _, flag := range []string{"i", "m", "s"} {
		if mods[flag] {
			expr += "(?" + flag + ")"
		}
	}
	for _, part := range p {
		if part.entry {
			expr += "(?s:" + glob(tokens(part.text), true) + ")"
		} else {
			expr += part.text
		}
	}
	for _, v := range have {
		if naiveRegexp(expr).MatchString(v) {
			return true
		}
	}
	return false
}

// tok is a byte of a pattern: literal, or a wildcard.
type tok struct {
	lit  string
	wild byte
}

// tokens reads wildcards and their escapes.
func tokens(s string) []tok {
	var out []tok
	for s != "" {
		switch {
		case strings.HasPrefix(s, `\*`), strings.HasPrefix(s, `\?`), strings.HasPrefix(s, `\\`):
			out = append(out, tok{lit: s[1:2]})
			s = s[2:]
		case s[0] == '*' || s[0] == '?':
			out = append(out, tok{wild: s[0]})
			s = s[1:]
		default:
			out = append(out, tok{lit: s[:1]})
			s = s[1:]
		}
	}
	return out
}

// glob writes a pattern as a regular expression.
func glob(ts []tok, cased bool) string {
	var b strings.Builder
	for _, t := range ts {
		switch {
		case t.wild == '*':
			b.WriteString(".*")
		case t.wild == '?':
			b.WriteString(".")
		case t.lit[0] >= utf8.RuneSelf:
			b.WriteString(t.lit)
		case !cased && strings.ToUpper(t.lit) != strings.ToLower(t.lit):
			b.WriteString("[" + strings.ToUpper(t.lit) + strings.ToLower(t.lit) + "]")
		default:
			b.WriteString(regexp.QuoteMeta(t.lit))
		}
	}
	return b.String()
}

// patterns applies what changes a value: dashes and encodings.
func patterns(p piecewise, mods map[string]bool, order []string) [][]tok {
	var ts []tok
	for _, part := range p {
		ts = append(ts, tokens(part.text)...)
	}
	out := [][]tok{ts}
	if mods["windash"] {
		out = dashes(ts)
	}
	for _, m := range order {
		if m != "wide" && m != "utf16" && m != "utf16le" && m != "utf16be" && m != "base64" && m != "base64offset" {
			continue
		}
		var next [][]tok
		for _, o := range out {
			plain := ""
			for _, t := range o {
				plain += t.lit
			}
			for _, e := range encode(m, plain) {
				var ts []tok
				for i := range len(e) {
					ts = append(ts, tok{lit: e[i : i+1]})
				}
				next = append(next, ts)
			}
		}
		out = next
	}
	return out
}

// dashes writes the pattern with each spelling of each dash before a word.
func dashes(ts []tok) [][]tok {
	word := naiveRegexp(`^\w$`)
	isWord := func(i int) bool { return i >= 0 && i < len(ts) && ts[i].wild == 0 && word.MatchString(ts[i].lit) }
	out := [][]tok{{}}
	for i, t := range ts {
		spellings := []string{t.lit}
		if (t.lit == "-" || t.lit == "/") && isWord(i+1) && !isWord(i-1) {
			spellings = []string{"-", "/", "–", "—", "―"}
		}
		var next [][]tok
		for _, o := range out {
			for _, s := range spellings {
				n := append([]tok{}, o...)
				if t.wild != 0 {
					n = append(n, t)
				}
				for j := range len(s) {
					n = append(n, tok{lit: s[j : j+1]})
				}
				next = append(next, n)
			}
		}
		out = next
	}
	return out
}

// encode encodes a text. Of base64offset it finds by trial which characters
// do not depend on what stands around the text.
func encode(how, s string) []string {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	switch how {
	case "base64":
		return []string{b64(s)}
	case "base64offset":
		var out []string
		for lead := range 3 {
			stable := ""
			a := b64(strings.Repeat("\x00", lead) + s + strings.Repeat("\x00", (6-lead-len(s)%3)%3))
			b := b64(strings.Repeat("\xff", lead) + s + strings.Repeat("\xff", (6-lead-len(s)%3)%3))
			for i := range len(a) {
				if a[i] == b[i] {
					stable += a[i : i+1]
				}
			}
			if stable != "" { // too short to be seen there
				out = append(out, stable)
			}
		}
		return out
	}
	out := ""
	if how == "utf16" {
		out = "\xff\xfe"
	}
	for _, u := range utf16.Encode([]rune(s)) {
		lo, hi := string([]byte{byte(u)}), string([]byte{byte(u >> 8)})
		if how == "utf16be" {
			out += hi + lo
		} else {
			out += lo + hi
		}
	}
	return []string{out}
}

// like matches a pattern against what the field has.
func (r reader) like(src source, have []string, ts []tok, mods map[string]bool) bool {
	plain, wild := "", false
	for _, t := range ts {
		plain += t.lit
		wild = wild || t.wild != 0
	}
	exact := !mods["contains"] && !mods["startswith"] && !mods["endswith"]
	if exact && len(ts) == 0 {
		return len(have) == 0
	}
	if exact && !wild {
		switch src.kind() {
		case event.KindNumber:
			return len(have) > 0 && have[0] == strings.TrimLeft(plain, "0") || len(have) > 0 && have[0] == plain
		case event.KindAddress:
			return len(have) > 0 && netip.MustParseAddr(have[0]).Unmap() == netip.MustParseAddr(plain)
		}
	}
	expr := glob(ts, mods["cased"])
	if mods["contains"] || mods["endswith"] {
		expr = ".*" + expr
	}
	if mods["contains"] || mods["startswith"] {
		expr += ".*"
	}
	re := naiveRegexp(`(?s)\A` + expr + `\z`)
	return slices.ContainsFunc(have, re.MatchString)
}
