// Package format turns the lines of access logs into events.
//
// A [Decoder] reads one line at a time and learns nothing from it: what comes
// out is a function of the line and of the options. Its caches save work only.
// The formats it knows stand in one table; see [Names].
package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"gatewatch/event"
)

// Options choose how lines are read. The zero value reads every known format.
type Options struct {
	// Name is "auto" or "", which looks at each line alone, or one of Names.
	Name string
	// Aliases give further keys of JSON lines, nested ones as "a.b": key to
	// the name of an event field ("client.address"), to "timestamp", or to a
	// key that is known already ("request_time", which brings its unit).
	// They come before the built-in ones. What is mapped to "api.key.id" must
	// be an id or a hash, never the key itself.
	Aliases map[string]string
}

// ErrBlank is the error for lines that hold nothing: empty ones and comments.
var ErrBlank = errors.New("blank line")

// LineError says why a line could not be read.
type LineError struct {
	Column int    // 1-based, in bytes
	Reason string // one of Reasons
}

// Error returns the reason and where it was found.
func (e *LineError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Reason) }

// The reasons of a LineError. They are few and fixed, to serve as metric labels.
const (
	reasonShape   = "unknown_shape" // none of the known formats
	reasonOther   = "other_format"  // a known format, but not the one that the options name
	reasonPrefix  = "bad_address"   // what stands before the time is no client
	reasonTime    = "bad_time"      // no time, or one that no calendar has
	reasonStatus  = "bad_status"    // no status after the request
	reasonJSON    = "bad_json"      // JSON that could not be repaired
	reasonAccess  = "no_request"    // JSON that tells of no request
	columnUnknown = 1
)

// Reasons lists all values of LineError.Reason.
func Reasons() []string {
	return []string{reasonShape, reasonOther, reasonPrefix, reasonTime, reasonStatus, reasonJSON, reasonAccess}
}

// fault is a LineError before it is allocated. Its zero value means none.
type fault struct {
	reason string
	column int // 0-based
}

// Decoder reads lines of one source. It belongs to one goroutine.
type Decoder struct {
	// Fallback is the time of an event whose line has none, in Unix nanoseconds;
	// 0 leaves such a line unread. The owner may change it between two lines.
	Fallback int64
	// Hold makes events stay valid until Forget, for who works on several at once.
	Hold bool

	named   *row // nil for auto
	clock   clock
	keys    keyTable
	json    jsonReader
	parts   parts
	scratch []byte // what had to be unescaped or joined
	escaped bool   // the line has a backslash somewhere
}

// New returns a decoder. Its error names the option that is wrong.
func New(o Options) (*Decoder, error) {
	d := &Decoder{scratch: make([]byte, 0, 4096)}
	if o.Name != "" && o.Name != auto {
		i := slices.IndexFunc(table[:], func(r row) bool { return r.name == o.Name })
		if i < 0 {
			return nil, fmt.Errorf("%q is no log format; write auto or one of %s", o.Name, strings.Join(Names(), ", "))
		}
		d.named = &table[i]
	}
	var err error
	if d.keys, err = newKeyTable(o.Aliases); err != nil {
		return nil, err
	}
	return d, nil
}

// Decode reads one line, without its line end, into ev, whatever ev held
// before. Strings in ev are views into line, which must stay as it is, and
// into the decoder: they are valid until the next Decode, or Forget where Hold is set.
// The error is ErrBlank or a *LineError; ev then holds Raw alone.
func (d *Decoder) Decode(line []byte, ev *event.Event) error {
	ev.Reset()
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) == 0 {
		return ErrBlank
	}
	s := unsafe.String(&line[0], len(line))
	ev.Raw = s
	if !d.Hold {
		d.Forget()
	}
	held := len(d.scratch)
	f := d.decode(s, ev)
	if f.reason == "" {
		return nil
	}
	d.scratch = d.scratch[:held]
	ev.Reset()
	ev.Raw = s
	if f.reason == blank {
		return ErrBlank
	}
	return &LineError{Column: min(f.column+1, len(line)), Reason: f.reason}
}

// Forget gives up the memory that events decoded so far are views into.
func (d *Decoder) Forget() { d.scratch = d.scratch[:0] }

const blank = "blank"

func (d *Decoder) decode(s string, ev *event.Event) fault {
	start := 0
	if s[0] == '\xef' && strings.HasPrefix(s, "\xef\xbb\xbf") {
		start = 3
	}
	for start < len(s) && (s[start] == ' ' || s[start] == '\t') {
		start++
	}
	if start == len(s) {
		return fault{reason: blank}
	}
	body := s[start:]
	d.escaped = strings.IndexByte(body, '\\') >= 0
	var f fault
	switch {
	case body[0] == '#':
		// A comment, or a request whose virtual host was chosen to look like one.
		if f = d.readCLF(body, ev); f.reason != "" {
			return fault{reason: blank}
		}
	case body[0] == '{' && (d.named == nil || d.named.json):
		if f = d.readJSON(body, ev); f.reason == reasonJSON && d.named == nil && quotesLate(body) {
			ev.Reset()
			ev.Raw = s
			if d.readCLF(body, ev).reason == "" {
				return fault{} // a virtual host that begins with a brace
			}
		}
	case d.named != nil && d.named.json:
		f = fault{reason: reasonOther}
	default:
		// Some collectors put the whole line into quotes and leave those inside as they are.
		if n := len(body); n > 2 && body[0] == '"' && body[n-1] == '"' {
			body = body[1 : n-1]
			start++
		}
		f = d.readCLF(body, ev)
	}
	f.column += start
	return f
}

// quotesLate reports whether the first quote of a line that begins with a
// brace comes after a bracket: such a line is no broken JSON, whose strings
// could imitate another line.
func quotesLate(s string) bool {
	i := strings.IndexByte(s, '"')
	return i > 0 && strings.IndexByte(s[:i], ']') > 0
}

// text undoes the escaping of s, a part of the line, and drops the signs for
// "nothing".
func (d *Decoder) text(s string) string {
	if len(s) <= 2 && (s == "-" || s == `""`) {
		return ""
	}
	if d.escaped && strings.IndexByte(s, '\\') >= 0 {
		return d.unescape(s)
	}
	if s == "(not set)" {
		return ""
	}
	return s
}

// keep returns what was added to the scratch memory since it was n bytes long.
// Growing moves only what is added later: older views keep the old array alive.
func (d *Decoder) keep(n int) string {
	if n == len(d.scratch) {
		return ""
	}
	return unsafe.String(&d.scratch[n], len(d.scratch)-n)
}
