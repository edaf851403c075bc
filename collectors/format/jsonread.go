package format

import "strings"

// maxDepth bounds nested objects whose keys are looked at. Deeper ones are
// skipped without recursion.
const maxDepth = 6

// jsonReader collects the values of one JSON line by meaning. It reads what
// log writers produce rather than what the standard allows: besides JSON it
// takes \xHH in strings, bytes that are no UTF-8, raw control characters, and
// a value that is missing or a lone "-". Of a repeated key the first counts.
type jsonReader struct {
	s      string
	i      int
	n      int // keys seen
	prefix []byte
	values [slotCount]string
	ranks  [slotCount]uint8
	unit   int64 // of the duration
	begins bool  // the time is that of the request's start
}

// readObject collects the values of s, which begins with a brace, and reports
// whether it is an object. d.json.i is where reading stopped.
func (d *Decoder) readObject(s string) bool {
	r := &d.json
	r.s, r.i, r.n = s, 0, 0
	r.prefix = r.prefix[:0]
	clear(r.values[:])
	for i := range r.ranks {
		r.ranks[i] = 0xff
	}
	if !d.object(0) {
		return false
	}
	r.blanks()
	return r.i == len(s)
}

func (r *jsonReader) blanks() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

func (r *jsonReader) at(c byte) bool { return r.i < len(r.s) && r.s[r.i] == c }

// object reads an object whose brace is at r.i.
func (d *Decoder) object(depth int) bool {
	r := &d.json
	r.i++
	r.blanks()
	if r.at('}') {
		r.i++
		return true
	}
	for {
		if what, ok := d.repeated(); ok {
			if !d.value(what) {
				return false
			}
		} else if !d.member(depth) {
			return false
		}
		if !r.at(',') {
			r.blanks()
		}
		switch {
		case r.at(','):
			r.i++
			if !r.at('"') {
				r.blanks()
			}
		case r.at('}'):
			r.i++
			return true
		default:
			return false
		}
	}
}

// repeated takes a key of the outermost object that stands where it stood in
// the line before, without looking for its end. It takes only what member
// would read to the same effect.
func (d *Decoder) repeated() (target, bool) {
	r := &d.json
	if r.n >= maxOrdinal || len(r.prefix) > 0 {
		return target{}, false
	}
	o := &d.keys.order[r.n]
	end := r.i + len(o.literal)
	if len(o.literal) == 0 || end >= len(r.s) || r.s[r.i:end] != string(o.literal) || r.s[end] == '{' || r.s[end] <= ' ' {
		return target{}, false
	}
	r.i = end
	r.n++
	return o.what, true
}

// member reads a key, its colon, and its value.
func (d *Decoder) member(depth int) bool {
	r := &d.json
	if !r.at('"') {
		return false
	}
	start := r.i
	key, ok := d.str()
	if !ok {
		return false
	}
	r.blanks()
	if !r.at(':') {
		return false
	}
	r.i++
	literal := r.s[start:r.i]
	if len(literal) != len(key)+3 {
		literal = "" // escapes or blanks
	}
	r.blanks()
	if r.i >= len(r.s) {
		return false
	}
	outer := len(r.prefix)
	if r.s[r.i] == '{' {
		if depth+1 >= maxDepth || outer+len(key) > maxKey {
			return r.skip()
		}
		r.prefix = append(append(r.prefix, key...), '.')
		ok := d.object(depth + 1)
		r.prefix = r.prefix[:outer]
		return ok
	}
	if outer > 0 {
		// The joined key lives in the prefix only until it is looked up.
		r.prefix = append(r.prefix, key...)
		key, literal = viewOf(r.prefix), ""
	}
	what := d.keys.find(key, literal, r.n)
	r.n++
	r.prefix = r.prefix[:outer]
	return d.value(what)
}

// value reads the value at r.i and keeps it where it belongs.
func (d *Decoder) value(what target) bool {
	r := &d.json
	var value string
	var ok bool
	switch r.s[r.i] {
	case '"':
		value, ok = d.str()
	case '[':
		if what.slot == slotNone {
			return r.skip()
		}
		value, ok = d.list()
	default:
		value, ok = r.bare()
	}
	if !ok {
		return false
	}
	if what.slot == slotNone || what.rank >= r.ranks[what.slot] || isAbsent(value) {
		return true
	}
	r.values[what.slot], r.ranks[what.slot] = value, what.rank
	switch what.slot {
	case slotDuration:
		r.unit = what.unit
	case slotTime:
		r.begins = what.unit == begin
	}
	return true
}

func isAbsent(s string) bool {
	switch len(s) {
	case 0:
		return true
	case 1:
		return s[0] == '-'
	case 9:
		return s == "(not set)"
	default:
		return false
	}
}

// bare reads a number or a word. null and nothing at all are absent.
func (r *jsonReader) bare() (string, bool) {
	start := r.i
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			word := r.s[start:r.i]
			if word == "null" {
				word = ""
			}
			return word, true
		case '"', '{', '[', ':':
			return "", false
		}
		r.i++
	}
	return "", false
}

// str reads a string whose quote is at r.i. Without escapes it is a view.
func (d *Decoder) str() (string, bool) {
	r := &d.json
	start := r.i + 1
	if start < len(r.s) && r.s[start] == '"' {
		r.i = start + 1
		return "", true
	}
	end := strings.IndexByte(r.s[start:], '"')
	if end < 0 {
		return "", false
	}
	end += start
	if !d.escaped || strings.IndexByte(r.s[start:end], '\\') < 0 {
		r.i = end + 1
		return r.s[start:end], true
	}
	if end = closing(r.s, start); end < 0 {
		return "", false
	}
	r.i = end + 1
	return d.unescapeJSON(r.s[start:end]), true
}

// list joins the strings and words of an array with ", ", as header lines of
// one name are joined.
func (d *Decoder) list() (string, bool) {
	r := &d.json
	r.i++
	from, count := len(d.scratch), 0
	for {
		r.blanks()
		if r.at(']') {
			r.i++
			return d.keep(from), true
		}
		if r.i >= len(r.s) {
			return "", false
		}
		n := len(d.scratch)
		var item string
		var ok bool
		switch r.s[r.i] {
		case '"':
			item, ok = d.str()
		case '{', '[':
			ok = r.skip()
		default:
			item, ok = r.bare()
		}
		if !ok {
			return "", false
		}
		if item != "" {
			count++
			end := len(d.scratch)
			if end > n {
				item = "" // unescaped: it is there already
			}
			if count > 1 {
				d.scratch = append(d.scratch, ", "...)
				copy(d.scratch[n+2:], d.scratch[n:end])
				copy(d.scratch[n:], ", ")
			}
			d.scratch = append(d.scratch, item...)
		}
		r.blanks()
		if r.at(',') {
			r.i++
		} else if !r.at(']') {
			return "", false
		}
	}
}

// skip passes over an object or an array whose bracket is at r.i.
func (r *jsonReader) skip() bool {
	depth := 0
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				r.i++
				return true
			}
		case '"':
			end := closing(r.s, r.i+1)
			if end < 0 {
				return false
			}
			r.i = end
		}
		r.i++
	}
	return false
}

// unescapeJSON undoes JSON's escapes, and nginx's \xHH, which its default
// escaping leaves in JSON written by hand. Others stay as they are.
func (d *Decoder) unescapeJSON(s string) string {
	n := len(d.scratch)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' || i+1 == len(s) {
			d.scratch = append(d.scratch, c)
			continue
		}
		i++
		switch e := s[i]; e {
		case '"', '\\', '/':
			d.scratch = append(d.scratch, e)
		case 'n':
			d.scratch = append(d.scratch, '\n')
		case 't':
			d.scratch = append(d.scratch, '\t')
		case 'r':
			d.scratch = append(d.scratch, '\r')
		case 'b':
			d.scratch = append(d.scratch, '\b')
		case 'f':
			d.scratch = append(d.scratch, '\f')
		case 'x':
			if i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
				d.scratch = append(d.scratch, unhex(s[i+1])<<4|unhex(s[i+2]))
				i += 2
				continue
			}
			d.scratch = append(d.scratch, '\\', 'x')
		case 'u':
			r, size := runeAt(s[i+1:])
			if size == 0 {
				d.scratch = append(d.scratch, '\\', 'u')
				continue
			}
			d.scratch = appendRune(d.scratch, r)
			i += size
		default:
			d.scratch = append(d.scratch, '\\', e)
		}
	}
	return d.keep(n)
}
