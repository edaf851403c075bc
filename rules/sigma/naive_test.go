package sigma

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"gatewatch/event"
)

// naive evaluates a parsed condition straight on the event, with nothing but
// the standard library: no index, no literals, no caches. The tests compare
// it with the matcher.
func naive(n *node, ev *event.Event) bool {
	switch n.op {
	case nodeLeaf:
		for _, m := range n.leaf.any {
			if naiveLeaf(n.leaf.src, m, ev) {
				return true
			}
		}
		return false
	case nodeNot:
		return !naive(n.kids[0], ev)
	}
	yes := 0
	for _, k := range n.kids {
		if naive(k, ev) {
			yes++
		}
	}
	switch n.op {
	case nodeAnd:
		return yes == len(n.kids)
	case nodeOr:
		return yes >= 1
	default:
		return yes >= n.n
	}
}

func naiveLeaf(src source, m *matcher, ev *event.Event) bool {
	values := naiveValues(src, ev)
	switch m.op {
	case opExists:
		return len(values) > 0
	case opAbsent:
		return len(values) == 0
	case opNever:
		return false
	case opFieldRef:
		return naiveRef(src, m, ev)
	case opNumEq, opNumGte, opNumLte:
		if len(values) == 0 {
			return false
		}
		n, _ := strconv.ParseInt(values[0], 10, 64)
		return m.op == opNumEq && n == m.num || m.op == opNumGte && n >= m.num || m.op == opNumLte && n <= m.num
	case opCIDR:
		if len(values) == 0 {
			return false
		}
		a, err := netip.ParseAddr(values[0])
		return err == nil && m.cidr.Contains(a.Unmap())
	}
	for _, v := range values {
		if naiveText(m, v) {
			return true
		}
	}
	return false
}

// naiveRef compares the values of two fields as logged, and then both decoded.
func naiveRef(src source, m *matcher, ev *event.Event) bool {
	a, b := naiveValues(src, ev), naiveValues(m.ref, ev)
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	// A text has its decoded values behind those as logged, as many.
	half := func(v []string, src source, decoded bool) []string {
		switch {
		case src.kind() != event.KindText:
			return v
		case decoded:
			return v[len(v)/2:]
		default:
			return v[:len(v)/2]
		}
	}
	for _, decoded := range []bool{false, true} {
		for _, x := range half(a, src, decoded) {
			for _, y := range half(b, m.ref, decoded) {
				if !m.cased {
					x, y = naiveLower(x), naiveLower(y)
				}
				switch m.shape {
				case opExact:
					if src.kind() == event.KindAddress && m.ref.kind() == event.KindAddress {
						x, y = strings.TrimPrefix(x, "::ffff:"), strings.TrimPrefix(y, "::ffff:")
					}
					if x == y {
						return true
					}
				case opContains:
					if strings.Contains(x, y) {
						return true
					}
				case opPrefix:
					if strings.HasPrefix(x, y) {
						return true
					}
				case opSuffix:
					if strings.HasSuffix(x, y) {
						return true
					}
				}
			}
		}
	}
	return false
}

var naiveUpper = regexp.MustCompile(`[A-Z]`)

func naiveLower(s string) string {
	return string(naiveUpper.ReplaceAllFunc([]byte(s), func(b []byte) []byte { return []byte{b[0] + 32} }))
}

// naiveTime formats the parts of a time in its own way.
func naiveTime(src source, ev *event.Event) []string {
	if ev.Time == 0 {
		return nil
	}
	t := time.Unix(ev.Time/1e9, ev.Time%1e9).UTC()
	number := func(n int) []string { return []string{strconv.Itoa(n)} }
	switch src {
	case srcDate:
		return []string{t.Format(time.DateOnly)}
	case srcClock:
		return []string{t.Format(time.TimeOnly)}
	case srcMinute:
		return number(t.Minute())
	case srcHour:
		return number(t.Hour())
	case srcDay:
		return number(t.Day())
	case srcMonth:
		return number(int(t.Month()))
	case srcYear:
		return number(t.Year())
	case srcWeek:
		// The week that has this week's Thursday, counted from the year that it is in.
		thursday := t.AddDate(0, 0, 3-(int(t.Weekday())+6)%7)
		return number((thursday.YearDay()-1)/7 + 1)
	default:
		return []string{t.Format(time.DateOnly) + "T" + t.Format(time.TimeOnly) + "Z"}
	}
}

func naiveText(m *matcher, v string) bool {
	if m.op == opRegex {
		return m.re.MatchString(v)
	}
	var pat strings.Builder
	pat.WriteString(`(?s)`)
	literal := func(s string) {
		for _, b := range []byte(s) {
			switch c := rune(b); {
			case b >= utf8.RuneSelf:
				pat.WriteByte(b)
			case !m.cased && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'):
				pat.WriteString("[" + strings.ToUpper(string(c)) + strings.ToLower(string(c)) + "]")
			default:
				pat.WriteString(regexp.QuoteMeta(string(c)))
			}
		}
	}
	switch m.op {
	case opContains:
		literal(m.text)
	case opPrefix:
		pat.WriteString(`\A`)
		literal(m.text)
	case opSuffix:
		literal(m.text)
		pat.WriteString(`\z`)
	case opExact:
		pat.WriteString(`\A`)
		literal(m.text)
		pat.WriteString(`\z`)
	case opGlob:
		pat.WriteString(`\A`)
		for _, g := range m.glob {
			switch g {
			case "*":
				pat.WriteString(".*")
			case "?":
				pat.WriteString(".")
			default:
				literal(g[1:])
			}
		}
		pat.WriteString(`\z`)
	}
	return naiveRegexp(pat.String()).MatchString(v)
}

var naiveCache sync.Map

func naiveRegexp(s string) *regexp.Regexp {
	re, ok := naiveCache.Load(s)
	if !ok {
		re, _ = naiveCache.LoadOrStore(s, regexp.MustCompile(s))
	}
	return re.(*regexp.Regexp)
}

// naiveValues are the texts that a leaf looks at.
func naiveValues(src source, ev *event.Event) []string {
	var values []string
	mode := "path"
	switch src {
	case srcURL:
		mode = "target"
		if ev.Target != "" {
			values = append(values, ev.Target)
			if ev.Host != "" && !strings.Contains(ev.Target, "://") {
				scheme := ev.Scheme
				if scheme == "" {
					scheme = "http"
				}
				values = append(values, scheme+"://"+ev.Host+ev.Target)
			}
		}
	case srcMethod:
		if ev.MethodOriginal != "" {
			values = []string{ev.MethodOriginal}
		} else if ev.Method != "" {
			values = []string{ev.Method}
		}
	case srcVersion:
		if ev.Protocol != "" {
			values = []string{"HTTP/" + ev.Protocol}
		}
	case srcExtension:
		segs := strings.Split(ev.Path, "/")
		parts := strings.Split(segs[len(segs)-1], ".")
		if len(parts) > 1 && parts[len(parts)-1] != "" {
			values = []string{parts[len(parts)-1]}
		}
	case srcTimestamp, srcDate, srcClock:
		values = naiveTime(src, ev)
	case srcMinute, srcHour, srcDay, srcWeek, srcMonth, srcYear:
		return naiveTime(src, ev)
	case fieldSource(event.FieldAttackClass):
		values = slices.Clone(ev.AttackClass)
	default:
		if v, ok := ev.Text(event.Field(src)); ok && v != "" {
			values = []string{v}
		}
		if src.kind() != event.KindText {
			return values
		}
		switch event.Field(src) {
		case event.FieldTarget:
			mode = "target"
		case event.FieldQuery:
			mode = "query"
		case event.FieldRaw:
			mode = "line"
		}
	}
	for _, v := range slices.Clone(values) {
		values = append(values, naiveDecode(v, mode))
	}
	return values
}

var naiveEscape = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

func naiveDecode(s, mode string) string {
	b := []byte(s)
	spaces := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("+"), []byte(" ")) }
	switch mode {
	case "query":
		b = spaces(b)
	case "target":
		if i := bytes.IndexByte(b, '?'); i >= 0 {
			b = append(b[:i:i], spaces(b[i:])...)
		}
	case "line":
		b = regexp.MustCompile(`\?[^ \t"]*`).ReplaceAllFunc(b, spaces)
	}
	return string(naiveEscape.ReplaceAllFunc(b, func(h []byte) []byte {
		n, _ := strconv.ParseUint(string(h[1:]), 16, 8)
		return []byte{byte(n)}
	}))
}
