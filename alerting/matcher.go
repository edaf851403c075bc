package alerting

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatewatch/detectors/observation"
)

// The labels by which matchers and group_by know an incident. Every other name
// is a field of its group, such as client.address; one that the incident does
// not have is the empty text, as in Alertmanager.
const (
	LabelIncident = "incident" // its id
	LabelParent   = "parent"   // the id of its parent
	LabelFamily   = "family"
	LabelLevel    = "level"
	LabelRule     = "rule"    // id or title of its leading rule
	LabelTag      = "tag"     // the tags of that rule; one has to match
	LabelSubject  = "subject" // client, principal, account, population, overflow or gatewatch
	LabelSource   = "source"  // client addresses; all have to match
	LabelLog      = "log"     // the logs that its evidence is from; all have to match
)

// Labels returns the names above, sorted.
func Labels() []string {
	l := []string{LabelIncident, LabelParent, LabelFamily, LabelLevel, LabelRule, LabelTag, LabelSubject, LabelSource, LabelLog}
	slices.Sort(l)
	return l
}

// MatchOp is what a matcher compares with.
type MatchOp uint8

// The operators. The last four are for level alone.
const (
	MatchEqual MatchOp = iota
	MatchNotEqual
	MatchRegexp
	MatchNotRegexp
	MatchAtLeast
	MatchAtMost
	MatchAbove
	MatchBelow
)

var matchOps = [...]string{"=", "!=", "=~", "!~", ">=", "<=", ">", "<"}

// String returns the operator as written.
func (o MatchOp) String() string { return matchOps[o] }

// negative reports whether the matcher holds where no value matches.
func (o MatchOp) negative() bool { return o == MatchNotEqual || o == MatchNotRegexp }

// Matcher is a condition on one label of an incident, in Alertmanager's form.
// Make it with ParseMatcher or NewMatcher. It is not changed after that.
type Matcher struct {
	Name  string
	Op    MatchOp
	Value string

	re    *regexp.Regexp
	level observation.Level
	net   netip.Prefix // of a value that is a network, for labels that are addresses
}

// maxMatcher bounds a name and a value, in bytes.
const maxMatcher = 4096

// NewMatcher checks and returns a matcher. Regular expressions are anchored
// at both ends.
func NewMatcher(name string, op MatchOp, value string) (Matcher, error) {
	m := Matcher{Name: name, Op: op, Value: value}
	if name == "" || len(name) > maxMatcher || len(value) > maxMatcher || !utf8.ValidString(name) || !utf8.ValidString(value) {
		return m, fmt.Errorf("a label's name has to be there, and name and value have to be UTF-8 of at most %d bytes", maxMatcher)
	}
	switch op {
	case MatchRegexp, MatchNotRegexp:
		// By itself first: the error would show what we add, and a) | (b is not
		// made right by being put into parentheses.
		if _, err := regexp.Compile(value); err != nil {
			return m, fmt.Errorf("%s is no regular expression: %s", strconv.Quote(value), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		re, err := regexp.Compile("^(?:" + value + ")$")
		if err != nil {
			return m, fmt.Errorf("%s is too large a regular expression", strconv.Quote(shorten(value)))
		}
		m.re = re
		return m, nil
	case MatchAtLeast, MatchAtMost, MatchAbove, MatchBelow:
		if name != LabelLevel {
			return m, fmt.Errorf("%s compares levels; write level%shigh, or %s with = != =~ or !~", op, op, name)
		}
	}
	if name == LabelLevel && (value != "" || op > MatchNotRegexp) {
		if err := m.level.UnmarshalText([]byte(value)); err != nil {
			return m, err
		}
	}
	if name == LabelSource || name == fieldClient {
		if p, err := netip.ParsePrefix(value); err == nil {
			m.net = p.Masked()
		}
	}
	return m, nil
}

// String writes the matcher so that ParseMatcher reads it again.
func (m Matcher) String() string { return quoteName(m.Name) + m.Op.String() + quoteText(m.Value) }

// MarshalText is String.
func (m Matcher) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMatcher.
func (m *Matcher) UnmarshalText(b []byte) error {
	var err error
	*m, err = ParseMatcher(string(b))
	return err
}

// matchesEmpty reports whether it holds for an incident without the label.
func (m *Matcher) matchesEmpty() bool { return m.test("") != m.Op.negative() }

// test compares one value; for negative operators it says whether the value
// is what must not be there.
func (m *Matcher) test(v string) bool {
	switch m.Op {
	case MatchRegexp, MatchNotRegexp:
		return m.re.MatchString(v)
	case MatchEqual, MatchNotEqual:
		return v == m.Value || m.net.IsValid() && inNetwork(m.net, v)
	}
	var l observation.Level
	if l.UnmarshalText([]byte(v)) != nil {
		return false
	}
	switch m.Op {
	case MatchAtLeast:
		return l >= m.level
	case MatchAtMost:
		return l <= m.level
	case MatchAbove:
		return l > m.level
	default:
		return l < m.level
	}
}

// inNetwork reports whether text is an address or a network inside n.
func inNetwork(n netip.Prefix, text string) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return n.Contains(a.Unmap().WithZone(""))
	}
	p, err := netip.ParsePrefix(text)
	return err == nil && p.Bits() >= n.Bits() && n.Contains(p.Addr())
}

// labelled is what matchers look at.
type labelled interface {
	// label returns the values of a label. all says that a matcher has to hold
	// for every one of them, not just for one, and sure that these are all.
	label(name string) (values []string, all, sure bool)
}

// matches reports whether the matcher holds. With several values, = and =~
// hold when one matches, or all where the label asks for that; != and !~ when
// none does.
func (m *Matcher) matches(l labelled) bool {
	values, all, sure := l.label(m.Name)
	if len(values) == 0 {
		return m.matchesEmpty()
	}
	negative := m.Op.negative()
	if !sure && (all || negative) {
		return false
	}
	if negative || !all {
		return slices.ContainsFunc(values, m.test) != negative
	}
	for _, v := range values {
		if !m.test(v) {
			return false
		}
	}
	return true
}

func matchesAll(ms []Matcher, l labelled) bool {
	for i := range ms {
		if !ms[i].matches(l) {
			return false
		}
	}
	return true
}

// label gives an incident its labels.
func (v *labelView) label(name string) (values []string, all, sure bool) {
	inc := v.inc
	one := func(s string) ([]string, bool, bool) { return []string{s}, false, true }
	switch name {
	case LabelIncident:
		return one(inc.id)
	case LabelParent:
		return one(inc.parent)
	case LabelFamily:
		return one(inc.family)
	case LabelLevel:
		return one(inc.level().String())
	case LabelSubject:
		return one(inc.subject.kind.String())
	case LabelRule:
		if inc.main == nil {
			return nil, false, true
		}
		return []string{inc.main.id, inc.main.title}, false, true
	case LabelTag:
		if inc.main == nil {
			return nil, false, true
		}
		return inc.main.tags, false, true
	case LabelSource:
		if v.sources == nil {
			v.sources = addresses(inc.sources.entries)
		}
		return v.sources, true, inc.sources.total() == int64(len(v.sources))
	case LabelLog:
		inc.evidence.each(func(l *line) {
			if file := v.book.o.SourceName(l.Ref.Source); file != "" && !slices.Contains(values, file) {
				values = append(values, file)
			}
		})
		return values, true, true
	}
	for _, p := range inc.subject.group {
		if p.Name == name {
			return one(p.Value)
		}
	}
	return nil, false, true
}

// labelView is an incident as matchers see it, while it does not change.
type labelView struct {
	book    *Book
	inc     *incident
	sources []string
}

func (b *Book) labels(inc *incident) *labelView { return &labelView{book: b, inc: inc} }

// value is the label as one text, for group_by and equal.
func (v *labelView) value(name string) string {
	values, _, _ := v.label(name)
	switch {
	case name == LabelRule && len(values) > 0:
		return values[0]
	case len(values) == 1:
		return values[0]
	}
	return strings.Join(values, ",")
}

// MatcherError says what is wrong with matchers as text.
type MatcherError struct {
	Column  int // 1-based, in characters
	Message string
}

// Error returns the message with its place.
func (e *MatcherError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// ParseMatcher reads one matcher, such as level>=high or rule=~"login.*".
func ParseMatcher(s string) (Matcher, error) {
	list, err := ParseMatchers(s)
	if err != nil {
		return Matcher{}, err
	}
	if len(list) != 1 {
		return Matcher{}, &MatcherError{1, fmt.Sprintf("want one matcher, there are %d", len(list))}
	}
	return list[0], nil
}

// ParseMatchers reads matchers with commas between them, with or without
// braces around them. Names and values stand bare, or in double quotes with
// \" \\ and \n. Its errors are of type *MatcherError.
func ParseMatchers(s string) ([]Matcher, error) {
	p := &matcherParser{s: s}
	list, err := p.list()
	if err != nil {
		return nil, err
	}
	return list, nil
}

// maxMatchers bounds the matchers of one list.
const maxMatchers = 64

type matcherParser struct {
	s string
	i int
}

func (p *matcherParser) fail(at int, format string, args ...any) error {
	return &MatcherError{utf8.RuneCountInString(p.s[:at]) + 1, fmt.Sprintf(format, args...)}
}

func (p *matcherParser) blank() {
	for p.i < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.i:])
		if !unicode.IsSpace(r) {
			return
		}
		p.i += n
	}
}

func (p *matcherParser) take(text string) bool {
	if strings.HasPrefix(p.s[p.i:], text) {
		p.i += len(text)
		return true
	}
	return false
}

func (p *matcherParser) list() ([]Matcher, error) {
	var out []Matcher
	p.blank()
	brace := p.take("{")
	for p.blank(); p.i < len(p.s) && p.s[p.i] != '}'; p.blank() {
		m, err := p.one()
		if err != nil {
			return nil, err
		}
		if out = append(out, m); len(out) > maxMatchers {
			return nil, p.fail(p.i, "there are more than %d matchers", maxMatchers)
		}
		p.blank()
		if !p.take(",") {
			break
		}
	}
	if brace && !p.take("}") {
		return nil, p.fail(p.i, "the brace is not closed; write } at the end")
	}
	p.blank()
	if p.i < len(p.s) {
		return nil, p.fail(p.i, "%s does not belong here; write a comma between matchers, and quotes around values with blanks or commas", strconv.Quote(shorten(p.s[p.i:])))
	}
	if len(out) == 0 {
		return nil, p.fail(0, "there is no matcher; write one such as level>=high or client.address=\"192.0.2.1\"")
	}
	return out, nil
}

func (p *matcherParser) one() (Matcher, error) {
	at := p.i
	name, err := p.word(func(r rune) bool {
		return r == '_' || r == '.' || r == ':' || r == '-' || r == '@' || unicode.IsLetter(r) || unicode.IsDigit(r)
	})
	if err != nil {
		return Matcher{}, err
	}
	if name == "" {
		return Matcher{}, p.fail(at, "a matcher begins with the name of a label, such as level or client.address")
	}
	p.blank()
	op, ok := p.op()
	if !ok {
		return Matcher{}, p.fail(p.i, "%s has no operator behind it; write = != =~ or !~, and for level also >= <= > or <", strconv.Quote(shorten(name)))
	}
	p.blank()
	valueAt := p.i
	value, err := p.word(func(r rune) bool { return r != ',' && r != '{' && r != '}' && r != '"' && !unicode.IsSpace(r) })
	if err != nil {
		return Matcher{}, err
	}
	m, err := NewMatcher(name, op, value)
	if err != nil {
		return Matcher{}, p.fail(valueAt, "%s", err)
	}
	return m, nil
}

func (p *matcherParser) op() (MatchOp, bool) {
	for _, op := range [...]MatchOp{MatchNotEqual, MatchRegexp, MatchNotRegexp, MatchAtLeast, MatchAtMost, MatchEqual, MatchAbove, MatchBelow} {
		if p.take(op.String()) {
			return op, true
		}
	}
	return 0, false
}

// word reads a quoted text, or a bare one of the given characters.
func (p *matcherParser) word(bare func(rune) bool) (string, error) {
	if p.i >= len(p.s) || p.s[p.i] != '"' {
		from := p.i
		for p.i < len(p.s) {
			r, n := utf8.DecodeRuneInString(p.s[p.i:])
			if !bare(r) {
				break
			}
			p.i += n
		}
		return p.s[from:p.i], nil
	}
	from := p.i
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return b.String(), nil
		case '\\':
			if p.i++; p.i == len(p.s) {
				return "", p.fail(from, "the quote is not closed")
			}
			switch e := p.s[p.i]; e {
			case 'n':
				b.WriteByte('\n')
			case '"', '\\':
				b.WriteByte(e)
			default:
				// As in Alertmanager: regular expressions need not be escaped twice.
				b.WriteByte('\\')
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail(from, "the quote is not closed")
}

// quoteText writes a text so that word reads it again.
func quoteText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func quoteName(s string) string {
	for _, r := range s {
		if r != '_' && r != '.' && r != ':' && r != '-' && r != '@' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return quoteText(s)
		}
	}
	return s
}

// shorten cuts text for a message.
func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
