package sigma

import (
	"encoding/base64"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v4"

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
)

// modifiers is a parsed chain.
type modifiers struct {
	kind    modKind
	shape   string // "", contains, startswith, endswith
	compare string // lt, lte, gt, gte
	encode  []string
	flags   string // of a regular expression
	windash bool
	all     bool
	cased   bool
	neq     bool
}

// knownModifiers are those of Sigma 2.1, for messages.
func knownModifiers() []string {
	return []string{
		"all", "startswith", "endswith", "contains", "exists", "cased", "neq", "windash", "re", "i", "m", "s",
		"base64", "base64offset", "utf16le", "utf16be", "utf16", "wide", "lt", "lte", "gt", "gte", "cidr",
	}
}

// parse reads what follows the field name. It reports the first fault and
// returns false.
func (m *modifiers) parse(chain string, present bool, where place, whole string, p *problems) bool {
	if !present {
		return true
	}
	kinds := 0
	set := func(k modKind) { m.kind = k; kinds++ }
	for word := range strings.SplitSeq(chain, "|") {
		switch word {
		case "all":
			m.all = true
		case "cased":
			m.cased = true
		case "neq":
			m.neq = true
		case "contains", "startswith", "endswith":
			if m.shape != "" {
				p.refuse(where, whole, "keep one of them", "%s and %s cannot be combined", m.shape, word)
				return false
			}
			m.shape = word
		case "windash":
			m.windash = true
		case "wide", "utf16le", "utf16be", "utf16", "base64", "base64offset":
			m.encode = append(m.encode, word)
		case "re":
			set(modRegex)
		case "i", "m", "s":
			if m.kind != modRegex {
				p.refuse(where, whole, "write re|"+word, "%s is a flag of re and must follow it", word)
				return false
			}
			m.flags += word
		case "exists":
			set(modExists)
		case "lt", "lte", "gt", "gte":
			set(modCompare)
			m.compare = word
		case "cidr":
			set(modCIDR)
		case "expand", "fieldref", "minute", "hour", "day", "week", "month", "year":
			p.refuse(where, whole, "write the values out, or remove this item", "the modifier %s is not yet supported", word)
			return false
		default:
			p.refuse(where, whole, didYouMean(word, knownModifiers(), "see the list of modifiers in docs/rules.md"),
				"unknown modifier %q", word)
			return false
		}
	}
	text := m.shape != "" || m.windash || len(m.encode) > 0
	if kinds > 1 || kinds == 1 && text || kinds == 1 && m.cased {
		p.refuse(where, whole, "use one kind of comparison", "these modifiers cannot be combined")
		return false
	}
	if m.neq && m.all {
		p.refuse(where, whole, "negate the selection in the condition instead", "neq and all cannot be combined")
		return false
	}
	if i := slices.IndexFunc(m.encode, func(e string) bool { return strings.HasPrefix(e, "base64") }); i >= 0 && i != len(m.encode)-1 {
		p.refuse(where, whole, "put base64 last", "nothing can be encoded after base64")
		return false
	}
	if n := len(m.encode); n > 0 && !strings.HasPrefix(m.encode[n-1], "base64") {
		p.refuse(where, whole, "add base64 or base64offset", "%s without base64 asks for bytes that no access log has", m.encode[n-1])
		return false
	}
	return true
}

// matchers turns one value of an item into the matchers of which one must
// hold. It returns nil after reporting a fault.
func (d *detection) matchers(src source, m *modifiers, v *yaml.Node) []*matcher {
	where := at(d.file, v)
	bad := func(hint, format string, args ...any) []*matcher {
		d.p.refuse(where, v.Value, hint, format, args...)
		return nil
	}
	if isNull(v) {
		if m.kind != modText || m.shape != "" || m.windash || len(m.encode) > 0 {
			return bad("write the field without modifiers", "null cannot be modified")
		}
		return []*matcher{{op: opAbsent, shown: "null"}}
	}
	switch m.kind {
	case modRegex:
		flags := ""
		if m.flags != "" {
			flags = "(?" + m.flags + ")"
		}
		re, err := regexp.Compile(flags + v.Value)
		if err != nil {
			return bad("write it in RE2 syntax: no lookaround, no back references", "the regular expression is not valid: %v", err)
		}
		return []*matcher{{op: opRegex, re: re, shown: v.Value}}
	case modExists:
		switch strings.ToLower(v.Value) {
		case "true", "yes":
			return []*matcher{{op: opExists, shown: v.Value}}
		case "false", "no":
			return []*matcher{{op: opAbsent, shown: v.Value}}
		}
		return bad("write true or false", "exists needs true or false")
	case modCompare:
		if src.kind() != event.KindNumber {
			return bad("use a field that holds a number, such as http.response.status_code", "%s is not a number, %s cannot compare it", src, m.compare)
		}
		return d.compare(m.compare, v)
	case modCIDR:
		if src.kind() != event.KindAddress {
			return bad("use client.address or network.peer.address", "%s is not an address, cidr cannot match it", src)
		}
		pfx, err := netip.ParsePrefix(v.Value)
		if err != nil {
			return bad("write it as 192.0.2.0/24 or 2001:db8::/32", "%q is not a network", v.Value)
		}
		return []*matcher{cidrMatcher(pfx, v.Value)}
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

func (d *detection) compare(how string, v *yaml.Node) []*matcher {
	f, err := strconv.ParseFloat(v.Value, 64)
	if err != nil || math.Abs(f) > 1<<53 {
		d.p.refuse(at(d.file, v), v.Value, "write a plain number", "%q is not a number", v.Value)
		return nil
	}
	m := &matcher{shown: v.Value}
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

func (d *detection) textMatchers(src source, m *modifiers, v *yaml.Node) []*matcher {
	where := at(d.file, v)
	variants := [][]part{parsePattern(v.Value)}
	if m.windash {
		variants = windash(variants[0])
		if variants == nil {
			d.p.refuse(where, v.Value, "write fewer dashes in one value", "windash would make more than %d variants", maxDashVariants)
			return nil
		}
	}
	for _, e := range m.encode {
		var next [][]part
		for _, parts := range variants {
			lit, ok := plain(parts)
			if !ok || lit == "" {
				d.p.refuse(where, v.Value, `escape the wildcard as \* or \?`, "%s needs a plain text without wildcards", e)
				return nil
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
		mt := textMatcher(parts, m.cased, v.Value)
		if mt.op == opExact {
			if mt = d.typed(src, mt, v); mt == nil {
				return nil
			}
		}
		if mt.op == opExists && shape != "" {
			d.p.warn(where, v.Value, "write exists: true if that is meant", "this matches every value that is there")
		}
		out = append(out, mt)
	}
	return out
}

// typed turns an exact text into a number or an address where the field holds
// such.
func (d *detection) typed(src source, m *matcher, v *yaml.Node) *matcher {
	switch src.kind() {
	case event.KindNumber:
		n, err := strconv.ParseInt(m.text, 10, 64)
		if err != nil {
			d.p.refuse(at(d.file, v), v.Value, "write a whole number, or digits with wildcards such as 4*", "%s is a number, %q is none", src, v.Value)
			return nil
		}
		return &matcher{op: opNumEq, num: n, shown: m.shown}
	case event.KindAddress:
		a, err := netip.ParseAddr(m.text)
		if err != nil {
			d.p.refuse(at(d.file, v), v.Value, "write an address, an address with wildcards, or use cidr for a network", "%s is an address, %q is none", src, v.Value)
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
