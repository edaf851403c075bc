package sigma

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"gatewatch/event"
)

// modKind is the family of a chain of modifiers.
type modKind uint8

const (
	modText modKind = iota
	modRegex
	modExists
	modCompare
	modCIDR
	modFieldRef
)

// modifiers is a parsed chain.
type modifiers struct {
	kind    modKind
	shape   string // "", contains, startswith, endswith
	compare string // lt, lte, gt, gte
	part    string // of a time: minute, hour, day, week, month, year
	encode  []string
	flags   string // of a regular expression
	windash bool
	all     bool
	cased   bool
	neq     bool
	expand  bool
}

// knownModifiers are those of Sigma 2.1, for messages.
func knownModifiers() []string {
	return []string{
		"all", "startswith", "endswith", "contains", "exists", "cased", "neq", "windash", "re", "i", "m", "s",
		"base64", "base64offset", "utf16le", "utf16be", "utf16", "wide", "lt", "lte", "gt", "gte", "cidr",
		"minute", "hour", "day", "week", "month", "year", "expand", "fieldref",
	}
}

// parse reads what follows the field name. It reports the first fault and
// returns false.
func (m *modifiers) parse(chain string, present bool, where place, whole string, p *problems) bool {
	if !present {
		return true
	}
	seen := map[string]bool{}
	kindWord := ""
	clash := func(a, b string) bool {
		p.refuse(where, whole, "keep one of them", "the modifiers %s and %s cannot be combined", a, b)
		return false
	}
	for word := range strings.SplitSeq(chain, "|") {
		if seen[word] {
			p.refuse(where, whole, "remove one of them", "the modifier %q stands twice", word)
			return false
		}
		seen[word] = true
		kind := modText
		switch word {
		case "all":
			m.all = true
		case "cased":
			m.cased = true
		case "neq":
			m.neq = true
		case "expand":
			m.expand = true
		case "contains", "startswith", "endswith":
			if m.shape != "" {
				return clash(m.shape, word)
			}
			m.shape = word
		case "windash":
			m.windash = true
		case "wide", "utf16le", "utf16be", "utf16", "base64", "base64offset":
			m.encode = append(m.encode, word)
		case "re":
			kind = modRegex
		case "i", "m", "s":
			if m.kind != modRegex {
				p.refuse(where, whole, "write re|"+word, "%s is a flag of re and must follow it", word)
				return false
			}
			m.flags += word
		case "exists":
			kind = modExists
		case "lt", "lte", "gt", "gte":
			kind, m.compare = modCompare, word
		case "cidr":
			kind = modCIDR
		case "fieldref":
			kind = modFieldRef
		case "minute", "hour", "day", "week", "month", "year":
			if m.part != "" {
				return clash(m.part, word)
			}
			m.part = word
		default:
			p.refuse(where, whole, didYouMean(word, knownModifiers(), "see the list of modifiers in docs/rules.md"),
				"unknown modifier %q", word)
			return false
		}
		if kind == modText {
			continue
		}
		if m.kind != modText {
			return clash(kindWord, word)
		}
		m.kind, kindWord = kind, word
	}
	return m.combine(kindWord, where, whole, p)
}

// combine refuses modifiers that mean nothing together.
func (m *modifiers) combine(kindWord string, where place, whole string, p *problems) bool {
	text := "" // a modifier that only a text can have
	switch {
	case len(m.encode) > 0:
		text = m.encode[0]
	case m.windash:
		text = "windash"
	case m.shape != "" && m.kind != modFieldRef:
		text = m.shape
	case m.cased && m.kind != modFieldRef:
		text = "cased"
	}
	refuse := func(hint, format string, args ...any) bool {
		p.refuse(where, whole, hint, format, args...)
		return false
	}
	switch {
	case m.kind == modRegex && text == "cased":
		return refuse("remove it", "re minds case unless it has the flag i, cased says nothing more")
	case m.kind != modText && text != "":
		return refuse("keep one of them", "the modifiers %s and %s cannot be combined", kindWord, text)
	case m.part != "" && text != "":
		return refuse("keep one of them", "the modifiers %s and %s cannot be combined: the %s of a time is a number", m.part, text, m.part)
	case m.part != "" && m.kind != modText && m.kind != modCompare:
		return refuse("keep one of them", "the modifiers %s and %s cannot be combined: the %s of a time is a number", m.part, kindWord, m.part)
	case m.expand && (m.kind == modExists || m.kind == modFieldRef):
		return refuse("write the value out", "the modifiers expand and %s cannot be combined", kindWord)
	case m.neq && m.all:
		return refuse("negate the selection in the condition instead", "neq and all cannot be combined")
	}
	if i := slices.IndexFunc(m.encode, func(e string) bool { return strings.HasPrefix(e, "base64") }); i >= 0 && i != len(m.encode)-1 {
		return refuse("put base64 last", "nothing can be encoded after base64")
	}
	if n := len(m.encode); n > 0 && !strings.HasPrefix(m.encode[n-1], "base64") {
		return refuse("add base64 or base64offset", "%s without base64 asks for bytes that no access log has", m.encode[n-1])
	}
	return true
}

// refuseValue reports a value, with the entry of a list that made it.
func (d *detection) refuseValue(v *expanded, hint, format string, args ...any) []*matcher {
	msg := fmt.Sprintf(format, args...)
	if v.from != "" {
		msg = v.from + ": " + msg
	}
	d.p.refuse(at(d.file, v.node), v.text, hint, "%s", msg)
	return nil
}

// matchers turns one value of an item into the matchers of which one must
// hold. It returns nil after reporting a fault.
func (d *detection) matchers(src source, m *modifiers, v *expanded) []*matcher {
	if isNull(v.node) {
		if m.kind != modText || m.shape != "" || m.windash || len(m.encode) > 0 || m.part != "" {
			return d.refuseValue(v, "write the field without modifiers", "null cannot be modified")
		}
		return []*matcher{{op: opAbsent, shown: "null"}}
	}
	switch m.kind {
	case modRegex:
		flags := ""
		if m.flags != "" {
			flags = "(?" + m.flags + ")"
		}
		re, err := regexp.Compile(flags + v.regex)
		if err != nil {
			return d.refuseValue(v, "write it in RE2 syntax: no lookaround, no back references", "the regular expression is not valid: %v", err)
		}
		return []*matcher{{op: opRegex, re: re, shown: v.text}}
	case modExists:
		switch strings.ToLower(v.text) {
		case "true", "yes":
			return []*matcher{{op: opExists, shown: v.text}}
		case "false", "no":
			return []*matcher{{op: opAbsent, shown: v.text}}
		}
		return d.refuseValue(v, "write true or false", "exists needs true or false")
	case modCompare:
		if src.kind() != event.KindNumber {
			hint := "use a field that holds a number, such as http.response.status_code"
			if src.isTime() {
				hint = "compare a part of it, such as timestamp|hour|" + m.compare
			}
			return d.refuseValue(v, hint, "%s is not a number, %s cannot compare it", src, m.compare)
		}
		return d.compare(src, m.compare, v)
	case modCIDR:
		if src.kind() != event.KindAddress {
			return d.refuseValue(v, "use client.address or network.peer.address", "%s is not an address, cidr cannot match it", src)
		}
		pfx, err := netip.ParsePrefix(v.text)
		if a, aerr := netip.ParseAddr(v.text); err != nil && aerr == nil && a.Zone() == "" {
			pfx, err = netip.PrefixFrom(a, a.BitLen()), nil // the network of one address
		}
		if err != nil {
			return d.refuseValue(v, "write it as 192.0.2.0/24 or 2001:db8::/32", "%q is not a network", v.text)
		}
		return []*matcher{cidrMatcher(pfx, v.text)}
	case modFieldRef:
		return d.fieldRef(src, m, v)
	default:
		return d.textMatchers(src, m, v)
	}
}

func cidrMatcher(pfx netip.Prefix, shown string) *matcher {
	if pfx.Addr().Is4In6() && pfx.Bits() >= 96 {
		pfx = netip.PrefixFrom(pfx.Addr().Unmap(), pfx.Bits()-96)
	}
	return &matcher{op: opCIDR, cidr: pfx.Masked(), shown: shown}
}

func (d *detection) compare(src source, how string, v *expanded) []*matcher {
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil || !(math.Abs(f) <= 1<<53) {
		return d.refuseValue(v, "write a plain number", "%q is not a number", v.text)
	}
	if low, high, ok := src.limits(); ok && (f < low || f > high || f != math.Trunc(f)) {
		return d.refuseValue(v, "write one of them", "%s is a whole number from %v to %v, %q is none", src, low, high, v.text)
	}
	m := &matcher{shown: how + " " + v.text}
	switch how {
	case "gte":
		m.op, m.num = opNumGte, int64(math.Ceil(f))
	case "gt":
		m.op, m.num = opNumGte, int64(math.Floor(f))+1
	case "lte":
		m.op, m.num = opNumLte, int64(math.Floor(f))
	default:
		m.op, m.num = opNumLte, int64(math.Ceil(f))-1
	}
	return []*matcher{m}
}

func (d *detection) textMatchers(src source, m *modifiers, v *expanded) []*matcher {
	variants := [][]part{v.parts}
	if m.windash {
		variants = windash(variants[0])
		if variants == nil {
			return d.refuseValue(v, "write fewer dashes in one value", "windash would make more than %d variants", maxDashVariants)
		}
	}
	for _, e := range m.encode {
		var next [][]part
		for _, parts := range variants {
			lit, ok := plain(parts)
			if !ok || lit == "" {
				return d.refuseValue(v, `escape the wildcard as \* or \?`, "%s needs a plain text without wildcards", e)
			}
			for _, enc := range encodings(e, lit) {
				next = append(next, []part{{lit: enc}})
			}
		}
		variants = next
	}
	shape := m.shape
	out := make([]*matcher, 0, len(variants))
	for _, parts := range variants {
		switch shape {
		case "contains":
			parts = wrap(parts, true, true)
		case "startswith":
			parts = wrap(parts, false, true)
		case "endswith":
			parts = wrap(parts, true, false)
		}
		mt := textMatcher(parts, m.cased, v.text)
		if m.part != "" && mt.op != opExact {
			return d.refuseValue(v, "write a whole number, or compare with lt, lte, gt or gte", "the %s of a time is a number, %q is none", m.part, v.text)
		}
		if mt.op == opExact {
			if mt = d.typed(src, mt, v); mt == nil {
				return nil
			}
		}
		if mt.op == opExists && shape != "" {
			d.p.warn(at(d.file, v.node), v.text, "write exists: true if that is meant", "this matches every value that is there")
		}
		out = append(out, mt)
	}
	return out
}

// typed turns an exact text into a number or an address where the field holds
// such.
func (d *detection) typed(src source, m *matcher, v *expanded) *matcher {
	switch src.kind() {
	case event.KindNumber:
		n, err := strconv.ParseInt(m.text, 10, 64)
		if low, high, ok := src.limits(); ok && (err != nil || float64(n) < low || float64(n) > high) {
			d.refuseValue(v, "write one of them", "%s is a whole number from %v to %v, %q is none", src, low, high, v.text)
			return nil
		}
		if err != nil {
			d.refuseValue(v, "write a whole number, or digits with wildcards such as 4*", "%s is a number, %q is none", src, v.text)
			return nil
		}
		return &matcher{op: opNumEq, num: n, shown: m.shown}
	case event.KindAddress:
		a, err := netip.ParseAddr(m.text)
		if err != nil {
			d.refuseValue(v, "write an address, an address with wildcards, or use cidr for a network", "%s is an address, %q is none", src, v.text)
			return nil
		}
		a = a.Unmap().WithZone("")
		return cidrMatcher(netip.PrefixFrom(a, a.BitLen()), m.shown)
	default:
		return m
	}
}

const maxDashVariants = 125

// windash makes the variants of a value in which each dash that begins a
// command line option is one of those that Windows takes for it.
func windash(parts []part) [][]part {
	out := [][]part{nil}
	for pi, p := range parts {
		if p.wild != 0 {
			for i := range out {
				out[i] = append(slices.Clip(out[i]), p)
			}
			continue
		}
		start := 0
		for i := range len(p.lit) {
			c := p.lit[i]
			startsWord := i == 0 && (pi == 0 || parts[pi-1].wild != 0) || i > 0 && !wordByte(p.lit[i-1])
			if c != '-' && c != '/' || !startsWord || i+1 >= len(p.lit) || !wordByte(p.lit[i+1]) {
				continue
			}
			var next [][]part
			for _, o := range out {
				for _, dash := range []string{"-", "/", "–", "—", "―"} {
					next = append(next, append(slices.Clip(o), part{lit: p.lit[start:i] + dash}))
				}
			}
			if out, start = next, i+1; len(out) > maxDashVariants {
				return nil
			}
		}
		for i := range out {
			out[i] = append(slices.Clip(out[i]), part{lit: p.lit[start:]})
		}
	}
	for i := range out {
		out[i] = mergeLiterals(out[i])
	}
	return out
}

func mergeLiterals(parts []part) []part {
	var out []part
	for _, p := range parts {
		if n := len(out); p.wild == 0 && n > 0 && out[n-1].wild == 0 {
			out[n-1].lit += p.lit
			continue
		}
		out = append(out, p)
	}
	return out
}

func wordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// encodings returns the text that a value has in the given encoding:
// three for base64offset, one for each place in which it can begin.
func encodings(how, s string) []string {
	switch how {
	case "base64":
		return []string{base64.StdEncoding.EncodeToString([]byte(s))}
	case "base64offset":
		out := make([]string, 0, 3)
		for off := range 3 {
			enc := base64.StdEncoding.EncodeToString(append(make([]byte, off), s...))
			from := []int{0, 2, 3}[off] // characters that depend on what stands before
			to := len(enc)
			if tail := (len(s) + off) % 3; tail != 0 {
				to -= []int{0, 3, 2}[tail] // and on what stands behind
			}
			if from < to {
				out = append(out, enc[from:to])
			}
		}
		return out
	default:
		units := utf16.Encode([]rune(s))
		b := make([]byte, 0, 2*len(units)+2)
		if how == "utf16" {
			b = append(b, 0xff, 0xfe)
		}
		for _, u := range units {
			if how == "utf16be" {
				b = append(b, byte(u>>8), byte(u))
			} else {
				b = append(b, byte(u), byte(u>>8))
			}
		}
		return []string{string(b)}
	}
}
