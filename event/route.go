package event

import "strings"

// Limits of a route template. What goes beyond ends in "{more}", so that a
// hostile path makes no long template.
const (
	maxSegments = 16
	maxRoute    = 192 // bytes, checked before each segment
	maxLiteral  = 48  // bytes of one segment that may stay a word
	maxShaped   = 128 // bytes of one segment that is looked at closely
)

// The slots of syntactic templates. A word before or after a slot stays:
// "ORD-{id}", "{uuid}.pdf".
const (
	slotID    = "{id}"    // digits, or digits after a word: 42, ORD-10442, user10489
	slotUUID  = "{uuid}"  // 8-4-4-4-12 hexadecimal digits
	slotHash  = "{hash}"  // hexadecimal digits, eight and more
	slotDate  = "{date}"  // 2026-11-19, 2026-11, with or without a time
	slotIP    = "{ip}"    // a dotted quad
	slotEmail = "{email}" // something@example.org
	slotToken = "{token}" // random letters and digits, or a word too long to be one
	slotSlug  = "{slug}"  // words joined by dashes that hold a number
	slotText  = "{text}"  // anything with bytes that no API puts in a fixed segment
	slotMore  = "{more}"  // what lies beyond the limits
)

const (
	cDigit = 1 << iota
	cHexLetter
	cLower
	cUpper
	cDash // - and _
	cDot
	cMark  // @ : ( ) and other marks that URLs use bare
	cOther // percent signs, quotes, blanks, controls, non-ASCII
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		switch {
		case b >= '0' && b <= '9':
			t[c] = cDigit
		case b >= 'a' && b <= 'f':
			t[c] = cLower | cHexLetter
		case b >= 'g' && b <= 'z':
			t[c] = cLower
		case b >= 'A' && b <= 'F':
			t[c] = cUpper | cHexLetter
		case b >= 'G' && b <= 'Z':
			t[c] = cUpper
		case b == '-' || b == '_':
			t[c] = cDash
		case b == '.':
			t[c] = cDot
		case strings.IndexByte("@:()~+,=!$*", b) >= 0:
			t[c] = cMark
		default:
			t[c] = cOther
		}
	}
	return t
}()

// shape says how a segment looks in a template: seg[:from], the slot, then
// seg[to:]. An empty slot means that the segment is a word and stays.
type shape struct {
	slot     string
	from, to int
}

// appendRoute appends the template of path to dst and returns it with the
// value of the last slot, a view into path. Empty segments and matrix
// parameters are left out. path begins with a slash.
func appendRoute(dst []byte, path string) (route []byte, object string) {
	start := len(dst)
	for i, n := 0, 0; i < len(path); {
		if path[i] == '/' {
			i++
			continue
		}
		from := i
		var bits uint8
		for i < len(path) && path[i] != '/' {
			bits |= class[path[i]]
			i++
		}
		seg := path[from:i]
		if n++; n > maxSegments || len(dst)-start > maxRoute {
			dst = append(dst, "/"+slotMore...)
			return dst, path[from:]
		}
		dst = append(dst, '/')
		if bits&(cDigit|cMark|cOther) == 0 && len(seg) <= maxLiteral {
			dst = append(dst, seg...)
			continue
		}
		if bits&cOther != 0 {
			if k := strings.IndexByte(seg, ';'); k > 0 {
				seg = seg[:k]
				bits = bitsOf(seg)
			}
		}
		sh := shapeOf(seg, bits)
		if sh.slot == "" {
			dst = append(dst, seg...)
			continue
		}
		dst = append(dst, seg[:sh.from]...)
		dst = append(dst, sh.slot...)
		dst = append(dst, seg[sh.to:]...)
		object = seg[sh.from:sh.to]
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst, object
}

func bitsOf(s string) (bits uint8) {
	for i := range len(s) {
		bits |= class[s[i]]
	}
	return bits
}

// shapeOf classifies one segment whose bytes have the classes bits.
func shapeOf(seg string, bits uint8) shape {
	switch {
	case bits&cOther != 0:
		return shape{slotText, 0, len(seg)}
	case len(seg) > maxShaped:
		return shape{slotToken, 0, len(seg)}
	case bits == cDigit:
		return shape{slotID, 0, len(seg)}
	case bits&cMark != 0:
		return markedShape(seg)
	case bits&cDot != 0:
		return dottedShape(seg)
	}
	return wordShape(seg)
}

// markedShape classifies segments with one of the marks: e-mail addresses,
// OData keys as in Orders(42), custom verbs as in 42:cancel, times.
func markedShape(seg string) shape {
	if at := strings.IndexByte(seg, '@'); at > 0 && strings.IndexByte(seg[at:], '.') > 0 {
		return shape{slotEmail, 0, len(seg)}
	}
	if open := strings.IndexByte(seg, '('); open > 0 && seg[len(seg)-1] == ')' && len(seg)-open > 2 {
		return shape{slotID, open + 1, len(seg) - 1}
	}
	if isDate(seg) {
		return shape{slotDate, 0, len(seg)}
	}
	if colon := strings.LastIndexByte(seg, ':'); colon > 0 {
		tail := bitsOf(seg[colon+1:])
		if tail&^(cLower|cUpper|cHexLetter) == 0 && tail != 0 {
			// A custom verb stays; what it works on is classified alone.
			return shapeOf(seg[:colon], bitsOf(seg[:colon]))
		}
		if sub := shapeOf(seg[colon+1:], tail); sub.slot != "" {
			return shape{sub.slot, colon + 1 + sub.from, colon + 1 + sub.to}
		}
	}
	if len(seg) > maxLiteral {
		return shape{slotToken, 0, len(seg)}
	}
	return shape{}
}

// dottedShape classifies addresses, versions, and file names: the extension
// stays, the stem is classified alone.
func dottedShape(seg string) shape {
	if _, n := parse4(seg); n == len(seg) {
		return shape{slotIP, 0, n}
	}
	if isVersion(seg) {
		return shape{}
	}
	dot := strings.LastIndexByte(seg, '.')
	stem, ext := seg[:dot], seg[dot+1:]
	if stem == "" || ext == "" || len(ext) > 5 || bitsOf(ext)&(cLower|cUpper) == 0 {
		if len(seg) > maxLiteral {
			return shape{slotToken, 0, len(seg)}
		}
		return shape{}
	}
	if sh := assetShape(stem); sh.slot != "" && !isUUID(stem) && !isDashedHex(stem) {
		return sh
	}
	if isVersion(stem) || bitsOf(stem)&cDigit == 0 && len(stem) <= maxLiteral {
		return shape{}
	}
	return wordShape(stem)
}

// assetShape finds the content hash that build tools put at the end of a
// file's stem: app-4f2a91, chunk.8c31de77. Six digits do, where a path
// segment needs eight, as an extension follows.
func assetShape(stem string) shape {
	i := strings.LastIndexAny(stem, "-._")
	if i <= 0 {
		return shape{}
	}
	tail := stem[i+1:]
	bits := bitsOf(tail)
	if bits&cDigit == 0 || bits&(cLower|cUpper) == 0 || bits&^(cDigit|cLower|cUpper|cHexLetter) != 0 {
		return shape{}
	}
	if len(tail) >= 6 && isHex(tail) || len(tail) >= 8 && turns(tail) >= 3 {
		return shape{slotHash, i + 1, len(stem)}
	}
	return shape{}
}

// wordShape classifies a segment of letters, digits, dashes and underscores.
func wordShape(w string) shape {
	bits := bitsOf(w)
	whole := func(slot string) shape { return shape{slot, 0, len(w)} }
	switch {
	case bits&cDigit == 0:
		if len(w) > maxLiteral {
			return whole(slotToken)
		}
		return shape{}
	case bits == cDigit, w[0] == '-' && bitsOf(w[1:]) == cDigit:
		return whole(slotID)
	case isUUID(w):
		return whole(slotUUID)
	case isDate(w):
		return whole(slotDate)
	case isVersion(w):
		return shape{}
	case bits&^(cDigit|cHexLetter|cLower|cUpper) == 0:
		return solidShape(w, bits)
	}
	if isDashedHex(w) {
		return whole(slotHash)
	}
	last := strings.LastIndexAny(w, "-_.")
	if last < 0 {
		return shape{}
	}
	head, tail := w[:last], w[last+1:]
	tbits := bitsOf(tail)
	if len(head) <= 16 && last > 0 && bitsOf(head)&^(cLower|cUpper|cHexLetter) == 0 {
		// One word before one value: ORD-10442, cus_NffrFeUfNV2Hib.
		switch {
		case tbits == cDigit && len(tail) >= 2:
			return shape{slotID, last + 1, len(w)}
		case tbits&cDigit != 0:
			if sh := solidShape(tail, tbits); sh.slot != "" && sh.from == 0 {
				return shape{sh.slot, last + 1, len(w)}
			}
		}
	}
	if len(w) >= 20 && bits&cUpper != 0 && bits&cLower != 0 && turns(w) >= 6 {
		return whole(slotToken) // base64url with a dash or an underscore in it
	}
	lead := 0
	for lead < len(w) && w[lead]-'0' <= 9 {
		lead++
	}
	if tbits == cDigit && len(tail) >= 3 || lead >= 2 && class[w[lead]] == cDash || len(w) > maxLiteral {
		return whole(slotSlug)
	}
	return shape{}
}

// solidShape classifies letters and digits without anything between them.
func solidShape(w string, bits uint8) shape {
	if isHex(w) && (len(w) >= 8 && bits&cHexLetter != 0 || len(w) >= 16) {
		return shape{slotHash, 0, len(w)}
	}
	n := turns(w)
	switch {
	case n >= 3 && len(w) >= 10, n >= 2 && len(w) >= 8 && bits&cUpper != 0 && bits&cLower != 0, n >= 2 && len(w) >= 16:
		return shape{slotToken, 0, len(w)}
	case len(w) > maxLiteral:
		return shape{slotToken, 0, len(w)}
	}
	digits := len(w)
	for digits > 0 && w[digits-1]-'0' <= 9 {
		digits--
	}
	if n == 1 && len(w)-digits >= 4 && digits > 0 {
		if digits <= 8 {
			return shape{slotID, digits, len(w)}
		}
		return shape{slotToken, 0, len(w)}
	}
	return shape{}
}

// unreserved decodes those percent escapes that stand for letters, digits,
// dashes, dots, underscores and tildes: they mean the same either way, and a
// server sees no difference. Others stay. It is appended to dst when there are any.
func unreserved(dst []byte, path string) ([]byte, string) {
	i := strings.IndexByte(path, '%')
	if i < 0 {
		return dst, path
	}
	from := len(dst)
	dst = append(dst, path[:i]...)
	for ; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			if v, ok := unhex2(path[i+1], path[i+2]); ok && (class[v]&(cDigit|cLower|cUpper|cDash|cDot) != 0 || v == '~') {
				dst = append(dst, v)
				i += 2
				continue
			}
		}
		dst = append(dst, c)
	}
	return dst, view(dst[from:])
}

// dotless takes "." and ".." out of a path as servers do before they route it
// (RFC 3986, 5.2.4), and repeated slashes and matrix parameters where it has
// any or is long. Without this /x1/../orders/7 and /x2/../orders/8 would be
// requests of two routes, and enough padding would hide a login. It is appended to dst
// when there are any.
func dotless(dst []byte, path string) ([]byte, string) {
	if path == "" || path[0] != '/' || len(path) <= maxLoginPath && !strings.Contains(path, "/.") {
		return dst, path
	}
	closed := path[len(path)-1] == '/'
	from := len(dst)
	for rest := path; rest != ""; {
		var name string
		if name, rest = nextSegment(rest); name == "" {
			break
		}
		if k := strings.IndexByte(name, ';'); k >= 0 {
			name = name[:k]
		}
		switch name {
		case "", ".":
		case "..":
			dst = dst[:from+max(0, strings.LastIndexByte(view(dst[from:]), '/'))]
		default:
			dst = append(append(dst, '/'), name...)
		}
	}
	if len(dst) == from || closed {
		dst = append(dst, '/')
	}
	return dst, view(dst[from:])
}

func unhex2(a, b byte) (byte, bool) {
	x, y := unhex(a), unhex(b)
	return x<<4 | y, x < 16 && y < 16
}

func unhex(c byte) byte {
	switch {
	case c-'0' <= 9:
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	default:
		return 0xff
	}
}
